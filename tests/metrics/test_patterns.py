"""Rulers for what eyes object to: known patterns, grain and flicker are told in their own units."""

import jax
import numpy as np
import pytest

from jaxvsr import losses, metrics

SIZE = 96, 128
LEVEL = 1 / 219  # of luma; it runs from 16 to 235
BOARD = np.indices(SIZE).sum(0) % 2 * 2.0 - 1
FOUR = np.where(np.arange(SIZE[1]) // 2 % 2, 1.0, -1.0) * np.ones(SIZE)
EIGHT = np.sqrt(2) * np.cos(np.pi * np.arange(SIZE[0]) / 4)[:, None] * np.ones(SIZE)


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    """Two frames [2, H, W, 3]: a smooth half with a little grain, a half of texture, an edge."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] / SIZE[0]
    scene = 0.5 + 0.2 * np.sin(2 * x + y) + 0.1 * (x > 1.1)
    scene = scene + (x > 0.7) * 0.1 * rng.standard_normal(SIZE)
    grain = 0.5 * LEVEL * rng.standard_normal((2, *SIZE))
    return np.repeat((scene + grain)[..., None], 3, -1).astype(np.float32)


def added(real, pattern, levels) -> np.ndarray:
    return real + np.float32(levels * LEVEL) * pattern[..., None].astype(np.float32)


@pytest.mark.parametrize("pattern", [BOARD, FOUR, EIGHT], ids=["2", "4", "8"])
def test_a_mesh_is_told_in_levels(real, pattern):
    found = [metrics.mesh(added(real, pattern, a), real) for a in (0, 0.5, 1, 2, 4)]
    assert (found[0] == 0).all()
    np.testing.assert_allclose(np.mean(found[1:], 1), [0.5, 1, 2, 4], rtol=0.1)


def test_neither_grain_nor_blur_nor_a_gradient_is_a_mesh(real):
    rng = np.random.default_rng(1)
    noisy = real + np.float32(2 * LEVEL) * rng.standard_normal(real.shape).astype(np.float32)
    blurred = (real + np.roll(real, 1, 1) + np.roll(real, 1, 2) + np.roll(real, (1, 1), (1, 2))) / 4
    shaded = real + np.linspace(0, 0.1, SIZE[1], dtype=np.float32)[:, None]
    for image in (noisy, blurred, shaded):
        assert float(metrics.mesh(image, real).max()) < 0.2


def test_a_mesh_on_texture_alone_counts_little(real):
    """Among leaves nobody sees what disturbs on a wall."""
    column = np.arange(SIZE[1]) > 0.7 * SIZE[0]
    on_texture = metrics.mesh(added(real, BOARD * column, 2), real).mean()
    on_wall = metrics.mesh(added(real, BOARD * ~column, 2), real).mean()
    assert on_wall > 3 * on_texture


def test_detail_and_grain_have_a_sign(real):
    rng = np.random.default_rng(2)
    above, beside, real = real[:, :-1, 1:], real[:, 1:, :-1], real[:, 1:, 1:]
    blurred = (2 * real + above + beside) / 4
    grainy = real + np.float32(3 * LEVEL) * rng.standard_normal(real.shape[:3])[..., None]
    for ruler in (metrics.detail, metrics.grain):
        assert float(ruler(blurred, real).max()) < -0.3
        np.testing.assert_allclose(ruler(real, real), 0, atol=1e-5)
        assert float(ruler(grainy.astype(np.float32), real).min()) > 3


def test_twice_the_amplitude_is_six_decibels():
    rng = np.random.default_rng(3)
    noise = 8 * LEVEL * rng.standard_normal((*SIZE, 1))
    once, twice = (np.float32(0.5 + a * noise) * np.ones(3, np.float32) for a in (1, 2))
    assert float(metrics.detail(twice, once)) == pytest.approx(6.02, abs=0.1)
    assert float(metrics.grain(twice, once)) == pytest.approx(6.02, abs=0.1)


def test_grain_is_kept_lost_or_invented():
    rng = np.random.default_rng(4)
    flat = np.full((*SIZE, 3), 0.5, np.float32)
    one, other = (np.float32(2 * LEVEL * rng.standard_normal((*SIZE, 1))) for _ in range(2))
    shares = lambda fake: metrics.grain_shares(flat + fake, flat + one)
    close = lambda found, wanted: np.testing.assert_allclose(found, wanted, atol=0.05)
    close(shares(one), (1, 0, 0))
    close(shares(0 * one), (0, 1, 0))
    close(shares(0.5 * one), (0.5, 0.5, 0))
    close(shares(other), (0, 1, 1))


def test_flicker_counts_where_the_truth_stands_still(real):
    still = np.stack([real[0]] * 3)
    rng = np.random.default_rng(5)
    new = np.float32(LEVEL) * rng.standard_normal((3, *SIZE, 1)).astype(np.float32)
    found = metrics.flicker(still + new, still)
    # The filter takes away less than it leaves: 1 - 2 * 36/256 + (70/256)**2 of the energy.
    np.testing.assert_allclose(found, np.sqrt(2 * (1 - 2 * 36 / 256 + (70 / 256) ** 2)), rtol=0.05)
    np.testing.assert_array_equal(metrics.flicker(still, still), 0)
    held = still + new[:1]
    np.testing.assert_array_equal(metrics.flicker(held, still), 0)
    moving = rng.random(still.shape, np.float32)
    assert np.isnan(metrics.flicker(moving, moving)).all()


def test_what_cannot_be_measured_is_told():
    small, one = np.zeros((2, 31, 64, 3)), np.zeros((1, 64, 64, 3))
    with pytest.raises(ValueError, match="at least 32x32"):
        metrics.mesh(small, small)
    with pytest.raises(ValueError, match="shapes differ"):
        metrics.detail(one, one[:, 1:])
    with pytest.raises(ValueError, match="two frames"):
        metrics.flicker(one, one)


def test_the_loss_sees_a_mesh_and_no_texture(real):
    meshed, rng = added(real, BOARD, 2), np.random.default_rng(6)
    texture = real + np.float32(2 * LEVEL) * rng.choice([-1, 1], (2, *SIZE, 1)).astype(np.float32)
    assert losses.mesh(meshed, real) > 5 * losses.mesh(texture, real) > 0
    np.testing.assert_allclose(losses.mesh(real + 0.1, real), 0, atol=1e-6)
    lower = real - 0.01 * jax.grad(losses.mesh)(meshed, real)
    assert losses.mesh(meshed - real + lower, real) < losses.mesh(meshed, real)
