"""A convolution that stores its channels as pixels: conv, bias, pixel shuffle, activation.

The convolution to r * r times the channels is bound by arithmetic, but the shuffle is one more
pass over its result, which is larger than all that the convolution moves: 64 % of its time at
64 to 256 channels on paper. Here the shuffle is only where a sum is stored. Weights are put in
the order (row, column, channel) of the enlarged pixels first, so a program's columns are whole
runs of memory. Not yet measured on a GPU.
"""

from dataclasses import dataclass
from functools import partial

import jax

from kernels.launch import INTERPRETED, RefusedError, cdiv, launch, power_of_2  # isort: skip
import triton
import triton.language as tl

from kernels import epilogue
from kernels.op import FLOATS, Config, Op, Shape, config
from kernels.tuning import pick

LIMIT = 2**31  # values in one image, where 32-bit indices end


@dataclass(frozen=True)
class How:
    """All that `upsampler` is told besides its arrays."""

    r: int
    then: epilogue.Epilogue
    config: Config | None = None


def definition(x, w, b, *, r, activation="none", slope=None):
    """`upsampler` in plain JAX."""
    then, slope, _ = epilogue.split(activation, slope, 1.0, (), (w.shape[3] // (r * r),))
    return _plain(x, w, b, slope, How(r, then))


def _plain(x, w, b, slope, how: How):
    layout = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout) + b
    return epilogue.after(how.then, shuffled(y, how.r), slope, ())


def shuffled(x, r: int):
    """Channels in the order (C, r, r) become an image r times larger (Shi et al. 2016)."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, c // r**2, r, r)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(n, h * r, w * r, c // r**2)


@triton.jit
def _kernel(x, w, b, slope, y,
            H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, K: tl.constexpr, KS: tl.constexpr,
            R: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BC: tl.constexpr,
            BN: tl.constexpr, ACTIVATION: tl.constexpr, SLOPE: tl.constexpr,
            F32: tl.constexpr):  # fmt: skip
    """One program makes BN of the R * R * K values of TH x TW pixels, K channels an output pixel.

    Programs that share pixels follow each other, so they find them in the caches. Biases
    are in the order of the weights.
    """
    across: tl.constexpr = (W + TW - 1) // TW
    down: tl.constexpr = (H + TH - 1) // TH
    blocks: tl.constexpr = (R * R * K + BN - 1) // BN
    chunks: tl.constexpr = (C + BC - 1) // BC
    tile = tl.program_id(0) // blocks
    n = tl.program_id(0) % blocks * BN + tl.arange(0, BN)
    image = (tile // (across * down)).to(tl.int64)
    m = tl.arange(0, TH * TW)
    row, col = tile // across % down * TH + m // TW, tile % across * TW + m % TW
    known = n < R * R * K
    acc = tl.zeros((TH * TW, BN), tl.float32)
    for step in range(KS * KS * chunks):
        tap, c = step // chunks, step % chunks * BC + tl.arange(0, BC)
        i, j = row + (tap // KS - KS // 2), col + (tap % KS - KS // 2)
        inside = (i >= 0) & (i < H) & (j >= 0) & (j < W)
        at = image * (H * W * C) + ((i * W + j) * C)
        near = tl.load(x + at[:, None] + c[None, :], other=0.0,
                       mask=inside[:, None] & (c < C)[None, :])  # fmt: skip
        taps = tl.load(w + (tap * C + c)[:, None] * (R * R * K) + n[None, :], other=0.0,
                       mask=(c < C)[:, None] & known[None, :])  # fmt: skip
        if F32:
            near, taps = near.to(tl.float32), taps.to(tl.float32)
        acc = tl.dot(near, taps, acc, input_precision="ieee")
    channel, phase = n % K, n // K
    steep = epilogue.vector(slope, channel, known, ACTIVATION == "prelu")
    value = acc + epilogue.vector(b, n, known, True)[None, :]
    value = epilogue.bend(value, steep, ACTIVATION, SLOPE)
    pixel = (row * (R * W * R) + col * R)[:, None] + (phase // R * (W * R) + phase % R)[None, :]
    live = ((row < H) & (col < W))[:, None] & known[None, :]
    place = y + image * (H * W * R * R * K) + pixel * K + channel[None, :]
    tl.store(place, value.to(y.dtype.element_ty), mask=live)


def upsampler(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array,
    *,
    r: int,
    activation: str = "none",
    slope: jax.Array | float | None = None,
    config: Config | None = None,
) -> jax.Array:
    """activation(pixel_shuffle(conv(x, w) + b, r)), [N, H, W, C] to [N, r * H, r * W, K].

    w[k, k, C, K * r * r] (k odd, zeros outside), b[K * r * r], channels in the order (K, r, r).
    `activation` is "none", "relu", "leaky" (`slope` a number) or "prelu" (`slope` [K]). float32,
    float16 or bfloat16, the same for x and w; sums are float32. Gradients are XLA's of
    `definition`. Raises RefusedError for other shapes and dtypes, and for images of 2^31 values.
    """
    _check(x, w, b, r)
    out = (x.shape[0], x.shape[1] * r, x.shape[2] * r, w.shape[3] // (r * r))
    then, slope, _ = epilogue.split(activation, slope, 1.0, (), out)
    return _upsampler(x, w, b, slope, How(r, then, config))


def _check(x, w, b, r: int) -> None:
    (_, h, width, c), depth = x.shape, w.shape[3]
    if r < 1 or depth % (r * r) or w.shape[:3] != (w.shape[0], w.shape[0], c) or not w.shape[0] % 2:
        expected = f"[k, k, {c}, K * {r * r}] with k odd"
        raise RefusedError(f"upsampler: weights {list(w.shape)}, not {expected}; use impl='xla'")
    if b.shape != (depth,):
        raise RefusedError(f"upsampler: the bias is {list(b.shape)}; give [{depth}]")
    if str(x.dtype) not in FLOATS or w.dtype != x.dtype:
        kinds = f"{x.dtype} by {w.dtype}"
        raise RefusedError(f"upsampler: {kinds}; use one of {', '.join(FLOATS)} for both")
    if max(c, depth) * h * width >= LIMIT:
        raise RefusedError("upsampler: an image has 2^31 values or more; use tiles or impl='xla'")


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _upsampler(x, w, b, slope, how: How):
    return _forward(x, w, b, slope, how)


def _save(x, w, b, slope, how):
    return _forward(x, w, b, slope, how), (x, w, b, slope)


def _gradient(how: How, saved, g):
    return jax.vjp(partial(_plain, how=how), *saved)[1](g)


_upsampler.defvjp(_save, _gradient)


def _forward(x, w, b, slope, how: How):
    (n, h, width, c), (k, _, _, depth), r = x.shape, w.shape, how.r
    channels = depth // (r * r)
    choices = configs(x.shape, str(x.dtype), channels=depth)
    chosen = how.config or pick(f"upsampler k{k} r{r}", (x, w), choices)
    free = dict(chosen.constants)
    ordered = w.reshape(k, k, c, channels, r * r).swapaxes(3, 4)
    biases = b.reshape(channels, r * r).T
    tiles = n * cdiv(h, free["TH"]) * cdiv(width, free["TW"])
    shape = jax.ShapeDtypeStruct((n, h * r, width * r, channels), x.dtype)
    return launch(
        _kernel, (tiles * cdiv(depth, free["BN"]),), shape,
        x, ordered, biases, b if slope is None else slope,
        warps=chosen.warps, stages=chosen.stages, H=h, W=width, C=c, K=channels, KS=k, R=r,
        ACTIVATION=how.then.activation, SLOPE=how.then.slope, F32=INTERPRETED, **free,
    )  # fmt: skip


def configs(shape, dtype: str, *, channels: int = 256) -> tuple[Config, ...]:
    """Tiles of 128 pixels by 128 values first; float32: small tiles."""
    chunk = power_of_2(max(16, shape[3]))
    if dtype == "float32":
        return (config(TH=4, TW=8, BC=min(32, chunk), BN=32),)
    width = power_of_2(max(16, channels))
    tiles = ((8, 128, 8, 1), (8, 128, 8, 3), (8, 64, 4, 1), (16, 128, 8, 1), (8, 256, 8, 3))
    result = (
        config(warps, stages, TH=th, TW=16, BC=min(64, chunk), BN=min(bn, width))
        for th, bn, warps, stages in tiles
    )
    return tuple(dict.fromkeys(result))


def _example(key, shape: Shape, dtype: str):
    """x, weights and biases for 4 * C channels, slopes for the C that an output pixel has."""
    c, keys = shape[-1], jax.random.split(key, 4)
    arrays = (
        jax.random.normal(keys[0], shape),
        jax.random.normal(keys[1], (3, 3, c, 4 * c)) * (2 / (9 * c)) ** 0.5,
        0.1 * jax.random.normal(keys[2], (4 * c,)),
        jax.random.uniform(keys[3], (c,)),
    )
    return tuple(array.astype(dtype) for array in arrays)


def _unordered(x, w, b, slope):
    """The activation before the shuffle, where XLA may join it to the convolution."""
    layout = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout) + b
    return shuffled(jax.numpy.where(y >= 0, y, y * jax.numpy.repeat(slope, 4)), 2)


TOLD = {"r": 2, "activation": "prelu"}
OPS = (
    Op(
        name="upsampler",
        ours=lambda *a, config=None: upsampler(*a[:3], slope=a[3], **TOLD, config=config),
        definition=lambda *a: definition(*a[:3], slope=a[3], **TOLD),
        example=_example,
        flops=lambda s: 72.0 * s[0] * s[1] * s[2] * s[3] ** 2,
        bytes=lambda s, size: size * (5.0 * s[0] * s[1] * s[2] * s[3] + 36 * s[3] ** 2),
        configs=lambda shape, dtype: configs(shape, dtype, channels=4 * shape[3]),
        small=((1, 3, 7, 8), (2, 4, 5, 5)),
        shapes={"270p": (1, 270, 480, 64), "540p": (1, 540, 960, 64), "720p": (1, 720, 1280, 64)},
        baselines={"before": _unordered},
    ),
)
