"""Comparing files gives what the metrics give for their frames, says what it did, and refuses."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import media
import numpy as np
import pytest

import jaxvsr
from jaxvsr.__main__ import main
from jaxvsr.comparison import beside, run, score
from jaxvsr.comparison.candidates import Candidate, name_all, parse
from jaxvsr.comparison.run import compare
from jaxvsr.comparison.settings import Settings
from jaxvsr.errors import DAMAGED, InputError, UsageError, WeightsError
from jaxvsr.metrics import psnr, ssim
from jaxvsr.metrics.table import METRICS
from jaxvsr.video.colour import to_rgb
from jaxvsr.video.images import write_image
from jaxvsr.video.reader import VideoReader

GOOD = media.Picture(frames=6, options={"crf": "10"})
POOR = media.Picture(frames=6, options={"crf": "35"})


@pytest.fixture
def films(tmp_path) -> list[str]:
    """A film, and a worse copy in another container."""
    return [
        str(media.film(tmp_path / "good.mp4", GOOD)),
        str(media.film(tmp_path / "poor.mkv", POOR)),
    ]


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    """Nothing on disk, nothing in the cache, no network."""
    monkeypatch.delenv("JAXVSR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))

    def closed(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", closed)


def frames_of(path) -> np.ndarray:
    """RGB [T, H, W, 3] in [0, 1] by our own conversion."""
    with VideoReader(path) as reader:
        planes = [frame.planes for frame in reader]
    stacked = tuple(np.stack(plane) for plane in zip(*planes, strict=True))
    return np.clip(to_rgb(stacked, reader.info.colour), 0, 1)


def scenes(count=6, height=48, width=64) -> np.ndarray:
    return np.stack([media.drawing(i, width, height) for i in range(count)])


def noisy(frames: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).integers(-9, 10, frames.shape)
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


def test_files_score_as_their_frames(films):
    real, fake = (jnp.asarray(frames_of(path)) for path in films)
    scores = jaxvsr.compare(*films, metrics=("psnr", "ssim"), crop=4)
    np.testing.assert_allclose(scores.frames["psnr"], psnr(fake, real, crop=4), atol=1e-4)
    np.testing.assert_allclose(scores.frames["ssim"], ssim(fake, real, crop=4), atol=1e-5)
    np.testing.assert_allclose(scores.times, np.arange(6) / 25, atol=1e-9)
    assert scores.name == "poor" and scores.kbps > 1


def test_arrays_score_as_the_metrics_do():
    real = scenes()
    fake = noisy(real)
    whole = jaxvsr.compare(real, fake, metrics=("psnr", "psnr_y", "ssim_y"))
    part = jaxvsr.compare(jnp.asarray(real / 255, jnp.float32), fake, metrics=("psnr", "psnr_y"))
    a, b = (jnp.asarray(x, jnp.float32) / 255 for x in (fake, real))
    for scores in (whole, part):
        np.testing.assert_allclose(scores.frames["psnr"], psnr(a, b), atol=1e-4)
        np.testing.assert_allclose(scores.frames["psnr_y"], psnr(a, b, channels="y"), atol=1e-4)
    np.testing.assert_allclose(whole.frames["ssim_y"], ssim(a, b, channels="y"), atol=1e-5)


@pytest.mark.parametrize("matrix, full", [("bt601", False), ("bt709", False), ("bt709", True)])
def test_luma_is_taken_from_the_planes_by_each_files_tags(tmp_path, matrix, full):
    tagged = media.tagged(tmp_path / "a.mp4", matrix, full=full)
    other = media.tagged(tmp_path / "b.mp4", "bt601")
    real, fake = (jnp.asarray(frames_of(path)) for path in (tagged, other))
    scores = jaxvsr.compare(tagged, other, metrics=("psnr", "psnr_y"))
    np.testing.assert_allclose(scores.frames["psnr"], psnr(fake, real), atol=1e-3)
    np.testing.assert_allclose(scores.frames["psnr_y"], psnr(fake, real, channels="y"), atol=0.05)
    assert scores.mean("psnr") > 30  # the same picture, whatever the tags


def test_identical_files_have_infinite_psnr(films, capsys):
    assert main(["compare", films[0], films[0]]) == 0
    assert "inf" in capsys.readouterr().out
    scores = jaxvsr.compare(films[0], films[0])
    assert scores.mean("psnr") == scores.mean("psnr_y") == np.inf and scores.equal("psnr") == 6
    assert scores.mean("ssim_y") == 1


def test_depth_is_not_lost(tmp_path):
    steps = np.linspace(0, 65535, 64 * 48 * 3).reshape(48, 64, 3).astype(np.uint16)
    for name, shift in (("a", 0), ("b", 40)):
        write_image(tmp_path / f"{name}.png", np.minimum(steps, 65000) + np.uint16(shift))
    scores = jaxvsr.compare(tmp_path / "a.png", tmp_path / "b.png", metrics=("psnr",))
    assert scores.mean("psnr") == pytest.approx(20 * np.log10(65535 / 40), abs=1e-2)


def test_ten_bits_stay_ten_bits(tmp_path):
    deep = replace(GOOD, pix_fmt="yuv420p10le")
    paths = [media.film(tmp_path / f"{i}.mkv", replace(deep, codec="ffv1")) for i in range(2)]
    assert jaxvsr.compare(*paths).mean("psnr") == np.inf
    shallow = media.film(tmp_path / "8.mkv", replace(GOOD, codec="ffv1"))
    assert 45 < jaxvsr.compare(paths[0], shallow).mean("psnr") < 70


def test_batches_of_any_size_give_the_same(films, monkeypatch, shared):
    names = ("psnr", "ssim_y", "tof", "tpsnr")
    one, many = [], []
    for size, found in ((1, one), (4, many)):
        monkeypatch.setattr("jaxvsr.comparison.run.batch_size", lambda *_, n=size: n)
        found.append(compare(films[0], films[1:], Settings(names))[0])
    for name in names:
        values = one[0].frames[name], many[0].frames[name]
        np.testing.assert_allclose(*values, rtol=1e-4)
        assert np.isnan(values[0][0]) == (METRICS[name].kind == "motion")
        assert np.isfinite(values[0][1:]).all()


def test_resizing_brings_a_candidate_to_the_references_size(tmp_path, films):
    small = media.film(tmp_path / "small.mp4", replace(GOOD, width=32, height=24))
    scores = jaxvsr.compare(films[0], small, resize="bicubic")
    assert 15 < scores.mean("psnr") < 40
    assert any("resized to 64x48 by bicubic" in text for text in scores.notices)


def test_one_picture_has_no_motion(tmp_path):
    real = scenes(1)
    for name, picture in (("a", real[0]), ("b", noisy(real)[0])):
        write_image(tmp_path / f"{name}.png", picture)
    scores = jaxvsr.compare(tmp_path / "a.png", tmp_path / "b.png", metrics=("psnr", "tof"))
    assert list(scores.frames) == ["psnr"] and len(scores.times) == 1
    assert "two frames in a row" in scores.unavailable["tof"]


def test_frames_too_small_for_a_metric_leave_the_others_alone():
    real = scenes(2, 8, 40)
    names = ("psnr", "ssim", "ms_ssim_y")
    scores = jaxvsr.compare(real, noisy(real), metrics=names)
    assert list(scores.frames) == ["psnr"] and scores.unavailable.keys() == {"ssim", "ms_ssim_y"}
    assert "11x11" in scores.unavailable["ssim"]


def test_missing_weights_are_named_and_the_rest_is_measured(films, no_weights, capsys):
    status = main(["compare", *films, "--metrics", "psnr", "lpips", "niqe", "tlp", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert status == WeightsError.status
    (candidate,) = said["candidates"]
    assert candidate["scores"]["psnr"]["mean"] > 20
    assert candidate["unavailable"].keys() == {"lpips", "niqe", "tlp"}


def test_missing_ffmpeg_is_named_and_the_rest_is_measured(films, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert main(["compare", *films, "--metrics", "psnr", "vmaf"]) == UsageError.status
    assert "pip install imageio-ffmpeg" in capsys.readouterr().out


def test_vmaf_that_breaks_down_leaves_the_others_alone(films, monkeypatch):
    pytest.importorskip("imageio_ffmpeg")

    class Broken(beside.VmafRun):
        def add(self, *_):
            self._run.kill()
            self._fail()

    monkeypatch.setattr(beside, "VmafRun", Broken)
    scores = jaxvsr.compare(*films, metrics=("vmaf", "psnr"))
    assert list(scores.frames) == ["psnr"] and "VMAF: ffmpeg ended" in scores.unavailable["vmaf"]


def test_lpips_and_niqe_come_with_their_weights(shared, monkeypatch):
    monkeypatch.setenv("JAXVSR_DATA", str(shared))
    real = scenes(2, 96, 192)
    scores = jaxvsr.compare(real, noisy(real), metrics=("lpips", "niqe", "tlp"))
    assert not scores.unavailable and 0 < scores.mean("lpips") < 1 and scores.mean("niqe") > 0
    assert scores.frames["tlp"].shape == (2,) and np.isnan(scores.frames["tlp"][0])


def test_damage_is_told_and_what_decodes_is_compared(tmp_path, capsys):
    whole = media.film(tmp_path / "a.mp4", media.Picture(frames=50, options={"g": "10"}))
    broken = media.corrupt(tmp_path / "b.mp4")
    assert main(["compare", str(whole), str(broken)]) == DAMAGED
    said = capsys.readouterr().out
    assert "b.mp4: frames damaged or missing: " in said and "a.mp4: frames" not in said


def test_several_candidates_are_measured_over_the_same_frames(tmp_path, films):
    third = media.film(tmp_path / "short.mp4", replace(POOR, frames=4))
    scores = compare(films[0], [films[1], third], Settings(shortest=True))
    assert [len(s.times) for s in scores] == [4, 4]
    assert any("4 frames compared" in text for text in scores[0].notices)


def test_candidates_are_named_as_they_are_written(tmp_path):
    odd = tmp_path / "a=b@3.mp4"
    odd.write_text("")
    assert parse(str(odd)) == Candidate(str(odd))
    assert parse("x264=low.mp4") == Candidate("low.mp4", series="x264")
    assert parse(f"x264@250=dir/{odd.name}").kbps == 250
    assert parse("plain.mp4") == Candidate("plain.mp4")
    with pytest.raises(UsageError, match="'many' is no bitrate"):
        parse("x264@many=low.mp4")


def test_every_candidate_has_a_name_of_its_own():
    asked = [parse(t) for t in ("a=1.mp4", "a=2.mp4", "b=3.mp4", "x/c.mp4", "y/c.mp4", "y/c.mp4")]
    named = name_all(asked, [100.0, 200.4, 300.0, 1.0, 1.0, 1.0])
    names = [c.name for c in named]
    assert names == ["a@100", "a@200", "b", str(Path("x/c.mp4")), "y/c.mp4", "y/c.mp4 (2)"]
    assert [c.series for c in named][:3] == ["a", "a", "b"]


def test_outputs_are_written_and_not_overwritten(tmp_path, films, capsys):
    pytest.importorskip("matplotlib")
    out = {name: str(tmp_path / name) for name in ("frames.csv", "plots", "page.html")}
    argv = ["compare", *films, "--csv", out["frames.csv"], "--report", out["page.html"]]
    argv += ["--plot", out["plots"]]
    assert main(argv) == 0
    lines = Path(out["frames.csv"]).read_text().splitlines()
    assert lines[0].startswith("candidate,frame,seconds,psnr") and len(lines) == 7
    assert {p.name for p in Path(out["plots"]).iterdir()} == {"frames.png", "worst_poor.png"}
    assert "<table" in Path(out["page.html"]).read_text()
    capsys.readouterr()
    assert main(argv) == 4 and "--overwrite" in capsys.readouterr().err
    assert main([*argv, "--overwrite"]) == 0


def test_an_output_may_not_be_an_input(films, capsys):
    assert main(["compare", *films, "--csv", films[1], "--overwrite"]) == 4
    assert "is one of the inputs" in capsys.readouterr().err


def test_curves_over_the_bitrate_give_bd_rates(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    real = media.film(tmp_path / "real.mkv", replace(GOOD, codec="ffv1"))
    named = []
    for series, shift in (("plain", 0), ("worse", 3)):
        for crf in (20, 26, 32, 38):
            path = media.film(
                tmp_path / f"{series}{crf}.mp4", replace(GOOD, options={"crf": str(crf + shift)})
            )
            named.append(f"{series}@{2 ** ((50 - crf) / 6) * 100:.0f}={path}")
    argv = ["compare", str(real), *named, "--metrics", "psnr", "--rate"]
    assert main([*argv, "--plot", str(tmp_path / "plots"), "--anchor", "plain"]) == 0
    said = capsys.readouterr().out
    assert "worse" in said and "%" in said
    assert (tmp_path / "plots" / "rates.png").is_file()
    assert main([*argv, "--anchor", "other"]) == 2


@pytest.mark.parametrize(
    "argv, status, words",
    [
        (["no.mp4", "good.mp4"], 3, "no such file"),
        (["good.mp4", "text.mp4"], 3, "not a video"),
        (["good.mp4", "good.mp4", "--metrics", "best"], 2, "no metric best; choose from psnr"),
        (["good.mp4", "good.mp4", "--crop", "24"], 2, "--crop 24 leaves nothing of 64x48"),
        (["good.mp4", "good.mp4", "--csv", "none/a.csv"], 4, "no such folder"),
        (
            ["good.mp4", "good.mp4", "--duration", "0"],
            2,
            "--duration 0: is out of range; give seconds",
        ),
    ],
)
def test_bad_input_is_one_line(films, tmp_path, monkeypatch, capsys, argv, status, words):
    monkeypatch.chdir(tmp_path)
    media.not_a_video(tmp_path / "text.mp4")
    assert main(["compare", *argv]) == status
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and not said.out


def test_arrays_that_are_no_frames_are_refused():
    with pytest.raises(InputError, match=r"\[T, H, W, 3\]"):
        jaxvsr.compare(np.zeros((4, 8, 8)), np.zeros((4, 8, 8)))
    with pytest.raises(UsageError, match="no setting cut"):
        jaxvsr.compare(scenes(), scenes(), cut=3)


def test_every_metric_is_bound():
    bound = set(score.FRAME) | {n for n, m in METRICS.items() if m.kind in ("motion", "vmaf")}
    assert bound == METRICS.keys()


def test_batches_take_turns_on_the_cores_and_change_nothing(monkeypatch):
    clips = np.random.default_rng(0).random((2, 17, 16, 20, 3)).astype(np.float32)
    alone = jaxvsr.compare(*clips)
    monkeypatch.setattr(run, "batch_size", lambda *_: 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    used = []
    put = jax.device_put
    monkeypatch.setattr(run.jax, "device_put", lambda x, d: used.append(d) or put(x, d))
    spread = jaxvsr.compare(*clips)
    assert used[:3] == [*jax.local_devices()[:2], jax.local_devices()[0]]
    for name, values in alone.frames.items():
        np.testing.assert_allclose(spread.frames[name], values, rtol=1e-6)
