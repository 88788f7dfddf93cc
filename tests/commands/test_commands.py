"""The commands' own options: what is refused before anything is opened, and how soon help comes."""

import subprocess
import sys
from pathlib import Path

import pytest

import jaxvsr
from jaxvsr.__main__ import main
from jaxvsr.errors import UsageError

ROOT = Path(__file__).parents[2]
HEAVY = ("jax", "jaxlib", "flax", "numpy", "scipy", "av", "PIL", "safetensors", "optax")
NOT_NEEDED = ("scipy", "optax", "orbax", "tensorstore", "grain", "matplotlib", "tyro", "torch")
TIME = "give seconds (62.5) or a time (00:01:02.5)"
SCALE = "give a number from 0.01 to 100"
REFUSED = [  # of files that are not there, so that whatever is opened would say so
    ("enhance x.mp4 --scale nan", SCALE),
    ("enhance x.mp4 --scale inf", SCALE),
    ("enhance x.mp4 --scale 1e400", SCALE),
    ("enhance x.mp4 --scale 0", SCALE),
    ("enhance x.mp4 --height -2", "give a whole number of pixels from 1 to 16384"),
    ("enhance x.mp4 --height 99999999999", "from 1 to 16384"),
    ("enhance x.mp4 --scale 2 --height 90", "exclude each other"),
    ("enhance x.mp4 --start nan", TIME),
    ("enhance x.mp4 --start -1", TIME),
    ("enhance x.mp4 --duration 0", TIME),
    ("enhance x.mp4 --crf -5", "give a number from 0 to 63"),
    ("enhance x.mp4 --codec h264 --crf 52", "libx264 takes 0 (best) to 51"),
    ("enhance x.mp4 --codec ffv1 --crf 5", "no quality setting"),
    ("enhance x.mp4 --preset nosuch", "choose from ultrafast, superfast"),
    ("enhance x.mp4 --preset fidelity", "no encoder's speed"),
    ("enhance x.mp4 --codec av1 --preset 14", "choose from -1, 0"),
    ("enhance x.mp4 --codec vp9 --preset medium", "choose from -8"),
    ("enhance x.mp4 --codec ffv1 --preset medium", "has no presets"),
    ("enhance x.mp4 --codec libx246", "did you mean libx26"),
    ("enhance x.mp4 --pix-fmt yuv420", "did you mean yuv420p?"),
    ("enhance x.mp4 --codec vp9 --pix-fmt yuv420p10le", "cannot write yuv420p10le; choose"),
    ("enhance x.mp4 --tile -1", "from 0 to 16384"),
    ("enhance x.mp4 --batch 0", "from 1 to 1024"),
    ("enhance x.mp4 --device gpuu", "did you mean gpu?"),
    ("enhance x.mp4 --codec h264_qsv", "Quick Sync is not used here"),
    ("enhance x.mp4 --codec hevc_videotoolbox", "no such encoder; choose libx265"),
    ("enhance x.mp4 --codec av1_videotoolbox", "there is no such encoder"),
    ("compare x.mp4 y.mp4 --metrics psnr,ssmi", "no metric ssmi; choose from psnr"),
    ("compare x.mp4 y.mp4 --metrics", "no metric is named"),
    ("compare x.mp4 y.mp4 --crop -1", "a whole number of pixels from 0"),
    ("compare x.mp4 y.mp4 --offset nan", "give seconds from"),
    ("compare x.mp4 y.mp4 --start inf", TIME),
    ("degrade x.mp4 --factor nan", "give a finite number"),
    ("degrade x.mp4 --factor 0", "from 1 to 64"),
    ("degrade x.mp4 --kbps 0", "kilobits a second from 1"),
    ("degrade x.mp4 --kbps 100 --vbv inf", "give a finite number"),
    ("degrade x.mp4 --gop 0", "a whole number of frames from 1"),
    ("degrade x.mp4 --speed nosuch", "is none of libx265's; choose from ultrafast"),
    ("degrade x.mp4 --preset veryfast", "the encoder's own preset is --speed"),
    ("degrade x.mp4 --preset gan-ev", "did you mean gan-evh?"),
    ("degrade x.mp4 --codec h266", "choose from libx264"),
    ("degrade x.mp4 --noise -1", "give levels from 0 to 255"),
    ("models --jsn", "did you mean --json?"),
    ("enhnace x.mp4", "no command 'enhnace'; choose from enhance, compare, degrade, models; did"),
]


