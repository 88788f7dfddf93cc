"""What a picture file says beside its pixels: read, fitted to another format, handed to Pillow.

A dict with any of `icc_profile` (bytes), `exif` ({tag: value}), `xmp` (bytes), `dpi` (two numbers),
`text` ({keyword: text}), `comment` (bytes), `iptc` (bytes) and `signals` (PNG's chunks about
colour, [(name, bytes)]).
"""

import struct
from pathlib import Path

from jaxvsr.video import exif
from jaxvsr.video.formats import Format

NAMES = {  # of what cannot be kept, as a person calls it
    "icc_profile": "the colour profile",
    "exif": "EXIF",
    "xmp": "XMP",
    "dpi": "the resolution",
    "text": "text",
    "comment": "the comment",
    "iptc": "IPTC",
    "signals": "chunks about colour",
}
SIGNALS = (b"cHRM", b"cICP", b"gAMA", b"sRGB", b"mDCV", b"cLLI", b"pHYs")
USUAL_GAMMA = (b"gAMA", (45455).to_bytes(4))
COMMENTS = {"Comment", "Description"}  # keywords of a text that is a comment elsewhere
SEGMENT = 65_000  # bytes that a segment of JPEG holds
XMP_KEYWORD = "XML:com.adobe.xmp"
IPTC_RECORD = 0x0404
HEAD = 1 << 16  # bytes of a file in which its boxes are looked for


def read(path: Path, image) -> tuple[dict, list[str]]:
    """(tags, what is left out of them). `image` is open and has been loaded."""
    info, found = image.info, {}
    found["exif"], lost = exif.read(image)
    found["icc_profile"] = profile_of(image)
    found["xmp"], other = _xmp(info)
    found["dpi"] = _dpi(info.get("dpi"))
    found["text"] = _text(info, getattr(image, "text", {}))
    found["comment"] = _comment(info.get("comment"))
    found["iptc"] = _iptc(image)
    found["signals"] = _signals(path) if image.format == "PNG" else None
    return {key: value for key, value in found.items() if value}, lost + other


def _xmp(info: dict) -> tuple[bytes | None, list[str]]:
    xmp = info.get("xmp")
    if xmp and exif.tells_of_others(xmp):
        return None, ["XMP, which tells of other pictures in the file"]
    return xmp, []


def _dpi(dpi) -> tuple[float, float] | None:
    try:
        across, down = (float(x) for x in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if min(across, down) > 1 and max(across, down) < 1e6 else None


def _text(info: dict, text: dict) -> dict:
    return {key: str(value) for key, value in text.items() if key != XMP_KEYWORD}


def _comment(comment) -> bytes | None:
    comment = comment.encode() if isinstance(comment, str) else comment
    return None if comment and comment.startswith(b"Created by OpenJPEG") else comment


def _iptc(image) -> bytes | None:
    if image.format in ("JPEG", "MPO"):
        resources = image.info.get("photoshop", {})
        record = resources.get(IPTC_RECORD) if isinstance(resources, dict) else None
        return record if isinstance(record, bytes) else None
    if image.format == "TIFF":
        record = image.tag_v2.get(0x83BB)
        return record if isinstance(record, bytes) else None
    return None


def of_tiff(told: dict) -> tuple[dict, list[str]]:
    """The same of a TIFF that Pillow does not open, from its directory of tags alone."""
    found = {"icc_profile": told.get(0x8773), "xmp": told.get(0x02BC)}
    known = {tag: told[tag] for tag in exif.KEPT & told.keys()}
    if told.get(exif.RESOLUTION[2], 2) == 2:
        found["dpi"] = _dpi([told.get(tag) for tag in exif.RESOLUTION[:2]])
    lost = ["EXIF"] if exif.EXIF in told or exif.GPS in told else []
    return {key: value for key, value in (found | {"exif": known}).items() if value}, lost


def profile_of(image) -> bytes | None:
    """The colour profile; that in a box of a JPEG 2000 file Pillow does not read."""
    if image.format != "JPEG2000":
        return image.info.get("icc_profile")
    with Path(image.filename).open("rb") as file:
        head = file.read(HEAD)
    place = head.find(b"colr\x02")
    if place < 4:
        return None
    return head[place + 7 : place - 4 + int.from_bytes(head[place - 4 : place])]


def _signals(path: Path) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG that say what its numbers mean; they come before the pixels."""
    found = []
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
            name, length = head[4:], int.from_bytes(head[:4])
            content = file.read(length) if name in SIGNALS else b""
            file.seek(4 if content else length + 4, 1)
            shape = name == b"pHYs" and content[8:] == b"\0"  # of pixels, without a unit
            if content and (shape or name != b"pHYs"):
                found.append((name, content))
    return found


def fitted(tags: dict, what: Format, size: tuple[int, int]) -> tuple[dict, list[str]]:
    """(what a format holds of the tags, the names of the rest) for a picture of `size` (h, w)."""
    wanted = _moved(dict(tags), what)
    kept = {key: value for key, value in wanted.items() if key in what.tags}
    lost = [_named(key, wanted[key]) for key in NAMES if key in wanted and key not in kept]
    if what.name == "JPEG":
        long = {"exif": len(exif.encoded(kept.get("exif", {}), size))}
        long |= {key: len(kept.get(key, b"")) for key in ("xmp", "comment", "iptc")}
        for key in [key for key, length in long.items() if length > SEGMENT]:
            del kept[key]
            lost.append(f"{NAMES[key]} (too long for JPEG)")
    return kept, [name for name in lost if name]


def _moved(tags: dict, what: Format) -> dict:
    """A lone comment is a text where there are comments alone; EXIF tells the resolution, too."""
    texts = tags.get("text", {})
    if "text" not in what.tags and "comment" in what.tags and texts.keys() <= COMMENTS:
        tags.pop("text", None)
        for value in texts.values():
            tags.setdefault("comment", value.encode())
    if "dpi" in tags and "dpi" not in what.tags and "exif" in what.tags:
        across, down = tags.pop("dpi")
        places = dict(zip(exif.RESOLUTION, (across, down, 2), strict=True))
        tags["exif"] = tags.get("exif", {}) | places
    return tags


def _named(key: str, value) -> str:
    """What is lost, as a person calls it; "" where nothing is."""
    if key == "text":
        return f"text ({', '.join(list(value)[:5])})"
    if key == "signals":
        standard = b"sRGB" in dict(value)
        names = [n for n, told in value if not standard and (n, told) != USUAL_GAMMA]
        return ", ".join(name.decode() for name in names)
    return NAMES[key]


def options(tags: dict, size: tuple[int, int]) -> dict:
    """`tags` as Pillow's `save` takes them, for a picture of `size` (height, width)."""
    found = {key: tags[key] for key in ("icc_profile", "dpi", "comment") if key in tags}
    if "exif" in tags:
        found["exif"] = exif.encoded(tags["exif"], size)
    if "xmp" in tags:
        found["xmp"] = exif.packet(tags["xmp"], size)
    if "iptc" in tags:
        found["extra"] = _photoshop(tags["iptc"])
    return found


def _photoshop(record: bytes) -> bytes:
    """An APP13 segment of JPEG that holds an IPTC record."""
    padded = record + b"\0" * (len(record) % 2)
    block = b"8BIM" + struct.pack(">HHI", IPTC_RECORD, 0, len(record)) + padded
    content = b"Photoshop 3.0\0" + block
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content
