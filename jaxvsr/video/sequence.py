"""Sequences of numbered pictures, `frame-%05d.png`, as a way to write a video."""

import os
import re
import shutil
from pathlib import Path

import numpy as np

from jaxvsr.errors import OutputError
from jaxvsr.video.colour import Colour
from jaxvsr.video.images import read_image, write_image

PATTERN = re.compile(r"%0?\d*d")


def first_picture(pattern: Path) -> Path:
    """The first file that a pattern names."""
    return pattern.with_name(pattern.name % 1)


def is_pattern(path: Path) -> bool:
    """Whether a path names numbered pictures instead of one file."""
    return PATTERN.search(path.name) is not None


class PictureWriter:
    """Writes RGB planes as numbered PNG files into a folder of their own."""

    def __init__(self, folder: Path, colour: Colour):
        if colour.matrix != "rgb":
            raise ValueError(f"pictures are RGB, not {colour.matrix}")
        folder.mkdir()
        self.folder, self.count = folder, 0

    def write(self, planes, alpha=None) -> None:
        """Takes (r, g, b), each [H, W] uint8 or uint16, and alpha [H, W] of the same kind."""
        write_image(self.folder / f"{self.count:06d}.png", np.stack(planes, axis=-1), alpha)
        self.count += 1

    def close(self) -> None:
        """Nothing is left to do: every picture is whole when it is written."""


def publish(folders: list[Path], pattern: Path) -> None:
    """Gives the pictures of all segments the names that `pattern` makes, counted from 1.

    The segments keep theirs, so that a run that is stopped here can publish again.
    """
    pictures = (path for folder in folders for path in sorted(folder.iterdir()))
    for number, path in enumerate(pictures, start=1):
        target = pattern.with_name(pattern.name % number)
        if target.suffix.lower() != path.suffix:
            write_image(target, *read_image(path))
            continue
        try:
            target.unlink(missing_ok=True)
            try:
                os.link(path, target)
            except OSError:  # a file system without links
                shutil.copyfile(path, target)
        except OSError as error:
            raise OutputError(f"{target}: {error.strerror}; choose another output") from error
