"""Clips on disk: videos, folders of frames, and raw .yuv files, each readable at any frame.

A clip has a `name`, a number of `frames`, a `size` (height, width) in pixels, and
`read(start, count)`, which gives uint8 RGB [count, H, W, 3], upright, by its colour tags.
`find` lists what a folder holds; what cannot be used is named and skipped there, before any long
work, and a folder of nothing usable is an InputError.
"""

import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from jaxvsr.comparison.sources import Film, picture_paths
from jaxvsr.degradation import COLOURS, quantise
from jaxvsr.errors import InputError
from jaxvsr.video import names
from jaxvsr.video.colour import Colour, to_rgb
from jaxvsr.video.images import SUFFIXES, header_size, read_image
from jaxvsr.video.streams import check_there

VIDEOS = (".mp4", ".mkv", ".webm", ".mov", ".m4v", ".avi", ".ts", ".y4m", ".264", ".265", ".mpg")
RAW = ".yuv"
RAW_NAME = re.compile(r"_(\d+)x(\d+)(?:_|$)")


@runtime_checkable
class Clip(Protocol):
    """What the pipeline needs of a clip; `frames` and `size` are known without reading it."""

    name: str
    frames: int
    size: tuple[int, int]

    def read(self, start: int, count: int) -> np.ndarray:
        """Frames `start` to `start + count`, uint8 RGB [count, H, W, 3]. InputError if damaged."""


@dataclass(frozen=True)
class Derived:
    """What is made of another clip: of the same file, as long, and as large or what it says."""

    clip: Clip

    @property
    def path(self) -> Path:
        """The clip's file."""
        return self.clip.path

    @property
    def frames(self) -> int:
        """As many as the clip has."""
        return self.clip.frames

    @property
    def size(self) -> tuple[int, int]:
        """The clip's."""
        return self.clip.size


@dataclass(frozen=True)
class Video:
    """A video file; frames are numbered in the order in which they are shown."""

    path: Path
    name: str
    frames: int
    size: tuple[int, int]
    film: Film = field(repr=False, compare=False)

    @classmethod
    def open(cls, path: Path, name: str) -> "Video":
        """Decodes the first frames and counts the others. Raises InputError."""
        film = Film(path)
        return cls(path, name, len(film.times), film.size, film)

    def read(self, start: int, count: int) -> np.ndarray:
        """See `Clip.read`."""
        read = self.film.frames(start, start + count - 1)
        frames = [quantise(to_rgb(planes, self.film.colour)) for _, planes in read]
        if len(frames) != count:
            span = f"frames {start} to {start + count - 1}"
            raise InputError(f"{self.path}: {span} cannot be decoded; take the file out")
        return np.stack(frames)


@dataclass(frozen=True)
class Pictures:
    """A folder of frames, in the order of the numbers in their names."""

    path: Path
    name: str
    size: tuple[int, int]
    paths: tuple[Path, ...] = field(repr=False)

    @classmethod
    def open(cls, path: Path, name: str) -> "Pictures":
        """Looks at the headers of the first and the last frame alone. Raises InputError."""
        paths = tuple(picture_paths(path))
        first, last = (header(p) for p in (paths[0], paths[-1]))
        if first != last:
            raise InputError(f"{path}: pictures of different sizes; frames of a clip have one size")
        return cls(path, name, first, paths)

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self.paths)

    def read(self, start: int, count: int) -> np.ndarray:
        """See `Clip.read`."""
        frames = [_eight_bits(read_image(p)[0]) for p in self.paths[start : start + count]]
        odd = next((i for i, f in enumerate(frames) if f.shape[:2] != self.size), None)
        if odd is not None:
            raise InputError(f"{self.paths[start + odd]}: another size than the frames before it")
        return np.stack(frames)


