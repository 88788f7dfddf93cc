"""Pictures that move (GIF, WebP, APNG, AVIF), read as `VideoReader` reads a film."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from jaxvsr.errors import InputError
from jaxvsr.video import tags
from jaxvsr.video.colour import Colour
from jaxvsr.video.formats import SUFFIXES
from jaxvsr.video.images import depth, opened
from jaxvsr.video.reader import Frame
from jaxvsr.video.streams import LARGEST, VideoInfo
from jaxvsr.video.transparency import filled, over_white

FORMATS = ("GIF", "WEBP", "PNG", "AVIF", "FLI")  # Pillow's, whose frames follow each other in time
RATE = 90_000  # ticks a second: whole for milliseconds, and for 24, 25, 30, 50 and 60 frames
UNTIMED = Fraction(1, 10)  # seconds of a frame without a duration, as browsers show it
COLOUR = Colour("rgb", full_range=True, subsampling=(1, 1), primaries=1, transfer=13)


@dataclass(frozen=True, kw_only=True)
class AnimationInfo(VideoInfo):
    """As of a video; `plays` is how often it runs, 0 for ever; `shown` holds (pts, duration).

    `clear` is "" for an opaque one, "fully" where each pixel shows or does not, else "partly".
    `tags` and `said` are those of a `Picture`.
    """

    plays: int
    shown: tuple[tuple[int, int], ...]
    clear: str
    tags: dict
    said: tuple[str, ...]


def is_animation(path: Path) -> bool:
    """Whether a picture file holds frames that follow each other in time."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    try:
        with opened(path) as image:
            return image is not None and image.format in FORMATS and _count(image) > 1
    except InputError:
        return False


def _count(image) -> int:
    """Frames that are shown: a PNG may hold one more, for viewers that know no animation."""
    return getattr(image, "n_frames", 1) - _first(image)


def _first(image) -> int:
    return int(getattr(image, "default_image", False))


class AnimationReader:
    """Iterates over the frames of an animation, composed as they are seen; a context manager.

    Times, spans and `damaged` as of `VideoReader`. Colours are filled in where alpha hides them,
    and `Frame.alpha` tells where; it is None for an opaque animation, and after `flat` was set, by
    which transparency is laid on white.
    """

    def __init__(self, path, *, start=None, duration=None, interlaced="auto", stream=None):
        if stream:
            raise InputError(f"{path}: an animation has only stream 0; leave --stream out")
        self.damaged, self.flat = 0, False
        self._path, self._span = Path(path), (start, duration)
        with opened(self._path) as image:
            if max(image.size) > LARGEST:
                raise InputError(f"{path}: too large; at most {LARGEST} pixels a side")
            shown, clear = self._survey(image)
            self._lost = _count(image) - len(shown)
            self.info = _facts(self._path, image, shown, clear)

    def _survey(self, image) -> tuple[list[tuple[int, int]], str]:
        """Times of all frames that can be read, and what is clear in any of them."""
        shown, clear, now = [], "", Fraction(0)
        for rgba, seconds in _composed(self._path, image):
            begin, now = now, now + seconds
            pts = round(begin * RATE)
            shown.append((pts, max(1, round(now * RATE) - pts)))
            if clear != "partly" and (rgba[..., 3] < 255).any():
                partly = ((rgba[..., 3] > 0) & (rgba[..., 3] < 255)).any()
                clear = "partly" if partly else "fully"
        return shown, clear

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def surprises(self) -> list[str]:
        """Nothing appears late: all frames were looked at before."""
        return []

    def close(self):
        """Nothing stays open between frames that are asked for."""

    def __iter__(self) -> Iterator[Frame]:
        """Frames of the span."""
        start, duration = self._span
        first = round((start or 0) * RATE)
        last = None if duration is None else first + round(duration * RATE)
        with opened(self._path) as image:
            frames = _composed(self._path, image)
            for (pts, length), (rgba, _) in zip(self.info.shown, frames, strict=False):
                if last is not None and pts >= last:
                    return
                if pts >= first:
                    yield self._frame(rgba, pts, length)
        if self._span == (None, None):
            self.damaged += self._lost

    def _frame(self, rgba: np.ndarray, pts: int, length: int) -> Frame:
        rgb, alpha = rgba[..., :3], rgba[..., 3]
        kept = bool(self.info.clear) and not self.flat
        if self.info.clear:
            rgb = filled(rgb, alpha) if kept else over_white(rgb, alpha)
        planes = tuple(np.ascontiguousarray(rgb[..., i]) for i in range(3))
        return Frame(planes, pts, length, alpha=alpha.copy() if kept else None)


def _composed(path: Path, image) -> Iterator[tuple[np.ndarray, Fraction]]:
    """(RGBA [H, W, 4] uint8, seconds) of each frame, up to the first that is damaged."""
    for index in range(_first(image), getattr(image, "n_frames", 1)):
        try:
            image.seek(index)
            image.load()
            seconds = Fraction(image.info.get("duration") or 0).limit_denominator(10**6) / 1000
            rgba = np.asarray(image.convert("RGBA"))
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            if index == _first(image):
                raise InputError(f"{path}: not one frame can be read ({error})") from None
            return
        yield rgba, seconds or UNTIMED


def _facts(path: Path, image, shown, clear: str) -> AnimationInfo:
    told, lost = tags.read(path, image)
    deep = [f"{bits} bits become 8"] if (bits := depth(path, image)) > 8 else []
    end = sum(shown[-1])
    pace = Fraction(len(shown) * RATE, end)
    kind = image.format.lower()
    return AnimationInfo(
        path=str(path),
        width=image.width,
        height=image.height,
        frames=len(shown),
        fps=min(max(pace, Fraction(1)), Fraction(100)).limit_denominator(1001),
        time_base=Fraction(1, RATE),
        duration=end / RATE,
        sar=Fraction(1),
        colour=COLOUR,
        rotation=0,
        interlaced=False,
        codec=kind,
        pix_fmt="gbrp",
        container=kind,
        hdr={},
        streams=(),
        stream_index=0,
        start=0.0,
        vfr=len({length for _, length in shown}) > 1,
        plays=_plays(image),
        shown=tuple(shown),
        clear=clear,
        tags=told,
        said=(*deep, *(f"left out: {what}" for what in lost)),
    )


def _plays(image) -> int:
    """How often it runs: GIF counts how often it runs again, and once is to say nothing."""
    again = image.info.get("loop")
    if image.format == "GIF":
        return 1 if again is None else again + 1 if again else 0
    return 0 if again is None else int(again)
