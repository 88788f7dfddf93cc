"""Batches to train on: aligned crops of spoiled and true clips, the same on every run.

A batch is {"lr": uint8 [N, T, h, w, 3], "hr": uint8 [N, T, H, W, 3]}, RGB. It stays uint8 until it
is on the device (`as_float` there): a quarter of the bytes to copy and queue, and the host's cores
are left to decoding. A batch is a function of its number and the settings alone, so the position
is all that a checkpoint needs, and the rows of all hosts together are the batch of one host.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np

from jaxvsr.data import catalogue
from jaxvsr.data.made_up import procedural
from jaxvsr.data.packed import PackedPairs
from jaxvsr.data.shots import Pairs, Spoiling, prepare, shots
from jaxvsr.data.sources import Clip, Found, usable
from jaxvsr.degradation import Recipe
from jaxvsr.errors import JaxvsrError, UsageError
from jaxvsr.host.dealing import check_batch

FLIPS = ("none", "horizontal", "all")
FOR_EVER = 2**62  # batches
VISIT = 16  # crops of a shot that had to be spoiled for them
SCENES = 256  # made-up ones, where no clips are given


@dataclass(frozen=True)
class Feed:
    """What a batch is.

    `batch` counts the rows of all hosts together; `crop` is the side in true pixels. `flips`
    "horizontal" mirrors half of the crops, as SR-UNet does; "all" also turns them, as most papers
    do; `reverse` plays half of them backwards. `visit` crops are cut each time that a shot is
    opened (None: one where it lies on disk as arrays, VISIT where it is made anew), from `mix`
    shots in turn. `length` is the frames of a shot at most, about.
    """

    batch: int = 32
    frames: int = 7
    crop: int = 96
    flips: str = "horizontal"
    reverse: bool = False
    seed: int = 0
    visit: int | None = None
    mix: int = 32
    length: int = 100
    hosts: int = 1
    host: int = 0
    threads: int = 2

    def __post_init__(self):
        if self.flips not in FLIPS:
            raise UsageError(f"flips {self.flips!r}: choose from {', '.join(FLIPS)}")
        for name in ("batch", "frames", "crop", "visit", "mix", "hosts", "threads"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}: give 1 or more")
        if not 0 <= self.host < self.hosts:
            raise UsageError(f"host {self.host} of {self.hosts}: hosts count from 0")
        check_batch(self.batch, self.hosts, f"{self.hosts} hosts")


def as_float(batch: dict) -> dict:
    """The batch in [0, 1], float32; for numpy and JAX arrays, so inside `jit` too."""
    return {name: array.astype(np.float32) / 255 for name, array in batch.items()}


@dataclass(frozen=True)
class Stream:
    """An endless stream of batches: iterate over `dataset`; `skipped` says what was left out.

    An iterator of it has `get_state` and `set_state`, and `grain.checkpoint` can save it.
    """

    dataset: object  # grain.IterDataset: grain is imported where it is used
    batches: "Batches"
    skipped: tuple[str, ...] = ()


class Batches:
    """A stream as an endless, savable iterator; `skipped` is the stream's."""

    def __init__(self, stream: Stream):
        self.batches, self.skipped = iter(stream.dataset), stream.skipped

    def __next__(self) -> dict[str, np.ndarray]:
        return next(self.batches)

    def __iter__(self):
        return self

    def get_state(self):
        """See `jaxvsr.train.checkpoint.position`."""
        return self.batches.get_state()

    def set_state(self, state) -> None:
        """See `jaxvsr.train.checkpoint.seek`."""
        self.batches.set_state(state)


class Singles(Batches):
    """Batches of single frames [N, h, w, 3] out of a stream of clips of one frame each."""

    def __next__(self) -> dict[str, np.ndarray]:
        return {name: clips[:, 0] for name, clips in super().__next__().items()}


