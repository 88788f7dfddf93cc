"""Operations that two steps make and one pass can: frames or features [N, H, W, C].

`head` turns bytes into features, `separable` is a depthwise and a pointwise convolution, and
`int8_conv` a convolution of 8-bit integers that is rescaled. Convolutions with what follows them,
and the end of a network, are in `jaxvsr.ops`.
"""

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float, Int8, Int32, UInt8

from jaxvsr.ops import convolving
from jaxvsr.ops.activations import joined_slope, split_slope
from jaxvsr.ops.impl import either


def head(
    frames: UInt8[Array, "n h w 3"],
    kernel: Float[Array, "k k 3 o"],
    bias: Float[Array, " o"],
    *,
    gain: float = 1 / 255,
    shift: float = 0.0,
    activation: str = "none",
    slope=None,
    impl: str = "xla",
) -> Float[Array, "n h w o"]:
    """activation(conv(frames * gain + shift) + bias), in the dtype of `kernel`.

    Bytes are read once and never become frames in floating point. `activation` and `slope` are as
    in `ops.conv`, `impl` as in `jaxvsr.ops.impl`; kernels exist for odd k.
    """
    number, steep = split_slope(slope)
    then = {"gain": gain, "shift": shift, "activation": activation}

    def plain(frames, kernel, bias, steep):
        x = (frames.astype("float32") * gain + shift).astype(kernel.dtype)
        bent = joined_slope(number, steep)
        return convolving.conv(x, kernel, bias, activation=activation, slope=bent)

    def fast():
        from kernels.head import head as by_kernel

        run = partial(by_kernel, **then)
        return lambda frames, w, b, steep: run(frames, w, b, slope=joined_slope(number, steep))

    impl = impl if kernel.shape[0] % 2 else "xla"
    return either(impl, f"head {then} {number}", plain, fast, frames, kernel, bias, steep)


def separable(
    x: Float[Array, "n h w c"],
    depthwise: Float[Array, "3 3 1 c"],
    depthwise_bias: Float[Array, " c"] | None,
    pointwise: Float[Array, "1 1 c o"],
    pointwise_bias: Float[Array, " o"] | None,
    *,
    middle: str = "none",
    middle_slope=None,
    activation: str = "none",
    slope=None,
    scale: float = 1.0,
    skips: Sequence[tuple[Array, float]] = (),
    impl: str = "xla",
) -> Float[Array, "n h w o"]:
    """A depthwise and a pointwise convolution, as in MobileNet (Howard et al. 2017).

    activation(conv(middle(conv(x) + depthwise_bias)) + pointwise_bias) * scale + the sum of
    factor * array over `skips` (array, factor). `middle` and `activation`, with their slopes, are
    as in `ops.conv`, `impl` as in `jaxvsr.ops.impl`. As a kernel the middle never reaches memory.
    """
    numbers, bends = zip(*map(split_slope, (middle_slope, slope)), strict=True)
    how = {"middle": middle, "activation": activation, "scale": scale}
    how |= {"factors": tuple(factor for _, factor in skips), "slopes": numbers}

    def fast():
        from kernels.separable import separable3x3

        return partial(_both, separable3x3, how)

    arrays = (x, depthwise, depthwise_bias, pointwise, pointwise_bias, *bends)
    added = [array for array, _ in skips]
    plain = partial(_both, _separable, how)
    return either(impl, f"separable {how}", plain, fast, *arrays, *added)


def _both(way, how: dict, x, dw, db, pw, pb, *rest):
    """`way` with its keywords put together again."""
    first, last = map(joined_slope, how["slopes"], rest[:2])
    skips = tuple(zip(rest[2:], how["factors"], strict=True))
    same = {name: how[name] for name in ("middle", "activation", "scale")}
    return way(x, dw, db, pw, pb, middle_slope=first, slope=last, skips=skips, **same)


def _separable(x, dw, db, pw, pb, *, middle, middle_slope, **outer):
    groups = x.shape[-1]
    inner = convolving.conv(x, dw, db, groups=groups, activation=middle, slope=middle_slope)
    return convolving.conv(inner, pw, pb, **outer)


def int8_conv(
    x: Int8[Array, "n h w c"],
    kernel: Int8[Array, "3 3 c o"],
    bias: Int32[Array, " o"],
    multiplier: Float[Array, " o"],
    *,
    low: int = -128,
    high: int = 127,
    impl: str = "xla",
) -> Int8[Array, "n h w o"]:
    """(conv(x) + bias) * multiplier, rounded to the nearest integer, ties to even, and clamped.

    Sums are exact in 32 bits, and products with `multiplier`, the scale of x times that of the
    kernel over that of the result, are float32: ONNX's QLinearConv with zero points of 0, to the
    last bit on every device. `bias` is in units of the sums; `low=0` is a ReLU; at most 14563
    channels fit. `impl` is as in `jaxvsr.ops.impl`.
    """
    if not -128 <= low <= high <= 127:
        raise ValueError(f"bounds {low}, {high}: give low <= high within -128 and 127")

    def fast():
        from kernels.int8 import int8_conv3x3

        return partial(int8_conv3x3, low=low, high=high)

    plain = partial(_int8, low=low, high=high)
    return either(impl, f"int8 {low} {high}", plain, fast, x, kernel, bias, multiplier)


def _int8(x, kernel, bias, multiplier, low: int, high: int):
    """XLA on a CPU has no fast convolution of integers, so it is nine products of matrices."""
    h, w = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    near = [(padded[:, i : i + h, j : j + w], kernel[i, j]) for i in range(3) for j in range(3)]
    total = sum(jnp.matmul(*pair, preferred_element_type=jnp.int32) for pair in near) + bias
    value = total.astype("float32") * multiplier.astype("float32")
    return jnp.round(jnp.clip(value, low, high)).astype("int8")
