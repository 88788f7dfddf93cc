"""SR-UNet's run: its recipes, its data, its phases, what it writes, and its tables."""

import json
import pickle
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import chex
import media
import numpy as np
import pytest

from experiments.frame import drawing, playing, tables, training, validation
from experiments.report import cells
from experiments.sr_unet import recipe as experiment
from experiments.sr_unet.paper import PAPER, TABLE_2
from experiments.sr_unet.recipe import SR_UNET
from jaxvsr import losses, weights
from jaxvsr.errors import InputError, OutputError, UsageError, WeightsError
from jaxvsr.models.sr_unet import SRUNet
from jaxvsr.models.table import cost
from jaxvsr.train.checkpoint import Checkpoints

OTHER = SRUNet(width=6, depths=(1,) * 7, clip=False)


def played(config):
    return playing.play(SR_UNET, config)


def starting(config):
    return training.starting(SR_UNET, config)


@pytest.fixture(scope="module")
def asked(films, tmp_path_factory):
    """Three steps of a tiny network."""
    folder = tmp_path_factory.mktemp("run")
    return experiment.Config(
        loss="fidelity",
        scale=3 / experiment.STEPS,
        batch=4,
        patch=64,
        data=(films,),
        share=0.4,
        run=folder / "run",
        keep=folder / "data",
        net=experiment.TINY,
    )


@pytest.fixture(scope="module")
def scores(asked):
    return played(asked)


def test_a_run_validates_and_packages_what_it_learned(asked, scores):
    assert {"psnr", "ssim"} <= scores.keys() and scores["psnr"] > 10
    loaded = weights.load(asked.run / "paper-sr_unet.safetensors", folded=False)
    assert training.unclipped(loaded.module) == experiment.TINY and loaded.module.clip


def test_the_same_command_goes_on(asked, scores):
    assert played(asked) == scores


KILLED = """
import os, pickle, signal, sys
from functools import partial
from experiments.frame import playing, training
from experiments.sr_unet.recipe import SR_UNET
from jaxvsr.data.pipeline import Singles
drawn, draw = [], Singles.__next__
def killed(self):
    drawn.append(1)
    if len(drawn) == 4:  # one to try the step on, then the third
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(self)
Singles.__next__, training.train.Cadence = killed, partial(training.train.Cadence, save=0)
playing.play(SR_UNET, pickle.load(sys.stdin.buffer))
"""


def test_a_killed_run_goes_on_to_the_same_bits(asked, scores, tmp_path):
    """Over the pipeline as users have it, with its threads."""
    broken = replace(asked, run=tmp_path / "run")
    line, root = [sys.executable, "-c", KILLED], Path(experiment.__file__).parents[2]
    given = pickle.dumps(broken)
    done = subprocess.run(line, input=given, cwd=root, capture_output=True, timeout=150)
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = {path.name for path in (broken.run / "checkpoints").iterdir()}
    assert kept == {"0", "1", "2", "lock"}
    assert played(broken) == scores
    paths = (run / "paper-sr_unet.safetensors" for run in (broken.run, asked.run))
    pieces, whole = (weights.load(path, folded=False).params for path in paths)
    chex.assert_trees_all_equal(pieces, whole)


def test_a_run_goes_on_with_its_clips_alone_wherever_they_lie(asked, scores, films, tmp_path):
    moved = shutil.copytree(films, tmp_path / "moved")
    assert played(replace(asked, data=(moved,))) == scores
    media.film(moved / "dog.mp4", media.Picture(frames=5, width=192, height=128))
    with pytest.raises(UsageError, match=r"another run.*\n  clips: \".* clips, .* held out, "):
        played(replace(asked, data=(moved,), keep=tmp_path / "kept"))
    assert not (tmp_path / "kept").exists()


def test_a_folder_that_cannot_be_used_is_told_before_a_clip_is_coded(asked, scores, tmp_path):
    asked = replace(asked, keep=tmp_path / "kept")
    with pytest.raises(UsageError, match=r"another run.*\n.*rate"):
        played(replace(asked, rate=1e-3))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another folder"):
        played(replace(asked, run=tmp_path / "file" / "run"))
    other = Checkpoints(asked.run / "checkpoints", {})
    with pytest.raises(OutputError, match="another run is writing here"):
        played(asked)
    other.close()
    assert not (tmp_path / "kept").exists()