@pytest.mark.quick
@pytest.mark.parametrize("line, words", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_opened(capsys, line, words):
    assert main(line.split()) == UsageError.status
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and not said.out


def test_hardware_that_is_not_there_is_refused(capsys, monkeypatch):
    import av

    def refuse(*_):
        raise av.error.ExternalError(1, "no device")

    monkeypatch.setattr("jaxvsr.video.hardware.opened", refuse)
    assert main(["enhance", "x.mp4", "--codec", "h264_nvenc"]) == UsageError.status
    assert "needs an NVIDIA GPU, and none can be used here" in capsys.readouterr().err


def test_hardware_is_told_of_quality():
    from jaxvsr.video import hardware

    assert hardware.options("h264_nvenc", 23)["cq"] == "23"
    assert hardware.options("hevc_amf", None)["qp_p"] == "19"
    with pytest.raises(UsageError, match="no CRF"):
        hardware.options("h264_videotoolbox", 20)
    assert hardware.software_of("av1_nvenc") == "libsvtav1" and not hardware.software_of("libx264")


def test_a_mistyped_network_is_told_its_nearest_name():
    with pytest.raises(jaxvsr.JaxvsrError, match="did you mean sr_unet_light_x2"):
        jaxvsr.load("sr_unet_ligth_x2")


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"jaxvsr {jaxvsr.__version__}\n"


@pytest.mark.parametrize("words", [{"scale": float("nan")}, {"scale": 0}, {"scale": 1e9}])
def test_enhance_of_the_library_says_the_same(words):
    with pytest.raises(UsageError, match=SCALE):
        jaxvsr.enhance("x.mp4", model="bicubic", **words)


def test_the_library_refuses_before_it_opens():
    for words, said in (
        ({"crf": -5}, "from 0 to 63"),
        ({"preset": "nosuch"}, "choose from ultrafast"),
        ({"start": "1:75"}, "give seconds"),
        ({"codec": ""}, "no codec ''"),
    ):
        with pytest.raises(UsageError, match=said):
            jaxvsr.enhance("x.mp4", model="bicubic", **words)
    with pytest.raises(UsageError, match="no metric ssmi"):
        jaxvsr.compare("x.mp4", "y.mp4", metrics="psnr,ssmi")
    with pytest.raises(UsageError, match="crop -1: is out of range"):
        jaxvsr.compare("x.mp4", "y.mp4", crop=-1)
    with pytest.raises(UsageError, match="gop 0: is out of range"):
        jaxvsr.degrade("x.mp4", "y.mp4", gop=0)
    with pytest.raises(UsageError, match="scale nan"):
        jaxvsr.load("bicubic", scale=float("nan"))


def modules(code: str, names: tuple[str, ...]) -> list[str]:
    """Those of the names that are imported once `code` has run."""
    code += f"\nimport sys; print('loaded', *[name for name in {names} if name in sys.modules])"
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.quick
def test_help_waits_for_no_library():
    code = "from jaxvsr.__main__ import main\nfor line in {}:\n  try: main(line.split())\n"
    lines = [f"{name} --help" for name in ("enhance", "compare", "degrade", "models")]
    code = code.format(["--help", "--version", *lines]) + "  except SystemExit: pass"
    assert modules(code, HEAVY) == []


def test_enhancing_and_comparing_need_few_packages():
    code = "import numpy as np, jaxvsr\nframes = np.zeros((2, 16, 16, 3), np.uint8)\n"
    code += "assert jaxvsr.enhance(frames).shape == (2, 32, 32, 3)\n"
    code += "jaxvsr.compare(frames, frames, metrics='psnr')"
    assert modules(code, NOT_NEEDED) == []
