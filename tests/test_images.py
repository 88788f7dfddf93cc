"""What is kept of a picture that is read and written."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxvsr.errors import InputError, OutputError
from jaxvsr.video.images import read_image, write_image

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (7, 9, 3), np.uint8)
ALPHA = RNG.integers(0, 256, (7, 9), np.uint8)


@pytest.mark.parametrize("kind", [".png", ".webp", ".tif", ".bmp"])
def test_lossless_formats_keep_every_code(tmp_path, kind):
    write_image(tmp_path / f"a{kind}", RGB)
    picture = read_image(tmp_path / f"a{kind}")
    np.testing.assert_array_equal(picture.rgb, RGB)
    assert picture.alpha is None


@pytest.mark.parametrize("kind", [".png", ".webp", ".tif"])
def test_transparency_is_kept(tmp_path, kind):
    write_image(tmp_path / f"a{kind}", RGB, np.maximum(ALPHA, 1))
    picture = read_image(tmp_path / f"a{kind}")
    np.testing.assert_array_equal(picture.alpha, np.maximum(ALPHA, 1))
    np.testing.assert_array_equal(picture.rgb, RGB)


@pytest.mark.parametrize("transparent", [False, True])
def test_sixteen_bits_are_kept(tmp_path, transparent):
    rgb = RNG.integers(0, 65536, (5, 6, 3), np.uint16)
    alpha = RNG.integers(0, 65536, (5, 6), np.uint16) if transparent else None
    write_image(tmp_path / "a.png", rgb, alpha)
    picture = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.rgb, rgb)
    if transparent:
        np.testing.assert_array_equal(picture.alpha, alpha)


def test_sixteen_bit_grey_becomes_rgb(tmp_path):
    grey = RNG.integers(0, 65536, (5, 6), np.uint16)
    Image.fromarray(grey).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").rgb, np.stack([grey] * 3, -1))


def test_exif_orientation_is_applied_once(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    picture = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.rgb, np.rot90(RGB, -1))
    write_image(tmp_path / "b.png", picture.rgb, None, picture.tags)
    again = read_image(tmp_path / "b.png")
    np.testing.assert_array_equal(again.rgb, picture.rgb)
    with Image.open(tmp_path / "b.png") as file:
        assert file.getexif()[0x010F] == "maker"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bits_are_turned_as_eight_are(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / "8.png", exif=exif)
    with Image.open(tmp_path / "8.png") as file:
        head = exif.tobytes()
        assert file.info["exif"].endswith(head[6:])
    write_image(tmp_path / "16.png", RGB.astype(np.uint16) * 257)
    chunks = (tmp_path / "16.png").read_bytes()
    tag = b"eXIf" + head[6:]
    chunk = struct.pack(">I", len(tag) - 4) + tag + struct.pack(">I", zlib.crc32(tag))
    (tmp_path / "16.png").write_bytes(chunks[:33] + chunk + chunks[33:])  # after the header
    deep, plain = read_image(tmp_path / "16.png"), read_image(tmp_path / "8.png")
    np.testing.assert_array_equal(deep.rgb, plain.rgb.astype(np.uint16) * 257)


def test_colour_profile_is_kept(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png", icc_profile=b"profile")
    write_image(tmp_path / "b.jpg", RGB, None, read_image(tmp_path / "a.png").tags)
    with Image.open(tmp_path / "b.jpg") as file:
        assert file.info["icc_profile"] == b"profile"


def test_palettes_and_grey_become_rgb(tmp_path):
    Image.fromarray(RGB).convert("P").save(tmp_path / "p.png")
    Image.fromarray(RGB[..., 0]).save(tmp_path / "l.png")
    expected = np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "p.png").rgb, expected)
    np.testing.assert_array_equal(read_image(tmp_path / "l.png").rgb[..., 1], RGB[..., 0])


def test_what_is_no_picture_is_named(tmp_path):
    for name, content in (("a.png", b"no"), ("b.jpg", b""), ("c.webp", b"RIFF\0\0")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: not a readable picture"):
            read_image(tmp_path / name)


def test_transparency_that_would_be_lost_is_refused(tmp_path):
    with pytest.raises(OutputError, match="transparency"):
        write_image(tmp_path / "a.jpg", RGB, ALPHA)
    write_image(tmp_path / "b.jpg", RGB, np.full_like(ALPHA, 255))  # nothing to lose
