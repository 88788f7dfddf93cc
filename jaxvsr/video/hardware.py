"""Encoders of a machine's hardware, asked for by name; which of them can be used here and now."""

import re
from dataclasses import dataclass, field
from fractions import Fraction

import av

from jaxvsr.errors import UsageError
from jaxvsr.video import priority
from jaxvsr.video.streams import quiet

NAME = re.compile(r"(h264|hevc|av1|vp8|vp9|mpeg2|mjpeg)_([a-z0-9]+)")
SOFTWARE = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9"}
PROBE = 256  # pixels a side; the smallest that all of them take


@dataclass(frozen=True)
class Maker:
    """How a maker's encoders are told of quality: its option's name, its usual value, the rest."""

    device: str
    quality: str = ""
    usual: float | None = None
    options: dict[str, str] = field(default_factory=dict)


MAKERS = {
    "nvenc": Maker("an NVIDIA GPU", "cq", 19, {"rc": "vbr", "b": "0", "preset": "p6"}),
    "amf": Maker("an AMD GPU", "qp_i", 19, {"rc": "cqp", "quality": "quality"}),
    # 118 is FFmpeg's FF_QP2LAMBDA: quality 65 of 100.
    "videotoolbox": Maker("a Mac", options={"flags": "+qscale", "global_quality": str(65 * 118)}),
}
OTHERS = {"qsv": "Quick Sync", "vaapi": "VA-API", "v4l2m2m": "V4L2", "mf": "Media Foundation"}
OTHERS |= {"vulkan": "Vulkan", "omx": "OpenMAX", "d3d12va": "Direct3D", "rkmpp": "Rockchip"}
FORMATS = ("yuv420p",)


def software_of(codec: str) -> str | None:
    """The software encoder of the same format, for the name of a hardware encoder; else None."""
    match = NAME.fullmatch(codec)
    if match is None or match[2] not in MAKERS | OTHERS:
        return None
    return SOFTWARE.get(match[1], "libx264")


def check(codec: str) -> None:
    """Refuses a hardware encoder that this project, this FFmpeg or this machine has not got."""
    family, kind = NAME.fullmatch(codec).groups()
    instead = f"choose {SOFTWARE.get(family, 'libx264')}"
    if kind in OTHERS:
        usable = ", ".join(f"*_{name}" for name in MAKERS)
        raise UsageError(f"{codec}: {OTHERS[kind]} is not used here, {usable} are; {instead}")
    if family not in ("h264", "hevc", "av1") or (family, kind) == ("av1", "videotoolbox"):
        raise UsageError(f"{codec}: there is no such encoder; {instead}")
    try:
        opened(codec)
    except av.codec.codec.UnknownCodecError:
        raise UsageError(f"{codec}: the FFmpeg in PyAV has no such encoder; {instead}") from None
    except (av.FFmpegError, OSError, ValueError):
        lack = f"needs {MAKERS[kind].device}, and none can be used here"
        raise UsageError(f"{codec}: {lack}; {instead}") from None


def opened(codec: str) -> None:
    """Opens the encoder for a small picture, as its driver and device allow, or raises."""
    quiet()
    context = av.CodecContext.create(codec, "w")
    context.width = context.height = PROBE
    context.pix_fmt, context.time_base, context.framerate = FORMATS[0], Fraction(1, 25), 25
    with priority.ordinary():
        context.open()


def options(codec: str, crf: float | None) -> dict[str, str]:
    """FFmpeg's options for a quality like that of the CRF, by default a good one."""
    maker = MAKERS[NAME.fullmatch(codec)[2]]
    if not maker.quality:
        if crf is not None:
            raise UsageError(f"{codec} has no CRF; leave --crf away")
        return dict(maker.options)
    value = f"{maker.usual if crf is None else crf:g}"
    both = {"qp_p": value} if maker.quality == "qp_i" else {}
    return {**maker.options, maker.quality: value, **both}
