"""The reader gives every frame, upright, with its time, and says what was damaged."""

from dataclasses import replace
from fractions import Fraction

import av
import media
import numpy as np
import pytest

from jaxvsr.comparison.scan import scan
from jaxvsr.errors import InputError
from jaxvsr.video import pixels
from jaxvsr.video.colour import to_rgb
from jaxvsr.video.reader import VideoReader


def read(path, **options):
    """(info, frames, damaged)."""
    with VideoReader(path, **options) as reader:
        frames = list(reader)
        return reader.info, frames, reader.damaged


def seconds(info, frames):
    return [float(frame.pts * info.time_base) for frame in frames]


@pytest.mark.quick
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_frames_equal_plain_decoding(tmp_path, suffix):
    path = media.film(tmp_path / f"x{suffix}")
    info, frames, damaged = read(path)
    with av.open(str(path)) as file:
        truth = [(f.pts, f.to_ndarray()) for f in file.decode(video=0)]
    assert [f.pts for f in frames] == [pts for pts, _ in truth]
    for frame, (_, array) in zip(frames, truth, strict=True):
        flat = np.concatenate([plane.ravel() for plane in frame.planes])
        np.testing.assert_array_equal(flat, array.ravel())
    assert (info.width, info.height, info.fps, damaged) == (64, 48, 25, 0)
    assert all(plane.flags.c_contiguous for plane in frames[0].planes)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_times(tmp_path, suffix):
    info, frames, _ = read(media.vfr(tmp_path / f"x{suffix}"))
    steps = np.diff(np.round(1000 * np.array(seconds(info, frames))))
    np.testing.assert_array_equal(steps[:9], [17, 40, 33, 120, 21, 34, 33, 50, 80])


def test_hdr(tmp_path):
    info, frames, _ = read(media.hdr10(tmp_path / "x.mkv"))
    c = info.colour
    assert (c.matrix, c.bits, c.primaries, c.transfer, c.matrix_code) == ("bt2020", 10, 9, 16, 9)
    assert (c.siting, c.full_range) == ("topleft", False)
    assert info.hdr["light"] == media.LIGHT
    assert info.hdr["mastering"]["red"] == (0.68, 0.32)
    assert info.hdr["mastering"]["luminance"] == (0.005, 1000.0)
    assert frames[0].planes[0].dtype == np.uint16


@pytest.mark.parametrize("matrix, full", [("bt601", False), ("bt709", True), ("bt709", False)])
def test_colours_are_those_drawn(tmp_path, matrix, full):
    """Written by swscale, read by our own definition: close at flat places."""
    info, frames, _ = read(media.tagged(tmp_path / "x.mkv", matrix, full=full))
    assert (info.colour.matrix, info.colour.full_range) == (matrix, full)
    ours = 255 * to_rgb(frames[3].planes, info.colour)
    assert np.median(np.abs(ours - media.drawing(3, 64, 48))) < 1.5


def test_untagged_video_is_601_below_720_lines_and_709_from_there(tmp_path):
    for height, matrix in ((718, "bt601"), (720, "bt709")):
        path = media.film(tmp_path / "x.mkv", media.Picture(32, height, frames=1))
        info, _, _ = read(path)
        assert (info.colour.matrix, info.colour.full_range) == (matrix, False)
        assert info.colour.matrix_code == {"bt601": 6, "bt709": 1}[matrix]


@pytest.mark.parametrize("degrees, turns", [(90, -1), (180, 2), (270, 1)])
@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_rotation_is_applied(tmp_path, degrees, turns, size):
    """The picture equals the unrotated file's, turned as RGB."""
    picture = media.Picture(*size, frames=2, codec="libvpx-vp9", sar=Fraction(4, 3))
    plain = read(media.film(tmp_path / "plain.mkv", picture))
    info, frames, _ = read(media.film(tmp_path / "x.mp4", replace(picture, rotation=degrees)))
    turned = degrees != 180
    assert info.rotation == degrees
    assert (info.width, info.height) == (size[::-1] if turned else size)
    assert info.sar == (Fraction(3, 4) if turned else Fraction(4, 3))
    upright = to_rgb(frames[1].planes, info.colour)
    expected = np.rot90(to_rgb(plain[1][1].planes, plain[0].colour), turns)
    if size == (64, 48):
        np.testing.assert_allclose(upright, expected, atol=1e-6)
    else:  # the lone column's chroma is paired anew
        assert np.abs(upright - expected).mean() < 0.01


