"""From planes to a finished file: what goes in comes out, and nothing of the source is lost."""

import errno
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

import av
import media
import numpy as np
import pytest

from jaxvsr.errors import OutputError, SpaceError, UsageError
from jaxvsr.video import encode, mux
from jaxvsr.video.colour import Colour, from_rgb, to_rgb
from jaxvsr.video.reader import VideoReader


def read(path, **options):
    with VideoReader(path, **options) as reader:
        return reader.info, list(reader)


def redo(source, output, pieces=2, span=None, **choice):
    """Source to output through segments, unchanged but for the codec; (info, frames) of both."""
    info, frames = read(source, **(span or {}))
    encoding = encode.choose(info, output.suffix, **choice)
    colour, size = encode.colour_of(encoding, info.colour), -(-len(frames) // pieces)
    segments = []
    for start in range(0, len(frames), size):
        segments.append(output.parent / f"segment-{start}.mkv")
        part = [frame.planes for frame in frames[start : start + size]]
        write(segments[-1], encoding, part, info, colour)
    mux.assemble(segments, [(f.pts, f.duration) for f in frames], info, output, **(span or {}))
    return info, frames, *read(output)


def write(path, encoding, planes, info, colour):
    facts = {"fps": info.fps, "sar": info.sar, "colour": colour, "hdr": info.hdr}
    with encode.SegmentWriter(path, encoding, info.width, info.height, **facts) as writer:
        for each in planes:
            same = colour == info.colour
            writer.write(each if same else from_rgb(to_rgb(each, info.colour), colour))


def seconds(info, frames):
    return np.array([float(frame.pts * info.time_base) for frame in frames])


def payloads(path, kinds=("audio", "subtitle")):
    """{order among such streams: [(seconds, bytes)]}."""
    found = {}
    with av.open(str(path)) as file:
        order = [stream.index for stream in file.streams if stream.type in kinds]
        for packet in file.demux():
            if packet.size and packet.stream.type in kinds:
                key, data = order.index(packet.stream.index), bytes(packet)
                if data != b"\0\0":  # mp4's silence between two subtitles
                    found.setdefault(key, []).append((float(packet.pts * packet.time_base), data))
    return {key: found[key] for key in sorted(found)}


CODECS = [
    ("libx264", "yuv420p"),
    ("libx264", "yuv444p10le"),
    ("libx265", "gray10le"),
    ("libx265", "yuv420p10le"),
    ("libx265", "yuv422p12le"),
    ("libvpx-vp9", "yuv420p"),
    ("libsvtav1", "yuv420p10le"),
    ("ffv1", "yuv422p"),
    ("libx265", "gbrp"),
    ("ffv1", "gray"),
    ("ffv1", "gbrp16le"),
    ("prores_ks", "yuv422p10le"),
]


@lru_cache
def sample(pix_fmt):
    """Three frames in a pixel format, and facts about them."""
    from jaxvsr.video import pixels
    from jaxvsr.video.streams import VideoInfo

    kind, bits, subsampling = pixels.facts(pix_fmt)
    matrix, code = {"yuv": ("bt709", 1)}.get(kind, (kind, 0 if kind == "rgb" else 2))
    colour = Colour(matrix, kind != "yuv", "left", bits, subsampling, 1, 1, code)
    frames = [media.drawing(i, 64, 48).astype(np.float32) / 255 for i in range(3)]
    info = VideoInfo(
        "x", 64, 48, 3, Fraction(25), Fraction(1, 25), 0.12, Fraction(1), colour, 0, False,
        "none", pix_fmt, "none", {}, (), 0,
    )  # fmt: skip
    return info, [from_rgb(frame, colour) for frame in frames]


@pytest.mark.parametrize("codec, pix_fmt", CODECS)
def test_segments_hold_the_frames_and_their_tags(tmp_path, codec, pix_fmt):
    info, frames = sample(pix_fmt)
    suffix = ".mkv"
    encoding = encode.choose(info, suffix, codec=codec, pix_fmt=pix_fmt)
    path = tmp_path / "a.mkv"
    write(path, encoding, frames, info, info.colour)
    back, decoded = read(path)
    assert [frame.pts for frame in decoded] == [0, 1, 2]
    assert back.colour == info.colour
    worst = 0 if codec == "ffv1" else 6 * 2 ** (info.colour.bits - 8)
    for frame, planes in zip(decoded, frames, strict=True):
        for after, before in zip(frame.planes, planes, strict=True):
            assert np.abs(after.astype(int) - before).mean() <= worst


@pytest.mark.parametrize("codec, pix_fmt", CODECS)
def test_the_same_frames_give_the_same_bytes(tmp_path, codec, pix_fmt):
    info, frames = sample(pix_fmt)
    encoding = encode.choose(info, ".mkv", codec=codec, pix_fmt=pix_fmt)
    for name in ("a.mkv", "b.mkv"):
        write(tmp_path / name, encoding, frames * 5, info, info.colour)
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


@pytest.mark.parametrize("siting", ["left", "center", "topleft"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_range_and_siting_are_written(tmp_path, codec, siting):
    info, frames = sample("yuv420p")
    colour = replace(info.colour, full_range=True, siting=siting)
    write(tmp_path / "a.mkv", encode.choose(info, ".mkv", codec=codec), frames, info, colour)
    assert read(tmp_path / "a.mkv")[0].colour == colour


def test_choices():
    info, deep = sample("yuv420p")[0], sample("yuv420p10le")[0]
    rgb, gray = sample("gbrp")[0], sample("gray")[0]
    default = lambda info, suffix: (lambda e: (e.codec, e.pix_fmt))(encode.choose(info, suffix))
    assert default(info, ".mp4") == ("libx264", "yuv420p")
    assert default(deep, ".mkv") == ("libx265", "yuv420p10le")
    assert default(info, ".webm") == ("libvpx-vp9", "yuv420p")
    assert default(deep, ".webm") == ("libsvtav1", "yuv420p10le")
    assert default(rgb, ".mp4") == ("libx264", "yuv444p")
    assert default(gray, ".mp4") == ("libx264", "yuv420p")
    assert default(info, ".y4m") == ("rawvideo", "yuv420p")
    assert encode.choose(info, ".mov", codec="prores").pix_fmt == "yuv422p10le"
    assert encode.choose(info, ".mkv", codec="hevc", crf=30, preset="fast").crf == 30


@pytest.mark.parametrize(
    "suffix, choice, words",
    [
        (".avi", {}, r"\.mkv"),
        (".webm", {"codec": "x264"}, "libvpx-vp9"),
        (".mp4", {"codec": "av1", "pix_fmt": "yuv444p"}, "yuv420p"),
        (".mkv", {"pix_fmt": "nonsense"}, "yuv420p"),
        (".mkv", {"codec": "ffv1", "crf": 20}, "--crf"),
    ],
)
def test_impossible_choices_name_the_possible(suffix, choice, words):
    with pytest.raises(UsageError, match=words):
        encode.choose(sample("yuv420p")[0], suffix, **choice)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_everything_beside_the_picture_is_kept(tmp_path, suffix):
    source, output = media.rich(tmp_path / f"in{suffix}"), tmp_path / f"out{suffix}"
    info, frames, done, redone = redo(source, output)
    assert mux.unsupported(info, suffix) == []
    assert mux.default_suffix(info) == suffix
    np.testing.assert_allclose(seconds(done, redone), seconds(info, frames), atol=1e-9)
    before, after = payloads(source), payloads(output)
    assert len(before) == len(after) == 4
    for key, packets in before.items():
        assert [data for _, data in after[key]] == [data for _, data in packets]
        np.testing.assert_allclose([t for t, _ in after[key]], [t for t, _ in packets], atol=6e-4)
    with av.open(str(source)) as a, av.open(str(output)) as b:
        assert b.metadata["title"] == "A test"
        titles = lambda file: [
            (c["start"] * c["time_base"], c["metadata"]) for c in file.chapters()
        ]
        assert titles(b) == titles(a) and len(titles(a)) == 2
        for x, y in zip(a.streams, b.streams, strict=True):
            assert (x.type, x.language) == (y.type, y.language)
            assert x.metadata.get("title") == y.metadata.get("title")
            assert suffix == ".mkv" or x.disposition == y.disposition
        if suffix == ".mkv":
            assert b.streams[-1].data == a.streams[-1].data
            assert b.streams[-1].metadata["filename"] == "font.ttf"


def test_webm(tmp_path):
    picture = media.Picture(codec="libvpx-vp9")
    source = media.film(tmp_path / "in.webm", picture, sounds=1, subtitles=1, extras=True)
    info, frames, done, redone = redo(source, tmp_path / "out.webm")
    assert done.codec == "vp9"
    np.testing.assert_allclose(seconds(done, redone), seconds(info, frames), atol=1e-9)
    assert payloads(source) == payloads(tmp_path / "out.webm")


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
@pytest.mark.parametrize("suffixes", [(".mp4", ".mp4"), (".mkv", ".mp4"), (".mp4", ".mkv")])
def test_variable_times_survive(tmp_path, suffixes, codec):
    """With an encoder that reorders; Matroska rounds to a millisecond."""
    source, output = media.vfr(tmp_path / f"in{suffixes[0]}"), tmp_path / f"out{suffixes[1]}"
    info, frames, done, redone = redo(source, output, pieces=3, codec=codec)
    np.testing.assert_allclose(seconds(done, redone), seconds(info, frames), atol=5.1e-4)
    if suffixes[1] == ".mkv":
        return  # it does not store when to decode
    with av.open(str(output)) as file:
        packets = [p for p in file.demux(video=0) if p.size]
    assert all(p.dts <= p.pts for p in packets)
    assert np.all(np.diff([p.dts for p in packets]) > 0)


@pytest.mark.parametrize("suffixes", [(".mkv", ".mp4"), (".mp4", ".mkv")])
def test_hdr_survives(tmp_path, suffixes):
    source, output = media.hdr10(tmp_path / f"in{suffixes[0]}"), tmp_path / f"out{suffixes[1]}"
    info, _, done, redone = redo(source, output)
    assert done.codec == "hevc"
    assert done.colour == info.colour
    assert done.hdr == info.hdr and set(done.hdr) == {"mastering", "light"}
    assert redone[0].planes[0].dtype == np.uint16


@pytest.mark.parametrize(
    "suffix, codec",
    [(".mkv", None), (".mkv", "vp9"), (".webm", "av1"), (".mp4", None), (".mov", "prores")],
)
@pytest.mark.parametrize("sar", [Fraction(16, 11), Fraction(1, 2)])
def test_the_shape_of_pixels_survives(tmp_path, suffix, codec, sar):
    source = media.anamorphic(tmp_path / "in.mkv", sar)
    info, frames, done, redone = redo(source, tmp_path / f"out{suffix}", codec=codec)
    assert info.sar == done.sar == sar
    assert len(redone) == len(frames)


def test_a_rotated_video_comes_out_upright_without_the_tag(tmp_path):
    source = media.rotated(tmp_path / "in.mp4")
    info, frames, done, redone = redo(source, tmp_path / "out.mp4", crf=1)
    assert (info.rotation, done.rotation) == (90, 0)
    assert (done.width, done.height) == (48, 64)
    gap = redone[2].planes[0].astype(int) - frames[2].planes[0]
    assert np.abs(gap).mean() < 2


def test_y4m_is_lossless(tmp_path):
    source = media.film(tmp_path / "in.mkv", media.Picture(frames=5, pix_fmt="yuv420p10le"))
    info, frames, done, redone = redo(source, tmp_path / "out.y4m")
    assert done.fps == info.fps
    for before, after in zip(frames, redone, strict=True):
        for a, b in zip(before.planes, after.planes, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_span_cuts_sound_and_chapters_alike(tmp_path):
    source = media.rich(tmp_path / "in.mkv")
    span = {"start": 0.5, "duration": 0.3}
    _, frames, done, redone = redo(source, tmp_path / "out.mkv", span=span)
    np.testing.assert_allclose(seconds(done, redone)[0], 0.02, atol=1e-3)
    assert len(redone) == len(frames) == 7
    whole, part = payloads(source), payloads(tmp_path / "out.mkv")
    times = [t for t, _ in part[0]]
    assert 0 <= times[0] < 0.03 and times[-1] < 0.3
    start = next(t for t, data in whole[0] if data == part[0][0][1])
    assert abs(start - 0.5 - times[0]) < 2e-3
    assert [data for _, data in part[2]] == [b"world"]
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert [c["metadata"]["title"] for c in file.chapters()] == ["Two"]


def test_what_a_container_cannot_hold_is_said_before(tmp_path):
    info, _ = read(media.rich(tmp_path / "in.mkv"))
    lost = " ".join(mux.unsupported(info, ".mp4"))
    assert "subrip" in lost and "attachment" in lost and "audio" not in lost
    assert len(mux.unsupported(info, ".y4m")) == 7  # five streams, chapters and tags
    assert mux.default_suffix(info) == ".mkv"
    moved, _ = read(media.rich(tmp_path / "in.mp4"))
    assert [text for text in mux.unsupported(moved, ".mkv") if "mov_text" in text]
    hdr, _ = read(media.hdr10(tmp_path / "hdr.mkv"))
    assert mux.unsupported(hdr, ".mkv", encode.choose(hdr, ".mkv", codec="ffv1"))
    assert mux.unsupported(hdr, ".mkv", encode.choose(hdr, ".mkv")) == []


def test_two_pictures_and_subtitles_of_a_real_file(tmp_path, shared):
    source = shared / "decode" / "nasa_13013.mp4"
    info, frames, done, redone = redo(source, tmp_path / "out.mp4", preset="ultrafast", crf=40)
    assert [s.type for s in done.streams] == [s.type for s in info.streams]
    np.testing.assert_allclose(seconds(done, redone), seconds(info, frames), atol=1e-9)
    assert payloads(source) == payloads(tmp_path / "out.mp4")


@pytest.mark.parametrize(
    "suffixes", [(".mkv", ".mkv"), (".mp4", ".mp4"), (".mkv", ".mp4"), (".mp4", ".mkv")]
)
def test_a_cover_picture_stays_one(tmp_path, suffixes):
    source, output = media.covered(tmp_path / f"in{suffixes[0]}"), tmp_path / f"out{suffixes[1]}"
    info, frames, done, redone = redo(source, output)
    assert mux.unsupported(info, suffixes[1]) == []
    assert len(redone) == len(frames)
    covers = []
    for path in (source, output):
        with av.open(str(path)) as file:
            covers.append([bytes(p) for p in file.demux(file.streams[2]) if p.size])
            assert file.streams[2].disposition == av.stream.Disposition.attached_pic
    assert covers[0] == covers[1]
    assert [s.type for s in done.streams] == [s.type for s in info.streams]


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_a_timecode_stays(tmp_path, suffix):
    source, output = media.timecoded(tmp_path / "in.mov"), tmp_path / f"out{suffix}"
    info, *_ = redo(source, output)
    assert mux.unsupported(info, suffix) == []
    with av.open(str(output)) as file:
        tags = {key.lower(): value for key, value in file.streams[0].metadata.items()}
        assert tags["timecode"] == "01:00:00:00"


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_broadcast_clock_begins_at_nothing(tmp_path, suffix):
    """MPEG-TS counts from anywhere: sound and picture move together."""
    picture = media.Picture(start=3.0)
    source = media.film(tmp_path / "in.ts", picture, sounds=1)
    info, frames, done, redone = redo(source, tmp_path / f"out{suffix}")
    shift = seconds(done, redone) - seconds(info, frames)
    np.testing.assert_allclose(shift, -info.start, atol=6e-4)
    before, after = payloads(source), payloads(tmp_path / f"out{suffix}")
    gaps = [b[0] - a[0] for a, b in zip(before[0], after[0], strict=True)]
    np.testing.assert_allclose(gaps, -info.start, atol=1.1e-3)


@pytest.mark.parametrize("suffixes", [(".ts", ".mp4"), (".mkv", ".mkv"), (".mp4", ".mp4")])
def test_a_damaged_source_gives_what_it_has(tmp_path, suffixes):
    source = media.corrupt(tmp_path / f"in{suffixes[0]}", sounds=2)
    _, frames, _, redone = redo(source, tmp_path / f"out{suffixes[1]}")
    assert len(redone) == len(frames) > 10
    assert len(payloads(tmp_path / f"out{suffixes[1]}")) == 2


@pytest.mark.sampled
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "libsvtav1"])
def test_very_short_segments(tmp_path, codec, count):
    info, frames = sample("yuv420p")
    encoding = encode.choose(info, ".mkv", codec=codec)
    parts = [tmp_path / f"{i}.mkv" for i in range(3)]
    for part in parts:
        write(part, encoding, frames[:count], info, info.colour)
    source = media.film(tmp_path / "in.mkv")
    times = [(40 * i, 40) for i in range(3 * count)]
    real = read(source)[0]
    mux.assemble(parts, times, real, tmp_path / "out.mp4")
    done, redone = read(tmp_path / "out.mp4")
    np.testing.assert_allclose(seconds(done, redone), 0.04 * np.arange(3 * count), atol=1e-9)


def test_wrong_counts_are_refused(tmp_path):
    info, frames = read(media.odd(tmp_path / "in.mkv"))
    encoding = encode.choose(info, ".mkv", codec="ffv1")
    write(tmp_path / "a.mkv", encoding, [f.planes for f in frames], info, info.colour)
    with pytest.raises(OutputError, match="8"):
        mux.assemble([tmp_path / "a.mkv"], [(0, 1)], info, tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()


def test_errors_of_the_disk(tmp_path):
    info, frames = sample("yuv420p")
    nowhere, encoding = tmp_path / "nowhere" / "a.mkv", encode.choose(info, ".mkv")
    with pytest.raises(OutputError, match="nowhere"):
        write(nowhere, encoding, frames, info, info.colour)
    with pytest.raises(SpaceError, match="no space"), encode.failing("x"):
        raise OSError(errno.ENOSPC, "full")


def test_a_full_disk_is_a_space_error():
    info, frames = sample("yuv444p10le")
    encoding = encode.choose(info, ".mkv", codec="ffv1")
    with pytest.raises(SpaceError, match="/dev/full"):
        write("/dev/full", encoding, frames * 40, info, info.colour)


@pytest.mark.skipif(not encode.REPEATABLE, reason="no AVX-512 here")
def test_films_keep_away_from_x264s_avx_512(tmp_path):
    info, _ = read(media.film(tmp_path / "in.mp4"))
    assert encode.choose(info, ".mkv").options["x264-params"] == "asm=AVX2"
