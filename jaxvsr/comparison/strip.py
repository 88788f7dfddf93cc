"""A picture of the worst frames of a candidate: both whole, and both enlarged where they differ."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxvsr.comparison import wording, worst
from jaxvsr.comparison.saving import save_picture
from jaxvsr.comparison.scores import Scores
from jaxvsr.metrics.table import METRICS

BOX = 480, 300  # pixels that a whole frame may take, width and height
ZOOM = 3
GAP, LINE, LETTERS = 8, 26, 15  # pixels: between pictures, a line of text, the size of its letters
PAPER, INK, FAINT, MARK = (24, 26, 29), (240, 240, 240), (165, 170, 178), (255, 176, 0)


@dataclass(frozen=True)
class Spot:
    """A rectangle of a frame in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, frame: np.ndarray) -> np.ndarray:
        """The rectangle of a frame [H, W, C]."""
        return frame[self.top : self.top + self.height, self.left : self.left + self.width]


def worst_frames(
    scores: Scores,
    frames_at: worst.FramesAt,
    path: str | Path,
    metric: str,
    count: int = 4,
    *,
    candidate: int = 0,
) -> Path:
    """Writes a PNG of the `count` worst frames by a metric, in the film's order; returns its path.

    `frames_at(indices)` yields (index, [reference, candidate 0, ...]) as uint8 RGB [H, W, 3];
    `candidate` is the place of these scores' pictures among the candidates. A row is a frame:
    reference and candidate whole, then the spot where they differ most, enlarged
    pixel by pixel. UsageError where no frame has a value of the metric.
    """
    indices = sorted(worst.worst_frames([scores], metric, count))
    rows = []
    for index, pictures in frames_at(indices):
        value = wording.shown(metric, float(scores.frames[metric][index]))
        unit = f" {METRICS[metric].unit}" if METRICS[metric].unit else ""
        title = f"{METRICS[metric].title} {value}{unit}"
        where = f"frame {index},  {scores.times[index]:.2f} s"
        rows.append(_row(pictures[0], pictures[1 + candidate], title, where))
    return save_picture(path, _sheet(rows, wording.labels([scores])[0]))


def _row(reference: np.ndarray, candidate: np.ndarray, title: str, where: str) -> Image.Image:
    """A line of text, and below it both frames and both enlarged crops."""
    height, width = reference.shape[:2]
    scale = min(BOX[0] / width, BOX[1] / height)
    shown = max(1, round(width * scale)), max(1, round(height * scale))
    side = min(max(shown[1] // ZOOM, 1), height, width)
    top, left = worst.differing_spot(reference, [candidate], (side, side))
    spot = Spot(top, left, side, side)
    cells = [_whole(frame, shown, spot, scale) for frame in (reference, candidate)]
    cells += [_zoomed(frame, spot, shown[1]) for frame in (reference, candidate)]
    wide = sum(cell.width for cell in cells) + GAP * (len(cells) - 1)
    row = Image.new("RGB", (wide, LINE + shown[1]), PAPER)
    draw, font = ImageDraw.Draw(row), ImageFont.load_default(LETTERS)
    draw.text((0, 4), title, fill=INK, font=font)
    draw.text((draw.textlength(title, font=font) + 16, 4), where, fill=FAINT, font=font)
    for cell, x in zip(cells, _lefts(cells), strict=True):
        row.paste(cell, (x, LINE))
    row.info["lefts"] = _lefts(cells)
    return row


def _lefts(cells: list[Image.Image]) -> list[int]:
    """Where each cell begins."""
    return [0, *np.cumsum([cell.width + GAP for cell in cells[:-1]]).tolist()]


def _whole(frame: np.ndarray, size: tuple[int, int], spot: Spot, scale: float) -> Image.Image:
    """The frame at `size`, the spot framed."""
    how = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    picture = Image.fromarray(np.ascontiguousarray(frame)).resize(size, how)
    corners = spot.left, spot.top, spot.left + spot.width, spot.top + spot.height
    box = [round(x * scale) for x in corners]
    ImageDraw.Draw(picture).rectangle(
        (box[0] - 2, box[1] - 2, box[2] + 1, box[3] + 1), outline=MARK, width=2
    )
    return picture


def _zoomed(frame: np.ndarray, spot: Spot, height: int) -> Image.Image:
    """The spot enlarged to `height`, its pixels to be seen."""
    crop = Image.fromarray(np.ascontiguousarray(spot.cut(frame)))
    picture = crop.resize((height, height), Image.Resampling.NEAREST)
    ImageDraw.Draw(picture).rectangle((0, 0, height - 1, height - 1), outline=MARK, width=2)
    return picture


def _sheet(rows: list[Image.Image], name: str) -> Image.Image:
    """The rows below each other, under the columns' headings."""
    wide = max(row.width for row in rows)
    high = LINE + sum(row.height + GAP for row in rows)
    sheet = Image.new("RGB", (wide + 2 * GAP, high + GAP), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(LETTERS)
    heads = "reference", name, "reference, enlarged", f"{name}, enlarged"
    lefts = [*rows[0].info["lefts"], rows[0].width + GAP]
    for head, left, right in zip(heads, lefts, lefts[1:], strict=False):
        text = _fitted(head, right - left - 2 * GAP, draw, font)
        draw.text((GAP + left, GAP), text, fill=INK, font=font)
    y = LINE + GAP
    for row in rows:
        sheet.paste(row, (GAP, y))
        y += row.height + GAP
    return sheet


def _fitted(text: str, width: int, draw: ImageDraw.ImageDraw, font) -> str:
    """The text, shortened until it is not wider than `width` pixels."""
    longest = len(text)
    while longest > 1 and draw.textlength(wording.shortened(text, longest), font=font) > width:
        longest -= 1
    return wording.shortened(text, longest)
