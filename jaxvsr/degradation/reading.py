"""Videos as uint8 RGB, by the colour tags that enhancing reads them by."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from jaxvsr.degradation.downscale import quantise
from jaxvsr.errors import InputError
from jaxvsr.video.colour import to_rgb
from jaxvsr.video.reader import VideoReader


def read_video(path: Path) -> Iterator[np.ndarray]:
    """The frames of a video as uint8 RGB, upright, by its colour tags as enhancing reads them."""
    with VideoReader(path) as reader:
        for frame in reader:
            yield quantise(to_rgb(frame.planes, reader.info.colour))


def read_frames(path, first: int = 0, count: int | None = None) -> np.ndarray:
    """Frames of a video as uint8 RGB [T, H, W, 3]. Raises InputError if there are none."""
    last = None if count is None else first + count
    frames = list(islice(read_video(path), first, last))
    if not frames:
        raise InputError(f"{path}: no frame {first}; it is shorter than that")
    return np.stack(frames)
