"""Files to worse files: what is kept, what the record says, what is refused; the cache."""

import json
import subprocess
import sys
from dataclasses import replace

import av
import media
import numpy as np
import pytest
from PIL import Image

import jaxvsr
from jaxvsr.__main__ import main
from jaxvsr.degradation import CODECS, Recipe, presets, quantise, spoil
from jaxvsr.degradation.cache import Cache
from jaxvsr.degradation.film import record_path
from jaxvsr.degradation.reading import read_frames
from jaxvsr.errors import InputError, OutputError
from jaxvsr.ops.resample import imresize

FAST = {"libx264": "ultrafast", "libx265": "ultrafast", "libvpx-vp9": "8", "libsvtav1": "12"}
SMALL = media.Picture(width=256, height=192, frames=12)
X264 = Recipe(preset="ultrafast")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return media.film(tmp_path_factory.mktemp("film") / "film.mkv", SMALL, sounds=1, subtitles=1)


def degrade(*args) -> int:
    return main(["degrade", *map(str, args)])


def record(path):
    return json.loads(record_path(path).read_text())


def packets(path, kind="video"):
    with av.open(str(path)) as file:
        stream = next(s for s in file.streams if s.type == kind)
        found = [p for p in file.demux(stream) if p.size]
        return [(p.pts * p.time_base, p.size, bytes(p)) for p in found]


@pytest.mark.parametrize("codec", CODECS)
def test_the_record_tells_what_lies_in_the_file(film, tmp_path, codec):
    out = tmp_path / "out.mkv"
    assert degrade(film, out, "--codec", codec, "--crf", 35, "--speed", FAST[codec]) == 0
    told, coded = record(out), packets(out)
    assert (told["width"], told["height"], told["frames"]) == (128, 96, 12)
    assert told["bytes"] == sum(size for _, size, _ in coded)
    assert sorted(told["per_frame"]["bytes"]) == sorted(size for _, size, _ in coded)
    assert told["kbps"] == pytest.approx(told["bytes"] * 8 / 0.48 / 1000, rel=1e-3)
    with av.open(str(out)) as file:
        kinds = "".join("?IPBSipb"[int(f.pict_type)] for f in file.decode(video=0))
    if codec in ("libx264", "libx265"):
        assert told["per_frame"]["type"] == kinds
    assert told["per_frame"]["type"][0] == kinds[0] == "I" and sum(told["types"].values()) == 12
    assert None not in told["per_frame"]["qp"] and told["recipe"]["codec"] == codec
    assert told["source"]["name"] == "film.mkv"


@pytest.mark.parametrize("codec", CODECS)
def test_a_file_is_coded_as_frames_in_memory_are(film, tmp_path, codec):
    """Not to the byte: a file's frames are never rounded to 8-bit RGB on the way."""
    recipe = Recipe(codec=codec, crf=20, preset=FAST[codec], downscale="area", matrix="bt601")
    jaxvsr.degrade(film, tmp_path / "out.mkv", recipe)
    ours, memory = read_frames(tmp_path / "out.mkv"), spoil(read_frames(film), recipe)
    assert ours.shape == memory.shape
    assert np.abs(ours.astype(int) - memory).mean() < 1.5


def test_sound_subtitles_and_times_are_kept(film, tmp_path):
    jaxvsr.degrade(film, tmp_path / "out.mkv", X264)
    for kind in ("audio", "subtitle"):
        assert packets(tmp_path / "out.mkv", kind) == packets(film, kind)
    times = [sorted(t for t, *_ in packets(p)) for p in (film, tmp_path / "out.mkv")]
    assert times[0] == times[1]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_variable_frame_times_are_kept(tmp_path, suffix):
    source = media.vfr(tmp_path / f"vfr{suffix}", sounds=1)
    out = tmp_path / f"out{suffix}"
    jaxvsr.degrade(source, out, replace(X264, kbps=50, crf=None))
    before, after = (sorted(t for t, *_ in packets(p)) for p in (source, out))
    assert before == after and len(set(np.diff([float(t) for t in after]).round(4))) > 3
    assert record(out)["seconds"] == pytest.approx(float(after[-1] - after[0]), abs=0.2)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_same_command_gives_the_same_bytes(film, tmp_path, suffix):
    for name in (f"a{suffix}", f"b{suffix}"):
        assert degrade(film, tmp_path / name, "--preset", "gan-evh-250k", "--drop") == 0
    one, two = (tmp_path / f"{name}{suffix}" for name in "ab")
    assert one.read_bytes() == two.read_bytes() and record(one) == record(two)


