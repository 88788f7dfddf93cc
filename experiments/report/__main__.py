"""Networks at the papers' degradations, by every metric: tables, curves and pictures.

python -m experiments.report baseline
python -m experiments.report baseline --models bicubic mine=MY.safetensors --clips juggle_720p

Clips are halved and coded as SR-UNet's authors did it (x265 `medium`) and as GAN-EVH's (x264
`veryfast`, a key frame every 100), at each CRF, doubled by each network, and held against the clip
itself. Cells that the output folder has already are kept, so a run that was stopped goes on.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import numpy as np
import tyro

import jaxvsr
from experiments import DATA, tell_library
from experiments.report import baseline as baseline_tables
from experiments.report.baseline import TRUTH
from jaxvsr.comparison.scores import Scores
from jaxvsr.comparison.table import as_json
from jaxvsr.data import catalogue
from jaxvsr.degradation import read_video, spoil_and_tell
from jaxvsr.degradation.presets import recipe
from jaxvsr.errors import InputError, JaxvsrError
from jaxvsr.metrics.table import METRICS

CLIPS = catalogue.REPORTED  # refused as training data
OWN = ("bicubic", "lanczos", "sr_unet_light_x2")
PUBLISHED = {  # trained by others, with the shared data
    "SR-UNet, published": DATA / "weights/srunet/srunet_2x_crf23.pth",
    "animevideov3, published": DATA / "weights/realesr/realesr-animevideov3-x4.param",
}
PAPERS = {"sr-unet": 23, "gan-evh": 38}  # degradation: the CRF of its paper
SCALE, SIDE = 2, 4  # clips are cut to sides of which halves are even


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
    crfs: tuple[int, ...] = (18, 23, 28, 33, 38)
    frames: int = 8
    """Frames of each clip that are scored."""
    skip: int = 12
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
        baseline_tables.write(cells, self.output, PAPERS)
        print((self.output / "report.md").read_text())


def place(cell: dict) -> tuple:
    """What tells a cell from another."""
    return cell["clip"], cell["degradation"], cell["crf"], cell["model"]


def stem(clip: str) -> str:
    """A clip's name without folder and suffix."""
    return Path(clip).stem


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
            baseline_tables.keep_picture(config.output, where, name, fake[len(fake) // 2])
        yield cell_of(where, name, scores, record["kbps"])


def cell_of(where: tuple, model: str, scores: Scores, kbps: float) -> dict:
    """What was measured where, and every frame's value of every metric."""
    label = dict(zip(("clip", "degradation", "crf"), where, strict=True))
    (told,) = as_json([scores], frames=True)["candidates"]
    kept = {name: told[name] for name in ("times", "values", "unavailable")}
    return label | {"model": model, "kbps": kbps} | kept


def sources(config: Baseline) -> dict[str, str]:
    """Name in the report: what `jaxvsr.load` takes."""
    if not config.models:
        return {n: n for n in OWN} | {n: str(p) for n, p in PUBLISHED.items() if p.exists()}
    pairs = (text.partition("=") for text in config.models)
    return {(name if path else stem(name)): path or name for name, _, path in pairs}


def read_clip(clip: str, count: int) -> np.ndarray:
    """The first `count` frames of a shared clip or of a file, uint8 RGB."""
    path = Path(clip)
    if not path.is_file():
        path = next((DATA / "clips").glob(clip + ".*"), path)
    if not path.is_file():
        folder = DATA / "clips"
        raise InputError(f"{clip}: no such clip in {folder}; set JAXVSR_DATA, or give a file")
    frames = np.stack(list(islice(read_video(path), count)))
    height, width = (side // SIDE * SIDE for side in frames.shape[1:3])
    return frames[:, :height, :width]


if __name__ == "__main__":
    tell_library()
    try:
        tyro.extras.subcommand_cli_from_dict(
            {"baseline": Baseline}, prog="python -m experiments.report"
        ).run()
    except JaxvsrError as error:
        print(error, file=sys.stderr)
        sys.exit(error.status)