def test_a_run_begins_with_given_weights(asked, scores):
    start = str(asked.run / "paper-sr_unet.safetensors")
    config = SR_UNET.checked(replace(asked, start=start))
    wanted = weights.load(start, folded=False).params
    chex.assert_trees_all_equal(starting(config)["generator"], wanted)
    both = starting(replace(config, start=str(asked.run)))
    chex.assert_trees_all_equal(both["generator"], wanted)
    assert both.keys() == {"generator", "critic"}
    with pytest.raises(WeightsError, match="another critic; start from a run like this"):
        starting(replace(config, start=str(asked.run), net=OTHER))
    with pytest.raises(WeightsError, match="not a sr_unet"):
        starting(replace(config, net=experiment.NETWORKS["sr_unet"]))


def test_the_best_weights_of_a_run_that_gets_worse_can_be_used(asked, monkeypatch, tmp_path):
    told = iter([0.2, 0.1, 0.4])
    monkeypatch.setattr(validation, "over", lambda *_: lambda _: {"lpips": next(told)})
    config = SR_UNET.checked(replace(asked, run=tmp_path / "run", validate=1))
    played(config)
    paths = (tables.weights_of(str(folder)) for folder in (config.run, config.run / "best"))
    last, best = (weights.load(path, folded=False).params for path in paths)
    assert (np.asarray(last["conv_last"]["bias"]) != best["conv_last"]["bias"]).any()
    begun = starting(replace(config, start=str(config.run / "best")))
    chex.assert_trees_all_equal(begun["generator"], best)
    kept = [path.name for path in (config.run / "best").iterdir()]
    assert sorted(kept) == ["2", "lock", "paper-sr_unet.safetensors"]


def test_phases_are_the_papers():
    told = lambda steps, **options: experiment.phases(experiment.Config(**options), steps)
    fidelity, full = told(experiment.STEPS)
    assert fidelity.steps + full.steps == 80 * 1280
    assert full.weights == {"lpips": 1, "ssim": 1, "adversarial": 1e-3} and full.critics
    assert not fidelity.critics
    assert [p.name for p in told(10, start="sr_unet_x2")] == ["eq4"]
    assert full.lead is None and told(10, lead=0.4)[1].lead == 0.4
    assert told(10, loss="fidelity", ssim=1)[0].weights == {"l1": 1, "ssim": 1}


def test_the_critic_sees_large_crops_in_pieces():
    crops = np.random.default_rng(0).uniform(0, 1, (2, 96, 192, 3)).astype(np.float32)
    cut = experiment.pieces(crops)
    assert cut.shape == (4, 96, 96, 3)
    np.testing.assert_array_equal(cut[3], crops[1, :, 96:])
    assert experiment.pieces(crops[:, :80, :80]).shape == (2, 80, 80, 3)


def test_table_2_compares_networks_of_about_equal_cost():
    flops = {name: cost(net)[1] for name, net in experiment.NETWORKS.items()}
    for name in ("unet", "espcn_6"):
        assert flops[name] == pytest.approx(flops["sr_unet"], rel=0.25)
    assert flops["srresnet_8"] > 4 * flops["sr_unet"]
    assert TABLE_2.keys() - experiment.NETWORKS.keys() == {"bicubic"}


def test_eq_4_is_the_sum_of_its_terms():
    rng = np.random.default_rng(0)
    fake, real = rng.uniform(0, 1, (2, 2, 32, 32, 3)).astype(np.float32)
    params = drawing.random_lpips("squeeze")
    terms = experiment.terms("squeeze", params)

    class Round:
        lr, judge = None, staticmethod(lambda name, frames: frames.mean((1, 2, 3)))

    Round.fake, Round.hr = fake, real
    found = sum(w * terms[name](Round) for name, w in experiment.PERCEPTUAL.items())
    critic = -np.log(1 / (1 + np.exp(-fake.mean((1, 2, 3))))).mean()
    lpips = losses.lpips(fake, real, params, net="squeeze")
    assert float(found) == pytest.approx(
        float(lpips + losses.ssim(fake, real) + 1e-3 * critic), abs=1e-5
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"use": "tv"}, "no use 'tv'"),
        ({"network": "vgg"}, "no network 'vgg'"),
        ({"network": "bicubic"}, "learns nothing"),
        ({"patch": 50}, "multiple of 16"),
        ({"scale": 0.0}, "scale"),
        ({"batch": 0}, "batch 0: give 1 or more"),
        ({"threads": 0}, "threads 0: give 1 or more"),
        ({"validate": 0}, "validate 0: give 1 or more"),
        ({"seed": -1}, "seed -1: give 0 or more"),
        ({"batch": 6}, "does not divide by 4 devices"),
    ],
)
def test_what_cannot_be_is_told_before_work(asked, tmp_path, change, words):
    with pytest.raises(UsageError, match=words):
        played(replace(asked, run=tmp_path / "run", keep=tmp_path / "kept", **change))
    assert not list(tmp_path.iterdir())


