"""A network of its own for one film: better there, small, and ready for `enhance`."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import chex
import jax
import media
import numpy as np
import pytest
from safetensors import safe_open

import jaxvsr
from experiments.sr_unet import overfit as experiment
from jaxvsr import train, weights
from jaxvsr.comparison import rates
from jaxvsr.errors import InputError, UsageError, WeightsError
from jaxvsr.models.sr_unet import SRUNet

ROOT = Path(__file__).parents[2]
NET = SRUNet(width=8, depths=(1,) * 7)  # untrained it is bicubic


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A film of 12 frames, and what to do with it."""
    folder = tmp_path_factory.mktemp("overfit")
    film = media.film(folder / "film.mp4", media.Picture(frames=12, width=128, height=96))
    start = folder / "start.safetensors"
    frames = {"generator": np.zeros((1, 16, 16, 3), np.float32)}
    params = train.untrained(jax.random.key(0), {"generator": NET}, frames)["generator"]
    weights.save(start, jax.tree.map(np.asarray, params), weights.metadata_of(NET))
    few = {"steps": 100, "rate": 3e-3, "batch": 4, "patch": 48, "frames": 6, "others": (18, 30)}
    return experiment.Overfit(film, start=str(start), metrics=("psnr_y", "ssim"), **few)


def command(config):
    """The folder that a run leaves, as a user starts it."""
    line = [sys.executable, "-m", "experiments.sr_unet", "overfit", str(config.clip)]
    for name in ("start", "steps", "rate", "batch", "patch", "frames"):
        line += [f"--{name}", str(getattr(config, name))]
    line += ["--metrics", *config.metrics, "--others", *map(str, config.others)]
    subprocess.run(line, check=True, capture_output=True, cwd=ROOT, timeout=150)
    return config.clip.with_name("film_overfit")


@pytest.fixture(scope="module")
def made(asked):
    return command(asked)


@pytest.fixture(scope="module")
def points(made):
    with open(made / "points.csv") as file:
        return list(csv.DictReader(file))


def test_the_tuned_network_beats_the_untuned_one_on_its_film(points):
    psnr = {row["series"]: float(row["psnr_y"]) for row in points if row["crf"] == "23"}
    assert psnr[experiment.TUNED] > psnr[experiment.UNTUNED] + 0.5
    assert psnr[experiment.UNTUNED] == pytest.approx(psnr["bicubic"], abs=0.1)


def test_weights_are_float16_and_their_bytes_are_counted(made, points):
    path = made / "weights.safetensors"
    with safe_open(path, "numpy") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {np.dtype("float16")}  # noqa: SIM118
    rate = {row["series"]: float(row["kbps"]) for row in points if row["crf"] == "23"}
    seconds = 12 / 25
    stream = rate[experiment.UNTUNED]
    assert rate[experiment.TUNED] == pytest.approx(
        stream + 8 * path.stat().st_size / 1000 / seconds
    )
    report = (made / "report.md").read_text()
    assert f"{path.stat().st_size:,} bytes" in report and "rate.png" in report
    assert (made / "rate.png").stat().st_size > 10_000


def test_a_viewer_enhances_the_stream_with_the_file_beside_it(asked, made, points, tmp_path):
    loaded = weights.load(made / "weights.safetensors")
    assert loaded.module == NET.clone(folded=True)
    big = tmp_path / "big.mkv"
    model = made / "weights.safetensors"
    jaxvsr.enhance(made / "stream.mp4", big, model=model, codec="ffv1")
    psnr = jaxvsr.compare(asked.clip, big, metrics=("psnr_y",)).mean("psnr_y")
    (told,) = (float(row["psnr_y"]) for row in points if row["series"] == experiment.TUNED)
    assert psnr == pytest.approx(told, abs=1)  # the report scores six frames of the twelve


def test_the_same_command_does_nothing_twice(asked, made):
    stream, small = made / "stream.mp4", made / "weights.safetensors"
    before = stream.stat().st_mtime_ns, weights.load(small).params
    asked.run()
    assert stream.stat().st_mtime_ns == before[0]
    chex.assert_trees_all_equal(weights.load(small).params, before[1])


def test_another_command_in_the_same_folder_is_refused(asked, made):
    before = (made / "stream.mp4").read_bytes()
    with pytest.raises(UsageError, match="another run"):
        replace(asked, crf=30, others=()).run()
    assert (made / "stream.mp4").read_bytes() == before


def test_crops_lie_over_each_other(asked, made):
    """Bicubic enlargement of the stream's crop is close to the film's crop, mirrored or not."""
    pairs = experiment.Pairs(asked, 12, made / "stream.mp4")
    batch = next(pairs)
    small = batch["hr"].reshape(4, 24, 2, 24, 2, 3).mean((2, 4))
    assert np.abs(small - batch["lr"]).mean() < 5
    pairs.set_state({"drawn": 0})
    again = next(pairs)
    assert all((batch[name] == again[name]).all() for name in batch)


def test_between_points_and_nowhere_else():
    points = [(100.0, 1.0), (1000.0, 3.0)]
    assert experiment.between(points, 10**2.5) == pytest.approx(2)
    assert np.isnan(experiment.between(points, 99)) and rates.USUAL


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"clip": "nothing.mp4"}, InputError, "no such video"),
        ({"start": "bicubic"}, WeightsError, "not an SR-UNet x2"),
        ({"metrics": ("beauty",)}, UsageError, "no metric 'beauty'"),
        ({"patch": 50}, UsageError, "multiple of 16"),
        ({"patch": 112}, InputError, "smaller --patch"),
        ({"crf": 99.0}, UsageError, "crf 99"),
        ({"steps": 0}, UsageError, "steps"),
        ({"seed": -1}, UsageError, "seed"),
        ({"batch": 6}, UsageError, "does not divide by 4 devices"),
    ],
)
def test_what_cannot_be_is_told_before_work(asked, tmp_path, change, error, words):
    if "clip" in change:
        change = {"clip": tmp_path / change["clip"]}
    with pytest.raises(error, match=words):
        replace(asked, output=tmp_path / "out", **change).run()
    assert not (tmp_path / "out").exists()


def test_a_clip_that_is_too_short_is_named(asked, tmp_path):
    film = media.film(tmp_path / "short.mp4", media.Picture(frames=3, width=128, height=96))
    with pytest.raises(InputError, match=r"3 frames; give a clip of 8"):
        replace(asked, clip=film).run()
