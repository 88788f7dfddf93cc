"""What becomes of each stream and of what rides on frames: copied, converted, refused, named."""

from fractions import Fraction

import av
import media
import numpy as np
import pytest

from jaxvsr.errors import OutputError, UsageError
from jaxvsr.inference.plan import Plan, _lost
from jaxvsr.inference.settings import Settings
from jaxvsr.video import containers, copying, encode, matroska, mux
from jaxvsr.video.reader import VideoReader

TINY = media.Picture(width=32, height=32, frames=5)
BATCH = 4410  # samples


def finish(source, output, *, convert=False, **span):
    """The file with its picture encoded anew and all else as `mux` has it; (info, lost packets)."""
    with VideoReader(source, **span) as reader:
        info, frames = reader.info, list(reader)
    encoding = encode.choose(info, output.suffix)
    facts = {"fps": info.fps, "sar": info.sar, "colour": info.colour}
    segment = output.with_name("segment.mkv")
    with encode.SegmentWriter(segment, encoding, info.width, info.height, **facts) as writer:
        for frame in frames:
            writer.write(frame.planes)
    times = [(frame.pts, frame.duration) for frame in frames]
    return info, mux.assemble([segment], times, info, output, convert=convert, **span)


def with_sound(path, codec: str, *, rate=44100, seconds=0.5, picture=TINY, chapters=False):
    """A film with one tone in any codec."""
    with av.open(str(path), "w") as file:
        video = media._video(file, picture)
        sound = file.add_stream(codec, rate=rate)
        sound.codec_context.layout, sound.codec_context.bit_rate = "mono", 64000
        sound.metadata["language"] = "eng"
        if chapters:
            file.set_chapters(media.CHAPTERS)
        file.start_encoding()
        count = int(rate * seconds)
        wave = (8000 * np.sin(2 * np.pi * 440 * np.arange(count) / rate)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        context = sound.codec_context
        size = context.frame_size or BATCH
        pieces = av.AudioResampler(context.format, context.layout, rate, size)
        for piece in [*pieces.resample(frame), *pieces.resample(None), None]:
            file.mux(sound.encode(piece))
        media._draw(file, video, picture)
    return path


def payload(path, kind):
    """(codec, language, [(seconds, length in seconds, bytes)]) of the first stream of a kind."""
    with av.open(str(path)) as file:
        stream = next(s for s in file.streams if s.type == kind)
        packets = [
            (float(p.pts * p.time_base), float((p.duration or 0) * p.time_base), bytes(p))
            for p in file.demux(stream)
            if p.size and bytes(p) != copying.NO_TEXT
        ]
        return stream.codec_context.codec.canonical_name, stream.language, packets


GUESTS = [("wmav1", "wmv"), ("wmav2", "wmv"), ("adpcm_ms", "avi"), ("adpcm_ima_wav", "avi")]
GUESTS += [("pcm_alaw", "avi"), ("adpcm_yamaha", "avi"), ("pcm_mulaw", "mov")]


@pytest.mark.parametrize("codec, kind", GUESTS)
def test_sound_that_ffmpeg_copies_is_copied(tmp_path, codec, kind):
    """Matroska has no name of its own for these and holds them under Windows' names."""
    picture = media.Picture(
        width=32, height=32, frames=5, codec="wmv2" if kind == "wmv" else "mpeg4"
    )
    source = with_sound(tmp_path / f"in.{kind}", codec, picture=picture)
    info, lost = finish(source, tmp_path / "out.mkv")
    assert mux.unsupported(info, ".mkv") == [] and lost == 0
    before, after = payload(source, "audio"), payload(tmp_path / "out.mkv", "audio")
    assert after[0] == codec and [p[2] for p in after[2]] == [p[2] for p in before[2]]
    np.testing.assert_allclose([p[0] for p in after[2]], [p[0] for p in before[2]], atol=1e-3)


def test_chapters_and_language_come_with_such_sound(tmp_path):
    """And the shape of the pixels, which is written at the same place."""
    picture = media.Picture(frames=25, codec="ffv1", sar=Fraction(16, 11))
    plain = with_sound(tmp_path / "in.mov", "pcm_alaw", picture=TINY, chapters=True)
    source = tmp_path / "in.mkv"
    finish(plain, source)
    output = tmp_path / "out's [x]|, 100%: b.mkv"
    info, _ = finish(source, output)
    assert containers.fates(info, ".mkv") == {1: "guest"}
    for path in (source, output):
        assert payload(path, "audio")[:2] == ("pcm_alaw", "eng")
        with av.open(str(path)) as file:
            assert [c["metadata"]["title"] for c in file.chapters()] == ["One", "Two"]
            times = [
                (c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in file.chapters()
            ]
            assert times == [(0, Fraction(2, 5)), (Fraction(2, 5), 1)]
            assert "title" not in file.streams.video[0].metadata
    assert matroska.padding(media.CHAPTERS) > matroska.padding()
    assert picture.sar != 1


STRANGE = ["[f=mp4:x]|y", "b\\ack\\", "q'uo\"te's", "Re: 100%d", " sp ", "line\nbreak\r", "\udcff"]


@pytest.mark.parametrize("name", STRANGE)
def test_a_file_of_any_name_takes_such_sound(name, tmp_path):
    """The tee reads brackets, bars, quotes, backslashes and blank ends as its own marks."""
    path = tmp_path / name
    with containers.open_target(path, ".mkv", guests=True) as target:
        stream = target.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        target.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        target.mux(stream.encode(None))
    assert [p.name for p in tmp_path.iterdir()] == [name]
    with VideoReader(path) as reader:
        assert len(list(reader)) == 1 and "matroska" in reader.info.container


HELD = {  # by container, of what a tester might have
    "libopus": {".mkv", ".webm", ".mp4"},
    "flac": {".mkv", ".mp4"},
    "ac3": {".mkv", ".mp4", ".mov"},
    "pcm_s16le": {".mkv", ".mp4", ".mov"},
    "alac": {".mkv", ".mp4", ".mov"},
    "wavpack": {".mkv"},
}


@pytest.mark.parametrize("codec", HELD)
def test_the_muxer_says_what_it_holds(tmp_path, codec):
    source = with_sound(tmp_path / "in.mkv", codec, rate=48000)
    with VideoReader(source) as reader:
        info = reader.info
    for suffix in containers.FORMATS:
        fate = containers.fates(info, suffix)[1]
        assert fate == ("copied" if suffix in HELD[codec] else "convertible"), suffix
        assert mux.unsupported(info, suffix, convert=True) == []
        assert len(mux.unsupported(info, suffix)) == (fate == "convertible")


CONVERTED = [("aac", ".mkv", ".webm", "opus"), ("pcm_u8", ".avi", ".mp4", "aac")]
CONVERTED += [("adpcm_ms", ".avi", ".mp4", "aac"), ("wavpack", ".mkv", ".mov", "aac")]
CONVERTED += [("adpcm_swf", ".flv", ".mkv", "flac")]


@pytest.mark.parametrize("codec, kind, suffix, becomes", CONVERTED)
def test_sound_is_converted(tmp_path, codec, kind, suffix, becomes):
    """It is as long, as loud, and begins when it did."""
    picture = media.Picture(width=32, height=32, frames=5, codec={".flv": "flv"}.get(kind, "mpeg4"))
    source = with_sound(tmp_path / f"in{kind}", codec, picture=picture)
    info, lost = finish(source, tmp_path / f"out{suffix}", convert=True)
    assert lost == 0 and becomes in containers.changes(info, suffix)[0]
    name, language, packets = payload(tmp_path / f"out{suffix}", "audio")
    assert name == becomes and language == ("eng" if kind == ".mkv" else language)
    assert abs(packets[0][0]) < 0.03
    (_, before), (rate, after) = sound(source), sound(tmp_path / f"out{suffix}")
    assert len(after) / rate == pytest.approx(0.5, abs=0.06)
    loud = [np.sqrt(np.mean(np.square(x[len(x) // 4 : -len(x) // 4]))) for x in (before, after)]
    assert loud[1] == pytest.approx(loud[0], rel=0.05)
    peak = np.argmax(np.abs(np.fft.rfft(after))) * rate / len(after)
    assert peak == pytest.approx(440, abs=4)


def sound(path):
    """(rate, samples) of the first sound, as floats."""
    with av.open(str(path)) as file:
        rate, resampler = file.streams.audio[0].rate, av.AudioResampler("flt", "mono")
        frames = [f for frame in file.decode(audio=0) for f in resampler.resample(frame)]
        return rate, np.concatenate([f.to_ndarray()[0] for f in frames])


@pytest.mark.parametrize(
    "kind, suffix, becomes",
    [(".mkv", ".mp4", "mov_text"), (".mp4", ".mkv", "subrip"), (".mkv", ".webm", "webvtt")],
)
def test_subtitles_are_converted(tmp_path, kind, suffix, becomes):
    source = media.film(tmp_path / f"in{kind}", subtitles=1)
    info, lost = finish(source, tmp_path / f"out{suffix}", convert=True)
    assert lost == 0 and mux.unsupported(info, suffix, convert=True) == []
    name, language, packets = payload(tmp_path / f"out{suffix}", "subtitle")
    assert (name, language) == (becomes, "eng")
    assert [p[2].decode("latin1").strip("\0\5 ") for p in packets] == ["hello", "world"]
    assert [(round(p[0], 3), round(p[1], 3)) for p in packets] == [(0.1, 0.3), (0.5, 0.3)]


def test_pictures_of_subtitles_cannot_be_converted(tmp_path):
    source = tmp_path / "in.mkv"
    plain = media.film(tmp_path / "plain.mkv", TINY)
    with av.open(str(plain)) as old, av.open(str(source), "w") as file:
        video = file.add_stream_from_template(old.streams.video[0], opaque=True)
        shown = file.add_mux_stream("hdmv_pgs_subtitle")
        shown.time_base = media.TICK
        for packet in [p for p in old.demux() if p.size]:
            packet.stream = video
            file.mux(packet)
    with VideoReader(source) as reader:
        info = reader.info
    assert containers.fates(info, ".mkv") == {1: "copied"}
    assert containers.fates(info, ".mp4") == {1: "lost"} == containers.fates(info, ".webm")
    assert mux.unsupported(info, ".mp4", convert=True) == mux.unsupported(info, ".mp4") != []


def test_a_refusal_names_every_way(tmp_path):
    source = media.rich(tmp_path / "in.mkv")
    with VideoReader(source) as reader:
        info = reader.info

    plan = Plan(info, (48, 64), None, info.colour, info.sar, 1, 1)
    with pytest.raises(OutputError, match=r"subrip.*use \.mkv, --convert .*--drop"):
        _lost(tmp_path / "out.mp4", plan, Settings())
    assert len(_lost(tmp_path / "out.mp4", plan, Settings(drop=True))) == 3
    with pytest.raises(OutputError, match=r"attachment.*use \.mkv, or --drop"):
        _lost(tmp_path / "out.mp4", plan, Settings(convert=True))
    left = _lost(tmp_path / "out.mp4", plan, Settings(convert=True, drop=True))
    assert [text for text in left if "attachment" not in text] == []
    assert _lost(tmp_path / "out.mkv", plan, Settings()) == []
    named = _lost(tmp_path / "%05d.png", plan, Settings())
    assert len(named) == 7 and {"chapters", "title and other tags"} <= set(named)


def test_the_least_loss_chooses_the_container(tmp_path):
    """mov_text is at home in mp4 alone, so a datum that nobody holds does not chase it away."""
    plain = media.film(tmp_path / "in.mp4", TINY, subtitles=1)
    with VideoReader(plain) as reader:
        assert mux.default_suffix(reader.info) == ".mp4"
        assert containers.fates(reader.info, ".mkv") == {1: "convertible"}


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_texts_and_chapters_end_with_the_span(tmp_path, suffix):
    """A text that is on screen when the span begins or ends is cut to it."""
    picture = media.Picture(frames=50, options={"g": "5"})
    source = media.film(tmp_path / f"in{suffix}", picture, sounds=1, subtitles=1, extras=True)
    output = tmp_path / f"out{suffix}"
    finish(source, output, start=0.2, duration=0.4)
    with av.open(str(output)) as file:
        assert file.duration / 1e6 == pytest.approx(0.4, abs=0.045)
        chapters = [
            (c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in file.chapters()
        ]
    assert [(float(a), float(b)) for a, b in chapters] == [(0, 0.2), (0.2, 0.4)]
    texts = [(round(p[0], 3), round(p[0] + p[1], 3)) for p in payload(output, "subtitle")[2]]
    assert texts == [(0, 0.2), (0.3, 0.4)]
    sounds = payload(output, "audio")[2]
    assert sounds[0][0] >= -0.001 and sounds[-1][0] < 0.4


def test_a_duration_alone_ends_them_too(tmp_path):
    source = media.film(tmp_path / "in.mkv", subtitles=1, extras=True)
    finish(source, tmp_path / "out.mkv", duration=0.6)
    texts = [
        (round(p[0], 3), round(p[0] + p[1], 3))
        for p in payload(tmp_path / "out.mkv", "subtitle")[2]
    ]
    assert texts == [(0.1, 0.4), (0.5, 0.6)]
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert [float(c["end"] * c["time_base"]) for c in file.chapters()] == [0.4, 0.6]


def two_videos(path):
    """A small one and a larger one."""
    with av.open(str(path), "w") as file:
        sizes = (media.Picture(width=32, height=32, frames=5), media.Picture(frames=5))
        videos = [media._video(file, picture) for picture in sizes]
        file.start_encoding()
        for video, picture in zip(videos, sizes, strict=True):
            media._draw(file, video, picture)
    return path


def test_one_of_several_videos_is_chosen_and_the_others_copied(tmp_path):
    source = two_videos(tmp_path / "in.mkv")
    with VideoReader(source) as reader:
        assert (reader.info.stream_index, reader.info.width) == (1, 64)
        assert "taking 1, --stream chooses another" in reader.info.choice
    with VideoReader(source, stream=0) as reader:
        assert (reader.info.width, len(list(reader))) == (32, 5)
        assert [s.index for s in reader.info.streams] == [1]
    with pytest.raises(
        UsageError, match=r"stream 7 is no video.*0 \(h264 32x32\), 1 \(h264 64x48\)"
    ):
        VideoReader(source, stream=7)
    finish(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert [s.width for s in file.streams.video] == [32, 64]
