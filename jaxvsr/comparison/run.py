"""A comparison from files to scores: one pass over all of them, whatever their length."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice

import jax
import numpy as np

from jaxvsr.comparison.beside import Beside
from jaxvsr.comparison.candidates import Candidate, name_all
from jaxvsr.comparison.pairs import Plan, count_damage, make_plan, paired
from jaxvsr.comparison.score import (
    Meter,
    Ready,
    batch_size,
    devices_for,
    make_ready,
    stacked,
)
from jaxvsr.comparison.scores import Scores
from jaxvsr.comparison.settings import Settings
from jaxvsr.comparison.sources import Source, open_source
from jaxvsr.errors import UsageError
from jaxvsr.host.progress import Progress

PLAIN = Settings()
DAMAGE = "damaged or missing"


def compare(
    reference, candidates: Sequence, settings: Settings = PLAIN, show: str = "none"
) -> list[Scores]:
    """Scores of every candidate against the reference, in one pass over all of them.

    Each is a path (video, picture, folder or pattern of pictures), an array of frames
    [T, H, W, 3], or (candidates) a `Candidate` that says its name. Frames that the reference and
    all candidates have are compared; memory does not grow with their number. A metric that cannot
    be had is named in `Scores.unavailable`. `show` is as `Progress` takes it. Raises InputError
    for files that cannot be read or paired and UsageError for what cannot be asked.
    """
    asked = [c if isinstance(c, Candidate) else Candidate(c) for c in candidates]
    if not asked:
        raise UsageError("nothing to compare with the reference; name a candidate")
    truth = open_source(reference, "reference")
    sources = [open_source(c.path, c.name or "candidate") for c in asked]
    plan = make_plan(truth, sources, settings)
    ready = make_ready(settings.metrics)
    _check_crop(truth, settings)
    named = name_all(asked, [source.kbps for source in sources])
    progress = Progress(truth.name, len(plan.slots), truth.fps, show=show)
    return _Comparison(truth, sources, plan, ready, settings, progress).run(named)


class _Comparison:
    """What one pass needs at hand."""

    def __init__(self, truth: Source, sources: list[Source], plan: Plan, ready: Ready, *rest):
        self.truth, self.sources, self.plan, self.ready = truth, sources, plan, ready
        self.settings, self.progress = rest
        self.batch = batch_size(truth.size, len(plan.slots), ready.names)
        self.devices = devices_for(ready.names, -(-len(plan.slots) // self.batch))
        self.meters: list[Meter] = []
        self.beside: list[Beside] = []
        self.slots: list[int] = []

    def run(self, named: list[Candidate]) -> list[Scores]:
        """The pass itself; everything that was started ends with it, however it ends."""
        with ExitStack() as stack:
            for source in self.sources:
                vmaf = Beside(self.truth, source, self.ready.of_kind("vmaf"), self.settings)
                self.beside.append(vmaf)
                stack.callback(vmaf.close)
            pairs = stack.enter_context(closing(paired(self.truth, self.sources, self.plan)))
            self._measure(pairs)
            frames = [
                meter.finish() | vmaf.finish(len(self.slots))
                for meter, vmaf in zip(self.meters, self.beside, strict=True)
            ]
        count_damage(self.truth, self.sources, self.plan)
        self.progress.finish()
        return [self._scores(*item) for item in enumerate(zip(named, frames, strict=True))]

    def _measure(self, pairs: Iterator) -> None:
        """All frames through the meters, in batches that keep what the next one leans on."""
        before: list = []
        while batch := list(islice(pairs, self.batch)):
            self.meters = self.meters or self._make_meters(batch[0][1])
            slots = np.array([slot for slot, _ in batch])
            previous = self.slots[-1] if self.slots else -2
            alone = np.diff(slots, prepend=previous) != 1
            columns = list(zip(*(frames for _, frames in batch), strict=True))
            heads = before or [column[0] for column in columns]
            self._add(columns, heads, alone)
            before = [column[-1] for column in columns]
            self.slots += slots.tolist()
            self.progress.add(len(batch))

    def _make_meters(self, examples) -> list[Meter]:
        settings, count = self.settings, len(self.plan.slots)
        facts = {"size": self.truth.size, "method": settings.resize, "crop": settings.crop}
        facts["ahead"] = len(self.devices)
        meters = []
        for source, example in zip(self.sources, examples[1:], strict=True):
            meanings = self.truth.colour, source.colour
            pair = examples[0], example
            meters.append(Meter(self.ready, pair, count, self.batch, meanings=meanings, **facts))
        return meters

    def _add(self, columns: list, heads: list, alone: np.ndarray) -> None:
        """One batch of the reference and of each candidate; `heads` are the frames before it."""
        for vmaf, fakes in zip(self.beside, columns[1:], strict=True):
            for real, fake in zip(columns[0], fakes, strict=True):
                vmaf.add(real, fake)
        moves = self.meters[0].moves
        both = zip(heads, columns, strict=True)
        frames = [[head, *column] if moves else list(column) for head, column in both]
        real, *fakes = (stacked(column, self.batch + moves) for column in frames)
        # Once, for all candidates; what is computed from it is computed there.
        turn = len(self.slots) // self.batch
        real = jax.device_put(real, self.devices[turn % len(self.devices)])
        for meter, fake in zip(self.meters, fakes, strict=True):
            meter.add(real, fake, alone)

    def _scores(self, index: int, item) -> Scores:
        candidate, frames = item
        source = self.sources[index]
        unavailable = {
            **self.ready.unavailable,
            **self.meters[index].unavailable,
            **self.beside[index].unavailable,
        }
        order = [name for name in self.settings.metrics if name in frames]
        return Scores(
            name=candidate.name,
            path=source.name,
            times=self.truth.times[self.slots],
            frames={name: frames[name] for name in order},
            unavailable={n: unavailable[n] for n in self.settings.metrics if n in unavailable},
            notices=tuple(self._notices(source)),
            kbps=candidate.kbps,
            series=candidate.series,
        )

    def _notices(self, source: Source) -> list[str]:
        """What a reader of the scores should know of this candidate."""
        told = _before(self.truth, [source], self.settings)
        told += [text for s in (self.truth, source) for text in _damage(s)]
        frames = [f"{len(s.times)} of {s.name}" for s in (self.truth, source)]
        if len(self.slots) != max(len(s.times) for s in (self.truth, source)):
            told.append(f"{len(self.slots)} frames compared ({', '.join(frames)})")
        return told


def damaged(scores: Sequence[Scores]) -> bool:
    """Whether a file of a comparison was damaged."""
    return any(DAMAGE in text for s in scores for text in s.notices)


def _before(truth: Source, sources: list[Source], settings: Settings) -> list[str]:
    """What is done to the frames before they are compared."""
    told = [f"{s.name}: interlaced, so deinterlaced" for s in (truth, *sources) if s.interlaced]
    size = f"{truth.size[1]}x{truth.size[0]}"
    resized = [s for s in sources if s.size != truth.size]
    return told + [f"{s.name}: resized to {size} by {settings.resize}" for s in resized]


def _damage(source: Source) -> list[str]:
    count = source.damaged + source.lost
    return [f"{source.name}: frames {DAMAGE}: {count}; what decodes is compared"] if count else []


def _check_crop(truth: Source, settings: Settings) -> None:
    if settings.crop < 0 or 2 * settings.crop >= min(truth.size):
        size = f"{truth.size[1]}x{truth.size[0]}"
        raise UsageError(f"--crop {settings.crop} leaves nothing of {size}; choose a smaller one")
