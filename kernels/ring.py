"""A 3x3 convolution that walks down the image: every row is loaded once for the three it feeds.

One program owns a strip of P pixels and goes down its rows. A row of the input, shifted by one
pixel to the left, not, and to the right, is three tiles [P, C] in shared memory, and each tile is
multiplied by three of the nine weights: it is the lower row of one output row, the middle of the
next and the upper of the one after. So three sums rotate in registers, the oldest is stored, and
the weights stay in shared memory all the way. `kernels.conv3x3` moves nine tiles and the weights
into shared memory for every tile of pixels; this moves three and no weights. The model of the
limits: 23 clocks a pixel of shared memory for 64 channels in 16 bit, where nine tiles need 36 to
45, against 18 of matrix units. It has only been compiled and interpreted, never run on a GPU.

It is the row reuse of a direct convolution in a ring of rows, with the ring in the accumulators:
Triton cannot address a swizzled row one pixel further on, and here it need not. The next row is
on its way from memory, in registers, while this one is multiplied.
"""

from dataclasses import dataclass
from functools import partial

import jax

from kernels.launch import INTERPRETED, RefusedError, capability, cdiv, launch, power_of_2

from kernels.conv3x3_tiles import finish, weights  # isort: skip  (kernels.launch comes first)
import triton
import triton.language as tl

from kernels.conv3x3 import definition, into_definition
from kernels.op import HALF, Config, Op, Shape, config
from kernels.tuning import pick

PROGRAMS = 264  # two on each of 132 multiprocessors
LEAST = 6  # rows a program; two more are read
LIMIT = 2**31  # values in a row, where 32-bit offsets end
LEAKY = dict(activation="leaky", slope=0.2)


@dataclass(frozen=True)
class Then:
    """What is known while tracing; `own`: the input is written too, skips: (source, factor, at)."""

    activation: str
    slope: float
    scale: float
    skips: tuple[tuple[str, float, int], ...]
    reads: int
    writes: int
    own: bool
    config: Config


@triton.jit
def tiles(x, row, column, c, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr,
          XB: tl.constexpr):  # fmt: skip
    """Of a row of x[H, W, XB], channels `c`: three tiles [P, BC], one to the left, here, right."""
    inside = (row >= 0) & (row < H)
    wide = (c < C)[None, :]
    at = x + row.to(tl.int64) * (W * XB) + (column * XB)[:, None] + c[None, :]
    left = inside & (column > 0) & (column <= W)
    here = inside & (column < W)
    right = inside & (column < W - 1)
    before = tl.load(at - XB, mask=left[:, None] & wide, other=0.0)
    middle = tl.load(at, mask=here[:, None] & wide, other=0.0)
    after = tl.load(at + XB, mask=right[:, None] & wide, other=0.0)
    return before, middle, after


