"""The two convolutions of a dense block, on the channels of a wide buffer; see `kernels.dense`.

`growth` reads the first channels and writes its map behind them, `fusion` reads all of them and
writes the block's result elsewhere. Each is `kernels.conv3x3.into` or, by configs with WAVES,
`kernels.ring`; they are operations of their own so that each can be tuned for its channels.
"""

import jax

from kernels.launch import launch  # isort: skip  (must come before triton)
import triton

from kernels.conv3x3 import configs as conv3x3_configs
from kernels.conv3x3 import definition, into
from kernels.op import Config, Op, Shape
from kernels.ring import configs as ring_configs
from kernels.ring import ring3x3
from kernels.tuning import pick

BETA = 0.2  # ESRGAN's residual scaling
SLOPE = 0.2  # of its leaky ReLU
ESRGAN = (64, 96, 128, 160)  # channels that the first four convolutions read


def conv(x, w):
    """The plain convolution."""
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout)


@triton.jit
def _nothing_kernel(x, first, second):
    """Leaves its outputs as they are: memory for those that write all that is read later."""


def growth(buffer, w, b, *, target=None, config: Config | None = None):
    """leaky(conv(first channels of `buffer` [N, H, W, B]) + b): one map of a block.

    `w` is [3, 3, count, K]: `count` channels are read. The K results are written behind them, or
    to the front of `target`.
    """
    count, k = w.shape[2:]
    chosen = config or pick("growth", (buffer, w, b), _growth_configs(buffer, count, k))
    way = ring3x3 if "WAVES" in dict(chosen.constants) else into
    where = dict(reads=(0, count), writes=count if target is None else 0, target=target)
    return way(buffer, w, b, activation="leaky", slope=SLOPE, config=chosen, **where)


def _growth_configs(buffer, count: int, k: int) -> tuple[Config, ...]:
    shape, dtype = (*buffer.shape[:-1], count), buffer.dtype.name
    return (*conv3x3_configs(shape, dtype, k), *ring_configs(shape, dtype, k))


def fusion(buffer, w, b, target, *, beta: float = BETA, outer=None, config: Config | None = None):
    """`target` with the end of a block in front: residual + beta * (conv(all of `buffer`) + b).

    The residual is the front of `buffer`; with `outer` = (an array with x0 in front, or None for
    `buffer`; a factor) the result is x0 + factor * the above.
    """
    count, k = w.shape[2:]
    choices = conv3x3_configs((*buffer.shape[:-1], count), buffer.dtype.name, k)
    chosen = config or pick("fusion", (buffer, w, b), choices)
    skips = ((buffer, 1.0, 0),)
    if outer is not None:
        x0, factor = outer
        skips, beta = ((buffer, factor, 0), (buffer if x0 is None else x0, 1.0, 0)), beta * factor
    ends = dict(target=target, scale=beta, skips=skips, config=chosen)
    return into(buffer, w, b, reads=(0, count), writes=0, **ends)


def empty(x, first: int, second: int) -> tuple[jax.Array, jax.Array]:
    """Two arrays of anything with so many channels, else like x, for the price of a launch.

    One launch makes both, and x is its input, because XLA takes two equal calls for one; it
    would have to copy the memory that it thinks is shared.
    """
    outs = [jax.ShapeDtypeStruct((*x.shape[:-1], c), x.dtype) for c in (first, second)]
    return launch(_nothing_kernel, (1,), outs, jax.lax.stop_gradient(x), warps=1)


def _growth_example(key, shape: Shape, dtype: str) -> tuple:
    """A buffer of whose channels `shape` counts those that are read, w and b; ESRGAN's has 192."""
    c = shape[-1]
    k = _growth_k(c)
    return _three(key, (*shape[:-1], 192 if c in ESRGAN else c + k), (3, 3, c, k), dtype)


def _fusion_example(key, shape: Shape, dtype: str) -> tuple:
    return _three(key, shape, (3, 3, shape[-1], max(1, shape[-1] // 3)), dtype)


def _three(key, x: Shape, w: Shape, dtype: str) -> tuple:
    keys = jax.random.split(key, 3)
    size = (2 / (9 * w[2])) ** 0.5
    arrays = [jax.random.normal(k, s) for k, s in zip(keys, (x, w, w[3:]), strict=True)]
    return tuple((a * size).astype(dtype) if a is arrays[1] else a.astype(dtype) for a in arrays)


def _grown(x, w, b, config=None):
    """`growth` to memory of its own, because a bench would time the copy of a buffer it keeps."""
    return growth(x, w, b, target=empty(x, w.shape[3], 1)[0], config=config)


def _grown_definition(x, w, b):
    return definition(x[..., : w.shape[2]], w, b, activation="leaky", slope=SLOPE)


def _fused(x, w, b, config=None):
    return fusion(x, w, b, empty(x, w.shape[3], 1)[0], config=config)


def _fused_definition(x, w, b):
    return x[..., : w.shape[3]] + BETA * (conv(x, w) + b)


def _growth_k(c: int) -> int:
    return 32 if c in ESRGAN else max(1, c // 2)


OPS = (
    Op(
        name="growth",
        ours=_grown,
        definition=_grown_definition,
        example=_growth_example,
        flops=lambda s: 18.0 * s[0] * s[1] * s[2] * s[3] * _growth_k(s[3]),
        bytes=lambda s, size: float(s[0] * s[1] * s[2] * size * (s[3] + _growth_k(s[3]))),
        configs=lambda s, dtype: _growth_configs(
            jax.ShapeDtypeStruct(s, dtype), s[3], _growth_k(s[3])
        ),
        small=((1, 5, 6, 8),),
        shapes={"270p": (1, 270, 480, 64), **{f"270p {c}": (1, 270, 480, c) for c in ESRGAN[1:]}},
    ),
    Op(
        name="fusion",
        ours=_fused,
        definition=_fused_definition,
        example=_fusion_example,
        flops=lambda s: 18.0 * s[0] * s[1] * s[2] * s[3] * max(1, s[3] // 3),
        bytes=lambda s, size: float(s[0] * s[1] * s[2] * size * (s[3] + max(1, s[3] // 3))),
        configs=lambda s, dtype: conv3x3_configs(s, dtype, max(1, s[3] // 3)),
        small=((1, 5, 6, 12),),
        shapes={"270p": (1, 270, 480, 192)},
    ),
)
