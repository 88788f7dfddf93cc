"""A report as one HTML file that needs nothing else: table, curves, pictures under a slider."""

import base64
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image, features

from jaxvsr.comparison import chart, table, wording, worst
from jaxvsr.comparison.saving import save
from jaxvsr.comparison.scores import Scores
from jaxvsr.comparison.thinning import Curve, thin
from jaxvsr.metrics.table import METRICS

TEMPLATE = Path(__file__).with_name("page.html")
POINTS = 800  # of a curve
PICTURES = 12  # in a page, the reference's among them; at least one frame of every candidate
CROP = 352, 600  # height and width that a picture is cut to


@dataclass(frozen=True)
class Picture:
    """One frame of the reference and of every candidate, cut to the same rectangle.

    `frames` maps names to RGB uint8 [h, w, 3], the reference first; `values` are the candidates'
    values of `metric` in that frame. `spot` is (top, left) of the rectangle in the whole frame.
    `label` stands in place of the frame's number and time.
    """

    index: int
    time: float
    frames: Mapping[str, np.ndarray]
    metric: str
    values: Mapping[str, float]
    spot: tuple[int, int] = (0, 0)
    label: str = ""


def pictures(
    scores: list[Scores], frames_at: worst.FramesAt, metric: str, count: int = 4
) -> list[Picture]:
    """The worst frames by a metric, where they differ most, as a page shows them.

    At most `count`, and fewer where many candidates would make the page too large. `frames_at`
    is as in `strip.worst_frames`, with all candidates of `scores` in their order.
    """
    count = max(1, min(count, PICTURES // (len(scores) + 1)))
    names = wording.labels(scores)
    made = []
    for index, (real, *fakes) in frames_at(sorted(worst.worst_frames(scores, metric, count))):
        size = min(CROP[0], real.shape[0]), min(CROP[1], real.shape[1])
        top, left = worst.differing_spot(real, fakes, size)
        cut = lambda frame, y=top, x=left, s=size: frame[y : y + s[0], x : x + s[1]].copy()
        frames = {"reference": cut(real), **dict(zip(names, map(cut, fakes), strict=True))}
        curves = [score.frames.get(metric, np.empty(0)) for score in scores]
        values = [float(v[index]) if index < len(v) else math.nan for v in curves]
        time = float(scores[0].times[index])
        known = dict(zip(names, values, strict=True))
        made.append(Picture(index, time, frames, metric, known, (top, left)))
    return made


def write(
    scores: list[Scores],
    pictures: list[Picture],
    path: str | Path,
    *,
    reference: str = "",
    sections: Mapping[str, str | bytes] | None = None,
) -> Path:
    """Writes the page and returns its path; `reference` is what the candidates were held against.

    `sections` are more of them, by title: text that keeps its lines, or the bytes of a PNG.
    Nothing is loaded from elsewhere. Without JavaScript the table, the curves and the pictures
    are still to be seen; with it a slider lies over the pictures and the curves tell their
    values. Curves of long films are thinned.
    """
    names = [wording.shortened(name, 48) for name in wording.labels(scores)]
    parts = {
        "heading": _heading(names, reference),
        "table": _table(scores),
        "notes": "".join(f"<li>{escape(note)}</li>" for note in wording.notes(scores)),
        "legend": escape(f"{wording.legend(scores)}; {wording.DIRECTIONS}; bold is best"),
        "keys": "".join(
            f'<span class="{chart.look(i)}">{escape(name)}</span>' for i, name in enumerate(names)
        ),
        "pictures": "".join(map(_picture, pictures)),
        "absent": "" if pictures else "hidden",
        "sections": "".join(_section(*item) for item in (sections or {}).items()),
    }
    parts["charts"], data = _charts(scores, names)
    parts["data"] = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    template = TEMPLATE.read_text(encoding="utf-8")
    html = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)
    return save(path, html.encode(errors="backslashreplace"))


def _heading(names: list[str], reference: str) -> str:
    reference = Path(reference).name or reference  # a page may go to others: no folders of ours
    what = " · ".join(names) if len(names) <= 3 else f"{len(names)} candidates"
    return escape(what + f" against {wording.printable(reference)}" * bool(reference))


def _section(title: str, content: str | bytes) -> str:
    if isinstance(content, str):
        body = f"<pre>{escape(content)}</pre>"
    else:
        source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        body = f'<img class="figure" alt="{escape(title)}" src="{source}">'
    return f'<section><h2>{escape(title)}</h2><div class="wide">{body}</div></section>'


def _table(scores: list[Scores]) -> str:
    """As `table.text` has it; the worst twentieth is small beside the mean."""
    stubs, heads, rows = table.arranged(scores)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    lines = [f"<thead><tr><td></td>{head}</tr></thead><tbody>"]
    for stub, row in zip(stubs, rows, strict=True):
        cells = "".join(map(_cell, row))
        lines.append(f'<tr><th scope="row">{escape(stub)}</th>{cells}</tr>')
    return f"<table>{''.join(lines)}</tbody></table>"


def _cell(cell: table.Cell) -> str:
    small = f" <small>({cell.worst})</small>" if cell.worst else ""
    best = ' class="best"' if cell.best else ""
    return f"<td{best}>{cell.mean}{small}</td>"


def _charts(scores: list[Scores], names: list[str]) -> tuple[str, dict]:
    """The charts of all metrics, and the numbers that they tell when pointed at."""
    span = max((float(s.times[-1]) for s in scores if len(s.times)), default=0.0)
    longest = max(scores, key=lambda score: len(score.times))
    axis = thin(longest.times, np.zeros(len(longest.times)), POINTS)
    data = {
        "first": axis.first.tolist(),
        "last": axis.last.tolist(),
        "times": [round(t, 4) for t in axis.times.tolist()],
        "span": span,
        "plot": [chart.LEFT, chart.WIDTH - chart.RIGHT, chart.WIDTH],
        "values": {},
    }
    figures = []
    for metric in wording.had(scores):
        curves = [_curve(score, metric, len(longest.times)) for score in scores]
        data["values"][metric] = [_told(metric, curve) for curve in curves]
        figures.append(_figure(metric, scores, names, curves, span))
    return "".join(figures), data


def _curve(score: Scores, metric: str, frames: int) -> Curve | None:
    """The curve over `frames` frames, so that all candidates share one axis."""
    if metric not in score.frames:
        return None
    values = np.full(frames, np.nan)
    values[: len(score.times)] = score.frames[metric]
    step = float(score.times[-1]) / max(len(score.times) - 1, 1) if len(score.times) else 0.0
    times = np.arange(frames) * step
    times[: len(score.times)] = score.times
    return thin(times, values, POINTS)


def _told(metric: str, curve: Curve | None) -> list[str] | None:
    """What the chart says of each stretch of frames."""
    if curve is None:
        return None
    values = np.where(np.isnan(curve.mean) & curve.infinite, math.inf, curve.mean)
    return [wording.shown(metric, value) for value in values.tolist()]


def _figure(metric, scores, names, curves: list[Curve | None], span: float) -> str:
    means = [wording.shown(metric, wording.mean(score, metric)) for score in scores]
    keys = "".join(
        f'<span class="{chart.look(i)}" title="{escape(name)}">'
        f'<b data-mean="{mean}">{mean}</b></span>'
        for i, (name, mean, curve) in enumerate(zip(names, means, curves, strict=True))
        if curve is not None
    )
    said = ", ".join(f"{n} mean {m}" for n, m in zip(names, means, strict=True))
    label = f"{METRICS[metric].title} of every frame: {said}"
    head = f"{wording.arrow(metric)} {escape(wording.title(metric))}"
    drawn = chart.svg(curves, span, label)
    return (
        f'<figure class="chart" data-metric="{metric}"><figcaption><strong>{head}</strong>'
        f'<span class="keys">{keys}</span></figcaption>{drawn}</figure>'
    )


def _picture(picture: Picture) -> str:
    """One frame: the reference and the candidates side by side, as the slider finds them."""
    where = picture.label or f"frame {picture.index}, {picture.time:.2f} s"
    figures = []
    for name, frame in picture.frames.items():
        value = picture.values.get(name)
        said = "" if value is None else _value(picture.metric, value)
        alt = escape(f"{name}, {where}")
        size = f'width="{frame.shape[1]}" height="{frame.shape[0]}"'
        figures.append(
            f'<figure data-name="{escape(name)}" data-said="{escape(said)}">'
            f'<img alt="{alt}" {size} src="{_data_uri(frame)}">'
            f"<figcaption>{escape(name)} <span>{escape(said)}</span></figcaption></figure>"
        )
    top, left = picture.spot
    height, width = next(iter(picture.frames.values())).shape[:2]
    detail = f"{width} x {height} pixels from ({left}, {top})"
    return (
        f'<section class="shot" data-label="{where}"><h3>{where} <span>{detail}</span></h3>'
        f'<div class="shots">{"".join(figures)}</div></section>'
    )


def _value(metric: str, value: float) -> str:
    facts = METRICS[metric]
    return f"{facts.title} {wording.shown(metric, value)} {facts.unit}".strip()


def _data_uri(frame: np.ndarray) -> str:
    """The picture without loss, as WebP where Pillow has it."""
    data, kind = io.BytesIO(), "webp" if features.check("webp") else "png"
    Image.fromarray(frame).save(data, kind, lossless=True, quality=60)
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
