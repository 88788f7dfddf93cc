"""Picture formats as facts: what each holds, by the suffix of a file's name."""

from collections.abc import Mapping
from dataclasses import dataclass, field

PLAIN = ("L", "LA", "RGB", "RGBA")  # grey, or colour, without and with alpha


@dataclass(frozen=True)
class Format:
    """What a format that can be written holds.

    `name` is Pillow's; `models` are of PLAIN; `tags` of what `tags.read` finds; `moving` tells that
    it holds animations, `pages` that it holds several pictures; `options` are how Pillow writes it.
    """

    name: str
    models: tuple[str, ...]
    deep: tuple[str, ...] = ()  # the models that it holds at 16 bits
    tags: tuple[str, ...] = ()
    moving: bool = False
    pages: bool = False
    options: Mapping = field(default_factory=dict)


_DESCRIBED = ("icc_profile", "exif", "xmp")
PNG = Format("PNG", PLAIN, PLAIN, (*_DESCRIBED, "dpi", "text", "comment", "signals"), moving=True)
TIFF = Format("TIFF", PLAIN, PLAIN[:1] + PLAIN[2:], (*_DESCRIBED, "dpi", "iptc"), pages=True)
JPEG = Format(
    "JPEG",
    ("L", "RGB"),
    tags=(*_DESCRIBED, "dpi", "comment", "iptc"),
    options={"quality": 95, "subsampling": 0},
)
WEBP = Format(
    "WEBP", ("RGB", "RGBA"), tags=_DESCRIBED, moving=True, options={"lossless": True, "exact": True}
)
AVIF = Format("AVIF", ("L", "RGB", "RGBA"), tags=_DESCRIBED, moving=True, options={"quality": 90})
HEIF = Format("HEIF", ("L", "RGB", "RGBA"), tags=_DESCRIBED, options={"quality": 90, "chroma": 444})
GIF = Format("GIF", ("RGB", "RGBA"), tags=("comment",), moving=True)
JP2 = Format("JPEG2000", PLAIN, ("L",), ("comment",))
BMP = Format("BMP", ("L", "RGB"), tags=("dpi",))
FORMATS = {
    ".png": PNG,
    ".apng": PNG,
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), JPEG),
    **dict.fromkeys((".tif", ".tiff"), TIFF),
    ".webp": WEBP,
    **dict.fromkeys((".avif", ".avifs"), AVIF),
    **dict.fromkeys((".heic", ".heif", ".hif"), HEIF),
    ".gif": GIF,
    **dict.fromkeys((".jp2", ".j2k", ".jpx", ".j2c", ".jpf"), JP2),
    **dict.fromkeys((".bmp", ".dib"), BMP),
    ".tga": Format("TGA", PLAIN),
    ".ppm": Format("PPM", ("RGB",), ("RGB",)),
    ".pgm": Format("PPM", ("L",), ("L",)),
    ".pnm": Format("PPM", ("L", "RGB"), ("L", "RGB")),
    ".qoi": Format("QOI", ("RGB", "RGBA")),
}
READ_ONLY = (".pbm", ".pfm", ".psd", ".ico", ".icns", ".pcx", ".sgi", ".dds", ".mpo", ".xbm")
SUFFIXES = (*FORMATS, *READ_ONLY)  # by which pictures are known
MOVING = tuple(suffix for suffix, what in FORMATS.items() if what.moving)
