"""The benchmark of feeding compares like with like, and its sums are right."""

from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from jaxvsr.models.sr_unet import SRUNet
from tools import bench_data, bench_train

BATCH = {
    "lr": np.zeros((2, 3, 16, 16, 3), np.uint8),
    "hr": np.zeros((2, 3, 32, 32, 3), np.uint8),
}


@pytest.fixture
def clock(monkeypatch):
    """Every look at the clock is half a second after the one before."""
    ticks = count()
    clock = SimpleNamespace(perf_counter=lambda: next(ticks) / 2)
    monkeypatch.setattr(bench_data, "time", clock)


@pytest.mark.sweep
def test_the_step_eats_all_frames_of_a_batch(clock, monkeypatch, capsys):
    tiny = {"sr_unet": SRUNet(width=4, depths=(1,) * 7, clip=False)}
    monkeypatch.setattr(bench_train, "NETWORKS", tiny)
    seen = []
    step = bench_train.InJAX.step

    def watched(self):
        seen.append((self.batch["lr"].shape, self.batch["hr"].shape))
        step(self)

    monkeypatch.setattr(bench_train.InJAX, "step", watched)
    assert bench_data.eating(BATCH, 2) == 4  # crops, each of three frames, in half a second
    assert seen == 3 * [((6, 16, 16, 3), (6, 32, 32, 3))]
    assert "SR-UNet, L1, cpu\t500.0\t4.0\t0" in capsys.readouterr().out


def test_feeding_counts_crops_too(clock):
    stream = SimpleNamespace(dataset=[BATCH] * 9)
    assert bench_data.tell("here", stream, 5) == 4


def test_the_verdict_says_who_waits():
    assert bench_data.verdict(30, 20).endswith("ratio 1.5: the pipeline keeps up")
    assert bench_data.verdict(20, 30).endswith("ratio 0.7: the step waits for the pipeline")
