"""How a plot of ours looks. matplotlib is imported only here, and only when a plot is made."""

import io
from pathlib import Path

from jaxvsr.comparison.saving import save
from jaxvsr.errors import UsageError

# After Okabe and Ito 2008, to be told apart by colour-blind eyes; on white all have contrast.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b0578d", "#8a6d00", "#4d4d4d")
DASHES = ("-", "--", ":", "-.")  # for the candidates after the last colour
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DPI = 110
GREY = "#666666"
# Inches: a panel, the room around it, and what a line and a letter of its legend take.
WIDTH, LEFT, ABOVE, BELOW, MARGIN = 6.0, 0.65, 0.42, 0.3, 0.1
LINE, LETTER, SAMPLE = 0.165, 0.07, 0.62


def panels(count: int, longest: int, lines: int, *, columns: int, height: float = 1.4):
    """A figure, outside pyplot, and `count` panels in it, each with a legend to its right.

    `longest` letters and `lines` of the legend, with `height` in inches, say how much room a
    panel gets. UsageError without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("plots need matplotlib; install it by: pip install matplotlib") from error
    rows = -(-count // columns)
    wide = LEFT + WIDTH + SAMPLE + LETTER * longest
    height = max(height, LINE * (lines + 1))
    high = ABOVE + height + BELOW
    total = columns * wide + MARGIN, rows * high + 2 * MARGIN
    figure = Figure(figsize=total, dpi=DPI, facecolor="white")
    made = []
    for i in range(count):
        left = LEFT + (i % columns) * wide
        bottom = total[1] - MARGIN - (i // columns + 1) * high + BELOW
        box = (left / total[0], bottom / total[1], WIDTH / total[0], height / total[1])
        made.append(figure.add_axes(box))
    return figure, made


def name(panel, title: str, better: str, unit: str) -> None:
    """A panel's title, which way is better, the unit of its horizontal axis, and a calm frame."""
    panel.set_title(title, loc="left", fontsize=10)
    panel.set_title(better, loc="right", fontsize=8, color=GREY)
    place = {"xy": (1, 0), "xycoords": "axes fraction", "xytext": (6, -3.5)}
    look = {"fontsize": 8, "color": GREY, "va": "top"}
    panel.annotate(unit, textcoords="offset points", **place, **look)
    panel.grid(color="#e6e6e6", lw=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color("#aaaaaa")
    panel.tick_params(labelsize=8, color="#aaaaaa", labelcolor="#333333")


def legend(panel, title: str) -> None:
    """The legend, right of the panel."""
    place = {
        "loc": "upper left",
        "bbox_to_anchor": (1.012, 1.0),
        "borderaxespad": 0,
        "borderpad": 0,
    }
    look = {"frameon": False, "fontsize": 8, "title_fontsize": 8, "labelspacing": 0.3}
    made = panel.legend(title=title, alignment="left", handlelength=1.6, **place, **look)
    made.get_title().set_color(GREY)


def save_figure(path: str | Path, figure) -> Path:
    """Writes the figure as PNG; OutputError where it cannot be."""
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return save(path, data.getvalue())
