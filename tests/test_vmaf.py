"""VMAF equals Netflix's own numbers, and pairs the right frames."""

import json
import sys

import numpy as np
import pytest

from jaxvsr.errors import InputError, UsageError
from jaxvsr.metrics import vmaf
from jaxvsr.metrics.vmaf import y4m


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


def test_agrees_with_netflix(shared, tmp_path):
    needs_binary()
    expected = json.loads((shared / "vmaf" / "expected.json").read_text())
    paths = []
    for name in ("hrc01", "hrc00"):
        raw = np.fromfile(shared / "vmaf" / f"src01_{name}_576x324.yuv420p10le.yuv", "<u2")
        frames = [np.split(f, [576 * 324, 576 * 324 * 5 // 4]) for f in raw.reshape(3, -1)]
        planes = [(y.reshape(324, 576), u, v) for y, u, v in frames]
        paths.append(tmp_path / f"{name}.y4m")
        paths[-1].write_bytes(b"".join(y4m(planes, 25, bits=10)))
    score = vmaf(*paths, pix_fmt="yuv420p10le")["vmaf"]
    assert abs(score - expected["src01_10le_576x324_3frames"]["VMAF_v0.6.1"]) < 0.01


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
