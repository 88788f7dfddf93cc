"""What rides on frames, and what a picture can have beside colours: kept, refused or named."""

import io
from dataclasses import replace
from fractions import Fraction

import av
import media
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideData

import jaxvsr
from jaxvsr.errors import InputError, OutputError
from jaxvsr.video import containers, encode, hdr, marks, mux
from jaxvsr.video.reader import VideoReader

TINY = media.Picture(width=32, height=32, frames=5)


def marked(path, after=0):
    """H.264 with closed captions (CEA-708 in an SEI message) in the packets `after` some."""
    captions = b"\xb5\x00\x31GA94\x03\xc1\xff\xfc\x94\x20\xff"
    sei = bytes([6, 4, len(captions)]) + captions + b"\x80"
    plain = media.film(path.with_stem("plain"), TINY)
    with av.open(str(plain)) as old, av.open(str(path), "w") as file:
        video = file.add_stream_from_template(old.streams.video[0], opaque=True)
        for i, packet in enumerate(p for p in old.demux() if p.size):
            message = len(sei).to_bytes(4, "big") + sei if i >= after else b""
            new = av.Packet(message + bytes(packet))
            new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
            new.is_keyframe, new.stream = packet.is_keyframe, video
            file.mux(new)
    return path


def test_closed_captions_inside_the_video_are_named(tmp_path):
    with VideoReader(marked(tmp_path / "in.mkv")) as reader:
        assert len(list(reader)) == 5
        assert [text for text in reader.info.marks if "closed captions" in text]
        assert [text for text in mux.unsupported(reader.info, ".mkv") if "captions" in text]
        assert reader.surprises() == []


def test_what_is_met_later_is_named_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxvsr.video.reader.PEEK", 1)
    with VideoReader(marked(tmp_path / "in.mkv", after=3)) as reader:
        assert reader.info.marks == ()
        assert len(list(reader)) == 5
        assert "closed captions" in reader.surprises()[0]


def test_dynamic_hdr_is_named(tmp_path):
    """No encoder takes what describes the old pixels frame by frame."""
    with VideoReader(media.film(tmp_path / "in.mkv", TINY)) as reader:
        info = replace(reader.info, hdr={"dynamic": sorted(set(hdr.DYNAMIC.values()))})
    for text in ("HDR10+", "Dolby Vision", "HDR Vivid"):
        assert text in " ".join(mux.unsupported(info, ".mkv"))


def test_every_kind_of_side_data_has_a_name_that_pyav_knows():
    """AV1's grain is in the pixels by then, and only told of where a decoder leaves it out."""
    kinds = {kind.name for kind in SideData}
    assert marks.NAMES.keys() | hdr.DYNAMIC.keys() <= kinds
    assert "FILM_GRAIN_PARAMS" in marks.NAMES


@pytest.mark.parametrize("suffix, fate", [(".mkv", "lost"), (".mp4", "lost"), (".webm", "lost")])
def test_data_are_refused_or_named(tmp_path, suffix, fate):
    """KLV as drones write it into MPEG-TS."""
    source = tmp_path / "in.ts"
    with av.open(str(source), "w") as file:
        video, data = media._video(file, TINY), file.add_data_stream("klv")
        data.time_base = Fraction(1, 90000)
        file.start_encoding()
        media._draw(file, video, TINY)
        packet = av.Packet(b"\x06\x0e\x2b\x34" * 8)
        packet.pts = packet.dts = 9000
        packet.time_base, packet.stream = Fraction(1, 90000), data
        file.mux(packet)
    with VideoReader(source) as reader:
        assert containers.fates(reader.info, suffix) == {1: fate}
        assert mux.unsupported(reader.info, suffix) == ["data stream 1 (klv)"]


def test_a_stereo_arrangement_is_named(tmp_path):
    picture = media.Picture(frames=3, options={"x264-params": "frame-packing=3"})
    with VideoReader(media.film(tmp_path / "in.mkv", picture)) as reader:
        assert reader.info.marks == ("stereo 3D arrangement",)


def layered(path, codec: str, pix_fmt: str, count=4):
    """A film whose left half is transparent, and whose right half is half so."""
    alpha = np.full((48, 64), 128, np.uint8)
    alpha[:, :32] = 0
    with av.open(str(path), "w") as file:
        video = file.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, pix_fmt
        video.codec_context.thread_count = 1
        if codec.startswith("libvpx"):
            video.metadata["alpha_mode"] = "1"
        for i in range(count):
            rgba = np.dstack([media.drawing(i, 64, 48), alpha])
            frame = av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format=pix_fmt, threads=1)
            frame.pts, frame.time_base = i, Fraction(1, 25)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
    return path


