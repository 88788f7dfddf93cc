"""Clips that no camera took: procedural scenes, and stills under a moving camera.

They are clips as `jaxvsr.data.sources` has them, drawn anew whenever they are read, and
each knows its optical flow by its `scene`. A clip depends on its seed, its number or
picture, its length and its size alone.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxvsr.data import flow_scenes
from jaxvsr.data.sources import Found, header
from jaxvsr.errors import InputError
from jaxvsr.video.images import SUFFIXES, read_image

LOOK = 1  # counts changes to how scenes are drawn, so that what is kept of older ones is not used


@dataclass(frozen=True)
class Procedural:
    """Scene `number` of the endless series that a seed stands for."""

    seed: int
    number: int
    frames: int = 12
    size: tuple[int, int] = (192, 192)

    @property
    def name(self) -> str:
        """All that the pixels depend on."""
        height, width = self.size
        return f"scene{LOOK}_{self.seed}_{self.number:06d}_{width}x{height}x{self.frames}"

    def scene(self) -> flow_scenes.Scene:
        """The scene, which also knows its optical flow."""
        rng = np.random.default_rng([self.seed, self.number])
        return flow_scenes.draw(rng, self.frames, *self.size)

    def read(self, start: int, count: int) -> np.ndarray:
        """See `sources.Clip.read`."""
        return self.scene().clip(start, count)


@dataclass(frozen=True)
class MovingStill:
    """A picture under a camera that pans, shakes, turns and zooms."""

    path: Path
    seed: int = 0
    frames: int = 12
    size: tuple[int, int] = (192, 192)

    @property
    def name(self) -> str:
        """The picture's name and what the camera's path depends on."""
        height, width = self.size
        return f"{self.path.stem}_still{LOOK}_{self.seed}_{width}x{height}x{self.frames}"

    def scene(self) -> flow_scenes.Scene:
        """The scene, which also knows its optical flow. Raises InputError."""
        rng = np.random.default_rng([self.seed, zlib.crc32(self.path.name.encode())])
        still = read_image(self.path)[0]
        still = still if still.dtype == np.uint8 else (still // 257).astype(np.uint8)
        return flow_scenes.over_still(rng, still, self.frames, *self.size)

    def read(self, start: int, count: int) -> np.ndarray:
        """See `sources.Clip.read`."""
        return self.scene().clip(start, count)


def procedural(
    seed: int, count: int, frames: int = 12, size: tuple[int, int] = (192, 192)
) -> Found:
    """`count` made-up scenes: the training data of a machine that has none."""
    return Found(tuple(Procedural(seed, i, frames, size) for i in range(count)))


def moving_stills(
    folder, seed: int = 0, frames: int = 12, size: tuple[int, int] = (192, 192)
) -> Found:
    """A clip for each picture below a folder; what is no picture is named in `skipped`.

    Raises InputError if there is none.
    """
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)
    clips, skipped = [], []
    for path in paths:
        try:
            header(path)
            clips.append(MovingStill(path, seed, frames, size))
        except InputError as error:
            skipped.append(str(error))
    if not clips:
        raise InputError(f"{folder}: no picture that can be read; name a folder of pictures")
    return Found(tuple(clips), tuple(skipped))