@dataclass(frozen=True)
class Raw:
    """Planar YUV 4:2:0 without a header, limited range; size and depth stand in its name.

    `Name_416x240_500.yuv` and `Name_1920x1088_25fps_10bit_420.yuv` are the customs of the coding
    groups. As for any untagged video the matrix is BT.601 below 720 lines and BT.709 from there.
    """

    path: Path
    name: str
    frames: int
    size: tuple[int, int]
    bits: int

    @classmethod
    def open(cls, path: Path, name: str) -> "Raw":
        """Reads the facts off the file's name and length. Raises InputError."""
        match = RAW_NAME.search(path.stem)
        if not match:
            raise InputError(f"{path}: raw video needs its size in its name, as in x_416x240.yuv")
        width, height = map(int, match.groups())
        bits = 10 if "10bit" in path.stem else 8
        frames, rest = divmod(path.stat().st_size, _frame_bytes(height, width, bits))
        if rest or not frames:
            raise InputError(f"{path}: its length is no multiple of a {width}x{height} frame")
        return cls(path, name, frames, (height, width), bits)

    def read(self, start: int, count: int) -> np.ndarray:
        """See `Clip.read`."""
        height, width = self.size
        one = _frame_bytes(height, width, self.bits)
        with open(self.path, "rb") as file:
            file.seek(start * one)
            data = file.read(count * one)
        codes = np.frombuffer(data, "<u2" if self.bits > 8 else np.uint8).reshape(count, -1)
        base = COLOURS["bt601" if height < 720 else "bt709"]
        colour = Colour(base.matrix, bits=self.bits)
        return np.stack([quantise(to_rgb(_planes(c, height, width), colour)) for c in codes])


@dataclass(frozen=True)
class Found:
    """The clips of a folder, and a line for each thing that was skipped."""

    clips: tuple[Clip, ...]
    skipped: tuple[str, ...] = ()


def find(
    root,
    *,
    frames: int = 1,
    size: tuple[int, int] = (1, 1),
    opened: Callable[[list[tuple[Path, str]]], Found] | None = None,
) -> Found:
    """Every clip below `root` (or `root` itself) of at least `frames` frames and `size` pixels.

    `opened` makes clips of (path, name) pairs, by default `open_all`. Raises InputError where there
    is none; files that cannot be read, clips that are too short and clips that are too small are
    skipped and named.
    """
    root = Path(root)
    check_there(root)
    paths = list(_media(root))
    if not paths:
        raise InputError(f"{root}: no video and no folder of frames; put some there")
    pairs = [(p, p.relative_to(root).as_posix() if p != root else p.name) for p in paths]
    found = (opened or open_all)(pairs)
    if not found.clips:
        first = f"the first: {found.skipped[0]}"
        raise InputError(f"{root}: none of its {len(paths)} clips can be read; {first}")
    return usable(found, frames, size, str(root))


def open_all(paths: Iterable[tuple[Path, str]]) -> Found:
    """Opens (path, name) pairs, skipping and naming those that cannot be read."""
    clips, skipped = [], []
    for path, name in paths:
        try:
            clips.append(open_clip(path, name))
        except InputError as error:
            skipped.append(str(error))
    return Found(tuple(clips), tuple(skipped))


def open_clip(path: Path, name: str) -> Clip:
    """The clip at a path: a folder of frames, a raw .yuv file, or a video. Raises InputError."""
    kind = Pictures if path.is_dir() else Raw if path.suffix.lower() == RAW else Video
    return kind.open(path, name)


