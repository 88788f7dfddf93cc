"""ESRGAN's dense blocks without concatenations: every map has its place in one wide buffer.

A dense block (Wang et al., ECCVW 2018, after Huang et al., CVPR 2017) feeds each of its five
convolutions with the input and all maps before it. XLA writes every concatenation out (864
bytes written and as many read again a pixel, in 16 bit with 64 features and growth 32) and, but
for ReLU, one more pass for each activation. Here the maps of a block lie side by side in the
channels of one buffer; a convolution reads the first so many of them and writes its own maps
behind them, bias and activation done, so a concatenation costs nothing (as the shared memory of
Pleiss et al., arXiv 1707.06990, does for training). The last convolution adds the block's
residual, and around three blocks the outer one, before it stores. What is left is 1664 bytes a
pixel and the multiplications: expected is half to two thirds of XLA's time, not yet measured.

Blocks in a row take turns in three buffers, because the last convolution of a block still needs
the input of its own, and the input of three blocks is added at their end.
"""

from functools import partial
from itertools import accumulate

import jax
import jax.numpy as jnp

from kernels.launch import RefusedError, cdiv, launch  # isort: skip  (must come before triton)
import triton
import triton.language as tl

from kernels.dense_layers import BETA, SLOPE, conv, empty, fusion, growth
from kernels.dense_layers import OPS as LAYERS
from kernels.op import Config, Op, Shape

BLOCK = 1024  # values a program copies


def definition(x, params, *, beta: float = BETA, outer=None):
    """A dense block in plain JAX; see `dense_block`."""
    maps = [x]
    for w, b in params[:-1]:
        y = conv(jnp.concatenate(maps, -1), w) + b
        maps.append(jnp.where(y >= 0, y, y * jnp.asarray(SLOPE, y.dtype)))
    w, b = params[-1]
    y = x + beta * (conv(jnp.concatenate(maps, -1), w) + b)
    return y if outer is None else outer[0] + outer[1] * y


def rrdb_definition(x, blocks, *, beta: float = BETA):
    """Dense blocks in a row inside one more scaled residual; see `rrdb`."""
    y = x
    for params in blocks:
        y = definition(y, params, beta=beta)
    return x + beta * y


