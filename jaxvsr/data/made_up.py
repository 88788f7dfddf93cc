"""Clips that no camera took: procedural scenes, and stills under a moving camera.

They are clips as `jaxvsr.data.sources` has them, drawn anew whenever they are read, and
each knows its optical flow by its `scene`. A clip depends on its seed, its number or
picture, its length and its size alone.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from jaxvsr.comparison.sources import picture_paths
from jaxvsr.data import flow_scenes, sources
from jaxvsr.data.sources import Derived, Found, are_stills, header, open_all
from jaxvsr.errors import InputError
from jaxvsr.video.images import SUFFIXES, read_image
from jaxvsr.video.names import visible

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
    """A picture under a camera that pans, shakes, turns and zooms.

    Turned and zoomed pictures are resampled, and so a little soft. `whole`: the camera only pans,
    by whole pixels, and frames are as sharp as the picture. `take` is another path over it.
    """

    path: Path
    seed: int = 0
    frames: int = 12
    size: tuple[int, int] = (192, 192)
    whole: bool = False
    take: int = 0

    @property
    def name(self) -> str:
        """The picture's name and what the camera's path depends on."""
        height, width = self.size
        how = f"{'_whole' if self.whole else ''}{f'_take{self.take}' if self.take else ''}"
        return f"{self.path.stem}_still{LOOK}_{self.seed}_{width}x{height}x{self.frames}{how}"

    def scene(self) -> flow_scenes.Scene:
        """The scene, which also knows its optical flow. Raises InputError."""
        rng = np.random.default_rng([self.seed, zlib.crc32(self.path.name.encode()), self.take])
        still = read_image(self.path)[0]
        still = still if still.dtype == np.uint8 else (still // 257).astype(np.uint8)
        return flow_scenes.over_still(rng, still, self.frames, *self.size, whole=self.whole)

    def read(self, start: int, count: int) -> np.ndarray:
        """See `sources.Clip.read`."""
        return self.scene().clip(start, count)


@dataclass(frozen=True)
class Grainy(Derived):
    """A clip with the grain of a film or a sensor: part of the truth, which coding takes away.

    Gaussian, of `sigma` levels of 255 in luma and a quarter of that in colour, as wide as `width`
    pixels (a Gaussian's standard deviation; 0: each pixel for itself), new in each frame.
    """

    sigma: float
    width: float = 0.0
    seed: int = 0

    @property
    def name(self) -> str:
        """The clip's name and the grain."""
        return f"{self.clip.name}_grain{self.sigma:g}_{self.width:g}_{self.seed}"

    def read(self, start: int, count: int) -> np.ndarray:
        """See `sources.Clip.read`."""
        frames = self.clip.read(start, count)
        return np.stack([self._grained(f, start + t) for t, f in enumerate(frames)])

    def _grained(self, frame: np.ndarray, t: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, zlib.crc32(self.clip.name.encode()), t])
        height, width = frame.shape[:2]
        grain = rng.normal(0, 1, (height, width, 1)) + rng.normal(0, 0.25, (height, width, 3))
        if self.width:
            grain = gaussian_filter(grain, (self.width, self.width, 0))
        grain *= self.sigma / grain.std()
        return np.uint8(np.clip(np.round(frame + grain), 0, 255))


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
    paths = [p for p in visible(Path(folder)) if p.suffix.lower() in SUFFIXES]
    found = _over(paths, seed, frames, size)
    if not found.clips:
        raise InputError(f"{folder}: no picture that can be read; name a folder of pictures")
    return found


def find(root, seed: int = 0, frames: int = 12, size: tuple[int, int] = (192, 192)) -> Found:
    """As `sources.find`, and a clip for each picture of folders that hold no frames of one clip.

    `sources.are_stills` tells them apart. Raises InputError where there is none.
    """

    def opened(pairs: list[tuple[Path, str]]) -> Found:
        folders = [path for path, _ in pairs if path.is_dir() and are_stills(path)]
        paths = [picture for folder in folders for picture in picture_paths(folder)]
        stills = _over(paths, seed, frames, size)
        clips = open_all(pair for pair in pairs if pair[0] not in folders)
        return Found((*clips.clips, *stills.clips), (*clips.skipped, *stills.skipped))

    return sources.find(root, opened=opened)


def _over(paths: list[Path], seed: int, frames: int, size: tuple[int, int]) -> Found:
    """A clip for each picture; what is none is skipped."""
    clips, skipped = [], []
    for path in paths:
        try:
            header(path)
            clips.append(MovingStill(path, seed, frames, size))
        except InputError as error:
            skipped.append(str(error))
    return Found(tuple(clips), tuple(skipped))
