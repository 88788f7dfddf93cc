"""TIFF as bytes, written page by page: grey or RGB, 8 or 16 bits, with or without alpha."""

import zlib
from itertools import accumulate
from pathlib import Path

import numpy as np
from PIL import TiffImagePlugin, TiffTags

from jaxvsr.video import exif

STRIP = 1 << 20  # bytes of pixels that are compressed together, about
DEFLATE, HORIZONTAL = 8, 2
LARGEST = (1 << 32) - 1  # bytes: offsets have 32 bits
XMP, IPTC, PROFILE = 0x02BC, 0x83BB, 0x8773
PLACES, COUNTS = 273, 279  # of strips
TYPES = {XMP: TiffTags.BYTE, IPTC: TiffTags.UNDEFINED, PROFILE: TiffTags.UNDEFINED}
TYPES |= {PLACES: TiffTags.LONG, COUNTS: TiffTags.LONG}


class TiffWriter:
    """A file of one page or more; `write` adds one, and the file is whole after each."""

    def __init__(self, path):
        self._path, self._link = Path(path), 4  # where the place of the next page is to be told
        self._path.write_bytes(b"II*\0\0\0\0\0")

    def write(self, array: np.ndarray, tags: dict) -> None:
        """Adds pixels [H, W, 1 to 4], uint8 or uint16; `tags` are those of `jaxvsr.video.tags`.

        Raises ValueError when the file would pass 4 GiB.
        """
        strips = list(_strips(array))
        with self._path.open("rb+") as file:
            file.seek(0, 2)
            file.write(b"\0" * (file.tell() % 2))
            here = file.tell()
            directory = _directory(array, tags, list(map(len, strips)))
            content = directory.tobytes(here)
            if here + len(content) + sum(map(len, strips)) > LARGEST:
                raise ValueError("a TIFF ends at 4 GiB; write .png")
            file.writelines([content, *strips])
            file.seek(self._link)
            file.write(here.to_bytes(4, "little"))
            self._link = here + 2 + 12 * len(directory)


def _rows(array: np.ndarray) -> int:
    return max(1, STRIP // array[0].nbytes)


def _strips(array: np.ndarray):
    """The pixels in compressed strips, each value as its difference from the one at its left."""
    rows = _rows(array)
    for top in range(0, len(array), rows):
        part = array[top : top + rows].copy()
        part[:, 1:] -= array[top : top + rows, :-1]
        yield zlib.compress(part.astype(part.dtype.newbyteorder("<"), copy=False), 6)


def _directory(array: np.ndarray, tags: dict, counts: list[int]):
    """The page's description as Pillow serialises it, which puts the strips right behind it."""
    places = [0, *accumulate(counts)][:-1]
    height, width, channels = array.shape
    found = TiffImagePlugin.ImageFileDirectory_v2()
    size = height, width
    for tag, value in exif.sized(tags.get("exif", {}), size).items():
        found[tag] = value
    layout = {256: width, 257: height, 258: (8 * array.itemsize,) * channels, 259: DEFLATE}
    layout |= {262: 2 if channels > 2 else 1, PLACES: tuple(places), 277: channels}
    layout |= {278: _rows(array), COUNTS: tuple(counts), 284: 1, 317: HORIZONTAL}
    if channels in (2, 4):
        layout[338] = 2  # alpha, not multiplied
    if dpi := tags.get("dpi"):
        layout |= {282: dpi[0], 283: dpi[1], 296: 2}
    told = {PROFILE: tags.get("icc_profile"), IPTC: tags.get("iptc")}
    told[XMP] = exif.packet(tags["xmp"], size) if "xmp" in tags else None
    for tag, value in {**layout, **{t: v for t, v in told.items() if v}}.items():
        if tag in TYPES:
            found.tagtype[tag] = TYPES[tag]
        found[tag] = value
    return found
