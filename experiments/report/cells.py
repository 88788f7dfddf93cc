"""Cells of a study, one for each clip, degradation, CRF and network, and the clips themselves."""

from pathlib import Path

import numpy as np

from experiments import DATA
from jaxvsr.comparison.scores import Scores
from jaxvsr.comparison.table import as_json
from jaxvsr.data import catalogue
from jaxvsr.degradation import read_frames
from jaxvsr.errors import InputError

CLIPS = catalogue.REPORTED  # refused as training data
SIDE = 4  # clips are cut to sides of which halves are even


def place(cell: dict) -> tuple:
    """What tells a cell from another."""
    return cell["clip"], cell["degradation"], cell["crf"], cell["model"]


def stem(clip: str) -> str:
    """A clip's name without folder and suffix."""
    return Path(clip).stem


def cell_of(where: tuple, model: str, scores: Scores, kbps: float) -> dict:
    """What was measured where, and every frame's value of every metric."""
    label = dict(zip(("clip", "degradation", "crf"), where, strict=True))
    (told,) = as_json([scores], frames=True)["candidates"]
    kept = {name: told[name] for name in ("times", "values", "unavailable")}
    return label | {"model": model, "kbps": kbps} | kept


def read_clip(clip: str, count: int) -> np.ndarray:
    """The first `count` frames of a shared clip or of a file, uint8 RGB."""
    path = Path(clip)
    if not path.is_file():
        path = next((DATA / "clips").glob(clip + ".*"), path)
    if not path.is_file():
        folder = DATA / "clips"
        raise InputError(f"{clip}: no such clip in {folder}; set JAXVSR_DATA, or give a file")
    frames = read_frames(path, count=count)
    height, width = (side // SIDE * SIDE for side in frames.shape[1:3])
    return frames[:, :height, :width]