def test_mirrored_by_the_display_matrix(tmp_path):
    plain, path = media.film(tmp_path / "plain.mp4"), tmp_path / "x.mp4"
    one = struct_matrix(1, 0, 0, 1)
    data = plain.read_bytes()
    at = data.index(one, data.index(b"tkhd"))
    path.write_bytes(data[:at] + struct_matrix(-1, 0, 0, 1) + data[at + len(one) :])
    _, before, _ = read(plain)
    _, after, _ = read(path)
    np.testing.assert_array_equal(after[3].planes[0], before[3].planes[0][:, ::-1])


def struct_matrix(a, b, c, d):
    """mp4's 3x3 matrix without a shift."""
    big = lambda x, point: (x << point).to_bytes(4, "big", signed=True)
    rows = ((a, 16), (b, 16), (0, 30), (c, 16), (d, 16), (0, 30), (0, 16), (0, 16), (1, 30))
    return b"".join(big(*entry) for entry in rows)


@pytest.mark.parametrize("name", ["nv12", "yuyv422", "p010le", "rgb24", "bgr0", "rgb48le"])
def test_unusual_formats_are_read_without_loss(name):
    """Converted to the planar format and back, nothing changes."""
    rng, kind = np.random.default_rng(0), pixels.facts(pixels.planar(name))
    planes = random_planes(rng, *kind)
    frame = pixels.frame_of(planes, pixels.planar(name)).reformat(format=name, threads=1)
    for color_range in (1, 2):
        frame.color_range = color_range
        for before, after in zip(planes, pixels.planes_of(frame, pixels.planar(name)), strict=True):
            np.testing.assert_array_equal(after, before)


