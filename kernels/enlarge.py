"""Enlarging frames by a whole factor as one small matrix product, for kernels that do it inside.

Pixel centres map to pixel centres and the border pixel is repeated; "bicubic" is Keys' cubic
(IEEE TASSP 1981) of sharpness -0.75. An output pixel is a weighted sum of the inputs around the
pixel that it lies in, at most two away, so the r * r outputs of a pixel are a product of its
surroundings with a constant matrix, which tensor cores take along with the convolution.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

SHARPNESS = -0.75
REACH = {"bilinear": 1, "bicubic": 2}  # inputs on each side that weigh something
METHODS = ("given", "nearest", *REACH)


def enlarged(base: jax.Array, r: int, method: str) -> jax.Array:
    """The definition: base [N, H, W, C] to [N, r * H, r * W, C]; "given" is large already."""
    if method == "given":
        return base
    if method == "nearest":
        return jnp.repeat(jnp.repeat(base, r, 1), r, 2)
    for axis in (1, 2):
        base = _along(base, axis, r, method)
    return base


def _along(x, axis: int, r: int, method: str):
    reach, length = REACH[method], x.shape[axis]
    weights = jnp.asarray(phases(r, method), x.dtype)
    near = np.clip(np.arange(length)[:, None] + np.arange(-reach, reach + 1), 0, length - 1)
    taps = jnp.moveaxis(jnp.take(x, near, axis), axis + 1, -1)  # [..., length, ..., tap]
    parts = jnp.einsum("...t,pt->...p", taps, weights, precision="highest")
    shape = [*x.shape[:axis], length * r, *x.shape[axis + 1 :]]
    return jnp.moveaxis(parts, -1, axis + 1).reshape(shape)


def phases(r: int, method: str) -> np.ndarray:
    """Weights [r, 2 * REACH + 1] of the inputs around a pixel for each of its r outputs."""
    reach = REACH[method]
    offset = (np.arange(r)[:, None] + 0.5) / r - 0.5
    t = np.abs(np.arange(-reach, reach + 1) - offset)
    if method == "bilinear":
        return np.maximum(1 - t, 0)
    a = SHARPNESS
    inner = ((a + 2) * t - (a + 3)) * t * t + 1
    outer = ((t - 5) * t + 8) * a * t - 4 * a
    return np.where(t <= 1, inner, np.where(t < 2, outer, 0))


@cache
def matrix(r: int, method: str, patch: tuple[int, int], size: tuple[int, int], dtype: str):
    """The product as constants [parts, rows, size[0], size[1]] of `dtype`.

    A patch of PY x PX pixels and the REACH pixels around it, row by row as (pixel, channel),
    become its PY * r rows of PX * r * 3 values. Both are padded with zeros to `size`. The parts
    add up to the weights: what rounding to 16 bits takes off a weight is in the second part.
    """
    reach = REACH[method]
    down, across = (_windowed(phases(r, method), count) for count in patch)
    full = np.einsum("iu,jv,cd->uvcijd", down, across, np.eye(3))
    rows, columns = patch[0] + 2 * reach, 3 * (patch[1] + 2 * reach)
    full = full.reshape(rows, columns, -1)
    full = np.pad(full, ((0, 0), (0, size[0] - columns), (0, size[1] - full.shape[2])))
    kind = jnp.dtype(dtype)
    first = full.astype(kind)
    rest = (full - first.astype(np.float64)).astype(kind)
    return np.stack([first, rest] if rest.any() and kind.itemsize == 2 else [first])


def _windowed(weights: np.ndarray, count: int) -> np.ndarray:
    """Weights [count * r, count + 2 * REACH] of a window for the outputs of `count` pixels."""
    r, taps = weights.shape
    result = np.zeros((count, r, count + taps - 1))
    for i in range(count):
        result[i, :, i : i + taps] = weights
    return result.reshape(count * r, -1)
