"""A run is validated over whole clips of any size."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.frame import validation
from jaxvsr.data.shots import Pair


def pair(seed: int, frames: int, side: int, width: int) -> Pair:
    rng = np.random.default_rng(seed)
    hr = rng.integers(0, 256, (frames, side, width, 3), np.uint8)
    return Pair(hr[:, ::2, ::2], hr, np.array([], np.int64))


def doubled(params, frames):
    return jnp.repeat(jnp.repeat(frames, 2, 1), 2, 2) * params


CLIPS = pair(0, 3, 32, 48), pair(1, 2, 64, 32), pair(2, 1, 32, 48)


def test_scores_are_means_over_frames_and_then_over_clips():
    found = validation.over(CLIPS, doubled)(0.5)
    wanted = []
    for clip in CLIPS:
        fake = np.repeat(np.repeat(clip.lr, 2, 1), 2, 2) * 0.5
        errors = ((fake - clip.hr) ** 2).mean((1, 2, 3))
        wanted.append((10 * np.log10(255**2 / errors)).mean())
    assert found["psnr"] == pytest.approx(np.mean(wanted), abs=1e-3)
    assert found.keys() == {"psnr", "ssim", "real_above_made"}


def test_the_picture_has_truth_above_what_was_made():
    picture = validation.over(CLIPS, doubled)(1.0)["real_above_made"]
    assert picture.shape == (64, 96, 3)  # the clips of the last one's size, beside each other
    np.testing.assert_array_equal(picture[:32, :48], np.float32(CLIPS[0].hr[-1]) / 255)
    np.testing.assert_array_equal(picture[32::2, :48:2], np.float32(CLIPS[0].lr[-1]) / 255)