@triton.jit
def _place_kernel(x, buffer, SIZE: tl.constexpr, C: tl.constexpr, WIDE: tl.constexpr,
                  BLOCK: tl.constexpr):  # fmt: skip
    """Copies BLOCK values of x[pixels, C] to the first C channels of buffer[pixels, WIDE]."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < SIZE)
    tl.store(buffer + i // C * WIDE + i % C, value, mask=i < SIZE)


def dense_block(x, params, *, beta: float = BETA, outer=None, config: Config | None = None):
    """x + beta * conv5(maps), where map i = leaky(conv_i(x and all maps before it)).

    `x` is [N, H, W, C]; `params` are five pairs w [3, 3, C + maps before, K], b [K], the last with
    K = C, all of one dtype: float32, float16 or bfloat16. `outer` = (x0, factor) makes it
    x0 + factor * (the above), the residual around several blocks (`rrdb`). `config` is for all
    five convolutions; None, or one without constants, picks one for each. The gradient is XLA's,
    of `definition`.
    Raises RefusedError where the arrays do not fit or kernels cannot take them.
    """
    x0, factor = (None, 1.0) if outer is None else outer
    _check(x, params)
    return _dense_block(x, tuple(map(tuple, params)), x0, beta, factor, _shared(config))


def rrdb(x, blocks, *, beta: float = BETA, config: Config | None = None):
    """x + beta * (dense blocks one after the other of x): ESRGAN's RRDB has three.

    `blocks` are the `params` of each; shapes, dtypes and errors as in `dense_block`.
    """
    return trunk(x, (blocks,), beta=beta, config=config)


def trunk(x, rrdbs, *, beta: float = BETA, config: Config | None = None):
    """`rrdb` after `rrdb`; features stay in the buffers from the first to the last.

    For a gradient only the input of each RRDB is kept, and XLA computes the rest again.
    """
    for blocks in rrdbs:
        if not blocks:
            raise RefusedError("rrdb: no dense blocks; leave it out")
        for params in blocks:
            _check(x, params)
    frozen = tuple(tuple(tuple(map(tuple, params)) for params in blocks) for blocks in rrdbs)
    return _trunk(x, frozen, beta, _shared(config)) if frozen else x


def _shared(config: Config | None) -> Config | None:
    """The config of every convolution; None where each picks its own."""
    return config if config and config.constants else None


def _check(x, params) -> None:
    if x.ndim != 4 or len(params) < 2:
        raise RefusedError("dense block: x is [N, H, W, C], with two (w, b) or more; reshape x")
    widths = list(accumulate((w.shape[-1] for w, _ in params[:-1]), initial=x.shape[-1]))
    outs = [*(w.shape[-1] for w, _ in params[:-1]), x.shape[-1]]
    for i, ((w, b), width, out) in enumerate(zip(params, widths, outs, strict=True), 1):
        if w.shape != (3, 3, width, out) or b.shape != (out,):
            found = f"w {w.shape} and b {b.shape}"
            raise RefusedError(
                f"dense block: convolution {i} has {found}; give {(3, 3, width, out)} and {(out,)}"
            )
        if {w.dtype, b.dtype} != {x.dtype}:
            raise RefusedError(
                f"dense block: x is {x.dtype}, convolution {i} {w.dtype}; cast them to one dtype"
            )


def _place(x, wide: int):
    """A buffer with `wide` channels of which the first are x and the rest anything."""
    out = jax.ShapeDtypeStruct((*x.shape[:-1], wide), x.dtype)
    sizes = dict(SIZE=x.size, C=x.shape[-1], WIDE=wide, BLOCK=BLOCK)
    return launch(_place_kernel, (cdiv(x.size, BLOCK),), out, x, **sizes)


def _wide(params) -> int:
    return params[-1][0].shape[2]


def _run(buffer, params, target, beta: float, outer, config):
    """A block on a buffer whose first channels are its input: the buffer, and `fusion`'s target."""
    for w, b in params[:-1]:
        buffer = growth(buffer, w, b, config=config)
    last = dict(beta=beta, outer=outer, config=config)
    return buffer, fusion(buffer, *params[-1], target, **last)


def _residual(here, free: list, blocks, out, beta: float, config):
    """An RRDB on buffers: `here` holds its input, two of `free` are used and two given back.

    The result is in front of `out`, or of one of `free` where that is None. Every buffer is
    handed on as the last kernel left it: XLA copies one whose older state is still read.
    """
    origin = None
    for params in blocks[:-1]:
        here, there = _run(here, params, free.pop(), beta, None, config)
        if origin is None:
            origin = here
        else:
            free.append(here)
        here = there
    target = free.pop() if out is None else out
    here, there = _run(here, blocks[-1], target, beta, (origin, beta), config)
    free.extend([here] if origin is None else [here, origin])
    return there


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _dense_block(x, params, x0, beta, factor, config):
    outer = None if x0 is None else (x0, factor)
    out, _ = empty(x, x.shape[-1], 1)
    return _run(_place(x, _wide(params)), params, out, beta, outer, config)[1]


def _save_block(x, params, x0, beta, factor, config):
    return _dense_block(x, params, x0, beta, factor, config), (x, params, x0)


def _block_gradient(beta, factor, config, saved, g):
    def plain(x, params, x0):
        return definition(x, params, beta=beta, outer=None if x0 is None else (x0, factor))

    return jax.vjp(plain, *saved)[1](g)


_dense_block.defvjp(_save_block, _block_gradient)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _trunk(x, rrdbs, beta, config):
    wide = max(_wide(params) for blocks in rrdbs for params in blocks)
    here, free, (out, _) = _place(x, wide), [*empty(x, wide, wide)], empty(x, x.shape[-1], 1)
    for blocks in rrdbs[:-1]:
        here = _residual(here, free, blocks, None, beta, config)
    return _residual(here, free, rrdbs[-1], out, beta, config)


