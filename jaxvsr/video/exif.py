"""EXIF and XMP of an old picture made true for a new one, without a word of the old layout."""

import re

from PIL import ExifTags, Image, TiffTags

ORIENTATION = 0x0112
EXIF, GPS, INTEROP, MAKER = 0x8769, 0x8825, 0xA005, 0x927C
KEPT = {  # tags that describe the picture and not its bytes
    *(0x010D, 0x010E, 0x010F, 0x0110, 0x011D, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298),
    *(0x4746, 0x4749, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F, 0x9003, 0x9286),
}
RESOLUTION = (0x011A, 0x011B, 0x0128)  # the unit comes last
# Layout of the old file, or carried as something else: resolution, XMP, IPTC, the profile.
SILENT = {*range(0x00FE, 0x010D), *range(0x0111, 0x011D), *range(0x011E, 0x0131), 0x0129, 0x012D}
SILENT |= {*range(0x013D, 0x0160), *range(0x0200, 0x0216), 0x828D, 0x828E, ORIENTATION}
SILENT |= {0x02BC, 0x83BB, 0x8773, EXIF, GPS, INTEROP, 0xA420, 0xEA1C, 0x1000, 0x1001, 0x1002}
SILENT |= {0x013E, 0x013F, 0x0211, 0x0212, 0x0213, 0x0214}
WIDTH, HEIGHT = 0xA002, 0xA003  # of the pixels, in the sub-directory of EXIF
PREVIEWS = re.compile(rb"hdrgm:|GDepth:|GImage:|GContainer|Container:Directory")


def read(image) -> tuple[dict | None, list[str]]:
    """({tag: value}, of which EXIF and GPS are such themselves), and what is left out, as texts."""
    try:
        exif = image.getexif()
        wanted = KEPT if image.format == "TIFF" else KEPT.union(RESOLUTION)
        kept = {tag: value for tag, value in exif.items() if tag in wanted}
        for place in (EXIF, GPS):
            inside = dict(exif.get_ifd(place))
            if isinstance(inside.get(INTEROP), int):
                inside[INTEROP] = dict(exif.get_ifd(INTEROP))
            if inside:
                kept[place] = inside
        names = [_name(tag) for tag in exif if tag not in SILENT and tag not in kept]
        thumbnail = image.format != "TIFF" and bool(exif.get_ifd(ExifTags.IFD.IFD1))
        _written(kept)
    except Exception:  # whatever a parser trips over: the picture itself may be whole
        return None, ["its EXIF data is damaged"]
    lost = [f"the tags {', '.join(names)}"] if names else []
    return kept or None, lost + (["the thumbnail in its EXIF"] if thumbnail else [])


def _name(tag: int) -> str:
    name = TiffTags.lookup(tag).name
    return name if name != "unknown" else f"{tag:#06x}"


def _written(tags: dict) -> bytes:
    exif = Image.Exif()
    exif.update(tags)
    return exif.tobytes()


def sized(tags: dict, size: tuple[int, int]) -> dict:
    """The tags of a picture of `size` (height, width), where they tell of one."""
    inside = dict(tags.get(EXIF, {}))
    if inside.keys() & {WIDTH, HEIGHT}:
        inside |= {WIDTH: size[1], HEIGHT: size[0]}
    return tags | ({EXIF: inside} if inside else {})


def encoded(tags: dict, size: tuple[int, int]) -> bytes:
    """The tags as bytes that begin with "Exif"."""
    return _written(sized(tags, size))


def packet(xmp: bytes, size: tuple[int, int]) -> bytes:
    """An XMP packet for an upright picture of `size` (height, width)."""
    for name, value in (
        (rb"tiff:Orientation", 1),
        (rb"tiff:ImageWidth", size[1]),
        (rb"tiff:ImageLength", size[0]),
        (rb"exif:PixelXDimension", size[1]),
        (rb"exif:PixelYDimension", size[0]),
    ):
        told = rb"(" + name + rb"\s*(?:=\s*[\"']|>))\s*\d+"
        xmp = re.sub(told, rb"\g<1>" + str(value).encode(), xmp)
    return xmp


def tells_of_others(xmp: bytes) -> bool:
    """Whether a packet describes further pictures of the old file: a gain map, depths."""
    return PREVIEWS.search(xmp) is not None
