"""Still pictures: read upright at 8 or 16 bits, written in the format of the suffix."""

import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jaxvsr.errors import InputError, UsageError
from jaxvsr.video import names
from jaxvsr.video.failing import failing
from jaxvsr.video.streams import LARGEST, quiet

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
DEEP = (".png", ".tif", ".tiff")  # these hold 16 bits
OPAQUE = (".jpg", ".jpeg", ".bmp")  # these hold no alpha
OPTIONS = {
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"lossless": True},
}
ORIENTATION = 0x0112  # tag of EXIF


def read_image(path) -> tuple[np.ndarray, np.ndarray | None]:
    """(RGB [H, W, 3], alpha [H, W] or None), both uint8 or both uint16, upright by EXIF.

    Raises InputError for what is missing, no picture, cut off, or too large.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the name")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                _check_size(path, image.size)
                deep = image.mode.startswith("I") or _depth(path, image) > 8
                if not deep:
                    return _shallow(ImageOps.exif_transpose(image))
                turn = image.getexif().get(ORIENTATION, 1)
    except (UnidentifiedImageError, Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(f"{path}: not a picture, or an absurd one; name another") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: the picture is damaged ({error}); get it again") from None
    return _deep(path, turn)


def read_tags(path) -> dict:
    """Colour profile, resolution and EXIF (without the orientation) as `write_image` takes them."""
    with Image.open(path) as image:
        tags = {k: image.info[k] for k in ("icc_profile", "dpi") if image.info.get(k)}
        exif = image.getexif()
        exif.pop(ORIENTATION, None)
        return tags | ({"exif": exif.tobytes()} if len(exif) else {})


def write_image(path, array: np.ndarray, alpha: np.ndarray | None = None, tags=None) -> None:
    """Writes RGB [H, W, 3], uint8 or uint16, with `alpha` [H, W] of the same type if given.

    Floats in [0, 1] are written as 8 bits; all but PNG and TIFF go down to 8 bits. `tags` are
    those of `read_tags`; files of 16 bits go without. Raises UsageError for an unknown suffix or
    for transparency that the format cannot hold, OutputError or SpaceError else.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: cannot write this format; choose from {', '.join(SUFFIXES)}")
    array, alpha = (x if x is None else _codes(np.asarray(x), suffix) for x in (array, alpha))
    if suffix in OPAQUE and alpha is not None and (alpha < np.iinfo(alpha.dtype).max).any():
        raise UsageError(f"{path}: {suffix} cannot hold transparency; write a .png or .webp")
    if alpha is not None and suffix not in OPAQUE:
        array = np.concatenate([array, alpha[..., None]], axis=-1)
    with failing(path):
        if array.dtype == np.uint16:
            _write_deep(path, array)
        else:
            options = OPTIONS.get(suffix, {}) | (tags or {})
            Image.fromarray(np.ascontiguousarray(array)).save(path, **options)


def _codes(array: np.ndarray, suffix: str) -> np.ndarray:
    if array.dtype.kind == "f":
        array = np.round(np.clip(array, 0, 1) * 255).astype(np.uint8)
    if array.dtype == np.uint16 and suffix not in DEEP:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return array


def _check_size(path, size) -> None:
    if max(size) > LARGEST:
        raise InputError(f"{path}: {size[0]}x{size[1]} is too large; at most {LARGEST} a side")


def _depth(path: Path, image) -> int:
    """Bits a channel. Pillow makes 16-bit colour 8-bit without a word, so its header is asked."""
    if image.format == "PNG":
        with open(path, "rb") as file:
            return file.read(25)[24]  # IHDR comes first, at a fixed place
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (8,))
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 8


def _shallow(image) -> tuple[np.ndarray, np.ndarray | None]:
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    array = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    return np.ascontiguousarray(array[..., :3]), array[..., 3].copy() if has_alpha else None


def _deep(path: Path, turn: int) -> tuple[np.ndarray, np.ndarray | None]:
    """16 bits a channel through FFmpeg."""
    quiet()
    try:
        with av.open(names.url(path)) as file:
            frame = next(file.decode(video=0))
    except (av.FFmpegError, StopIteration, IndexError, OSError):
        raise InputError(f"{path}: the picture is damaged; get it again") from None
    has_alpha = any(c.is_alpha for c in frame.format.components)
    array = frame.to_ndarray(format="rgba64le" if has_alpha else "rgb48le")
    array = np.ascontiguousarray(_upright(array, turn))
    return array[..., :3].copy(), array[..., 3].copy() if has_alpha else None


def _upright(array: np.ndarray, turn: int) -> np.ndarray:
    """EXIF's eight orientations as a transpose and flips."""
    if turn in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        array = array[:, ::-1]
    if turn in (3, 4, 7, 8):
        array = array[::-1]
    return array


def _write_deep(path, array: np.ndarray) -> None:
    """16-bit PNG and TIFF by FFmpeg, which Pillow cannot write in colour."""
    quiet()
    suffix = Path(path).suffix.lower()
    codec = "png" if suffix == ".png" else "tiff"
    pix_fmt = "rgba64" if array.shape[-1] == 4 else "rgb48"
    order = "be" if codec == "png" else "le"
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format=f"{pix_fmt}{order}")
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = frame.width, frame.height, f"{pix_fmt}{order}"
    context.time_base = Fraction(1)
    data = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
    Path(path).write_bytes(data)


def header_size(path) -> tuple[int, int] | None:
    """(height, width), upright, without decoding the picture; None where there is none to read."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(ORIENTATION, 1) >= 5
            return image.size if turned else image.size[::-1]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
