"""PSNR, SSIM and MS-SSIM of images [..., H, W, C] in [0, 1]; one value for each image, [...].

Two protocols are in use and differ by more than a decibel, so both are here by name: "rgb"
takes all three channels, "y" the luma of BT.601 in limited range, as super-resolution papers
do. They also disagree on how many border pixels to leave out: `crop`.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxvsr.metrics.windows import TAPS, window_means

C1, C2 = 0.01**2, 0.03**2
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2: finest first
# The low-pass of the 9/7 wavelet of JPEG 2000 (ISO/IEC 15444-1, table F.4), middle tap first.
WAVELET = (0.6029490182, 0.2668641184, -0.0782232665, -0.0168641184, 0.0267487574)

Image = Float[Array, "*n h w c"]


def luma(rgb: Float[Array, "*n h w 3"]) -> Float[Array, "*n h w 1"]:
    """BT.601 luma in limited range: black is 16/255 and white 235/255."""
    red, green, blue = (rgb[..., i : i + 1] for i in range(3))
    # Slices and not a sum over the last axis, which XLA on a CPU does a hundred times slower.
    return (65.481 * red + 128.553 * green + 24.966 * blue + 16) / 255


@partial(jax.jit, static_argnames=("channels", "crop"))
def psnr(fake: Image, real: Image, *, channels="rgb", crop=0):
    """Peak signal-to-noise ratio in dB, [...]; higher is better, infinite for equal images.

    -10 log10 of the mean squared error over pixels and channels together; the peak is 1.
    `channels` is "rgb" (all, whatever they are) or "y"; `crop` pixels go at each border.
    """
    fake, real = _prepare(fake, real, channels, crop)
    return -10 * jnp.log10(jnp.square(fake - real).mean((-3, -2, -1)))


@partial(jax.jit, static_argnames=("channels", "crop"))
def ssim(fake: Image, real: Image, *, channels="rgb", crop=0):
    """Structural similarity (Wang et al. 2004, Eq. 13), [...]: 1 for equal images, at best.

    An 11-tap Gaussian window that stays inside the picture, sample variance without Bessel's
    correction, mean over channels: scikit-image's `gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=1`. libvmaf's float_ssim is the same for luma of less
    than 384 lines, and shrinks what is larger first. `channels` and `crop` as in `psnr`.
    """
    fake, real = _prepare(fake, real, channels, crop)
    _check_size("ssim", fake, TAPS)
    return _similarity(fake, real, light=True).mean(-1)


@partial(jax.jit, static_argnames=("channels", "crop", "convention"))
def ms_ssim(fake: Image, real: Image, *, channels="rgb", crop=0, convention="wang"):
    """Multi-scale structural similarity (Wang, Simoncelli, Bovik 2003, Eq. 7), [...].

    Higher is better, 1 for equal images; `channels` and `crop` as in `psnr`. Five scales, each
    half as large as the one before, so a side needs 161 pixels; smaller raises ValueError. Of
    each scale counts the mean of contrast times structure, of the coarsest that of SSIM, and none
    below 0; channels are averaged last. `convention` says what the paper leaves open:

    - "wang", the authors' code: halves by means of 2x2 pixels.
    - "libvmaf", its float_ms_ssim: halves by the 9/7 wavelet's low-pass, and averages contrast,
      structure and luminance apart before it multiplies them. They differ by about 0.001.
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"convention {convention!r}: choose {' or '.join(CONVENTIONS)}")
    halve, factors = CONVENTIONS[convention]
    fake, real = _prepare(fake, real, channels, crop)
    _check_size("ms_ssim", fake, (TAPS - 1) * 2 ** (len(SCALES) - 1) + 1)
    product = 1.0
    for i, weight in enumerate(SCALES):
        if i:
            fake, real = halve(fake), halve(real)
        for factor in factors(fake, real, coarsest=i == len(SCALES) - 1):
            product *= _power(factor, weight)
    return product.mean(-1)


