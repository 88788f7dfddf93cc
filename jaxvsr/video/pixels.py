"""Pixel formats: which planar one holds the same numbers; planes in and out of FFmpeg frames."""

import re
from dataclasses import replace

import av
import numpy as np

from jaxvsr.video.colour import SITINGS, UNSPECIFIED, Colour, untagged

# yuv420p10le, yuvj444p, yuva422p, gbrp12le, gbrap, gray10le: read as they lie, alpha left out.
PLANAR = re.compile(
    r"(?:yuv[ja]?(?P<chroma>420|422|444)p|(?P<rgb>gbra?p)|gray)(?P<bits>\d+)?(?:le)?"
)
LAYERED = ("yuva", "gbrap", "rgba", "bgra", "argb", "abgr", "ya")  # formats with alpha begin so
CHROMA = {"420": (2, 2), "422": (1, 2), "444": (1, 1)}
DEPTHS = (8, 9, 10, 12, 14, 16)

# FFmpeg's codes of the YUV matrices we have numbers for; others are carried as the nearest one,
# which is exact again on the way back.
MATRIX_CODES = {0: "rgb", 1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m"}
MATRIX_CODES |= {9: "bt2020", 10: "bt2020", 14: "bt2020"}
DEFAULT_CODE = {"bt601": 6, "bt709": 1, "bt2020": 9, "rgb": 0, "fcc": 4, "smpte240m": 7}
FULL = 2  # FFmpeg's code for full range; 1 is limited, 0 untagged

Orientation = tuple[bool, bool, bool]  # transpose first, then flip left-right, then upside down
UPRIGHT = (False, False, False)


def facts(pix_fmt: str) -> tuple[str, int, tuple[int, int]]:
    """(kind "yuv", "rgb" or "gray", bits, subsampling) of one of our planar formats."""
    match = PLANAR.fullmatch(pix_fmt)
    if not match:
        raise ValueError(f"{pix_fmt} is not a planar format that frames are read as")
    kind = "yuv" if match["chroma"] else "rgb" if match["rgb"] else "gray"
    return kind, int(match["bits"] or 8), CHROMA[match["chroma"] or "444"]


def named(kind: str, bits: int, subsampling: tuple[int, int] = (1, 1)) -> str:
    """The planar format with these facts: the inverse of `facts`."""
    chroma = next(name for name, value in CHROMA.items() if value == subsampling)
    stem = {"yuv": f"yuv{chroma}p", "rgb": "gbrp", "gray": "gray"}[kind]
    return stem if bits == 8 else f"{stem}{bits}le"


def planar(pix_fmt: str) -> str:
    """The planar format that holds every pixel format's numbers at its own depth.

    Rare chroma layouts (4:1:1, 4:4:0) become 4:4:4; floats become 16 bits.
    """
    if PLANAR.fullmatch(pix_fmt):
        return pix_fmt
    layout = av.VideoFormat(pix_fmt, 64, 64)
    deepest = max((part.bits for part in layout.components), default=8)
    bits = next((depth for depth in DEPTHS if depth >= deepest), 16)
    if layout.is_rgb or layout.has_palette or layout.is_bayer or pix_fmt.startswith("xyz"):
        return named("rgb", bits)
    if len(layout.components) <= 2:
        return named("gray", bits)
    sub = (64 // layout.chroma_height(64), 64 // layout.chroma_width(64))
    return named("yuv", bits, sub if sub in CHROMA.values() else (1, 1))


def colour_of_frame(frame: av.VideoFrame, siting: str | None) -> Colour:
    """The meaning of a frame's numbers from its tags and, where it has none, from its size.

    Untagged: BT.601 below 720 lines and BT.709 from there, limited range, chroma at the left; RGB
    and grey are full range. The guessed matrix is written down so that players of an enlarged
    copy do not guess another.
    """
    name = frame.format.name
    kind, bits, subsampling = facts(planar(name))
    guess = untagged(frame.height)
    code = int(frame.colorspace)
    matrix = {"yuv": MATRIX_CODES.get(code, guess)}.get(kind, kind)
    if matrix == "rgb" and kind == "yuv":  # a tag that contradicts the format
        matrix = guess
    if kind == "yuv" and code in (0, UNSPECIFIED, 3):
        code = DEFAULT_CODE[matrix]
    tagged = int(frame.color_range)
    full = tagged == FULL or name.startswith("yuvj") or (tagged == 0 and kind != "yuv")
    tags = int(frame.color_primaries), int(frame.color_trc), code if kind == "yuv" else 0
    if kind == "gray":
        tags = *tags[:2], UNSPECIFIED
    return Colour(matrix, full, siting or "left", bits, subsampling, *tags)


def turned(colour: Colour, orientation: Orientation) -> Colour:
    """The colour after `planes_of` turned the planes: chroma samples move with the picture."""
    transpose, across, upside = orientation
    rows, columns = SITINGS[colour.siting]
    if transpose:
        rows, columns = columns, rows
    mirror = {"first": "last", "last": "first", "mid": "mid"}
    columns = mirror[columns] if across else columns
    rows = mirror[rows] if upside else rows
    siting = next(name for name, site in SITINGS.items() if site == (rows, columns))
    sub = colour.subsampling
    if transpose and sub == (1, 2):  # there is no 4:4:0 among our formats
        raise ValueError("4:2:2 cannot be transposed; read it as 4:4:4")
    return replace(colour, siting=siting)


def planes_of(
    frame: av.VideoFrame,
    pix_fmt: str,
    orientation: Orientation = UPRIGHT,
    siting: str = "left",
):
    """A frame's planes, y, u, v or r, g, b or y, as contiguous copies, upright.

    `siting` is the frame's, before it is turned.
    """
    if frame.format.name != pix_fmt:
        same = "JPEG" if int(frame.color_range) == FULL else "MPEG"
        # One thread: swscale's slices have been seen to leave lines of chroma unwritten.
        span = {"src_color_range": same, "dst_color_range": same}
        frame = frame.reformat(format=pix_fmt, threads=1, **span)
    kind, bits, _ = facts(pix_fmt)
    arrays = [_view(plane, bits) for plane in list(frame.planes)[: 1 if kind == "gray" else 3]]
    if kind == "rgb":
        arrays = [arrays[2], arrays[0], arrays[1]]  # FFmpeg keeps green, blue, red
    size, sites = (frame.height, frame.width), SITINGS[siting]
    return tuple(_turn(array, size, sites, orientation) for array in arrays)


def has_alpha(pix_fmt: str) -> bool:
    """Whether a pixel format holds transparency; a palette's is not counted."""
    return pix_fmt.startswith(LAYERED)


def alpha_of(frame: av.VideoFrame, orientation: Orientation = UPRIGHT) -> np.ndarray | None:
    """A frame's transparency [H, W] as uint16, 65535 opaque, upright; None where it has none."""
    if not has_alpha(frame.format.name):
        return None
    if not PLANAR.fullmatch(frame.format.name):
        deep = facts(planar(frame.format.name))[1] > 8
        frame = frame.reformat(format="gbrap16le" if deep else "gbrap", threads=1)
    bits = facts(frame.format.name)[1]
    size, plane = (frame.height, frame.width), _view(frame.planes[3], bits)
    return _turn(_rescaled(plane, bits, 16), size, SITINGS["left"], orientation)


def resized_alpha(alpha: np.ndarray, height: int, width: int, bits: int) -> np.ndarray:
    """Transparency as `alpha_of` gives it, by Lanczos, as integers of `bits` bits."""
    frame = frame_of((alpha,), "gray16le")
    frame = frame.reformat(width, height, interpolation="LANCZOS", threads=1)
    return _rescaled(_view(frame.planes[0], 16), 16, bits)


def _rescaled(array: np.ndarray, bits: int, wanted: int) -> np.ndarray:
    """Integers of a depth as those of another, the greatest becoming the greatest."""
    high, new = (1 << bits) - 1, (1 << wanted) - 1
    scaled = (array.astype(np.uint32) * new + high // 2) // high
    return scaled.astype(np.uint8 if wanted <= 8 else np.uint16)


def layered(pix_fmt: str) -> str:
    """The planar format with transparency beside one without: yuva420p for yuv420p."""
    return pix_fmt.replace("gbrp", "gbrap").replace("yuv", "yuva")


def frame_of(planes, pix_fmt: str) -> av.VideoFrame:
    """The inverse of `planes_of` for upright planes; a fourth one is transparency."""
    kind, bits, _ = facts(pix_fmt)
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pix_fmt)
    if kind == "rgb":
        planes = planes[1], planes[2], planes[0], *planes[3:]
    for target, plane in zip(frame.planes, planes, strict=True):
        _view(target, bits)[...] = plane
    return frame


def _view(plane, bits: int) -> np.ndarray:
    """The plane's memory as [H, W], without the padding of its lines."""
    kind = np.uint8 if bits <= 8 else np.uint16
    lines = np.frombuffer(plane, kind).reshape(plane.height, -1)
    return lines[:, : plane.width]


def _turn(array: np.ndarray, size, sites, orientation: Orientation) -> np.ndarray:
    transpose, across, upside = orientation
    if transpose:
        array, size, sites = array.T, size[::-1], sites[::-1]
    for axis, flip in ((1, across), (0, upside)):
        if not flip:
            continue
        array = np.flip(array, axis)
        if sites[axis] == "mid" and size[axis] % 2 and 1 < array.shape[axis] < size[axis]:
            array = _regroup(array, axis)
    return np.array(array, order="C")


def _regroup(chroma: np.ndarray, axis: int) -> np.ndarray:
    """After a flip of an odd side the lone sample comes first: pairs again from there."""
    last = chroma.shape[axis] - 1
    after = np.take(chroma, np.minimum(np.arange(last + 1) + 1, last), axis)
    return ((chroma.astype(np.uint32) + after + 1) // 2).astype(chroma.dtype)
