"""The scores of one candidate, frame by frame, and what is said of them in one number."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from jaxvsr.errors import UsageError, choices
from jaxvsr.metrics.table import METRICS

WORST = 0.05  # share of the frames whose mean is given as the worst


@dataclass(frozen=True)
class Scores:
    """One candidate: `frames[metric]` is [T], NaN where a frame has no such value.

    A frame has none where there is no frame before it (metrics of motion), and a whole metric has
    none where it could not be had: `unavailable[metric]` then says why and what helps. `times` are
    the seconds of the reference's frames from its beginning. `kbps` is the bitrate of the video
    stream in kbit/s, None where unknown. `series` names the curve that a candidate is a point of.
    """

    name: str
    path: str
    times: np.ndarray
    frames: Mapping[str, np.ndarray]
    unavailable: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    kbps: float | None = None
    series: str = ""

    def mean(self, metric: str) -> float:
        """Mean over the frames that have a finite value; infinite where all frames are equal.

        A PSNR is infinite for a frame that equals its truth; one such frame must not hide the
        rest. `equal` counts them. NaN where no frame has a value. Raises UsageError, as the other
        methods do, where the metric was not measured, and says why it could not be had.
        """
        return _mean(self._values(metric))

    def worst(self, metric: str) -> float:
        """Mean over the worst twentieth of the frames, at least one."""
        values = self._values(metric)[self.order(metric)]
        return _mean(values[: math.ceil(len(values) * WORST)])

    def order(self, metric: str) -> np.ndarray:
        """Indices of the frames that have a value, the worst first."""
        values = np.asarray(self._values(metric), np.float64)
        known = np.flatnonzero(~np.isnan(values))
        return known[np.argsort(-METRICS[metric].loss(values[known]), kind="stable")]

    def equal(self, metric: str) -> int:
        """Frames whose value is infinite."""
        return int(np.isinf(self._values(metric)).sum())

    def _values(self, metric: str) -> np.ndarray:
        if metric in self.frames:
            return self.frames[metric]
        if metric in self.unavailable:
            raise UsageError(
                f"{METRICS[metric].title} was not measured: {self.unavailable[metric]}"
            )
        raise UsageError(f"{metric} was not measured; {choices(metric, self.frames)}")


def _mean(values) -> float:
    values = np.asarray(values, np.float64)
    known = values[~np.isnan(values)]
    finite = known[np.isfinite(known)]
    if len(finite):
        return float(finite.mean())
    return float(known[0]) if len(known) else math.nan
