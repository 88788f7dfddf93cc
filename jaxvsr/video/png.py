"""PNG as bytes: pixels of 8 or 16 bits, and the chunks that go before them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from jaxvsr.video import exif

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels
LEADING = 33  # bytes of the signature and IHDR
METRE = 0.0254  # of an inch


def encode(array: np.ndarray, tags: dict) -> bytes:
    """Pixels [H, W, 1 to 4], uint8 or uint16, and `tags` as `jaxvsr.video.tags` has them."""
    data = _shallow(array) if array.dtype == np.uint8 else _deep(array)
    told = b"".join(chunk(*each) for each in chunks(tags, array.shape[:2]))
    return data[:LEADING] + told + data[LEADING:]


def chunk(name: bytes, content: bytes) -> bytes:
    """One chunk with its length and checksum."""
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def _shallow(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    array = array[..., 0] if array.shape[-1] == 1 else array
    Image.fromarray(np.ascontiguousarray(array)).save(out, "PNG")
    return out.getvalue()


def _deep(array: np.ndarray) -> bytes:
    """Sixteen bits a channel, each line as its difference from the one above."""
    height, width, count = array.shape
    header = struct.pack(">2I5B", width, height, 16, COLOUR_TYPES[count], 0, 0, 0)
    lines = array.astype(">u2").reshape(height, -1).view(np.uint8)
    up = np.empty((height, lines.shape[1] + 1), np.uint8)
    up[:, 0] = 2  # the filter's number
    up[0, 1:], up[1:, 1:] = lines[0], lines[1:] - lines[:-1]
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(up, 6)), (b"IEND", b"")
    return SIGNATURE + b"".join(chunk(*part) for part in parts)


def chunks(tags: dict, size: tuple[int, int]) -> list[tuple[bytes, bytes]]:
    """`tags` as chunks of a picture of `size` (height, width)."""
    found = []
    if profile := tags.get("icc_profile"):
        found.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    found += tags.get("signals", [])
    if dpi := tags.get("dpi"):
        found.append((b"pHYs", struct.pack(">2IB", *(round(x / METRE) for x in dpi), 1)))
    if told := tags.get("exif"):
        found.append((b"eXIf", exif.encoded(told, size).removeprefix(b"Exif\0\0")))
    if xmp := tags.get("xmp"):
        found.append(_international("XML:com.adobe.xmp", exif.packet(xmp, size)))
    texts = dict(tags.get("text", {}))
    if comment := tags.get("comment"):
        texts.setdefault("Comment", comment.decode("utf-8", "replace"))
    return found + [_text(key, value) for key, value in texts.items()]


def _text(keyword: str, value: str) -> tuple[bytes, bytes]:
    try:
        return b"tEXt", keyword.encode("latin-1") + b"\0" + value.encode("latin-1")
    except UnicodeEncodeError:
        return _international(keyword, value.encode())


def _international(keyword: str, value: bytes) -> tuple[bytes, bytes]:
    return b"iTXt", keyword.encode("latin-1", "replace") + b"\0\0\0\0\0" + value


def split(data: bytes):
    """(name, content) of each chunk of a file."""
    place = len(SIGNATURE)
    while place < len(data):
        length = int.from_bytes(data[place : place + 4])
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += 12 + length
