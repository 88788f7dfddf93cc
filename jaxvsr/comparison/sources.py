"""What can be compared: a film, pictures, or an array of frames, each as numbered frames.

A source knows its size, the meaning of its numbers and, before anything is decoded, when each of
its frames is shown. `frames` gives (slot, planes): a frame's number in presentation order, which
holds even where frames before it cannot be decoded, and its planes as `colour.to_rgb` takes them;
or, where `colour` is None, a tuple of one array of RGB [H, W, 3].
"""

import os
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxvsr.comparison.scan import scan
from jaxvsr.comparison.views import Planes
from jaxvsr.errors import InputError
from jaxvsr.video import names
from jaxvsr.video.animation import is_animation
from jaxvsr.video.images import SUFFIXES, header_size, read_image
from jaxvsr.video.opening import open_film
from jaxvsr.video.sequence import is_pattern, members
from jaxvsr.video.streams import check_there

FPS = 25.0  # of what has no times


class Film:
    """A video file, or a picture that moves.

    `times` [T] are seconds from its first frame; `timed` tells whether they are the file's own.
    `lost` frames are missing at its end; `damaged` counts what `frames` could not read, or what
    the decoder had to patch up; `broken` tells that damage is known already.
    """

    def __init__(self, path):
        self.name = str(path)
        with open_film(path) as reader:
            info = reader.info
        self.size, self.colour, self.dtype = (info.height, info.width), info.colour, None
        self.fps, self.interlaced = float(info.fps), info.interlaced
        found = scan(path, info)
        self.times, self.timed, self.kbps = found.times, found.timed, found.kbps
        self.lost, self.broken = found.lost, found.torn or found.lost > 0
        self.damaged = 0
        self._start, self._zero = info.start, found.zero
        self._near = half_gaps(found.times)

    def frames(self, first: int, last: int) -> Iterator[tuple[int, Planes]]:
        """The frames that decode among the slots from `first` to `last`, both included."""
        self.damaged, expected, count = 0, first, 0
        begin = None
        if first and self.timed:
            begin = max(0.0, self._zero + float(self.times[first]) - self._start)
        with open_film(self.name, start=begin) as reader:
            tick = float(reader.info.time_base)
            for count, frame in enumerate(reader):
                slot = self._slot(frame.pts * tick) if self.timed else count
                if slot is None or slot < expected:
                    continue
                if slot > last:
                    break
                self.damaged += slot - expected + bool(frame.corrupt)
                expected = slot + 1
                yield slot, frame.planes
                if slot == last:
                    return
        self.damaged += last + 1 - expected

    def _slot(self, seconds: float) -> int | None:
        """The number of the frame shown at `seconds` of the file's own clock, None if none is."""
        when = seconds - self._zero
        right = min(bisect_left(self.times, when), len(self.times) - 1)
        near = min((max(right - 1, 0), right), key=lambda i: abs(self.times[i] - when))
        return near if abs(self.times[near] - when) <= self._near[near] else None


class Pictures:
    """Still pictures in their order: one, those of a folder, or those that a pattern names."""

    timed, interlaced, kbps, fps, colour, lost = False, False, None, FPS, None, 0

    def __init__(self, path):
        self.name, self.paths = str(path), picture_paths(Path(path))
        self.size = _size(self.paths[0])
        for other in self.paths[1:]:
            if _size(other) != self.size:
                raise InputError(
                    f"{other}: {_text(_size(other))} among pictures of {_text(self.size)}; "
                    "a sequence has one size, so take it out"
                )
        self.times = np.arange(len(self.paths)) / FPS
        self.dtype = read_image(self.paths[0])[0].dtype
        self.damaged, self.broken = 0, False

    def frames(self, first: int, last: int) -> Iterator[tuple[int, Planes]]:
        """The pictures that can be read among the slots from `first` to `last`."""
        self.damaged = 0
        for slot in range(first, last + 1):
            try:
                rgb = read_image(self.paths[slot])[0]
            except InputError:
                if len(self.paths) == 1:
                    raise
                self.damaged += 1
                continue
            yield slot, (_of_kind(rgb, self.dtype),)


class Frames:
    """An array of frames [T, H, W, 3], integers or floats in [0, 1]; numpy or JAX."""

    timed, interlaced, kbps, fps, colour, lost = False, False, None, FPS, None, 0

    def __init__(self, array, name: str):
        if getattr(array, "ndim", 0) != 4 or array.shape[-1] != 3 or not len(array):
            raise InputError(
                f"{name}: frames are [T, H, W, 3], not {getattr(array, 'shape', type(array))}; "
                "stack them, and repeat grey three times"
            )
        if array.dtype not in (np.uint8, np.uint16) and array.dtype.kind not in "fV":
            raise InputError(f"{name}: frames of {array.dtype}; give uint8 or float in [0, 1]")
        self.name, self.array, self.dtype = name, array, np.dtype(array.dtype)
        self.size = tuple(array.shape[1:3])
        self.times = np.arange(len(array)) / FPS
        self.damaged, self.broken = 0, False

    def frames(self, first: int, last: int) -> Iterator[tuple[int, Planes]]:
        """Frames by number."""
        for slot in range(first, last + 1):
            yield slot, (np.asarray(self.array[slot]),)


Source = Film | Pictures | Frames


def open_source(thing, name: str = "") -> Source:
    """A source for a path (video, picture, folder, pattern such as %05d.png) or for an array.

    One that is open already stays as it is.
    """
    if isinstance(thing, Source):
        return thing
    if not isinstance(thing, str | Path):
        return Frames(thing, name)
    path = Path(thing)
    still = path.suffix.lower() in SUFFIXES and not is_animation(path)
    if still or os.path.isdir(path) or (_is_glob(path) and not os.path.exists(path)):
        return Pictures(path)
    return Film(path)


def picture_paths(path: Path) -> list[Path]:
    """The pictures a path stands for, in the order of the numbers in their names."""
    if path.is_dir():
        found = [p for p in path.iterdir() if not names.of_system(p)]
    elif path.is_file():
        return [path]
    elif is_pattern(path):
        found = members(path)
    elif _is_glob(path):
        found = names.matches(path)
    else:
        check_there(path)
    found = [p for p in found if p.suffix.lower() in SUFFIXES and p.is_file()]
    if not found:
        raise InputError(f"{path}: no picture there; name a video, or pictures ({_KINDS})")
    return sorted(found, key=names.natural)


_KINDS = ", ".join(SUFFIXES)


def half_gaps(times: np.ndarray) -> np.ndarray:
    """Half the distance of each time to its nearest neighbour; half a second for a lone one."""
    if len(times) < 2:
        return np.full(len(times), 0.5)
    gaps = np.diff(times)
    return 0.5 * np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf))


def _is_glob(path: Path) -> bool:
    return is_pattern(path) or names.is_glob(path)


def _size(path: Path) -> tuple[int, int]:
    return header_size(path) or read_image(path)[0].shape[:2]  # which says what is wrong with it


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _of_kind(rgb: np.ndarray, dtype) -> np.ndarray:
    """Eight bits as sixteen or the other way, where a sequence holds both."""
    if rgb.dtype == dtype:
        return rgb
    if dtype == np.uint16:
        return rgb.astype(np.uint16) * np.uint16(257)
    return ((rgb.astype(np.uint32) + 128) // 257).astype(np.uint8)
