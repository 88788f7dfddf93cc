"""What `enhance` keeps of a file, what it refuses, and what it says."""

import json
from fractions import Fraction

import av
import media
import numpy as np
import pytest
import toys
from PIL import Image

import jaxvsr
from jaxvsr import weights
from jaxvsr.__main__ import main
from jaxvsr.inference import network
from jaxvsr.inference.enhance import enhance_path
from jaxvsr.inference.film import enhance_film
from jaxvsr.inference.settings import Settings
from jaxvsr.video import colour
from jaxvsr.video.reader import VideoReader


def same(source, output, **settings):
    """A file through a network that changes nothing, written without loss."""
    settings = {"codec": "ffv1", **settings}
    return enhance_film(toys.identity(), source, output, Settings(**settings), "none")


def planes_of(path, **options):
    with VideoReader(path, **options) as reader:
        return [(f.pts * reader.info.time_base, f.planes) for f in reader], reader.info


def streams_of(path, skip_video=True):
    """(type, language, title, disposition, [(seconds, bytes) of every packet]) of each stream."""
    with av.open(str(path)) as file:
        chosen = [s for s in file.streams if not (skip_video and s.type == "video")]
        packets = {s.index: [] for s in chosen}
        for packet in file.demux(chosen):
            if packet.size:
                at = None if packet.pts is None else packet.pts * packet.time_base
                packets[packet.stream.index].append((at, bytes(packet)))
        facts = lambda s: (s.type, s.language, s.metadata.get("title"), int(s.disposition))
        return [(*facts(s), packets[s.index]) for s in chosen]


CASES = {
    "plain": media.film,
    "vfr": media.vfr,
    "ten_bit_hdr": media.hdr10,
    "bt601_full": lambda p: media.tagged(p, "bt601", full=True),
    "bt709_limited": lambda p: media.tagged(p, "bt709"),
    "odd": media.odd,
    "anamorphic": media.anamorphic,
}


@pytest.mark.parametrize("case", CASES)
def test_identity_network_leaves_every_code_and_time(case, tmp_path):
    """Codes are within half a level before encoding, so a lossless file is equal."""
    source = CASES[case](tmp_path / "in.mkv")
    more = {"odd": {"pix_fmt": "yuv444p"}}
    same(source, tmp_path / "out.mkv", **more.get(case, {}))
    before, there = planes_of(source)
    after, here = planes_of(tmp_path / "out.mkv")
    assert [t for t, _ in after] == [t for t, _ in before]
    assert (here.sar, here.colour.full_range) == (there.sar, there.colour.full_range)
    assert here.colour.bits == there.colour.bits
    codes = "primaries", "transfer", "matrix"
    assert [getattr(here.colour, c) for c in codes] == [getattr(there.colour, c) for c in codes]
    for (_, a), (_, b) in zip(before, after, strict=True):
        if case == "odd":  # chroma went to full size; luma cannot be touched by that
            a, b = a[:1], [plane[: a[0].shape[0], : a[0].shape[1]] for plane in b[:1]]
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_ten_bits_stay_ten_bits_with_their_tags_by_default(tmp_path):
    source = media.hdr10(tmp_path / "in.mkv")
    result = enhance_film(toys.still(), source, None, Settings(preset="ultrafast"), "none")
    with VideoReader(result.output) as reader, VideoReader(source) as original:
        info, first = reader.info, original.info
    assert (info.pix_fmt, info.width, info.height) == ("yuv420p10le", 128, 96)
    assert info.colour.transfer == 16 and info.colour.matrix == "bt2020"  # PQ
    assert info.hdr == first.hdr and info.hdr


