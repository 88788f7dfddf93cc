"""What can be asked of a comparison."""

from dataclasses import dataclass
from typing import Annotated, Literal

from jaxvsr.errors import UsageError, unknown
from jaxvsr.host.options import Range, Time, check

DEFAULT = ("psnr", "psnr_y", "ssim_y")


@dataclass(frozen=True)
class Settings:
    """How to compare. Every field is an option of `python -m jaxvsr compare`.

    Metrics may be joined by commas; times may be texts (00:01:02.5), and become seconds. Raises
    UsageError for what cannot be, with what could.
    """

    metrics: tuple[str, ...] = DEFAULT
    """What to measure: psnr psnr_y ssim ssim_y ms_ssim ms_ssim_y lpips lpips_squeeze lpips_vgg niqe
    vmaf vmaf_neg tpsnr tssim tof tlp warp_error mesh detail grain flicker, or all; with spaces or
    commas between."""
    crop: Annotated[int, Range(0, 16384, "a whole number of pixels")] = 0
    """Pixels to leave out at each border, in every metric."""
    offset: Annotated[float, Range(-1e9, 1e9, "seconds")] = 0.0
    """Seconds by which candidates are shifted: 1 where they lack the first second."""
    resize: Literal["bicubic", "lanczos"] | None = None
    """Bring candidates to the reference's size by this filter (default: refuse other sizes)."""
    shortest: bool = False
    """Compare only the frames that all have, instead of refusing."""
    start: Annotated[float | str | None, Time()] = None
    """Second of the reference to begin at, or a time such as 00:01:02.5 (default: the
    beginning)."""
    duration: Annotated[float | str | None, Time(above=True)] = None
    """Seconds to compare, or a time (default: to the end)."""

    def __post_init__(self):
        check(self)
        object.__setattr__(self, "metrics", names_of(self.metrics))


def names_of(asked: str | tuple[str, ...]) -> tuple[str, ...]:
    """Keys of METRICS, each once, of names with commas or not; "all" stands for all of them."""
    texts = [asked] if isinstance(asked, str) else asked
    names = [name for text in texts for name in str(text).replace(",", " ").split()]
    if set(names) <= set(DEFAULT) and names:
        return tuple(dict.fromkeys(names))
    from jaxvsr.metrics.table import METRICS  # its room brings JAX, which --help need not wait for

    for name in names:
        if name not in METRICS and name != "all":
            raise UsageError(unknown("metric", name, [*METRICS, "all"]))
    if not names:
        raise UsageError(f"no metric is named; choose from {', '.join(METRICS)}, all")
    return tuple(METRICS) if "all" in names else tuple(dict.fromkeys(names))
