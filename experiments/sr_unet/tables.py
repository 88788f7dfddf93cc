"""Table 2 and the rate-distortion curves (Fig. 4-5, Table 3), of any weights on our clips."""

import csv
import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from safetensors import safe_open

import jaxvsr
from experiments import say
from experiments.report import __main__ as report
from experiments.report import baseline as baseline_tables
from jaxvsr import weights
from jaxvsr.comparison import rates
from jaxvsr.comparison.scores import Scores
from jaxvsr.degradation import spoil_and_tell
from jaxvsr.degradation.presets import recipe
from jaxvsr.errors import InputError, UsageError
from jaxvsr.metrics.table import METRICS

OWN = 23  # CRF of Table 2
PUBLISHED = {  # Table 3, at 1080p: SSIM, LPIPS, VMAF, kbit/s
    "720p CRF 18 + SR-UNet": (0.7611, 0.1251, 95.3133, 11846),
    "1080p CRF 22": (0.8181, 0.1237, 94.8185, 14225),
    "720p CRF 18": (0.7987, 0.1835, 92.8792, 11846),
    "720p CRF 21 + SR-UNet": (0.7711, 0.1494, 92.864, 7585),
    "1080p CRF 24": (0.8016, 0.1440, 92.824, 10105),
    "720p CRF 21": (0.7793, 0.2024, 89.964, 7585),
    "720p CRF 23 + SR-UNet": (0.7611, 0.16790, 90.9682, 5678),
    "1080p CRF 26": (0.7836, 0.1634, 90.2208, 7290),
    "720p CRF 23": (0.7639, 0.2161, 87.33, 5678),
    "720p CRF 25 + SR-UNet": (0.7402, 0.1798, 88.174, 4243),
    "1080p CRF 28": (0.7737, 0.1834, 86.920, 5306),
    "720p CRF 25": (0.7461, 0.2312, 84.065, 4243),
}
FULL = "full size"  # the series that is coded without being reduced
TIMED = 5  # frames that speed is measured on


@dataclass(frozen=True)
class Table:
    """Measure weights at the paper's degradation, and along its CRFs; print paper | ours."""

    runs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN")] = ()
    """Folders of runs, weight files, packaged names, or NAME=one of these. Bicubic is always a row;
    names of Table 2 (sr_unet, unet, srresnet_8, espcn_6) stand beside the paper's numbers."""
    clips: tuple[str, ...] = report.CLIPS
    """Names in the shared folder of clips, or paths."""
    metrics: tuple[str, ...] = ("psnr_y", "ssim", "lpips", "vmaf", "tof")
    """What to measure for Table 2."""
    curves: tuple[str, ...] = ("ssim", "lpips", "vmaf")
    """What to measure along the CRFs."""
    crfs: tuple[int, ...] = (18, 21, 23, 25, 28, 30)
    """Of the curves; none leaves them out."""
    frames: int = 12
    """Frames of each clip that are scored."""
    skip: int = 12
    """Frames before them, coded but not scored."""
    output: Path = Path("runs/sr_unet_tables")
    """Folder of the report; what is measured there already is kept."""

    def run(self) -> Path:
        """Measures what is not measured yet, writes and prints the report; its path."""
        nets = sources(self.runs)
        for clip in self.clips:
            report.read_clip(clip, 1)
        for name in {*self.metrics, *self.curves} - METRICS.keys():
            raise UsageError(f"no metric {name!r}; choose from {', '.join(METRICS)}")
        self.output.mkdir(parents=True, exist_ok=True)
        cells = measured(self, nets)
        path = write(self, nets, cells)
        print(path.read_text())
        return path


def conclude(run: Path) -> None:
    """The end of a run: its row of Table 2, paper | ours; without the clips, how to make it."""
    try:
        Table((str(run),), crfs=(), output=run / "table").run()
    except InputError as error:
        how = f"python -m experiments.sr_unet table {run} --clips FILE..."
        say(f"no table: {error}", f"on clips of your own: {how}")