def _save_trunk(x, rrdbs, beta, config):
    inputs = []
    for blocks in rrdbs:
        inputs.append(x)
        x = _trunk(x, (blocks,), beta, config)
    return x, (inputs, rrdbs)


def _trunk_gradient(beta, config, saved, g):
    grads = []
    for x, blocks in reversed(list(zip(*saved, strict=True))):
        g, grad = jax.vjp(partial(rrdb_definition, beta=beta), x, blocks)[1](g)
        grads.append(grad)
    return g, tuple(reversed(grads))


_trunk.defvjp(_save_trunk, _trunk_gradient)


def _pairs(flat) -> tuple:
    """(w, b, w, b, ...) as pairs."""
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def _thirds(flat) -> tuple:
    pairs = _pairs(flat)
    return pairs[:5], pairs[5:10], pairs[10:]


def _folded(x, *flat):
    """The definition with 0.2 in the last weights, so that cuDNN can add the residual itself."""
    *inner, (w, b) = _pairs(flat)
    beta = jnp.asarray(BETA, x.dtype)
    return definition(x, (*inner, (w * beta, b * beta)), beta=1.0)


def _example(key, shape: Shape, dtype: str, blocks: int = 1) -> tuple:
    """x and `blocks` times five w and b in a row, growth half of the channels."""
    c = shape[-1]
    g = max(1, c // 2)
    arrays = [jax.random.normal(key, shape)]
    for i in range(5 * blocks):
        width, out = c + i % 5 * g, c if i % 5 == 4 else g
        weights, biases = jax.random.split(jax.random.fold_in(key, i))
        arrays.append(jax.random.normal(weights, (3, 3, width, out)) * (2 / (9 * width)) ** 0.5)
        arrays.append(0.1 * jax.random.normal(biases, (out,)))
    return tuple(a.astype(dtype) for a in arrays)


def _maps(c: int) -> list[tuple[int, int]]:
    """Channels in and out of the five convolutions."""
    g = max(1, c // 2)
    return [(c + i * g, c if i == 4 else g) for i in range(5)]


def _flops(shape: Shape, blocks: int = 1) -> float:
    n, h, w, c = shape
    return 2.0 * 9 * n * h * w * blocks * sum(i * o for i, o in _maps(c))


def _bytes(shape: Shape, size: int, blocks: int = 1) -> float:
    """Every convolution reads its maps and writes its own: five kernels cannot do with less."""
    n, h, w, c = shape
    return float(n * h * w * size * blocks * sum(i + o for i, o in _maps(c)))


def _configs(shape: Shape, dtype: str) -> tuple[Config, ...]:
    """One, empty: the convolutions are tuned one by one, see `growth` and `fusion`."""
    return (Config(),)


SMALL = ((1, 5, 6, 8), (2, 3, 9, 5))
SHAPES = {"270p": (1, 270, 480, 64), "540p": (1, 540, 960, 64), "720p": (1, 720, 1280, 64)}
OPS = (
    Op(
        name="dense_block",
        ours=lambda x, *flat, config=None: dense_block(x, _pairs(flat), config=config),
        definition=lambda x, *flat: definition(x, _pairs(flat)),
        example=_example,
        flops=_flops,
        bytes=_bytes,
        configs=_configs,
        small=SMALL,
        shapes=SHAPES,
        baselines={"folded": _folded},
    ),
    Op(
        name="rrdb",
        ours=lambda x, *flat, config=None: rrdb(x, _thirds(flat), config=config),
        definition=lambda x, *flat: rrdb_definition(x, _thirds(flat)),
        example=partial(_example, blocks=3),
        flops=partial(_flops, blocks=3),
        bytes=partial(_bytes, blocks=3),
        configs=_configs,
        small=SMALL[:1],
        shapes=SHAPES,
    ),
    *LAYERS,
)
