"""How a run tells of itself: a line for people, JSON lines and TensorBoard's events in its folder.

Only process 0 tells. `log.jsonl` has a line for every interval, {"step", "phase", "seconds",
"images_per_second", and the mean of each metric}, and for every validation {"step", "phase",
"scores": {...}}; a value that is not finite is null. A resumed run drops the lines behind its
checkpoint, for it writes them again.
"""

import json
import math
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from jaxvsr.errors import DISK_FULL, OutputError, SpaceError
from jaxvsr.host.files import whole
from jaxvsr.host.progress import clock
from jaxvsr.train.board import Board

PLAIN_EVERY = 30  # seconds between lines where stderr is a file
LIVE_EVERY = 1  # and on a terminal, where one line is written over


class Telling:
    """Tells of a run of `total` steps that stands at step `begun`.

    `show` is "text" (a live line on a terminal, a line now and then elsewhere) or "none".
    """

    def __init__(self, folder: Path, total: int, begun: int, *, show: str = "text"):
        self.total, self.first, self.step = total, begun, begun
        self.live = show == "text" and sys.stderr.isatty()
        self.speaks = show == "text"
        self.notices: list[str] = []
        self._begin = self._spoken = time.monotonic()
        self._images, self._warm = 0, False
        self._path = folder / "log.jsonl"
        try:
            _cut(self._path, begun)
            self._log = self._path.open("a", encoding="utf-8")
            self._board = Board(folder / "tensorboard", begun)
        except OSError as error:
            raise failure(self._path, error) from error

    def interval(self, step: int, phase: str, means: Mapping[str, float], images: int) -> None:
        """Tells of the steps up to `step`, which saw so many images since the run was started."""
        seconds = time.monotonic() - self._begin
        rate = (images - self._images) / seconds if seconds else 0.0
        facts = {"seconds": round(seconds, 2), "images_per_second": round(rate, 2)}
        scalars = {f"train/{name}": value for name, value in {**means, **facts}.items()}
        self._write({"step": step, "phase": phase, **facts, **_finite(means)}, scalars)
        self.step = step
        now = time.monotonic()
        if now - self._spoken >= (LIVE_EVERY if self.live else PLAIN_EVERY) or step == self.total:
            self._spoken = now
            self._say(self.line(phase, means, rate))
        if not self._warm:  # the first interval compiled the program: it says nothing of the pace
            self._warm, self._begin, self._images, self.first = True, now, images, step

    def line(self, phase: str, means: Mapping[str, float], rate: float) -> str:
        """`warm  step 240/1200  20%  total 0.0312  l1 0.0210  412.1 images/s  1:20 left`."""
        done = self.step - self.first
        pace = (time.monotonic() - self._begin) / done if done else 0.0
        hidden = {"missed"} | ({"skipped"} if not means.get("skipped") else set())
        told = "  ".join(f"{k} {v:.4g}" for k, v in means.items() if k not in hidden)
        share = f"step {self.step}/{self.total}  {self.step / self.total:.0%}"
        left = clock(pace * (self.total - self.step))
        return f"{phase}  {share}  {told}  {rate:.1f} images/s  {left} left"

    def scores(self, step: int, phase: str, scores: Mapping, pictures: Mapping) -> None:
        """Tells of a validation: numbers, and pictures [H, W, 3] in [0, 1] or uint8."""
        scalars = {f"validation/{name}": value for name, value in scores.items()}
        self._write({"step": step, "phase": phase, "scores": _finite(scores)}, scalars, pictures)
        told = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self._say(f"{phase}  step {step}  validation  {told}", lasting=True)

    def notice(self, text: str) -> None:
        """Says a thing that a person should know."""
        self.notices.append(text)
        self._say(text, lasting=True)

    def close(self) -> None:
        """Ends the live line and the files."""
        if self.live:
            sys.stderr.write("\r\x1b[K")
        for file in (self._log, self._board):
            with suppress(OSError):  # where the disk is full the last lines were told of already
                file.close()

    def _say(self, text: str, *, lasting: bool = False) -> None:
        if not self.speaks:
            return
        start, end = ("\r\x1b[K", "\n" if lasting else "") if self.live else ("", "\n")
        if self.live and not lasting:
            text = text[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write(start + text + end)
        sys.stderr.flush()

    def _write(self, facts: Mapping, scalars: Mapping, pictures: Mapping | None = None) -> None:
        try:
            self._log.write(json.dumps(facts, allow_nan=False) + "\n")
            self._log.flush()
            self._board.scalars(facts["step"], dict(scalars))
            for name, picture in (pictures or {}).items():
                self._board.picture(facts["step"], name, np.asarray(picture))
        except OSError as error:
            raise failure(self._path, error) from error


class Silent:
    """Takes all that `Telling` does and says nothing, for the processes after the first."""

    def __init__(self):
        self.notices: list[str] = []

    def interval(self, *facts) -> None:
        """Nothing."""

    def scores(self, *facts) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """Keeps it."""
        self.notices.append(text)

    def close(self) -> None:
        """Nothing."""


def failure(path: Path, error: OSError) -> OutputError | SpaceError:
    """What a user can do about a file that cannot be written."""
    if error.errno in DISK_FULL:
        remedy = "free some space and start the same command again"
        return SpaceError(f"{path}: the disk is full; the last checkpoint is safe: {remedy}")
    return OutputError(f"{path}: {error.strerror}; choose another folder")


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(v) if math.isfinite(v) else None for name, v in values.items()}


def _cut(path: Path, step: int) -> None:
    """Drops the lines of steps behind `step`, and a last line that was not finished."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    with whole(path) as draft:
        draft.write_text("".join(kept), encoding="utf-8")
