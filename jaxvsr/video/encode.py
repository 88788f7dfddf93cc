"""Frames to a closed file: the choice of an encoder, and segments that it writes."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import av

from jaxvsr.errors import OutputError, SpaceError, UsageError, unknown
from jaxvsr.video import hardware, marks, names, pixels, priority, quality
from jaxvsr.video import hdr as hdr_data
from jaxvsr.video.colour import SITINGS, Colour
from jaxvsr.video.failing import failing
from jaxvsr.video.streams import VideoInfo, quiet

os.environ.setdefault("SVT_LOG", "0")  # SVT-AV1 talks past FFmpeg

YUV = ("yuv420p", "yuv422p", "yuv444p")
DEEP = tuple(f"{name}10le" for name in YUV)
DEEPER = tuple(f"{name}12le" for name in YUV)
FORMATS = {  # encoder: the planar formats it takes
    "libx264": (*YUV, *DEEP),
    "libx265": (*YUV, *DEEP, *DEEPER, "gbrp", "gbrp10le", "gbrp12le", "gray", "gray10le"),
    "libvpx-vp9": YUV,
    "libsvtav1": ("yuv420p", "yuv420p10le"),
    "ffv1": (*YUV, *DEEP, *DEEPER, "gbrp10le", "gbrp12le", "gbrp16le", "gray", "gray10le"),
    "prores_ks": ("yuv422p10le", "yuv444p10le"),
    "rawvideo": (*YUV, *DEEP, *DEEPER, "gray", "gray10le"),
}
FORMATS["libx265"] += ("gray12le",)
EVERY_FORMAT = tuple(dict.fromkeys(name for formats in FORMATS.values() for name in formats))
ALPHA = {  # encoder: those of its formats beside which it takes transparency
    "libvpx-vp9": ("yuv420p",),
    "prores_ks": ("yuv444p10le",),
    "ffv1": (*YUV, *DEEP, "gbrp10le", "gbrp12le", "gbrp16le"),
}
CONTAINERS = {  # suffix: encoders, the preferred ones first
    ".mkv": ("libx264", "libx265", "libvpx-vp9", "libsvtav1", "ffv1", "prores_ks"),
    ".mp4": ("libx264", "libx265", "libsvtav1", "libvpx-vp9"),
    ".mov": ("libx264", "libx265", "prores_ks"),
    ".webm": ("libvpx-vp9", "libsvtav1"),
    ".y4m": ("rawvideo",),
}
NAMES = {"h264": "libx264", "x264": "libx264", "avc": "libx264", "hevc": "libx265"}
NAMES |= {"h265": "libx265", "x265": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
NAMES |= {"svtav1": "libsvtav1", "prores": "prores_ks", "raw": "rawvideo"}
CRF = {"libx264": 16, "libx265": 18, "libvpx-vp9": 24, "libsvtav1": 26}
PRESET = {"libx264": "medium", "libx265": "medium", "libsvtav1": "8", "libvpx-vp9": "4"}
DEEPEST = 64  # frames; no encoder reorders by more
SLICED = 256  # pixels a side below which FFV1 chooses its slices itself
THREADS = {"libx265": 1, "ffv1": 4}  # the others take two; pinned, for equal bytes on every run


def _has_avx512() -> bool:
    try:
        from numpy._core._multiarray_umath import __cpu_features__ as features
    except ImportError:  # numpy keeps it to itself and may move it
        return False
    return bool(features.get("AVX512F"))


# x264's AVX-512 code for MB-tree reads past the end of a row of macroblocks unless there are a
# multiple of eight, so that the bytes depend on what lay in memory; its AVX2 code does not.
REPEATABLE = {"x264-params": "asm=AVX2"} if _has_avx512() else {}


@dataclass(frozen=True)
class Encoding:
    """How frames become bytes. `crf` and `preset` are None where the encoder has no such thing.

    With `alpha` each frame's planes end with one of transparency.
    """

    codec: str
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    alpha: bool = False


def choose(info: VideoInfo, suffix: str, *, codec=None, crf=None, preset=None, pix_fmt=None):
    """The Encoding for a video and an output suffix: the source's depth and chroma are kept.

    Raises UsageError, naming the choices, for what cannot be.
    """
    suffix = suffix.lower()
    if suffix not in CONTAINERS:
        known = ", ".join(CONTAINERS)
        raise UsageError(f"cannot write {suffix or 'a file without a suffix'}; choose from {known}")
    allowed = CONTAINERS[suffix]
    wanted = pixels.planar(_known(pix_fmt)) if pix_fmt else _nearest_depth(info)
    if codec is not None:
        codec = encoder_of(codec)
        if (hardware.software_of(codec) or codec) not in allowed:
            raise UsageError(f"{suffix} does not take {codec}; choose from {', '.join(allowed)}")
    else:
        codec = _default_codec(info, suffix, wanted, strict=pix_fmt is not None)
    if pix_fmt is None:
        formats = _layers(codec, suffix) if marks.ALPHA in info.marks else ()
        wanted = _fitting(wanted, formats) or _fitting(wanted, formats_of(codec)) or wanted
    _check_format(codec, wanted)
    quality.check_preset(codec, preset)
    if hardware.software_of(codec):
        return Encoding(codec, crf, None, wanted, hardware.options(codec, crf))
    quality.check_crf(codec, crf)
    crf, preset = CRF.get(codec) if crf is None else crf, preset or PRESET.get(codec)
    alpha = marks.ALPHA in info.marks and wanted in _layers(codec, suffix)
    return Encoding(codec, crf, preset, wanted, _options(codec, crf, preset), alpha)


def check(codec: str | None, crf: float | None, preset: str | None, pix_fmt: str | None) -> None:
    """Refuses what no encoder, or not the one that is asked for, can do; nothing is opened for it.

    Raises UsageError, naming the choices.
    """
    encoder = None if codec is None else encoder_of(codec)
    quality.check_preset(encoder, preset)
    if encoder and hardware.software_of(encoder):
        hardware.check(encoder)
        hardware.options(encoder, crf)
    elif encoder:
        quality.check_crf(encoder, crf)
    if pix_fmt is not None:
        _check_format(encoder, pixels.planar(_known(pix_fmt)))


def encoder_of(codec: str) -> str:
    """FFmpeg's name of an encoder, also by common names of codecs. Raises UsageError."""
    name = NAMES.get(codec.lower(), codec.lower())
    if name not in FORMATS and not hardware.software_of(name):
        raise UsageError(unknown("codec", codec, [*FORMATS, "h264", "h265", "vp9", "av1"]))
    return name


