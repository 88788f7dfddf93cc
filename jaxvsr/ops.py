"""Operations on frames [N, H, W, C], written once and used by every network.

Resizing maps pixel centres to pixel centres and repeats the border pixel, as PyTorch's
`interpolate(align_corners=False)` does, so a window of a frame resizes as the whole frame does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import ceil

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxvsr import convolution
from jaxvsr.impl import either

PHASES = 16  # more phases than this are cheaper as one gather a tap


def pixel_shuffle(x: Float[Array, "n h w c"], r: int) -> Float[Array, "n H W C"]:
    """Channels in the order (C, r, r) become an image r times larger (ESPCN, Shi et al. 2016)."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, c // r**2, r, r)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(n, h * r, w * r, c // r**2)


def pixel_unshuffle(x: Float[Array, "n H W C"], r: int) -> Float[Array, "n h w c"]:
    """The inverse of `pixel_shuffle`; height and width must divide by r."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // r, r, w // r, r, c)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(n, h // r, w // r, c * r**2)


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    """The largest of every 2x2; height and width must be even."""
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


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
        phases.append(sum(_scaled(tap(first + k), row[k]) for k in used))
    shape = [*x.shape[:axis], count * ratio.numerator, *x.shape[axis + 1 :]]
    return jnp.stack(phases, axis + 1).reshape(shape)


def _edged(x, axis: int, before: int, after: int):
    """`x` with its first and last slice along one axis repeated.

    `jnp.pad(mode="edge")` goes over all axes, which moves split batches between devices.
    """
    first, last = (jax.lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, x.shape[axis] - 1))
    return jnp.concatenate([first] * before + [x] + [last] * after, axis)


def _scaled(x, weight: float):
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


def warp(
    frames: Float[Array, "n h w c"], flow: Float[Array, "n h w 2"], *, impl: str = "xla"
) -> Float[Array, "n h w c"]:
    """out(x) = frames(x + flow(x)), bilinear: frames brought to where `flow` starts from.

    `flow` is (dx, dy) in pixels. Outside the frame its border pixel is repeated, and there the
    gradient of the flow is 0. PyTorch's `grid_sample(padding_mode="border", align_corners=True)`.
    `impl` is as in `jaxvsr.impl`.
    """

    def fast():
        from kernels.warp import warp as kernel_warp

        return kernel_warp

    return either(impl, "warp", _warp, fast, frames, flow)


def _warp(frames, flow):
    n, h, w, c = frames.shape
    exact = jnp.promote_types(flow.dtype, "float32")
    column, fx = _between(jnp.arange(w) + flow[..., 0].astype(exact), w)
    row, fy = _between(jnp.arange(h)[:, None] + flow[..., 1].astype(exact), h)
    flat = jnp.asarray(frames).reshape(n * h * w, c)
    corner = (jnp.arange(n)[:, None, None] * h + row) * w + column
    right, down = min(1, w - 1), w * min(1, h - 1)

    def tap(offset: int, weight):
        return flat.at[corner + offset].get(mode="promise_in_bounds") * weight[..., None]

    upper = tap(0, (1 - fx) * (1 - fy)) + tap(right, fx * (1 - fy))
    lower = tap(down, (1 - fx) * fy) + tap(down + right, fx * fy)
    return (upper + lower).astype(frames.dtype)


def _between(at, length: int):
    """The pixel before each position in a row of pixels, and how far behind it the position is."""
    inside = (at > 0) & (at < length - 1)
    at = jnp.where(inside, at, jax.lax.stop_gradient(jnp.where(at > 0, length - 1, 0)))
    before = jnp.clip(jax.lax.stop_gradient(at).astype(jnp.int32), 0, max(length - 2, 0))
    return before, at - before


def conv(
    x: Float[Array, "n h w c"],
    kernel: Float[Array, "kh kw i o"],
    bias: Float[Array, " o"] | None = None,
    *,
    groups: int = 1,
    activation: str = "none",
    slope=None,
    scale: float = 1.0,
    skips: Sequence[tuple[Array, float]] = (),
    impl: str = "xla",
) -> Float[Array, "n h w o"]:
    """Stride-1 convolution with zero padding that keeps the size, and what follows it.

    activation(conv(x) + bias) * scale + the sum of factor * array over `skips` (array, factor).
    `groups` divides c and o. `activation` is "none", "relu", "leaky" (`slope` a number) or "prelu"
    (`slope` one a channel). `impl` is as in `jaxvsr.impl`; kernels exist for 3x3, and other sizes
    run on XLA whatever is asked.

    On a CPU it is written as XLA runs it best there: see `jaxvsr.convolution`.
    """
    arrays, factors = [array for array, _ in skips], tuple(factor for _, factor in skips)
    number, steep = split_slope(slope)
    then = _Then(groups, activation, number, scale, factors)
    impl = impl if kernel.shape[:2] == (3, 3) else "xla"
    fast = lambda: _by_kernel(then, impl, x.dtype.name)
    return either(
        impl, f"conv {then}", partial(_by_xla, then), fast, x, kernel, bias, steep, *arrays
    )


@dataclass(frozen=True)
class _Then:
    """What `conv` is told beside its arrays."""

    groups: int
    activation: str
    slope: float | None
    scale: float
    factors: tuple[float, ...]


def _by_xla(then: _Then, x, kernel, bias, slope, *arrays):
    y = convolution.conv(x, kernel, then.groups)
    y = y if bias is None else y + bias
    y = activate(y, then.activation, joined_slope(then.slope, slope))
    y = y if then.scale == 1 else y * then.scale
    return sum((_scaled(*skip) for skip in zip(arrays, then.factors, strict=True)), start=y)


def _by_kernel(then: _Then, impl: str, dtype: str) -> dict:
    """What runs the kernel that is asked for; for "auto" all there are."""
    from kernels import convolve, ways

    how = {"groups": then.groups, "activation": then.activation, "scale": then.scale}

    def run(way, x, kernel, bias, slope, *arrays):
        skips = tuple(zip(arrays, then.factors, strict=True))
        steep = joined_slope(then.slope, slope)
        return convolve(x, kernel, bias, way=way, slope=steep, skips=skips, **how)

    known = ways(then.groups, dtype) if impl == "auto" else (impl,)
    return {way: partial(run, way) for way in known}


def conv_shuffle(x, kernel, bias, r: int, *, activation="none", slope=None, impl: str = "xla"):
    """activation(pixel_shuffle(conv(x) + bias, r)); arguments as those of `conv`.

    [N, H, W, C] to [N, H * r, W * r, O / r**2]. One pass over the output as a kernel.
    """
    number, steep = split_slope(slope)

    def plain(x, kernel, bias, steep):
        y = pixel_shuffle(conv(x, kernel, bias), r)
        return activate(y, activation, joined_slope(number, steep))

    def fast():
        from kernels.upsampler import upsampler

        run = partial(upsampler, r=r, activation=activation)
        return lambda x, w, b, steep: run(x, w, b, slope=joined_slope(number, steep))

    impl = impl if kernel.shape[:2] == (3, 3) else "xla"
    name = f"conv_shuffle r={r} {activation}"
    return either(impl, name, plain, fast, x, kernel, bias, steep)


def tail(
    x: Float[Array, "n h w c"],
    kernel: Float[Array, "kh kw c o"],
    bias: Float[Array, " o"] | None,
    base: Float[Array, "n h w 3"] | None,
    r: int,
    *,
    enlarge: str = "bicubic",
    gain: float = 1.0,
    shift: float = 0.0,
    clip: bool = False,
    impl: str = "xla",
) -> Float[Array, "n H W 3"]:
    """The end of a network: (pixel_shuffle(conv(x)) + `base` enlarged) * gain + shift.

    `base` is enlarged `r` times by method `enlarge` of `resize`; None adds nothing. `clip` ends at
    0 and 1. One pass over the output as a kernel.
    """

    def plain(x, kernel, bias, base):
        y = pixel_shuffle(conv(x, kernel, bias), r)
        y = y if base is None else y + upsample(base, r, enlarge)
        y = y if (gain, shift) == (1, 0) else y * gain + shift
        return jnp.clip(y, 0, 1) if clip else y

    def fast():
        from kernels.tail import tail as kernel_tail

        how = {"r": r, "enlarge": enlarge, "gain": gain, "shift": shift, "clip": clip}
        how |= {"out": x.dtype.name} | ({} if base is not None else {"enlarge": None})
        return lambda *arrays: kernel_tail(*arrays, **how)

    impl = impl if kernel.shape[0] % 2 and bias is not None else "xla"
    name = f"tail r={r} {enlarge} {gain} {shift} clip={clip}"
    return either(impl, name, plain, fast, x, kernel, bias, base)


def split_slope(slope) -> tuple:
    """(`slope` if it is a number, `slope` if it is an array), the other one None.

    Arrays are arguments of a program that is timed or differentiated, numbers are part of it.
    """
    return (None, slope) if hasattr(slope, "shape") else (slope, None)


def joined_slope(number, array):
    """What `split_slope` took apart."""
    return number if array is None else array


def activate(x, activation: str, slope=None):
    """`x` behind "none", "relu", "leaky" (0 < slope < 1) or "prelu" (a slope for each channel)."""
    if activation == "none":
        return x
    if activation == "relu":
        return jax.nn.relu(x)
    if activation in ("leaky", "prelu"):
        slope = slope.astype(x.dtype) if hasattr(slope, "astype") else slope
        return jnp.where(x >= 0, x, x * slope)
    raise ValueError(f"activation {activation!r}: choose one of none, relu, leaky, prelu")
