"""What a picture file says beside its pixels is kept, made true, or named."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from jaxvsr.video import exif, png
from jaxvsr.video.formats import FORMATS
from jaxvsr.video.holding import plan, write_image
from jaxvsr.video.images import read_picture

Y, X = np.mgrid[:24, :32]
RAMP = np.stack([8 * X, 10 * Y, 90 + 0 * X], -1).astype(np.uint8)
LARGE = RAMP.repeat(2, 0).repeat(2, 1)
DEEP = LARGE.astype(np.uint16) * 257
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta tiff:Orientation="6" tiff:ImageWidth="32"><dc:title>Kept</dc:title></x:xmpmeta>'
MAKER, WHEN, DENSITY = 0x010F, 0x9003, 0x011A


def camera() -> Image.Exif:
    """EXIF as a camera writes it, with the layout of an old file in it."""
    told = Image.Exif()
    told[MAKER], told[exif.ORIENTATION] = "maker", 6
    told[256], told[273], told[0xC4A5] = 32, 8, b"print"
    told[exif.EXIF] = {WHEN: "2026:12:01 00:00:00", exif.WIDTH: 32, exif.HEIGHT: 24}
    told[exif.GPS] = {1: "N", 2: (48.0, 8.0, 0.0)}
    return told


def rewritten(source, target, pixels=LARGE):
    """Reads one file and writes its tags with other pixels; what is said of both."""
    picture = read_picture(source)
    said = [*picture.said, *plan(target, pixels, None, picture.tags).said]
    write_image(target, pixels, None, picture.tags)
    return said


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic"])
def test_exif_profile_and_xmp_are_kept_and_tell_the_new_size(suffix, deep, tmp_path):
    source, target = tmp_path / "a.jpg", tmp_path / f"b{suffix}"
    Image.fromarray(RAMP).save(source, exif=camera(), icc_profile=SRGB, xmp=XMP, dpi=(300, 300))
    said = rewritten(source, target, DEEP if deep else LARGE)
    assert "left out: the tags PrintImageMatching" in " ".join(said) or "0xc4a5" in " ".join(said)
    told = read_picture(target).tags
    with Image.open(target) as image:
        found = image.getexif()
        assert found[MAKER] == "maker" and found.get(exif.ORIENTATION, 1) == 1
        assert found.get_ifd(exif.GPS)[1] == "N"
        inside = found.get_ifd(exif.EXIF)
        assert inside[WHEN].startswith("2026") and inside[exif.WIDTH] == LARGE.shape[1]
        if suffix != ".tif":
            assert not {256, 273} & set(found)
    assert told["icc_profile"] == SRGB
    assert b'Orientation="1"' in told["xmp"] and b'ImageWidth="64"' in told["xmp"]
    assert b"Kept" in told["xmp"]
    assert round(told["dpi"][0]) == 300 if "dpi" in told else told["exif"][DENSITY] == 300


def test_a_tiff_says_nothing_of_its_layout_to_others(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.tif", compression="tiff_lzw", tiffinfo={0x013B: "me"})
    assert not rewritten(tmp_path / "a.tif", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert dict(image.getexif()) == {0x013B: "me"}


def test_georeferences_and_other_tags_are_named(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.tif", tiffinfo={33550: (1.0, 1.0, 0.0)})
    (said,) = read_picture(tmp_path / "a.tif").said
    assert "tags" in said and ("33550" in said or "0x830e" in said or "Pixel" in said)


def test_a_thumbnail_in_exif_is_not_carried_on(tmp_path):
    small = io.BytesIO()
    Image.fromarray(RAMP[:8, :8]).save(small, "JPEG")
    told = camera().tobytes()
    head = bytearray(told)
    place = 6 + 8
    order = {b"II": "little", b"MM": "big"}[bytes(head[6:8])]
    number = lambda value, size: value.to_bytes(size, order)
    end = place + 2 + 12 * int.from_bytes(head[place : place + 2], order)
    head[end : end + 4] = number(len(head) - 6, 4)
    pairs = (0x0201, len(head) - 6 + 2 + 24 + 4), (0x0202, len(small.getvalue()))
    entries = [number(t, 2) + number(4, 2) + number(1, 4) + number(v, 4) for t, v in pairs]
    thumbnail = number(2, 2) + b"".join(entries) + bytes(4) + small.getvalue()
    Image.fromarray(RAMP).save(tmp_path / "a.jpg", exif=bytes(head) + thumbnail)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getexif().get_ifd(ExifTags.IFD.IFD1)
    said = rewritten(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert "left out: the thumbnail in its EXIF" in said
    with Image.open(tmp_path / "b.jpg") as image:
        assert not image.getexif().get_ifd(ExifTags.IFD.IFD1) and image.getexif()[MAKER] == "maker"


def test_damaged_exif_does_not_cost_the_picture(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\1")
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.pixels.shape == RAMP.shape


def test_texts_and_comments(tmp_path):
    told = {"text": {"parameters": "steps: 20", "Titel": "Größe 水"}}
    for pixels in (RAMP, DEEP):
        write_image(tmp_path / "a.png", pixels, None, told)
        assert read_picture(tmp_path / "a.png").tags["text"] == told["text"]
    said = rewritten(tmp_path / "a.png", tmp_path / "b.jpg")
    assert said == ["left out, since .jpg cannot hold it: text (parameters, Titel)"]
    for name in ("c.jpg", "c.gif"):
        Image.fromarray(RAMP).save(tmp_path / name, comment=b"hello")
        assert read_picture(tmp_path / name).tags["comment"] == b"hello"
        rewritten(tmp_path / name, tmp_path / "d.png")
        assert read_picture(tmp_path / "d.png").tags["text"] == {"Comment": "hello"}
        rewritten(tmp_path / "d.png", tmp_path / f"e{name}")
        assert read_picture(tmp_path / f"e{name}").tags["comment"] == b"hello"


def test_iptc_is_kept_between_jpeg_and_tiff(tmp_path):
    record = b"\x1c\x02\x78\x00\x05hello"
    write_image(tmp_path / "a.jpg", RAMP, None, {"iptc": record})
    rewritten(tmp_path / "a.jpg", tmp_path / "b.tif")
    rewritten(tmp_path / "b.tif", tmp_path / "c.jpg")
    assert read_picture(tmp_path / "c.jpg").tags["iptc"] == record
    assert plan(tmp_path / "x.png", RAMP, None, {"iptc": record}).said[0].endswith("IPTC")


def test_chunks_about_colour_stay_in_png_and_are_named_elsewhere(tmp_path):
    signals = [(b"gAMA", (100_000).to_bytes(4)), (b"cICP", b"\x09\x10\0\1")]
    for pixels in (RAMP, DEEP):
        write_image(tmp_path / "a.png", pixels, None, {"signals": signals})
        assert read_picture(tmp_path / "a.png").tags["signals"] == signals
    assert rewritten(tmp_path / "a.png", tmp_path / "b.jpg")[-1].endswith("it: gAMA, cICP")
    usual = {"signals": [(b"gAMA", (45455).to_bytes(4))]}
    assert not plan(tmp_path / "x.jpg", RAMP, None, usual).said


def test_the_shape_of_pixels_stays_in_png(tmp_path):
    write_image(tmp_path / "a.png", RAMP)
    data = (tmp_path / "a.png").read_bytes()
    shape = b"\0\0\0\2\0\0\0\1\0"
    (tmp_path / "a.png").write_bytes(data[:33] + png.chunk(b"pHYs", shape) + data[33:])
    assert read_picture(tmp_path / "a.png").tags == {"signals": [(b"pHYs", shape)]}


def test_further_pictures_in_a_file_are_named(tmp_path):
    first, other = (Image.fromarray(RAMP[top:]) for top in (0, 12))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[other])
    assert "1 further pictures" in read_picture(tmp_path / "a.jpg").said[0]
    gain = b'<x:xmpmeta hdrgm:Version="1.0"/>'
    first.save(tmp_path / "b.jpg", xmp=gain)
    picture = read_picture(tmp_path / "b.jpg")
    assert "xmp" not in picture.tags and "other pictures" in picture.said[0]


def test_colours_told_by_numbers_alone_are_named(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.avif")
    data = (tmp_path / "a.avif").read_bytes()
    place = data.index(b"colrnclx") + 8
    changed = data[:place] + b"\0\x09\0\x10" + data[place + 4 :]
    (tmp_path / "a.avif").write_bytes(changed)
    assert "BT.2020 and PQ" in read_picture(tmp_path / "a.avif").said[0]


def test_what_each_format_leaves_out_is_named(tmp_path):
    everything = {
        "icc_profile": SRGB,
        "exif": {MAKER: "maker"},
        "xmp": b"<x/>",
        "dpi": (300, 300),
        "text": {"parameters": "x"},
        "comment": b"hello",
        "iptc": b"\x1c",
    }
    for suffix, what in FORMATS.items():
        grey = "RGB" not in what.models
        told = plan(tmp_path / f"x{suffix}", RAMP[..., :1] if grey else RAMP, None, everything)
        lost = everything.keys() - told.tags.keys()
        assert len(told.said) == len(lost) - ("exif" in what.tags and "dpi" not in what.tags)
