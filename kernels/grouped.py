"""3x3 convolution in groups, with its epilogue, in one pass: groups packed into wider products.

With 64 channels in 4 groups this convolution is bound by memory: by the model of the roofline an
H200 needs 2.6 times as long for its values as for its products, and a library that runs groups
one after the other, or as a dense convolution, is far from both. Here:

- Neighbouring groups are packed block-diagonally into one product of `WIDTH` channels: a tensor
  core's smallest product is 16 deep, and the zeros cost less than many small products. Weights
  are read packed: what is off the diagonal is masked, nothing is copied.
- A program walks down a strip of `BW` columns. Each input row is read three times, shifted by
  -1, 0 and 1 pixel, from the first level cache after the first time, and used at once for the
  three output rows that it belongs to, whose sums stay in registers: 3 * (ROWS + 2) / ROWS
  reads a pixel instead of 9.

Speed was not measured yet; the figures above are expectations. Groups of any width work; of more
than 64 channels they take several products each, and their weights are read anew for every row.
"""

from functools import partial

import jax
import jax.numpy as jnp

from kernels.launch import INTERPRETED, RefusedError, cdiv, launch, power_of_2  # isort: skip
import triton
import triton.language as tl

from kernels.epilogue import after, finish, pointers, split, vector
from kernels.op import FLOATS, Config, Op, Shape, config
from kernels.tuning import pick

DEEP = 16  # channels, the least that one product of a tensor core takes
LIMIT = 2**31  # values of one image; places inside it are counted in 32 bits


def definition(x, w, b=None, *, groups: int, activation="none", slope=None, scale=1.0, skips=()):
    """activation(conv(x, w) + b) * scale + the sum of factor * array over `skips`, in plain JAX."""
    out = (*x.shape[:3], w.shape[3])
    then, steep, arrays = split(activation, slope, scale, skips, out)
    return after(then, _linear(x, w, b, groups), steep, arrays)


def _linear(x, w, b, groups: int):
    layout = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=layout, feature_group_count=groups
    )
    return y if b is None else y + b.astype(y.dtype)


