"""Colour models to grey or RGB, by the profile in the file; and profiles that fit the pixels."""

import io

import numpy as np
from PIL import Image, ImageCms

GREY, RGB, CMYK = b"GRAY", b"RGB ", b"CMYK"
MODELS = {"CMYK": CMYK, "LAB": b"Lab ", "YCbCr": b"YCbr", "HSV": b"HSV "}


def space(profile: bytes | None) -> bytes:
    """The colour model that a profile is about, b"" where it does not tell."""
    return (profile or b"")[16:20]


def plain(image, profile: bytes | None):
    """(the image as L, LA, RGB or RGBA, the profile that fits it or None, what is said).

    Raises OSError for what Pillow cannot convert.
    """
    mode, said = image.mode, []
    if mode in MODELS:
        image, how = _to_srgb(image, profile)
        return image, None, [f"{mode} becomes RGB {how}"]
    clear = image.has_transparency_data
    if mode == "1":
        image, said = image.convert("LA" if clear else "L"), ["1 bit becomes grey of 8 bits"]
    elif mode in ("P", "PA"):
        image, said = _without_palette(image, clear=clear)
    elif mode in ("L", "LA", "La"):
        image = image.convert("LA" if clear else "L")
    else:
        image = image.convert("RGBA" if clear else "RGB")
    fit, lost = fitting(profile, grey=image.mode in ("L", "LA"))
    return image, fit, said + lost


def fitting(profile: bytes | None, *, grey: bool) -> tuple[bytes | None, list[str]]:
    """The profile if it can be one of such pixels, and what is said if it cannot."""
    about = space(profile)
    if not profile or about in (b"", GREY if grey else RGB):
        return profile, []
    what = about.decode("ascii", "replace").strip()
    have = "grey" if grey else "RGB"
    return None, [f"a profile of {what} does not fit pixels of {have} and is left out"]


def _without_palette(image, *, clear: bool):
    colours = np.asarray(image.convert("RGBA" if clear else "RGB"))
    equal = bool((colours[..., :1] == colours[..., 1:3]).all())
    if equal:
        colours = colours[..., [0, 3]] if clear else colours[..., 0]
    what = "grey" if equal else "RGB"
    return Image.fromarray(np.ascontiguousarray(colours)), [f"the palette becomes {what}"]


def _to_srgb(image, profile: bytes | None):
    """An image of a rarer model as sRGB, and by what it was converted."""
    source = profile if space(profile) == MODELS[image.mode] else None
    if image.mode == "LAB":
        return transformed(image, ImageCms.createProfile("LAB")), "(sRGB)"
    if source:
        try:
            return transformed(image, source), "(sRGB), by its profile"
        except ImageCms.PyCMSError:
            return image.convert("RGB"), "(sRGB) plainly: its profile cannot be used"
    return image.convert("RGB"), "(sRGB) plainly: it has no profile that fits"


def transformed(image, profile):
    """The image from a profile (bytes, or one of ImageCms) to sRGB. Raises PyCMSError."""
    if isinstance(profile, bytes):
        profile = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.profileToProfile(
        image,
        profile,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def applied(pixels: np.ndarray, profile: bytes) -> np.ndarray | None:
    """Pixels [H, W, 1 or 3] of 8 bits in sRGB, [H, W, 3]; None where the profile is unusable."""
    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    try:
        return np.asarray(transformed(Image.fromarray(np.ascontiguousarray(pixels)), profile))
    except ImageCms.PyCMSError:
        return None