@triton.jit
def resident(w, k, C: tl.constexpr, K: tl.constexpr, BC: tl.constexpr, BK: tl.constexpr):
    """Tiles of w[3, 3, C, K] for a row's three tiles and every BC channels, in two tuples.

    [BC, BK] for the output row above, and [BC, 2 BK] for the one at and the one below, whose
    columns alternate: one product makes both, and a thread can take them apart by itself.
    """
    lower, others = (), ()
    for t in tl.static_range((C + BC - 1) // BC * 3):
        c = t // 3 * BC + tl.arange(0, BC)
        lower = lower + (weights(w, 6 + t % 3, c, k, C, K),)  # noqa: RUF005
        pair = tl.join(weights(w, 3 + t % 3, c, k, C, K), weights(w, t % 3, c, k, C, K))
        others = others + (pair.reshape(BC, 2 * BK),)  # noqa: RUF005  (Triton)
    return lower, others


@triton.jit
def three(x, u, first: tl.constexpr, total, F32: tl.constexpr):
    """`total` + the products of three tiles x with three weights u from `first` on."""
    for t in tl.static_range(3):
        a, b = x[t], u[first + t]
        if F32:
            a, b = a.to(tl.float32), b.to(tl.float32)
        total = tl.dot(a, b, total, input_precision="ieee")
    return total


@triton.jit
def added(given, x, target, at, k, mask, FROM: tl.constexpr, B: tl.constexpr, AT: tl.constexpr,
          FACTOR: tl.constexpr):  # fmt: skip
    """FACTOR times channels from AT on of an array of its own, of the input or of the target."""
    if FROM == "given":
        source = given
    elif FROM == "read":
        source = x
    else:
        source = target
    return FACTOR * tl.load(source + at * B + AT + k[None, :], mask=mask, other=0.0).to(tl.float32)


@triton.jit
def ring_kernel(x, w, b, slope, skip0, skip1, target, out, N: tl.constexpr, H: tl.constexpr,
                W: tl.constexpr, C: tl.constexpr, K: tl.constexpr, XB: tl.constexpr,
                XAT: tl.constexpr, YB: tl.constexpr, YAT: tl.constexpr, BIAS: tl.constexpr,
                ACTIVATION: tl.constexpr, SLOPE: tl.constexpr, SCALE: tl.constexpr,
                FROM0: tl.constexpr, B0: tl.constexpr, AT0: tl.constexpr, F0: tl.constexpr,
                FROM1: tl.constexpr, B1: tl.constexpr, AT1: tl.constexpr, F1: tl.constexpr,
                P: tl.constexpr, ROWS: tl.constexpr, BC: tl.constexpr, BK: tl.constexpr,
                F32: tl.constexpr):  # fmt: skip
    """One program makes BK channels of ROWS rows of a strip of P pixels of out[N, H, W, YB]."""
    strips: tl.constexpr = (W + P - 1) // P
    segments: tl.constexpr = (H + ROWS - 1) // ROWS
    chunks: tl.constexpr = (C + BC - 1) // BC
    blocks: tl.constexpr = (K + BK - 1) // BK
    strip = tl.program_id(0) // blocks % strips
    top = tl.program_id(0) // (blocks * strips) % segments * ROWS
    n = (tl.program_id(0) // (blocks * strips * segments)).to(tl.int64)
    column = strip * P + tl.arange(0, P)
    c = tl.arange(0, BC)
    k = tl.program_id(0) % blocks * BK + tl.arange(0, BK)
    lower, others = resident(w, k, C, K, BC, BK)
    image = x + n * H * W * XB + XAT
    now = tiles(image, top - 1, column, c, H, W, C, XB)
    full = tl.zeros((P, BK), tl.float32)  # of the row above, `half` of the row that is read
    half = tl.zeros((P, BK), tl.float32)
    for i in range(ROWS + 2):
        pair = tl.join(half, tl.zeros((P, BK), tl.float32)).reshape(P, 2 * BK)
        for chunk in tl.static_range(chunks):
            after = (chunk + 1) % chunks * BC + c
            then = tiles(image, top - 1 + i + (chunk + 1) // chunks, column, after, H, W, C, XB)
            full = three(now, lower, chunk * 3, full, F32)
            pair = three(now, others, chunk * 3, pair, F32)
            now = then
        row = top + i - 2
        mask = ((i >= 2) & (row < H)) & (column < W)[:, None] & (k < K)[None, :]
        at = ((n * H + row) * W + column)[:, None]
        y = finish(full, b, slope, k, K, BIAS, ACTIVATION, SLOPE, SCALE)
        if FROM0 != "none":
            y += added(skip0, x, target, at, k, mask, FROM0, B0, AT0, F0)
        if FROM1 != "none":
            y += added(skip1, x, target, at, k, mask, FROM1, B1, AT1, F1)
        tl.store(out + at * YB + YAT + k[None, :], y.to(out.dtype.element_ty), mask=mask)
        full, half = pair.reshape(P, BK, 2).split()


def grid(n: int, h: int, w: int, k: int, built: dict) -> tuple[tuple[int], int]:
    """How many programs, and how many rows each walks, for about WAVES times what a GPU runs."""
    across = n * cdiv(w, built["P"]) * cdiv(k, built["BK"])
    rows = cdiv(h, max(1, built["WAVES"] * PROGRAMS // across))
    rows = min(h, max(rows, LEAST))
    return (across * cdiv(h, rows),), rows


def configs(shape: Shape, dtype: str, features: int | None = None) -> tuple[Config, ...]:
    """What may be tried for an input of `shape` and so many output channels (None: as many).

    Nothing but for 16 bit, compute capability 9 and as many channels as registers hold: up to 64
    to 64, or 160 to 32. Other devices have no matrix unit that reads both sides from shared
    memory, or keep its sums elsewhere.
    """
    c, k = shape[-1], features or shape[-1]
    block_k = max(16, min(64, power_of_2(k)))
    if dtype not in HALF or not _has_wgmma() or max(c, 32) * block_k > 160 * 32 or k > 64:
        return ()
    deep = 64 if c == 64 else max(16, min(32, power_of_2(c)))  # two programs fit up to 128
    tile = dict(BC=deep, BK=block_k)
    sizes = ((64, 4), (128, 8))
    return tuple(config(n, P=p, WAVES=v, **tile) for v in (1, 2, 4) for p, n in sizes)


def _has_wgmma() -> bool:
    return INTERPRETED or capability() // 10 == 9


def ring3x3(
    x,
    w,
    b,
    *,
    reads: tuple[int, int] | None = None,
    writes: int = 0,
    target=None,
    activation: str = "none",
    slope: float = 0.0,
    scale: float = 1.0,
    skips=(),
    config: Config | None = None,
):
    """As `kernels.conv3x3.into`, or as its `conv3x3` where `reads` is None, by rows.

    `activation` is "none", "relu" or "leaky" with `slope`, `skips` are (array, factor, start), and
    dtypes float16 or bfloat16. The gradient is XLA's. Raises RefusedError where there is no config
    for the shape, dtype or device (`configs`).
    """
    at, count = reads or (0, x.shape[-1])
    own = reads is not None and target is None
    _check(x, w, b, at, count, writes, own, activation, skips)
    given = (jax.ShapeDtypeStruct((*x.shape[:-1], count), x.dtype), w, b)
    chosen = config or pick("ring3x3", given, configs(given[0].shape, x.dtype.name, w.shape[3]))
    sources = tuple(("read" if a is x else "given", float(f), int(s)) for a, f, s in skips)
    arrays = tuple(a for a, _, _ in skips if a is not x)
    then = Then(activation, float(slope), float(scale), sources, at, writes, own, chosen)
    return _ring(x, w, b, arrays, target, then)


def _check(x, w, b, at, count, writes, own, activation, skips) -> None:
    k = w.shape[-1]
    if w.shape[:3] != (3, 3, count) or b.shape != (k,) or len(skips) > 2 or at + count > x.shape[3]:
        raise RefusedError(f"ring3x3: {at}, {count} of x {x.shape}, w {w.shape}; see conv3x3.into")
    if activation not in ("none", "relu", "leaky"):
        raise RefusedError(f"ring3x3: activation {activation!r}; use conv3x3")
    if x.shape[2] * x.shape[3] >= LIMIT:
        raise RefusedError(f"ring3x3: rows of {x.shape} are too long; use impl='xla'")
    starts = [at] * bool(count) + [start for a, _, start in skips if a is x]
    sizes = [count] + [k] * len(starts)
    if own and any(writes < s + n and s < writes + k for s, n in zip(starts, sizes, strict=False)):
        raise RefusedError(f"ring3x3: {k} channels from {writes} are read too; give a target")


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def _ring(x, w, b, arrays, target, then: Then):
    """One launch."""
    (n, h, wide, _), k, given = x.shape, w.shape[3], iter(arrays)
    out = (*x.shape[:-1], k) if target is None else target.shape
    out = x.shape if then.own else out
    sizes = dict(N=n, H=h, W=wide, C=w.shape[2], K=k, XB=x.shape[3], XAT=then.reads, BIAS=True)
    sizes |= dict(YB=out[3], YAT=then.writes, ACTIVATION=then.activation, SLOPE=then.slope)
    extra = []
    for i, (source, factor, start) in enumerate([*then.skips, *[("none", 0.0, 0)] * 2][:2]):
        array = next(given) if source == "given" else x
        extra.append(array if source == "given" else w)
        sizes |= {f"FROM{i}": source, f"F{i}": factor, f"AT{i}": start, f"B{i}": array.shape[3]}
    built = dict(then.config.constants)
    programs, rows = grid(n, h, wide, k, built)
    built.pop("WAVES")
    return launch(
        ring_kernel,
        programs,
        jax.ShapeDtypeStruct(out, x.dtype),
        *(x, w, b, w, *extra, w if target is None else target),
        warps=then.config.warps,
        stages=then.config.stages,
        aliases={0: 0} if then.own else {} if target is None else {6: 0},
        **sizes,
        **built,
        SCALE=then.scale,
        ROWS=rows,
        F32=INTERPRETED,
    )


def _save(x, w, b, arrays, target, then):
    return _ring(x, w, b, arrays, target, then), (x, w, b, arrays, target)


def _gradient(then: Then, saved, g):
    def plain(x, w, b, arrays, target):
        given, k = iter(arrays), w.shape[3]
        skips = [(next(given) if a == "given" else x, f, s) for a, f, s in then.skips]
        after = dict(activation=then.activation, slope=then.slope, scale=then.scale)
        reads = (then.reads, w.shape[2])
        if then.own or target is not None:
            where = dict(reads=reads, writes=then.writes, target=target)
            return into_definition(x, w, b, skips=skips, **where, **after)
        cut = [(a[..., s : s + k], f) for a, f, s in skips]
        return definition(x[..., reads[0] : sum(reads)], w, b, skips=cut, **after)

    return jax.vjp(plain, *saved)[1](g)


_ring.defvjp(_save, _gradient)


def _example(key, shape: Shape, dtype: str) -> tuple:
    """x, w and b of as many channels; those with 160 go to 32, as in a dense block."""
    c = shape[-1]
    k = c if c <= 64 else 32
    keys = jax.random.split(key, 3)
    w = jax.random.normal(keys[1], (3, 3, c, k)) * (2 / (9 * c)) ** 0.5
    arrays = jax.random.normal(keys[0], shape), w, 0.1 * jax.random.normal(keys[2], (k,))
    return tuple(a.astype(dtype) for a in arrays)


def _out(shape: Shape) -> int:
    return shape[-1] if shape[-1] <= 64 else 32


OPS = (
    Op(
        name="ring3x3",
        ours=lambda x, w, b, config=None: ring3x3(x, w, b, config=config, **LEAKY),
        definition=partial(definition, **LEAKY),
        example=_example,
        flops=lambda s: 18.0 * s[0] * s[1] * s[2] * s[3] * _out(s),
        bytes=lambda s, size: float(s[0] * s[1] * s[2] * size * (s[3] + _out(s))),
        configs=lambda s, dtype: configs(s, dtype, _out(s)),
        small=((1, 9, 20, 16), (2, 7, 5, 3)),
        shapes={"540p": (1, 540, 960, 64), "1080p": (1, 1080, 1920, 64), "96": (1, 540, 960, 96)},
        dtypes=HALF,
    ),
)