def usable(found: Found, frames: int, size: tuple[int, int], where: str) -> Found:
    """Leaves out clips shorter than `frames` or smaller than `size`; none left is an InputError."""
    if not found.clips:
        raise InputError(f"{where}: there are none; name a folder of videos or of frames")
    short = lambda clip: clip.frames < frames
    small = lambda clip: clip.size[0] < size[0] or clip.size[1] < size[1]
    if all(map(short, found.clips)):
        longest = max(clip.frames for clip in found.clips)
        raise InputError(
            f"{where}: every clip is shorter than the window of {frames} frames (the longest has "
            f"{longest}); use a shorter window or longer clips"
        )
    if all(short(clip) or small(clip) for clip in found.clips):
        largest = max((clip.size for clip in found.clips if not short(clip)), key=min)
        raise InputError(
            f"{where}: a crop of {_text(size)} is larger than the frames (at most "
            f"{_text(largest)}); use a smaller crop"
        )
    why = [_why(clip, frames, size) for clip in found.clips if short(clip) or small(clip)]
    kept = tuple(clip for clip in found.clips if not (short(clip) or small(clip)))
    return Found(kept, (*found.skipped, *why))


def split(clips: Iterable[Clip], share: float, group: Callable[[Clip], str] | None = None):
    """(training clips, held-out clips): about `share` of the sequences are held out, whole.

    By the hash of what `group` gives (the name), so that a clip stays on its side when others come
    or go, and so that the sizes of one sequence stay together if `group` gives them one name.
    """
    group = group or (lambda clip: clip.name)
    held = [clip for clip in clips if _hash(group(clip)) < share]
    names = {clip.name for clip in held}
    return [clip for clip in clips if clip.name not in names], held


def _hash(name: str) -> float:
    """A number in [0, 1) that only depends on the name."""
    return zlib.crc32(name.encode(errors="surrogateescape")) / 2**32


def _media(root: Path) -> Iterable[Path]:
    """Videos, raw videos and folders that hold pictures, in the order of their names."""
    if root.is_file():
        yield root
        return
    inside = sorted(path for path in root.iterdir() if not names.of_system(path))
    if any(p.suffix.lower() in SUFFIXES and p.is_file() for p in inside):
        yield root
    for path in inside:
        if path.is_dir():
            yield from _media(path)
        elif path.suffix.lower() in (*VIDEOS, RAW):
            yield path


def are_stills(folder: Path) -> bool:
    """Whether the pictures of a folder are no frames of one clip.

    Frames have one size, and their names count on by one: a1.png, a2.png, a3.png. A picture alone
    is a still; so are those of a clip of which a frame is missing.
    """
    paths = picture_paths(folder)
    parts = [re.split(r"(\d+)", path.stem) for path in paths]
    columns = zip(*parts, strict=False)
    changing = [column for column in columns if len(set(column)) > 1]
    if (
        len(set(map(len, parts))) > 1
        or len(changing) != 1
        or not all(map(str.isdecimal, *changing))
    ):
        return True
    counted = all(int(after) - int(before) == 1 for before, after in pairwise(*changing))
    return not counted or len({header_size(path) for path in paths} - {None}) > 1


def header(path: Path) -> tuple[int, int]:
    """(height, width), upright, without decoding the picture. Raises InputError."""
    size = header_size(path)
    if size is None:
        raise InputError(f"{path}: no picture, or a damaged one; take it out")
    return size


def _eight_bits(rgb: np.ndarray) -> np.ndarray:
    return rgb if rgb.dtype == np.uint8 else ((rgb.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _frame_bytes(height: int, width: int, bits: int) -> int:
    return (height * width + 2 * (-(-height // 2)) * (-(-width // 2))) * (2 if bits > 8 else 1)


def _planes(codes: np.ndarray, height: int, width: int) -> tuple[np.ndarray, ...]:
    half = -(-height // 2), -(-width // 2)
    y, u, v = np.split(codes, np.cumsum([height * width, half[0] * half[1]]))
    return y.reshape(height, width), u.reshape(half), v.reshape(half)


def _why(clip: Clip, frames: int, size: tuple[int, int]) -> str:
    if clip.frames < frames:
        return f"{clip.name}: {clip.frames} frames, shorter than the window of {frames}"
    return f"{clip.name}: {_text(clip.size)}, smaller than the crop of {_text(size)}"


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
