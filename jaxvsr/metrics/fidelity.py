"""PSNR and SSIM of images [..., H, W, C] in [0, 1]; one value for each image, [...].

Two protocols are in use and differ by more than a decibel, so both are here by name: "rgb"
takes all three channels, "y" the luma of BT.601 in limited range, as super-resolution papers
do. They also disagree on how many border pixels to leave out: `crop`.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

TAPS = 11  # scikit-image: sigma 1.5, truncated at 3.5 sigma
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2


def luma(rgb: Float[Array, "*n h w 3"]) -> Float[Array, "*n h w 1"]:
    """BT.601 luma in limited range: black is 16/255 and white 235/255."""
    weights = jnp.array([65.481, 128.553, 24.966], rgb.dtype) / 255
    return (rgb * weights).sum(-1, keepdims=True) + 16 / 255


@partial(jax.jit, static_argnames=("channels", "crop"))
def psnr(fake: Float[Array, "*n h w c"], real: Float[Array, "*n h w c"], *, channels="rgb", crop=0):
    """Peak signal-to-noise ratio in dB, [...]; infinite for equal images.

    `channels` is "rgb" (all, whatever they are) or "y"; `crop` pixels go at each border.
    """
    fake, real = _prepare(fake, real, channels, crop)
    return -10 * jnp.log10(jnp.square(fake - real).mean((-3, -2, -1)))


@partial(jax.jit, static_argnames=("channels", "crop"))
def ssim(fake: Float[Array, "*n h w c"], real: Float[Array, "*n h w c"], *, channels="rgb", crop=0):
    """Structural similarity (Wang et al. 2004), [...]: 1 for equal images.

    An 11-tap Gaussian window that stays inside the picture, sample variance without Bessel's
    correction, mean over channels: scikit-image's `gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=1`. `channels` and `crop` as in `psnr`.
    """
    fake, real = _prepare(fake, real, channels, crop)
    if min(fake.shape[-3:-1]) < TAPS:
        size = f"{fake.shape[-2]}x{fake.shape[-3]}"
        raise ValueError(f"ssim: {size} is smaller than the {TAPS}x{TAPS} window")
    # Written with the difference d = x - y, so that rounding cannot outweigh the constants:
    # 2 x y = x^2 + y^2 - d^2 for the means, and the same for the covariance.
    x, y, d = fake - 0.5, real - 0.5, fake - real
    mx, md, squares, dd = (_blur(z) for z in (x, d, x * x + y * y, d * d))
    my = mx - md
    variances = squares - mx * mx - my * my
    light = 1 - md * md / (jnp.square(mx + 0.5) + jnp.square(my + 0.5) + C1)
    structure = 1 - (dd - md * md) / (variances + C2)
    return (light * structure).mean((-3, -2, -1))


def _prepare(fake, real, channels: str, crop: int):
    if fake.shape != real.shape:
        raise ValueError(f"shapes differ: {fake.shape} and {real.shape}")
    if channels not in ("rgb", "y"):
        raise ValueError(f"channels {channels!r}: choose rgb or y")
    inside = slice(crop, -crop or None)
    pair = (jnp.asarray(image)[..., inside, inside, :] for image in (fake, real))
    return tuple(luma(image) if channels == "y" else image for image in pair)


def _blur(x):
    """Separable Gaussian over the positions where the whole window lies inside."""
    t = np.arange(TAPS) - TAPS // 2
    window = np.exp(-0.5 * np.square(t / SIGMA))
    window /= window.sum()
    for axis in (-3, -2):
        length = x.shape[axis] - TAPS + 1
        taps = (lax.slice_in_dim(x, i, i + length, axis=axis) for i in range(TAPS))
        x = sum(float(w) * tap for w, tap in zip(window, taps, strict=True))
    return x