@pytest.mark.parametrize("name", ["bi-x4", "tecogan"])
def test_without_a_codec_a_file_is_exact(film, tmp_path, name):
    jaxvsr.degrade(film, tmp_path / "out.mkv", name)
    jaxvsr.degrade(film, tmp_path / "%03d.png", name)
    frames = read_frames(tmp_path / "out.mkv")
    for i, frame in enumerate(frames, start=1):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{i:03d}.png")), frame)
    assert frames.shape == (12, 48, 64, 3) and "bytes" not in record(tmp_path / "out.mkv")
    np.testing.assert_array_equal(frames, spoil(read_frames(film), presets.recipe(name)))


def test_swscale_on_a_file_is_ffmpeg_s_scale_filter(film, tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    jaxvsr.degrade(film, tmp_path / "out.mkv", replace(X264, downscale="swscale", crf=0))
    scale = "scale=128:96:flags=bicubic,format=yuv420p"
    command = [ffmpeg, "-v", "error", "-i", film, "-vf", scale, "-f", "rawvideo", "-"]
    command = list(map(str, command))
    raw = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    theirs = np.frombuffer(raw, np.uint8).reshape(12, -1)
    with av.open(str(tmp_path / "out.mkv")) as file:
        ours = np.stack([f.to_ndarray().ravel() for f in file.decode(video=0)])
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_a_span_begins_at_zero(film, tmp_path):
    assert degrade(film, tmp_path / "out.mkv", "--start", 0.2, "--duration", 0.2) == 0
    times = sorted(t for t, *_ in packets(tmp_path / "out.mkv"))
    assert times[0] == 0 and len(times) == 5 == record(tmp_path / "out.mkv")["frames"]


def test_odd_sides_are_cut_with_a_notice(tmp_path):
    result = jaxvsr.degrade(media.odd(tmp_path / "odd.mkv"), tmp_path / "out.mkv", X264)
    told = record(tmp_path / "out.mkv")
    assert (told["width"], told["height"]) == (30, 22)
    assert any("cut from 63x47 to 60x44" in notice for notice in result.notices)


def test_deep_video_becomes_8_bits_with_a_notice(tmp_path):
    result = jaxvsr.degrade(media.hdr10(tmp_path / "deep.mkv"), tmp_path / "out.mkv", X264)
    assert "10 bits become 8" in result.notices
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert file.streams.video[0].format.name == "yuv420p"


def test_damaged_video_is_done_and_told(tmp_path):
    source = media.corrupt(tmp_path / "bad.mkv")
    assert degrade(source, tmp_path / "out.mkv", "--speed", "ultrafast") == 6
    assert record(tmp_path / "out.mkv")["source"]["damaged"] > 0


def test_a_picture_goes_without_a_codec_and_says_so(tmp_path):
    rgb = media.drawing(0, 64, 48)
    alpha = np.full((48, 64, 1), 128, np.uint8)
    Image.fromarray(np.concatenate([rgb, alpha], -1)).save(tmp_path / "in.png")
    result = jaxvsr.degrade(tmp_path / "in.png", tmp_path / "out.png", "mst-gan")
    small = np.asarray(Image.open(tmp_path / "out.png"))
    np.testing.assert_array_equal(small[..., :3], quantise(imresize(rgb / np.float32(255), 0.25)))
    assert (small[..., 3] == 128).all() and "not coded by libx264" in result.notices[0]
    assert record(tmp_path / "out.png")["notices"] == list(result.notices)


def test_a_folder_is_spoiled_file_by_file(film, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.mkv").symlink_to(film)
    media.not_a_video(folder / "b.mp4")
    Image.fromarray(media.drawing(0, 64, 48)).save(folder / "c.png")
    assert degrade(folder, tmp_path / "out", "--preset", "gan-evh") == 3
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"a.mkv", "a.mkv.json", "c.png", "c.png.json"}
    assert "b.mp4" in capsys.readouterr().err


def test_frames_come_back_as_the_kind_they_were():
    clip = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3)).astype(np.uint8)
    small = jaxvsr.degrade(clip, recipe="bi-x2")
    np.testing.assert_array_equal(small, spoil(clip, presets.recipe("bi-x2")))
    floats = jaxvsr.degrade(clip.astype(np.float32) / 255, recipe="bi-x2")
    assert floats.dtype == np.float32 and np.abs(floats * 255 - small).max() < 1e-3
    assert jaxvsr.degrade(clip, recipe="gan-evh", factor=1).shape == clip.shape


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_works_and_says_where_it_is_from(name):
    clip = np.stack([media.drawing(i, 384, 288) for i in range(3)])
    preset = presets.PRESETS[name]
    assert preset.source and preset.recipe == presets.recipe(name)
    small = jaxvsr.degrade(clip, recipe=name)
    assert small.shape == (3, *preset.recipe.size(288, 384), 3)


