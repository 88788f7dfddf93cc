"""What is compared with the reference, and what it is called.

A command line says `path`, `NAME=path` or `NAME@KBPS=path`.
"""

import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from jaxvsr.errors import UsageError
from jaxvsr.video.names import shown

NAMED = re.compile(r"(?P<name>[^=@]+)(?:@(?P<kbps>[^=@]*))?=(?P<path>.+)", re.DOTALL)


@dataclass(frozen=True)
class Candidate:
    """A path (or frames, or an open source), its name in tables, and its bitrate in kbit/s.

    Candidates of one `series` are points of one curve over the bitrate.
    """

    path: object
    name: str = ""
    series: str = ""
    kbps: float | None = None


def parse(text: str) -> Candidate:
    """A candidate as it is written on a command line; what exists as a file is a file."""
    match = None if os.path.exists(text) else NAMED.fullmatch(text)
    if match is None:
        return Candidate(text)
    kbps = match["kbps"]
    try:
        rate = None if kbps is None else float(kbps)
    except ValueError:
        rate = -1.0
    if rate is not None and not 0 < rate < float("inf"):
        raise UsageError(f"{text}: {kbps!r} is no bitrate; write NAME@KBPS=path, KBPS a number")
    return Candidate(match["path"], series=match["name"], kbps=rate)


def name_all(candidates: list[Candidate], rates: list[float | None]) -> list[Candidate]:
    """Gives every candidate a name of its own, a series and a bitrate.

    `rates` are those of the files; a bitrate that was given goes first. The name is that of the
    series, with the bitrate where several share it, else the file's.
    """
    rated = [
        c if c.kbps is not None else replace(c, kbps=r)
        for c, r in zip(candidates, rates, strict=True)
    ]
    members = Counter(c.series for c in rated)
    named = [replace(c, name=c.name or _name(c, members)) for c in rated]
    doubles = Counter(c.name for c in named)
    told = [replace(c, name=_place(c)) if doubles[c.name] > 1 else c for c in named]
    again: Counter = Counter()
    for i, candidate in enumerate(told):
        again[candidate.name] += 1
        if again[candidate.name] > 1:
            told[i] = replace(candidate, name=f"{candidate.name} ({again[candidate.name]})")
    return [replace(c, series=c.series or c.name) for c in told]


def _name(candidate: Candidate, members: Counter) -> str:
    if not candidate.series:
        return _stem(candidate)
    if members[candidate.series] == 1:
        return candidate.series
    if candidate.kbps is None:
        return f"{candidate.series} {_stem(candidate)}"
    return f"{candidate.series}@{candidate.kbps:.0f}"


def _place(candidate: Candidate) -> str:
    """The path as it was given; of an array, which has none, a word."""
    path = getattr(candidate.path, "name", candidate.path)
    return str(path) if isinstance(path, str | Path) else "candidate"


def _stem(candidate: Candidate) -> str:
    place = _place(candidate)
    return shown(Path(place).stem or place)
