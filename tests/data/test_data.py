"""Small and large crops show the same place, whatever was drawn."""

import numpy as np
import pytest

from jaxvsr.data import crops
from jaxvsr.degradation import Recipe, code


def clip(seed, side=64):
    return np.random.default_rng(seed).integers(0, 256, (4, side, side, 3)).astype(np.uint8)


@pytest.fixture
def pairs(monkeypatch):
    """Spoiled by keeping every second pixel, so that alignment can be told exactly."""
    monkeypatch.setattr(crops, "spoil", lambda clip, recipe: clip[:, ::2, ::2])
    return crops.pairs(map(clip, range(3)), np.random.default_rng(0), lambda _: Recipe(), side=16)


@pytest.mark.quick
def test_pairs_show_the_same_place(pairs):
    assert pairs.lr.shape == (18, 16, 16, 3) and pairs.hr.shape == (18, 32, 32, 3)
    np.testing.assert_array_equal(pairs.lr, pairs.hr[:, ::2, ::2])
    grey = [np.ptp(x.astype(int), axis=-1).mean() for x in (pairs.hr, clip(0))]
    assert grey[0] < grey[1]  # noise in colour is what 4:2:0 loses


def test_a_batch_is_a_function_of_its_number(pairs):
    one, again, other = (pairs.batch(step, 4, 8, seed=3) for step in (5, 5, 6))
    np.testing.assert_array_equal(one["lr"], again["lr"])
    assert not np.array_equal(one["lr"], other["lr"])
    assert one["lr"].shape == (4, 8, 8, 3) and one["hr"].dtype == np.float32
    assert 0 <= one["hr"].min() < 0.1 and 0.9 < one["hr"].max() <= 1


def test_flips_and_turns_keep_the_pair_together():
    """Each large pixel block repeats its small pixel, in any orientation."""
    lr = clip(0, 12)
    both = crops.Pairs(lr, lr.repeat(2, 1).repeat(2, 2))
    for step in range(8):
        batch = both.batch(step, 4, 8)
        np.testing.assert_array_equal(batch["hr"], batch["lr"].repeat(2, 1).repeat(2, 2))


def test_a_panned_window_is_cut_from_the_still():
    still = np.arange(40 * 50 * 3).reshape(40, 50, 3)
    for frame in crops.pan(still, 5, 16, np.random.default_rng(0)):
        y, x = divmod(int(frame[0, 0, 0]) // 3, 50)
        np.testing.assert_array_equal(frame, still[y : y + 16, x : x + 16])


@pytest.mark.parametrize("move", [crops.pan, crops.turn])
def test_a_still_of_the_window_s_size_is_enough(move):
    still = np.full((32, 32, 3), 77, np.uint8)
    frames = move(still, 3, 32, np.random.default_rng(1))
    assert frames.shape == (3, 32, 32, 3) and frames[:, 16, 16].tolist() == [[77] * 3] * 3


def test_drawn_scenes_move_and_repeat_with_the_seed():
    one, again = (crops.scene(3, 48, np.random.default_rng(4)) for _ in range(2))
    assert one.shape == (3, 48, 48, 3) and one.dtype == np.uint8
    np.testing.assert_array_equal(one, again)
    assert one.std() > 5 and not np.array_equal(one[0], one[-1])


def test_a_real_video_becomes_windows(shared):
    path = next((shared / "train/video").glob("flower_opening_540p.*"))
    windows = crops.windows(path, 4, 64, 200, np.random.default_rng(0), start=2)
    first, second = next(windows), next(windows)
    assert first.shape == second.shape == (4, 64, 64, 3)
    assert 0 < np.abs(code(first, Recipe(crf=20)).astype(float) - first).mean() < 20
