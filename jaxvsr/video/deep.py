"""Pictures of more than 8 bits a channel, of which Pillow reads only grey ones."""

import io
import struct
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
from PIL import TiffImagePlugin

from jaxvsr.errors import InputError
from jaxvsr.video import heic
from jaxvsr.video.streams import quiet

BITS, PHOTOMETRIC, EXTRA, KIND = 258, 262, 338, 339  # tags of TIFF
FLOAT = 3  # a value of KIND
WHITE_IS_0 = 0  # a value of PHOTOMETRIC
COLOURS = (0, 1, 2)  # values of PHOTOMETRIC: grey, and RGB


def tiff_tags(path: Path) -> dict | None:
    """The tags of a TIFF's first page, None for what is no TIFF, or one too damaged."""
    with path.open("rb") as file, suppress(Exception):
        head = file.read(8)
        if head[:4] in (b"II*\0", b"MM\0*"):
            directory = TiffImagePlugin.ImageFileDirectory_v2(head)
            file.seek(directory.next)
            directory.load(file)
            return dict(directory)
    return None


def tiff_depth(tags) -> int:
    """The most bits of a channel."""
    bits = tags.get(BITS, 1)
    return max(bits) if isinstance(bits, tuple) else int(bits)


def refused(path: Path, tags) -> str | None:
    """Why a TIFF with these tags is none of 16-bit grey or RGB, nor of floats that FFmpeg reads."""
    kind, bits = _first(tags.get(KIND, 1)), tiff_depth(tags)
    if tags.get(PHOTOMETRIC, 1) not in COLOURS:
        return f"{path}: a TIFF of {bits} bits in a rare colour model; save it as RGB of 16 bits"
    if (kind == FLOAT and bits != 32) or (kind != FLOAT and bits != 16):
        what = "floats" if kind == FLOAT else "integers"
        return f"{path}: a TIFF of {what} of {bits} bits; save it with 16 bits a channel"
    return None


def _first(value) -> int:
    return int(value[0]) if isinstance(value, tuple) else int(value)


def grey(path: Path, image) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """([H, W, 1] uint16, alpha or None, what is said) of one of Pillow's modes I, I;16 and F."""
    values, said = np.asarray(image), []
    if values.dtype.kind == "f":
        return from_floats(path, values[..., None]), None, ["floats become 16 bits"]
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise InputError(f"{path}: integers beyond 16 bits; save it with 16 bits a channel")
    values = values.astype(np.uint16)
    if image.format == "TIFF":
        values = _scaled(values, image.tag_v2)
    clear = image.info.get("transparency")
    alpha = None if clear is None else np.where(values == clear, 0, 65535).astype(np.uint16)
    return values[..., None], alpha, said


def _scaled(values: np.ndarray, tags) -> np.ndarray:
    """Codes of 9 to 16 bits as of 16, with white as the largest."""
    top = (1 << min(tiff_depth(tags), 16)) - 1
    values = values if top == 65535 else _full(values, top)
    return 65535 - values if tags.get(PHOTOMETRIC, 1) == WHITE_IS_0 else values


def from_floats(path: Path, values: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] as 16 bits. Raises InputError for others, which would be cut off."""
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise InputError(f"{path}: floats outside of 0 to 1; bring them there, or save 16 bits")
    return np.round(values * 65535).astype(np.uint16)


def decoded(path: Path, page: int, tags=None) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """([H, W, 1 or 3] uint16, alpha or None, what is said) through FFmpeg.

    `tags` are those of a TIFF. Raises InputError.
    """
    frame = _frame(path, page)
    if frame.format.name.startswith(("rgbf", "gbrpf", "grayf")):
        values = frame.to_ndarray()  # as they are: conversion would cut off what is beyond 1
        return from_floats(path, values), None, ["floats become 16 bits"]
    clear = any(part.is_alpha for part in frame.format.components)
    array = frame.to_ndarray(format="rgba64le" if clear else "rgb48le")
    alpha = array[..., 3].copy() if clear else None
    colour = array[..., :3] if frame.format.is_rgb else array[..., :1]
    if clear and tags is not None and 1 in np.atleast_1d(tags.get(EXTRA, 0)):
        colour = _unmultiplied(colour, alpha)
    return np.ascontiguousarray(colour), alpha, []


def _unmultiplied(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours that were stored times alpha, by themselves."""
    share = np.maximum(alpha, 1).astype(np.float32)[..., None] / 65535
    return np.minimum(np.round(colour / share), 65535).astype(np.uint16)


def _frame(path: Path, page: int):
    quiet()
    try:
        content = path.read_bytes()
        content = _turned_to(content, page) if page else content
        with av.open(io.BytesIO(content)) as file:
            return next(file.decode(video=0))
    except (av.FFmpegError, StopIteration, IndexError, OSError, ValueError, struct.error):
        raise InputError(
            f"{path}: damaged, or more than 8 bits in a rare form; save it as .png"
        ) from None


def _turned_to(content: bytes, page: int) -> bytes:
    """A TIFF whose first page is another one."""
    order = "<" if content[:2] == b"II" else ">"
    (place,) = struct.unpack_from(f"{order}I", content, 4)
    for _ in range(page):
        (count,) = struct.unpack_from(f"{order}H", content, place)
        (place,) = struct.unpack_from(f"{order}I", content, place + 2 + 12 * count)
    return content[:4] + struct.pack(f"{order}I", place) + content[8:]


def heif(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """([H, W, 1 or 3] uint16, alpha or None) of a HEIC file of more than 8 bits, upright."""
    image = heic.library(path).open_heif(path, convert_hdr_to_8bit=False)
    array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array
    alpha = array[..., -1].copy() if array.shape[-1] in (2, 4) else None
    colour = array[..., : array.shape[-1] - (alpha is not None)]
    top = (1 << image.info["bit_depth"]) - 1 << (16 - image.info["bit_depth"])
    return _full(colour, top), None if alpha is None else _full(alpha, top)


def _full(values: np.ndarray, top: int) -> np.ndarray:
    """Codes up to `top` as codes up to 65535."""
    return np.round(np.minimum(values, top) * (65535 / top)).astype(np.uint16)
