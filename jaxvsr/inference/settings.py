"""What can be asked of an enhancement, and what comes back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """How to enhance. Every field is an option of `python -m jaxvsr enhance`."""

    scale: float | None = None
    """How many times larger; the default is the network's own scale."""
    height: int | None = None
    """Wanted height in pixels, instead of --scale."""
    codec: str | None = None
    """Video encoder: libx264, libx265, libvpx-vp9, libsvtav1, ffv1, prores_ks."""
    crf: float | None = None
    """Quality of the encoder: lower is better and larger."""
    preset: str | None = None
    """Speed of the encoder: slower is smaller."""
    pix_fmt: str | None = None
    """Pixel format of the result, such as yuv420p10le; the default keeps depth and chroma."""
    start: float | None = None
    """Second to begin at."""
    duration: float | None = None
    """Seconds to enhance."""
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
    tile: int = 0
    """Side of a tile in input pixels; 0 runs whole frames and halves by itself if it must."""
    batch: int | None = None
    """Frames per call of the network; the default is 1."""
    drop: bool = False
    """Leave out streams that the output's container cannot hold, instead of refusing."""
    overwrite: bool = False
    """Replace an existing output, and drop an unfinished run with other settings."""


@dataclass(frozen=True)
class Result:
    """What was written: the file, its frames, how many of the input were damaged, and notices."""

    output: Path
    frames: int
    damaged: int
    seconds: float
    notices: tuple[str, ...] = ()
