"""The plot of a bench's results: `python -m kernels.bench.plots DIR` reads DIR/results.json.

Left, how many times faster than the best XLA variant each kernel is; right, its share of the
roofline. Needs matplotlib.
"""

import json
import sys
from pathlib import Path

COLOURS = {"WIN": "#2a9d5c", "TIE": "#8a8a8a", "LOSS": "#c0392b"}


def plot(folder: Path) -> Path:
    """Writes folder/results.png. Raises ImportError without matplotlib, ValueError without rows."""
    whole = json.loads((folder / "results.json").read_text())
    rows = [r for r in whole["rows"] if r["impl"] == "triton" and r["over_xla"]]
    if not rows:
        raise ValueError("no kernel was measured against XLA")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows.sort(key=lambda row: row["over_xla"])
    names = [f"{r['op']} {r['shape']} {r['dtype']}" for r in rows]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 1.5 + 0.24 * len(rows)), sharey=True)
    left.barh(names, [r["over_xla"] for r in rows], color=[COLOURS[r["verdict"]] for r in rows])
    left.axvline(1, color="black", linewidth=1)
    left.set_xlabel("times faster than the best XLA variant")
    right.barh(names, [r["roof"] or 0 for r in rows], color="#4a6fa5")
    right.set_xlabel("% of the measured roofline")
    right.set_xlim(0, 100)
    facts = whole["facts"]
    figure.suptitle(f"{facts.get('device', '?')}, {facts.get('date', '?')[:10]}")
    figure.tight_layout()
    path = folder / "results.png"
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


if __name__ == "__main__":
    print(plot(Path(sys.argv[1])))
