"""A picture of the scores of every frame: a panel a metric, a line a candidate."""

from pathlib import Path

import numpy as np

from jaxvsr.comparison import plotting, wording
from jaxvsr.comparison.scores import Scores
from jaxvsr.comparison.thinning import Curve, thin
from jaxvsr.metrics.table import METRICS

POINTS = 600  # that a curve is drawn with; more frames are drawn as mean and envelope
FEW = 40  # points that are drawn one by one
LONGEST = 26  # letters of a name in a legend


def plot_frames(scores: list[Scores], path: str | Path) -> Path:
    """Writes the curves of all metrics that were had as PNG, and returns its path.

    The time axis is in seconds. A frame without a value is a gap; an infinite value is a
    triangle at the top. Films of more than 600 frames are drawn as means of stretches, shaded
    from the least to the greatest value. Needs matplotlib (UsageError without).
    """
    metrics = wording.had(scores)
    names = [wording.shortened(label, LONGEST) for label in wording.labels(scores)]
    longest = max(20, *(len(name) + 8 for name in names))  # with the mean
    columns = 1 if len(metrics) <= 3 else 2
    count = max(1, len(metrics))
    figure, panels = plotting.panels(count, longest, len(names) + 1, columns=columns)
    for panel, metric in zip(panels, metrics, strict=False):
        _draw(panel, scores, names, metric)
    if not metrics:
        panels[0].set_axis_off()
        panels[0].text(0.5, 0.5, "no frame has a value of any metric", ha="center")
    return plotting.save_figure(path, figure)


def _draw(panel, scores: list[Scores], names: list[str], metric: str) -> None:
    """One panel: the curves, and the legend with the means beside it."""
    for i, (name, score) in enumerate(zip(names, scores, strict=True)):
        if metric in score.frames and len(score.times):
            dash = plotting.DASHES[i // len(plotting.COLOURS) % len(plotting.DASHES)]
            style = {"color": plotting.COLOURS[i % len(plotting.COLOURS)], "linestyle": dash}
            mean = wording.shown(metric, wording.mean(score, metric))
            _line(panel, thin(score.times, score.frames[metric], POINTS), style, f"{mean}  {name}")
    if any(score.equal(metric) for score in scores if metric in score.frames):
        panel.plot([], [], "^", ms=4, color=plotting.GREY, label="infinite (frames are equal)")
    title = f"{wording.arrow(metric)} {wording.title(metric)}"
    plotting.name(panel, title, f"{METRICS[metric].better} is better", "s")
    plotting.legend(panel, "mean")
    last = max(float(score.times[-1]) for score in scores if len(score.times))
    panel.set_xlim((0, last) if last > 0 else (-1, 1))
    if last <= 0:
        panel.set_xticks([0])
    if not any(np.isfinite(score.frames.get(metric, np.nan)).any() for score in scores):
        panel.set_yticks([])


def _line(panel, curve: Curve, style: dict, label: str) -> None:
    """A curve, its envelope where it was thinned, and marks for what a line cannot show."""
    colour, few = style["color"], len(curve.times) <= FEW
    if curve.thinned:
        panel.fill_between(curve.times, curve.low, curve.high, color=colour, alpha=0.13, lw=0)
    look = {"lw": 1.1, "marker": "o" if few else "", "ms": 3, "label": label}
    panel.plot(curve.times, curve.mean, **look, **style)
    alone = curve.alone & (not few)
    panel.plot(curve.times[alone], curve.mean[alone], ".", ms=3, color=colour)
    times = curve.times[curve.infinite]
    marks = {"marker": "^", "ms": 4, "ls": "", "color": colour, "clip_on": False}
    top = panel.get_xaxis_transform()  # seconds across, share of the panel upwards
    panel.plot(times, np.full(len(times), 1.0), transform=top, **marks)
