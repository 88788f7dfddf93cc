"""The study of baselines: every cell once, a report that says what the cells say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import media
import numpy as np
import pytest

from experiments.report import baseline, cells, tables
from jaxvsr.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of one small film, run twice: (folder, its cells after each run)."""
    folder = tmp_path_factory.mktemp("study")
    film = media.film(folder / "film.mp4", media.Picture(frames=10, width=128, height=96))
    config = baseline.Baseline(
        models=("bicubic", "sharp=lanczos"),
        clips=(str(film),),
        metrics=("psnr", "ssim_y", "warp_error"),
        curves=("psnr", "ssim_y"),
        crfs=(23, 30),
        frames=4,
        skip=2,
        output=folder / "out",
    )
    runs = []
    for _ in range(2):
        config.run()
        runs.append((config.output / "cells.jsonl").read_text())
    return config.output, *runs


def test_a_second_run_measures_nothing_again(study):
    _, first, second = study
    assert first == second
    places = [cells.place(json.loads(line)) for line in first.splitlines()]
    assert len(places) == len(set(places)) == 2 * 2 + 3 * 2 + 2  # and the truth at each paper's own


def test_the_report_says_what_the_cells_say(study):
    folder, text, _ = study
    told = (folder / "report.md").read_text()
    found = [json.loads(line) for line in text.splitlines()]
    for cell in found:
        if cell["model"] != "truth":
            assert f"{np.mean(cell['values']['psnr']):.2f}" in told
    for crf in (23, 30):
        (rate,) = {c["kbps"] for c in found if (c["degradation"], c["crf"]) == ("sr-unet", crf)}
        assert f"| bicubic | {rate:.3g} |" in told
    assert "## sr-unet, CRF 23" in told and "## gan-evh, CRF 38" in told
    assert "The clips themselves: warping error" in told and "BD-rate against bicubic" in told


def test_a_page_shows_the_truth_beside_the_models(study):
    folder, _, _ = study
    page = (folder / "sr-unet.html").read_text()
    assert all(name in page for name in ("truth", "bicubic", "sharp", "Rate and distortion"))
    assert page.count('class="shot"') == 1
    assert (folder / "sr-unet-rate.png").stat().st_size > 10_000


def test_a_truth_is_equal_to_itself(study):
    _, text, _ = study
    truths = [c for c in map(json.loads, text.splitlines()) if c["model"] == "truth"]
    assert len(truths) == 2
    assert all(cell["values"]["psnr"] == ["inf"] * 4 for cell in truths)


def test_frames_of_clips_stand_one_after_the_other():
    cell = {"clip": "a", "model": "m", "crf": 1, "kbps": 10.0, "unavailable": {}}
    few = [
        cell | {"times": [0.0, 0.5], "values": {"psnr": [30.0, 20.0]}},
        cell | {"times": [0.0, 0.5], "values": {"psnr": ["inf", None]}, "kbps": 30.0},
    ]
    (score,) = tables.pooled(few)
    np.testing.assert_array_equal(score.times, [0, 0.5, 1, 1.5])
    assert score.mean("psnr") == 25 and score.equal("psnr") == 1 and score.kbps == 20


def test_a_clip_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"no such clip.*JAXVSR_DATA"):
        cells.read_clip("nothing_720p", 3)


@pytest.mark.parametrize("study", ["evaluate_clips bicubic", "report baseline --models bicubic"])
def test_without_data_a_study_ends_with_one_line(tmp_path, study):
    command = [sys.executable, "-m", *f"experiments.{study}".split()]
    env = os.environ | {"JAXVSR_DATA": str(tmp_path), "PYTHONPATH": str(ROOT)}
    how = {"capture_output": True, "text": True, "timeout": 120}
    done = subprocess.run(command, env=env, cwd=tmp_path, **how)
    assert done.returncode == InputError.status
    assert len(done.stderr.splitlines()) == 1 and "set JAXVSR_DATA" in done.stderr
