"""What can be asked of an enhancement, and what comes back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from jaxvsr.errors import UsageError
from jaxvsr.host.options import SIDE, Range, Time, check

DEFAULT_MODEL = "sr_unet_light_x2"
SCALE = Range(0.01, 100)
TILE = Range(0, 16384, "a whole number of pixels")


@dataclass(frozen=True)
class Settings:
    """How to enhance. Every field is an option of `python -m jaxvsr enhance`.

    Times are seconds (62.5) or texts (00:01:02.5), and become seconds. Raises UsageError for what
    cannot be, with what could.
    """

    scale: Annotated[float | None, SCALE] = None
    """How many times larger, 0.01 to 100 (default: as much as the network enlarges)."""
    height: Annotated[int | None, SIDE] = None
    """Wanted height in pixels, instead of --scale."""
    codec: str | None = None
    """Video encoder: libx264, libx265, libvpx-vp9, libsvtav1, ffv1, prores_ks, or one of the
    machine's hardware, such as h264_nvenc or hevc_videotoolbox (default: libx264, or libx265 for
    deep colour, and libvpx-vp9 in WebM)."""
    crf: Annotated[float | None, Range(0, 63)] = None
    """Quality of the encoder: lower is better and larger, 0 to 51 for H.264 and H.265, to 63 for
    VP9 and AV1 (default: 16 libx264, 18 libx265, 24 libvpx-vp9, 26 libsvtav1)."""
    preset: str | None = None
    """Speed of the encoder, slower is smaller: ultrafast to placebo for H.264 and H.265, -8 to 8
    for VP9, -1 to 13 for AV1 (default: medium, medium, 4, 8)."""
    pix_fmt: str | None = None
    """Pixel format of the result, such as yuv420p10le (default: the source's depth and chroma)."""
    start: Annotated[float | str | None, Time()] = None
    """Second to begin at, or a time such as 00:01:02.5 (default: the beginning)."""
    duration: Annotated[float | str | None, Time(above=True)] = None
    """Seconds to enhance, or a time (default: to the end)."""
    interlaced: Literal["auto", "keep", "on"] = "auto"
    """Deinterlace when the input says it is interlaced, never, or always."""
    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    """Where the network runs."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the network."""
    impl: Literal["auto", "xla", "triton", "winograd"] = "auto"
    """How it runs: XLA; the Triton kernels of a checkout, on an NVIDIA GPU, 3x3 convolutions by
    Winograd's algorithm or not; or on such a GPU whatever is fastest, layer by layer, measured on
    its first day."""
    tile: Annotated[int, TILE] = 0
    """Side of a tile in input pixels; 0 runs whole frames and halves by itself if it must."""
    batch: Annotated[int | None, Range(1, 1024, "a whole number of frames")] = None
    """Frames per call of the network (default: 1)."""
    stream: Annotated[int | None, Range(0, 999, "the number of a stream")] = None
    """Number of the video stream to enhance, where a file holds several (default: the
    largest). The others are copied."""
    drop: bool = False
    """Leave out streams that the output's container cannot hold, instead of refusing."""
    convert: bool = False
    """Encode anew sound and text subtitles that the output's container cannot hold, instead of
    refusing: to Opus and WebVTT in .webm, AAC and mov_text in .mp4 and .mov, FLAC and SRT in
    .mkv."""
    overwrite: bool = False
    """Replace an existing output, and drop an unfinished run with other settings."""

    def __post_init__(self):
        check(self)
        if None not in (self.scale, self.height):
            raise UsageError("--scale and --height exclude each other; give one")
        encoder = (self.codec, self.crf, self.preset, self.pix_fmt)
        if encoder != (None,) * 4:
            from jaxvsr.video import encode  # FFmpeg's libraries, which --help need not wait for

            encode.check(*encoder)


@dataclass(frozen=True)
class Result:
    """What was written: the file, its frames, how many of the input were damaged, and notices."""

    output: Path
    frames: int
    damaged: int
    seconds: float
    notices: tuple[str, ...] = ()
