"""One candidate against its reference: the comparison as a function of the library."""

from collections.abc import Sequence

from jaxvsr.comparison.run import compare as compare_all
from jaxvsr.comparison.scores import Scores
from jaxvsr.comparison.settings import DEFAULT, Settings
from jaxvsr.host.options import chosen


def compare(reference, candidate, *, metrics: str | Sequence[str] = DEFAULT, **settings) -> Scores:
    """Scores of a candidate, frame by frame.

    Both are paths (a video, a picture, a folder or pattern of pictures) or frames [T, H, W, 3],
    numpy or JAX, uint8 or float in [0, 1]. `metrics` are keys of `jaxvsr.metrics.table.METRICS`;
    `settings` are the other fields of `jaxvsr.comparison.settings.Settings`: crop, offset, resize,
    shortest, start, duration. A metric that cannot be had, for want of weights or of a program, is
    told in `Scores.unavailable`. Raises a `JaxvsrError` that says in one line what is wrong.
    """
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    asked = chosen(Settings, {"metrics": names, **settings})
    (scores,) = compare_all(reference, [candidate], asked)
    return scores
