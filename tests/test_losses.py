"""The pixel losses by their definitions."""

import jax
import jax.numpy as jnp
import pytest

from jaxvsr import losses


def test_l1_is_the_mean_error():
    assert losses.l1(jnp.array([0.0, 1.0]), jnp.array([0.5, 1.0])) == 0.25


def test_charbonnier_nears_l1_far_from_zero_and_is_smooth_at_zero():
    real, fake = jnp.zeros((4, 4, 3)), jnp.full((4, 4, 3), 0.5)
    near = losses.charbonnier(fake, real, epsilon=1e-4)
    assert near == pytest.approx(float(losses.l1(fake, real)), abs=1e-4)
    assert losses.charbonnier(real, real) == 0
    assert jnp.all(jax.grad(losses.charbonnier)(real, real) == 0)