def _prepare(fake, real, channels: str, crop: int):
    if fake.shape != real.shape:
        raise ValueError(f"shapes differ: {fake.shape} and {real.shape}")
    if channels not in ("rgb", "y"):
        raise ValueError(f"channels {channels!r}: choose rgb or y")
    if channels == "y" and fake.shape[-1] != 3:
        raise ValueError(f"channels 'y' of {fake.shape[-1]} channels: give RGB, or choose rgb")
    dtype = jnp.result_type(fake, real)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"images of {dtype}: give floats in [0, 1]")
    inside = slice(crop, -crop or None)
    dtype = jnp.promote_types(dtype, jnp.float32)
    pair = (jnp.asarray(image, dtype)[..., inside, inside, :] for image in (fake, real))
    return tuple(luma(image) if channels == "y" else image for image in pair)


def _check_size(name: str, image, least: int) -> None:
    height, width = image.shape[-3:-1]
    if min(height, width) < least:
        window = f"the {TAPS}x{TAPS} window"
        at = "" if least == TAPS else f" at {len(SCALES)} scales: {least} pixels a side"
        raise ValueError(f"{name}: {width}x{height} is smaller than {window}{at}")


def _similarity(fake, real, *, light: bool):
    """Mean contrast times structure of each channel, [..., C]; with `light` times luminance, SSIM.

    Written with the sum s = x + y - 1 and the difference d = x - y. As 4 x y = (s + 1)^2 - d^2, and
    covariances likewise, rounding cannot outweigh the constants, and equal images give 1 exactly.
    """

    def score(mean, variance):
        (ms, md), (vs, vd) = mean, variance
        spread = vs + vd + 2 * C2
        if not light:
            return ((spread - 2 * vd) / spread,)
        power = jnp.square(ms + 1) + md * md + 2 * C1
        return ((power - 2 * md * md) * (spread - 2 * vd) / (power * spread),)

    return window_means(lambda x, y: (x + y - 1, x - y), score, fake, real)[0]


def _structures(fake, real, *, coarsest: bool):
    return (_similarity(fake, real, light=coarsest),)


def _contrasts(fake, real, *, coarsest: bool):
    """libvmaf's factors of one scale; the third luminance, only at the coarsest."""

    def score(mean, variance):
        (mx, my), (vx, vy, vd) = mean[:2] + 0.5, jnp.maximum(variance, 0)
        product = vx * vy
        root = jnp.sqrt(jnp.where(product > 0, product, 1)) * (product > 0)
        light = (2 * mx * my + C1) / (mx * mx + my * my + C1)
        structure = ((vx + vy - vd) / 2 + C2 / 2) / (root + C2 / 2)
        return (2 * root + C2) / (vx + vy + C2), structure, light

    means = window_means(lambda x, y: (x - 0.5, y - 0.5, x - y), score, fake, real)
    return means if coarsest else means[:2]


def _power(base, exponent: float):
    """max(base, 0) ** exponent, whose gradient is 0 and not infinite where base is not positive."""
    return jnp.where(base > 0, jnp.where(base > 0, base, 1) ** exponent, 0)


def _halve(image):
    """Means of 2x2 pixels; the last row or column of an odd side counts twice."""
    height, width, channels = image.shape[-3:]
    odd = [(0, 0)] * (image.ndim - 3) + [(0, height % 2), (0, width % 2), (0, 0)]
    image = jnp.pad(image, odd, "edge")
    *batch, height, width, channels = image.shape
    return image.reshape(*batch, height // 2, 2, width // 2, 2, channels).mean((-4, -2))


def _halve_by_wavelet(image):
    """Every second pixel of the low-passed image; the border is mirrored, its pixels included."""
    for axis in (-3, -2):
        reach = len(WAVELET) - 1
        margin = [(reach, reach) if i == image.ndim + axis else (0, 0) for i in range(image.ndim)]
        half = -(-image.shape[axis] // 2)
        padded = jnp.pad(image, margin, "symmetric")
        cut = partial(lax.slice_in_dim, padded, stride=2, axis=axis)
        taps = ((WAVELET[abs(k)], reach + k) for k in range(-reach, reach + 1))
        image = sum(w * cut(start, start + 2 * half - 1) for w, start in taps)
    return image


CONVENTIONS = {"wang": (_halve, _structures), "libvmaf": (_halve_by_wavelet, _contrasts)}
