"""Every kind of picture is read as what it shows, or refused in one line."""

import struct

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from jaxvsr.errors import InputError, UsageError
from jaxvsr.video import png, priority
from jaxvsr.video.formats import FORMATS
from jaxvsr.video.holding import PictureFile, plan
from jaxvsr.video.images import (
    header_size,
    page_numbers,
    read_image,
    read_picture,
    write_image,
)

Y, X = np.mgrid[:24, :32]
RAMP = np.stack([8 * X, 10 * Y, 90 + 0 * X], -1).astype(np.uint8)
DEEP = RAMP.astype(np.uint16) * 257 + 3 * X[..., None].astype(np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def saved(path, image, **options):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def profile_of(space: bytes) -> bytes:
    return SRGB[:16] + space + SRGB[20:]


LOSSLESS = [".tga", ".bmp", ".ppm", ".pnm", ".qoi", ".jp2", ".webp", ".tif", ".apng"]


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_formats_give_back_every_value(suffix, tmp_path):
    write_image(tmp_path / f"x{suffix}", RAMP)
    picture = read_picture(tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(picture.pixels, RAMP)
    assert header_size(tmp_path / f"x{suffix}") == (24, 32) and not picture.said


@pytest.mark.parametrize("suffix", [".avif", ".heic", ".jpg"])
def test_formats_that_lose_a_little(suffix, tmp_path):
    write_image(tmp_path / f"x{suffix}", RAMP)
    assert np.abs(read_image(tmp_path / f"x{suffix}")[0].astype(int) - RAMP).max() < 16


@pytest.mark.parametrize("suffix", sorted(s for s in FORMATS if s not in (".ppm",)))
def test_grey_stays_grey(suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    write_image(path, RAMP[..., :1])
    rgb, _ = read_image(path)
    assert np.ptp(rgb, axis=-1).max() == 0
    assert np.abs(rgb[..., 0].astype(int) - RAMP[..., 0]).max() < 12
    with Image.open(path) as image:
        assert image.mode in ("L", "P") or "L" not in FORMATS[suffix].models or "avif" in suffix


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm", ".jp2"])
def test_deep_grey_keeps_its_sixteen_bits(suffix, tmp_path):
    write_image(tmp_path / f"x{suffix}", DEEP[..., :1])
    np.testing.assert_array_equal(read_picture(tmp_path / f"x{suffix}").pixels, DEEP[..., :1])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_with_alpha(suffix, channels, tmp_path):
    write_image(tmp_path / f"x{suffix}", DEEP[..., :channels], DEEP[..., 1])
    rgb, alpha = read_image(tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(rgb, np.broadcast_to(DEEP[..., :channels], DEEP.shape))
    np.testing.assert_array_equal(alpha, DEEP[..., 1])


def test_sixteen_bits_of_netpbm(tmp_path):
    write_image(tmp_path / "x.ppm", DEEP)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.ppm").pixels, DEEP)
    content = b"P5\n32 24\n4095\n" + (DEEP[..., 0] >> 4).astype(">u2").tobytes()
    (tmp_path / "twelve.pgm").write_bytes(content)
    near = read_picture(tmp_path / "twelve.pgm").pixels[..., 0].astype(int)
    assert np.abs(near - DEEP[..., 0]).max() <= 16


def test_fewer_bits_are_said(tmp_path):
    assert "16 bits become 8" in plan(tmp_path / "x.webp", DEEP).said[0]
    assert not plan(tmp_path / "x.png", DEEP).said


def test_deep_heic_is_read_deep(tmp_path):
    from pillow_heif import from_bytes

    from_bytes("RGB;16", (32, 24), DEEP.tobytes()).save(tmp_path / "x.heic", quality=95)
    pixels = read_picture(tmp_path / "x.heic").pixels
    assert pixels.dtype == np.uint16 and np.abs(pixels.astype(int) - DEEP).max() < 2500


def test_one_bit_and_palettes_are_said(tmp_path):
    bits = RAMP[..., 0] > 99
    picture = read_picture(saved(tmp_path / "x.tif", bits, compression="group4"))
    np.testing.assert_array_equal(picture.pixels[..., 0], 255 * bits)
    assert picture.said == ["1 bit becomes grey of 8 bits"]
    few = Image.fromarray(RAMP).quantize(16)
    picture = read_picture(saved(tmp_path / "p.tif", few))
    np.testing.assert_array_equal(picture.pixels, np.asarray(few.convert("RGB")))
    assert picture.said == ["the palette becomes RGB"]
    picture = read_picture(saved(tmp_path / "g.gif", RAMP[..., 0]))
    np.testing.assert_array_equal(picture.pixels, RAMP[..., :1])


def test_a_colour_that_stands_for_clear_is_alpha(tmp_path):
    for image, clear in ((RAMP, tuple(int(v) for v in RAMP[3, 4])), (RAMP[..., 0], 32)):
        _, alpha = read_image(saved(tmp_path / "x.png", image, transparency=clear))
        assert alpha[3, 4] == 0 and alpha[5, 9] == 255
    deep = saved(tmp_path / "y.png", DEEP[..., 0]).read_bytes()
    told = png.chunk(b"tRNS", struct.pack(">H", int(DEEP[0, 4, 0])))
    (tmp_path / "y.png").write_bytes(deep[:33] + told + deep[33:])
    picture = read_picture(tmp_path / "y.png")
    assert picture.alpha[0, 4] == 0 and picture.alpha[0, 5] == 65535


def test_cmyk_becomes_srgb_by_its_profile_or_plainly_and_is_said(tmp_path):
    inks = Image.fromarray(RAMP).convert("CMYK")
    for name in ("x.jpg", "x.tif"):
        picture = read_picture(saved(tmp_path / name, inks, icc_profile=profile_of(b"CMYK")))
        assert np.abs(picture.pixels.astype(int) - RAMP).max() < 12
        assert "CMYK becomes RGB" in picture.said[0] and "icc_profile" not in picture.tags


def test_lab_is_converted(tmp_path):
    to_lab = ImageCms.buildTransform(SRGB_PROFILE, LAB_PROFILE, "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.fromarray(RAMP), to_lab)
    picture = read_picture(saved(tmp_path / "x.tif", lab))
    assert np.abs(picture.pixels.astype(int) - RAMP).mean() < 3  # 8 bits of Lab are coarse
    assert "LAB becomes RGB" in picture.said[0]


SRGB_PROFILE, LAB_PROFILE = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")


def test_profiles_fit_the_pixels(tmp_path):
    grey, rgb = profile_of(b"GRAY"), SRGB
    kept = read_picture(saved(tmp_path / "g.png", RAMP[..., 0], icc_profile=grey))
    assert kept.tags["icc_profile"] == grey and not kept.said
    for image, profile in ((RAMP[..., 0], rgb), (RAMP, grey)):
        other = read_picture(saved(tmp_path / "o.png", image, icc_profile=profile))
        assert "icc_profile" not in other.tags and "does not fit" in other.said[0]
    how = plan(tmp_path / "x.webp", kept.pixels, None, kept.tags)
    assert how.profile == grey and "icc_profile" not in how.tags
    wide = plan(tmp_path / "x.webp", RAMP, None, {"icc_profile": rgb})
    assert wide.tags["icc_profile"] == rgb and not wide.said


def test_colours_are_converted_where_the_profile_cannot_go(tmp_path):
    swapped = bytearray(SRGB)
    red, blue = (SRGB.index(name, 128) + 4 for name in (b"rXYZ", b"bXYZ"))
    swapped[red : red + 8], swapped[blue : blue + 8] = SRGB[blue : blue + 8], SRGB[red : red + 8]
    write_image(tmp_path / "x.bmp", RAMP, None, {"icc_profile": bytes(swapped)})
    back = read_image(tmp_path / "x.bmp")[0].astype(int)
    assert np.abs(back - RAMP[..., ::-1]).max() < 8


def _raw_tiff(path, array, **tags):
    """A TIFF of one strip, by hand: `tags` by number, such as t262=0."""
    height, width = array.shape[:2]
    channels = array.shape[2] if array.ndim == 3 else 1
    found = {256: width, 257: height, 259: 1, 262: 2 if channels == 3 else 1, 277: channels}
    found |= {258: 8 * array.itemsize, 278: height, 279: array.nbytes, 273: 0}
    found |= {int(name[1:]): value for name, value in tags.items()}
    end = 8 + 2 + 12 * len(found) + 4
    bits = struct.pack("<3H", *[found[258]] * 3) if channels == 3 else b""
    entries = b""
    for tag, value in sorted(found.items()):
        count, value = (3, end) if tag == 258 and bits else (1, value)
        kind = 3 if tag in (258, 259, 262, 277, 339) else 4
        entries += struct.pack("<2HII", tag, kind, count, end + len(bits) if tag == 273 else value)
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(found)) + entries + bytes(4)
    path.write_bytes(head + bits + array.tobytes())
    return path


def test_tiff_of_floats_and_other_numbers(tmp_path):
    unit = (RAMP / 255).astype(np.float32)
    picture = read_picture(_raw_tiff(tmp_path / "f.tif", unit, t339=3))
    np.testing.assert_array_equal(picture.pixels, np.round(unit * np.float32(65535)))
    assert picture.said[0] == "floats become 16 bits"
    for name, array, kind, why in (
        ("beyond", unit * 3, 3, "floats outside of 0 to 1"),
        ("half", unit.astype(np.float16), 3, "floats of 16 bits"),
        ("whole", DEEP[..., 0].astype(np.uint32) << 12, 1, "integers beyond 16 bits"),
    ):
        with pytest.raises(InputError, match=why):
            read_picture(_raw_tiff(tmp_path / f"{name}.tif", array, t339=kind))


def test_tiff_in_which_white_is_zero(tmp_path):
    for array, top in ((RAMP[..., 0], 255), (DEEP[..., 0], 65535)):
        picture = read_picture(_raw_tiff(tmp_path / "x.tif", np.ascontiguousarray(array), t262=0))
        np.testing.assert_array_equal(picture.pixels[..., 0], top - array)


def test_pages_of_a_tiff(tmp_path):
    path = tmp_path / "x.tif"
    book = PictureFile(path)
    pages = [DEEP, DEEP[::-1].copy(), RAMP[:7], RAMP[..., :1]]
    for pixels in pages:
        book.write(pixels, None, {"dpi": (300, 300)})
    assert page_numbers(path) == [0, 1, 2, 3]
    for page, pixels in enumerate(pages):
        picture = read_picture(path, page)
        np.testing.assert_array_equal(picture.pixels, pixels)
        assert picture.tags["dpi"] == (300, 300)


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no colour"):
        write_image(tmp_path / "x.pgm", RAMP)
    half = np.full(RAMP.shape[:2], 128, np.uint8)
    with pytest.raises(UsageError, match=r"--drop"):
        write_image(tmp_path / "x.jpg", RAMP, half)
    write_image(tmp_path / "x.bmp", RAMP, half, drop=True)
    np.testing.assert_allclose(read_image(tmp_path / "x.bmp")[0], RAMP * 0.5 + 127.5, atol=1)
    assert "half transparency" in plan(tmp_path / "x.gif", RAMP, half).said[0]


def test_ten_bits_of_avif_are_said(tmp_path):
    with av.open(str(tmp_path / "x.avif"), "w", format="avif") as file:
        stream = file.add_stream("libsvtav1", rate=1, options={"preset": "10"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p10le"
        with priority.ordinary():
            file.start_encoding()
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), format="rgb24")
        file.mux([*stream.encode(frame.reformat(format="yuv420p10le")), *stream.encode(None)])
    assert read_picture(tmp_path / "x.avif").said[0] == "10 bits become 8"
