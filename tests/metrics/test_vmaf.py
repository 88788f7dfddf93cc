"""VMAF equals Netflix's own numbers, and pairs the right frames."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxvsr
from jaxvsr.errors import InputError, UsageError
from jaxvsr.metrics import vmaf
from jaxvsr.metrics.vmaf import WAITING, VmafRun, y4m


def needs_binary():
    return pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()


def clip(frames=3, height=96, width=128):
    rng = np.random.default_rng(0)
    still = rng.random((height + frames, width, 3)).cumsum(1) % 1
    return np.stack([still[i : i + height] for i in range(frames)]).astype(np.float32)


def test_equal_clips_score_nearly_full_marks():
    needs_binary()
    score = vmaf(clip(), clip())
    assert score["vmaf"] > 95 and score["frames"] == 3


def test_bytes_and_fractions_are_the_same_picture():
    needs_binary()
    real = np.rint(clip() * 255).astype(np.uint8)
    fake = np.rint(np.clip(clip() + 0.05, 0, 1) * 255).astype(np.uint8)
    whole, part = vmaf(fake, real), vmaf(fake.astype(np.float32) / 255, real)
    assert whole == part and whole["vmaf"] < 100


def netflix(shared, name: str) -> list[tuple[np.ndarray, ...]]:
    """Planes (y, u, v) of Netflix's reference pair, 10 bits."""
    raw = np.fromfile(shared / "vmaf" / f"src01_{name}_576x324.yuv420p10le.yuv", "<u2")
    frames = [np.split(f, [576 * 324, 576 * 324 * 5 // 4]) for f in raw.reshape(3, -1)]
    halves = lambda plane: plane.reshape(162, 288)
    return [(y.reshape(324, 576), halves(u), halves(v)) for y, u, v in frames]


@pytest.fixture
def golden(shared) -> float:
    expected = json.loads((shared / "vmaf" / "expected.json").read_text())
    return expected["src01_10le_576x324_3frames"]["VMAF_v0.6.1"]


@pytest.fixture
def pair(shared, tmp_path) -> list:
    """The candidate and its reference as lossless files of 10 bits."""
    for name in ("hrc01", "hrc00"):
        chunks = y4m(netflix(shared, name), 25, bits=10)
        (tmp_path / f"{name}.y4m").write_bytes(b"".join(chunks))
    return [tmp_path / "hrc01.y4m", tmp_path / "hrc00.y4m"]


def test_agrees_with_netflix(pair, golden):
    needs_binary()
    assert abs(vmaf(*pair, pix_fmt="yuv420p10le")["vmaf"] - golden) < 0.01


def test_a_stream_of_planes_agrees_with_netflix(shared, golden):
    needs_binary()
    run = VmafRun(576, 324, 25, bits=10)
    for fake, real in zip(netflix(shared, "hrc01"), netflix(shared, "hrc00"), strict=True):
        run.add(fake[0], real[0])
    values = run.finish()
    assert abs(values["vmaf"].mean() - golden) < 0.01
    assert values["vmaf"].shape == values["vmaf_neg"].shape == (3,)


def test_a_comparison_of_files_agrees_with_netflix(pair, golden):
    needs_binary()
    scores = jaxvsr.compare(pair[1], pair[0], metrics=("vmaf", "psnr_y"))
    assert abs(scores.mean("vmaf") - golden) < 0.01
    # The published peak of 10 bits is 1023; white of 255 is 1020, so ours is 0.0255 dB lower.
    expected = np.array([34.7863, 31.9087, 31.0193]) - 20 * np.log10(1023 / 1020)
    np.testing.assert_allclose(scores.frames["psnr_y"], expected, atol=1e-3)


def test_a_stream_scores_as_whole_clips_do(tmp_path):
    needs_binary()
    real = np.rint(clip(8) * 255).astype(np.uint8)
    fake = np.rint(np.clip(clip(8) * 0.9, 0, 1) * 255).astype(np.uint8)
    whole = vmaf(fake, real)
    scores = jaxvsr.compare(real, fake, metrics=("vmaf", "vmaf_neg"))
    assert scores.mean("vmaf") == pytest.approx(whole["vmaf"], abs=0.01)
    assert scores.mean("vmaf_neg") == pytest.approx(whole["vmaf_neg"], abs=0.01)


def test_few_frames_wait_for_libvmaf():
    needs_binary()
    run = VmafRun(128, 96, 25, models=("vmaf",))
    waiting = lambda: max(w._behind._waiting.qsize() for w in run._writers)
    most = 0
    for i in range(120):
        run.add(np.full((96, 128), 16 + i, np.uint8), np.full((96, 128), 17 + i, np.uint8))
        most = max(most, waiting())
    assert run.finish()["vmaf"].shape == (120,) and most <= WAITING


def test_a_run_that_is_closed_leaves_nothing_behind():
    needs_binary()
    run = VmafRun(128, 96, 25)
    run.add(np.zeros((96, 128), np.uint8), np.zeros((96, 128), np.uint8))
    folder = run._folder.name
    run.close()
    assert run._run.returncode is not None and not Path(folder).exists()


def test_planes_of_another_kind_are_a_mistake():
    needs_binary()
    run = VmafRun(128, 96, 25, bits=10)
    with pytest.raises(ValueError, match="uint8"):
        run.add(np.zeros((96, 128), np.uint8), np.zeros((96, 128), np.uint8))
    run.close()
    with pytest.raises(ValueError, match="bits 9: choose one of 8, 10, 12, 16"):
        VmafRun(128, 96, 25, bits=9)


def test_clips_of_two_sizes_are_refused():
    needs_binary()
    with pytest.raises(InputError, match="one size"):
        vmaf(clip(width=128), clip(width=112))


def test_a_missing_binary_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UsageError, match="pip install imageio-ffmpeg"):
        vmaf(clip(), clip())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.mp4: no such file"):
        vmaf(tmp_path / "nothing.mp4", clip())
