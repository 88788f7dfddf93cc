"""Which frames of the candidates belong to which of the reference, and these frames, streaming.

Frames belong together when they are shown at the same time after the first frame of their file,
give or take half a frame: containers round times differently. What has no times, pictures, goes
by order. Whether everything has a partner is known before anything is decoded.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from jaxvsr.comparison.settings import Settings
from jaxvsr.comparison.sources import FPS, Source, half_gaps, open_source
from jaxvsr.comparison.views import Planes, picture
from jaxvsr.errors import InputError, UsageError
from jaxvsr.host.pipeline import ahead

DEPTH = 3  # frames that each reader may be ahead
FAR = 200  # frames between two wanted ones from which on seeking is faster than reading
DRIFT = 0.02  # share of frames by which rates must differ to be called different
REMEDY = "--shortest compares only what both have, --offset SECONDS shifts the candidate"


@dataclass(frozen=True)
class Plan:
    """`slots` [T] are the reference's frames that every candidate shows too.

    `times` [T] are their seconds; `partners[k]` gives for each frame of candidate k the slot of
    the reference that it belongs to, -1 for none.
    """

    slots: np.ndarray
    times: np.ndarray
    partners: tuple[np.ndarray, ...]


def make_plan(reference: Source, candidates: Sequence[Source], settings: Settings) -> Plan:
    """Pairs all frames by their times. Raises InputError, with the remedy, where that cannot be."""
    wanted = _span(reference, settings)
    partners = []
    for candidate in candidates:
        _check_size(reference, candidate, settings)
        found = partners_of(reference, candidate, settings.offset)
        found = np.where(np.isin(found, wanted), found, -1)
        _check_pairs(reference, candidate, found, wanted, settings)
        partners.append(found)
    slots = reduce(np.intersect1d, partners, wanted)
    if not len(slots):
        raise InputError(f"{reference.name}: no frame that all candidates show; compare them alone")
    return Plan(slots, reference.times[slots], tuple(partners))


def partners_of(reference: Source, candidate: Source, offset: float = 0.0) -> np.ndarray:
    """For each frame of the candidate the number of the reference's frame, -1 for none."""
    if not (reference.timed and candidate.timed):
        fps = next((s.fps for s in (reference, candidate) if s.timed), FPS)
        found = np.arange(len(candidate.times)) + round(offset * fps)
        return np.where((found >= 0) & (found < len(reference.times)), found, -1)
    real, fake = reference.times, candidate.times + offset
    near = nearest(real, fake)
    back = nearest(fake, real)
    gap = np.minimum(half_gaps(real)[near], half_gaps(fake))
    gap = gap if len(real) > 1 and len(fake) > 1 else np.maximum(gap, 1e-3)
    fits = (np.abs(real[near] - fake) <= gap) & (back[near] == np.arange(len(fake)))
    return np.where(fits, near, -1)


