"""What is put into a Matroska header afterwards, since PyAV cannot hand it to FFmpeg's muxer.

The display size: H.264 and HEVC repeat the shape of their pixels in the stream, VP9, AV1 and FFV1
do not; without it their anamorphic pictures would come out narrow. And chapters, where the file was
written through a muxer in between. RFC 9559 gives the elements.
"""

import math
import zlib
from fractions import Fraction

from jaxvsr.errors import OutputError

SEGMENT, CLUSTER, VOID, CRC = 0x18538067, 0x1F43B675, 0xEC, 0xBF
TRACKS, TRACK, NAME, VIDEO = 0x1654AE6B, 0xAE, 0x536E, 0xE0
PIXEL_WIDTH, PIXEL_HEIGHT = 0xB0, 0xBA
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
RATIO = 3  # the display unit that says: these two numbers are a ratio, not pixels
CHAPTERS, EDITION, CHAPTER, CHAPTER_UID = 0x1043A770, 0x45B9, 0xB6, 0x73C4
CHAPTER_START, CHAPTER_END, CHAPTER_SHOWN = 0x91, 0x92, 0x80
CHAPTER_TITLE, CHAPTER_LANGUAGE = 0x85, 0x437C
SPARE = 32  # bytes; more than a display size takes
HEAD = 1 << 20  # bytes within which the list of tracks lies

Element = tuple[int, bytes]  # id, body


def padding(chapters=()) -> str:
    """By how much the title of the first video track is made longer, to be `finish`'s place."""
    return " " * (SPARE + len(_chapters(chapters)))


def finish(path, sar: Fraction, chapters=()) -> None:
    """Writes the pixels' shape into the first video track, and `chapters`, in place.

    The title of that track was made longer by `padding(chapters)` before; its place is what the
    new elements take, so that nothing else moves. `chapters` are as PyAV has them. Raises
    OutputError where there is no such place.
    """
    with open(path, "r+b") as file:
        head = file.read(HEAD)
        found = next((span for span in _top(head) if span[0] == TRACKS), None)
        if found is None:
            raise OutputError(f"{path}: no list of tracks in its head; write .mp4 instead")
        _, start, body, end = found
        more = _chapters(chapters)
        tracks = _shaped(head[body:end], sar, padding(chapters))
        packed = _fitted(tracks, end - start - len(more))
        if packed is None:
            raise OutputError(f"{path}: no room for the pixels' shape; write .mp4 instead")
        file.seek(start)
        file.write(packed + more)


def _chapters(chapters) -> bytes:
    """The element Chapters, b"" where there are none."""
    atoms = b""
    for number, chapter in enumerate(chapters, 1):
        tick = 10**9 * Fraction(chapter["time_base"])
        atom = _number(CHAPTER_UID, number)
        atom += _number(CHAPTER_START, round(chapter["start"] * tick))
        atom += _number(CHAPTER_END, round(chapter["end"] * tick))
        if title := chapter["metadata"].get("title"):
            shown = _pack(CHAPTER_TITLE, title.encode()) + _pack(CHAPTER_LANGUAGE, b"und")
            atom += _pack(CHAPTER_SHOWN, shown)
        atoms += _pack(CHAPTER, atom)
    return _pack(CHAPTERS, _pack(EDITION, atoms)) if atoms else b""


def _fitted(body: bytes, length: int) -> bytes | None:
    """The track list and a void, `length` bytes together; None where it is longer."""
    for width in range(9):
        packed = _pack(TRACKS, body, width) if len(body) < 1 << 7 * (width or 8) else b""
        spare = length - len(packed)
        if packed and spare == 0:
            return packed
        if packed and spare >= 2:
            size = 1 if spare < 128 else 8
            return packed + _pack(VOID, bytes(spare - 1 - size), size)
    return None


def _top(head: bytes) -> list[tuple[int, int, int, int]]:
    """(id, start, body, end) of the segment's elements up to the first cluster."""
    at, spans = 0, []
    name, body, end = _element(head, at)
    while name != SEGMENT:
        at = end
        name, body, end = _element(head, at)
    at = body
    while at < len(head):
        name, body, end = _element(head, at)
        if name == CLUSTER or end > len(head):
            break
        spans.append((name, at, body, end))
        at = end
    return spans


def _element(data, at: int) -> tuple[int, int, int]:
    """(id, where the body begins, where it ends) of the element at `at`."""
    length = 9 - data[at].bit_length()
    name = int.from_bytes(data[at : at + length], "big")
    at += length
    length = 9 - data[at].bit_length()
    size = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return name, at + length, at + length + size


def _children(data: bytes) -> list[Element]:
    at, found = 0, []
    while at < len(data):
        name, body, end = _element(data, at)
        found.append((name, data[body:end]))
        at = end
    return found


def _pack(name: int, body: bytes, width: int = 0) -> bytes:
    """An element; `width` bytes of size, or as few as will do."""
    width = width or next(n for n in range(1, 9) if len(body) < (1 << 7 * n) - 1)
    size = (len(body) | 1 << 7 * width).to_bytes(width, "big")
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + size + body


def _number(name: int, value: int) -> bytes:
    return _pack(name, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def _shaped(tracks: bytes, sar: Fraction, spaces: str) -> bytes:
    """The track list's body with the display size in its first video track, without `spaces`."""
    children, done, packed = _children(tracks), False, []
    for name, body in children:
        if name == TRACK and not done and any(n == VIDEO for n, _ in _children(body)):
            body, done = _track(body, sar, spaces), True
        if name != CRC:
            packed.append(_pack(name, body))
    body = b"".join(packed)
    if children[0][0] == CRC:
        body = _pack(CRC, zlib.crc32(body).to_bytes(4, "little")) + body
    return body


def _track(body: bytes, sar: Fraction, spaces: str) -> bytes:
    parts = []
    for name, value in _children(body):
        if name == NAME:
            value = value.removesuffix(spaces.encode())
        if name == VIDEO and sar != 1:
            value = _sized(value, sar)
        if name != NAME or value:
            parts.append(_pack(name, value))
    return b"".join(parts)


def _sized(video: bytes, sar: Fraction) -> bytes:
    display = (DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT)
    children = [(name, body) for name, body in _children(video) if name not in display]
    facts = {name: int.from_bytes(body, "big") for name, body in children}
    width, height = facts[PIXEL_WIDTH] * sar.numerator, facts[PIXEL_HEIGHT] * sar.denominator
    extra = b""
    if width % sar.denominator == 0:
        width, height = width // sar.denominator, height // sar.denominator
    else:
        common = math.gcd(width, height)
        width, height, extra = width // common, height // common, _number(DISPLAY_UNIT, RATIO)
    packed = b"".join(_pack(name, body) for name, body in children)
    return packed + _number(DISPLAY_WIDTH, width) + _number(DISPLAY_HEIGHT, height) + extra
