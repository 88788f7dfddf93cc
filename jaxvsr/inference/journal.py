"""OUTPUT.part/: the segments that are finished, so that a run can stop anywhere and go on.

A segment counts once its record (a small JSON file) has been renamed into place, after its
frames were written and synced. Everything else in the folder is debris of an interrupted run.
"""

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxvsr.errors import OutputError
from jaxvsr.host.files import whole
from jaxvsr.video.names import beside

fcntl = None
with suppress(ImportError):  # Windows has no such locks, and goes without
    import fcntl

FORMAT = 1  # of the records; another number is another run


@dataclass(frozen=True)
class Segment:
    """One finished stretch: its file, and the (pts, duration) of its frames."""

    path: Path
    times: list[tuple[int, int]]


class Journal:
    """The work folder of one output; holds a lock on it as long as it is open."""

    def __init__(self, output: Path, run: dict, *, suffix: str, overwrite: bool = False):
        """Opens the folder for `run`, a JSON-able description of input and settings.

        Finished segments of the same run are kept. Those of another run are an OutputError,
        or with `overwrite` are removed.
        """
        self.folder = beside(output, "", output.name, ".part")
        self.output, self.suffix = output, suffix
        self.run = {"format": FORMAT, **json.loads(json.dumps(run))}
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise OutputError(f"{self.folder}: {error.strerror}; choose another output") from error
        try:
            self._take_lock()
            self._check_run(overwrite)
        except OutputError:
            self._lock.close()
            raise
        self.segments = self._finished()
        self._clear_debris()

    def _take_lock(self):
        if fcntl is None:
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                f"{self.output}: another run is writing it; wait for that or stop it"
            ) from error

    def _check_run(self, overwrite: bool):
        record = self.folder / "run.json"
        found = _read(record)
        if found not in (None, self.run) and not overwrite:
            other = ", ".join(sorted(_differences(found, self.run)))
            raise OutputError(
                f"{self.folder}: holds an unfinished run with other {other}; "
                "repeat that command to finish it, or begin anew with --overwrite"
            )
        if found != self.run:
            for path in self.folder.iterdir():
                if path.name != "lock":
                    _remove(path)
            _write(record, self.run)

    def _finished(self) -> list[Segment]:
        segments: list[Segment] = []
        while (found := _read(self._record(len(segments)))) is not None:
            path = self.path(len(segments))
            if not path.exists() or (path.is_file() and path.stat().st_size != found["bytes"]):
                break
            times = [tuple(t) for t in found["times"]]
            segments.append(Segment(path, times))
        return segments

    def _clear_debris(self):
        known = {"lock", "run.json"}
        for i in range(len(self.segments)):
            known |= {self.path(i).name, self._record(i).name}
        if self.segments:
            known.add(self._state(len(self.segments) - 1).name)
        for path in self.folder.iterdir():
            if path.name not in known:
                _remove(path)

    def path(self, index: int | None = None) -> Path:
        """Where segment `index` lies; without one, where the next one is to be written."""
        index = len(self.segments) if index is None else index
        return self.folder / f"segment-{index:06d}{self.suffix}"

    def _record(self, index: int) -> Path:
        return self.folder / f"segment-{index:06d}.json"

    def _state(self, index: int) -> Path:
        return self.folder / f"segment-{index:06d}.npz"

    def commit(self, times: list[tuple[int, int]], state=None) -> None:
        """Declares the next segment finished; `state` is a list of arrays to go on from."""
        index, path = len(self.segments), self.path()
        if state is not None:
            with self._state(index).open("wb") as file:
                np.savez(file, *state)
                _sync(file)
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        size = path.stat().st_size if path.is_file() else 0
        _write(self._record(index), {"bytes": size, "times": times})
        self.segments.append(Segment(path, times))
        if index:
            self._state(index - 1).unlink(missing_ok=True)

    def state(self) -> list[np.ndarray] | None:
        """The arrays saved with the last finished segment."""
        path = self._state(len(self.segments) - 1)
        if not path.exists():
            return None
        with np.load(path) as saved:
            return [saved[name] for name in saved.files]

    @property
    def times(self) -> list[tuple[int, int]]:
        """The (pts, duration) of every finished frame."""
        return [t for segment in self.segments for t in segment.times]

    def close(self) -> None:
        """Lets the folder go, for a later run; one that holds nothing is removed."""
        self._lock.close()
        if not self.segments:
            self.remove()

    def remove(self) -> None:
        """Removes the folder and all in it."""
        self._lock.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _differences(a: dict, b: dict) -> set[str]:
    return {key for key in a.keys() | b.keys() if a.get(key) != b.get(key)}


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _write(path: Path, content: dict) -> None:
    """Writes JSON so that the file is there whole or not at all."""
    with whole(path, durable=True) as draft:
        draft.write_text(json.dumps(content))


def _sync(file) -> None:
    file.flush()
    os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
