"""Shots: stretches of clips, spoiled whole by a codec, and the pairs that crops are cut from.

A codec cannot run on crops, so a whole stretch goes through it once; what comes out is kept. With
a folder the pairs lie there as arrays that crops are read from without decoding anything, and the
coded packets beside them (`jaxvsr.degradation.cache`), so that another run with other crops, or
with the arrays deleted, codes nothing again. Without a folder the last few pairs stay in memory.
"""

import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxvsr.data.sources import Clip
from jaxvsr.degradation import Recipe, spoil, subsampled
from jaxvsr.degradation.cache import Cache
from jaxvsr.degradation.record import versions
from jaxvsr.errors import InputError, SpaceError, UsageError
from jaxvsr.video.failing import failing
from jaxvsr.video.scene import CutDetector

FORMAT = 1  # of the arrays; another one is another name
TRUTHS = ("video", "rgb")
STALE = 3600.0  # seconds after which a half-written array is nobody's
MEMORY = 4e9  # bytes of pairs that may be held at most


@dataclass(frozen=True)
class Shot:
    """Frames `start` to `start + count` of a clip."""

    clip: Clip
    start: int
    count: int

    @property
    def name(self) -> str:
        """The clip's name and the frames: what the shot's recipe is drawn from."""
        return f"{self.clip.name} {self.start}+{self.count}"

    @property
    def identity(self) -> str:
        """What the shot's pixels depend on: its name, and its file's place, length and time."""
        path = getattr(self.clip, "path", None)
        if path is None:
            return self.name
        files = getattr(self.clip, "paths", (path,))
        stats = [p.stat() for p in {files[0], files[-1]}]
        return f"{path} {self.name} {sorted((s.st_size, s.st_mtime_ns) for s in stats)}"


