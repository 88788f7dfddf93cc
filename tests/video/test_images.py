"""Pictures come back as they were written, upright, at their depth, with their alpha."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from jaxvsr.errors import InputError, OutputError, UsageError
from jaxvsr.video.images import read_image, read_picture, write_image

RNG = np.random.default_rng(0)


def noise(kind, *shape):
    return RNG.integers(0, np.iinfo(kind).max, shape, endpoint=True).astype(kind)


@pytest.mark.parametrize("with_alpha", [False, True])
@pytest.mark.parametrize(
    "suffix, kind",
    [(".png", "u1"), (".png", "u2"), (".tif", "u1"), (".tiff", "u2"), (".webp", "u1")],
)
def test_lossless_formats_keep_every_value(tmp_path, suffix, kind, with_alpha):
    rgb = noise(np.dtype(kind), 7, 9, 3)
    alpha = noise(np.dtype(kind), 7, 9) if with_alpha else None
    if with_alpha and suffix == ".webp":
        alpha = np.maximum(alpha, 1)  # libwebp clears colours nobody can see
    write_image(tmp_path / f"x{suffix}", rgb, alpha)
    back, back_alpha = read_image(tmp_path / f"x{suffix}")
    assert back.dtype == rgb.dtype
    np.testing.assert_array_equal(back, rgb)
    np.testing.assert_array_equal(back_alpha, alpha)


def test_bmp_keeps_colours_and_needs_no_opaque_alpha(tmp_path):
    rgb = noise(np.uint8, 5, 6, 3)
    write_image(tmp_path / "x.bmp", rgb, np.full((5, 6), 255, np.uint8))
    back, alpha = read_image(tmp_path / "x.bmp")
    np.testing.assert_array_equal(back, rgb)
    assert alpha is None


def test_jpeg_is_close(tmp_path):
    y, x = np.mgrid[:32, :48]
    rgb = np.stack([4 * x, 7 * y, 128 + 0 * x], -1).astype(np.uint8)
    write_image(tmp_path / "x.jpg", rgb)
    assert np.abs(read_image(tmp_path / "x.jpg")[0].astype(int) - rgb).max() < 12


def test_sixteen_bits_round_where_the_format_has_eight(tmp_path):
    rgb = noise(np.uint16, 4, 4, 3)
    write_image(tmp_path / "x.bmp", rgb)
    np.testing.assert_array_equal(read_image(tmp_path / "x.bmp")[0], np.round(rgb / 257))


def test_floats_are_written_as_bytes(tmp_path):
    write_image(tmp_path / "x.png", np.array([[[-1.0, 0.5, 2.0]]]))
    np.testing.assert_array_equal(read_image(tmp_path / "x.png")[0], [[[0, 128, 255]]])


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_upright_by_exif(tmp_path, turn, kind):
    """Pillow's own transposition of the same bytes is the truth for 8 bits, and for 16."""
    rgb, path = noise(kind, 4, 6, 3), tmp_path / "x.png"
    write_image(path, rgb)
    data, exif = path.read_bytes(), Image.Exif()
    exif[0x0112] = turn
    with Image.open(path) as image:
        small = np.asarray(image)
        marked = Image.fromarray(small)
        marked.save(tmp_path / "marked.png", exif=exif)
    tagged = (tmp_path / "marked.png").read_bytes()
    start = tagged.index(b"eXIf") - 4
    chunk = tagged[start : start + 12 + int.from_bytes(tagged[start : start + 4], "big")]
    path.write_bytes(data[:33] + chunk + data[33:])
    with Image.open(tmp_path / "marked.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    back = read_image(path)[0]
    assert back.dtype == kind
    np.testing.assert_array_equal(back if kind == np.uint8 else back >> 8, expected)


def test_palette_transparency_is_alpha(tmp_path):
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "x.png", transparency=0)
    rgb, alpha = read_image(tmp_path / "x.png")
    np.testing.assert_array_equal(rgb[1, 1], [10, 20, 30])
    np.testing.assert_array_equal(alpha, [[0, 255, 255], [255, 255, 255]])


def test_grey_sixteen_bits_become_three_equal_channels(tmp_path):
    grey = noise(np.uint16, 5, 4)
    Image.fromarray(grey).save(tmp_path / "x.png")
    back, alpha = read_image(tmp_path / "x.png")
    np.testing.assert_array_equal(back, np.repeat(grey[..., None], 3, -1))
    assert alpha is None


def test_errors_name_the_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(InputError, match=r"text\.png"):
        read_image(tmp_path / "text.png")
    write_image(tmp_path / "cut.png", noise(np.uint8, 40, 40, 3))
    cut = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(cut[: len(cut) // 2])
    with pytest.raises(InputError, match=r"cut\.png"):
        read_image(tmp_path / "cut.png")
    with pytest.raises(UsageError, match=r"\.png"):
        write_image(tmp_path / "x.gifv", noise(np.uint8, 2, 2, 3))
    with pytest.raises(OutputError, match="x"):
        write_image(tmp_path / "no" / "x.png", noise(np.uint8, 2, 2, 3))


def test_colour_profile_and_exif_are_kept_without_the_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    rgb = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png", exif=exif, icc_profile=b"profile")
    upright, _ = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(upright, np.rot90(rgb, -1))
    write_image(tmp_path / "b.png", upright, None, read_picture(tmp_path / "a.png").tags)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png")[0], upright)
    with Image.open(tmp_path / "b.png") as file:
        assert file.getexif()[0x010F] == "maker" and file.info["icc_profile"] == b"profile"


def test_transparency_that_would_be_lost_is_refused(tmp_path):
    rgb, alpha = np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 255, np.uint8)
    write_image(tmp_path / "a.jpg", rgb, alpha)  # opaque: nothing to lose
    with pytest.raises(UsageError, match="transparency"):
        write_image(tmp_path / "b.jpg", rgb, alpha // 2)