def formats_of(codec: str) -> tuple[str, ...]:
    """The pixel formats that an encoder is given."""
    return FORMATS.get(codec, hardware.FORMATS)


def _check_format(codec: str | None, wanted: str) -> None:
    """Raises UsageError for a pixel format that the encoder, or without one none, takes."""
    choices = formats_of(codec) if codec else EVERY_FORMAT
    if wanted not in choices:
        who = codec or "no encoder here"
        raise UsageError(f"{who} cannot write {wanted}; choose --pix-fmt from {', '.join(choices)}")


def check_width(codec: str, width: int) -> None:
    """Refuses what would end the process.

    The x265 that PyAV 18.1 carries writes past its buffers at widths of 33 to 48, with AVX.
    """
    if codec == "libx265" and 32 < width <= 48:
        raise UsageError(f"libx265 fails at a width of {width}; choose libx264, or wider frames")


def colour_of(encoding: Encoding, source: Colour) -> Colour:
    """What enhanced frames must be converted to before they are written; tags follow the source."""
    kind, bits, subsampling = pixels.facts(encoding.pix_fmt)
    changes = {"bits": bits, "subsampling": subsampling}
    if source.siting not in SITINGS or source.siting.endswith("right"):
        changes["siting"] = "left"  # no tag for the others
    if subsampling == (1, 2) and source.siting == "center":
        changes["siting"] = "left"
    if kind == "rgb":
        changes |= {"matrix": "rgb", "matrix_code": 0, "full_range": True}
    elif kind == "gray":
        changes |= {"matrix": "gray"}
    elif source.matrix in ("rgb", "gray"):
        changes |= {"matrix": "bt709", "matrix_code": 1}
        if source.matrix == "rgb":
            changes["full_range"] = False
    return replace(source, **changes)