def test_a_changed_codec_or_rate_takes_its_company_away():
    assert presets.recipe("sr-unet", codec="av1") == Recipe(
        downscale="swscale", codec="libsvtav1", crf=28, preset="8", gop=250
    )
    assert presets.recipe("sr-unet", kbps=500).crf is None
    assert presets.recipe("gan-evh-250k", crf=30).kbps is None
    assert presets.recipe("gan-evh-250k", codec="none").codec is None
    assert presets.recipe("tecogan", downscale="area").phase == "aligned"
    assert presets.recipe("bd-x4", factor=3).taps is None
    assert presets.recipe("sr-unet", codec="h265").preset == "medium"


@pytest.mark.parametrize(
    "args, status, words",
    [
        (["missing.mp4", "out.mp4"], 3, "no such file"),
        ([], 2, "no INPUT"),
        (["FILM", "OUT.mkv", "--preset", "psnr"], 2, "choose from sr-unet"),
        (["FILM", "OUT.mkv", "--crf", "23", "--kbps", "500"], 2, "exclude"),
        (["FILM", "OUT.mkv", "--factor", "0"], 2, "factor 0"),
        (["FILM", "OUT.mkv", "--factor", "64", "--codec", "h264", "--crf", "99"], 2, "crf 99"),
        (["FILM", "OUT.mp4"], 4, "cannot hold"),
        (["FILM", "OUT.webm"], 2, "does not take libx265"),
        (["FILM", "OUT.mp4", "--preset", "bi-x4"], 2, "without a codec"),
        (["FILM", "OUT-%03d.png"], 2, "pictures hold no libx265"),
        (["FILM", "FILM", "--overwrite"], 4, "the input itself"),
        (["FILM", "OUT.mkv", "--start", "99"], 3, "no frames"),
        (["TEXT", "OUT.mkv"], 3, "not a video"),
        (["FILM", "missing/out.mkv"], 4, "no such folder"),
    ],
)
def test_what_cannot_be_is_one_line_and_a_status(film, tmp_path, capsys, args, status, words):
    text = media.not_a_video(tmp_path / "text.mp4")
    there = {"FILM": str(film), "TEXT": str(text)}
    args = [there.get(a, a.replace("OUT", str(tmp_path / "out"))) for a in args]
    assert degrade(*args) == status
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and words in said[0]
    assert [p.name for p in tmp_path.iterdir()] == ["text.mp4"]


def test_what_an_encoder_refuses_is_told_in_its_words(film, tmp_path, capsys):
    assert degrade(film, tmp_path / "out.mkv", "--factor", 32, "--codec", "h265") == 2
    assert "8x6 by libx265: the encoder refuses" in capsys.readouterr().err
    with pytest.raises(jaxvsr.JaxvsrError, match="8x6 by libx265"):
        jaxvsr.degrade(read_frames(film), factor=32)
    assert list(tmp_path.iterdir()) == []


