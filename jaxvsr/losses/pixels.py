"""Losses that compare pictures pixel by pixel or window by window."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvsr.metrics import fidelity

ROUND = 1e-3  # the error below which Charbonnier's grows as a square


def absolute(error: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """|e| with slope 0 at 0, as in PyTorch.

    JAX's own has slope 1 there, which would pull down every pixel that is already right, such
    as whites that the network clips.
    """
    return error * jnp.sign(error)


def _charbonnier(error, epsilon: float = ROUND):
    return jnp.sqrt(jnp.square(error) + epsilon**2) - epsilon


NORMS = {"l1": absolute, "l2": jnp.square, "charbonnier": _charbonnier}


def penalty(error: Float[Array, "*shape"], norm: str) -> Float[Array, "*shape"]:
    """What each single error costs: "l1" |e|, "l2" e^2, or "charbonnier"."""
    if norm not in NORMS:
        raise ValueError(f"norm {norm!r}: choose one of {', '.join(NORMS)}")
    return NORMS[norm](error)


def l1(fake, real):
    """Mean absolute error."""
    return absolute(fake - real).mean()


def mse(fake, real):
    """Mean squared error."""
    return jnp.square(fake - real).mean()


def charbonnier(fake, real, epsilon: float = ROUND):
    """Absolute error with a round bottom, less `epsilon` at zero error (Charbonnier et al. 1994).

    `epsilon` is the error below which it grows as a square.
    """
    return _charbonnier(fake - real, epsilon).mean()


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


def cvegan(fake, real, epsilon: float = 1e-6):
    """.3 log L1 + .1 log MSE + .2 log(1 - SSIM) + .4 log(1 - MS-SSIM) (CVEGAN, Ma et al. 2020).

    A sum of logarithms lets each part fall by the same factor for the same gain, and has no
    lower bound; ours: `epsilon` is added to each part, so that equal pictures give a number, and
    no endless slope. Sides need 161 pixels, for MS-SSIM's five scales.
    """
    parts = (0.3, l1), (0.1, mse), (0.2, ssim), (0.4, ms_ssim)
    # Rounding can bring 1 - SSIM of nearly equal pictures below 0.
    return sum(w * jnp.log(jnp.maximum(loss(fake, real), 0) + epsilon) for w, loss in parts)
