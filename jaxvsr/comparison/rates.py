"""Candidates as points of rate-distortion curves: their table of BD-rates, and their plot."""

import math
from pathlib import Path

from jaxvsr.comparison import plotting, wording
from jaxvsr.comparison.scores import Scores
from jaxvsr.comparison.table import grid
from jaxvsr.errors import InputError, UsageError
from jaxvsr.metrics.rate import bd_rate
from jaxvsr.metrics.table import METRICS

Points = list[tuple[float, float]]  # (kbit/s, mean of a metric), by rate
USUAL = 4  # points of a curve that comparisons are made with
LONGEST = 28  # letters of a series' name


def curves(scores: list[Scores]) -> dict[str, dict[str, Points]]:
    """Series to metric to points, sorted by rate.

    A candidate whose bitrate is unknown is no point; nor is one whose mean is infinite or none.
    """
    found: dict[str, dict[str, Points]] = {}
    for score in scores:
        series = found.setdefault(score.series, {})
        for metric in wording.had(scores):
            mean = wording.mean(score, metric)
            if score.kbps and math.isfinite(mean):
                series.setdefault(metric, []).append((float(score.kbps), mean))
    return {
        name: {metric: sorted(points) for metric, points in series.items()}
        for name, series in found.items()
    }


def bd_rates(
    scores: list[Scores], anchor: str | None = None
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, str]]]:
    """BD-rates of each other series against `anchor`, and reasons where there is none.

    Both map series to metric; the anchor is the first series where none is named. A BD-rate is in
    percent of bitrate at equal quality, negative where the series needs less. Quality is a metric's
    mean, negated where lower is better (LPIPS, NIQE, tOF ...), so that the sign always means the
    same. UsageError for an unknown anchor.
    """
    found = curves(scores)
    anchor = _anchor(found, anchor)
    rates: dict[str, dict[str, float]] = {}
    reasons: dict[str, dict[str, str]] = {}
    for name in (name for name in found if name != anchor):
        rates[name], reasons[name] = {}, {}
        for metric in wording.had(scores):
            pair = [_upwards(found[n].get(metric, []), metric) for n in (anchor, name)]
            rate = _bd_rate(*pair)
            if isinstance(rate, str):
                reasons[name][metric] = rate
            else:
                rates[name][metric] = rate
    return rates, reasons


def as_json(scores: list[Scores], anchor: str | None = None) -> dict:
    """Points, BD-rates in percent, and reasons where there is none, of every series.

    As `bd_rates`, which says what the sign means; the anchor itself has points only.
    """
    rates, reasons = bd_rates(scores, anchor)
    found = curves(scores)
    return {
        "anchor": _anchor(found, anchor),
        "series": {
            name: {
                "points": {metric: [list(p) for p in points] for metric, points in series.items()},
                "bd_rate": rates.get(name, {}),
                "unavailable": reasons.get(name, {}),
            }
            for name, series in found.items()
        },
    }


def table(scores: list[Scores], anchor: str | None = None, *, width: int = 100) -> str:
    """BD-rates in percent as text: a line a metric, a column a series, "-" with its reason below.

    As `bd_rates`, which says what the sign means.
    """
    rates, reasons = bd_rates(scores, anchor)
    metrics, anchor = wording.had(scores), _anchor(curves(scores), anchor)
    heads = [wording.shortened(_named(name), LONGEST) for name in rates]
    rows = [
        [f"{rates[name][m]:+.2f} %" if m in rates[name] else "-" for name in rates] for m in metrics
    ]
    first = f"BD-rate against {_named(anchor)}: bitrate at equal quality, less is better"
    if not rates:
        return f"{first}\nno other series to hold against it"
    lines = grid([METRICS[m].title for m in metrics], heads, rows, width)
    return "\n".join([first, *lines, *_below(curves(scores), reasons)])


def plot(scores: list[Scores], path: str | Path) -> Path:
    """Writes the rate-distortion curves as PNG: a panel a metric, a marked line a series.

    The rate axis is logarithmic. Returns the path; UsageError without matplotlib, and where no
    candidate has a bitrate.
    """
    found = curves(scores)
    metrics = [m for m in wording.had(scores) if any(m in series for series in found.values())]
    if not metrics:
        raise UsageError("no candidate has a known bitrate; rate-distortion curves need one")
    names = [wording.shortened(_named(name), LONGEST) for name in found]
    columns = 1 if len(metrics) == 1 else 2
    longest = max(map(len, names))
    made = plotting.panels(len(metrics), longest, len(names), columns=columns, height=2.6)
    figure, panels = made
    rates = [rate for series in found.values() for points in series.values() for rate, _ in points]
    for panel, metric in zip(panels, metrics, strict=True):
        for i, (name, series) in enumerate(zip(names, found.values(), strict=True)):
            if points := series.get(metric):
                look = {"marker": plotting.MARKERS[i % len(plotting.MARKERS)], "ms": 5, "lw": 1.3}
                colour = plotting.COLOURS[i % len(plotting.COLOURS)]
                panel.plot(*zip(*points, strict=True), color=colour, label=name, **look)
        title = f"{wording.arrow(metric)} {wording.title(metric)}"
        plotting.name(panel, title, f"{METRICS[metric].better} is better", "kbit/s")
        plotting.legend(panel, "")
        _logarithmic(panel, min(rates), max(rates))
    return plotting.save_figure(path, figure)


def _anchor(found: dict[str, dict[str, Points]], name: str | None) -> str:
    """The series of this name, or the first."""
    if name is None and found:
        return next(iter(found))
    if name not in found:
        known = ", ".join(repr(series) for series in found) or "none: there are no candidates"
        raise UsageError(f"no series is called {name!r}; choose one of {known}")
    return name


def _named(series: str) -> str:
    return wording.printable(series) or "(no name)"


def _upwards(points: Points, metric: str) -> Points:
    """The points with a quality that is better when higher."""
    return [(rate, -METRICS[metric].loss(mean)) for rate, mean in points]


def _bd_rate(anchor: Points, test: Points) -> float | str:
    """The BD-rate, or why there is none."""
    for name, points in (("anchor", anchor), ("test", test)):
        if points and points[0][1] > points[-1][1]:
            return f"points of the {name} curve: quality falls as the bitrate grows"
    try:
        return bd_rate(anchor, test)
    except InputError as error:
        return str(error)


def _below(found: dict[str, dict[str, Points]], reasons: dict[str, dict[str, str]]) -> list[str]:
    """The reasons, each once for a series, and a warning where points are few."""
    lines = []
    for name, missing in reasons.items():
        for reason in dict.fromkeys(missing.values()):
            titles = ", ".join(METRICS[m].title for m, why in missing.items() if why == reason)
            lines.append(f"{_named(name)}: no BD-rate of {titles}: {reason}")
    fewest = min(len(p) for series in found.values() for p in series.values() or [[]])
    if 2 <= fewest < USUAL:
        lines.append(f"a curve has only {fewest} points; {USUAL} or more are usual")
    return lines


def _logarithmic(panel, least: float, most: float) -> None:
    """A logarithmic axis with plain numbers, at round ones: more of them where it is short."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    panel.set_xscale("log")
    panel.set_xlim(least / 1.12, most * 1.12)
    steps = (1, 2, 5) if most / least > 5 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    panel.xaxis.set_major_locator(LogLocator(subs=steps))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
