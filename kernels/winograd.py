"""A 3x3 convolution by Winograd's F(2,3) along x: two thirds of the multiplications, one kernel.

Two neighbouring outputs of a row of three taps take 4 products instead of 6 (Winograd 1980; on
images Lavin and Gray 2016, arXiv 1509.09308; kernels/winograd_algebra.py). A program loads the
four input pixels that a pair of outputs sees, adds and subtracts them in registers, multiplies by
weights transformed beforehand, and keeps four sums for each pair, over the three rows of taps and
all channels, until two additions make two outputs of them. Nothing between is written to memory,
and inputs are read 12 times for two pixels instead of 18, mostly through the L1 cache. With 64
channels a direct convolution is expected to be limited by arithmetic 1.57 times above its memory
traffic on an H200, so 1.5 times fewer multiplications are about all that any algorithm can use.

F(2x2,3x3) multiplies less still and is left out: written like this and compiled for sm_90, its 16
sums (or 4, added to 4 outputs) of 64 tiles and 64 filters spill 280 to 1850 bytes a thread. What
does not spill has 32 filters and one block of 8 warps a multiprocessor; inputs are then loaded
and transformed twice, and shared memory is expected to carry 1.5 times as much as here.

Rounding: a convolution in float16 has twice the error of a direct one in float16, and a quarter
of a direct one in bfloat16 (`python -m kernels.winograd_algebra`). Inputs of float16 must stay
within half its range. Speed was not measured yet.
"""

from dataclasses import dataclass
from functools import partial

import jax

from kernels.launch import INTERPRETED, RefusedError, capability, cdiv, launch  # isort: skip
import triton
import triton.language as tl

from kernels import epilogue
from kernels.epilogue import Epilogue, finish, vector
from kernels.op import FLOATS, Config, Op, Shape, config
from kernels.tuning import pick
from kernels.winograd_algebra import transform_rows

LIMIT = 2**31  # values in one image, where 32-bit offsets end
SITES = 132  # multiprocessors of an H100 or H200; on others it only sets how work is shared
TOGETHER = dict(TOGETHER=1, STAY=0)
APART = dict(TOGETHER=0, STAY=0)


@dataclass(frozen=True)
class How:
    """All that the kernel is told besides its arrays."""

    then: Epilogue
    config: Config | None = None


def definition(x, w, b=None, *, activation="none", slope=None, scale=1.0, skips=()):
    """`winograd3x3` in plain JAX, in the dtype of its inputs, by a direct convolution."""
    out = (*x.shape[:-1], w.shape[-1])
    then, slope, arrays = epilogue.split(activation, slope, scale, skips, out)
    return _direct(x, w, b, slope, arrays, then)


def _direct(x, w, b, slope, arrays, then: Epilogue):
    layout = ("NHWC", "HWIO", "NHWC")
    z = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout)
    return epilogue.after(then, z if b is None else z + b, slope, arrays)


def winograd3x3(
    x,
    w,
    b=None,
    *,
    activation: str = "none",
    slope=None,
    scale: float = 1.0,
    skips=(),
    config: Config | None = None,
):
    """activation(conv(x, w) + b) * scale + the sum of factor * array over `skips`.

    `x` is [N, H, W, C], `w` [3, 3, C, K], `b` [K] or None, the result [N, H, W, K]; zeros around
    the image. `activation` is "none", "relu", "leaky" (`slope` a number) or "prelu" (`slope` [K]);
    `skips` are at most two pairs (array [N, H, W, K], factor). float32, float16 or bfloat16, with
    sums in float32; `w` is rounded to the dtype of `x` once, after its transform. The gradient is
    XLA's, of `definition`. Raises RefusedError for other shapes or dtypes and for an image of
    2^31 values or more.
    """
    _check(x, w, b)
    out = (*x.shape[:-1], w.shape[-1])
    then, slope, arrays = epilogue.split(activation, slope, scale, skips, out)
    return _winograd(x, w, b, slope, arrays, How(then, config))


