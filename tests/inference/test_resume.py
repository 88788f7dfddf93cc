"""A run can be killed at any moment; the same command goes on, and the result is the same."""

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import toys

from jaxvsr.errors import InputError, OutputError, SpaceError, StoppedError
from jaxvsr.inference import film, plan
from jaxvsr.inference.settings import Settings
from jaxvsr.video.encode import SegmentWriter

FRAMES, CUT = 70, 30
SETTINGS = Settings(codec="ffv1")  # lossless, so that frames can be compared exactly


@pytest.fixture(scope="module", autouse=True)
def short_segments():
    before, plan.SEGMENT = plan.SEGMENT, 16
    yield
    plan.SEGMENT = before


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """70 small frames of drifting noise with a cut at the 30th."""
    path = tmp_path_factory.mktemp("source") / "film.mkv"
    rng = np.random.default_rng(0)
    scenes = [rng.integers(30, 120, (32, 48)), rng.integers(130, 220, (32, 48))]
    with av.open(path, "w") as out:
        stream = out.add_stream("ffv1", rate=Fraction(25), width=48, height=32, pix_fmt="yuv420p")
        for t in range(FRAMES):
            luma = np.roll(scenes[t >= CUT], t, axis=1).astype(np.uint8)
            planes = np.concatenate([luma, np.full((16, 48), 128, np.uint8)])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        out.mux(stream.encode())
    return path


def frames_of(path):
    with av.open(path) as file:
        return np.stack([f.to_ndarray() for f in file.decode(video=0)])


def run(net, source, output, settings=SETTINGS):
    return film.enhance_film(net, source, output, settings, "none")


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """Uninterrupted results, one per kind of network."""
    folder = tmp_path_factory.mktemp("whole")
    nets = {"still": toys.still(), "window": toys.window_mean(2), "echo": toys.echo()}
    return {k: (net, run(net, source, folder / f"{k}.mkv").output) for k, net in nets.items()}


@pytest.mark.sampled
@pytest.mark.parametrize("kind", ["still", "window", "echo"])
@pytest.mark.parametrize("when", [1, 20, 33, 47, 70])
def test_stopped_run_resumes_to_the_same_frames(kind, when, whole, source, tmp_path, monkeypatch):
    """Frames that look around (window) or back (echo) see the same past after a resumption."""
    net, expected = whole[kind]
    output, written = tmp_path / "out.mkv", 0
    real = SegmentWriter.write

    def interrupted(self, planes):
        nonlocal written
        written += 1
        if written == when:
            raise KeyboardInterrupt
        real(self, planes)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "write", interrupted)
        safe = (
            f"{(when - 1) // 16 * 16} frames are safe" if when > 16 else "no segment was finished"
        )
        with pytest.raises(StoppedError, match=safe):
            run(net, source, output)
    assert not output.exists()
    result = run(net, source, output)
    assert result.frames == FRAMES
    if when > 16:
        assert f"after {(when - 1) // 16 * 16} frames" in result.notices[0]
    np.testing.assert_array_equal(frames_of(output), frames_of(expected))
    assert [p.name for p in tmp_path.iterdir()] == ["out.mkv"]