def test_a_palette_is_read_as_its_colours():
    rng = np.random.default_rng(0)
    entries = rng.integers(0, 256, (256, 4), dtype=np.uint8)  # alpha, red, green, blue
    index = rng.integers(0, 256, (8, 10), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray((index, entries), format="pal8")
    planes = pixels.planes_of(frame, pixels.planar("pal8"))
    np.testing.assert_array_equal(np.stack(planes, -1), entries[index][..., 1:])


def random_planes(rng, kind, bits, subsampling):
    chroma = (16 // subsampling[0], 24 // subsampling[1]) if kind == "yuv" else (16, 24)
    draw = lambda shape: rng.integers(0, 2**bits, shape).astype("u1" if bits == 8 else "u2")
    return draw((16, 24)), draw(chroma), draw(chroma)


def test_raw_stream_without_times_gets_them(shared):
    info, frames, _ = read(shared / "clips" / "cactusflower_720p.264", duration=0.5)
    np.testing.assert_allclose(np.diff(seconds(info, frames)), 1 / 30, atol=1e-9)
    assert info.fps == 30


def test_span(tmp_path):
    path = media.film(tmp_path / "x.mkv", media.Picture(frames=50, options={"g": "10"}))
    info, frames, _ = read(path, start=0.5, duration=0.3)
    whole = read(path)[1]
    expected = [f for f in whole if 0.5 <= f.pts * info.time_base < 0.79]
    assert [f.pts for f in frames] == [f.pts for f in expected]
    np.testing.assert_array_equal(frames[0].planes[0], expected[0].planes[0])


def test_interlaced_is_recognised(tmp_path):
    path = media.interlaced(tmp_path / "x.mkv")
    info, frames, _ = read(path)
    _, kept, _ = read(path, interlaced="keep")
    assert info.interlaced
    assert [f.pts for f in frames] == [f.pts for f in kept]
    assert any((a.planes[0] != b.planes[0]).any() for a, b in zip(frames, kept, strict=True))
    assert not read(media.film(tmp_path / "y.mkv"))[0].interlaced


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_truncated(tmp_path, suffix):
    """What is there is read; what the head of the file promised beyond it is counted."""
    info, frames, damaged = read(media.truncated(tmp_path / f"x{suffix}"))
    assert 5 < len(frames) < 50
    assert damaged == 50 - sum(not frame.corrupt for frame in frames)
    assert info.frames == 50


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts", ".wmv", ".nut", ".flv"])
def test_a_late_beginning_is_no_damage(tmp_path, suffix):
    """Some heads tell how long a file is, others when it ends on its own clock."""
    codec = {".wmv": "wmv2", ".flv": "flv"}.get(suffix, "libx264")
    path = media.film(tmp_path / f"x{suffix}", media.Picture(start=5.0, codec=codec))
    info, frames, damaged = read(path)
    assert (len(frames), damaged) == (25, 0)
    assert info.frames == pytest.approx(25, abs=1) and info.duration == pytest.approx(1, abs=0.05)
    assert seconds(info, frames)[0] == pytest.approx(info.start, abs=0.05) and info.start >= 5
    assert (scan(path, info).lost, len(scan(path, info).times)) == (0, 25)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_corrupt_in_the_middle(tmp_path, suffix):
    _, frames, damaged = read(media.corrupt(tmp_path / f"x{suffix}"))
    assert len(frames) > 5
    assert damaged > 0
    assert np.all(np.diff([f.pts for f in frames]) > 0)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_damage_reads_alike_every_time(tmp_path, suffix):
    path = media.corrupt(tmp_path / f"x{suffix}")
    (_, first, once), *rest = (read(path) for _ in range(3))
    for _, frames, damaged in rest:
        assert damaged == once
        assert [f.pts for f in frames] == [f.pts for f in first]
        for a, b in zip(frames, first, strict=True):
            np.testing.assert_array_equal(a.planes[0], b.planes[0])


def test_healthy_clips_have_no_damage(shared):
    for name in ("clips/carphone_pristine_qcif.mp4", "decode/nasa_13013.mp4"):
        info, frames, damaged = read(shared / name)
        assert (len(frames), damaged) == (info.frames, 0)


def test_second_picture_stream_and_others_are_listed(shared):
    info, _, _ = read(shared / "decode" / "nasa_13013.mp4", duration=0.1)
    assert (info.width, info.stream_index) == (480, 3)
    kinds = [(s.type, s.codec) for s in info.streams]
    assert kinds.count(("audio", "aac")) == 2 and ("video", "h264") in kinds


@pytest.mark.parametrize("number", [0, 1, 15])
def test_golden_frames_of_another_decoder(shared, number):
    """RGB by torchcodec (swscale, whose rounding and chroma filter are its own)."""
    torch = pytest.importorskip("torch")
    name = f"nasa_13013.mp4.stream3.frame{number:06d}.pt"
    golden = torch.load(shared / "decode" / name).numpy().astype(float)
    info, frames, _ = read(shared / "decode" / "nasa_13013.mp4", duration=0.6)
    ours = 255 * np.clip(to_rgb(frames[number].planes, info.colour), 0, 1)
    assert np.median(np.abs(ours - golden)) < 1
    assert np.abs(ours - golden).mean() < 1.5


@pytest.mark.parametrize(
    "make, words",
    [
        (media.not_a_video, "not a video"),
        (media.sound_only, "no video"),
        (lambda path: path, "no such file"),
        (lambda path: path.touch() or path, "empty"),
        (lambda path: path.mkdir() or path, "folder"),
    ],
)
def test_errors_name_file_and_cause(tmp_path, make, words):
    path = make(tmp_path / "x.mp4")
    with pytest.raises(InputError, match=rf"x\.mp4.*{words}"):
        VideoReader(path)


def test_nothing_is_said_on_stderr(tmp_path, capfd):
    read(media.corrupt(tmp_path / "x.mp4"))
    assert capfd.readouterr().err == ""
