"""Networks against bicubic and Lanczos on real clips: halved, coded, doubled again, scored.

python -m experiments.evaluate_clips sr_unet_light_x2 bicubic lanczos
python -m experiments.evaluate_clips PATH.safetensors --codecs libx265 --crfs 23 33 --frames 8

The truth is the clip itself. PSNR is over RGB and over luma, SSIM over luma, both on 8-bit frames
and without cropping the border; VMAF is libvmaf's v0.6.1. A model's card says what a look at these
clips changed.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np

import jaxvsr
from experiments import tell_library
from experiments.report.cells import CLIPS, read_clip
from jaxvsr.commands.reading import Positional, read
from jaxvsr.degradation import Recipe, spoil
from jaxvsr.errors import UsageError
from jaxvsr.host.options import Range
from jaxvsr.train import exit_status

SCORES = {"psnr": 2, "psnr_y": 2, "ssim": 4, "vmaf": 2, "vmaf_neg": 2}  # decimals

MODELS = ("bicubic", "lanczos", "sr_unet_light_x2")


@dataclass(frozen=True)
class Config:
    """Frames before `skip` are coded but not scored: most of a video lies deep in its GOPs."""

    models: Annotated[tuple[str, ...], Positional("MODEL")] = MODELS
    clips: tuple[str, ...] = CLIPS
    codecs: tuple[str, ...] = ("libx264", "libx265")
    crfs: Annotated[tuple[int, ...], Range(0, 63)] = (18, 23, 28, 33, 38)
    preset: str = "medium"
    shrink: str = "bicubic"
    skip: Annotated[int, Range(0)] = 12
    frames: Annotated[int, Range(1)] = 24
    output: Path | None = None
    """A file that gets one JSON object a line, for each model, clip, codec and CRF."""


def main(config: Config) -> list[dict]:
    """Scores every combination and prints the table; returns its rows."""
    rows = []
    nets = {name: jaxvsr.load(name) for name in config.models}
    for clip, codec in product(config.clips, config.codecs):
        truth = read_clip(clip, config.skip + config.frames)
        for crf in config.crfs:
            recipe = Recipe(downscale=config.shrink, codec=codec, crf=crf, preset=config.preset)
            coded, real = spoil(truth, recipe)[config.skip :], truth[config.skip :]
            for name, net in nets.items():
                fake = np.concatenate([net(frame[None]) for frame in coded])
                label = {"clip": clip, "codec": codec, "crf": crf, "model": Path(name).stem}
                rows.append(label | score(fake, real))
                keep(rows[-1], config)
    print("\n".join(table(rows)))
    return rows


def score(fake: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Means over the frames of two uint8 clips."""
    names = {"ssim": "ssim_y"}
    found = jaxvsr.compare(real, fake, metrics=tuple(names.get(name, name) for name in SCORES))
    if found.unavailable:
        raise UsageError(next(iter(found.unavailable.values())))
    return {name: found.mean(names.get(name, name)) for name in SCORES}


def keep(row: dict, config: Config) -> None:
    """Appends a row to the output file with what it was measured on."""
    if config.output:
        facts = {k: v for k, v in asdict(config).items() if k in ("preset", "shrink", "frames")}
        with open(config.output, "a") as file:
            file.write(json.dumps(row | facts) + "\n")


def table(rows: list[dict]) -> Iterator[str]:
    """Markdown: one line for each clip, codec, CRF and model."""
    yield "| clip | codec | CRF | model | " + " | ".join(SCORES) + " |"
    yield "|---|---|---|---|" + "---|" * len(SCORES)
    for row in rows:
        numbers = [f"{row[key]:.{digits}f}" for key, digits in SCORES.items()]
        cells = [row["clip"], row["codec"], row["crf"], row["model"], *numbers]
        yield "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    tell_library()
    sys.exit(exit_status(lambda: main(read(Config, prog="python -m experiments.evaluate_clips"))))
