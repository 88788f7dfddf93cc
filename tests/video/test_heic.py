"""HEIC as phones write it, in tiles: a grid made here by hand of tiles that libheif coded."""

import io
import sys
from struct import pack

import numpy as np
import pytest
from PIL import Image

from jaxvsr.errors import UsageError
from jaxvsr.video.images import header_size, read_picture, write_image

Y, X = np.mgrid[:128, :128]
RAMP = np.stack([2 * X, 2 * Y, 90 + 0 * X], -1).astype(np.uint8)
SIDE = 64


def box(name: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return pack(">I", 8 + len(content)) + name + content


def full(name: bytes, *parts: bytes, version=0, flags=0) -> bytes:
    return box(name, pack(">I", version << 24 | flags), *parts)


def coded(tile: np.ndarray) -> tuple[bytes, bytes]:
    """(the box of the decoder's settings, the bytes of the picture)."""
    out = io.BytesIO()
    Image.fromarray(tile).save(out, "HEIF", quality=95, chroma=420)
    data, found = out.getvalue(), []
    for name in (b"hvcC", b"mdat"):
        start = data.index(name) - 4
        found.append(data[start : start + int.from_bytes(data[start : start + 4])])
    return found[0], found[1][8:]


def grid(tiles: list, width: int, height: int, more: bytes = b"") -> bytes:
    """A file of 2 x 2 tiles shown as one picture; `more` is a box about the whole of it."""
    count = len(tiles)
    items = [pack(">HH", i + 1, 0) + b"hvc1\0" for i in range(count)]
    items.append(pack(">HH", count + 1, 0) + b"grid\0")
    entries = [full(b"infe", item, version=2, flags=item[4:8] == b"hvc1") for item in items]
    parts = b"".join(pack(">H", i + 1) for i in range(count))
    sizes = [full(b"ispe", pack(">II", *size)) for size in ((SIDE, SIDE), (width, height))]
    own = pack(">HBB", count + 1, 1, 3) if not more else pack(">HB2B", count + 1, 2, 3, 0x84)
    meant = [pack(">HB2B", i + 1, 2, 0x81, 2) for i in range(count)] + [own]
    data = [tile[1] for tile in tiles] + [pack(">4B2H", 0, 0, 1, 1, width, height)]

    def meta(place: int) -> bytes:
        where = b""
        for i, part in enumerate(data):
            where += pack(">HHHII", i + 1, 0, 1, place, len(part))
            place += len(part)
        return full(
            b"meta",
            full(b"hdlr", bytes(4) + b"pict" + bytes(13)),
            full(b"pitm", pack(">H", count + 1)),
            full(b"iinf", pack(">H", len(entries)), *entries),
            full(b"iref", box(b"dimg", pack(">HH", count + 1, count), parts)),
            box(
                b"iprp",
                box(b"ipco", tiles[0][0], *sizes, more),
                full(b"ipma", pack(">I", len(meant)), *meant),
            ),
            full(b"iloc", b"\x44\0" + pack(">H", len(data)), where),
        )

    kind = box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")
    return kind + meta(len(kind) + len(meta(0)) + 8) + box(b"mdat", *data)


def test_tiles_are_joined_and_turned(tmp_path):
    write_image(tmp_path / "any.heic", RAMP)  # makes HEIC known to Pillow
    tiles = [coded(RAMP[y : y + SIDE, x : x + SIDE]) for y in (0, SIDE) for x in (0, SIDE)]
    shown = RAMP[:100, :120]
    for more, truth in ((b"", shown), (box(b"irot", b"\3"), np.rot90(shown, 3))):
        (tmp_path / "x.heic").write_bytes(grid(tiles, 120, 100, more))
        picture = read_picture(tmp_path / "x.heic")
        assert picture.pixels.shape == truth.shape == (*header_size(tmp_path / "x.heic"), 3)
        assert np.abs(picture.pixels.astype(int) - truth).mean() < 3 and not picture.said


def test_without_its_library_the_remedy_is_told(tmp_path, monkeypatch):
    write_image(tmp_path / "x.heic", RAMP)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UsageError, match="pip install pillow-heif"):
        write_image(tmp_path / "y.heic", RAMP)
