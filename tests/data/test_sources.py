"""Clips on disk: every frame is the right one, and what cannot be used is named."""

import numpy as np
import pytest
from PIL import Image

from jaxvsr.data import sources
from jaxvsr.degradation import subsampled
from jaxvsr.errors import InputError
from jaxvsr.video.colour import from_rgb
from jaxvsr.video.reader import VideoReader
from tests import media


def frames_of(count, height=24, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def folder_of(path, frames, suffix=".png"):
    path.mkdir(parents=True)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"{i + 1}{suffix}")  # 10 comes after 9
    return path


def raw(path, frames, bits=8):
    """A raw 4:2:0 file of RGB frames."""
    from jaxvsr.degradation import COLOURS
    from jaxvsr.video.colour import Colour

    colour = Colour(COLOURS["bt601"].matrix, bits=bits)
    kind = np.dtype("<u2" if bits > 8 else np.uint8)
    planes = [from_rgb(frame.astype(np.float32) / 255, colour) for frame in frames]
    codes = [np.rint(np.asarray(p)).astype(kind) for three in planes for p in three]
    path.write_bytes(b"".join(code.tobytes() for code in codes))
    return path


def test_any_span_of_a_video_is_what_reading_it_through_gives(tmp_path):
    from jaxvsr.degradation import quantise
    from jaxvsr.video.colour import to_rgb

    media.film(tmp_path / "a.mp4", media.Picture(frames=20, options={"g": "6"}))
    (clip,) = sources.find(tmp_path).clips
    with VideoReader(tmp_path / "a.mp4") as reader:
        every = [quantise(to_rgb(frame.planes, reader.info.colour)) for frame in reader]
    assert (clip.frames, clip.size, clip.name) == (20, (48, 64), "a.mp4")
    for start, count in ((0, 20), (7, 3), (19, 1), (5, 7)):
        np.testing.assert_array_equal(clip.read(start, count), every[start : start + count])


def test_a_folder_of_frames_is_read_in_the_order_of_its_numbers(tmp_path):
    frames = frames_of(12)
    folder_of(tmp_path / "scene" / "left", frames)
    (clip,) = sources.find(tmp_path).clips
    assert (clip.frames, clip.size, clip.name) == (12, (24, 32), "scene/left")
    np.testing.assert_array_equal(clip.read(8, 4), frames[8:])


@pytest.mark.parametrize(
    "names, stills",
    [
        (("1", "2", "3"), False),
        (("a_009_x2", "a_010_x2", "a_011_x2"), False),
        (("1", "2", "4"), True),  # one is missing
        (("cat", "dog"), True),
        (("cat1", "dog2"), True),
        (("1",), True),
    ],
)
def test_frames_count_on_by_one_and_stills_do_not(tmp_path, names, stills):
    for name in names:
        Image.new("RGB", (32, 24)).save(tmp_path / f"{name}.png")
    assert sources.are_stills(tmp_path) is stills
    Image.new("RGB", (32, 26)).save(tmp_path / f"{names[0]}.png")
    assert sources.are_stills(tmp_path)  # sizes differ


@pytest.mark.parametrize("bits, name", [(8, "x_32x24_3.yuv"), (10, "x_32x24_25fps_10bit_420.yuv")])
def test_raw_video_is_read_by_its_name(tmp_path, bits, name):
    frames = np.stack([subsampled(f, "bt601") for f in frames_of(3)])
    raw(tmp_path / name, frames, bits)
    (clip,) = sources.find(tmp_path).clips
    assert (clip.frames, clip.size) == (3, (24, 32))
    got = clip.read(1, 2).astype(int)
    assert np.abs(got - frames[1:]).mean() < (1.5 if bits == 8 else 1)


def test_what_cannot_be_read_is_named_and_skipped(tmp_path):
    media.film(tmp_path / "good.mkv", media.Picture(frames=8))
    media.not_a_video(tmp_path / "bad.mp4")
    (tmp_path / "size_unknown.yuv").write_bytes(b"123")
    (tmp_path / "odd_32x24.yuv").write_bytes(b"123")
    mixed = folder_of(tmp_path / "stills", frames_of(1))
    Image.new("RGB", (9, 9)).save(mixed / "2.png")
    found = sources.find(tmp_path)
    assert [clip.name for clip in found.clips] == ["good.mkv"]
    assert len(found.skipped) == 4
    for name in ("bad.mp4", "size_unknown.yuv", "odd_32x24.yuv", "stills"):
        assert any(name in line for line in found.skipped)


def test_hidden_files_are_left_alone(tmp_path):
    media.film(tmp_path / "a.mp4", media.Picture(frames=8))
    (tmp_path / "._a.mp4").write_bytes(b"resource fork")
    assert not sources.find(tmp_path).skipped


def one_line(error, *parts):
    text = str(error.value)
    assert "\n" not in text and all(part in text for part in parts), text


def test_errors_of_a_folder_are_one_line_with_the_remedy(tmp_path):
    with pytest.raises(InputError) as error:
        sources.find(tmp_path / "none")
    one_line(error, "none", "check the name")
    with pytest.raises(InputError) as error:
        sources.find(tmp_path)
    one_line(error, "no video", "put some there")
    media.not_a_video(tmp_path / "bad.mp4")
    media.not_a_video(tmp_path / "worse.mp4")
    with pytest.raises(InputError) as error:
        sources.find(tmp_path)
    one_line(error, "none of its 2 clips", "bad.mp4")


def test_clips_too_short_or_too_small_are_skipped_and_none_left_is_an_error(tmp_path):
    folder_of(tmp_path / "long", frames_of(6))
    folder_of(tmp_path / "short", frames_of(2))
    folder_of(tmp_path / "small", frames_of(6, 8, 8))
    found = sources.find(tmp_path, frames=5, size=(16, 16))
    assert [clip.name for clip in found.clips] == ["long"]
    assert any("short: 2 frames" in line for line in found.skipped)
    assert any("small: 8x8" in line for line in found.skipped)
    with pytest.raises(InputError) as error:
        sources.find(tmp_path, frames=7)
    one_line(error, "window of 7", "longest has 6", "shorter window")
    with pytest.raises(InputError) as error:
        sources.find(tmp_path, frames=5, size=(96, 96))
    one_line(error, "crop of 96x96", "at most 32x24", "smaller crop")


def test_a_frame_of_another_size_is_named_when_it_is_met(tmp_path):
    path = folder_of(tmp_path / "a", frames_of(3))
    Image.new("RGB", (9, 9)).save(path / "2.png")
    (clip,) = sources.find(tmp_path).clips
    with pytest.raises(InputError, match=r"2\.png"):
        clip.read(0, 3)


def test_a_split_keeps_sequences_whole_and_does_not_move_when_clips_come(tmp_path):
    clip = lambda name: sources.Pictures(tmp_path, name, (8, 8), ())
    clips = [clip(f"{size}{i:03d}") for i in range(200) for size in "ABCD"]
    known, held = sources.split(clips, 0.2, lambda c: c.name[1:])
    assert 0.1 * len(clips) < len(held) < 0.3 * len(clips)
    assert not {c.name[1:] for c in known} & {c.name[1:] for c in held}
    assert len(known) + len(held) == len(clips)
    _, fewer = sources.split(clips[::2], 0.2, lambda c: c.name[1:])
    assert {c.name for c in fewer} <= {c.name for c in held}
