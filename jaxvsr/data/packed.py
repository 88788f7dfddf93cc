"""Pairs in one file: training where neither the clips nor their codecs are at hand.

A pack is a zip of pictures: the spoiled frames as WebP without loss, for they carry what coding
did, the true ones as JPEG, and `facts.json`. Only Pillow is needed to read it. A frame of 256x256
takes about 60 KB. What may not be trained on was refused before it was packed.
"""

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from jaxvsr.data.shots import MEMORY, Pair
from jaxvsr.errors import InputError, UsageError
from jaxvsr.host.files import whole

FORMAT = 1
SUFFIX = ".zip"
SIDES = ("known", "unseen")  # to train on, to validate on
DAMAGED = (OSError, KeyError, ValueError, zipfile.BadZipFile)  # what reading it may raise


def write(
    path: Path,
    pairs: Iterable[tuple[str, str, Pair]],
    facts: Mapping,
    *,
    factor: Fraction,
    quality: int = 95,
) -> int:
    """Packs (side, name, pair)s; `facts` are kept beside them. Returns how many there are.

    `quality` is JPEG's, 1 to 100, without subsampling. The file appears when it is complete.
    """
    path, entries = Path(path), {side: [] for side in SIDES}
    with whole(path) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as out:
        for side, name, pair in pairs:
            number = len(entries[side])
            for t, (lr, hr) in enumerate(zip(pair.lr, pair.hr, strict=True)):
                small, large = _names(side, number, t)
                out.writestr(small, _webp(lr))
                out.writestr(large, _jpeg(hr, quality))
            size = list(pair.hr.shape[1:3])
            entries[side].append({"name": name, "frames": len(pair.lr), "size": size})
        told = {"format": FORMAT, "factor": str(factor), **facts, "pairs": entries}
        out.writestr("facts.json", json.dumps(told, indent=1))
    return sum(map(len, entries.values()))


def _names(side: str, number: int, t: int) -> tuple[str, str]:
    """What frame `t` of a pair is called in the zip: spoiled, true."""
    stem = f"{side}/{number:06d}.{t:03d}"
    return f"{stem}.lr.webp", f"{stem}.hr.jpg"


def _webp(frame: np.ndarray) -> bytes:
    kept = io.BytesIO()
    Image.fromarray(frame).save(kept, "WEBP", lossless=True, method=4)
    return kept.getvalue()


def _jpeg(frame: np.ndarray, quality: int) -> bytes:
    kept = io.BytesIO()
    Image.fromarray(frame).save(kept, "JPEG", quality=quality, subsampling=0)
    return kept.getvalue()


@dataclass(frozen=True)
class Entry:
    """Pair `number` of one side of a pack."""

    path: Path
    side: str
    number: int
    name: str
    frames: int
    size: tuple[int, int]  # of a true frame: height, width


class PackedPairs:
    """The pairs of one side, by number; threads may ask at once.

    Once decoded they stay in memory, up to MEMORY; what has no room there is decoded at each visit.
    """

    on_disk = True

    def __init__(self, entries: Sequence[Entry], factor: Fraction):
        self.entries, self.factor = tuple(entries), factor
        self._kept: dict[int, Pair] = {}
        self._held = 0  # bytes
        self._files = threading.local()

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Pair:
        """The pair. Raises InputError where the pack is damaged."""
        if index in self._kept:
            return self._kept[index]
        pair = self._read(self.entries[index])
        size = pair.lr.nbytes + pair.hr.nbytes
        if self._held + size <= MEMORY:
            self._kept[index], self._held = pair, self._held + size
        return pair

    def _read(self, entry: Entry) -> Pair:
        names = [_names(entry.side, entry.number, t) for t in range(entry.frames)]
        try:
            pack = self._opened(entry.path)
            lr, hr = (
                np.stack([_picture(pack.read(name)) for name in half])
                for half in zip(*names, strict=True)
            )
        except DAMAGED as error:
            raise InputError(f"{entry.path}: {entry.name}: {error}; pack it again") from error
        return Pair(lr, hr, np.zeros(0, np.int64))

    def _opened(self, path: Path) -> zipfile.ZipFile:
        """The pack as this thread has it open: a file has one place to read from."""
        files = self._files.__dict__.setdefault("files", {})
        if path not in files:
            files[path] = zipfile.ZipFile(path)
        return files[path]


def _picture(kept: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(kept)) as picture:
        return np.asarray(picture.convert("RGB"))


@dataclass(frozen=True)
class Packs:
    """What packs of one making hold together; `facts` are those of the first."""

    known: PackedPairs
    unseen: PackedPairs
    facts: Mapping
    identity: str


def read(paths: Sequence[Path]) -> Packs:
    """Opens packs, whose order does not matter. Raises InputError, and UsageError for a mixture."""
    every = {path: _facts(path) for path in sorted(map(Path, paths), key=lambda p: p.name)}
    first = next(iter(every.values()))
    apart = [n for n in first if n != "pairs" and any(f.get(n) != first[n] for f in every.values())]
    if apart:
        raise UsageError(f"packs of different {', '.join(apart)}: give packs of one making")
    entries = {side: [] for side in SIDES}
    for path, facts in every.items():
        for side in SIDES:
            found = enumerate(facts["pairs"][side])
            entries[side] += [_entry(path, side, i, told) for i, told in found]
    if not entries["known"]:
        raise InputError(f"{', '.join(map(str, every))}: nothing to train on; pack more clips")
    factor = Fraction(first["factor"])
    known, unseen = (PackedPairs(entries[side], factor) for side in SIDES)
    digest = hashlib.sha256(json.dumps(list(every.values()), sort_keys=True).encode())
    facts = {name: value for name, value in first.items() if name not in ("pairs", "format")}
    return Packs(known, unseen, facts, digest.hexdigest()[:12])


def _entry(path: Path, side: str, number: int, told: Mapping) -> Entry:
    return Entry(path, side, number, told["name"], told["frames"], tuple(told["size"]))


def _facts(path: Path) -> dict:
    try:
        with zipfile.ZipFile(path) as pack:
            facts = json.loads(pack.read("facts.json"))
    except DAMAGED as error:
        raise InputError(
            f"{path}: not a pack ({error}); experiments.sr_unet pack makes one"
        ) from error
    if facts.get("format") != FORMAT:
        raise InputError(f"{path}: a pack of another version; pack it again")
    return facts
