"""Frames written as pictures that move: GIF, WebP, APNG and AVIF, one frame at a time."""

import struct
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from jaxvsr.errors import OutputError
from jaxvsr.video import png, tags
from jaxvsr.video.animation import AnimationInfo
from jaxvsr.video.failing import failing
from jaxvsr.video.formats import FORMATS, MOVING
from jaxvsr.video.gif import GifWriter
from jaxvsr.video.holding import Plan, plan, ready
from jaxvsr.video.images import read_picture
from jaxvsr.video.streams import VideoInfo

SHORT = 65535  # the largest number that APNG tells a duration by
CLEAR = {"": None, "fully": 0, "partly": 128}  # an alpha as it may occur


def is_moving(path: Path) -> bool:
    """Whether a name's suffix is one of pictures that can move."""
    return path.suffix.lower() in MOVING


def unsupported(info: VideoInfo) -> list[str]:
    """What no moving picture holds of a film, each as a short text."""
    lost = [f"{stream.type} stream {stream.index} ({stream.codec})" for stream in info.streams]
    return [
        *lost,
        *info.hdr.get("dynamic", ()),
        *(["HDR metadata"] if info.hdr else []),
        *info.marks,
    ]


def notices(info: VideoInfo, output: Path) -> list[str]:
    """What is converted or left out of a film or an animation, before the work.

    Raises UsageError for what is refused.
    """
    said = list(getattr(info, "said", ()))
    pixels = np.zeros((1, 1, 3), np.uint16 if info.colour.bits > 8 else np.uint8)
    clear = CLEAR[getattr(info, "clear", "")]
    alpha = None if clear is None else np.full((1, 1), clear, np.uint8)
    said += plan(output, pixels, alpha, getattr(info, "tags", {})).said
    if FORMATS[output.suffix.lower()].name == "GIF":
        said.append("GIF has 256 colours a frame")
        if info.fps > 50:
            said.append("viewers show a GIF at 50 frames a second at most")
    return said


def assemble(folders: list[Path], times, info: VideoInfo, output: Path) -> None:
    """Writes the pictures of `PictureWriter`'s folders as one animation.

    `times` holds (pts, duration) of each frame in `info.time_base`. Raises OutputError, or
    SpaceError when the disk is full.
    """
    paths = [path for folder in folders for path in sorted(folder.iterdir())]
    if len(paths) != len(times):
        raise OutputError(f"{output}: the .part folder is not whole; delete it and run again")
    first = read_picture(paths[0])
    how = plan(output, first.pixels, first.alpha, getattr(info, "tags", {}))
    plays = info.plays if isinstance(info, AnimationInfo) else 0
    write = {"GIF": _gif, "PNG": _apng}.get(how.what.name, _by_pillow)
    with failing(output):
        write(paths, times, info.time_base, how, plays, output)


def lengths(times, time_base: Fraction, unit: int) -> list[int]:
    """How long each frame is shown, in whole units a second, so that the sum is right, too."""
    starts = [pts for pts, _ in times] + [sum(times[-1])]
    marks = [round((pts - starts[0]) * time_base * unit) for pts in starts]
    return [max(1, after - before) for before, after in pairwise(marks)]


def _arrays(paths, how: Plan) -> Iterator[np.ndarray]:
    for path in paths:
        picture = read_picture(path)
        yield ready(picture.pixels, picture.alpha, how)


def _gif(paths, times, time_base, how: Plan, plays: int, output: Path) -> None:
    shown, writer = lengths(times, time_base, 100), None
    for array, length in zip(_arrays(paths, how), shown, strict=True):
        if writer is None:
            size, comment = array.shape[:2], how.tags.get("comment", b"")
            writer = GifWriter(output, size, plays=plays, comment=comment)
        writer.write(array, length)
    writer.close()


def _apng(paths, times, time_base, how: Plan, plays: int, output: Path) -> None:
    """The frames' own PNG data, renamed; every frame replaces the one before."""
    with output.open("wb") as file:
        number, starts = 0, [pts for pts, _ in times] + [sum(times[-1])]
        for index, array in enumerate(_arrays(paths, how)):
            parts = list(png.split(png.encode(array, {} if index else how.tags)))
            if not index:
                control = png.chunk(b"acTL", struct.pack(">2I", len(times), plays))
                lead = [png.chunk(*part) for part in parts if part[0] not in (b"IDAT", b"IEND")]
                file.write(png.SIGNATURE + lead[0] + control + b"".join(lead[1:]))
            seconds = (starts[index + 1] - starts[index]) * time_base
            place = struct.pack(">5I", number, array.shape[1], array.shape[0], 0, 0)
            file.write(png.chunk(b"fcTL", place + _delay(seconds) + b"\0\0"))
            number += 1
            for data in (content for name, content in parts if name == b"IDAT"):
                if index:
                    file.write(png.chunk(b"fdAT", number.to_bytes(4) + data))
                    number += 1
                else:
                    file.write(png.chunk(b"IDAT", data))
        file.write(png.chunk(b"IEND", b""))


def _delay(seconds: Fraction) -> bytes:
    """A duration as two numbers of 16 bits, the finest that hold it."""
    exact = Fraction(seconds).limit_denominator(1001).denominator
    for parts in (exact, 100, 10, 1):
        count = min(round(seconds * parts), SHORT if parts == 1 else SHORT + 1)
        if count <= SHORT:
            return struct.pack(">2H", count, parts)
    raise ValueError("a frame without an end")


def _by_pillow(paths, times, time_base, how: Plan, plays: int, output: Path) -> None:
    album = _Album(paths, how)
    options = dict(how.what.options) | tags.options(how.tags, album.size[::-1])
    if how.what.name == "AVIF":
        options["subsampling"] = "4:4:4"
    options |= {"save_all": True, "duration": lengths(times, time_base, 1000), "loop": plays}
    album.save(output, how.what.name, **options)


class _Album(Image.Image):
    """Frames as Pillow's `save` asks for them, of which one is in memory at a time."""

    def __init__(self, paths, how: Plan):
        super().__init__()
        self._paths, self._how = paths, how
        self.n_frames, self.is_animated = len(paths), len(paths) > 1
        self.seek(0)

    def seek(self, frame: int) -> None:
        """Takes in a frame. Raises EOFError after the last one."""
        if frame >= self.n_frames:
            raise EOFError(frame)
        picture = read_picture(self._paths[frame])
        array = ready(picture.pixels, picture.alpha, self._how)
        image = Image.fromarray(np.ascontiguousarray(array))
        self.im, self._mode, self._size, self._at = image.im, image.mode, image.size, frame

    def tell(self) -> int:
        """The number of the frame in hand."""
        return self._at
