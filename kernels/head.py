"""The start of a network in one pass: bytes to numbers, first convolution, activation.

XLA writes the frames as numbers before its convolution reads them, and pads three channels to
four or eight. Here the k * k * 3 bytes around a pixel are one row of a matrix product, converted
in registers; reading is next to nothing, so the time is that of writing the features. The
conversion u * gain + shift becomes gain * (u + shift / gain), the gain applied to the sum, so
what is multiplied is (for [0, 1] and for [-1, 1]) exact even in bfloat16. Not yet measured on a
GPU.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from kernels.launch import INTERPRETED, RefusedError, cdiv, launch, power_of_2  # isort: skip
import triton
import triton.language as tl

from kernels import epilogue
from kernels.op import FLOATS, Config, Op, Shape, config
from kernels.tuning import pick

LIMIT = 2**31  # values in one image, where 32-bit indices end


@dataclass(frozen=True)
class How:
    """All that `head` is told besides its arrays."""

    gain: float
    shift: float
    then: epilogue.Epilogue
    out: str
    config: Config | None = None


def definition(
    frames, w, b, *, gain=1 / 255, shift=0.0, activation="none", slope=None, out=None
) -> jax.Array:
    """`head` in plain JAX, computed in the dtype of the weights."""
    then, slope, _ = epilogue.split(activation, slope, 1.0, (), w.shape[3:])
    return _plain(frames, w, b, slope, How(gain, shift, then, str(out or w.dtype)))


def _plain(frames, w, b, slope, how: How):
    exact = jnp.promote_types(w.dtype, "float32")
    x = (frames.astype(exact) * how.gain + how.shift).astype(w.dtype)
    layout = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout) + b
    return epilogue.after(how.then, y, slope, ()).astype(how.out)


@triton.jit
def _kernel(frames, w, b, slope, y,
            H: tl.constexpr, W: tl.constexpr, K: tl.constexpr, KS: tl.constexpr,
            TH: tl.constexpr, TW: tl.constexpr, BC: tl.constexpr, BN: tl.constexpr,
            GAIN: tl.constexpr, OFFSET: tl.constexpr, ACTIVATION: tl.constexpr,
            SLOPE: tl.constexpr, F32: tl.constexpr):  # fmt: skip
    """One program makes BN channels of TH x TW pixels."""
    across: tl.constexpr = (W + TW - 1) // TW
    down: tl.constexpr = (H + TH - 1) // TH
    blocks: tl.constexpr = (K + BN - 1) // BN
    side: tl.constexpr = KS // 2
    tile = tl.program_id(0) // blocks
    n = tl.program_id(0) % blocks * BN + tl.arange(0, BN)
    image = (tile // (across * down)).to(tl.int64)
    top, left = tile // across % down * TH, tile % across * TW
    m = tl.arange(0, TH * TW)
    row, col = top + m // TW, left + m % TW
    source = frames + image * (H * W * 3)
    clear = (top >= side) & (top + TH + side <= H) & (left >= side) & (left + TW + side <= W)
    if clear:  # most tiles: a test for each byte would take longer than the product
        acc = _convolve(source, w, row, col, n, H, W, K, KS, BC, OFFSET, False, F32)
    else:
        acc = _convolve(source, w, row, col, n, H, W, K, KS, BC, OFFSET, True, F32)
    steep = epilogue.vector(slope, n, n < K, ACTIVATION == "prelu")
    value = acc * GAIN + epilogue.vector(b, n, n < K, True)[None, :]
    value = epilogue.bend(value, steep, ACTIVATION, SLOPE)
    place = y + image * (H * W * K) + ((row * W + col) * K)[:, None] + n[None, :]
    live = ((row < H) & (col < W))[:, None] & (n < K)[None, :]
    tl.store(place, value.to(y.dtype.element_ty), mask=live)


@triton.jit
def _around(frames, row, col, k, H: tl.constexpr, W: tl.constexpr, KS: tl.constexpr,
            OFFSET: tl.constexpr, MASKED: tl.constexpr, KIND: tl.constexpr):  # fmt: skip
    """[pixels, k]: bytes + OFFSET around pixels, as KIND; MASKED where some lie outside."""
    q = tl.minimum(k, KS * KS * 3 - 1)  # (row, column, colour); those past the last weigh nothing
    i, j = q // (KS * 3) - KS // 2, q // 3 % KS - KS // 2
    at = ((row * W + col) * 3)[:, None] + ((i * W + j) * 3 + q % 3)[None, :]
    if MASKED:
        i, j = row[:, None] + i[None, :], col[:, None] + j[None, :]
        inside = (i >= 0) & (i < H) & (j >= 0) & (j < W)
        near = tl.load(frames + at, mask=inside, other=0).to(tl.float32)
        near = tl.where(inside, near + OFFSET, 0.0)
    else:
        near = tl.load(frames + at).to(tl.float32) + OFFSET
    return near.to(KIND)


@triton.jit
def _convolve(frames, w, row, col, n, H: tl.constexpr, W: tl.constexpr, K: tl.constexpr,
              KS: tl.constexpr, BC: tl.constexpr, OFFSET: tl.constexpr, MASKED: tl.constexpr,
              F32: tl.constexpr):  # fmt: skip
    """Sums over (bytes + OFFSET) around pixels; MASKED where some lie outside the frame.

    What is multiplied was converted in the step before, so that it goes through shared memory.
    From registers, as with the one step of 3x3, Triton (3.6, 3.7) makes the weights in shared
    memory visible to Hopper's matrix units behind the barrier that hands them over, not before.
    """
    values: tl.constexpr = KS * KS * 3
    kind: tl.constexpr = w.dtype.element_ty
    c = tl.arange(0, BC)
    acc = tl.zeros((row.shape[0], n.shape[0]), tl.float32)
    near = _around(frames, row, col, c, H, W, KS, OFFSET, MASKED, kind)
    for step in range((values + BC - 1) // BC):
        k = step * BC + c
        taps = tl.load(w + k[:, None] * K + n[None, :], other=0.0,
                       mask=(k < values)[:, None] & (n < K)[None, :])  # fmt: skip
        if F32:
            near, taps = near.to(tl.float32), taps.to(tl.float32)
        acc = tl.dot(near, taps, acc, input_precision="ieee")
        near = _around(frames, row, col, k + BC, H, W, KS, OFFSET, MASKED, kind)
    return acc


def head(
    frames: jax.Array,
    w: jax.Array,
    b: jax.Array,
    *,
    gain: float = 1 / 255,
    shift: float = 0.0,
    activation: str = "none",
    slope: jax.Array | float | None = None,
    out: str | None = None,
    config: Config | None = None,
) -> jax.Array:
    """activation(conv(frames * gain + shift, w) + b): bytes [N, H, W, 3] to [N, H, W, K].

    w[k, k, 3, K] with k odd, float32, float16 or bfloat16; zeros outside; b[K]. `activation` is
    "none", "relu", "leaky" (`slope` a number) or "prelu" (`slope` [K]). `out` is a dtype's name,
    the weights' by default; sums are float32. Gradients of w, b and slope are XLA's of
    `definition`. Raises RefusedError for other shapes and dtypes, for a gain of 0, and for
    images of 2^31 values or more.
    """
    out = str(out or w.dtype)
    _check(frames, w, b, gain, out)
    then, slope, _ = epilogue.split(activation, slope, 1.0, (), w.shape[3:])
    return _head(frames, w, b, slope, How(float(gain), float(shift), then, out, config))


def _check(frames, w, b, gain: float, out: str) -> None:
    k, channels = w.shape[0], w.shape[3]
    if w.shape[:3] != (k, k, 3) or k % 2 == 0 or frames.shape[3] != 3:
        shapes = f"frames {list(frames.shape)} and weights {list(w.shape)}"
        raise RefusedError(f"head: {shapes}; it takes three channels and k odd; use impl='xla'")
    if b.shape != (channels,):
        raise RefusedError(f"head: the bias is {list(b.shape)}; give [{channels}]")
    if frames.dtype != "uint8" or str(w.dtype) not in FLOATS or out not in FLOATS:
        kinds = f"{frames.dtype} by {w.dtype} to {out}"
        raise RefusedError(f"head: {kinds}; it takes uint8 by {', '.join(FLOATS)}; use impl='xla'")
    if gain == 0:
        raise RefusedError("head: a gain of 0 makes all frames alike; give another")
    if frames[0].size // 3 * max(channels, 3) >= LIMIT:
        raise RefusedError("head: an image has 2^31 values or more; use tiles or impl='xla'")


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _head(frames, w, b, slope, how: How):
    return _forward(frames, w, b, slope, how)


def _save(frames, w, b, slope, how):
    return _forward(frames, w, b, slope, how), (frames, w, b, slope)


def _gradient(how: How, saved, g):
    frames, *rest = saved
    return None, *jax.vjp(partial(_plain, frames, how=how), *rest)[1](g)


_head.defvjp(_save, _gradient)


def _forward(frames, w, b, slope, how: How):
    (n, h, width, _), (k, _, _, channels) = frames.shape, w.shape
    choices = configs(frames.shape, str(w.dtype), k=k, channels=channels)
    chosen = how.config or pick(f"head k{k} {how.out}", (frames, w), choices)
    free = dict(chosen.constants)
    tiles = n * cdiv(h, free["TH"]) * cdiv(width, free["TW"])
    shape = jax.ShapeDtypeStruct((n, h, width, channels), how.out)
    return launch(
        _kernel, (tiles * cdiv(channels, free["BN"]),), shape,
        frames, w, b, b if slope is None else slope,
        warps=chosen.warps, stages=chosen.stages, H=h, W=width, K=channels, KS=k, GAIN=how.gain,
        OFFSET=how.shift / how.gain, ACTIVATION=how.then.activation, SLOPE=how.then.slope,
        F32=INTERPRETED, **free,
    )  # fmt: skip


def configs(shape, dtype: str, *, k: int = 3, channels: int = 64) -> tuple[Config, ...]:
    """All channels of 128 pixels first: the bytes are converted once; float32: small tiles."""
    chunk = 16 if k == 1 else 32
    width = power_of_2(max(16, channels))
    if dtype == "float32":
        return (config(TH=4, TW=8, BC=chunk, BN=min(32, width)),)
    tiles = ((8, 64, 4), (4, 64, 4), (8, 128, 8), (16, 64, 8))
    result = (config(warps, TH=th, TW=16, BC=chunk, BN=min(bn, width)) for th, bn, warps in tiles)
    return tuple(dict.fromkeys(result))


def _example(key, shape: Shape, dtype: str, k: int = 3):
    """Random bytes, and weights, biases and slopes for 64 channels."""
    keys = jax.random.split(key, 4)
    arrays = (
        jax.random.normal(keys[1], (k, k, 3, WIDTH)) * (2 / (3 * k * k)) ** 0.5,
        0.1 * jax.random.normal(keys[2], (WIDTH,)),
        jax.random.uniform(keys[3], (WIDTH,)),
    )
    frames = jax.random.randint(keys[0], shape, 0, 256).astype("uint8")
    return frames, *(array.astype(dtype) for array in arrays)


def _flops(shape: Shape, k: int = 3) -> float:
    return 2.0 * k * k * WIDTH * shape[0] * shape[1] * shape[2] * 3


def _bytes(shape: Shape, size: int, k: int = 3) -> float:
    pixels = shape[0] * shape[1] * shape[2]
    return float(pixels * (3 + WIDTH * size) + 3 * k * k * WIDTH * size)


def _padded(frames, w, b, slope):
    """A fourth channel of zeros, which XLA adds by itself only in float16."""
    frames = jnp.pad(frames, ((0, 0), (0, 0), (0, 0), (0, 1)))
    w = jnp.pad(w, ((0, 0), (0, 0), (0, 1), (0, 0)))
    return definition(frames, w, b, slope=slope, activation="prelu")


def _op(name: str, k: int, small: tuple[Shape, ...]) -> Op:
    def ours(frames, w, b, slope, config=None):
        return head(frames, w, b, slope=slope, activation="prelu", config=config)

    return Op(
        name=name,
        ours=ours,
        definition=lambda frames, w, b, slope: definition(
            frames, w, b, slope=slope, activation="prelu"
        ),
        example=partial(_example, k=k),
        flops=partial(_flops, k=k),
        bytes=partial(_bytes, k=k),
        configs=partial(configs, k=k),
        small=small,
        shapes={"540p": (1, 540, 960, 3), "720p": (1, 720, 1280, 3), "1080p": (1, 1080, 1920, 3)},
        baselines={"padded": _padded},
    )


WIDTH = 64  # channels in the bench
OPS = (_op("head", 3, ((1, 7, 9, 3), (2, 12, 19, 3))), _op("head_9x9", 9, ((1, 5, 17, 3),)))
