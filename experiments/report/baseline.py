"""Clips halved, coded and doubled again by each network, and held against the clip itself.

They are coded as SR-UNet's authors did it (x265 `medium`) and as GAN-EVH's (x264 `veryfast`, a key
frame every 100), at each CRF. Cells that the output folder has already are kept, so a run that
was stopped goes on.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np

import jaxvsr
from experiments import DATA
from experiments.report import tables
from experiments.report.cells import CLIPS, cell_of, place, read_clip, stem
from experiments.report.tables import TRUTH
from jaxvsr.degradation import spoil_and_tell
from jaxvsr.degradation.presets import recipe
from jaxvsr.host.options import Range
from jaxvsr.metrics.table import METRICS

OWN = ("bicubic", "lanczos", "sr_unet_light_x2")
PUBLISHED = {  # trained by others, with the shared data
    "SR-UNet, published": DATA / "weights/srunet/srunet_2x_crf23.pth",
    "animevideov3, published": DATA / "weights/realesr/realesr-animevideov3-x4.param",
}
PAPERS = {"sr-unet": 23, "gan-evh": 38}  # degradation: the CRF of its paper
SCALE = 2


@dataclass(frozen=True)
class Baseline:
    """Bicubic, Lanczos, the packaged network, and published ones where the shared data is."""

    models: tuple[str, ...] = ()
    """Names, paths or NAME=PATH; by default all that are at hand."""
    clips: tuple[str, ...] = CLIPS
    """Names in the shared folder of clips, or paths."""
    metrics: tuple[str, ...] = tuple(METRICS)
    """What to measure at each paper's own CRF."""
    curves: tuple[str, ...] = ("psnr", "psnr_y", "ssim_y", "ms_ssim_y", "lpips", "vmaf")
    """What to measure at every other CRF."""
    crfs: Annotated[tuple[int, ...], Range(0, 63)] = (18, 23, 28, 33, 38)
    frames: Annotated[int, Range(1)] = 8
    """Frames of each clip that are scored."""
    skip: Annotated[int, Range(0)] = 12
    """Frames before them, coded but not scored: most of a video lies deep in its GOPs."""
    output: Path = Path("runs/baseline")

    def run(self) -> None:
        """Scores what is not scored yet and writes the report."""
        self.output.mkdir(parents=True, exist_ok=True)
        file = self.output / "cells.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        known = {place(cell) for cell in map(json.loads, lines)}
        with open(file, "a") as sink:
            for cell in measure(self, known):
                sink.write(json.dumps(cell, allow_nan=False) + "\n")
                sink.flush()
                print(*place(cell), flush=True)
        cells = list(map(json.loads, file.read_text().splitlines()))
        clips, names = set(map(stem, self.clips)), {TRUTH, *sources(self)}
        cells = [cell for cell in cells if cell["clip"] in clips and cell["model"] in names]
        tables.write(cells, self.output, PAPERS)
        print((self.output / "report.md").read_text())


def measure(config: Baseline, known: set[tuple]) -> Iterator[dict]:
    """The cells that are not `known`, clip by clip."""
    nets = {name: jaxvsr.load(source, scale=SCALE) for name, source in sources(config).items()}
    for clip, (degradation, own) in product(config.clips, PAPERS.items()):
        for crf in sorted({own, *config.crfs}):
            where = (stem(clip), degradation, crf)
            names = [TRUTH, *nets] if crf == own else list(nets)
            names = [name for name in names if (*where, name) not in known]
            if names:
                yield from group(config, clip, where, {name: nets.get(name) for name in names})


def group(config: Baseline, clip: str, where: tuple, nets: dict) -> Iterator[dict]:
    """The cells of one clip at one degradation and CRF."""
    truth = read_clip(clip, config.skip + config.frames)
    coded, record = spoil_and_tell(truth, recipe(where[1], crf=where[2]))
    coded, real = coded[config.skip :], truth[config.skip :]
    own = PAPERS[where[1]] == where[2]
    for name, net in nets.items():
        fake = real if net is None else np.concatenate([net(frame[None]) for frame in coded])
        scores = jaxvsr.compare(real, fake, metrics=config.metrics if own else config.curves)
        if own:
            tables.keep_picture(config.output, where, name, fake[len(fake) // 2])
        yield cell_of(where, name, scores, record["kbps"])


def sources(config: Baseline) -> dict[str, str]:
    """Name in the report: what `jaxvsr.load` takes."""
    if not config.models:
        return {n: n for n in OWN} | {n: str(p) for n, p in PUBLISHED.items() if p.exists()}
    pairs = (text.partition("=") for text in config.models)
    return {(name if path else stem(name)): path or name for name, _, path in pairs}