def shots(clips: Iterable[Clip], window: int, length: int = 100) -> tuple[Shot, ...]:
    """Every clip in stretches of about `length` frames, none shorter than `window` frames."""
    found = []
    for clip in clips:
        parts = max(1, min(round(clip.frames / length), clip.frames // window))
        edges = [round(i * clip.frames / parts) for i in range(parts + 1)]
        found += [Shot(clip, a, b - a) for a, b in pairwise(edges)]
    return tuple(found)


@dataclass(frozen=True)
class Spoiling:
    """How shots become pairs.

    `recipe` is one for all, or draws one from a numpy generator that depends on `seed` and the
    shot's name alone. `truth` "video" is what a 4:2:0 video of the shot can hold (colour at half
    the size), "rgb" the source as it is. All recipes have one factor.
    """

    recipe: Recipe | Callable[[np.random.Generator], Recipe]
    seed: int = 0
    truth: str = "video"

    def __post_init__(self):
        if self.truth not in TRUTHS:
            raise UsageError(f"truth {self.truth!r}: choose from {', '.join(TRUTHS)}")

    @property
    def factor(self) -> Fraction:
        """Side of a true frame over side of a spoiled one."""
        recipe = self.recipe
        drawn = recipe if isinstance(recipe, Recipe) else recipe(np.random.default_rng(self.seed))
        return Fraction(drawn.factor).limit_denominator(1000)

    def of(self, shot: Shot) -> Recipe:
        """The shot's own recipe. Raises UsageError if its factor is not that of the others."""
        if isinstance(self.recipe, Recipe):
            return self.recipe
        recipe = self.recipe(np.random.default_rng([self.seed, zlib.crc32(shot.name.encode())]))
        if recipe.factor != float(self.factor):
            both = f"{recipe.factor:g} and {float(self.factor):g}"
            raise UsageError(f"recipes of factors {both}: crops of one batch need one factor")
        return recipe

    def true_frames(self, shot: Shot) -> np.ndarray:
        """The shot's frames, uint8 [T, H, W, 3], cut so that the factor divides them exactly."""
        frames = shot.clip.read(shot.start, shot.count)
        unit = 2 * self.factor.numerator  # coded sides are even
        height, width = (side // unit * unit for side in frames.shape[1:3])
        frames = frames[:, :height, :width]
        if self.truth == "video":
            frames = np.stack([subsampled(frame) for frame in frames])
        return np.ascontiguousarray(frames)


class Pair(NamedTuple):
    """A shot before and after: `lr` [T, h, w, 3] and `hr` [T, H, W, 3], both uint8 RGB.

    `cuts` are the numbers of the frames that begin a new scene, int64.
    """

    lr: np.ndarray
    hr: np.ndarray
    cuts: np.ndarray

    def starts(self, window: int) -> np.ndarray:
        """Where windows of so many frames may start: inside one scene, if that is possible."""
        every = np.arange(len(self.lr) - window + 1)
        crossing = (every[:, None] < self.cuts) & (self.cuts < every[:, None] + window)
        inside = every[~crossing.any(1)]
        return inside if len(inside) else every


def cuts_of(frames: np.ndarray) -> np.ndarray:
    """The numbers of the frames [T, H, W, 3] that begin a new scene; green stands for luma."""
    detector = CutDetector()
    return np.array([t for t, f in enumerate(frames) if detector.is_cut(f[..., 1])], np.int64)


class Pairs:
    """The pairs of shots, by number; any number of threads and processes may ask at once.

    `folder` keeps them on disk; the `keep` used last stay in memory. Without `arrays` only the
    coded packets are kept there, for sets too large to keep decoded: sources are read and packets
    decoded at every visit.
    """

    def __init__(
        self, shots: tuple[Shot, ...], spoiling: Spoiling, folder=None, *, arrays=True, keep=64
    ):
        self.shots, self.spoiling, self.arrays = shots, spoiling, arrays
        self.folder = None if folder is None else Path(folder)
        self.coded = None if folder is None else Cache(self.folder / "coded")
        self._keep, self._kept, self._locks, self._names = keep, OrderedDict(), {}, {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.shots)

    @property
    def factor(self) -> Fraction:
        """Side of a true frame over side of a spoiled one."""
        return self.spoiling.factor

    @property
    def on_disk(self) -> bool:
        """Whether pairs are kept as arrays in a folder, which crops are read from."""
        return self.folder is not None and self.arrays

    def __getitem__(self, index: int) -> Pair:
        """The pair of a shot. Raises InputError if the shot cannot be read."""
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
            mine = self._locks.setdefault(index, threading.Lock())
        with mine:  # one thread makes it, others wait for it
            with self._lock:
                if index in self._kept:
                    return self._kept[index]
            pair = self._made(index)
            with self._lock:
                self._kept[index] = pair
                self._locks.pop(index, None)
                if len(self._kept) > self._keep:
                    self._kept.popitem(last=False)
            return pair

    def _made(self, index: int) -> Pair:
        shot = self.shots[index]
        if not self.on_disk:
            return self._fresh(shot)
        files = self._files(index)
        with contextlib.suppress(FileNotFoundError):
            return Pair(*(np.load(file, mmap_mode="r") for file in files))
        for file, array in zip(files, self._fresh(shot), strict=True):
            _write(file, array)
        return Pair(*(np.load(file, mmap_mode="r") for file in files))

    def _fresh(self, shot: Shot) -> Pair:
        recipe = self.spoiling.of(shot)
        true = self.spoiling.true_frames(shot)
        return Pair(self._spoiled(true, recipe), true, cuts_of(true))

    def _spoiled(self, true: np.ndarray, recipe: Recipe) -> np.ndarray:
        kept = self.coded is not None and recipe.codec is not None
        return self.coded.spoil(true, recipe) if kept else spoil(true, recipe)

    def _files(self, index: int) -> tuple[Path, ...]:
        if index not in self._names:
            shot = self.shots[index]
            recipe = self.spoiling.of(shot).facts()
            facts = [FORMAT, shot.identity, self.spoiling.truth, recipe, _versions()]
            self._names[index] = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        key = self._names[index]
        return tuple(self.folder / f"{key}.{part}.npy" for part in Pair._fields)

    def check_room(self) -> None:
        """Raises SpaceError or UsageError if what is to be kept will not fit where it is kept."""
        share = 1 + 1 / float(self.spoiling.factor) ** 2
        sizes = [3 * shot.count * prod(shot.clip.size) * share for shot in self.shots]
        if not self.on_disk:
            need = self._keep * max(sizes)
            if need > MEMORY:
                raise UsageError(
                    f"{self._keep} shots of {max(sizes) / 1e6:.0f} MB in memory are too much; give "
                    "a folder to keep them in, fewer to mix, or shorter shots"
                )
            return
        made = [all(file.exists() for file in self._files(i)) for i in range(len(self))]
        need = sum(size for size, done in zip(sizes, made, strict=True) if not done)
        free = shutil.disk_usage(self.folder).free
        if need > free:
            raise SpaceError(
                f"{self.folder}: the training arrays need {need / 1e6:.1f} MB, {free / 1e6:.1f} MB "
                "free; choose another folder, fewer clips, or go without arrays"
            )


def prepare(pairs: Pairs, show: Callable[[int, int], None] | None = None, first: int = 0):
    """Makes all pairs; returns (a Pairs without the shots that failed, a line for each of those).

    `show(done, all)` is told after each. Hosts that share a folder begin at different places
    (`first`) and find what the others have made. Raises InputError if no shot is left.
    """
    if pairs.on_disk:
        _sweep(pairs.folder)
    failed = {}
    for i in range(len(pairs)):
        index = (first + i) % len(pairs)
        try:
            pairs[index]
        except InputError as error:
            failed[index] = str(error)
        if show:
            show(i + 1, len(pairs))
    good = tuple(shot for i, shot in enumerate(pairs.shots) if i not in failed)
    lines = [failed[i] for i in sorted(failed)]
    if not good:
        raise InputError(f"none of the {len(pairs)} shots can be read; the first: {lines[0]}")
    kept = {"arrays": pairs.arrays, "keep": pairs._keep}
    return Pairs(good, pairs.spoiling, pairs.folder, **kept), lines


@cache
def _versions() -> dict[str, str]:
    """What the bytes depend on, looked up once: a dataset has tens of thousands of shots."""
    return versions()


def _sweep(folder: Path) -> None:
    """Takes away what a killed run left half written, once nobody can still be writing it."""
    for draft in folder.glob(".*.npy.*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > STALE:
                draft.unlink()


def _write(file: Path, frames: np.ndarray) -> None:
    """Appears whole or not at all."""
    draft = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
    with failing(file):
        try:
            with open(draft, "wb") as out:
                np.lib.format.write_array(out, frames)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)
