"""Sequences of numbered pictures, `frame-%05d.png`, as a way to write a video."""

import os
import re
import shutil
from pathlib import Path

import numpy as np

from jaxvsr.errors import OutputError
from jaxvsr.video.colour import Colour
from jaxvsr.video.images import SUFFIXES, write_image

PATTERN = re.compile(r"(?<!%)((?:%%)*)%(0?)(\d*)d")


def numbered(pattern: Path, number: int) -> Path:
    """The file of a number; as in C "%%" is a percent sign, and one that says nothing stays."""
    before, zero, width, after = _parts(pattern.name)
    digits = f"{number:{zero}{width}d}"
    return pattern.with_name(f"{before}{digits}{after}")


def first_picture(pattern: Path) -> Path:
    """The first file that a pattern names."""
    return numbered(pattern, 1)


def is_pattern(path: Path) -> bool:
    """Whether a path names numbered pictures instead of one file: 50%d.mp4 is a film."""
    return path.suffix.lower() in SUFFIXES and PATTERN.search(path.name) is not None


def members(pattern: Path) -> list[Path]:
    """The files that a pattern names, in the order of their numbers."""
    before, _, _, after = _parts(pattern.name)
    named = re.compile(f"{re.escape(before)}(\\d+){re.escape(after)}", re.DOTALL)
    if not pattern.parent.is_dir():
        return []
    found = ((named.fullmatch(path.name), path) for path in pattern.parent.iterdir())
    return [path for _, path in sorted((int(m[1]), path) for m, path in found if m)]


def _parts(name: str) -> tuple[str, str, str, str]:
    """(text before the number, "0" or "", width or "", text after it) of a pattern's name."""
    match = PATTERN.search(name)
    before, after = name[: match.start()] + match[1], name[match.end() :]
    return before.replace("%%", "%"), match[2], match[3], after.replace("%%", "%")


def frame_suffix(output: Path) -> str:
    """What frames are written as on their way: a pattern's own format, PNG for an animation.

    An animation's format may lose something, and that must not happen twice.
    """
    return output.suffix.lower() if is_pattern(output) else ".png"


class PictureWriter:
    """Writes RGB planes as numbered pictures, PNG or what `suffix` says, into their own folder."""

    def __init__(self, folder: Path, colour: Colour, suffix: str = ".png"):
        if colour.matrix != "rgb":
            raise ValueError(f"pictures are RGB, not {colour.matrix}")
        folder.mkdir()
        self.folder, self.count, self.suffix = folder, 0, suffix.lower()

    def write(self, planes) -> None:
        """Takes (r, g, b), each [H, W] uint8 or uint16, or (r, g, b, alpha)."""
        path = self.folder / f"{self.count:06d}{self.suffix}"
        write_image(path, np.stack(planes[:3], axis=-1), *planes[3:])
        self.count += 1

    def close(self) -> None:
        """Nothing is left to do: every picture is whole when it is written."""


def publish(folders: list[Path], pattern: Path) -> None:
    """Gives the pictures of all segments the names that `pattern` makes, counted from 1.

    The segments keep theirs, so that a run that is stopped here can publish again.
    """
    pictures = (path for folder in folders for path in sorted(folder.iterdir()))
    for number, path in enumerate(pictures, start=1):
        target = numbered(pattern, number)
        try:
            target.unlink(missing_ok=True)
            try:
                os.link(path, target)
            except OSError:  # a file system without links
                shutil.copyfile(path, target)
        except OSError as error:
            raise OutputError(f"{target}: {error.strerror}; choose another output") from error
