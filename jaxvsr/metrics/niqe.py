"""NIQE, the quality of a picture without its truth (Mittal, Soundararajan, Bovik 2013).

A picture is cut into blocks. Each becomes 36 numbers that describe the statistics of its pixels
at two scales, and the distance of their distribution from that of pristine photographs is the
score. The steps and their order are those of the authors' MATLAB code, as BasicSR also has them.
"""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxvsr.metrics.fidelity import luma
from jaxvsr.metrics.windows import gaussian
from jaxvsr.ops.resample import imresize

BLOCK = 96
TAPS, SIGMA = 7, 7 / 6
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
GREY = (0.299, 0.587, 0.114)  # BT.601, full range


class Pristine(NamedTuple):
    """What the features of pristine photographs are: their mean [36] and covariance [36, 36]."""

    mean: Float[Array, "36"]
    covariance: Float[Array, "36 36"]


@partial(jax.jit, static_argnames=("channels", "crop"))
def niqe(images: Float[Array, "*n h w c"], pristine: Pristine, *, channels="y", crop=0):
    """Distance from pristine photographs, [...]; lower is better, 3 to 5 for a clean picture.

    Images are [..., H, W, C] in [0, 1]; they lose `crop` pixels at each border, and then what is
    left over from blocks of 96x96 at the right and at the bottom. NIQE looks at one plane, in
    levels of 0 to 255 rounded to whole numbers: `channels` is "y" (luma of BT.601 in limited
    range, the usual choice), "grey" (the same in full range) or "plane" (images of one channel).
    ValueError where fewer than two blocks fit. Blocks without any structure do not count, and
    NaN is the score where fewer than two others are left.
    """
    plane = _plane(images, channels, crop)
    high, wide = (side // BLOCK for side in plane.shape[-2:])
    if high * wide < 2:
        size = f"{plane.shape[-1]}x{plane.shape[-2]}"
        raise ValueError(f"niqe: {size} is smaller than two blocks of {BLOCK}x{BLOCK}")
    plane = plane[..., : high * BLOCK, : wide * BLOCK]
    half = imresize(plane[..., None], 0.5)[..., 0]
    features = [_features(_blocks(_normalised(x), high, wide)) for x in (plane, half)]
    return _distance(jnp.concatenate(features, -1), pristine)


def _plane(images, channels: str, crop: int):
    choices = {"y": (3, luma), "grey": (3, lambda x: x @ jnp.array(GREY, x.dtype)[:, None])}
    choices["plane"] = (1, lambda x: x)
    if channels not in choices:
        raise ValueError(f"channels {channels!r}: choose from {', '.join(choices)}")
    count, plane = choices[channels]
    if images.shape[-1] != count or not jnp.issubdtype(images.dtype, jnp.floating):
        given = f"{images.shape[-1]} of {images.dtype}"
        raise ValueError(f"channels {channels!r} needs {count} of floats in [0, 1], not {given}")
    images = jnp.asarray(images, jnp.promote_types(images.dtype, jnp.float32))
    inside = slice(crop, -crop or None)
    return jnp.round(plane(images[..., inside, inside, :])[..., 0] * 255)


def _normalised(plane):
    """(x - mean) / (deviation + 1) under a 7x7 Gaussian, the border repeated.

    All sums are of differences from the middle pixel, so a flat area is exactly 0.
    """
    reach = TAPS // 2
    *_, height, width = plane.shape
    padded = jnp.pad(plane, [(0, 0)] * (plane.ndim - 2) + [(reach, reach)] * 2, "edge")
    line = gaussian(TAPS, SIGMA)
    mean = square = 0.0
    for i, j in np.ndindex(TAPS, TAPS):
        away = padded[..., i : i + height, j : j + width] - plane
        mean += float(line[i] * line[j]) * away
        square += float(line[i] * line[j]) * away * away
    return -mean / (jnp.sqrt(jnp.maximum(square - mean * mean, 0)) + 1)


def _blocks(plane, high: int, wide: int):
    """[..., H, W] to [..., blocks, H / high, W / wide]."""
    *batch, height, width = plane.shape
    parts = plane.reshape(*batch, high, height // high, wide, width // wide)
    parts = jnp.moveaxis(parts, -2, -3)
    return parts.reshape(*batch, high * wide, height // high, width // wide)


def _features(block):
    """18 numbers a block: the shape and width of its values, and of products of neighbours."""
    products = [block * jnp.roll(block, shift, (-2, -1)) for shift in NEIGHBOURS]
    moments = [jnp.stack(z, -1) for z in zip(*map(_moments, (block, *products)), strict=True)]
    shape, mean, left, right = _fitted(*moments)
    first = jnp.stack([shape[..., 0], (left[..., 0] + right[..., 0]) / 2], -1)
    others = jnp.stack([z[..., 1:] for z in (shape, mean, left, right)], -1)
    return jnp.concatenate([first, others.reshape(*others.shape[:-2], -1)], -1)


def _moments(values):
    """Deviation of the values below 0 and above, each from 0, and E|z|^2 / E[z^2]."""
    squares = values * values

    def deviation(side):
        return jnp.sqrt(jnp.where(side, squares, 0).sum((-2, -1)) / side.sum((-2, -1)))

    ratio = jnp.square(jnp.abs(values).mean((-2, -1))) / squares.mean((-2, -1))
    return deviation(values < 0), deviation(values > 0), ratio


def _fitted(left, right, ratio):
    """Shape, mean and both widths of an asymmetric generalised Gaussian with these moments.

    Lasmar, Stitou, Berthoumieu 2009. Without values on both sides of 0 the widths are NaN.
    """
    skew = left / right
    ratio *= (skew**3 + 1) * (skew + 1) / jnp.square(skew**2 + 1)
    shapes, ratios, widths, means = (jnp.asarray(t, left.dtype) for t in _table())
    above = jnp.searchsorted(ratios, ratio).clip(1, len(shapes) - 1)
    nearer = ratio - ratios[above - 1] <= ratios[above] - ratio
    # Where there is nothing to fit the first shape stands, as in the original.
    place = jnp.where(jnp.isnan(ratio), 0, jnp.where(nearer, above - 1, above))
    left, right = left * widths[place], right * widths[place]
    return shapes[place], (right - left) * means[place], left, right


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, ...]:
    """Shapes 0.2 to 10, and for each its ratio of moments, its width and mean at deviation 1."""
    from scipy.special import gamma  # half a second that only NIQE waits for

    shapes = np.arange(0.2, 10.001, 0.001)
    one, two, three = (gamma(k / shapes) for k in (1, 2, 3))
    return shapes, two**2 / (one * three), np.sqrt(one / three), two / one


def _distance(features, pristine: Pristine):
    """Mahalanobis distance between the two means, under the mean of the two covariances."""
    known = ~jnp.isnan(features)
    mean = jnp.where(known, features, 0).sum(-2) / known.sum(-2)
    whole = known.all(-1, keepdims=True)
    count = whole.sum(-2, keepdims=True)
    clean = jnp.where(whole, features, 0)
    centred = jnp.where(whole, clean - clean.sum(-2, keepdims=True) / count, 0)
    exactly = partial(jnp.einsum, precision="highest")
    covariance = exactly("...bi,...bj->...ij", centred, centred) / (count - 1)
    pooled = (covariance + jnp.asarray(pristine.covariance, features.dtype)) / 2
    away = mean - jnp.asarray(pristine.mean, features.dtype)
    # In units of the deviations, the matrix is well enough conditioned for single precision.
    scale = jnp.sqrt(jnp.diagonal(pooled, axis1=-2, axis2=-1))
    pooled /= scale[..., :, None] * scale[..., None, :]
    away /= scale
    solved = jnp.linalg.solve(pooled, away[..., None])[..., 0]
    distance = jnp.sqrt(jnp.maximum((away * solved).sum(-1), 0))
    return jnp.where(count[..., 0, 0] > 1, distance, jnp.nan)
