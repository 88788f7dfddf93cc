"""The made-up film is repeatable, moves, is cut once, and looks like nature to a filter."""

import numpy as np
import pytest

from jaxvsr.data import textures
from jaxvsr.data.synthetic import cut_at, scene, tone

FRAMES, HEIGHT, WIDTH = 20, 96, 128


def film(seed=1):
    return np.stack(list(scene(seed, FRAMES, HEIGHT, WIDTH)))


def test_a_seed_is_a_film():
    first, again, other = film(), film(), film(seed=2)
    assert first.dtype == np.uint8 and first.shape == (FRAMES, HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 10


def test_every_frame_moves_and_one_is_a_cut():
    change = np.abs(np.diff(film().astype(int), axis=0)).mean((1, 2, 3))
    cut = cut_at(FRAMES) - 1
    assert change.min() > 0.5
    assert change.argmax() == cut and change[cut] > 1.5 * np.delete(change, cut).max()


@pytest.mark.parametrize("size", [(24, 24), (33, 50)])
def test_any_size_and_length(size):
    for length in (1, 2):
        assert [f.shape for f in scene(0, length, *size)] == [(*size, 3)] * length


@pytest.mark.parametrize("slope", [0.7, 1.6])
def test_noise_has_the_spectrum_asked_for(slope):
    noise = textures.fractal(np.random.default_rng(0), 128, 128, slope)
    power = np.abs(np.fft.rfft2(noise)) ** 2
    radius = np.hypot(np.fft.fftfreq(128)[:, None] * 128, np.arange(65))
    ring = lambda r: power[(radius > 0.8 * r) & (radius < 1.25 * r)].mean()
    np.testing.assert_allclose(np.log2(ring(8) / ring(32)) / 4, slope, atol=0.15)


def test_the_sound_is_repeatable_and_within_range():
    sound = tone(3, 1.25, rate=8000)
    np.testing.assert_array_equal(sound, tone(3, 1.25, rate=8000))
    assert sound.shape == (10_000, 2) and 0.1 < np.abs(sound).max() <= 1
