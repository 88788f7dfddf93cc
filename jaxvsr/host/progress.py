"""How a run tells of itself: a live line for people, JSON lines for programs, else nothing."""

import json
import sys
import time

from jaxvsr.video.names import shown


class Progress:
    """Counts frames and shows them at most once a second.

    `total` is the number of frames expected, None if unknown; `fps` the rate of the film, by
    which speed is told against real time; `done` the frames that an earlier run finished.
    `show` is "text" (a live line on a terminal, notices on stderr), "json" (lines on stdout) or
    "none"; notices are kept in `notices` in any case.
    """

    def __init__(self, name: str, total: int | None, fps: float, *, done=0, show="none"):
        self.name, self.total, self.fps = name, total, fps
        self.before = self.first = self.done = done
        self.as_json, self.speaks = show == "json", show == "text"
        self.live = self.speaks and sys.stderr.isatty()
        self.begin = self.shown = time.monotonic()
        self.began: float | None = None
        self.notices: list[str] = []

    @property
    def heard(self) -> bool:
        """Whether anybody is told anything."""
        return self.as_json or self.speaks

    def start(self, frames: int) -> None:
        """Leaves out of rates, from here on, all that was done only once, and so many frames."""
        self.first, self.began = self.done + frames, time.monotonic()

    def forecast(self, text: str, facts: dict) -> None:
        """Says what is to be expected: a line for people, `facts` for programs."""
        if self.as_json:
            self._tell("forecast", {"text": text, **facts})
        elif self.speaks:
            self._say(text)

    def add(self, frames: int) -> None:
        """Tells of `frames` more that are finished."""
        self.done += frames
        now = time.monotonic()
        if now - self.shown >= 1:
            self.shown = now
            self._show(now)

    def facts(self, now: float | None = None) -> dict:
        """What is known now: frames, fps, speed against real time, seconds left."""
        now = now or time.monotonic()
        seconds, done, since = now - self.begin, self.done - self.first, now - self.begin
        if self.began is not None and done > 0:
            since = now - self.began
        elif self.began is not None:
            done = self.done - self.before
        rate = done / since if since > 0 else 0.0
        left = None
        if self.total and rate:
            left = round(max(self.total - self.done, 0) / rate, 1)
        speed = round(rate / self.fps, 3) if self.fps else None
        known = {"frames": self.done, "total": self.total, "fps": round(rate, 3)}
        return {**known, "speed": speed, "eta_seconds": left, "seconds": round(seconds, 1)}

    def _show(self, now: float) -> None:
        facts = self.facts(now)
        if self.as_json:
            self._tell("progress", facts)
        elif self.live:
            sys.stderr.write("\r\x1b[K" + line(facts))
            sys.stderr.flush()

    def notice(self, text: str) -> None:
        """Says a thing that a person should know, without spoiling the live line."""
        self.notices.append(text)
        if self.as_json:
            self._tell("notice", {"text": text})
        elif self.speaks:
            self._say(text)

    def _say(self, text: str) -> None:
        said = shown(f"{self.name}: {text}")
        sys.stderr.write(("\r\x1b[K" if self.live else "") + f"{said}\n")
        sys.stderr.flush()

    def finish(self, **facts) -> None:
        """Ends the live line and sums up."""
        if self.live:
            sys.stderr.write("\r\x1b[K")
        if self.as_json:
            self._tell("done", {**self.facts(), **facts})

    def _tell(self, event: str, facts: dict) -> None:
        sys.stdout.write(json.dumps({"event": event, "input": self.name, **facts}) + "\n")
        sys.stdout.flush()


def line(facts: dict) -> str:
    """The live line: `frame 240/1200  20%  12.1 fps  0.50x  1:20 left`."""
    total, done = facts["total"], facts["frames"]
    share = f"/{total}  {min(done / total, 1):.0%}" if total else ""
    speed = f"  {facts['speed']:.2f}x real time" if facts["speed"] else ""
    left = f"  {clock(facts['eta_seconds'])} left" if facts["eta_seconds"] is not None else ""
    return f"frame {done}{share}  {facts['fps']:.2f} fps{speed}{left}"


def clock(seconds: float) -> str:
    """Seconds as 1:05 or 2:03:04."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def amount(size: float) -> str:
    """Bytes as people read them: 0.1 kB, 32.1 MB, 3.5 GB."""
    for unit, most in (("kB", 1e6), ("MB", 1e9)):
        if size < most:
            return f"{max(size / (most / 1000), 0.1):.3g} {unit}"
    return f"{size / 1e9:.3g} GB"