LAYERS = [("webm", "libvpx-vp9", "yuva420p", ".webm"), ("mov", "prores_ks", "yuva444p10le", ".mov")]
LAYERS += [("mov", "qtrle", "argb", ".mov"), ("mkv", "ffv1", "bgra", ".mkv")]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind, codec, pix_fmt, suffix", LAYERS)
def test_transparency_is_kept(tmp_path, kind, codec, pix_fmt, suffix):
    """VP9's lies beside the picture, where its usual decoder does not look."""
    source = layered(tmp_path / f"in.{kind}", codec, pix_fmt)
    result = jaxvsr.enhance(source, tmp_path / f"out{suffix}", model="bicubic", scale=2)
    assert result.notices == ()
    with VideoReader(result.output) as reader:
        alphas = [frame.alpha for frame in reader]
        assert mux.default_suffix(reader.info) == suffix
    assert len(alphas) == 4 and alphas[0].shape == (96, 128)
    for alpha in alphas:
        assert alpha[:, :56].mean() < 800 and abs(alpha[:, 72:].mean() - 128 * 257) < 800


def test_transparency_that_cannot_be_written_is_refused(tmp_path):
    source = layered(tmp_path / "in.webm", "libvpx-vp9", "yuva420p")
    with pytest.raises(OutputError, match=r"transparency.*use \.webm, or --drop"):
        jaxvsr.enhance(source, tmp_path / "out.mp4", model="bicubic")
    result = jaxvsr.enhance(source, tmp_path / "out.mp4", model="bicubic", drop=True)
    assert "transparency" in result.notices[0]
    with av.open(str(result.output)) as file:
        assert "alpha_mode" not in file.streams.video[0].metadata


def test_an_opaque_alpha_chooses_no_codec(tmp_path):
    """Recordings of screens have one; they are not to become lossless for it."""
    path = media.film(tmp_path / "in.mkv", media.Picture(frames=3, codec="ffv1", pix_fmt="bgra"))
    with VideoReader(path) as reader:
        assert reader.info.marks == ()
        assert encode.choose(reader.info, ".mkv").codec == "libx264"
        assert mux.unsupported(reader.info, ".mp4") == []


def test_a_span_of_a_transparent_video_begins_where_it_should(tmp_path):
    """Seeking begins libvpx anew as well."""
    source = layered(tmp_path / "in.webm", "libvpx-vp9", "yuva420p", count=20)
    with VideoReader(source) as reader:
        whole = list(reader)
    with VideoReader(source, start=0.4, duration=0.2) as reader:
        part = list(reader)
    assert [f.pts for f in part] == [f.pts for f in whole[10:15]]
    np.testing.assert_array_equal(part[0].planes[0], whole[10].planes[0])
    np.testing.assert_array_equal(part[0].alpha, whole[10].alpha)


def test_a_change_of_size_is_told(tmp_path):
    parts = [tmp_path / "a.h264", tmp_path / "b.h264"]
    media.film(parts[0], media.Picture(frames=10))
    media.film(parts[1], media.Picture(width=96, height=64, frames=4))
    both = tmp_path / "in.h264"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    with VideoReader(both) as reader:
        frames = list(reader)
        assert {f.planes[0].shape for f in frames} == {(48, 64)} and len(frames) == 14
        assert reader.surprises() == ["4 frames of 96x64 were scaled to 64x48"]


def test_an_encrypted_video_is_refused(tmp_path):
    keys = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76" * 16}
    plain = media.film(tmp_path / "plain.mp4", TINY)
    path = tmp_path / "in.mp4"
    options = {**keys, "encryption_kid": "a7" * 16}
    with av.open(str(plain)) as old, av.open(str(path), "w", container_options=options) as file:
        video = file.add_stream_from_template(old.streams.video[0], opaque=True)
        for packet in [p for p in old.demux() if p.size]:
            packet.stream = video
            file.mux(packet)
    with pytest.raises(InputError, match="encrypted"):
        VideoReader(path)


def test_a_file_in_memory_can_be_a_target():
    with containers.open_target(io.BytesIO(), ".mp4") as target:
        target.add_stream("libx264", rate=25).width = 32
        target.streams[0].height = 32
        target.start_encoding()
        assert target.format.name == "mp4"
