"""Spoiled clips kept on disk for training: the coded packets, by the content of what they are of.

An entry is one file: a digest of all that follows it, a header, and the packets (without a codec,
the frames, deflated). It appears by a rename, so any number of processes may share a folder; an
entry that does not fit its digest is made anew.
"""

import contextlib
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import av
import numpy as np

from jaxvsr.degradation import record
from jaxvsr.degradation.coding import decode, spoil_to_packets
from jaxvsr.degradation.reading import read_frames
from jaxvsr.degradation.recipe import Recipe
from jaxvsr.errors import DISK_FULL, InputError, OutputError, SpaceError
from jaxvsr.video.encode import REPEATABLE

SUFFIX = ".spoiled"
FORMAT = 1  # of the entries; another one is another key


class Cache:
    """A folder of spoiled clips of at most `limit` bytes (None: no limit), oldest use out first.

    Raises OutputError or SpaceError where the folder cannot be written.
    """

    def __init__(self, folder, limit: int | None = None):
        self.folder, self.limit = Path(folder), limit
        with _written(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def spoil(self, clip: np.ndarray, recipe: Recipe) -> np.ndarray:
        """`coding.spoil` of a clip uint8 [T, H, W, 3], from the folder if it is there."""
        digest = hashlib.sha256(str((clip.shape, clip.dtype)).encode())
        digest.update(np.ascontiguousarray(clip).data)
        return self._found_or_made(digest.hexdigest(), recipe, lambda: clip)

    def spoil_film(self, path, recipe: Recipe, first: int = 0, count: int | None = None):
        """The same of `count` frames of a video from frame `first` on; a hit decodes no source."""
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such file; check the name")
        stat = path.stat()
        content = _content(str(path), stat.st_size, stat.st_mtime_ns)
        return self._found_or_made(
            f"{content} {first} {count}", recipe, lambda: read_frames(path, first, count)
        )

    @property
    def bytes(self) -> int:
        """What the entries take on disk."""
        return sum(size for _, size, _ in self._entries())

    def _found_or_made(self, source: str, recipe: Recipe, clip: Callable[[], np.ndarray]):
        path = self.folder / (key_of(source, recipe) + SUFFIX)
        kept = _read(path)
        if kept is None:
            kept = spoil_to_packets(clip(), recipe)
            self._write(path, kept)
        else:
            with contextlib.suppress(OSError):
                os.utime(path)  # the order in which entries are let go
        return kept if recipe.codec is None else decode(kept, recipe)[0]

    def _write(self, path: Path, kept) -> None:
        draft = path.with_name(f".{path.stem}.{os.getpid()}.{os.urandom(4).hex()}")
        with _written(self.folder):
            try:
                draft.write_bytes(_packed(kept))
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        if self.limit is not None:
            self._trim(path)

    def _trim(self, newest: Path) -> None:
        """Lets entries go until the rest fits, the one just written last of all."""
        entries = sorted(self._entries(), key=lambda entry: (entry[2] == newest, entry[0]))
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self.limit:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _entries(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, path) of every entry; others may come and go meanwhile."""
        found = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        return found


def key_of(source: str, recipe: Recipe) -> str:
    """The name of an entry: a digest of the source, the recipe, and what codes it."""
    facts = [FORMAT, source, recipe.facts(), record.versions(), bool(REPEATABLE)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _content(path: str, size: int, changed: int) -> str:
    """The digest of a file's bytes, asked for again only when its size or time has changed."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _packed(kept) -> bytes:
    if isinstance(kept, np.ndarray):
        header, payload = {"shape": kept.shape}, zlib.compress(kept.tobytes(), 1)
    else:
        header = {"sizes": [p.size for p in kept], "times": [p.pts for p in kept]}
        payload = b"".join(map(bytes, kept))
    head = json.dumps(header).encode()
    rest = struct.pack("<I", len(head)) + head + payload
    return hashlib.sha256(rest).digest() + rest


def _read(path: Path):
    """Packets or frames of an entry; None if there is none, or none that is whole."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, rest = data[:32], data[32:]
    if hashlib.sha256(rest).digest() != digest:
        return None
    length = struct.unpack_from("<I", rest)[0]
    header, payload = json.loads(rest[4 : 4 + length]), rest[4 + length :]
    if "shape" in header:
        return np.frombuffer(zlib.decompress(payload), np.uint8).reshape(header["shape"]).copy()
    packets, at = [], 0
    for size, time in zip(header["sizes"], header["times"], strict=True):
        packet = av.Packet(payload[at : at + size])
        packet.pts, at = time, at + size
        packets.append(packet)
    return packets


@contextlib.contextmanager
def _written(folder: Path):
    try:
        yield
    except OSError as error:
        full = error.errno in DISK_FULL
        kind = SpaceError if full else OutputError
        raise kind(f"{folder}: {error.strerror}; choose another folder for the cache") from error
