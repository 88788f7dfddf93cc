"""Losses: each returns one scalar, unweighted. Weights belong to an experiment's phases.

Images are [..., H, W, C] in [0, 1].
"""

import jax.numpy as jnp


def l1(fake, real):
    """Mean absolute error."""
    return jnp.abs(fake - real).mean()


def charbonnier(fake, real, epsilon: float = 1e-3):
    """Absolute error with a round bottom, less `epsilon` at zero error (Charbonnier et al. 1994).

    `epsilon` is the error below which it grows as a square.
    """
    return (jnp.sqrt(jnp.square(fake - real) + epsilon**2) - epsilon).mean()
