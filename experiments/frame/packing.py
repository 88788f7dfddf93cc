"""Coded pairs in one file, for a machine that has neither the clips nor the codecs.

python -m experiments.sr_unet pack x2.zip --use x2                      # where the clips are
python -m experiments.sr_unet --use x2 --data x2.zip --accelerator gpu  # where the GPU is

Each shot goes through its codec whole; of what comes out a few neighbouring frames are kept, and
of large ones a part.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from experiments import counted, say
from experiments.frame import material
from jaxvsr.commands.reading import Positional
from jaxvsr.data import catalogue, made_up, packed, pipeline, shots, sources
from jaxvsr.data.shots import Pair
from jaxvsr.errors import InputError, UsageError


@dataclass(frozen=True)
class Pack:
    """Codes clips as a run does, and packs what came out."""

    out: Annotated[Path, Positional("FILE.zip")]
    """File to write; with several parts NAME-1.zip, NAME-2.zip ..."""
    use: str = "x2"
    """As of a run."""
    data: tuple[Path, ...] = ()
    """As of a run."""
    share: float = 0.2
    """Of the sequences that is held out to validate on."""
    seed: int = 0
    takes: int = 1
    """Times as many places of each of the shared stills."""
    grainy: float = material.GRAINY
    """Share of these stills that get grain."""
    frames: int = 1
    """Neighbouring frames of each shot."""
    side: int = 256
    """Of a frame, at most; larger ones are cut at a random place."""
    unseen: int = 96
    """Held-out shots, at most."""
    quality: int = 95
    """JPEG's, of the true frames."""
    parts: int = 1
    """Files of about equal size."""
    limit: int | None = None
    """Shots to train on, at most, drawn from all."""

    def run(self, uses: Mapping[str, Callable]) -> list[Path]:
        """Writes the packs; returns their paths. Raises UsageError and what coding raises."""
        self._check(uses)
        found = material.material(self.data, self.share, self.seed, self.takes, self.grainy)
        say(*found.told)
        known = found.known
        if known is None:
            known = made_up.procedural(self.seed, pipeline.SCENES).clips
        work = [("known", shot) for shot in self._shots(known, self.limit)]
        work += [("unseen", shot) for shot in self._shots(found.unseen, self.unseen)]
        spoiling = shots.Spoiling(uses[self.use], self.seed)
        facts = {"use": self.use, "clips": material.identity(found), "side": self.side}
        facts |= {name: getattr(self, name) for name in ("takes", "grainy", "quality", "seed")}
        paths, show = [], counted("shots coded")
        for part in range(self.parts):
            path, mine = self._path(part), work[part :: self.parts]
            done = lambda number, part=part: show(self.parts * number + part + 1, len(work))
            pairs = self._pairs(mine, spoiling, done)
            options = {"factor": spoiling.factor, "quality": self.quality}
            count = packed.write(path, pairs, facts, **options)
            say(f"{path}: {count} shots, {path.stat().st_size / 1e6:.1f} MB")
            paths.append(path)
        return paths

    def _check(self, uses: Mapping[str, Callable]) -> None:
        material.check_use(self.use, uses)
        if self.out.suffix != packed.SUFFIX:
            raise UsageError(f"{self.out}: a pack's name ends in {packed.SUFFIX}")
        if self.side < 64 or self.side % 4:
            raise UsageError(f"side {self.side}: give a multiple of 4 from 64")
        if not 1 <= self.quality <= 100:
            raise UsageError(f"quality {self.quality}: give 1 to 100")
        for name in ("takes", "frames", "unseen", "parts", "limit"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}: give 1 or more")
        if not 0 < self.share < 1 or not 0 <= self.grainy <= 1:
            raise UsageError("share must be between 0 and 1, and grainy from 0 to 1")
        if any(path.suffix == packed.SUFFIX for path in self.data):
            raise UsageError("--data has packs already; give folders of clips")

    def _path(self, part: int) -> Path:
        stem = self.out.stem if self.parts == 1 else f"{self.out.stem}-{part + 1}"
        return self.out.with_name(f"{stem}{self.out.suffix}")

    def _shots(self, clips: Sequence, most: int | None) -> list[shots.Shot]:
        """Shots of clips that a run may see, in random order: parts are alike, and so is a few."""
        if not clips:
            return []
        catalogue.refuse_test_sets(clips)
        found = sources.usable(sources.Found(tuple(clips)), self.frames, (64, 64), "the clips")
        say(*material.left_out(found.skipped, 0))
        every = shots.shots(found.clips, self.frames, material.LENGTH)
        order = np.random.default_rng(self.seed).permutation(len(every))[:most]
        return [every[i] for i in order]

    def _pairs(
        self, work, spoiling: shots.Spoiling, done: Callable[[int], None]
    ) -> Iterator[tuple]:
        """(side, name, pair) of each shot that can be read."""
        pairs = shots.Pairs(tuple(shot for _, shot in work), spoiling, keep=1)
        for number, (side, shot) in enumerate(work):
            try:
                yield side, shot.name, self._part(pairs[number], shot.name)
            except InputError as error:
                say(f"left out: {error}")
            done(number)

    def _part(self, pair: Pair, name: str) -> Pair:
        """The frames and the place that are kept, drawn from the shot's name."""
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        start = rng.choice(pair.starts(self.frames))
        times = slice(start, start + self.frames)
        height, width = (min(side, self.side // 2) for side in pair.lr.shape[1:3])
        top, left = (
            rng.integers(s - n + 1)
            for s, n in zip(pair.lr.shape[1:3], (height, width), strict=True)
        )
        lr = pair.lr[times, top : top + height, left : left + width]
        hr = pair.hr[times, 2 * top : 2 * (top + height), 2 * left : 2 * (left + width)]
        return Pair(lr, hr, np.zeros(0, np.int64))
