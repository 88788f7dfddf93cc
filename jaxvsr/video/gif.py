"""GIF: frames of 256 colours each, written one by one."""

from pathlib import Path

import numpy as np
from PIL import GifImagePlugin, Image

CLEAR = 255  # the colour that is not painted
MOST = 65535  # hundredths of a second, and pixels a side


class GifWriter:
    """A file to which `write` adds frames; `plays` is how often it runs, 0 for ever, None once.

    Each frame replaces the one before as a whole, with a palette of its own.
    """

    def __init__(self, path, size: tuple[int, int], plays: int | None = None, comment=b""):
        height, width = size
        if max(size) > MOST:
            raise ValueError(f"GIF ends at {MOST} pixels a side")
        self._file = Path(path).open("wb")  # noqa: SIM115  (`close` closes it)
        self._file.write(b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little"))
        self._file.write(b"\0\0\0")
        if plays is not None and plays != 1:
            again = min(max(plays - 1, 0), MOST)
            self._file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01" + again.to_bytes(2, "little") + b"\0")
        for start in range(0, len(comment), 255):
            part = comment[start : start + 255]
            self._file.write((b"!\xfe" if not start else b"") + bytes([len(part)]) + part)
        self._file.write(b"\0" if comment else b"")

    def write(self, array: np.ndarray, hundredths: int = 0) -> None:
        """Adds RGB(A) [H, W, 3 or 4] uint8, shown for so many hundredths of a second.

        An alpha below one half is clear, the rest is not.
        """
        image, clear = painted(array)
        told = {"disposal": 2 if clear else 1, "include_color_table": True}
        told |= {"duration": 10 * min(hundredths, MOST)} | (
            {"transparency": CLEAR} if clear else {}
        )
        for part in GifImagePlugin.getdata(image, **told):
            self._file.write(part)

    def close(self) -> None:
        """Ends the file."""
        self._file.write(b";")
        self._file.close()


def painted(array: np.ndarray) -> tuple[Image.Image, bool]:
    """(the frame in its best colours, whether some of it is clear)."""
    hidden = array[..., 3] < 128 if array.shape[-1] == 4 else np.zeros(array.shape[:2], bool)
    rgb = Image.fromarray(np.ascontiguousarray(array[..., :3]))
    clear = bool(hidden.any())
    image = _quantised(rgb, 256 - clear)
    if clear:
        codes = np.asarray(image).copy()
        codes[hidden] = CLEAR
        palette = image.getpalette()
        image = Image.fromarray(codes, "P")
        image.putpalette((palette + [0] * 768)[:768])
    return image, clear


def _quantised(rgb: Image.Image, most: int) -> Image.Image:
    """At most so many colours: the image's own where it has no more, else the best, dithered."""
    found = rgb.getcolors(most)
    if found is None:
        return rgb.quantize(most, dither=Image.Dither.FLOYDSTEINBERG)
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for _, colour in found for value in colour])
    return rgb.quantize(palette=palette, dither=Image.Dither.NONE)
