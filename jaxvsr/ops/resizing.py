"""Frames [N, H, W, C] at another size.

Pixel centres are mapped to pixel centres and the border pixel is repeated, as PyTorch's
`interpolate(align_corners=False)` does, so a window of a frame resizes as the whole frame does.
"""

from fractions import Fraction
from math import ceil

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PHASES = 16  # more phases than this are cheaper as one gather a tap


def upsample(frames: Float[Array, "n h w c"], r: int, method: str = "bicubic", a: float = -0.75):
    """Frames r times larger; see `resize`."""
    size = frames.shape[1] * r, frames.shape[2] * r
    return resize(frames, size, method, a=a)


def resize(
    frames: Float[Array, "n h w c"],
    size: tuple[int, int],
    method: str = "bicubic",
    *,
    antialias: bool = True,
    corners: bool = False,
    a: float = -0.75,
) -> Float[Array, "n H W c"]:
    """Frames of `size` = (height, width), not clipped.

    `method`: "bicubic" (Keys, sharpness `a`: -0.75 as in PyTorch, -0.5 as in MATLAB),
    "lanczos" (3 lobes), "bilinear" or "nearest". `antialias` widens the filter where the frame
    shrinks; it changes nothing where it grows. `corners` maps corner pixels to corner pixels
    instead of edges to edges (PyTorch's `align_corners=True`), so windows no longer resize alike.
    """
    if method not in KERNELS:
        raise ValueError(f"method {method!r}: choose one of {', '.join(KERNELS)}")
    x = frames if method == "nearest" else frames.astype(jnp.promote_types(frames.dtype, "float32"))
    for axis, length in ((1, size[0]), (2, size[1])):
        if length != x.shape[axis]:
            x = _resize_axis(x, axis, length, method, antialias, corners, a)
    return x.astype(frames.dtype)


def _resize_axis(x, axis: int, length: int, method: str, antialias: bool, corners: bool, a: float):
    ratio = Fraction(length, x.shape[axis])
    if ratio.numerator <= PHASES and not corners:
        return _by_phase(x, axis, ratio, *_taps(ratio.numerator, ratio, method, antialias, a))
    start, weights = _taps(length, ratio, method, antialias, a, x.shape[axis] if corners else 0)
    side = [1] * x.ndim
    side[axis] = length
    parts = []
    for k in range(weights.shape[1]):
        near = np.clip(start + k, 0, x.shape[axis] - 1)
        parts.append(jnp.take(x, near, axis) * _constant(weights[:, k], x).reshape(side))
    return sum(parts)


def _by_phase(x, axis: int, ratio: Fraction, start, weights):
    """Each of the output's few phases is a sum of shifted, strided slices of the input."""
    step, count = ratio.denominator, x.shape[axis] // ratio.denominator
    taps = weights.shape[1]
    before, after = max(0, -int(start.min())), max(0, int((start + taps).max()) - step)
    padded = _edged(x, axis, before, after)

    def tap(first: int):
        first += before
        last = first + (count - 1) * step + 1
        return jax.lax.slice_in_dim(padded, first, last, step, axis)

    phases = []
    for first, row in zip(start.tolist(), weights, strict=True):
        used = [k for k in range(taps) if row[k]]
        phases.append(sum(scaled(tap(first + k), row[k]) for k in used))
    shape = [*x.shape[:axis], count * ratio.numerator, *x.shape[axis + 1 :]]
    return jnp.stack(phases, axis + 1).reshape(shape)


def _edged(x, axis: int, before: int, after: int):
    """`x` with its first and last slice along one axis repeated.

    `jnp.pad(mode="edge")` goes over all axes, which moves split batches between devices.
    """
    first, last = (jax.lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, x.shape[axis] - 1))
    return jnp.concatenate([first] * before + [x] + [last] * after, axis)


def scaled(x, weight: float):
    """`x * weight`, in the dtype of `x`; nothing is computed for 1."""
    return x if weight == 1 else x * _constant(weight, x)


def _constant(value, x):
    return jnp.asarray(np.asarray(value), x.dtype)


def _taps(count: int, ratio: Fraction, method: str, antialias: bool, a: float, corners: int = 0):
    """The first input of each of `count` outputs, and the weights [count, taps] from there on.

    `corners` is the input's length where the outputs span it from first to last centre.
    """
    if method == "nearest":
        return np.arange(count) * ratio.denominator // ratio.numerator, np.ones((count, 1))
    kernel, support = KERNELS[method]
    shrink = max(1.0, float(1 / ratio)) if antialias else 1.0
    centre = (np.arange(count) + 0.5) / float(ratio) - 0.5
    if corners:
        centre = np.linspace(0, corners - 1, count)
    start = np.floor(centre - support * shrink).astype(int) + 1
    near = start[:, None] + np.arange(ceil(2 * support * shrink))
    weights = kernel((near - centre[:, None]) / shrink, a)
    return start, weights / weights.sum(1, keepdims=True)


def _bicubic(t, a: float):
    t = np.abs(t)
    inner = ((a + 2) * t - (a + 3)) * t * t + 1
    outer = ((t - 5) * t + 8) * a * t - 4 * a
    return np.where(t <= 1, inner, np.where(t < 2, outer, 0.0))


KERNELS = {
    "bicubic": (_bicubic, 2),
    "lanczos": (lambda t, a: np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0.0), 3),
    "bilinear": (lambda t, a: np.maximum(1 - np.abs(t), 0.0), 1),
    "nearest": (None, 0),
}
