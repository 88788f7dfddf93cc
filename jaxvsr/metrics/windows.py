"""Statistics under a sliding Gaussian window: the part of SSIM that takes time.

An image [..., H, W, C] is seen as rows [..., H, W * C]. A step of one pixel to the right is a step
of C numbers, so the inner loops run over whole rows, whatever the number of channels.

XLA on a CPU fuses the two passes of a separable window into one of 121 taps, through optimisation
barriers too; only the edge of a loop keeps them apart. Large images go strip by strip, because
fresh memory for whole planes costs a CPU more than the arithmetic. Together that makes SSIM of
1080p luma 10 times faster. Other devices get the whole images at once.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

TAPS = 11  # scikit-image: sigma 1.5, truncated at 3.5 sigma
SIGMA = 1.5
STRIP = 2**18  # numbers that one strip of an image may have; a megabyte stays in the cache
FEWEST = 32  # rows of a strip; each also reads ten rows of the next

Image = Float[Array, "*n h w c"]


def gaussian(taps: int, sigma: float) -> np.ndarray:
    """Weights [taps] of a Gaussian around the middle tap; their sum is 1."""
    t = np.arange(taps) - taps // 2
    window = np.exp(-0.5 * np.square(t / sigma))
    return window / window.sum()


def window_means(
    planes: Callable,
    score: Callable,
    fake: Float[Array, "*n h w c"],
    real: Float[Array, "*n h w c"],
) -> Float[Array, "k *n c"]:
    """Means over all places of an 11x11 Gaussian window, sigma 1.5, that lie inside the image.

    `planes(fake, real)` gives p arrays shaped like its inputs, whose mean and variance under the
    window go to `score(mean, variance)`, two arrays [p, ...], which gives k arrays [...]: those
    are averaged. The variance is E[z^2] - E[z]^2, so the planes should be centred near 0.
    """
    channels = fake.shape[-1]
    high, wide = fake.shape[-3] - TAPS + 1, fake.shape[-2] - TAPS + 1

    def across(down):
        mean, square = (_blur(z, -1, channels) for z in down)
        return jnp.stack(score(mean, square - mean * mean))

    pair = [image.reshape(*image.shape[:-2], -1) for image in (fake, real)]
    ways = [partial(way, planes, across) for way in (_images, _whole)]
    sums = lax.platform_dependent(*pair, cpu=ways[0], default=ways[1])
    return sums.reshape(*sums.shape[:-1], wide, channels).sum(-2) / (high * wide)


def _whole(planes, across, fake, real):
    """Sums of the scores over the rows, [k, ..., (W - 10) * C]."""
    down = lax.map(lambda z: (_blur(z, -2, 1), _blur(z * z, -2, 1)), jnp.stack(planes(fake, real)))
    return across(down).sum(-2)


def _images(planes, across, fake, real):
    """The same, image by image, where all together are too many for the cache."""
    *batch, height, width = fake.shape
    if math.prod(fake.shape) <= STRIP:
        return _whole(planes, across, fake, real)
    if not batch:
        return _strips(planes, across, fake, real)
    pair = (x.reshape(-1, height, width) for x in (fake, real))
    sums = lax.map(lambda pair: _images(planes, across, *pair), tuple(pair))
    return jnp.moveaxis(sums, 0, 1).reshape(-1, *batch, sums.shape[-1])


def _strips(planes, across, fake, real):
    """One image strip by strip: a turn of the loop blurs one downwards and the last one across."""
    height, width = fake.shape
    height -= TAPS - 1
    count = -(-height // max(FEWEST, STRIP // width))
    tall = -(-height // count)
    starts = np.minimum(np.arange(count) * tall, height - tall)
    # Rows of the last strip that the one before it had already do not count twice.
    fresh = np.arange(tall) >= (np.arange(count) * tall - starts)[:, None]

    def turn(down, at):
        start, weights = at
        sums = jnp.einsum("h,khw->kw", weights, across(down), precision="highest")
        cut = (lax.dynamic_slice_in_dim(x, start, tall + TAPS - 1, -2) for x in (fake, real))
        strip = planes(*cut)
        mean = jnp.stack([_blur(z, -2, 1) for z in strip])
        return (mean, jnp.stack([_blur(z * z, -2, 1) for z in strip])), sums

    nothing = jnp.zeros((len(jax.eval_shape(planes, fake, real)), tall, width), fake.dtype)
    weights = jnp.asarray(np.pad(fresh, ((1, 0), (0, 0))), fake.dtype)
    turns = jnp.asarray(np.append(starts, starts[-1])), weights
    return lax.scan(turn, (nothing, nothing), turns)[1].sum(0)


def _blur(x, axis: int, step: int):
    length = x.shape[axis] - (TAPS - 1) * step
    taps = (lax.slice_in_dim(x, i * step, i * step + length, axis=axis) for i in range(TAPS))
    return sum(float(w) * tap for w, tap in zip(gaussian(TAPS, SIGMA), taps, strict=True))
