"""Bad input: one line that names file, cause and remedy, an exit status of its own, no debris."""

import os
import pickle
import subprocess
import sys

import media
import numpy as np
import pytest
import torch
from PIL import Image

from jaxvsr.__main__ import main
from jaxvsr.errors import DAMAGED
from jaxvsr.video.reader import VideoReader


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the command line; gives (exit status, what it said, names that are new)."""

    def call(*args):
        before = {p.name for p in tmp_path.iterdir()}
        try:
            status = main(["enhance", *map(str, args)])
        except SystemExit as error:  # the parser's own
            status = error.code
        new = {p.name for p in tmp_path.iterdir()} - before
        return status, capsys.readouterr().err, new

    return call


def assert_refused(outcome, status, *words):
    got, said, new = outcome
    assert got == status, said
    assert said.count("\n") == 1 and said.startswith("jaxvsr: ") and ";" in said, said
    assert all(word in said for word in words), said
    assert new == set()


def test_missing_file(run, tmp_path):
    assert_refused(run(tmp_path / "none.mp4"), 3, "none.mp4", "no such file")


def test_not_a_video(run, tmp_path):
    assert_refused(run(media.not_a_video(tmp_path / "a.mp4"), "--model", "bicubic"), 3, "a.mp4")


def test_empty_file(run, tmp_path):
    (tmp_path / "a.mkv").touch()
    assert_refused(run(tmp_path / "a.mkv", "--model", "bicubic"), 3, "a.mkv")


def test_sound_without_picture(run, tmp_path):
    source = media.sound_only(tmp_path / "a.mka")
    assert_refused(run(source, "--model", "bicubic"), 3, "a.mka", "video")


def test_video_without_one_whole_frame(run, tmp_path):
    source = media.truncated(tmp_path / "a.mkv", part=0.12)
    assert_refused(run(source, "--model", "bicubic"), 3, "a.mkv")


def test_a_width_at_which_x265_ends_the_process(run, tmp_path):
    source = media.film(tmp_path / "a.mkv", media.Picture(frames=2, width=96, height=64))
    asked = ("--model", "bicubic", "--codec", "h265", "--scale", 0.5)
    assert_refused(run(source, *asked), 2, "a width of 48", "libx264")
    assert main(["degrade", str(source)]) == 2  # whose default recipe halves, for x265


def test_empty_folder(run, tmp_path):
    (tmp_path / "empty").mkdir()
    outcome = run(tmp_path / "empty", "--model", "bicubic")
    assert_refused(outcome, 3, "no video or picture")


def test_damaged_picture(run, tmp_path):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    assert_refused(run(tmp_path / "a.png", "--model", "bicubic"), 3, "a.png")


@pytest.mark.parametrize("kind", [media.truncated, media.corrupt])
def test_damage_in_the_middle_is_enhanced_around_and_counted(kind, run, tmp_path):
    source = kind(tmp_path / "a.mkv")
    status, said, new = run(source, tmp_path / "b.mkv", "--model", "bicubic")
    assert status == DAMAGED and new == {"b.mkv"}
    assert "damaged" in said and "Traceback" not in said
    with VideoReader(source) as before, VideoReader(tmp_path / "b.mkv") as after:
        frames = sum(1 for _ in before)
        assert sum(1 for _ in after) == frames > 3
        assert f"{before.damaged} frames" in said and after.damaged == 0


def test_absurd_scale(run, tmp_path):
    source = media.film(tmp_path / "a.mkv")
    assert_refused(run(source, "--model", "bicubic", "--scale", 1000), 2, "from 0.01 to 100")
    source = media.film(tmp_path / "b.mkv", media.Picture(frames=2, width=192, height=128))
    assert_refused(run(source, "--model", "bicubic", "--scale", 90), 2, "17280x11520", "smaller")
    assert_refused(run(source, "--model", "bicubic", "--scale", -1), 2, "out of range")
    assert_refused(run(source, "--model", "bicubic", "--height", 0), 2, "from 1 to")
    both = ("--scale", 2, "--height", 100)
    assert_refused(run(source, "--model", "bicubic", *both), 2, "exclude each other")


def test_output_that_is_there_is_kept(run, tmp_path):
    source = media.film(tmp_path / "a.mkv")
    (tmp_path / "b.mkv").write_text("mine")
    outcome = run(source, tmp_path / "b.mkv", "--model", "bicubic")
    assert_refused(outcome, 4, "b.mkv", "exists", "--overwrite")
    assert (tmp_path / "b.mkv").read_text() == "mine"
    assert run(source, tmp_path / "b.mkv", "--model", "bicubic", "--overwrite")[0] == 0


def test_output_that_is_the_input_is_refused_even_by_another_name(run, tmp_path):
    source = media.film(tmp_path / "a.mkv")
    content = source.read_bytes()
    (tmp_path / "link.mkv").symlink_to(source)
    for name in ("a.mkv", "link.mkv"):
        outcome = run(source, tmp_path / name, "--model", "bicubic", "--overwrite")
        assert_refused(outcome, 4, "is the input itself")
    assert source.read_bytes() == content


def test_output_nowhere_or_of_no_kind(run, tmp_path):
    source = media.film(tmp_path / "a.mkv")
    missing = tmp_path / "none" / "b.mkv"
    assert_refused(run(source, missing, "--model", "bicubic"), 4, "no such folder")
    assert_refused(run(source, tmp_path / "b.xyz", "--model", "bicubic"), 2, ".xyz", ".mkv")
    assert_refused(run(source, tmp_path / "b", "--model", "bicubic"), 2, ".mkv")


def test_no_permission_to_write(run, tmp_path, monkeypatch):
    source = media.film(tmp_path / "a.mkv")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root
    assert_refused(run(source, "--model", "bicubic"), 4, "permission")


def test_codec_that_does_not_fit(run, tmp_path):
    source = media.film(tmp_path / "a.mkv")
    args = ("--model", "bicubic")
    assert_refused(run(source, tmp_path / "b.webm", *args, "--codec", "libx264"), 2, "libvpx-vp9")
    assert_refused(run(source, tmp_path / "b.mkv", *args, "--codec", "nothing"), 2, "libx264")
    assert_refused(run(source, tmp_path / "b.mkv", *args, "--pix-fmt", "nothing"), 2, "yuv420p")


def test_streams_that_would_be_lost_are_told_before_work(run, tmp_path):
    source = media.rich(tmp_path / "a.mkv")
    outcome = run(source, tmp_path / "b.webm", "--model", "bicubic")
    assert_refused(outcome, 4, ".webm cannot hold", "use .mkv", "--drop")
    status, said, new = run(source, tmp_path / "b.webm", "--model", "bicubic", "--drop")
    assert status == 0 and new == {"b.webm"} and "left out" in said


def test_device_that_is_not_there(run, tmp_path):
    source = media.film(tmp_path / "a.mkv")
    assert_refused(run(source, "--model", "bicubic", "--device", "tpu"), 2, "tpu", "cpu")


def test_model_that_is_not_one(run, tmp_path):
    source = media.film(tmp_path / "a.mkv")
    (tmp_path / "noise.pth").write_bytes(os.urandom(2000))
    torch.save({"weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    assert_refused(run(source, "--model", "no_such_name"), 5, "no_such_name", "sr_unet_light_x2")
    assert_refused(run(source, "--model", tmp_path / "noise.pth"), 5, "noise.pth")
    assert_refused(run(source, "--model", tmp_path / "other.pth"), 5, "other.pth", "expected")


class Payload:
    """Unpickled by anything careless, it would write a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_model_with_code_inside_is_refused_and_not_run(writer, run, tmp_path):
    source, proof = media.film(tmp_path / "a.mkv"), tmp_path / "proof"
    if writer == "torch":
        torch.save({"params": Payload(proof)}, tmp_path / "bad.pth")
    else:
        (tmp_path / "bad.pth").write_bytes(pickle.dumps({"params": Payload(proof)}, protocol=2))
    assert_refused(run(source, "--model", tmp_path / "bad.pth"), 5, "bad.pth", "code")
    assert not proof.exists()


def test_no_traceback_reaches_a_person(tmp_path):
    """As a process, for what in-process calls cannot see: the exit status and stderr."""
    command = [
        sys.executable,
        "-m",
        "jaxvsr",
        "enhance",
        str(media.not_a_video(tmp_path / "a.mp4")),
    ]
    done = subprocess.run(
        [*command, "--model", "lanczos"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 3 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "a.mp4" in done.stderr