def test_networks_in_time_never_look_across_a_cut(whole, source):
    """The first frame after the cut is what it would be if the film began there."""
    output = whole["echo"][1]
    plain = frames_of(source)
    np.testing.assert_allclose(frames_of(output)[[0, CUT]], plain[[0, CUT]], atol=1)
    assert np.abs(frames_of(output)[CUT + 1].astype(int) - plain[CUT + 1]).max() > 5
    near = plain[CUT : CUT + 5, :32].astype(float)[[2, 1, 0, 1, 2]].mean(axis=0)
    got = frames_of(whole["window"][1])[CUT, :32]
    np.testing.assert_allclose(got, near, atol=1.5)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_process_resumes(sent, source, tmp_path):
    """kill -9 (or Ctrl-C) in the middle, through the command line; then the same command."""
    output = tmp_path / "out.mkv"
    code = (
        "import signal, sys\n"
        "from jaxvsr.inference import film as f, plan as p\n"
        "p.SEGMENT = 16\n"
        "from jaxvsr.__main__ import main\n"
        # A shell starts what runs in its background deaf to Ctrl-C.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "if sys.argv[1] == 'slow':\n"
        "    import time; real = f.encode.SegmentWriter.write\n"
        "    f.encode.SegmentWriter.write = lambda s, p: (time.sleep(0.05), real(s, p))\n"
        "sys.exit(main(sys.argv[2:]))\n"
    )
    args = ["enhance", str(source), str(output), "--model", "bicubic", "--codec", "ffv1", "--json"]
    command = [sys.executable, "-c", code]
    env = {**os.environ, "PYTHONPATH": str(Path(film.__file__).parents[2])}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    victim = subprocess.Popen([*command, "slow", *args], env=env, **quiet)
    record = tmp_path / "out.mkv.part" / "segment-000001.json"
    for _ in range(600):
        if record.exists():
            break
        time.sleep(0.1)
    victim.send_signal(sent)
    _, said = victim.communicate(timeout=60)
    if sent == signal.SIGKILL:
        assert victim.returncode == -sent
    else:
        assert victim.returncode == 130
        assert "frames are safe" in said and "same command" in said and said.count("\n") == 1
    assert record.exists() and not output.exists()
    again = [*command, "fast", *args]
    done = subprocess.run(again, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert any("going on after" in line.get("text", "") for line in lines)
    from jaxvsr import weights

    expected = run(weights.load("bicubic"), source, tmp_path / "expected.mkv")
    np.testing.assert_array_equal(frames_of(output), frames_of(expected.output))


def test_full_disk_stops_with_nothing_lost(source, whole, tmp_path, monkeypatch):
    net, expected = whole["still"]
    real, written = SegmentWriter.write, 0

    def full(self, planes):
        nonlocal written
        written += 1
        if written == 40:
            raise OSError(28, "No space left on device")
        real(self, planes)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "write", full)
        with pytest.raises(SpaceError, match=r"disk is full.*32 frames are safe"):
            run(net, source, tmp_path / "out.mkv")
    run(net, source, tmp_path / "out.mkv")
    np.testing.assert_array_equal(frames_of(tmp_path / "out.mkv"), frames_of(expected))


def test_too_little_space_is_refused_before_work(source, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SpaceError, match="1 MiB are free"):
        run(toys.still(), source, tmp_path / "out.mkv")
    assert list(tmp_path.iterdir()) == []


def test_unfinished_run_with_other_settings_is_not_mixed(source, tmp_path, monkeypatch):
    real = SegmentWriter.write
    seen = []

    def interrupted(self, planes):
        seen.append(1)
        if len(seen) == 20:
            raise KeyboardInterrupt
        real(self, planes)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "write", interrupted)
        with pytest.raises(StoppedError):
            run(toys.still(), source, tmp_path / "out.mkv")
    with pytest.raises(OutputError, match="other size"):
        run(toys.still(), source, tmp_path / "out.mkv", Settings(codec="ffv1", scale=1.5))
    again = Settings(codec="ffv1", scale=1.5, overwrite=True)
    assert run(toys.still(), source, tmp_path / "out.mkv", again).frames == FRAMES


def test_a_span_without_frames_is_named(source, tmp_path):
    with pytest.raises(InputError, match=r"no (decodable )?frames"):
        run(toys.still(), source, tmp_path / "out.mkv", Settings(codec="ffv1", start=99.0))
    assert list(tmp_path.iterdir()) == []


def test_input_that_is_the_output_is_refused(source):
    with pytest.raises(OutputError, match="is the input itself"):
        run(toys.still(), source, source, Settings(overwrite=True))
    assert len(frames_of(source)) == FRAMES
