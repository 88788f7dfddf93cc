"""What can be asked of a comparison."""

from dataclasses import dataclass
from typing import Literal

DEFAULT = ("psnr", "psnr_y", "ssim_y")


@dataclass(frozen=True)
class Settings:
    """How to compare. Every field is an option of `python -m jaxvsr compare`."""

    metrics: tuple[str, ...] = DEFAULT
    """What to measure: psnr psnr_y ssim ssim_y ms_ssim ms_ssim_y lpips lpips_squeeze lpips_vgg niqe
    vmaf vmaf_neg tpsnr tssim tof tlp warp_error mesh detail grain flicker, or all."""
    crop: int = 0
    """Pixels to leave out at each border, in every metric."""
    offset: float = 0.0
    """Seconds by which candidates are shifted: 1 where they lack the first second."""
    resize: Literal["bicubic", "lanczos"] | None = None
    """Bring candidates to the reference's size by this filter, instead of refusing."""
    shortest: bool = False
    """Compare only the frames that all have, instead of refusing."""
    start: float | None = None
    """Second of the reference to begin at."""
    duration: float | None = None
    """Seconds to compare."""
