"""Cells of a study to its report: Markdown, a page a degradation, and rate-distortion curves."""

import os
import platform
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from jaxvsr.comparison import page, rates, table, wording
from jaxvsr.comparison.scores import Scores
from jaxvsr.comparison.worst import differing_spot
from jaxvsr.metrics.table import METRICS

TRUTH = "truth"  # a row of its own: NIQE and the steadiness of the clips themselves
ANCHOR = "bicubic"


def write(cells: list[dict], folder: Path, papers: dict[str, int]) -> None:
    """Writes report.md, and for each degradation its curves as PNG and its page as HTML."""
    parts = ["# Baseline", "", made(), ""]
    for degradation, own in papers.items():
        here = [cell for cell in cells if cell["degradation"] == degradation]
        if here:
            parts += section(here, folder, degradation, own)
    (folder / "report.md").write_text("\n".join(parts) + "\n")


def made() -> str:
    """When, where and by what the report was made."""
    device = jax.devices()[0]
    kind = f"{os.cpu_count()} {platform.machine()} cores"
    where = kind if device.platform == "cpu" else device.device_kind
    return (
        f"`python -m experiments.report baseline`, {date.today()}, {where}, JAX {jax.__version__}"
    )


def section(cells: list[dict], folder: Path, degradation: str, own: int) -> list[str]:
    """The Markdown of one degradation; writes its files."""
    found = pooled([cell for cell in cells if cell["crf"] == own])
    models = [score for score in found if score.name != TRUTH]
    points = curve_points([cell for cell in cells if cell["model"] != TRUTH])
    clips = list(dict.fromkeys(cell["clip"] for cell in cells))
    curves = rates.plot(points, folder / f"{degradation}-rate.png")
    gains = rates.table(points, ANCHOR) if ANCHOR in {s.series for s in points} else ""
    names = [score.name for score in models]
    pictures = [picture_of(folder, (clip, degradation, own), names) for clip in clips]
    truth = "".join(of_the_truth(score) for score in found if score.name == TRUTH)
    page.write(
        models,
        [picture for picture in pictures if picture],
        folder / f"{degradation}.html",
        reference=f"the clips, degradation {degradation} at CRF {own}",
        sections={
            "The clips themselves": truth,
            "Rate and distortion": curves.read_bytes(),
            "BD-rates": gains,
        },
    )
    lines = [f"## {degradation}, CRF {own}", ""]
    lines += [f"Clips: {', '.join(clips)}; {facts(models)}. {truth}", ""]
    lines += [table.markdown(models), f"![Rate and distortion]({curves.name})", ""]
    return [*lines, *curve_table(points), "", "```", gains, "```", ""]


def of_the_truth(score: Scores) -> str:
    """What the metrics that need no truth, or do not reach their best at it, say of the clips."""
    telling = [m for m in ("niqe", "vmaf", "vmaf_neg", "warp_error") if m in score.frames]
    said = (f"{METRICS[m].title} {wording.shown(m, score.mean(m))}" for m in telling)
    return f"The clips themselves: {', '.join(said)}." if telling else ""


def curve_points(cells: list[dict]) -> list[Scores]:
    """One Scores for each model and CRF, with the metrics that all of them have."""
    shared = set.intersection(*(set(cell["values"]) for cell in cells))
    return pooled(
        [
            cell | {"values": {m: v for m, v in cell["values"].items() if m in shared}}
            for cell in cells
        ]
    )


def facts(scores: list[Scores]) -> str:
    """How much was measured."""
    rate = next((s.kbps for s in scores if s.kbps), None)
    return f"{len(scores[0].times)} frames in all, {rate:.0f} kbit/s on the mean"


def pooled(cells: list[dict]) -> list[Scores]:
    """One Scores for each model and CRF: the frames of all clips, and the mean of their rates."""
    groups: dict[tuple, list[dict]] = {}
    for cell in cells:
        groups.setdefault((cell["model"], cell["crf"]), []).append(cell)
    return [one(model, group) for (model, _), group in sorted_by_first(groups)]


def sorted_by_first(groups: dict[tuple, list[dict]]) -> list[tuple]:
    """Groups by the order in which their models first came, then by CRF."""
    models = list(dict.fromkeys(model for model, _ in groups))
    return sorted(groups.items(), key=lambda item: (models.index(item[0][0]), item[0][1]))


def one(model: str, cells: list[dict]) -> Scores:
    """The cells of one model at one CRF, clip after clip."""
    names = [n for n in METRICS if all(n in cell["values"] for cell in cells)]
    values = {n: np.concatenate([numbers(cell["values"][n]) for cell in cells]) for n in names}
    steps = [cell["times"][-1] / max(len(cell["times"]) - 1, 1) for cell in cells]
    starts = np.cumsum([0, *(cell["times"][-1] + s for cell, s in zip(cells, steps, strict=True))])
    times = [np.add(cell["times"], start) for cell, start in zip(cells, starts, strict=False)]
    missing = {name: why for cell in cells for name, why in cell["unavailable"].items()}
    kbps = None if model == TRUTH else float(np.mean([cell["kbps"] for cell in cells]))
    return Scores(model, "", np.concatenate(times), values, missing, kbps=kbps, series=model)


def numbers(told: list) -> np.ndarray:
    """Values as JSON has them: null is none, "inf" infinite."""
    return np.array([np.nan if value is None else float(value) for value in told])


def curve_table(points: list[Scores]) -> Iterator[str]:
    """Markdown: a line a model and rate, a column a metric that every point has."""
    metrics = [m for m in wording.had(points) if all(m in score.frames for score in points)]
    yield "| model | kbit/s | " + " | ".join(METRICS[m].title for m in metrics) + " |"
    yield "|---|---:|" + "---:|" * len(metrics)
    for score in points:
        means = (wording.shown(m, score.mean(m)) for m in metrics)
        yield f"| {score.name} | {wording.kbps(score)} | " + " | ".join(means) + " |"


def keep_picture(folder: Path, where: tuple, model: str, frame: np.ndarray) -> None:
    """Writes a frame for the page, under a name that says where it belongs."""
    path = picture_path(folder, where, model)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(frame).save(path)


def picture_path(folder: Path, where: tuple, model: str) -> Path:
    """Where a frame is kept."""
    name = "-".join(map(str, (*where, model)))
    return folder / "frames" / (name.replace(",", "").replace(" ", "_") + ".png")


def picture_of(folder: Path, where: tuple, models: list[str]) -> page.Picture | None:
    """The kept frames of a clip, cut where the models differ most from the truth."""
    paths = {model: picture_path(folder, where, model) for model in [TRUTH, *models]}
    frames = {n: np.asarray(Image.open(path)) for n, path in paths.items() if path.exists()}
    if TRUTH not in frames or len(frames) < 2:
        return None
    real, *fakes = frames.values()
    size = min(page.CROP[0], real.shape[0]), min(page.CROP[1], real.shape[1])
    top, left = differing_spot(real, fakes, size)
    cut = {n: f[top : top + size[0], left : left + size[1]] for n, f in frames.items()}
    return page.Picture(0, 0.0, cut, "psnr", {}, (top, left), label=where[0])
