"""A paper's table of networks and its rate-distortion curves, paper | ours, on our clips."""

import csv
import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from safetensors import safe_open

import jaxvsr
from experiments import say
from experiments.frame.claims import Paper, Study
from experiments.report import cells as places
from experiments.report import tables
from jaxvsr import weights
from jaxvsr.commands.reading import Positional
from jaxvsr.comparison import rates
from jaxvsr.comparison.scores import Scores
from jaxvsr.degradation import spoil_and_tell
from jaxvsr.degradation.presets import recipe
from jaxvsr.errors import InputError, UsageError
from jaxvsr.host.options import Range
from jaxvsr.metrics.table import METRICS

FULL = "full size"  # the series that is coded without being reduced
TIMED = 5  # frames that speed is measured on


@dataclass(frozen=True)
class Table:
    """Measure weights at the paper's degradation, and along its CRFs; print paper | ours."""

    runs: Annotated[tuple[str, ...], Positional("RUN")] = ()
    """Folders of runs, weight files, packaged names, or NAME=one of these. Bicubic is always a row;
    networks that the paper's table names stand beside its numbers."""
    clips: tuple[str, ...] = places.CLIPS
    """Names in the shared folder of clips, or paths."""
    metrics: tuple[str, ...] = ("psnr_y", "ssim", "lpips", "vmaf", "tof")
    """What to measure for the table."""
    curves: tuple[str, ...] = ("ssim", "lpips", "vmaf")
    """What to measure along the CRFs."""
    crfs: Annotated[tuple[int, ...], Range(0, 51)] = (18, 21, 23, 25, 28, 30)
    """Of the curves; none leaves them out."""
    frames: Annotated[int, Range(1)] = 12
    """Frames of each clip that are scored."""
    skip: Annotated[int, Range(0)] = 12
    """Frames before them, coded but not scored."""
    output: Path | None = None
    """Folder of the report, by default runs/PAPER_tables; what it has measured already is kept."""

    def run(self, paper: Paper) -> Path:
        """Measures what is not measured yet, writes and prints the report; its path."""
        output = self.output or Path(f"runs/{paper.name}_tables")
        return replace(self, output=output)._written(paper.title, paper.study)

    def _written(self, title: str, study: Study) -> Path:
        nets = sources(self.runs, study.scale)
        for clip in self.clips:
            places.read_clip(clip, 1)
        for name in {*self.metrics, *self.curves} - METRICS.keys():
            raise UsageError(f"no metric {name!r}; choose from {', '.join(METRICS)}")
        self.output.mkdir(parents=True, exist_ok=True)
        path = write(self, title, study, measured(self, study, nets))
        print(path.read_text())
        return path


def conclude(paper: Paper, run: Path) -> None:
    """The end of a run: its row of the table, paper | ours; without the clips, how to make it."""
    try:
        Table((str(run),), crfs=(), output=run / "table").run(paper)
    except InputError as error:
        how = f"python -m experiments.{paper.name} table {run} --clips FILE..."
        say(f"no table: {error}", f"on clips of your own: {how}")


def sources(runs: tuple[str, ...], scale: int) -> dict[str, str]:
    """Name of the row: what `jaxvsr.load` takes. Raises InputError and UsageError."""
    found = {"bicubic": "bicubic"}
    for text in runs:
        name, _, place = text.rpartition("=")
        source = weights_of(place)
        name = name or label(source)
        if name in found and source != found[name]:
            raise UsageError(f"two rows called {name}; give NAME=RUN to one of them")
        found[name] = source
    for name, source in found.items():
        if weights.load(source).spec.scale != scale:
            raise UsageError(
                f"{name}: enlarges by another factor than {scale}, which is what is measured"
            )
    return found


def weights_of(place: str) -> str:
    """The weight file of a run's folder; files and packaged names are themselves."""
    if not Path(place).is_dir():
        return place
    files = sorted(Path(place).glob("*.safetensors"))
    if len(files) != 1:
        found = f"{len(files)} weight files" if files else "no weights yet"
        raise InputError(f"{place}: {found}; let its run end, or give the file")
    return str(files[0])


