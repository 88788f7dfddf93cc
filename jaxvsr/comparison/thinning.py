"""A curve of any number of frames in few enough points to draw, with what lies between them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Curve:
    """A curve in stretches of frames; every array is [number of stretches].

    `first` and `last` are the frames of a stretch, `times` its beginning in seconds. `low`,
    `mean` and `high` are of its finite values, NaN where it has none; `infinite` says whether a
    value of it is.
    """

    first: np.ndarray
    last: np.ndarray
    times: np.ndarray
    low: np.ndarray
    mean: np.ndarray
    high: np.ndarray
    infinite: np.ndarray

    @property
    def thinned(self) -> bool:
        """Whether a stretch holds more than one frame."""
        return bool((self.last > self.first).any())

    @property
    def alone(self) -> np.ndarray:
        """Where a stretch has a value and its neighbours have none, so that no line is seen."""
        gap = np.pad(np.isnan(self.mean), 1, constant_values=True)
        return ~gap[1:-1] & gap[:-2] & gap[2:]


def thin(times: np.ndarray, values: np.ndarray, points: int) -> Curve:
    """The curve of `values` [T] at `times` [T] in at most `points` stretches of equal length."""
    frames = len(times)
    edges = np.linspace(0, frames, min(frames, points) + 1).astype(int)
    first, last = edges[:-1], edges[1:] - 1
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    known = np.where(finite, values, np.nan)
    count = np.add.reduceat(finite.astype(int), first)
    total = np.add.reduceat(np.where(finite, values, 0.0), first)
    return Curve(
        first=first,
        last=last,
        times=np.asarray(times, np.float64)[first],
        low=np.fmin.reduceat(known, first),
        mean=np.where(count > 0, total / np.maximum(count, 1), np.nan),
        high=np.fmax.reduceat(known, first),
        infinite=np.logical_or.reduceat(np.isinf(values), first),
    )