class SegmentWriter:
    """A Matroska file of encoded frames whose times are just 0, 1, 2, ... ms: their ordinals.

    The same frames give the same bytes. `heard` is called with each packet as the encoder gives
    it, its time an ordinal. Raises OutputError, or SpaceError when the disk is full.
    """

    def __init__(self, path, encoding, width, height, fps, sar, colour, hdr=None, heard=None):
        quiet()
        self._heard = heard
        self._path, self._encoding, self._count, self._packets = path, encoding, 0, 0
        codec = "ffv1" if encoding.codec == "rawvideo" else encoding.codec
        with failing(path):
            self._file = av.open(
                names.url(path), "w", format="matroska", options={"fflags": "+bitexact"}
            )
            stream = self._file.add_stream(codec, rate=Fraction(fps).limit_denominator(1 << 16))
        self._form = pixels.layered(encoding.pix_fmt) if encoding.alpha else encoding.pix_fmt
        stream.width, stream.height, stream.pix_fmt = width, height, self._form
        if encoding.alpha and codec == "libvpx-vp9":
            stream.metadata["alpha_mode"] = "1"
        context = stream.codec_context
        context.time_base = 1 / Fraction(fps).limit_denominator(1 << 16)
        context.sample_aspect_ratio = Fraction(sar or 1)
        context.thread_count = THREADS.get(codec, 2)
        _tag(context, colour, encoding)
        context.options = _all_options(codec, encoding, colour, hdr or {})
        if min(width, height) < SLICED:
            context.options.pop("slices", None)
        self._stream = stream

    def write(self, planes) -> None:
        """Adds one frame: planes [H, W] as `colour.from_rgb` makes them, and of transparency."""
        frame = pixels.frame_of(planes, self._form)
        frame.pts, frame.time_base = self._count, self._stream.codec_context.time_base
        for tag in ("color_range", "colorspace", "color_primaries", "color_trc"):
            setattr(frame, tag, getattr(self._stream.codec_context, tag))
        with failing(self._path):
            if not self._count:
                with priority.ordinary():
                    self._file.start_encoding()
            self._count += 1
            self._mux(self._stream.encode(frame))

    def close(self) -> None:
        """Writes what the encoder still holds and closes the file."""
        with failing(self._path):
            if self._count:
                self._mux(self._stream.encode(None))
            self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        with contextlib.suppress(*(OutputError, SpaceError) if kind else ()):
            self.close()  # a second error would hide the first

    def _mux(self, packets):
        for packet in packets:
            if self._heard is not None:
                self._heard(packet)
            packet.time_base = Fraction(1, 1000)
            packet.duration = 1
            # Matroska stores no decoding times, and x265 gives wrong ones for very short films.
            packet.dts = self._packets - DEEPEST
            self._packets += 1
            self._file.mux(packet)


def _known(pix_fmt: str) -> str:
    try:
        return av.VideoFormat(pix_fmt, 2, 2).name
    except ValueError:
        raise UsageError(unknown("pixel format", pix_fmt, EVERY_FORMAT)) from None


def _nearest_depth(info: VideoInfo) -> str:
    """The source's planar format by our names: no alpha, no j, a depth that encoders have."""
    kind, bits, subsampling = pixels.facts(pixels.planar(info.pix_fmt))
    depth = next((depth for depth in (8, 10, 12) if depth >= bits), 12)
    if info.codec == "prores" and marks.ALPHA in info.marks:
        depth = min(depth, 10)  # as deep as its encoder goes, beside which there is no other
    if kind == "yuv" and info.colour.subsampling != subsampling:
        subsampling = info.colour.subsampling
    return pixels.named(kind, depth, subsampling)


