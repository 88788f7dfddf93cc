"""Scores as a table: for people, for programs, for a spreadsheet, for a README."""

import math
import shutil
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jaxvsr.comparison import wording
from jaxvsr.comparison.scores import WORST, Scores
from jaxvsr.metrics.table import METRICS

GAP = "  "  # between columns
LONGEST = 32  # letters of a name in a table


@dataclass(frozen=True)
class Cell:
    """Mean and worst of a metric as printed; `best` of the candidates or not."""

    mean: str
    worst: str = ""
    best: bool = False


def text(scores: list[Scores], *, width: int | None = None) -> str:
    """An aligned table and the notes that belong to it.

    Whichever there are more of, metrics or candidates, goes down the page. Columns that do not
    fit into `width` letters, by default the terminal's, follow in a second block. Each cell is
    "mean (worst)", an asterisk marks the best.
    """
    width = width or shutil.get_terminal_size().columns
    stubs, heads, cells = arranged(scores)
    columns = [_column(head, [row[i] for row in cells]) for i, head in enumerate(heads)]
    lines = _blocks(_padded(["", *stubs]), columns, width)
    star = "; * best" if any(cell.best for row in cells for cell in row) else ""
    lines += ["", f"{wording.legend(scores)}; {wording.DIRECTIONS}{star}"]
    return "\n".join([*lines, *wording.notes(scores)])


def markdown(scores: list[Scores]) -> str:
    """The same table and notes in Markdown; the best are bold."""
    stubs, heads, cells = arranged(scores)
    rows = [["", *heads], ["---", *["---:"] * len(heads)]]
    for stub, row in zip(stubs, cells, strict=True):
        means = [f"**{c.mean}**" if c.best else c.mean for c in row]
        worst = [f" ({c.worst})" if c.worst else "" for c in row]
        rows.append([stub.strip(), *(m + w for m, w in zip(means, worst, strict=True))])
    lines = [f"| {' | '.join(map(_escaped, row))} |" for row in rows]
    star = "; **best**" if any(cell.best for row in cells for cell in row) else ""
    lines += ["", f"{wording.legend(scores)}; {wording.DIRECTIONS}{star}"]
    lines += ["", *(f"- {_escaped(note)}" for note in wording.notes(scores))]
    return "\n".join(lines).rstrip() + "\n"


def as_json(scores: list[Scores], *, frames: bool = False) -> dict:
    """Means, worst, reasons and notices as JSON knows them: infinity is "inf", no value null.

    With `frames` every candidate also has its `times` in seconds and the value of each frame.
    """
    return {
        "worst_share": WORST,
        "metrics": {
            name: {
                "title": METRICS[name].title,
                "unit": METRICS[name].unit,
                "better": METRICS[name].better,
                "source": METRICS[name].source,
            }
            for name in wording.asked(scores)
        },
        "candidates": [_candidate(score, frames=frames) for score in scores],
    }


def csv_rows(scores: list[Scores]) -> Iterator[list]:
    """A header, then one row for each candidate and frame, in full precision.

    Columns: candidate, frame (from 0), seconds, then the metrics. A frame without a value has an
    empty field; an infinite one says "inf".
    """
    metrics = wording.asked(scores)
    yield ["candidate", "frame", "seconds", *metrics]
    for label, score in zip(wording.labels(scores), scores, strict=True):
        nothing = np.full(len(score.times), math.nan)
        values = [score.frames.get(name, nothing) for name in metrics]
        for i, time in enumerate(score.times):
            fields = (float(v[i]) for v in values)
            known = ["" if math.isnan(x) else repr(x) for x in fields]
            yield [label, i, f"{float(time):.6f}".rstrip("0").rstrip("."), *known]


def arranged(scores: list[Scores]) -> tuple[list[str], list[str], list[list[Cell]]]:
    """Labels of the lines, labels of the columns, and the cells of each line.

    Lines are metrics and columns candidates, unless there are more candidates than metrics.
    """
    fields = [f"{wording.arrow(m)} {wording.title(m)}" for m in wording.asked(scores)]
    cells = [_cells(scores, metric) for metric in wording.asked(scores)]
    if any(score.kbps is not None for score in scores):
        fields.insert(0, "  bitrate, kbit/s")
        cells.insert(0, [Cell(wording.kbps(score)) for score in scores])
    names = [wording.shortened(name, LONGEST) for name in wording.labels(scores)]
    if len(names) > len(fields):
        return names, [f.strip() for f in fields], [list(c) for c in zip(*cells, strict=True)]
    return fields, names, cells


def grid(stubs: list[str], heads: list[str], rows: list[list[str]], width: int) -> list[str]:
    """The lines of a table: `stubs` to the left, `heads` above, other cells aligned right."""
    columns = [_padded([h, *(r[i] for r in rows)], right=True) for i, h in enumerate(heads)]
    return _blocks(_padded(["", *stubs]), columns, width)


def _cells(scores: list[Scores], metric: str) -> list[Cell]:
    best, cells = wording.best(scores, metric), []
    for i, score in enumerate(scores):
        mean, worst = wording.mean(score, metric), wording.worst(score, metric)
        known = "" if math.isnan(mean) else wording.shown(metric, worst)
        cells.append(Cell(wording.shown(metric, mean), known, i in best))
    return cells


def _column(head: str, cells: list[Cell]) -> list[str]:
    """A head and its cells, the means aligned with each other and the worst with each other."""
    means = _padded([c.mean for c in cells], right=True)
    worst = [f" ({c.worst})" if c.worst else "" for c in cells]
    rest = _padded([w + "*" * c.best for w, c in zip(worst, cells, strict=True)])
    return _padded([head, *map("".join, zip(means, rest, strict=True))], right=True)


def _blocks(stubs: list[str], columns: list[list[str]], width: int) -> list[str]:
    """Lines of as many columns as fit, a blank line, and so on; the stubs stand before each."""
    lines = []
    while columns:
        totals = np.cumsum([len(GAP) + _letters(column[0]) for column in columns])
        fit = max(1, int(np.sum(totals <= width - _letters(stubs[0]))))
        rows = zip(stubs, *columns[:fit], strict=True)
        lines += ["", *(GAP.join(row).rstrip() for row in rows)]
        columns = columns[fit:]
    return lines[1:]


def _padded(cells: list[str], *, right: bool = False) -> list[str]:
    """Cells of one width, aligned left or right."""
    widest = max(map(_letters, cells), default=0)
    spaces = [" " * (widest - _letters(cell)) for cell in cells]
    return [s + c if right else c + s for s, c in zip(spaces, cells, strict=True)]


def _letters(text: str) -> int:
    """Columns of a terminal that the text takes: East Asian letters take two."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def _escaped(text: str) -> str:
    """Text that cannot end a Markdown cell or begin a tag."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _candidate(score: Scores, *, frames: bool) -> dict:
    facts = {
        "name": score.name,
        "path": score.path,
        "series": score.series,
        "kbps": None if score.kbps is None else _number(score.kbps),
        "frames": len(score.times),
        "scores": {
            name: {
                "mean": _number(score.mean(name)),
                "worst": _number(score.worst(name)),
                "equal_frames": score.equal(name),
            }
            for name in score.frames
        },
        "unavailable": dict(score.unavailable),
        "notices": list(score.notices),
    }
    if frames:
        facts["times"] = [_number(t) for t in score.times]
        facts["values"] = {n: [_number(v) for v in values] for n, values in score.frames.items()}
    return facts


def _number(value: float) -> float | str | None:
    """A number that strict JSON can hold."""
    value = float(value)
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)