@triton.jit
def _kernel(x, w, b, slope, first, second, y,
            H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
            CG: tl.constexpr, KG: tl.constexpr, PACK: tl.constexpr, PARTS: tl.constexpr,
            SPLIT: tl.constexpr, ROWS: tl.constexpr, BW: tl.constexpr, BC: tl.constexpr,
            BK: tl.constexpr, BIAS: tl.constexpr, ACTIVATION: tl.constexpr, SLOPE: tl.constexpr,
            SCALE: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr,
            F32: tl.constexpr):  # fmt: skip
    """One program makes ROWS rows of BW columns, for PACK groups or for BK channels of one.

    CG and KG are channels a group, in and out; a group is summed over PARTS blocks of BC
    channels, and made in SPLIT blocks of BK. After input row i output row i - 2 is complete.
    """
    blocks: tl.constexpr = (C // CG + PACK - 1) // PACK * SPLIT
    across: tl.constexpr = (W + BW - 1) // BW
    down: tl.constexpr = (H + ROWS - 1) // ROWS
    program = tl.program_id(0)
    block, strip = program % blocks, program // blocks
    image = (strip // (across * down)).to(tl.int64)
    x += image * (H * W * C)
    y += image * (H * W * K)
    first += image * (H * W * K)
    second += image * (H * W * K)
    top = strip // across % down * ROWS
    column = strip % across * BW + tl.arange(0, BW)
    group = block // SPLIT * PACK
    inner = block % SPLIT * BK + tl.arange(0, BK)
    channel = group * KG + inner
    wide = (inner < PACK * KG) & (channel < K)
    bias = vector(b, channel, wide, BIAS)
    steep = vector(slope, channel, wide, ACTIVATION == "prelu")
    if PARTS == 1:
        taps = _weights(w, group, 0, inner, wide, K, CG, KG, PACK, BC)
    late = tl.zeros([BW, BK], tl.float32)
    soon = tl.zeros([BW, BK], tl.float32)
    for i in range(ROWS + 2):
        row = top + i - 1
        new = tl.zeros([BW, BK], tl.float32)
        for part in tl.static_range(PARTS):
            depth = part * BC + tl.arange(0, BC)
            source = group * CG + depth
            deep = (depth < PACK * CG) & (source < C)
            if PARTS > 1:
                taps = _weights(w, group, part, inner, wide, K, CG, KG, PACK, BC)
            for dx in tl.static_range(3):
                near = column + (dx - 1)
                inside = (near >= 0) & (near < W) & (row >= 0) & (row < H)
                at = (row * W + near)[:, None] * C + source[None, :]
                pixels = tl.load(x + at, mask=inside[:, None] & deep[None, :], other=0.0)
                late = _product(pixels, taps[6 + dx], late, F32)
                soon = _product(pixels, taps[3 + dx], soon, F32)
                new = _product(pixels, taps[dx], new, F32)
        done = row - 1
        live = ((column < W) & (i >= 2) & (done < H))[:, None] & wide[None, :]
        at = (done * W + column)[:, None] * K + channel[None, :]
        z = late + bias[None, :]
        z = finish(z, steep, first, second, at, live, ACTIVATION, SLOPE, SCALE, FIRST, SECOND)
        tl.store(y + at, z.to(y.dtype.element_ty), mask=live)
        late = soon
        soon = new


@triton.jit
def _weights(w, group, part, inner, wide, K: tl.constexpr, CG: tl.constexpr, KG: tl.constexpr,
             PACK: tl.constexpr, BC: tl.constexpr):  # fmt: skip
    """Nine [BC, BK] weights of PACK groups from `group` on, 0 off the diagonal of groups."""
    depth = part * BC + tl.arange(0, BC)
    same = (depth // CG)[:, None] == (inner // KG)[None, :]
    live = same & (depth < PACK * CG)[:, None] & wide[None, :]
    at = (depth % CG)[:, None] * K + (group * KG + inner)[None, :]
    taps = ()
    for tap in tl.static_range(9):
        taps += (tl.load(w + tap * CG * K + at, mask=live, other=0.0),)
    return taps


@triton.jit
def _product(pixels, taps, total, F32: tl.constexpr):
    """total + pixels @ taps; in float32 where the interpreter could not do it in 16 bits."""
    if F32:
        pixels, taps = pixels.to(tl.float32), taps.to(tl.float32)
    return tl.dot(pixels, taps, total, input_precision="ieee")


def grouped3x3(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None = None,
    *,
    groups: int,
    activation: str = "none",
    slope=None,
    scale: float = 1.0,
    skips=(),
    config: Config | None = None,
) -> jax.Array:
    """activation(conv(x, w) + b) * scale + the sum of factor * array over `skips`.

    x [N, H, W, C], w [3, 3, C / groups, K] in x's dtype (float32, float16 or bfloat16), b [K];
    `activation` is "none", "relu", "leaky" (`slope` a number) or "prelu" (`slope` [K]); at most
    two skips (array [N, H, W, K], factor). Returns [N, H, W, K] in x's dtype, summed in float32.
    The gradient of x is this kernel with flipped weights, those of w and b are XLA's. Raises
    RefusedError for other shapes or dtypes, and for images of 2^31 values.
    """
    check(x, w, b, groups)
    then, steep, arrays = split(activation, slope, scale, skips, (*x.shape[:3], w.shape[3]))
    if config is None:
        config = pick("grouped3x3", (x, w), choices(w.shape[2], w.shape[3] // groups, x.dtype.name))
    return _run((groups, then, config), x, w, b, steep, arrays)


def check(x, w, b, groups: int) -> None:
    """Raises RefusedError unless x, w and b are a 3x3 convolution in `groups` of this kernel's."""
    c, k = x.shape[-1], w.shape[-1]
    if x.ndim != 4 or w.shape[:2] != (3, 3) or c % groups or k % groups or 0 in x.shape:
        raise RefusedError(f"x {x.shape}, w {w.shape}, groups {groups}: use impl='xla'")
    if w.shape[2] * groups != c or (b is not None and b.shape != (k,)):
        raise RefusedError(f"x {x.shape}: w must be [3, 3, {c // groups}, K], b [K]")
    if x.dtype.name not in FLOATS or w.dtype != x.dtype:
        raise RefusedError(f"{x.dtype} x, {w.dtype} w: give both one of {', '.join(FLOATS)}")
    if x.shape[1] * x.shape[2] * max(c, k) >= LIMIT:
        raise RefusedError(f"x {x.shape}: an image must be below 2^31 values; cut it in windows")


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(how, x, w, b, slope, arrays):
    groups, then, chosen = how
    (n, h, width, c), k = x.shape, w.shape[3]
    sizes = packing(c // groups, k // groups, groups, dict(chosen.constants)["WIDTH"])
    strip = {name: value for name, value in chosen.constants if name != "WIDTH"}
    blocks = cdiv(groups, sizes["PACK"]) * sizes["SPLIT"]
    grid = (n * cdiv(h, strip["ROWS"]) * cdiv(width, strip["BW"]) * blocks,)
    out = jax.ShapeDtypeStruct((n, h, width, k), x.dtype)
    inputs = (x, w, x if b is None else b, *pointers(x, slope, arrays))
    image = dict(H=h, W=width, C=c, K=k, BIAS=b is not None, F32=INTERPRETED)
    constants = image | sizes | strip | then.constants()
    return launch(
        _kernel, grid, out, *inputs, warps=chosen.warps, stages=chosen.stages, **constants
    )


def _save(how, x, w, b, slope, arrays):
    groups, then, chosen = how
    z = _run((groups, type(then)(), chosen), x, w, b, None, ())
    return after(then, z, slope, arrays), (x, w, b, z, slope, arrays)


def _gradient(how, saved, g):
    """Of x by the kernel: a convolution whose weights are flipped, in and out exchanged."""
    groups, then, _ = how
    x, w, b, z, slope, arrays = saved
    dz, *rest = jax.vjp(partial(after, then), z, slope, arrays)[1](g)
    dw, db = jax.vjp(lambda w, b: _linear(x, w, b, groups), w, b)[1](dz)
    return grouped3x3(dz, flipped(w, groups), groups=groups), dw, db, *rest


_run.defvjp(_save, _gradient)


def flipped(w, groups: int):
    """w [3, 3, C / groups, K] of the convolution that takes gradients back: [3, 3, K / groups, C].

    Its taps are turned by 180 degrees, and each group's inputs and outputs change places.
    """
    _, _, into, k = w.shape
    turned = w[::-1, ::-1].reshape(3, 3, into, groups, k // groups)
    return turned.transpose(0, 1, 4, 3, 2).reshape(3, 3, k // groups, groups * into)


def packing(into: int, out: int, groups: int, width: int) -> dict[str, int]:
    """How groups of `into` and `out` channels fill products of about `width` channels."""
    pack = max(1, min(groups, width // max(into, out)))
    fits = lambda channels: min(max(DEEP, power_of_2(pack * channels)), max(DEEP, width))
    bc, bk = fits(into), fits(out)
    parts, split = cdiv(pack * into, bc), cdiv(pack * out, bk)
    return dict(CG=into, KG=out, PACK=pack, PARTS=parts, SPLIT=split, BC=bc, BK=bk)


def choices(into: int, out: int, dtype: str) -> tuple[Config, ...]:
    """Configs for groups of `into` and `out` channels, the one expected to be best first."""
    widest = min(64, max(DEEP, power_of_2(max(into, out))))
    if dtype == "float32":
        return tuple(config(BW=32, ROWS=8, WIDTH=width) for width in sorted({min(widest, 32), 32}))
    return tuple(
        config(BW=bw, ROWS=rows, WIDTH=width, warps=warps, stages=stages)
        for width, strips in STRIPS.items()
        if width >= widest
        for bw, rows, warps, stages in strips
        if bw <= 64 or max(into, out) <= width  # wide groups in wide strips spill
    )


STRIPS = {  # by WIDTH: BW, ROWS, warps, stages; with under 4 warps products start in registers
    16: ((64, 8, 4, 1), (32, 16, 2, 1), (64, 8, 2, 1), (64, 16, 4, 1), (64, 8, 4, 3)),
    32: ((64, 8, 4, 1), (32, 16, 2, 1), (128, 8, 8, 1), (64, 8, 4, 3)),
    64: ((64, 8, 4, 1), (64, 16, 4, 1), (128, 8, 8, 1)),
}


SHAPES = {"540p": (1, 540, 960, 64), "720p": (1, 720, 1280, 64), "1080p": (1, 1080, 1920, 64)}


def example(key: jax.Array, shape: Shape, dtype: str, groups: int) -> tuple:
    """x, w and b for `groups` of as many channels out as in."""
    keys, c = jax.random.split(key, 3), shape[3]
    x = jax.random.normal(keys[0], shape, dtype)
    w = jax.random.normal(keys[1], (3, 3, c // groups, c), dtype) / (9 * c // groups) ** 0.5
    return x, w.astype(dtype), jax.random.normal(keys[2], (c,), dtype)


def _block_diagonal(x, w, b, groups: int):
    """The same convolution as a dense one, most of whose weights are 0."""
    k = w.shape[3]
    diagonal = jnp.eye(groups, dtype=w.dtype)[:, None, :, None]
    blocks = w.reshape(3, 3, 1, -1, groups, k // groups) * diagonal
    return _leaky(_linear(x, blocks.reshape(3, 3, x.shape[-1], k), b, 1))


def _separate(x, w, b, groups: int):
    """The same convolution as one for each group."""
    parts = zip(jnp.split(x, groups, -1), jnp.split(w, groups, -1), strict=True)
    return _leaky(jnp.concatenate([_linear(*part, None, 1) for part in parts], -1) + b)


def _leaky(z):
    return jnp.where(z >= 0, z, z * 0.2)


def _op(groups: int, small: tuple[Shape, ...]) -> Op:
    how = dict(groups=groups, activation="leaky", slope=0.2)
    weights = lambda c: 9 * c // groups * c
    pixels = lambda s: s[0] * s[1] * s[2]
    return Op(
        name=f"grouped{groups}",
        ours=partial(grouped3x3, **how),
        definition=partial(definition, **how),
        example=partial(example, groups=groups),
        flops=lambda s: 2.0 * pixels(s) * weights(s[3]),
        bytes=lambda s, size: float(size * (2 * pixels(s) * s[3] + weights(s[3]))),
        configs=lambda s, dtype: choices(s[3] // groups, s[3] // groups, dtype),
        small=small,
        shapes=SHAPES,
        baselines={
            "dense": partial(_block_diagonal, groups=groups),
            "split": partial(_separate, groups=groups),
        },
    )


OPS = (
    _op(4, ((1, 9, 5, 32), (2, 3, 7, 12))),
    _op(2, ((1, 3, 17, 10),)),
    _op(8, ((1, 9, 2, 24),)),
    _op(16, ((1, 2, 9, 64),)),
)