def test_sound_subtitles_chapters_and_attachments_are_the_same_bytes(tmp_path):
    source = media.rich(tmp_path / "in.mkv")
    output = same(source, tmp_path / "out.mkv").output
    before, after = streams_of(source), streams_of(output)
    assert [s[0] for s in after].count("audio") == 2 and [s[0] for s in after].count(
        "subtitle"
    ) == 2
    assert any(s[0] == "attachment" for s in after)
    assert before == after
    with av.open(str(source)) as a, av.open(str(output)) as b:
        titles = lambda f: [(c["start"] * c["time_base"], c["metadata"]) for c in f.chapters()]
        assert titles(a) == titles(b) and len(titles(b)) == 2
        assert a.metadata["title"] == b.metadata["title"]
        assert abs(a.duration - b.duration) <= 40_000  # a frame


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_starts_and_ends_with_the_picture(suffix, tmp_path):
    source = media.film(tmp_path / f"in{suffix}", sounds=1)
    output = tmp_path / f"out{suffix}"
    enhance_film(toys.identity(), source, output, Settings(), "none")
    frame = Fraction(1, 25)
    for index in (0, -1):
        (before,), (after,) = streams_of(source), streams_of(output)
        assert abs(before[-1][index][0] - after[-1][index][0]) <= Fraction(1, 1000)
        a, b = planes_of(source)[0], planes_of(output)[0]
        assert abs(a[index][0] - b[index][0]) < frame / 2


def test_variable_frame_times_reach_an_mp4(tmp_path):
    source = media.vfr(tmp_path / "in.mp4")
    enhance_film(toys.still(), source, tmp_path / "out.mp4", Settings(), "none")
    times = lambda path: [float(t) for t, _ in planes_of(path)[0]]
    np.testing.assert_allclose(times(tmp_path / "out.mp4"), times(source), atol=1e-3)
    assert len(set(np.round(np.diff(times(source)), 4))) > 1


def test_pixels_become_square_in_pictures_which_cannot_tell_their_shape(tmp_path):
    source = media.anamorphic(tmp_path / "in.mkv", Fraction(3, 2))
    result = enhance_film(toys.still(), source, tmp_path / "%02d.png", Settings(), "none")
    assert "square" in result.notices[0]
    with Image.open(tmp_path / "01.png") as picture:
        assert picture.size == (192, 96)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".webm"])
