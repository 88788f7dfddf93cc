"""Pictures and animations through `enhance`, `compare` and `degrade`: nothing is lost unsaid."""

import av
import numpy as np
import pytest
import toys
from PIL import Image, ImageDraw

import jaxvsr
from jaxvsr import weights
from jaxvsr.comparison.sources import Film, Pictures, open_source
from jaxvsr.degradation.anything import degrade_path, suffix_for
from jaxvsr.degradation.recipe import Recipe
from jaxvsr.errors import OutputError, UsageError
from jaxvsr.inference.enhance import enhance_path
from jaxvsr.inference.settings import Settings
from jaxvsr.inference.stills import enlarged
from jaxvsr.video import animating
from jaxvsr.video.animation import AnimationReader
from jaxvsr.video.images import read_picture
from jaxvsr.video.transparency import filled

ASKED, DROP = Settings(overwrite=True), Settings(drop=True)
NET, SMOOTH = toys.still(), weights.load("bicubic")
Y, X = np.mgrid[:16, :24]
RAMP = np.stack([10 * X, 15 * Y, 90 + 0 * X], -1).astype(np.uint8)


def disc(index: int = 0, ground: int = 0) -> Image.Image:
    image = Image.new("RGBA", (24, 16), (0, 0, 0, ground))
    ImageDraw.Draw(image).ellipse((2 + 3 * index, 2, 12 + 3 * index, 12), fill=(255, 250, 250, 255))
    return image


def moving(path, ground=255, **options):
    first, *rest = (disc(i, ground) for i in range(3))
    if ground == 255:
        first, *rest = (image.convert("RGB") for image in (first, *rest))
    first.save(path, save_all=True, append_images=rest, duration=[50, 200, 80], **options)
    return path


def run(source, output=None, settings=ASKED, net=NET):
    return enhance_path(net, source, output, settings)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "pa.png", "la.tif"])
def test_no_fringe_shows_at_a_transparent_edge(name, tmp_path):
    image = disc()
    if name == "pa.png":
        image = image.quantize(4)
    if name == "la.tif":
        image = image.convert("LA")
    options = {"lossless": True} if name.endswith("webp") else {}
    image.save(tmp_path / name, **options)
    result = run(tmp_path / name, None, Settings(scale=2), SMOOTH)
    picture = read_picture(result.output)
    edge = (picture.alpha > 16) & (picture.alpha < 240)
    assert edge.any() and picture.pixels[edge].min() > 245


def test_colours_are_filled_in_only_where_they_are_hidden():
    rng = np.random.default_rng(0)
    rgb, alpha = rng.integers(0, 256, (9, 13, 3), np.uint8), np.full((9, 13), 128, np.uint8)
    np.testing.assert_array_equal(filled(rgb, alpha), rgb)
    np.testing.assert_array_equal(filled(rgb, 0 * alpha), rgb)
    alpha[:, 5:] = 0
    rgb[:, :5] = (10, 200, 30)
    np.testing.assert_array_equal(filled(rgb, alpha), np.broadcast_to((10, 200, 30), rgb.shape))


def test_grey_stays_grey_whatever_the_network_makes_of_it():
    tint = lambda frames: frames * np.float32([1.0, 0.8, 0.6])
    for channels in (1, 3):
        grey = np.repeat(RAMP[..., :1], channels, axis=-1)
        better, _ = enlarged(grey, None, tint)
        assert better.shape == grey.shape and np.ptp(better, axis=-1).max() == 0


def test_pages_of_a_tiff_are_all_enhanced(tmp_path):
    pages = [Image.fromarray(RAMP), Image.fromarray(RAMP[:8])]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    result = run(tmp_path / "a.tif")
    assert result.frames == 2
    with Image.open(result.output) as image:
        sizes = [image.seek(i) or image.size for i in range(image.n_frames)]
    assert sizes == [(48, 32), (48, 16)]
    with pytest.raises(UsageError, match=r"2 pages.*--drop"):
        run(tmp_path / "a.tif", tmp_path / "b.png")
    assert "the first is taken" in run(tmp_path / "a.tif", tmp_path / "b.png", DROP).notices[-1]


def test_what_is_converted_is_said(tmp_path):
    Image.fromarray(RAMP).convert("CMYK").save(tmp_path / "a.jpg", comment=b"hello")
    notices = run(tmp_path / "a.jpg", tmp_path / "b.webp").notices
    assert "CMYK becomes RGB" in notices[0] and notices[1].endswith("the comment")