def test_data_that_is_not_there_or_a_test_set_is_refused(asked, tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        played(replace(asked, data=(tmp_path / "nothing",)))
    for name in ("calendar", "city"):
        (tmp_path / "Vid4").mkdir(exist_ok=True)
        media.film(tmp_path / "Vid4" / f"{name}.mp4", media.Picture(192, 128, 6))
    with pytest.raises(UsageError, match=r"test set Vid4"):
        played(replace(asked, data=(tmp_path / "Vid4",), run=tmp_path / "run"))


def test_a_perceptual_run_without_lpips_is_refused_first(asked, monkeypatch, tmp_path):
    def absent(url, remedy):
        raise WeightsError(f"cannot be reached; {remedy}")

    monkeypatch.setenv("JAXVSR_DATA", str(tmp_path))
    monkeypatch.setattr(experiment.judges, "fetch", absent)
    with pytest.raises(WeightsError, match="go online, or put"):
        played(replace(asked, loss="perceptual", data=(tmp_path / "nothing",)))


def test_lpips_that_validates_is_asked_for_before_a_clip_is_coded(asked, monkeypatch, tmp_path):
    def absent(net):
        if net == "alex":
            raise WeightsError("cannot be reached")
        return {}

    monkeypatch.setattr(experiment.judges, "lpips_params", absent)
    with pytest.raises(WeightsError, match="cannot be reached"):
        played(replace(asked, loss="perceptual", keep=tmp_path / "kept"))
    assert not (tmp_path / "kept").exists()


def test_tables_hold_ours_beside_the_papers(asked, scores, films, tmp_path):
    config = tables.Table(
        runs=(str(asked.run),),
        clips=(str(films / "ant.mp4"),),
        metrics=("psnr_y", "ssim"),
        curves=("ssim",),
        crfs=(18, 30),
        frames=2,
        skip=1,
        output=tmp_path / "out",
    )
    told = config.run(PAPER).read_text()
    rows = [line for line in told.splitlines() if line.startswith("| sr_unet |")]
    assert "0.7190 \\| " in rows[0] and "46.1 \\| " in rows[0]
    assert told.startswith("# SR-UNet on our clips\n")
    assert "Rows that were not given: unet, srresnet_8, espcn_6" in told
    assert "BD-rate against full size" in told and "11,846" in told
    assert (tmp_path / "out" / "rate.png").stat().st_size > 10_000
    cells = (tmp_path / "out" / "cells.jsonl").read_text()
    assert len(cells.splitlines()) == 2 + 2 * 3
    rate = {(c["model"], c["crf"]): c["kbps"] for c in map(json.loads, cells.splitlines())}
    assert rate["full size", 18] > rate["bicubic", 18] > rate["bicubic", 30]
    config.run(PAPER)
    assert (tmp_path / "out" / "cells.jsonl").read_text() == cells


def test_a_run_ends_with_its_row_of_the_table(asked, scores, films, monkeypatch, capsys):
    ant = replace(tables.Table(), clips=(str(films / "ant.mp4"),), frames=2, skip=1)
    small = lambda runs, **how: replace(ant, runs=runs, metrics=("ssim",), **how)
    monkeypatch.setattr(tables, "Table", small)
    tables.conclude(PAPER, asked.run)
    assert "| sr_unet | 0.7190 \\| " in capsys.readouterr().out


def test_without_clips_it_says_how_to_make_the_table(asked, scores, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cells, "DATA", tmp_path)
    tables.conclude(PAPER, asked.run)
    told = capsys.readouterr().err
    assert "no such clip" in told and f"sr_unet table {asked.run} --clips" in told


def test_rows_that_cannot_be_are_told(tmp_path):
    with pytest.raises(InputError, match="no weights yet"):
        tables.Table(runs=(str(tmp_path),)).run(PAPER)
    with pytest.raises(UsageError, match="two rows called bicubic"):
        tables.Table(runs=("bicubic=sr_unet_light_x2",)).run(PAPER)