def test_pixels_keep_their_shape(suffix, tmp_path):
    source = media.anamorphic(tmp_path / "in.mkv", Fraction(3, 2))
    result = enhance_film(toys.still(), source, tmp_path / f"out{suffix}", Settings(), "none")
    info = planes_of(result.output)[1]
    assert (info.width, info.height, info.sar) == (128, 96, Fraction(3, 2))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_film_looks_as_it_looked(degrees, tmp_path):
    source = media.rotated(tmp_path / "in.mp4", degrees)
    same(source, tmp_path / "out.mkv")
    upright = media.film(tmp_path / "upright.mp4")
    turned = planes_of(tmp_path / "out.mkv")[0][0][1][0].astype(int)
    plain = np.rot90(planes_of(upright)[0][0][1][0].astype(int), -degrees // 90)
    assert turned.shape == plain.shape and np.abs(turned - plain).mean() < 2
    assert planes_of(tmp_path / "out.mkv")[1].rotation == 0


def test_interlaced_film_is_deinterlaced_with_a_notice(tmp_path):
    source = media.interlaced(tmp_path / "in.mkv")
    result = same(source, tmp_path / "out.mkv")
    assert any("deinterlacing" in n for n in result.notices)
    kept = same(source, tmp_path / "kept.mkv", interlaced="keep")
    assert kept.notices == ("interlaced: kept, but the output is not flagged so",)
    assert result.frames == kept.frames


@pytest.mark.parametrize(
    "asked, size",
    [
        ({"scale": 1.5}, (96, 72)),
        ({"height": 72}, (96, 72)),
        ({}, (128, 96)),
        ({"scale": 3}, (192, 144)),
    ],
)
def test_any_size_can_be_asked_for(asked, size, tmp_path):
    source = media.film(tmp_path / "in.mkv")
    enhance_film(toys.still(), source, tmp_path / "out.mkv", Settings(**asked), "none")
    info = planes_of(tmp_path / "out.mkv")[1]
    assert (info.width, info.height) == size


def test_odd_sizes_become_even_for_subsampled_chroma(tmp_path):
    source = media.odd(tmp_path / "in.mkv")
    enhance_film(toys.still(), source, tmp_path / "out.mkv", Settings(scale=1), "none")
    info, first = planes_of(tmp_path / "out.mkv")[1], planes_of(source)[1]
    assert (info.width % 2, info.height % 2) == (0, 0)
    assert abs(info.width - first.width) <= 1 and abs(info.height - first.height) <= 1


def test_a_span_is_cut_with_its_sound(tmp_path):
    source = media.film(tmp_path / "in.mkv", sounds=1)
    result = same(source, tmp_path / "out.mkv", start=0.4, duration=0.4)
    assert result.frames == 10
    before, after = planes_of(source)[0], planes_of(tmp_path / "out.mkv")[0]
    np.testing.assert_array_equal(after[0][1][0], before[10][1][0])
    assert abs(float(after[0][0])) < 0.001
    ((*_, packets),) = streams_of(tmp_path / "out.mkv")
    assert -0.05 < float(packets[0][0]) < 0.05 and 0.3 < float(packets[-1][0]) < 0.45


@pytest.mark.parametrize("suffix", [".webm", ".y4m", ".mov", ".mp4"])
def test_other_containers(suffix, tmp_path):
    source = media.film(tmp_path / "in.mkv")
    result = enhance_film(toys.still(), source, tmp_path / f"out{suffix}", Settings(), "none")
    frames, info = planes_of(result.output)
    assert len(frames) == 25 and (info.width, info.height) == (128, 96)


def test_pictures_by_a_pattern(tmp_path):
    source = media.film(tmp_path / "in.mkv")
    folder = tmp_path / "frames"  # made by it
    same_size = enhance_film(toys.identity(), source, folder / "f%03d.png", Settings(), "none")
    names = sorted(p.name for p in folder.glob("*.png"))
    assert names == [f"f{i:03d}.png" for i in range(1, 26)] and same_size.frames == 25
    (_, planes), info = planes_of(source)[0][7], planes_of(source)[1]
    rgb = np.clip(colour.to_rgb(planes, info.colour), 0, 1) * 255
    with Image.open(folder / "f008.png") as picture:
        np.testing.assert_allclose(np.asarray(picture), rgb, atol=0.51)
    assert not list(folder.glob("*.part"))
    with pytest.raises(jaxvsr.JaxvsrError, match="none: no such folder; make it first"):
        enhance_film(toys.identity(), source, tmp_path / "none/f/%d.png", Settings(), "none")


def test_picture_keeps_alpha_and_depth(tmp_path):
    rgba = np.random.default_rng(0).integers(1, 255, (21, 34, 4), np.uint8)
    rgba[..., 3] = np.linspace(0, 255, 34).astype(np.uint8)
    Image.fromarray(rgba).save(tmp_path / "in.png")
    result = enhance_path(toys.still(), tmp_path / "in.png", None, Settings())
    assert result.output == tmp_path / "in_x2.png"
    with Image.open(result.output) as picture:
        got = np.asarray(picture)
    assert got.shape == (42, 68, 4)
    assert (got[:, 0, 3] < 8).all() and (got[:, -1, 3] > 247).all()


def test_folder_of_pictures_and_videos(tmp_path):
    folder = tmp_path / "all"
    folder.mkdir()
    media.film(folder / "b.mkv")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "a.png")
    (folder / "notes.txt").write_text("not media")
    results = enhance_path(toys.still(), folder, None, Settings())
    assert [r.output.name for r in results] == ["a.png", "b.mkv"]
    assert {p.name for p in (tmp_path / "all_x2").iterdir()} == {"a.png", "b.mkv"}
    assert enhance_path(toys.still(), folder, None, Settings()) == []  # all is done


def test_one_bad_file_does_not_stop_a_folder(tmp_path, capsys):
    folder = tmp_path / "all"
    folder.mkdir()
    media.not_a_video(folder / "a.mp4")
    media.film(folder / "b.mkv")
    assert main(["enhance", str(folder), "--model", "bicubic"]) == 3
    assert (tmp_path / "all_x2" / "b.mkv").exists()
    assert "a.mp4" in capsys.readouterr().err