def test_pictures_that_cannot_be_written_become_png(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.pcx")
    assert run(tmp_path / "a.pcx").output.name == "a_x2.png"


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif"])
def test_an_animation_stays_one(suffix, tmp_path):
    result = run(moving(tmp_path / f"a{suffix}"))
    assert result.output.name == f"a_x2{suffix}" and result.frames == 3
    with AnimationReader(result.output) as reader:
        assert [length for _, length in reader.info.shown] == [4500, 18000, 7200]
        assert (reader.info.width, reader.info.height) == (48, 32)


def test_an_animation_becomes_a_video_with_its_times(tmp_path):
    result = run(moving(tmp_path / "a.webp"), tmp_path / "b.mp4")
    with av.open(str(result.output)) as file:
        stream = file.streams.video[0]
        times = [float(frame.pts * stream.time_base) for frame in file.decode(stream)]
        length = float(stream.duration * stream.time_base)
    np.testing.assert_allclose(times, [0, 0.05, 0.25], atol=1e-3)
    assert abs(length - 0.33) < 2e-3
    assert any("for ever" in text for text in result.notices)


def test_clear_animations(tmp_path):
    source = moving(tmp_path / "a.webp", 0, lossless=True)
    with AnimationReader(
        run(source, tmp_path / "b.png", Settings(scale=2), SMOOTH).output
    ) as reader:
        frame = next(iter(reader))
        edge = (frame.alpha > 16) & (frame.alpha < 240)
        assert edge.any() and min(p[edge].min() for p in frame.planes) > 240
    with pytest.raises(UsageError, match=r"cannot hold transparency.*--drop"):
        run(source, tmp_path / "b.mp4")
    assert "transparency is laid on white" in run(source, tmp_path / "b.mp4", DROP).notices
    assert run(source, tmp_path / "b.gif").notices == ("GIF has 256 colours a frame",)


def test_frames_of_an_animation_as_numbered_pictures(tmp_path):
    source = moving(tmp_path / "a.webp", 0, lossless=True)
    for suffix in (".png", ".webp"):
        run(source, tmp_path / f"f%02d{suffix}")
        with Image.open(tmp_path / f"f03{suffix}") as image:
            assert (image.mode, image.format) == ("RGBA", suffix[1:].upper())


def test_numbered_pictures_without_transparency_are_told_before_the_work(tmp_path):
    source = moving(tmp_path / "a.webp", 0, lossless=True)
    with pytest.raises(UsageError, match=r"\.jpg cannot hold transparency.*--drop"):
        run(source, tmp_path / "f%02d.jpg")
    assert not list(tmp_path.glob("f*"))
    assert "transparency is laid on white" in run(source, tmp_path / "f%02d.jpg", DROP).notices
    with Image.open(tmp_path / "f03.jpg") as image:
        assert (image.mode, image.format) == ("RGB", "JPEG")


@pytest.mark.parametrize("name", ["f%02d.png", "b.mkv"])
def test_degrading_lays_transparency_on_white_and_says_so(tmp_path, name):
    source = moving(tmp_path / "a.webp", 0, lossless=True)
    result = degrade_path(source, tmp_path / name, Recipe(codec=None), Settings())
    assert "transparency is laid on white" in result.notices


@pytest.mark.parametrize("suffix", [".gif", ".avif"])
def test_frames_of_an_animation_lose_nothing_on_their_way(tmp_path, monkeypatch, suffix):
    """They are coded in the animation's format once, when it is assembled."""
    assemble, seen = animating.assemble, set()

    def look(folders, *rest):
        seen.update(path.suffix for folder in folders for path in folder.iterdir())
        assemble(folders, *rest)

    monkeypatch.setattr(animating, "assemble", look)
    run(moving(tmp_path / "a.webp", lossless=True), tmp_path / f"b{suffix}")
    assert seen == {".png"}


def test_one_picture_of_an_animation_only_on_request(tmp_path):
    source = moving(tmp_path / "a.gif")
    with pytest.raises(UsageError, match=r"\.jpg holds one picture"):
        run(source, tmp_path / "b.jpg")
    assert run(source, tmp_path / "b.jpg", DROP).frames == 1


def test_a_film_becomes_an_animation_without_its_sound(tmp_path):
    from media import Picture, film

    source = film(tmp_path / "a.mp4", Picture(24, 16, frames=3), sounds=1)
    with pytest.raises(OutputError, match=r"cannot hold audio stream 1"):
        run(source, tmp_path / "b.webp")
    with pytest.raises(UsageError, match="a film is no picture"):
        run(source, tmp_path / "b.png")
    run(source, tmp_path / "b.webp", DROP)
    with AnimationReader(tmp_path / "b.webp") as reader:
        assert reader.info.shown == ((0, 3600), (3600, 3600), (7200, 3600))


def test_an_animation_is_compared_frame_by_frame(tmp_path):
    moving(tmp_path / "a.png")
    run(tmp_path / "a.png", tmp_path / "b.webp")
    source = open_source(tmp_path / "a.png")
    assert isinstance(source, Film) and source.timed
    np.testing.assert_allclose(source.times, [0, 0.05, 0.25])
    assert len(list(source.frames(0, 2))) == 3 and source.damaged == 0
    assert [slot for slot, _ in source.frames(1, 2)] == [1, 2]
    disc(0, 255).convert("RGB").save(tmp_path / "one.gif")
    assert isinstance(open_source(tmp_path / "one.gif"), Pictures)
    scores = jaxvsr.compare(tmp_path / "a.png", moving(tmp_path / "a.webp", lossless=True))
    assert scores.mean("psnr") == float("inf")


def test_degraded_pictures_keep_their_model_and_animations_become_videos(tmp_path):
    Image.fromarray(RAMP[..., 0]).save(tmp_path / "g.png", dpi=(300, 300))
    recipe = Recipe(codec=None, factor=2, downscale="area")
    degrade_path(tmp_path / "g.png", tmp_path / "h.png", recipe, Settings())
    with Image.open(tmp_path / "h.png") as image:
        assert image.mode == "L" and round(image.info["dpi"][0]) == 300
    source = moving(tmp_path / "a.webp")
    assert suffix_for(source, recipe) == ".mkv"
    degrade_path(source, tmp_path / "b.mkv", recipe, Settings())
    with av.open(str(tmp_path / "b.mkv")) as file:
        assert len(list(file.decode(video=0))) == 3
