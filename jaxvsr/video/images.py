"""Still pictures, read upright at 8 or 16 bits, with what their files say of them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jaxvsr.errors import InputError
from jaxvsr.video import beside, deep, heic, profiles, tags
from jaxvsr.video.exif import ORIENTATION
from jaxvsr.video.formats import SUFFIXES
from jaxvsr.video.holding import write_image
from jaxvsr.video.streams import LARGEST

__all__ = ["SUFFIXES", "Picture", "read_image", "read_picture", "write_image"]
REDUCED = 254  # tag of TIFF whose first bit tells of a smaller copy
ABSURD = Image.DecompressionBombWarning, Image.DecompressionBombError


@dataclass
class Picture:
    """Pixels [H, W, 1 or 3], `alpha` [H, W] or None, both uint8 or both uint16, upright.

    `tags` are those of `jaxvsr.video.tags`; `said` tells what was converted or left out.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    tags: dict = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


def read_image(path) -> tuple[np.ndarray, np.ndarray | None]:
    """(RGB [H, W, 3], alpha [H, W] or None), both uint8 or both uint16, upright by EXIF.

    Raises InputError for what is missing, no picture, cut off, or too large.
    """
    picture = read_picture(path)
    if picture.pixels.shape[-1] == 1:
        return np.repeat(picture.pixels, 3, axis=-1), picture.alpha
    return picture.pixels, picture.alpha


def read_picture(path, page: int = 0) -> Picture:
    """One picture of a file, counted from 0, with all that is said of it. Raises InputError."""
    path = Path(path)
    with opened(path) as image:
        if image is None:
            return _unknown(path)
        image.seek(page)
        _check_size(path, image.size)
        bits = depth(path, image)
        if bits <= 8 or image.mode in profiles.MODELS or image.format == "AVIF":
            return _finished(path, image, *_shallow(image, bits))
        return _finished(path, image, *_deep(path, image, page))


@contextmanager
def opened(path: Path) -> Iterator[Image.Image | None]:
    """The file opened by Pillow, None for a TIFF that Pillow does not know; errors in one line."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the name")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = _identified(path)
            if image is None:
                yield None
                return
            with image:
                yield image
    except (UnidentifiedImageError, *ABSURD):
        raise InputError(f"{path}: not a picture, or an absurd one; name another") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{path}: the picture is damaged ({error}); get it again") from None


def _identified(path: Path):
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        if deep.tiff_tags(path) is not None:
            return None
        with path.open("rb") as file:
            if not heic.is_heic(file.read(12)):
                raise
        heic.library(path)
        return Image.open(path)


def _finished(path: Path, image, pixels, alpha, profile, said) -> Picture:
    """With the tags; of profiles only `profile`, which fits the pixels."""
    told, lost = tags.read(path, image)
    told.pop("icc_profile", None)
    if profile:
        told["icc_profile"] = profile
    lost = [f"left out: {what}" for what in [*lost, *beside.further(path, image)]]
    return Picture(pixels, alpha, told, [*said, *lost])


def _shallow(image, bits: int):
    """(pixels, alpha, profile, what is said) of 8 bits."""
    image.load()
    profile = tags.profile_of(image)
    upright, profile, said = profiles.plain(ImageOps.exif_transpose(image), profile)
    array = np.asarray(upright)
    array = array[..., None] if array.ndim == 2 else array
    clear = array.shape[-1] in (2, 4)
    pixels = np.ascontiguousarray(array[..., : array.shape[-1] - clear])
    fewer = [f"{bits} bits become 8"] if bits > 8 else []
    return pixels, array[..., -1].copy() if clear else None, profile, fewer + said


def _deep(path: Path, image, page: int):
    """The same of 16 bits."""
    turn = image.getexif().get(ORIENTATION, 1)
    if image.mode.startswith(("I", "F")):
        pixels, alpha, said = deep.grey(path, image)
    elif image.format == "HEIF":
        (pixels, alpha), turn, said = deep.heif(path), 1, []
    else:
        tagged = image.tag_v2 if image.format == "TIFF" else None
        if tagged is not None and (why := deep.refused(path, tagged)):
            raise InputError(why)
        pixels, alpha, said = deep.decoded(path, page, tagged)
    pixels, alpha = (x if x is None else _upright(x, turn) for x in (pixels, alpha))
    profile, unfit = profiles.fitting(tags.profile_of(image), grey=pixels.shape[-1] == 1)
    return pixels, alpha, profile, said + unfit


def _unknown(path: Path) -> Picture:
    """A TIFF that Pillow does not know: of 16 bits with alpha, of floats."""
    told = deep.tiff_tags(path)
    _check_size(path, (told.get(256, 1), told.get(257, 1)))
    if why := deep.refused(path, told):
        raise InputError(why)
    pixels, alpha, said = deep.decoded(path, 0, told)
    turn = told.get(ORIENTATION, 1)
    pixels, alpha = (x if x is None else _upright(x, turn) for x in (pixels, alpha))
    found, lost = tags.of_tiff(told)
    return Picture(pixels, alpha, found, said + [f"left out: {what}" for what in lost])


def depth(path: Path, image) -> int:
    """Bits a channel. Pillow makes 16-bit colour 8-bit without a word, so its header is asked."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]  # IHDR comes first, at a fixed place
    if image.format == "TIFF":
        return deep.tiff_depth(image.tag_v2)
    if image.format == "PPM":
        largest = image.tile[0].args[-1] if isinstance(image.tile[0].args, tuple) else 255
        return 16 if image.mode == "I" or (isinstance(largest, int) and largest > 255) else 8
    return beside.depth(path, image)


def _check_size(path, size) -> None:
    if max(size) > LARGEST:
        raise InputError(f"{path}: {size[0]}x{size[1]} is too large; at most {LARGEST} a side")


def _upright(array: np.ndarray, turn: int) -> np.ndarray:
    """EXIF's eight orientations as a transpose and flips."""
    if turn in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        array = array[:, ::-1]
    if turn in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def header_size(path) -> tuple[int, int] | None:
    """(height, width), upright, without decoding the picture; None where there is none to read."""
    try:
        with opened(Path(path)) as image:
            if image is None:
                told = deep.tiff_tags(Path(path))
                size, turn = (told[256], told[257]), told.get(ORIENTATION, 1)
            else:
                size, turn = image.size, image.getexif().get(ORIENTATION, 1)
    except (InputError, KeyError):
        return None
    return size if turn in (5, 6, 7, 8) else size[::-1]


def page_numbers(path) -> list[int]:
    """The pages of a TIFF but for reduced copies of others; of any other file the first alone.

    Raises InputError.
    """
    with opened(Path(path)) as image:
        if image is None or image.format != "TIFF":
            return [0]
        found = []
        for page in range(image.n_frames):
            image.seek(page)
            if not image.tag_v2.get(REDUCED, 0) & 1 or not page:
                found.append(page)
        return found
