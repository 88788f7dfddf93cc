"""Pictures written in the format of a suffix, and what that format cannot hold of them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from jaxvsr.errors import UsageError
from jaxvsr.video import heic, png, profiles, tags, transparency
from jaxvsr.video.failing import failing
from jaxvsr.video.formats import FORMATS, Format
from jaxvsr.video.gif import GifWriter
from jaxvsr.video.tiff import TiffWriter


@dataclass(frozen=True)
class Plan:
    """How a picture goes into a format: the model, its tags, and what is said of the rest.

    `profile` is to be applied to the pixels because the format cannot hold it; `flat` tells that
    transparency is laid on white.
    """

    what: Format
    model: str
    deep: bool
    tags: dict
    said: list[str] = field(default_factory=list)
    profile: bytes | None = None
    flat: bool = False


def format_of(path) -> Format:
    """What the suffix of a name stands for. Raises UsageError for none that can be written."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"{path}: cannot write this format; choose from {', '.join(FORMATS)}")
    return FORMATS[suffix]


def plan(path, pixels: np.ndarray, alpha=None, told=None, *, drop: bool = False) -> Plan:
    """How pixels [H, W, 1 or 3] and alpha [H, W] can be written at `path`, or UsageError.

    `told` are tags of `jaxvsr.video.tags`; `drop` gives transparency up where it cannot be held.
    """
    what, grey = format_of(path), pixels.shape[-1] == 1
    clear, flat, said = _transparency(path, what, alpha, drop=drop)
    model = ("L" if grey else "RGB") + ("A" if clear else "")
    colour = {"L": "RGB", "LA": "RGBA"}.get(model, model)
    deepens = pixels.dtype == np.uint16 and model not in what.deep and colour in what.deep
    if model not in what.models or deepens:
        model = colour
    if model not in what.models:
        raise UsageError(f"{path}: holds no colour; write a .ppm or .png")
    holds_deep = model in what.deep and pixels.dtype == np.uint16
    if pixels.dtype == np.uint16 and not holds_deep:
        said.append(f"16 bits become 8, as {Path(path).suffix} holds no more")
    kept, profile, more = _colours(dict(told or {}), what, model, grey=grey, deep=holds_deep)
    kept, lost = tags.fitted(kept, what, pixels.shape[:2])
    left = [f"left out, since {Path(path).suffix} cannot hold it: {name}" for name in lost]
    return Plan(what, model, holds_deep, kept, said + more + left, profile, flat)


def _transparency(path, what: Format, alpha, *, drop: bool) -> tuple[bool, bool, list[str]]:
    """(whether alpha is written, whether it is laid on white, what is said)."""
    if alpha is None:
        return False, False, []
    seen = alpha == np.iinfo(alpha.dtype).max
    if "RGBA" not in what.models:
        if seen.all():
            return False, False, []
        if drop:
            return False, True, ["transparency is laid on white"]
        raise UsageError(
            f"{path}: {Path(path).suffix} cannot hold transparency; write a .png or .webp, "
            "or give --drop to lay it on white"
        )
    partly = what.name == "GIF" and not (seen | (alpha == 0)).all()
    return True, False, ["GIF is clear or not: half transparency is rounded"] if partly else []


def _colours(told: dict, what: Format, model: str, *, grey: bool, deep: bool):
    """(tags, the profile to apply to the pixels or None, what is said) of the colour profile."""
    profile = told.get("icc_profile")
    if profile is None:
        return told, None, []
    lone = grey and model.startswith("RGB")  # a profile of grey does not fit RGB
    if "icc_profile" in what.tags and not lone:
        return told, None, []
    del told["icc_profile"]
    if deep:
        return told, None, ["the colour profile is left out, and the colours are not converted"]
    return told, profile, ["the colours are converted to sRGB, as the profile cannot be kept"]


def write_image(path, array: np.ndarray, alpha=None, told=None, *, drop: bool = False) -> None:
    """Writes RGB [H, W, 3] or grey [H, W, 1], uint8 or uint16, with `alpha` [H, W] if given.

    Floats in [0, 1] are written as 8 bits; formats that hold no more go down to 8 bits. `told` are
    tags of `jaxvsr.video.tags`. Raises UsageError for an unknown suffix or for transparency that
    the format cannot hold (`drop` lays it on white), OutputError or SpaceError else.
    """
    PictureFile(path, drop=drop).write(array, alpha, told)


class PictureFile:
    """A file to which `write` gives its picture, or, in a format that holds them, its pages."""

    def __init__(self, path, *, drop: bool = False):
        self._path, self._drop, self._pages = Path(path), drop, None

    def write(self, array, alpha=None, told=None) -> None:
        """As `write_image`."""
        array, alpha = (None if x is None else _codes(np.asarray(x)) for x in (array, alpha))
        array = array[..., None] if array.ndim == 2 else array
        how = plan(self._path, array, alpha, told, drop=self._drop)
        pixels = ready(array, alpha, how)
        with failing(self._path):
            if not how.what.pages:
                return _write(self._path, how, pixels)
            self._pages = self._pages or TiffWriter(self._path)
            self._pages.write(pixels, how.tags)


def ready(array: np.ndarray, alpha, how: Plan) -> np.ndarray:
    """The pixels [H, W, channels of the model] as they are to be written."""
    if how.flat:
        array = transparency.over_white(array, alpha)
    if not how.deep:
        array, alpha = (None if x is None else shallow(x) for x in (array, alpha))
    if how.profile:
        converted = profiles.applied(array, how.profile)
        array = array if converted is None else converted
    if how.model.startswith("RGB") and array.shape[-1] == 1:
        array = np.repeat(array, 3, axis=-1)
    return np.concatenate([array, alpha[..., None]], -1) if how.model.endswith("A") else array


def _codes(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "f":
        return np.round(np.clip(array, 0, 1) * 255).astype(np.uint8)
    return array


def shallow(array: np.ndarray) -> np.ndarray:
    """Codes of 16 bits as the nearest of 8."""
    if array.dtype == np.uint8:
        return array
    return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _write(path: Path, how: Plan, array: np.ndarray) -> None:
    name = how.what.name
    if name == "PNG":
        path.write_bytes(png.encode(array, how.tags))
    elif name == "GIF":
        writer = GifWriter(path, array.shape[:2], comment=how.tags.get("comment", b""))
        writer.write(array)
        writer.close()
    elif name == "PPM":
        path.write_bytes(_portable(array))
    else:
        _by_pillow(path, how, array)


def _portable(array: np.ndarray) -> bytes:
    """PGM or PPM, whose numbers are big-endian."""
    height, width, channels = array.shape
    peak = np.iinfo(array.dtype).max
    head = f"P{5 if channels == 1 else 6}\n{width} {height}\n{peak}\n"
    return head.encode() + array.astype(array.dtype.newbyteorder(">")).tobytes()


def _by_pillow(path: Path, how: Plan, array: np.ndarray) -> None:
    if how.what.name == "HEIF":
        heic.library(path)
    options = dict(how.what.options) | tags.options(how.tags, array.shape[:2])
    if how.what.name == "AVIF":
        options["subsampling"] = "4:0:0" if how.model == "L" else "4:4:4"
    picture = array[..., 0] if array.shape[-1] == 1 else array
    Image.fromarray(np.ascontiguousarray(picture)).save(path, how.what.name, **options)
