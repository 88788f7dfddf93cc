"""MATLAB's imresize, for numpy and JAX arrays: what most papers mean by "bicubic".

Cubic with a = -0.5 (Keys 1981), centres mapped to centres, borders mirrored with the border pixel
repeated ("symmetric"), and a kernel widened by the scale where the image shrinks, so that fine
detail does not alias. `jaxvsr.ops.resize` differs at the border, which it only repeats. Metrics
use it as degradations do, and so it is here, below both.
"""

from collections.abc import Callable
from functools import lru_cache
from math import ceil

import numpy as np


def imresize(
    images,
    scale: float | None = None,
    *,
    size: tuple[int, int] | None = None,
    kernel: str = "cubic",
    antialias: bool = True,
):
    """Images [..., H, W, C], float32 or float64, at another size and in the same dtype, unclipped.

    Give `scale`, and the sides become ceil(side * scale), or `size` = (height, width).
    `kernel` is "cubic", "lanczos3", "lanczos2", "linear" or "box". Weights are made in float64;
    the side that shrinks most goes first, as in MATLAB, which matters for rounding alone.
    MATLAB rounds uint8 images between the two passes; divide by 255 as the papers' scripts do.
    Raises ValueError for what cannot be.
    """
    if (scale is None) == (size is None):
        raise ValueError("give either a scale or a size")
    if kernel not in KERNELS:
        raise ValueError(f"kernel {kernel!r}: choose one of {', '.join(KERNELS)}")
    if not str(images.dtype).startswith("float"):
        raise ValueError(f"images of {images.dtype}: give floats")
    before = images.shape[-3:-1]
    if size is None:
        # A scale such as 0.1 is a little more than one tenth; MATLAB's ceil sees the same number.
        size, scales = tuple(ceil(side * scale) for side in before), (float(scale),) * 2
    else:
        scales = tuple(new / old for new, old in zip(size, before, strict=True))
    if min(size) < 1:
        raise ValueError(f"size {size}: a side of less than one pixel")
    for axis in sorted((0, 1), key=lambda i: scales[i]):
        if scales[axis] != 1:
            table = taps(before[axis], size[axis], scales[axis], kernel, antialias=antialias)
            images = weighted(images, axis - 3, *table)
    return images


@lru_cache(maxsize=64)
def taps(
    before: int, after: int, scale: float, kernel: str = "cubic", *, antialias: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """(index [after, taps] of the pixels that count, their weights [after, taps], float64).

    Each row of weights sums to 1; columns that are zero throughout are left out.
    """
    shape, width = KERNELS[kernel]
    narrow = min(scale, 1.0) if antialias else 1.0
    width = width / narrow
    centre = (np.arange(after) + 0.5) / scale - 0.5
    first = np.floor(centre - width / 2)
    near = first[:, None] + np.arange(ceil(width) + 2)
    weights = narrow * shape(narrow * (centre[:, None] - near))
    weights /= weights.sum(1, keepdims=True)
    used = weights.any(0)
    mirrored = np.concatenate([np.arange(before), np.arange(before)[::-1]])
    index = mirrored[near[:, used].astype(int) % (2 * before)]
    return index, weights[:, used]


def weighted(images, axis: int, index: np.ndarray, weights: np.ndarray):
    """Sums over the taps of one axis, a tap at a time: memory for one image more, not for all."""
    xp = images.__array_namespace__()
    side = (-1, *(1,) * (-axis - 1))
    parts = (
        xp.take(images, xp.asarray(index[:, k]), axis=axis)
        * xp.asarray(weights[:, k], dtype=images.dtype).reshape(side)
        for k in range(index.shape[1])
    )
    return sum(parts)


def cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -0.5, which is MATLAB's."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))


def _lanczos(lobes: int) -> Callable:
    return lambda x: np.where(np.abs(x) < lobes, np.sinc(x) * np.sinc(x / lobes), 0.0)


def _linear(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0.0)


def _box(x: np.ndarray) -> np.ndarray:
    return np.where((x >= -0.5) & (x < 0.5), 1.0, 0.0)


KERNELS = {  # name: (shape, width in pixels)
    "cubic": (cubic, 4.0),
    "lanczos2": (_lanczos(2), 4.0),
    "lanczos3": (_lanczos(3), 6.0),
    "linear": (_linear, 2.0),
    "box": (_box, 1.0),
}