def _check(x, w, b) -> None:
    if x.ndim != 4 or w.shape[:3] != (3, 3, x.shape[-1]):
        raise RefusedError(
            f"x {x.shape}, w {w.shape}: need [N,H,W,C] and [3,3,C,K]; use impl='xla'"
        )
    if b is not None and b.shape != w.shape[-1:]:
        raise RefusedError(f"bias of shape {b.shape}: must be {w.shape[-1:]}")
    if x.dtype.name not in FLOATS:
        raise RefusedError(f"dtype {x.dtype.name}: use {', '.join(FLOATS)}, or impl='xla'")
    _, h, width, c = x.shape
    if h * width * max(c, w.shape[-1]) >= LIMIT:
        raise RefusedError(f"an image of {x.shape[1:]}: more than 2^31 values; use impl='xla'")


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def _winograd(x, w, b, slope, arrays, how: How):
    n, h, width, c = x.shape
    k = w.shape[-1]
    made = how.config or pick("winograd3x3", (x, w), configs(x.shape, x.dtype.name, k))
    sizes = dict(made.constants)
    tiles = n * cdiv(h, sizes["ROWS"]) * cdiv(width, 2 * sizes["PAIRS"])
    stay = sizes.pop("STAY")
    programs = min(stay or tiles, tiles)
    kernel = _resident if stay else _streamed
    constants = sizes | dict(N=n, H=h, W=width, C=c, K=k, BIAS=b is not None, F32=INTERPRETED)
    constants |= how.then.constants() | (dict(PROGRAMS=programs) if stay else {})
    constants |= dict(TOGETHER=0) if INTERPRETED else {}
    inputs = (x, transform_rows(w, dtype=x.dtype), x if b is None else b)
    inputs += epilogue.pointers(x, slope, arrays)
    out = jax.ShapeDtypeStruct((n, h, width, k), x.dtype)
    grid = (programs, cdiv(k, sizes["BK"]))
    return launch(kernel, grid, out, *inputs, warps=made.warps, stages=made.stages, **constants)


def _save(x, w, b, slope, arrays, how: How):
    return _winograd(x, w, b, slope, arrays, how), (x, w, b, slope, arrays)


def _gradient(how: How, saved, g):
    return jax.vjp(partial(_direct, then=how.then), *saved)[1](g)


_winograd.defvjp(_save, _gradient)


