"""Losses: each returns one scalar, unweighted. Weights belong to an experiment's phases.

Images are [..., H, W, C] in [0, 1].
"""

import jax.numpy as jnp

from jaxvsr.metrics import fidelity


def l1(fake, real):
    """Mean absolute error."""
    return jnp.abs(fake - real).mean()


def charbonnier(fake, real, epsilon: float = 1e-3):
    """Absolute error with a round bottom, less `epsilon` at zero error (Charbonnier et al. 1994).

    `epsilon` is the error below which it grows as a square.
    """
    return (jnp.sqrt(jnp.square(fake - real) + epsilon**2) - epsilon).mean()


def ssim(fake, real):
    """1 - SSIM, the mean over images (Wang et al. 2004, Eq. 13): 0 for equal images, 2 at most.

    The window of 11x11 pixels must fit, else ValueError. SR-UNet trains with it.
    """
    return 1 - fidelity.ssim(fake, real).mean()


def ms_ssim(fake, real):
    """1 - MS-SSIM, the mean over images (Wang, Simoncelli, Bovik 2003, Eq. 7): 0 to 1.

    Five scales, so a side needs 161 pixels, else ValueError. An image whose contrasts oppose the
    truth's as a whole at any scale counts 1 and has no gradient: begin with another loss.
    """
    return 1 - fidelity.ms_ssim(fake, real).mean()
