"""The curve of a metric as an inline SVG, drawn without any library."""

import math
from html import escape

import numpy as np

from jaxvsr.comparison.thinning import Curve

WIDTH, HEIGHT = 560, 150  # of a chart, in the units of its view box
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 10, 20  # room around the lines
DASHES = ("", "6 3", "2 3", "8 3 2 3")  # for the candidates after the last colour
SHADES = 6  # colours of lines, --s0 to --s5 in the style sheet


def svg(curves: list[Curve | None], span: float, label: str) -> str:
    """The chart of one curve a candidate, None where there is none; `span` is in seconds.

    Infinite values are triangles at the top; a thinned curve is shaded from least to greatest.
    """
    low, high = _range([curve for curve in curves if curve is not None])
    down = lambda v: TOP + (HEIGHT - TOP - BOTTOM) * (high - v) / (high - low)
    right = lambda t: LEFT + (WIDTH - LEFT - RIGHT) * (t / span if span > 0 else 0.5)
    parts = [_grid(low, high, down, span, right)]
    for i, curve in enumerate(curves):
        if curve is not None:
            dash = DASHES[i // SHADES % len(DASHES)]
            style = f' stroke-dasharray="{dash}"' * bool(dash)
            inner = _shade(curve, right, down) + _line(curve, right, down) + _tops(curve, right)
            parts.append(f'<g class="s{i % SHADES}"{style}>{inner}</g>')
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
    cursor = f'<line class="cursor" y1="{TOP}" y2="{HEIGHT - BOTTOM}" hidden />'
    name = f'role="img" tabindex="0" aria-label="{escape(label)}"'
    return f"<svg {box} {name}>{''.join(parts)}{cursor}</svg>"


def look(candidate: int) -> str:
    """The classes of a candidate's key: its colour, and its dashes after the last colour."""
    return f"key s{candidate % SHADES} d{candidate // SHADES % len(DASHES)}"


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers from low to high: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(curves: list[Curve]) -> tuple[float, float]:
    """The least and the greatest value with a little room; infinite where there is none."""
    known = np.concatenate([np.empty(0), *(c.low for c in curves), *(c.high for c in curves)])
    known = known[~np.isnan(known)]
    if not len(known):
        return -math.inf, math.inf
    low, high = float(known.min()), float(known.max())
    room = (high - low) * 0.05 or abs(low) * 0.05 or 1.0
    return low - room, high + room


def _grid(low, high, down, span, right) -> str:
    """Lines and numbers of both axes; no heights where no value is finite."""
    values, parts = ticks(low, high, 5) if math.isfinite(low) else [], []
    digits = max(0, -math.floor(math.log10(values[1] - values[0]) + 1e-9)) if values[1:] else 2
    for value in values:
        y = f"{down(value):.1f}"
        parts.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y}" dy=".35em">{value:.{digits}f}</text>')
    for time in ticks(0, span, 6) if span > 0 else [0.0]:
        x = f"{right(time):.1f}"
        parts.append(f'<text class="t" x="{x}" y="{HEIGHT - 6}">{time:g} s</text>')
    return f'<g class="grid">{"".join(parts)}</g>'


def _line(curve: Curve, right, down) -> str:
    """The means; a gap where there is none, a dot where a value stands alone."""
    parts, dots, pen = [], [], "M"
    for time, value, alone in zip(curve.times, curve.mean, curve.alone, strict=True):
        if math.isnan(value):
            pen = "M"
            continue
        point = f"{right(time):.1f} {down(value):.1f}"
        parts.append(pen + point)
        pen = "L"
        if alone:
            dots.append(f"M{point}h0")
    lone = f'<path class="dots" d="{"".join(dots)}"/>' if dots else ""
    return f'<path d="{"".join(parts)}"/>{lone}'


def _shade(curve: Curve, right, down) -> str:
    """From the least to the greatest value of each stretch of frames, a polygon a run."""
    if not curve.thinned:
        return ""
    known = np.flatnonzero(~np.isnan(curve.mean))
    runs = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)
    point = lambda i, v: f"{right(curve.times[i]):.1f} {down(v[i]):.1f}"
    shapes = ""
    for run in runs:
        around = [point(i, curve.high) for i in run] + [point(i, curve.low) for i in run[::-1]]
        shapes += f"M{'L'.join(around)}Z" if len(run) > 1 else ""
    return f'<path class="shade" d="{shapes}"/>'


def _tops(curve: Curve, right) -> str:
    """A triangle at the top for each infinite value."""
    marks = [f"M{right(t):.1f} {TOP - 7}l3.5 6h-7z" for t in curve.times[curve.infinite]]
    return f'<path class="top" d="{"".join(marks)}"/>' if marks else ""