def nearest(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The index of the time nearest to each of `wanted`; both ascend."""
    right = np.searchsorted(times, wanted).clip(1, max(len(times) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(times) - 1)
    return np.where(wanted - times[left] <= times[right] - wanted, left, right)


def paired(
    reference: Source, candidates: Sequence[Source], plan: Plan
) -> Iterator[tuple[int, list[Planes]]]:
    """(slot, [planes of the reference, of candidate 0, ...]) of the frames that all could decode.

    Each source is read once, in a thread of its own, a few frames ahead.
    """
    sources = [(reference, np.arange(len(reference.times)))]
    sources += zip(candidates, plan.partners, strict=True)
    streams = [ahead(_slotted(*source, plan), DEPTH) for source in sources]
    try:
        heads = [next(stream, None) for stream in streams]
        while all(heads):
            latest = max(slot for slot, _ in heads)
            behind = [i for i, (slot, _) in enumerate(heads) if slot < latest]
            if not behind:
                yield latest, [planes for _, planes in heads]
                behind = range(len(heads))
            for i in behind:
                heads[i] = next(streams[i], None)
        for stream in streams:  # to the end, so that all damage is counted
            for _ in stream:
                pass
    finally:
        for stream in streams:
            stream.close()


def _slotted(source: Source, partner: np.ndarray, plan: Plan):
    """(slot of the reference, planes) of the frames of a source that the plan wants."""
    wanted = np.isin(partner, plan.slots)
    with closing(source.frames(*_ends(partner, plan))) as frames:
        for slot, planes in frames:
            if wanted[slot]:
                yield int(partner[slot]), planes


def count_damage(reference: Source, candidates: Sequence[Source], plan: Plan) -> None:
    """Counts again, one source at a time, where more than one seems to be damaged.

    FFmpeg's complaints do not say which of the files that are read together they are about.
    """
    sources = [(reference, np.arange(len(reference.times)))]
    sources += zip(candidates, plan.partners, strict=True)
    suspects = [pair for pair in sources if pair[0].damaged]
    for source, partner in suspects if len(suspects) > 1 else ():
        for _ in source.frames(*_ends(partner, plan)):
            pass


def _ends(partner: np.ndarray, plan: Plan) -> tuple[int, int]:
    """A source's own first and last slot that the plan wants."""
    first, last = np.flatnonzero(np.isin(partner, plan.slots))[[0, -1]]
    return int(first), int(last)


def frames_at(
    reference, candidates: list, indices: Sequence[int], settings: Settings, times=None
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yields (index, [reference, candidate 0, ...]) for the paired frames with these indices.

    `reference` and `candidates` are what `open_source` takes, or sources that are open; indices
    count the values of `Scores.frames` and come back in ascending order. Frames are RGB uint8
    [H, W, 3] of the reference's size. `times` are `Scores.times`, needed where damaged frames were
    left out. Stretches without a wanted frame are skipped, and only frames in hand are kept.
    """
    truth, *sources = (open_source(thing) for thing in (reference, *candidates))
    plan = make_plan(truth, sources, settings)
    slots = plan.slots if times is None else nearest(truth.times, np.asarray(times))
    wanted = np.unique(np.asarray(indices, int))
    groups = np.split(wanted, np.flatnonzero(np.diff(slots[wanted]) > FAR) + 1)
    for group in groups if len(wanted) else ():
        part = replace(plan, slots=slots[group], times=truth.times[slots[group]])
        with closing(paired(truth, sources, part)) as pairs:
            for index, (_, frames) in zip(group.tolist(), pairs, strict=False):
                both = zip(frames, (truth, *sources), strict=True)
                method = settings.resize
                yield index, [picture(f, s.colour, truth.size, method) for f, s in both]


def _span(reference: Source, settings: Settings) -> np.ndarray:
    """The slots of the reference that are asked for."""
    times, start = reference.times, settings.start or 0.0
    if start < 0 or (settings.duration is not None and settings.duration <= 0):
        raise UsageError("--start must be 0 or more and --duration more than 0; change them")
    end = np.inf if settings.duration is None else start + settings.duration
    wanted = np.flatnonzero((times >= start - 1e-3) & (times < end - 1e-3))
    if not len(wanted):
        raise UsageError(
            f"{reference.name}: no frame from {start:g} s on, it ends at {times[-1]:.3f} s; "
            "choose an earlier --start or a longer --duration"
        )
    return wanted


def _check_size(reference: Source, candidate: Source, settings: Settings) -> None:
    if reference.size == candidate.size or settings.resize:
        return
    sizes = [f"{s.size[1]}x{s.size[0]}" for s in (candidate, reference)]
    raise InputError(
        f"{candidate.name}: {sizes[0]} against {sizes[1]} of {reference.name}; "
        "--resize bicubic (or lanczos) brings it to the reference's size"
    )


def _check_pairs(reference, candidate, found, wanted, settings: Settings) -> None:
    """Refuses frames without partner, unless they are lost by damage or may be left out."""
    times = candidate.times + settings.offset
    ends = reference.times[wanted[0]], reference.times[wanted[-1]]
    spare = half_gaps(reference.times)[wanted[-1]]
    everything = settings.start is None and settings.duration is None
    inside = everything | ((times >= ends[0] - spare) & (times <= ends[1] + spare))
    alone, extra = np.setdiff1d(wanted, found), np.flatnonzero(inside & (found < 0))
    if not len(alone) and not len(extra):
        return
    broken = reference.broken or candidate.broken
    if not broken and (rates := _rates(reference, candidate, settings)):
        raise InputError(
            f"{candidate.name}: {rates[1]:.6g} frames a second against {rates[0]:.6g} of "
            f"{reference.name}; convert one to the other's rate first, for example by "
            f"ffmpeg -i {candidate.name} -vf fps={rates[0]:.6g} converted.mkv"
        )
    if not (found >= 0).any():
        raise InputError(f"{candidate.name}: shows no frame when {reference.name} does; {REMEDY}")
    if settings.shortest or broken:
        return
    first, owner = (alone[0], reference) if len(alone) else (extra[0], candidate)
    where = f"frame {first} of {owner.name} at {owner.times[first]:.3f} s"
    raise InputError(
        f"{candidate.name}: {len(candidate.times)} frames against {len(reference.times)} of "
        f"{reference.name}, the first without a partner is {where}; {REMEDY}"
    )


def _rates(reference: Source, candidate: Source, settings: Settings) -> tuple[float, float] | None:
    """Frames a second of both, where they differ; None where they do not, or cannot be told."""
    if not (reference.timed and candidate.timed):
        return None
    real, fake = reference.times, candidate.times + settings.offset
    first, last = max(real[0], fake[0]), min(real[-1], fake[-1])
    both = [t[(t >= first - 1e-3) & (t <= last + 1e-3)] for t in (real, fake)]
    if min(map(len, both)) < 4:
        return None
    gaps = [np.diff(t) for t in both]
    rates = tuple(1 / float(g.mean()) for g in gaps)
    steady = all(g.max() < 1.5 * np.median(g) for g in gaps)
    drift = abs(rates[0] / rates[1] - 1) * (last - first)
    if steady and drift > 0.5 / max(rates):
        return rates
    middle = [float(np.median(g)) for g in gaps]  # of which a few lost frames change nothing
    differ = all(abs(a / b - 1) > DRIFT for a, b in (rates, middle))
    return rates if differ and abs(len(both[0]) - len(both[1])) > 1 else None
