"""Pictures that move are read frame by frame, and written so, with their times."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import GifImagePlugin, Image, ImageDraw

from jaxvsr.errors import InputError
from jaxvsr.video import animating
from jaxvsr.video.animation import RATE, AnimationReader, is_animation
from jaxvsr.video.gif import GifWriter
from jaxvsr.video.opening import open_film
from jaxvsr.video.reader import VideoReader
from jaxvsr.video.sequence import PictureWriter

TIMES = (50, 100, 30, 400)  # ms
SUFFIXES = (".gif", ".webp", ".png", ".avif")


def ball(index: int, ground: int) -> Image.Image:
    """A disc that moves, on black of an alpha."""
    image = Image.new("RGBA", (48, 32), (0, 0, 0, ground))
    place = 4 + 6 * index
    ImageDraw.Draw(image).ellipse((place, 8, place + 16, 24), fill=(255, 200 - 40 * index, 40, 255))
    return image


def moving(path, ground=255, times=TIMES, **options):
    first, *rest = (ball(i, ground) for i in range(len(times)))
    if ground == 255:
        first, *rest = (image.convert("RGB") for image in (first, *rest))
    if path.suffix in (".webp",):
        options["lossless"] = True
    first.save(path, save_all=True, append_images=rest, duration=list(times), **options)
    return path


def frames(path):
    with AnimationReader(path) as reader:
        return reader.info, list(reader), reader.damaged


def written(source, target, tmp_path):
    """The frames of a file written into another, as enhancement does it."""
    info, shown, _ = frames(source)
    writer = PictureWriter(tmp_path / f"parts{target.suffix}", info.colour)
    for frame in shown:
        clear = () if frame.alpha is None else (frame.alpha,)
        writer.write((*frame.planes, *clear))
    animating.assemble([writer.folder], [(f.pts, f.duration) for f in shown], info, target)
    return frames(target)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frames_are_read_with_their_times(suffix, tmp_path):
    info, shown, damaged = frames(moving(tmp_path / f"a{suffix}"))
    assert [f.duration * 1000 / RATE for f in shown] == list(TIMES)
    assert [f.pts * 1000 / RATE for f in shown] == [0, 50, 150, 180]
    assert (info.width, info.height, info.frames, damaged) == (48, 32, 4, 0)
    near = 16 if suffix == ".avif" else 40 if suffix == ".gif" else 0
    for index, frame in enumerate(shown):
        truth = np.asarray(ball(index, 255))[..., :3].astype(int)
        off = np.abs(np.stack(frame.planes, -1) - truth)
        assert off.mean() <= near / 8 and frame.alpha is None


@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("ground", [255, 0])
def test_frames_are_written_with_their_times(target, ground, tmp_path):
    options = {"disposal": 2} if ground == 0 else {}
    source = moving(tmp_path / "a.gif", ground, loop=0, **options)
    before, old, _ = frames(source)
    after, new, _ = written(source, tmp_path / f"b{target}", tmp_path)
    assert after.shown == before.shown and after.plays == before.plays == 0
    assert after.clear == before.clear == ("" if ground else "fully")
    for a, b in zip(old, new, strict=True):
        seen = np.full((32, 48), True) if a.alpha is None else a.alpha > 0
        off = np.abs(np.stack(a.planes, -1).astype(int) - np.stack(b.planes, -1))[seen]
        assert off.mean() < (4 if target == ".avif" else 0.1)
        if a.alpha is not None:
            assert np.abs(a.alpha.astype(int) - b.alpha).max() < 40


def test_identical_frames_stay_frames(tmp_path):
    folder = tmp_path / "parts"
    info, shown, _ = frames(moving(tmp_path / "a.webp"))
    writer = PictureWriter(folder, info.colour)
    times = [(i * 9000, 9000) for i in range(3)]
    for _ in times:
        writer.write(shown[0].planes)
    for name in ("b.gif", "b.png"):
        animating.assemble([folder], times, info, tmp_path / name)
        assert frames(tmp_path / name)[0].shown == tuple(times)


@pytest.mark.parametrize("loop, plays", [(None, 1), (0, 0), (2, 3)])
def test_how_often_it_runs(loop, plays, tmp_path):
    """GIF counts how often it runs again; WebP and PNG how often it runs."""
    told = {} if loop is None else {"loop": loop}
    source = moving(tmp_path / "a.gif", **told)
    assert frames(source)[0].plays == plays
    for suffix in (".gif", ".webp", ".png"):
        assert written(source, tmp_path / f"b{suffix}", tmp_path)[0].plays == plays
        with Image.open(tmp_path / f"b{suffix}") as image:
            assert image.info.get("loop") == (loop if suffix == ".gif" else plays)


def test_times_that_are_no_whole_milliseconds_do_not_drift(tmp_path):
    source = moving(tmp_path / "a.png", times=[1000 / 30] * 4)
    info, _, _ = frames(source)
    assert info.fps == 30 and info.shown[-1] == (9000, 3000)
    assert animating.lengths(info.shown, info.time_base, 1000) == [33, 34, 33, 33]
    assert sum(animating.lengths(info.shown, info.time_base, 100)) == 13


def test_frames_of_ten_minutes_and_of_no_time(tmp_path):
    source = moving(tmp_path / "a.gif", times=[600_000, 10, 0])
    info, _, _ = frames(source)
    assert [length * 1000 / RATE for _, length in info.shown] == [600_000, 10, 100]
    assert 1 <= info.fps <= 100
    after = written(source, tmp_path / "b.png", tmp_path)[0]
    assert after.shown == info.shown
    assert animating._delay(Fraction(70_000)) == b"\xff\xff\0\1"


PATCHES = (((0, 0), 8, 1, 1), ((2, 2), 4, 2, 2), ((6, 6), 2, 3, 1))
COLOURS = [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255]


def test_offsets_and_disposals_are_composed(tmp_path):
    """A small frame lies on the first; by disposal 2 its place is background in the third."""
    with (tmp_path / "a.gif").open("wb") as file:
        file.write(b"GIF89a\x08\0\x08\0\x91\0\0" + bytes(COLOURS))
        for place, side, colour, disposal in PATCHES:
            patch = Image.new("P", (side, side), colour)
            patch.putpalette(COLOURS)
            for part in GifImagePlugin.getdata(patch, place, duration=100, disposal=disposal):
                file.write(part)
        file.write(b";")
    red, green, blue = (np.stack(f.planes, -1) for f in frames(tmp_path / "a.gif")[1])
    assert (red == (255, 0, 0)).all() and (green[2:6, 2:6] == (0, 255, 0)).all()
    assert (green[0] == (255, 0, 0)).all() and (blue[6:, 6:] == (0, 0, 255)).all()
    assert (blue[2:6, 2:6] == 0).all() and (blue[0] == (255, 0, 0)).all()


def test_hidden_colours_are_filled_in_or_laid_on_white(tmp_path):
    source = moving(tmp_path / "a.webp", 0)
    with AnimationReader(source) as reader:
        frame = next(iter(reader))
        assert frame.alpha.min() == 0 and min(frame.planes[0].min(), 250) == 250
        reader.flat = True
        frame = next(iter(reader))
        assert frame.alpha is None and frame.planes[2][0, 0] == 255


def test_a_span(tmp_path):
    with AnimationReader(moving(tmp_path / "a.png"), start=0.05, duration=0.12) as reader:
        assert [f.pts * 1000 / RATE for f in reader] == [50, 150]


def test_a_picture_for_old_viewers_is_no_frame(tmp_path):
    first, *rest = (ball(i, 255).convert("RGB") for i in range(4))
    options = {"save_all": True, "append_images": rest, "duration": 100, "default_image": True}
    first.save(tmp_path / "a.png", **options)
    info, shown, damaged = frames(tmp_path / "a.png")
    assert info.frames == len(shown) == 3 and not damaged
    truth = np.asarray(rest[0])
    np.testing.assert_array_equal(np.stack(shown[0].planes, -1), truth)


def test_a_file_that_is_cut_off(tmp_path):
    data = moving(tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(data[: len(data) * 3 // 4])
    info, shown, damaged = frames(tmp_path / "a.gif")
    assert 0 < len(shown) < 4 and info.frames == len(shown) and damaged
    (tmp_path / "b.gif").write_bytes(data[:60])
    with pytest.raises(InputError):
        frames(tmp_path / "b.gif")


def test_one_frame_is_a_picture(tmp_path):
    assert is_animation(moving(tmp_path / "a.gif"))
    assert not is_animation(moving(tmp_path / "b.gif", times=[100]))
    assert not is_animation(tmp_path / "none.gif")
    assert isinstance(open_film(tmp_path / "a.gif"), AnimationReader)
    assert not isinstance(AnimationReader(tmp_path / "b.gif"), VideoReader)


def test_few_colours_stay_exact_in_gif(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 5, (16, 20, 3), np.uint8) * 60
    writer = GifWriter(tmp_path / "a.gif", (16, 20))
    writer.write(rgb)
    writer.close()
    with Image.open(tmp_path / "a.gif") as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), rgb)