def test_a_stop_leaves_nothing_behind(film, tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxvsr.degradation.film.mux.assemble", stop)
    assert degrade(film, tmp_path / "out.mkv", "--speed", "ultrafast") == 130
    assert "nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_without_leave(film, tmp_path, capsys):
    out = tmp_path / "out.mkv"
    for there in (out, record_path(out)):
        there.write_text("mine")
        assert degrade(film, out, "--speed", "ultrafast") == 4
        assert "give --overwrite" in capsys.readouterr().err and there.read_text() == "mine"
        there.unlink()
    out.write_text("mine")
    assert degrade(film, out, "--speed", "ultrafast", "--overwrite") == 0
    assert record(out)["frames"] == 12


def test_a_failure_leaves_nothing_behind(film, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jaxvsr.degradation.film.mux.assemble", full)
    with pytest.raises(jaxvsr.JaxvsrError, match="disk is full"):
        jaxvsr.degrade(film, tmp_path / "out.mkv", X264)
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_film(tmp_path):
    """Peaks of two processes, for 40 and for 400 frames of 320x240: frames would be 90 MB."""
    code = "import jaxvsr, resource, sys; jaxvsr.degrade(*sys.argv[1:3], 'gan-evh'); "
    code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    peaks = []
    for count in (60, 400):
        picture = media.Picture(320, 240, count, options={"preset": "ultrafast"})
        source = media.film(tmp_path / f"{count}.mkv", picture)
        out = str(tmp_path / f"out{count}.mkv")
        line = [sys.executable, "-c", code, source, out]
        done = subprocess.run(line, capture_output=True, timeout=120)
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 30_000  # KiB


def test_the_list_shows_every_preset(capsys):
    assert degrade("--list") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in presets.PRESETS) and "ours:" in said


def clip(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (4, 32, 48, 3)).astype(np.uint8)


@pytest.mark.parametrize("recipe", [X264, Recipe(codec=None), Recipe(codec="vp9", preset="8")])
def test_the_cache_gives_what_the_codec_gave(tmp_path, recipe, monkeypatch):
    cache, expected = Cache(tmp_path), spoil(clip(), recipe)
    np.testing.assert_array_equal(cache.spoil(clip(), recipe), expected)
    assert cache.bytes > 0

    def never(*_):
        raise AssertionError("coded again")

    monkeypatch.setattr("jaxvsr.degradation.cache.spoil_to_packets", never)
    np.testing.assert_array_equal(Cache(tmp_path).spoil(clip(), recipe), expected)


def test_other_content_and_other_recipes_are_other_entries(tmp_path):
    cache = Cache(tmp_path)
    for source in (clip(0), clip(1)):
        for recipe in (X264, replace(X264, crf=40)):
            np.testing.assert_array_equal(cache.spoil(source, recipe), spoil(source, recipe))
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "text"])
def test_a_damaged_entry_is_made_anew(tmp_path, harm):
    cache, expected = Cache(tmp_path), spoil(clip(), X264)
    cache.spoil(clip(), X264)
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    flipped = whole[:90] + bytes([whole[90] ^ 1]) + whole[91:]
    entry.write_bytes({"cut": whole[:-9], "flip": flipped, "empty": b"", "text": b"x" * 99}[harm])
    np.testing.assert_array_equal(cache.spoil(clip(), X264), expected)
    assert entry.read_bytes() == whole


def test_a_bounded_cache_lets_the_oldest_go(tmp_path):
    one = Cache(tmp_path)
    one.spoil(clip(0), X264)
    small = Cache(tmp_path, limit=int(one.bytes * 2.5))
    for seed in (1, 0, 2, 3):
        small.spoil(clip(seed), X264)
    assert small.bytes <= small.limit and len(list(tmp_path.iterdir())) == 2


def test_a_film_s_span_is_kept_by_its_content(film, tmp_path):
    cache = Cache(tmp_path / "cache")
    expected = spoil(read_frames(film, 3, 5), X264)
    copy = tmp_path / "other.mkv"
    copy.write_bytes(film.read_bytes())
    for path in (film, copy):
        np.testing.assert_array_equal(cache.spoil_film(path, X264, 3, 5), expected)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    with pytest.raises(InputError, match="no such file"):
        cache.spoil_film(tmp_path / "none.mkv", X264)
    with pytest.raises(InputError, match="no frame 99"):
        cache.spoil_film(film, X264, 99)


SHARE = """
import sys, numpy as np
from jaxvsr.degradation.cache import Cache
from jaxvsr.degradation import Recipe
clips = [np.full((4, 32, 48, 3), level, np.uint8) for level in (10, 100, 200)]
cache = Cache(sys.argv[1])
print([int(cache.spoil(clip, Recipe()).mean()) for clip in clips * 3])
"""


def test_processes_may_share_a_cache(tmp_path):
    command = [sys.executable, "-c", SHARE, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].strip() for process in running]
    assert said[0] == said[1] == str([10, 100, 200] * 3)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_cache_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="another folder"):
        Cache(tmp_path / "file" / "cache")