def test_preview_shows_before_and_after(tmp_path, capsys):
    source = media.film(tmp_path / "in.mkv")
    assert main(["enhance", str(source), "--model", "lanczos", "--preview"]) == 0
    with Image.open(tmp_path / "in_preview.png") as sheet:
        assert sheet.width > sheet.height
    assert capsys.readouterr().out.strip().endswith("in_preview.png")


def test_json_ends_with_a_summary(tmp_path, capsys):
    source = media.film(tmp_path / "in.mkv")
    assert main(["enhance", str(source), "--model", "bicubic", "--json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["event"], last["frames"], last["damaged"]) == ("done", 25, 0)
    assert last["output"].endswith("in_x2.mkv")


def test_library_takes_frames_and_paths(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (2, 16, 20, 3), np.uint8)
    better = jaxvsr.enhance(frames, model="bicubic", scale=1.5)
    assert better.shape == (2, 24, 30, 3) and better.dtype == np.uint8
    result = jaxvsr.enhance(media.film(tmp_path / "in.mkv"), model="bicubic", height=72)
    assert result.frames == 25 and result.output.name == "in_72p.mkv"
    net = jaxvsr.load("bicubic")
    assert net(frames).shape == (2, 32, 40, 3)
    assert weights.load("bicubic").spec == net.spec


def test_unknown_setting_is_named():
    with pytest.raises(jaxvsr.JaxvsrError, match="no setting crt"):
        jaxvsr.enhance(np.zeros((1, 4, 4, 3), np.uint8), model="bicubic", crt=3)


@pytest.mark.parametrize("more", [{"batch": 4}, {"tile": 16}, {"batch": 3, "tile": 24}])
def test_batches_and_tiles_change_nothing(more, tmp_path):
    source = media.film(tmp_path / "in.mkv")  # 25 frames: the last batch is not full
    outputs = []
    for name, options in (("a.mkv", {}), ("b.mkv", more)):
        settings = Settings(codec="ffv1", **options)
        enhance_film(toys.still(), source, tmp_path / name, settings, "none")
        outputs.append([planes for _, planes in planes_of(tmp_path / name)[0]])
    assert len(outputs[0]) == len(outputs[1]) == 25
    for a, b in zip(*outputs, strict=True):
        for x, y in zip(a, b, strict=True):
            assert np.abs(x.astype(int) - y).max() <= 1  # 1e-5 may tip a rounding
            assert (x != y).mean() < 1e-3


def test_models_are_listed_with_their_facts(capsys):
    assert main(["models", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in told["networks"]}
    assert rows.keys() == jaxvsr.MODELS.keys()
    assert rows["esrgan"]["parameters"] == 16_697_987 and rows["srvgg"]["parameters"] == 621_424
    assert main(["models"]) == 0
    table, _, names = capsys.readouterr().out.strip().split("\n\n")
    heads, *lines = table.splitlines()
    assert len(lines) == len(rows) and "flops" in heads and "paper" in heads
    listed = [line.split()[0] for line in names.splitlines()[1:]]
    assert listed == list(told["packaged"]) and network.DEFAULT_MODEL in listed


def test_preview_never_replaces_its_input(tmp_path, capsys):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    place = str(tmp_path / "a.png")
    args = ["enhance", place, place, "--model", "bicubic", "--preview", "--overwrite"]
    assert main(args) == 4
    assert "is the input itself" in capsys.readouterr().err
    assert (tmp_path / "a.png").read_bytes() == before


def test_frames_go_to_the_device_that_is_asked_for():
    frames = np.zeros((1, 8, 8, 3), np.float32)
    with pytest.raises(jaxvsr.JaxvsrError, match="tpu"):
        jaxvsr.enhance(frames, model="bicubic", device="tpu")


def test_videos_of_a_folder_go_to_containers_that_can_be_written(tmp_path):
    folder = tmp_path / "all"
    folder.mkdir()
    media.film(folder / "a.mkv").rename(folder / "a.avi")  # told by content, not by name
    media.film(folder / "a.mkv")
    results = enhance_path(toys.still(), folder, None, Settings())
    assert [r.output.name for r in results] == ["a.avi.mkv", "a.mkv"]
    assert enhance_path(toys.still(), folder, None, Settings()) == []
