"""3x3 convolution of 8-bit integers, with bias, requantisation and clamp in one pass.

Eight bits halve the traffic of sixteen and double the rate of the matrix units, so at 64 channels
the expected limit is twice that of the 16-bit kernel; speed was not measured yet. XLA has no such
kernel for a sum that is rescaled channel by channel: it stores the sums, four times the bytes of
the result, and reads them back. cuDNN's integer convolution knows one factor for all channels.

Quantisation is symmetric, as ONNX's QLinearConv with zero points of 0 computes it: a value is an
integer times a scale, a weight's scale may differ between output channels, and padding is 0. The
sum of products is exact in int32. `multiplier[k]` = scale of x * scale of w[..., k] / scale of y
takes it to the units of the result in float32, which is then rounded to the nearest integer, ties
to the even one, and clamped. So a result does not depend on the device, to the last bit.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from kernels.launch import RefusedError, cdiv, launch, power_of_2  # isort: skip  (must come before triton)
import triton
import triton.language as tl

from kernels.conv3x3_tiles import offsets, outputs, pixels, place
from kernels.op import Config, Op, config
from kernels.tuning import pick

LANES = 16  # a multiple of channels that every matrix unit for integers takes
DEEPEST = (2**31 - 1) // (9 * 128 * 128)  # channels whose sum always fits
OUTPUTS = ("int8", "float32", "float16", "bfloat16")


def products(x, w):
    """The exact sums: conv(x[N,H,W,C], w[3,3,C,K]) as int32, zero padding, nine matrix products.

    Inputs are int8. The sum of 9 C products always fits int32 up to C = 14563. Channels are filled
    up with zeros to multiples of 16, as GPUs' integer products take them: with 3 of them an H100's
    result was in doubt, see the README.
    """
    (h, width, c), k = x.shape[1:], w.shape[3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, -c % LANES)))
    w = jnp.pad(w, ((0, 0), (0, 0), (0, -c % LANES), (0, -k % LANES)))
    taps = [(i, j) for i in range(3) for j in range(3)]
    tap = lambda i, j: padded[:, i : i + h, j : j + width]
    multiply = partial(jnp.matmul, preferred_element_type=jnp.int32)
    return sum(multiply(tap(i, j), w[i, j]) for i, j in taps)[..., :k]


def requantize(total, multiplier, *, low=None, high=None, out: str = "int8"):
    """int32 sums [..., K] times `multiplier`[K] in float32, clamped, as `out`.

    int8 is rounded to nearest, ties to even, within [low, high], at most [-128, 127]. A float
    type is rounded once, from float32, and clamped only where a bound is given.
    """
    low, high = _bounds(low, high, out)
    value = jnp.clip(total.astype(jnp.float32) * multiplier.astype(jnp.float32), low, high)
    return (jnp.round(value) if out == "int8" else value).astype(out)


def definition(x, w, b, multiplier, *, low=None, high=None, out: str = "int8"):
    """`int8_conv3x3` in plain JAX."""
    total = products(x.astype(jnp.int8), w.astype(jnp.int8)) + b.astype(jnp.int32)
    return requantize(total, multiplier, low=low, high=high, out=out)


@triton.jit
def _turned(w, tap: tl.constexpr, c, k, C: tl.constexpr, K: tl.constexpr):
    """[BC, BK] of w[3, 3, K, C] at `tap` = 0 to 8, zero outside."""
    at = w + tap * (K * C) + c[:, None] + k[None, :] * C
    return tl.load(at, mask=(c < C)[:, None] & (k < K)[None, :], other=0)


@triton.jit
def _finish(total, b, multiplier, y, first, row, column, k, H: tl.constexpr, W: tl.constexpr,
            K: tl.constexpr, LOW: tl.constexpr, HIGH: tl.constexpr, INTEGER: tl.constexpr,
            TH: tl.constexpr, TW: tl.constexpr):  # fmt: skip
    """`requantize` of the sums of a tile, stored in y[N, H, W, K]."""
    total += tl.load(b + k, mask=k < K, other=0)[None, :]
    value = total.to(tl.float32) * tl.load(multiplier + k, mask=k < K, other=0.0)[None, :]
    value = tl.minimum(tl.maximum(value, LOW), HIGH)
    if INTEGER:  # added to 1.5 * 2^23, the sum's last bits are the integer, ties to even
        value = (value + 12582912.0).to(tl.int32, bitcast=True)
    at = first * K + offsets(k, W, K, TH, TW)
    mask = outputs(row, column, k, H, W, K)
    tl.store(y + at, value.to(y.dtype.element_ty), mask=mask)


@triton.jit
def _streamed(x, w, b, multiplier, y, N: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
              C: tl.constexpr, K: tl.constexpr, LOW: tl.constexpr, HIGH: tl.constexpr,
              INTEGER: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BC: tl.constexpr,
              BK: tl.constexpr):  # fmt: skip
    """One program makes BK channels of one tile; w is [3, 3, K, C]."""
    chunks: tl.constexpr = (C + BC - 1) // BC
    k = tl.program_id(1) * BK + tl.arange(0, BK)
    first, row, column = place(tl.program_id(0), N, H, W, TH, TW)
    total = tl.zeros((TH * TW, BK), tl.int32)
    for step in range(9 * chunks):
        c = step // 9 * BC + tl.arange(0, BC)
        t = step % 9
        near = pixels(x, first, row, column, c, t // 3 - 1, t % 3 - 1, H, W, C, C, 0, TH, TW)
        total = tl.dot(near, _turned(w, t, c, k, C, K), total, out_dtype=tl.int32)
    _finish(total, b, multiplier, y, first, row, column, k, H, W, K, LOW, HIGH, INTEGER, TH, TW)


@triton.jit
def _row(x, u, v, w, total, first, row, column, c, dy: tl.constexpr, H: tl.constexpr,
         W: tl.constexpr, C: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr):  # fmt: skip
    """`total` + three taps of one row of the filter, whose weights are u, v, w."""
    near = pixels(x, first, row, column, c, dy, -1, H, W, C, C, 0, TH, TW)
    total = tl.dot(near, u, total, out_dtype=tl.int32)
    near = pixels(x, first, row, column, c, dy, 0, H, W, C, C, 0, TH, TW)
    total = tl.dot(near, v, total, out_dtype=tl.int32)
    near = pixels(x, first, row, column, c, dy, 1, H, W, C, C, 0, TH, TW)
    return tl.dot(near, w, total, out_dtype=tl.int32)


@triton.jit
def _resident(x, w, b, multiplier, y, N: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
              C: tl.constexpr, K: tl.constexpr, LOW: tl.constexpr, HIGH: tl.constexpr,
              INTEGER: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BC: tl.constexpr,
              BK: tl.constexpr, PROGRAMS: tl.constexpr, TILES: tl.constexpr):  # fmt: skip
    """One program makes BK channels of TILES tiles, with all nine weights read once; C <= BC."""
    c = tl.arange(0, BC)
    k = tl.program_id(1) * BK + tl.arange(0, BK)
    u0, u1, u2 = _turned(w, 0, c, k, C, K), _turned(w, 1, c, k, C, K), _turned(w, 2, c, k, C, K)
    u3, u4, u5 = _turned(w, 3, c, k, C, K), _turned(w, 4, c, k, C, K), _turned(w, 5, c, k, C, K)
    u6, u7, u8 = _turned(w, 6, c, k, C, K), _turned(w, 7, c, k, C, K), _turned(w, 8, c, k, C, K)
    for step in range(TILES):
        first, row, column = place(tl.program_id(0) + step * PROGRAMS, N, H, W, TH, TW)
        total = tl.zeros((TH * TW, BK), tl.int32)
        total = _row(x, u0, u1, u2, total, first, row, column, c, -1, H, W, C, TH, TW)
        total = _row(x, u3, u4, u5, total, first, row, column, c, 0, H, W, C, TH, TW)
        total = _row(x, u6, u7, u8, total, first, row, column, c, 1, H, W, C, TH, TW)
        _finish(total, b, multiplier, y, first, row, column, k, H, W, K, LOW, HIGH, INTEGER,
                TH, TW)  # fmt: skip


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6, 7))
def _int8(x, w, b, multiplier, low, high, out, chosen):
    (n, h, width, c), k = x.shape, w.shape[-1]
    sizes = dict(chosen.constants)
    sizes["BC"] = max(32, min(sizes["BC"], power_of_2(c)))
    low, high = _bounds(low, high, out)
    tiles = n * cdiv(h, sizes["TH"]) * cdiv(width, sizes["TW"])
    programs = sizes.get("PROGRAMS", 0)
    if programs:
        sizes |= {"PROGRAMS": min(tiles, programs), "TILES": cdiv(tiles, programs)}
    result = jax.ShapeDtypeStruct((n, h, width, k), out)
    # 8-bit matrix units take both factors with channels last, so the weights are turned once.
    arrays = x, w.swapaxes(2, 3), b, multiplier.astype(jnp.float32)
    return launch(
        _resident if programs else _streamed,
        (min(tiles, programs or tiles), cdiv(k, sizes["BK"])), result, *arrays,
        warps=chosen.warps, stages=chosen.stages,
        N=n, H=h, W=width, C=c, K=k, LOW=low, HIGH=high, INTEGER=out == "int8", **sizes
    )  # fmt: skip


def _save(x, w, b, multiplier, *static):
    return _int8(x, w, b, multiplier, *static), (x, w, b, multiplier)


def _gradient(low, high, out, chosen, saved, g):
    same = partial(definition, low=low, high=high, out=out)
    return jax.vjp(same, *saved)[1](g)


_int8.defvjp(_save, _gradient)


def int8_conv3x3(
    x,
    w,
    b,
    multiplier,
    *,
    low: float | None = None,
    high: float | None = None,
    out: str = "int8",
    config: Config | None = None,
):
    """x[N,H,W,C] int8, w[3,3,C,K] int8, b[K] int32, multiplier[K] float -> [N,H,W,K] `out`.

    (conv_same(x, w) + b) * multiplier, clamped to [low, high], exactly as `definition`; b is in
    units of the sums. `low`=0 is a ReLU. `out` is "int8" (rounded, ties to even; bounds within
    [-128, 127]) or a float type. The gradient is that of the definition: of `multiplier`, for a
    float `out`; integers have none. Raises RefusedError for other dtypes and shapes, and above
    14563 channels, where sums may not fit int32.
    """
    _check(x, w, b, multiplier, out)
    choices = configs(x.shape, "int8")
    chosen = config or pick("int8_conv3x3", (x, w), choices)
    return _int8(x, w, b, multiplier, low, high, out, chosen)


def _bounds(low, high, out: str) -> tuple[float, float]:
    widest = (-128.0, 127.0) if out == "int8" else (-np.inf, np.inf)
    low, high = (w if v is None else float(v) for v, w in zip((low, high), widest, strict=True))
    whole = out != "int8" or (low.is_integer() and high.is_integer())
    if not (widest[0] <= low <= high <= widest[1] and whole):
        raise RefusedError(f"int8: bounds {low}, {high} for {out}; use integers in [-128, 127]")
    return low, high


def _check(x, w, b, multiplier, out: str) -> None:
    if out not in OUTPUTS:
        raise RefusedError(f"int8: output {out!r}; choose one of {', '.join(OUTPUTS)}")
    if x.ndim != 4 or w.ndim != 4 or w.shape[:3] != (3, 3, x.shape[3]):
        raise RefusedError(f"int8: x {x.shape}, w {w.shape}; give [N,H,W,C] and [3,3,C,K]")
    if not b.shape == multiplier.shape == w.shape[3:]:
        raise RefusedError(f"int8: b {b.shape}, multiplier {multiplier.shape}; give [K] of both")
    if (x.dtype, w.dtype, b.dtype) != (jnp.int8, jnp.int8, jnp.int32):
        raise RefusedError(f"int8: {x.dtype}, {w.dtype}, {b.dtype}; give int8, int8, int32")
    if x.shape[3] > DEEPEST:
        raise RefusedError(f"int8: {x.shape[3]} channels; give at most {DEEPEST} channels")


def configs(shape, dtype: str) -> tuple[Config, ...]:
    """Taps through L1 (one stage) first; then weights that stay, and pipelined taps.

    Weights stay up to 128 channels, with as many programs as fit an H200's 132 multiprocessors.
    """
    part = 32 if shape[3] <= 32 else 64
    small = dict(TH=8, TW=16, BC=part, BK=part, warps=4)
    large = dict(TH=8, TW=32, BC=part, BK=part, warps=8)
    found = [config(**small), config(**large)]
    if shape[3] <= 128:
        whole = {"BC": max(32, power_of_2(shape[3]))}
        found += [config(**small | whole, PROGRAMS=n * 132) for n in (3, 2)]
        found += [config(**large | whole, PROGRAMS=132)]
    found += [config(**small, stages=3), config(**large, stages=3)]
    if shape[3] > 64:
        found += [config(TH=8, TW=16, BC=128, BK=128, warps=8, stages=3)]
    return tuple(found)


def example(key, shape, dtype: str = "int8", out: int | None = None):
    """Random integers of the whole range, and multipliers that use the whole output range."""
    c = shape[3]
    keys, k = jax.random.split(key, 4), out or c
    x = jax.random.randint(keys[0], shape, -128, 128, jnp.int8)
    w = jax.random.randint(keys[1], (3, 3, c, k), -128, 128, jnp.int8)
    b = jax.random.randint(keys[2], (k,), -20000, 20000, jnp.int32)
    spread = 64 / (74.0**2 * 3 * c**0.5)
    return x, w, b, spread * jax.random.uniform(keys[3], (k,), minval=0.5, maxval=1.5)


def xla_conv(x, w, b, multiplier):
    """The definition by XLA's own integer convolution; not every device has one."""
    layout = ("NHWC", "HWIO", "NHWC")
    total = jax.lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=layout, preferred_element_type=jnp.int32
    )
    return requantize(total + b, multiplier)


SHAPES = {"270p": (1, 270, 480, 64), "540p": (1, 540, 960, 64), "1080p": (1, 1080, 1920, 64)}
OPS = (
    Op(
        name="int8_conv3x3",
        ours=int8_conv3x3,
        definition=definition,
        example=example,
        flops=lambda s: 18.0 * s[0] * s[1] * s[2] * s[3] * s[3],
        bytes=lambda s, size: size * (2.0 * s[0] * s[1] * s[2] * s[3] + 9 * s[3] ** 2),
        configs=configs,
        small=((1, 8, 16, 32), (2, 9, 5, 3), (1, 3, 17, 40)),
        shapes=SHAPES,
        dtypes=("int8",),
        tolerance={"int8": 0.0},
        baselines={"xla_conv": xla_conv},
    ),
)