def stream(
    clips: Sequence[Clip] | Found | None,
    recipe: Recipe | Callable[[np.random.Generator], Recipe],
    feed: Feed,
    *,
    folder=None,
    arrays: bool = True,
    truth: str = "video",
    show: Callable[[int, int], None] | None = None,
) -> Stream:
    """Batches of crops of clips (None: made-up scenes), spoiled by a recipe or a draw of recipes.

    With a `folder` every shot is spoiled and kept there first, which `show(done, all)` can follow:
    as arrays, or without `arrays` as coded packets alone, for sets that are too large.
    Raises one-line errors for what cannot be trained on, before any of that: no clip long or
    large enough, a crop that the factor does not divide, a batch that hosts do not share evenly,
    a test set.
    """
    _grain()  # before any work
    if clips is None:
        clips = procedural(feed.seed, SCENES, max(12, feed.frames), _scene_size(feed))
    found = clips if isinstance(clips, Found) else Found(tuple(clips))
    spoiling = Spoiling(recipe, feed.seed, truth)
    steps(spoiling.factor, feed.crop)
    catalogue.refuse_test_sets(found.clips)
    found = usable(found, feed.frames, _needed(feed.crop, spoiling.factor), "the training clips")
    every = shots(found.clips, feed.frames, feed.length)
    pairs, failed = Pairs(every, spoiling, folder, arrays=arrays, keep=2 * feed.mix), []
    pairs.check_room()
    if folder is not None:
        pairs, failed = prepare(pairs, show, feed.host * len(every) // feed.hosts)
    return dealt(pairs, feed, (*found.skipped, *failed))


def dealt(pairs: Pairs | PackedPairs, feed: Feed, skipped: tuple[str, ...] = ()) -> Stream:
    """Batches of crops of pairs that are there already; `skipped` says what was left out."""
    grain = _grain()
    if feed.visit is None:
        feed = replace(feed, visit=1 if pairs.on_disk else VISIT)
    batches = Batches(pairs, feed)
    ahead = grain.ReadOptions(num_threads=feed.threads, prefetch_buffer_size=2 * feed.threads)
    return Stream(grain.MapDataset.source(batches).to_iter_dataset(ahead), batches, skipped)


def steps(factor: Fraction, crop: int) -> tuple[int, int, int]:
    """(crop in spoiled pixels, grid of places in spoiled pixels, the same in true pixels).

    By 3/2 crops lie at every second spoiled and every third true pixel. Raises UsageError if the
    crop is no multiple of the grid.
    """
    true, spoiled = factor.numerator, factor.denominator
    if crop % true:
        near = crop // true * true or true
        why = f"not a multiple of {true}, as a factor of {factor} needs"
        raise UsageError(f"crop {crop}: {why}; use {near}")
    return crop // true * spoiled, spoiled, true


class Batches:
    """Batch number `step` of this host by `[step]`, computed from nothing but its number."""

    def __init__(self, pairs: Pairs | PackedPairs, feed: Feed):
        self.pairs, self.feed = pairs, feed
        self._small, self._grid, self._true = steps(pairs.factor, feed.crop)
        self._order = lru_cache(8)(self._shuffled)

    def __len__(self) -> int:
        return FOR_EVER

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        """{"lr": [n, T, h, w, 3], "hr": [n, T, H, W, 3]}, uint8; n rows are this host's share."""
        feed = self.feed
        rows = feed.batch // feed.hosts
        shape = rows, feed.frames
        lr = np.empty((*shape, self._small, self._small, 3), np.uint8)
        hr = np.empty((*shape, feed.crop, feed.crop, 3), np.uint8)
        for row in range(rows):
            number = step * feed.batch + feed.host * rows + row
            self._cut(number, lr[row], hr[row])
        return {"lr": lr, "hr": hr}

    def _cut(self, number: int, lr: np.ndarray, hr: np.ndarray) -> None:
        """Writes crop `number` of the endless sequence that all hosts share."""
        feed, pair = self.feed, self.pairs[self.shot_of(number)]
        rng = np.random.default_rng([feed.seed, 1, number])
        t = rng.choice(pair.starts(feed.frames))
        room = (np.array(pair.lr.shape[1:3]) - self._small) // self._grid + 1
        y, x = rng.integers(room)
        turn = _turn(rng, feed)
        for whole, out, grid in zip(pair[:2], (lr, hr), (self._grid, self._true), strict=True):
            side, top, left = out.shape[1], y * grid, x * grid
            crop = whole[t : t + feed.frames, top : top + side, left : left + side]
            _pixels(out)[:] = turn(_pixels(np.ascontiguousarray(crop)))

    def shot_of(self, number: int) -> int:
        """The shot that crop `number` is of: all in random order, each opened once an epoch.

        Crops are dealt from `mix` open shots in turn. Those are exchanged one after another, so
        that the work of making new ones is spread evenly.
        """
        visit, mix = self.feed.visit, self.feed.mix
        turn, slot = divmod(number, mix)
        opened = (turn + slot * visit // mix) // visit * mix + slot
        epoch, place = divmod(opened, len(self.pairs))
        return int(self._order(epoch)[place])

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.feed.seed, 2, epoch]).permutation(len(self.pairs))


def _turn(rng: np.random.Generator, feed: Feed) -> Callable[[np.ndarray], np.ndarray]:
    """One flip, turn and direction of time for both crops [T, H, W] of a pair."""
    mirror, backwards, quarters = rng.integers(2), rng.integers(2), rng.integers(4)

    def turn(crop: np.ndarray) -> np.ndarray:
        crop = crop[::-1] if feed.reverse and backwards else crop
        crop = crop[:, :, ::-1] if feed.flips != "none" and mirror else crop
        return np.rot90(crop, quarters, (1, 2)) if feed.flips == "all" else crop

    return turn


def _pixels(frames: np.ndarray) -> np.ndarray:
    """uint8 [T, H, W, 3] as [T, H, W] of three-byte pixels: a turned copy takes half the time."""
    return frames.view("V3")[..., 0]


def _grain():
    try:
        import grain
    except ImportError:
        raise JaxvsrError("training data needs grain; install it by: pip install grain") from None
    return grain


def _needed(crop: int, factor: Fraction) -> tuple[int, int]:
    """The smallest frame (height, width) that has such a crop: coded sides are even."""
    unit = 2 * factor.numerator
    side = -(-crop // unit) * unit
    return side, side


def _scene_size(feed: Feed) -> tuple[int, int]:
    """Made-up scenes are twice as wide as the crop, a multiple of 48, which factors divide."""
    side = -(-2 * feed.crop // 48) * 48
    return side, side