def _layers(codec: str, suffix: str) -> tuple[str, ...]:
    """Formats beside which transparency is written; VP9's needs a place beside the picture."""
    return () if codec == "libvpx-vp9" and suffix == ".mp4" else ALPHA.get(codec, ())


def _default_codec(info: VideoInfo, suffix: str, wanted: str, *, strict: bool) -> str:
    """The first encoder that keeps depth and chroma; x265 leads for 10 bits and more."""
    allowed = CONTAINERS[suffix]
    deep = pixels.facts(wanted)[1] > 8
    order = sorted(allowed, key=lambda codec: codec != "libx265") if deep else allowed
    fits = lambda formats: wanted in formats if strict else _fitting(wanted, formats)
    codec = next((codec for codec in order if fits(FORMATS[codec])), None)
    if marks.ALPHA in info.marks:  # transparency comes first, where it can be had
        codec = next((codec for codec in order if fits(_layers(codec, suffix))), codec)
    if codec is None:
        formats = sorted({name for c in allowed for name in FORMATS[c]})
        raise UsageError(
            f"no encoder here writes {wanted}; choose another container (.mkv takes all), "
            f"or --pix-fmt from {', '.join(formats)}"
        )
    return codec


def _fitting(wanted: str, formats) -> str | None:
    """The smallest format that loses no depth and no chroma; RGB and grey may become YUV."""
    kind, bits, subsampling = pixels.facts(wanted)
    if wanted in formats:
        return wanted
    if kind == "gray":
        subsampling = (2, 2)
    found = []
    for name in formats:
        other, depth, sub = pixels.facts(name)
        enough = depth >= bits and sub[0] <= subsampling[0] and sub[1] <= subsampling[1]
        if enough and other in ("yuv", kind):
            found.append((other != kind, depth, -sub[0] * sub[1], name))
    return min(found)[-1] if found else None


def _options(codec: str, crf, preset) -> dict[str, str]:
    """FFmpeg's options for quality and for equal bytes on every run."""
    options = {} if crf is None else {"crf": f"{crf:g}"}
    if preset is not None:
        options["cpu-used" if codec == "libvpx-vp9" else "preset"] = str(preset)
    fixed = {
        "libx264": REPEATABLE,
        "libx265": {"x265-params": "log-level=none:pools=2:frame-threads=1"},
        "libvpx-vp9": {"row-mt": "1", "deadline": "good"},
        "libsvtav1": {"svtav1-params": "lp=2"},
        "ffv1": {"level": "3", "slices": "4", "slicecrc": "1"},
        "rawvideo": {"level": "3", "slices": "4", "slicecrc": "1"},
        "prores_ks": {"vendor": "apl0"},
    }
    return options | fixed.get(codec, {})


def _all_options(codec: str, encoding: Encoding, colour: Colour, hdr: dict) -> dict[str, str]:
    """The encoding's options, the place of chroma, and HDR metadata where the encoder takes it."""
    options = dict(encoding.options)
    if colour.subsampling == (2, 2) and colour.matrix not in ("rgb", "gray"):
        options["chroma_sample_location"] = colour.siting
    parts = hdr_data.options(codec, hdr) if codec in hdr_data.CARRIERS else []
    if parts:
        key = {"libx264": "x264-params", "libx265": "x265-params"}.get(codec, "svtav1-params")
        options[key] = ":".join([*filter(None, [options.get(key)]), *parts])
    return options


def _tag(context, colour: Colour, encoding: Encoding) -> None:
    context.color_range = 2 if colour.full_range else 1
    context.colorspace = colour.matrix_code
    context.color_primaries = colour.primaries
    context.color_trc = colour.transfer
