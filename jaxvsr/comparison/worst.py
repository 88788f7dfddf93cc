"""Where to look: the worst frames, apart from each other, and the spot where pictures differ."""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from jaxvsr.comparison import wording
from jaxvsr.comparison.scores import Scores
from jaxvsr.errors import UsageError
from jaxvsr.metrics.table import METRICS

SECONDS, FRAMES = 1.0, 10  # that two chosen frames should lie apart, whichever is more

# Indices of frames, increasing, to (index, [reference, candidate 0, ...]), uint8 [H, W, 3] each.
FramesAt = Callable[[Sequence[int]], Iterable[tuple[int, list[np.ndarray]]]]


def worst_frames(scores: list[Scores], metric: str, count: int) -> list[int]:
    """At most `count` frames that are worst for any of the candidates, the worst first.

    They lie a second or ten frames apart, or as far as a short film allows. A metric that no
    candidate has is a UsageError.
    """
    values = _worst_of(scores, metric)
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        had = ", ".join(wording.had(scores))
        choices = f"one of {had}" if had else "other metrics"
        raise UsageError(f"no frame has a value of {METRICS[metric].title}; choose {choices}")
    order = known[np.argsort(-METRICS[metric].loss(values[known]), kind="stable")]
    gap = max(FRAMES, _frames_a_second(scores[0].times))
    while len(chosen := _apart(order, gap, count)) < min(count, len(order)):
        gap //= 2
    return chosen


def differing_spot(
    reference: np.ndarray, candidates: list[np.ndarray], size: tuple[int, int]
) -> tuple[int, int]:
    """(top, left) of the rectangle of `size` = (height, width) with the largest squared error.

    The error is the sum over candidates and colours; where all are equal, it is the middle.
    """
    height, width = size
    error = np.zeros(reference.shape[:2])
    for candidate in candidates:
        error += np.square(reference.astype(np.float32) - candidate).sum(axis=-1)
    if not error.any():
        return (error.shape[0] - height) // 2, (error.shape[1] - width) // 2
    total = np.pad(error, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = total[height:, width:] - total[:-height, width:]
    sums += total[:-height, :-width] - total[height:, :-width]
    top, left = np.unravel_index(np.argmax(sums), sums.shape)
    return int(top), int(left)


def _worst_of(scores: list[Scores], metric: str) -> np.ndarray:
    """The worst value of any candidate, [T]; NaN where none has one."""
    curves = [score.frames[metric] for score in scores if metric in score.frames]
    frames = min(map(len, curves), default=0)
    if not curves:
        return np.empty(0)
    values = np.stack([np.asarray(curve[:frames], np.float64) for curve in curves])
    losses = METRICS[metric].loss(values)
    worst = np.where(np.isnan(losses), -np.inf, losses).argmax(0)
    return np.take_along_axis(values, worst[None], 0)[0]


def _frames_a_second(times: np.ndarray) -> int:
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return math.ceil(SECONDS / step) if step > 0 else FRAMES


def _apart(order: np.ndarray, gap: int, count: int) -> list[int]:
    """The first `count` of `order` that are at least `gap` from each other."""
    chosen: list[int] = []
    while len(order) and len(chosen) < count:
        chosen.append(int(order[0]))
        order = order[np.abs(order - chosen[-1]) >= gap]
    return chosen