def sources(runs: tuple[str, ...]) -> dict[str, str]:
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
        if weights.load(source).spec.scale != 2:
            raise UsageError(
                f"{name}: enlarges by another factor than 2, which is what is measured"
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
    """The row of Table 2 that a run's weights belong to, by what their file says; else its name."""
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


def measured(config: Table, nets: dict[str, str]) -> list[dict]:
    """Every cell that the report needs; new ones are kept in cells.jsonl, one a line."""
    file = config.output / "cells.jsonl"
    known = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    places = {tuple(cell["place"]): cell for cell in known}
    wanted = []
    loaded: dict = {}
    with open(file, "a") as sink:
        for place in every_place(config, nets):
            wanted.append(place)
            if place in places:
                continue
            for cell in cells_of(config, place, nets, loaded, places):
                places[tuple(cell["place"])] = cell
                sink.write(json.dumps(cell, allow_nan=False) + "\n")
                sink.flush()
    return [places[place] for place in wanted]


def every_place(config: Table, nets: dict[str, str]) -> Iterator[tuple]:
    """(clip, table or curve, CRF, row, weights, frames, metrics) of each cell, clip by clip."""
    span = f"{config.skip}+{config.frames}"
    both = {"table": (OWN,), "curve": config.crfs}
    for clip in config.clips:
        for kind, crfs in both.items():
            names = " ".join(config.metrics if kind == "table" else config.curves)
            for crf in crfs:
                rows = dict(nets) if kind == "table" else {FULL: "", **nets}
                for name, source in rows.items():
                    mark = digest(source) if source else ""
                    yield report.stem(clip), kind, crf, name, mark, span, names


def cells_of(config: Table, place: tuple, nets, loaded: dict, known) -> Iterator[dict]:
    """The missing cells that share this cell's clip and coding."""
    stem, _, crf, *_ = place
    clip = next(c for c in config.clips if report.stem(c) == stem)
    truth = report.read_clip(clip, config.skip + config.frames)
    real = truth[config.skip :]
    group = [p for p in every_place(config, nets) if p[:3] == place[:3] and p not in known]
    for factor in sorted({factor_of(p) for p in group}):
        coded, record = spoil_and_tell(truth, recipe("sr-unet", factor=factor, crf=crf))
        coded = coded[config.skip :]
        for one in (p for p in group if factor_of(p) == factor):
            yield cell_of(config, one, nets, loaded, coded, real, record["kbps"])


def factor_of(place: tuple) -> float:
    """By which the clip is reduced: half in Table 2, 1080p to 720p in the curves."""
    if place[1] == "table":
        return 2
    return 1 if place[3] == FULL else 1.5


def cell_of(config: Table, place, nets, loaded, coded, real, kbps) -> dict:
    """One row on one clip at one CRF. By 1.5: twice as large, then down to the clip's size."""
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
    cell = report.cell_of((place[0], place[1], place[2]), name, scores, kbps)
    return cell | {"place": list(place), "seconds": seconds, "size": list(size)}


def timed(net, coded: np.ndarray) -> float:
    """Seconds a frame of a network that has run once: the median, with the way there and back."""
    taken = []
    for frame in coded[:TIMED]:
        begin = time.perf_counter()
        net(frame[None])
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken))


def write(config: Table, nets, cells: list[dict]) -> Path:
    """report.md, cells.csv and the curves as PNG."""
    table = [cell for cell in cells if cell["degradation"] == "table"]
    curve = [cell for cell in cells if cell["degradation"] == "curve"]
    lines = ["# SR-UNet on our clips", "", *table_2(config, table)]
    if curve:
        lines += curves(config, curve)
    with open(config.output / "cells.csv", "w", newline="") as file:
        csv.writer(file).writerows(csv_rows(cells))
    path = config.output / "report.md"
    path.write_text("\n".join(lines) + "\n")
    return path


def table_2(config: Table, cells: list[dict]) -> list[str]:
    """Markdown: paper | ours for each metric that the paper has, ours alone for the others."""
    from experiments.sr_unet.recipe import PAPER

    scores = {score.name: score for score in baseline_tables.pooled(cells)}
    seconds = {n: [c["seconds"] for c in cells if c["model"] == n] for n in scores}
    sizes = {tuple(cell["size"]) for cell in cells}
    size = ", ".join(f"{w}x{h}" for h, w in sorted(sizes))
    names = [m for m in config.metrics if any(m in s.frames for s in scores.values())]
    lines = [f"## Table 2: halved, H.265 CRF {OWN}, doubled again; paper | ours", ""]
    heads = [METRICS[m].title for m in names]
    lines += [f"| | {' | '.join(heads)} | frames/s |", "|---|" + "---:|" * (len(names) + 1)]
    order = [n for n in PAPER if n in scores] + [n for n in scores if n not in PAPER]
    for name in order:
        row = [beside(PAPER.get(name, {}).get(m), scores[name], m) for m in names]
        speed = f"{1 / float(np.mean(seconds[name])):.1f}"
        fps = PAPER.get(name, {}).get("fps")
        row.append(f"{fps} \\| {speed}" if fps else speed)
        lines.append(f"| {name} | {' | '.join(row)} |")
    missing = [n for n in PAPER if n not in scores]
    if missing:
        lines += ["", f"Rows that were not given: {', '.join(missing)}."]
    reasons = {why for score in scores.values() for why in score.unavailable.values()}
    lines += ["", *(f"Not measured: {why}." for why in sorted(reasons))]
    told = f"paper: 14 Derf clips, 540p to 1080p, GTX 1080 Ti. Ours: {config.frames} frames of "
    told += f"{', '.join(map(report.stem, config.clips))} ({size}), on {device()}; other clips have"
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


def curves(config: Table, cells: list[dict]) -> list[str]:
    """Markdown of Fig. 4-5 and Table 3; writes the figure."""
    points = baseline_tables.curve_points(cells)
    lines = ["## Fig. 4-5, Table 3: two thirds the size, doubled, down to the full size", ""]
    lines += [*baseline_tables.curve_table(points), ""]
    if points[0].frames:
        figure = rates.plot(points, config.output / "rate.png")
        lines += [f"![Rate and distortion]({figure.name})", ""]
        lines += ["```", rates.table(points, FULL), "```", ""]
    return lines + quoted("The paper's Table 3, 1080p:", PUBLISHED)


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
            f"{np.nanmean(baseline_tables.numbers(cell['values'][m])):.6g}"
            if m in cell["values"]
            else ""
            for m in names
        ]
        yield [cell["clip"], cell["degradation"], cell["crf"], cell["model"], cell["kbps"], *means]
