"""The losses by their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvsr import losses, metrics


@pytest.mark.quick
def test_l1_is_the_mean_error():
    assert losses.l1(jnp.array([0.0, 1.0]), jnp.array([0.5, 1.0])) == 0.25


def test_charbonnier_nears_l1_far_from_zero_and_is_smooth_at_zero():
    real, fake = jnp.zeros((4, 4, 3)), jnp.full((4, 4, 3), 0.5)
    near = losses.charbonnier(fake, real, epsilon=1e-4)
    assert near == pytest.approx(float(losses.l1(fake, real)), abs=1e-4)
    assert losses.charbonnier(real, real) == 0
    assert jnp.all(jax.grad(losses.charbonnier)(real, real) == 0)


@pytest.mark.parametrize("epsilon", [1e-3, 0.05])
def test_charbonnier_and_its_gradient_are_numpys(epsilon):
    rng = np.random.default_rng(0)
    fake, real = rng.uniform(0, 1, (2, 2, 9, 7, 3)).astype(np.float32)
    real[0] = fake[0] + rng.normal(0, epsilon, real[0].shape).astype(np.float32)  # the round bottom
    value, gradient = jax.value_and_grad(losses.charbonnier)(fake, real, epsilon)
    error = np.float64(fake) - real
    root = np.sqrt(error**2 + epsilon**2)
    np.testing.assert_allclose(value, (root - epsilon).mean(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(gradient * error.size, error / root, rtol=0, atol=1e-5)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("name", "side"), [("ssim", 16), ("ms_ssim", 161)])
def test_structural_losses_are_what_is_missing_from_the_metric(name, side):
    real = np.random.default_rng(0).random((2, side, side, 3), np.float32)
    fake = 0.9 * real
    loss, metric = getattr(losses, name), getattr(metrics, name)
    value, gradient = jax.value_and_grad(loss)(fake, real)
    assert value == pytest.approx(1 - float(metric(fake, real).mean()), abs=1e-6)
    better = loss(fake - 1e-3 * gradient / jnp.abs(gradient).max(), real)
    assert jnp.isfinite(gradient).all() and 0 < better < value
    assert loss(real, real) == pytest.approx(0, abs=1e-6)