def label(source: str) -> str:
    """The row of the table for a run's weights, by what their file says; else the file's name."""
    if Path(source).suffix == ".safetensors" and Path(source).is_file():
        with safe_open(source, "numpy") as file:
            told = file.metadata() or {}
        if told.get("use") == "paper" and "network" in told:
            return told["network"]
    return Path(source).stem


def digest(source: str) -> str:
    """Tells weights from others of the same name."""
    path = Path(source)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else source


def measured(config: Table, study: Study, nets: dict[str, str]) -> list[dict]:
    """Every cell that the report needs; new ones are kept in cells.jsonl, one a line."""
    file = config.output / "cells.jsonl"
    known = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    found = {tuple(cell["place"]): cell for cell in known}
    wanted = []
    loaded: dict = {}
    with open(file, "a") as sink:
        for place in every_place(config, study, nets):
            wanted.append(place)
            if place in found:
                continue
            for cell in cells_of(config, study, place, nets, loaded, found):
                found[tuple(cell["place"])] = cell
                sink.write(json.dumps(cell, allow_nan=False) + "\n")
                sink.flush()
    return [found[place] for place in wanted]


def every_place(config: Table, study: Study, nets: dict[str, str]) -> Iterator[tuple]:
    """(clip, table or curve, CRF, row, weights, frames, metrics) of each cell, clip by clip."""
    span = f"{config.skip}+{config.frames}"
    both = {"table": (study.crf,), "curve": config.crfs}
    for clip in config.clips:
        for kind, crfs in both.items():
            names = " ".join(config.metrics if kind == "table" else config.curves)
            for crf in crfs:
                rows = dict(nets) if kind == "table" else {FULL: "", **nets}
                for name, source in rows.items():
                    mark = digest(source) if source else ""
                    yield places.stem(clip), kind, crf, name, mark, span, names


def cells_of(config: Table, study: Study, place: tuple, nets, loaded, known) -> Iterator[dict]:
    """The missing cells that share this cell's clip and coding."""
    stem, _, crf, *_ = place
    clip = next(c for c in config.clips if places.stem(c) == stem)
    truth = places.read_clip(clip, config.skip + config.frames)
    real = truth[config.skip :]
    group = [p for p in every_place(config, study, nets) if p[:3] == place[:3] and p not in known]
    for factor in sorted({factor_of(study, p) for p in group}):
        made = recipe(study.degradation, factor=factor, crf=crf)
        coded, record = spoil_and_tell(truth, made)
        coded = coded[config.skip :]
        for one in (p for p in group if factor_of(study, p) == factor):
            yield cell_of(config, one, nets, loaded, coded, real, record["kbps"])


def factor_of(study: Study, place: tuple) -> float:
    """By which the clip is reduced: the networks' scale in the table, less along the curves."""
    if place[1] == "table":
        return study.scale
    return 1 if place[3] == FULL else study.factor


def cell_of(config: Table, place, nets, loaded, coded, real, kbps) -> dict:
    """One row on one clip at one CRF; what comes out larger is reduced to the clip's size."""
    size, name = real.shape[1:3], place[3]
    fake, seconds = coded, None
    if name != FULL:
        if (name, size) not in loaded:
            loaded[name, size] = jaxvsr.load(nets[name], size=size)
        net = loaded[name, size]
        fake = np.concatenate([net(frame[None]) for frame in coded])
        seconds = timed(net, coded) if place[1] == "table" else None
    names = config.metrics if place[1] == "table" else config.curves
    scores = jaxvsr.compare(real, fake, metrics=names)
    cell = places.cell_of((place[0], place[1], place[2]), name, scores, kbps)
    return cell | {"place": list(place), "seconds": seconds, "size": list(size)}


def timed(net, coded: np.ndarray) -> float:
    """Seconds a frame of a network that has run once: the median, with the way there and back."""
    taken = []
    for frame in coded[:TIMED]:
        begin = time.perf_counter()
        net(frame[None])
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken))


def write(config: Table, title: str, study: Study, cells: list[dict]) -> Path:
    """report.md, cells.csv and the curves as PNG."""
    table = [cell for cell in cells if cell["degradation"] == "table"]
    curve = [cell for cell in cells if cell["degradation"] == "curve"]
    lines = [f"# {title} on our clips", "", *table_of(config, study, table)]
    if curve:
        lines += curves(config, study, curve)
    with open(config.output / "cells.csv", "w", newline="") as file:
        csv.writer(file).writerows(csv_rows(cells))
    path = config.output / "report.md"
    path.write_text("\n".join(lines) + "\n")
    return path


