"""The two sides of the training benchmark do the same work, and its sums are right."""

import csv
import json

import jax
import numpy as np
import pytest

from jaxvsr.models.sr_unet import SRUNet
from jaxvsr.models.srresnet import SRResNet
from tools import bench_torch, bench_train, busy
from tools.bench_train import Case, InJAX, InTorch

TINY = {
    "sr_unet": SRUNet(width=8, depths=(1, 2, 1, 1, 1, 1, 2), clip=False),
    "srresnet": SRResNet(scale=2, features=8, blocks=1, ends=3),
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(bench_train, "NETWORKS", TINY)
    monkeypatch.setattr(bench_train, "SRGANCritic", lambda width: CRITIC)


CRITIC = bench_train.SRGANCritic(4, hidden=8)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("network", "losses"), [("sr_unet", "l1+ssim"), ("srresnet", "l1"), ("srresnet", "gan")]
)
def test_both_learn_the_same(network, losses):
    # With a large epsilon Adam does not blow rounding of tiny gradients up to whole steps.
    case = Case(network, losses, batch=2, patch=16, rate=0.01, epsilon=1e-2)
    params = bench_train.untrained(case)
    ours, theirs = InJAX(case, params), InTorch(case, params)
    for _ in range(3):
        ours.step(), theirs.step()
        for name, value in theirs.metrics.items():
            assert float(ours.metrics[name]) == pytest.approx(float(value), abs=1e-4, rel=1e-4)
    learnt = bench_torch.arrays(theirs.training.params)
    assert set(learnt) == set(ours.state.params)
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=5e-6, rtol=0)
    jax.tree.map(close, dict(ours.state.params), learnt)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), params, learnt)
    assert min(jax.tree.leaves(moved)) > 5e-5
    sums = [sorted(float(a.sum()) for a in jax.tree.leaves(ours.state.ema))]
    sums += [sorted(float(a.sum()) for a in theirs.training.ema)]
    np.testing.assert_allclose(*sums, atol=1e-4)


def test_covered_time_counts_what_overlaps_once():
    assert busy.covered([(0, 4), (2, 5), (8, 10)]) == pytest.approx(0.7)
    assert busy.covered([(3, 4), (0, 10)]) == 1
    assert busy.covered([]) is None


def test_a_verdict_needs_turns_that_agree():
    ours = np.array([1.0, 1.0, 1.0, 1.0, 1.0])
    assert bench_train.ratio(1.3 * ours, ours)["verdict"] == "JAX is faster"
    assert bench_train.ratio(0.8 * ours, ours)["verdict"] == "JAX is slower"
    mixed = bench_train.ratio(np.array([0.8, 0.9, 1.0, 1.1, 1.2]), ours)
    assert mixed["verdict"] == "no clear difference"
    assert mixed["ratio"] == pytest.approx(1)


def test_results_are_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench_train, "feeding", lambda *_: {"way": "pipeline", "images_per_s": 1})
    args = {"batch": 1, "patch": 16, "rounds": 2, "memory": False, "out": tmp_path}
    bench_train.main(bench_train.Args(networks=("srresnet",), **args))
    assert "torch / jax" in capsys.readouterr().out
    (file,) = tmp_path.glob("train_*.json")
    found = json.loads(file.read_text())
    assert {"date", "device", "load", "jax", "git"} <= set(found["facts"])
    assert [row["way"] for row in found["rows"]] == ["jax", "torch", "pipeline", "pipeline"]
    with file.with_suffix(".csv").open() as table:
        assert len(list(csv.DictReader(table))) == len(found["rows"])


def test_what_was_measured_before_a_bench_ends_early_is_kept(tmp_path, monkeypatch):
    def measure(case, args):
        if case.network == "srresnet":
            raise KeyboardInterrupt
        return [{"way": "jax", "network": case.network}]

    monkeypatch.setattr(bench_train, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        bench_train.main(bench_train.Args(out=tmp_path))
    (file,) = tmp_path.glob("train_*.json")
    assert [row["network"] for row in json.loads(file.read_text())["rows"]] == ["sr_unet"]