@triton.jit
def _streamed(x, u, b, slope, first, second, y,
              N: tl.constexpr, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
              ROWS: tl.constexpr, PAIRS: tl.constexpr, BC: tl.constexpr, BK: tl.constexpr,
              TOGETHER: tl.constexpr, BIAS: tl.constexpr, F32: tl.constexpr,
              ACTIVATION: tl.constexpr, SLOPE: tl.constexpr, SCALE: tl.constexpr,
              FIRST: tl.constexpr, SECOND: tl.constexpr):  # fmt: skip
    """One program computes BK channels of ROWS x 2 PAIRS pixels; weights are read as needed."""
    steps: tl.constexpr = 3 * ((C + BC - 1) // BC)
    image, row, col = _place(tl.program_id(0), H, W, ROWS, PAIRS)
    k = tl.program_id(1) * BK + tl.arange(0, BK)
    m0 = tl.zeros((ROWS * PAIRS, BK), tl.float32)
    m1, m2, m3 = m0, m0, m0
    for s in range(steps):
        c = s // 3 * BC + tl.arange(0, BC)
        v0, v1, v2, v3 = _inputs(x, image, row, col, c, s % 3, H, W, C, TOGETHER, F32)
        u0, u1, u2, u3 = _weights(u, s % 3, c, k, C, K, BC, BK)
        if TOGETHER:
            u0, u1, u2, u3 = _loaded(u0, u1, u2, u3)
        m0 = _product(v0, u0, m0, F32)
        m1 = _product(v1, u1, m1, F32)
        m2 = _product(v2, u2, m2, F32)
        m3 = _product(v3, u3, m3, F32)
    _store(m0 + m1 + m2, b, slope, first, second, y, image, row, col, k, H, W, K,
           BIAS, ACTIVATION, SLOPE, SCALE, FIRST, SECOND)  # fmt: skip
    _store(m1 - m2 + m3, b, slope, first, second, y, image, row, col + 1, k, H, W, K,
           BIAS, ACTIVATION, SLOPE, SCALE, FIRST, SECOND)  # fmt: skip


@triton.jit
def _resident(x, u, b, slope, first, second, y,
              N: tl.constexpr, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
              ROWS: tl.constexpr, PAIRS: tl.constexpr, BC: tl.constexpr, BK: tl.constexpr,
              TOGETHER: tl.constexpr, PROGRAMS: tl.constexpr, BIAS: tl.constexpr,
              F32: tl.constexpr, ACTIVATION: tl.constexpr, SLOPE: tl.constexpr,
              SCALE: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr):  # fmt: skip
    """PROGRAMS programs share the tiles; each keeps all weights of its BK channels on chip."""
    steps: tl.constexpr = 3 * ((C + BC - 1) // BC)
    tiles: tl.constexpr = N * ((H + ROWS - 1) // ROWS) * ((W + 2 * PAIRS - 1) // (2 * PAIRS))
    k = tl.program_id(1) * BK + tl.arange(0, BK)
    kept = ()
    for s in tl.static_range(steps):
        kept = kept + _weights(u, s % 3, s // 3 * BC + tl.arange(0, BC), k, C, K, BC, BK)
    for turn in range((tiles + PROGRAMS - 1) // PROGRAMS):
        tile = turn * PROGRAMS + tl.program_id(0)
        image, row, col = _place(tile, H, W, ROWS, PAIRS)
        row = tl.where(tile < tiles, row, H + 1)  # past the last tile nothing is read or stored
        m0 = tl.zeros((ROWS * PAIRS, BK), tl.float32)
        m1, m2, m3 = m0, m0, m0
        for s in tl.static_range(steps):
            c = s // 3 * BC + tl.arange(0, BC)
            v0, v1, v2, v3 = _inputs(x, image, row, col, c, s % 3, H, W, C, TOGETHER, F32)
            m0 = _product(v0, kept[4 * s], m0, F32)
            m1 = _product(v1, kept[4 * s + 1], m1, F32)
            m2 = _product(v2, kept[4 * s + 2], m2, F32)
            m3 = _product(v3, kept[4 * s + 3], m3, F32)
        _store(m0 + m1 + m2, b, slope, first, second, y, image, row, col, k, H, W, K,
               BIAS, ACTIVATION, SLOPE, SCALE, FIRST, SECOND)  # fmt: skip
        _store(m1 - m2 + m3, b, slope, first, second, y, image, row, col + 1, k, H, W, K,
               BIAS, ACTIVATION, SLOPE, SCALE, FIRST, SECOND)  # fmt: skip


@triton.jit
def _place(tile, H: tl.constexpr, W: tl.constexpr, ROWS: tl.constexpr, PAIRS: tl.constexpr):
    """The image of a tile, and row and first column of each of its pairs of pixels."""
    across: tl.constexpr = (W + 2 * PAIRS - 1) // (2 * PAIRS)
    down: tl.constexpr = (H + ROWS - 1) // ROWS
    pair = tl.arange(0, ROWS * PAIRS)
    row = tile // across % down * ROWS + pair // PAIRS
    col = (tile % across * PAIRS + pair % PAIRS) * 2
    return (tile // (across * down)).to(tl.int64), row, col


@triton.jit
def _inputs(x, image, row, col, c, dy, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr,
            TOGETHER: tl.constexpr, F32: tl.constexpr):  # fmt: skip
    """Four transformed inputs [pairs, channels] of the pairs' tap row `dy`: B^T of F(2,3).

    TOGETHER: all loads are issued before any is waited for, and the transform happens before the
    layout changes. Rounded to the dtype of `x` by its arithmetic; float32 in the interpreter.
    """
    line = row + dy - 1
    inside = (line >= 0) & (line < H)
    at = (x + image * (H * W * C) + (line * W + col) * C)[:, None] + c[None, :]
    some = (c < C)[None, :]
    d0 = tl.load(at - C, mask=(inside & (col > 0) & (col <= W))[:, None] & some, other=0.0)
    d1 = tl.load(at, mask=(inside & (col < W))[:, None] & some, other=0.0)
    d2 = tl.load(at + C, mask=(inside & (col + 1 < W))[:, None] & some, other=0.0)
    d3 = tl.load(at + 2 * C, mask=(inside & (col + 2 < W))[:, None] & some, other=0.0)
    if F32:
        d0, d1, d2, d3 = d0.to(tl.float32), d1.to(tl.float32), d2.to(tl.float32), d3.to(tl.float32)
    v0, v1, v2, v3 = d0 - d2, d1 + d2, d2 - d1, d3 - d1
    if TOGETHER:
        v0, v1, v2, v3 = _loaded(v0, v1, v2, v3)
    return v0, v1, v2, v3


@triton.jit
def _weights(u, dy, c, k, C: tl.constexpr, K: tl.constexpr, BC: tl.constexpr, BK: tl.constexpr):
    """The four transformed weights [BC, BK] of channels `c`, filters `k` and tap row `dy`."""
    at = u + (dy * 4 * C + c)[:, None] * K + k[None, :]
    some = (c < C)[:, None] & (k < K)[None, :]
    u0 = tl.load(at, mask=some, other=0.0)
    u1 = tl.load(at + C * K, mask=some, other=0.0)
    u2 = tl.load(at + 2 * C * K, mask=some, other=0.0)
    u3 = tl.load(at + 3 * C * K, mask=some, other=0.0)
    return u0, u1, u2, u3


@triton.jit
def _loaded(a, b, c, d):
    """The same 16-bit values, in a step that the compiler cannot look into or move loads across.

    Without it each load is followed by its own way through shared memory, with two barriers, and
    waited for before the next.
    """
    if a.dtype.primitive_bitwidth == 16:
        kinds: tl.constexpr = (a.dtype, b.dtype, c.dtype, d.dtype)
        a, b, c, d = tl.inline_asm_elementwise(
            "", "=r,=r,=r,=r,0,1,2,3", [a, b, c, d], dtype=kinds, is_pure=False, pack=2
        )
    return a, b, c, d


@triton.jit
def _product(v, u, m, F32: tl.constexpr):
    """m + v u, summed in float32; the interpreter multiplies no bfloat16."""
    if F32:
        v, u = v.to(tl.float32), u.to(tl.float32)
    return tl.dot(v, u, m, input_precision="ieee")


@triton.jit
def _store(z, b, slope, first, second, y, image, row, col, k,
           H: tl.constexpr, W: tl.constexpr, K: tl.constexpr, BIAS: tl.constexpr,
           ACTIVATION: tl.constexpr, SLOPE: tl.constexpr, SCALE: tl.constexpr,
           FIRST: tl.constexpr, SECOND: tl.constexpr):  # fmt: skip
    """Stores the results of the pixels at (row, col), with all that follows the convolution."""
    start = image * (H * W * K)
    wide = k < K
    live = ((row < H) & (col < W))[:, None] & wide[None, :]
    at = ((row * W + col) * K)[:, None] + k[None, :]
    z += vector(b, k, wide, BIAS)[None, :]
    steep = vector(slope, k, wide, ACTIVATION == "prelu")
    z = finish(z, steep, first + start, second + start, at, live,
               ACTIVATION, SLOPE, SCALE, FIRST, SECOND)  # fmt: skip
    tl.store(y + start + at, z.to(y.dtype.element_ty), mask=live)


def configs(shape: Shape, dtype: str, filters: int | None = None) -> tuple[Config, ...]:
    """What may be tried for an input of `shape` and so many filters (None: as many as channels).

    Sizes are those that compile without spilled registers for the device at hand (but 8 to 16
    bytes a thread with skips where weights stay, or in one config of few filters on sm_100).
    """
    filters = filters or shape[-1]
    if dtype == "float32":  # no matrix instruction keeps its accuracy
        return (config(4, 1, ROWS=4, PAIRS=8, BC=16, BK=32 if filters > 16 else 16, **APART),)
    generation = 0 if INTERPRETED else capability() // 10
    if generation < 9:
        return _for_ampere(shape[-1], filters)
    streamed = _streams(shape[-1], filters)
    if generation > 9:  # sums are in tensor memory, which _resident's unrolled loop overflows
        return streamed
    tiles = shape[0] * cdiv(shape[1], 4) * cdiv(shape[2], 64)
    kept = _residents(shape[-1], filters)
    return kept + streamed if tiles >= 4 * SITES else streamed + kept


def _for_ampere(c: int, filters: int) -> tuple[Config, ...]:
    block = 32 if c > 16 else 16
    if filters <= 32:
        k = 32 if filters > 16 else 16
        first, tile = config(4, 1, ROWS=8, PAIRS=8, BC=block, BK=k, **TOGETHER), dict(BK=k)
    else:
        first, tile = config(4, 1, ROWS=4, PAIRS=8, BC=block, BK=64, **TOGETHER), dict(BK=32)
    others = [
        config(4, stages, ROWS=8, PAIRS=8, BC=block, **tile, **how)
        for stages, how in ((1, TOGETHER), (3, APART))
    ]
    return tuple(dict.fromkeys([first, *others]))


def _streams(c: int, filters: int) -> tuple[Config, ...]:
    tile = dict(ROWS=8, BC=32 if c > 16 else 16)
    if filters <= 32:
        k = 32 if filters > 16 else 16
        small, large = dict(PAIRS=8, BK=k), dict(PAIRS=16, BK=k)
        return tuple(
            config(4, stages, **tile, **size, **how)
            for size in (large, small)
            for stages, how in ((1, TOGETHER), (3, APART))
        )
    return (
        config(4, 1, **tile, PAIRS=8, BK=64, **TOGETHER),
        config(8, 1, **tile, PAIRS=16, BK=64, **TOGETHER),
        config(4, 3, **tile, PAIRS=8, BK=64, **APART),
        config(8, 3, **tile, PAIRS=16, BK=64, **APART),
    )


def _residents(c: int, filters: int) -> tuple[Config, ...]:
    if c > 64:  # 12 C BK weights do not fit the registers' and the memory's share of a program
        return ()
    block = 64 if c > 32 else 32 if c > 16 else 16
    if filters <= 32:
        k = 32 if filters > 16 else 16
        return (config(4, 1, ROWS=8, PAIRS=8, BC=block, BK=k, TOGETHER=1, STAY=2 * SITES),)
    return (
        config(8, 1, ROWS=4, PAIRS=32, BC=block, BK=64, TOGETHER=1, STAY=SITES),
        config(4, 1, ROWS=4, PAIRS=16, BC=block, BK=64, TOGETHER=0, STAY=2 * SITES),
        config(4, 1, ROWS=8, PAIRS=8, BC=16, BK=64, TOGETHER=1, STAY=2 * SITES),
    )


def example(key: jax.Array, shape: Shape, dtype: str) -> tuple:
    """x, w and b of a convolution that keeps the number of channels."""
    keys, c = jax.random.split(key, 3), shape[-1]
    x = jax.random.normal(keys[0], shape, dtype)
    w = jax.random.normal(keys[1], (3, 3, c, c), dtype) / (9 * c) ** 0.5
    return x, w.astype(dtype), jax.random.normal(keys[2], (c,), dtype)


def _flops(shape: Shape) -> float:
    """Those of the direct convolution, so that rates compare with its."""
    n, h, w, c = shape
    return 2.0 * 9 * n * h * w * c * c


def _bytes(shape: Shape, size: int) -> float:
    n, h, w, c = shape
    return size * (2.0 * n * h * w * c + 9 * c * c + c)


OPS = (
    Op(
        name="winograd3x3",
        ours=partial(winograd3x3, activation="leaky", slope=0.2),
        definition=partial(definition, activation="leaky", slope=0.2),
        example=example,
        flops=_flops,
        bytes=_bytes,
        configs=configs,
        small=((1, 8, 9, 64), (2, 5, 7, 20), (1, 1, 1, 16)),
        shapes={
            "540p": (1, 540, 960, 64),
            "720p": (1, 720, 1280, 64),
            "1080p": (1, 1080, 1920, 64),
        },
    ),
)