def table_of(config: Table, study: Study, cells: list[dict]) -> list[str]:
    """Markdown: paper | ours for each metric that the paper has, ours alone for the others."""
    scores = {score.name: score for score in tables.pooled(cells)}
    seconds = {n: [c["seconds"] for c in cells if c["model"] == n] for n in scores}
    sizes = {tuple(cell["size"]) for cell in cells}
    size = ", ".join(f"{w}x{h}" for h, w in sorted(sizes))
    names = [m for m in config.metrics if any(m in s.frames for s in scores.values())]
    lines = [f"## {study.table}: {study.way}; paper | ours", ""]
    heads = [METRICS[m].title for m in names]
    lines += [f"| | {' | '.join(heads)} | frames/s |", "|---|" + "---:|" * (len(names) + 1)]
    order = [n for n in study.rows if n in scores] + [n for n in scores if n not in study.rows]
    for name in order:
        row = [beside(study.rows.get(name, {}).get(m), scores[name], m) for m in names]
        speed = f"{1 / float(np.mean(seconds[name])):.1f}"
        fps = study.rows.get(name, {}).get("fps")
        row.append(f"{fps} \\| {speed}" if fps else speed)
        lines.append(f"| {name} | {' | '.join(row)} |")
    missing = [n for n in study.rows if n not in scores]
    if missing:
        lines += ["", f"Rows that were not given: {', '.join(missing)}."]
    reasons = {why for score in scores.values() for why in score.unavailable.values()}
    lines += ["", *(f"Not measured: {why}." for why in sorted(reasons))]
    told = f"paper: {study.measured}. Ours: {config.frames} frames of "
    told += f"{', '.join(map(places.stem, config.clips))} ({size}), on {device()}; other clips have"
    return [*lines, "", told + " other scores, so only differences between rows compare.", ""]


def beside(paper: float | None, score: Scores, metric: str) -> str:
    """A cell: the paper's number where there is one, and ours."""
    digits = METRICS[metric].digits
    mean = score.mean(metric) if metric in score.frames else math.nan
    ours = "-" if math.isnan(mean) else f"{mean:.{digits}f}"
    return ours if paper is None else f"{paper:.{digits}f} \\| {ours}"


def device() -> str:
    """What networks ran on."""
    import jax

    kind = jax.devices()[0].device_kind
    return "the CPU" if kind == "cpu" else kind


def curves(config: Table, study: Study, cells: list[dict]) -> list[str]:
    """Markdown of Fig. 4-5 and Table 3; writes the figure."""
    points = tables.curve_points(cells)
    lines = [f"## {study.curves}", ""]
    lines += [*tables.curve_table(points), ""]
    if points[0].frames:
        figure = rates.plot(points, config.output / "rate.png")
        lines += [f"![Rate and distortion]({figure.name})", ""]
        lines += ["```", rates.table(points, FULL), "```", ""]
    return lines + (quoted(study.heading, study.published) if study.published else [])


def quoted(title: str, rows: dict[str, tuple]) -> list[str]:
    """Markdown of a table of the paper: SSIM, LPIPS, VMAF, kbit/s by name."""
    lines = [title, "", "| | SSIM | LPIPS | VMAF | kbit/s |", "|---|---:|---:|---:|---:|"]
    for name, (ssim, lpips, vmaf, kbps) in rows.items():
        lines.append(f"| {name} | {ssim:.4f} | {lpips:.4f} | {vmaf:.2f} | {kbps:,} |")
    return lines


def csv_rows(cells: list[dict]) -> Iterator[list]:
    """A line a clip, CRF and row, with the mean of each metric."""
    names = [m for m in METRICS if any(m in cell["values"] for cell in cells)]
    yield ["clip", "kind", "crf", "row", "kbps", *names]
    for cell in cells:
        means = [
            f"{np.nanmean(tables.numbers(cell['values'][m])):.6g}" if m in cell["values"] else ""
            for m in names
        ]
        yield [cell["clip"], cell["degradation"], cell["crf"], cell["model"], cell["kbps"], *means]
