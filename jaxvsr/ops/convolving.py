"""Convolutions of features [N, H, W, C] with what follows them, and the ends of networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvsr.ops import convolution
from jaxvsr.ops.activations import activate, joined_slope, split_slope
from jaxvsr.ops.impl import either
from jaxvsr.ops.resizing import scaled, upsample
from jaxvsr.ops.shuffling import pixel_shuffle


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
    (`slope` one a channel). `impl` is as in `jaxvsr.ops.impl`; kernels exist for 3x3, and other
    sizes run on XLA whatever is asked.

    On a CPU it is written as XLA runs it best there: see `jaxvsr.ops.convolution`.
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
    return sum((scaled(*skip) for skip in zip(arrays, then.factors, strict=True)), start=y)


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
