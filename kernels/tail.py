"""The end of a super-resolution network in one pass: conv, pixel shuffle, base, clip, 8 bits.

XLA runs the convolution, then one or two passes over the large image that shuffle, enlarge the
input, add, clip and round; as float32 that image is four times what is shown. Here it is written
once, as bytes. What is left is reading the features, k * k times each through the L1 cache, for
only 3 * r * r outputs that fill a fraction of a matrix instruction. So one row of the product
stands for a patch of PY x PX pixels: their common window is read once, and the weights hold the
convolution's taps at the place of each pixel (a Toeplitz matrix, zeros elsewhere). For 3x3 and
x2 a 2x2 patch takes 4 reads a pixel instead of 9 at 1.8 times the multiplications, of which
there are too few to matter. The enlargement is one more matrix product (kernels/enlarge.py).
Not yet measured on a GPU.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from kernels.launch import INTERPRETED, RefusedError, cdiv, launch, power_of_2  # isort: skip
import triton
import triton.language as tl

from kernels import enlarge as enlarging
from kernels.op import Config, Op, Shape, config
from kernels.tuning import pick
from kernels.upsampler import shuffled

OUTS = ("uint8", "float16", "bfloat16", "float32")
NONE, GIVEN, NEAREST, MIXED = range(4)  # where the base comes from
ROUND = tl.constexpr(8388608.0)  # 2^23: added and taken off, rounds a smaller float32 half to even
LIMIT = 2**31  # values in one image, where 32-bit indices end


@dataclass(frozen=True)
class How:
    """All that `tail` is told besides its arrays."""

    r: int
    enlarge: str | None
    gain: float
    shift: float
    out: str
    clip: bool = True
    config: Config | None = None


def definition(x, w, b, base, *, r, enlarge="bicubic", gain=1.0, shift=0.0, out="uint8", clip=True):
    """`tail` in plain JAX; sums after the convolution are float32, or the inputs' if wider."""
    return _finished(_conv(x, w), b, base, How(r, enlarge, gain, shift, out, clip))


def _conv(x, w):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout)


def _finished(y, b, base, how: How):
    exact = jnp.promote_types(y.dtype, "float32")
    y = shuffled(y.astype(exact) + b.astype(exact), how.r)
    if base is not None:
        y = y + enlarging.enlarged(base.astype(exact), how.r, how.enlarge)
    y = y * how.gain + how.shift
    y = jnp.clip(y, 0, 1) if how.clip else y
    return jnp.round(y * 255).astype("uint8") if how.out == "uint8" else y.astype(how.out)


@triton.jit
def _kernel(x, w, b, base, mix, y,
            H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, KS: tl.constexpr, R: tl.constexpr,
            PY: tl.constexpr, PX: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr,
            BC: tl.constexpr, BN: tl.constexpr, BR: tl.constexpr, SWAP: tl.constexpr,
            FROM: tl.constexpr, REACH: tl.constexpr, PARTS: tl.constexpr, GAIN: tl.constexpr,
            SHIFT: tl.constexpr, CLIP: tl.constexpr, BYTES: tl.constexpr,
            F32: tl.constexpr):  # fmt: skip
    """One program makes the outputs of TH x TW patches: rows of a product of BN columns.

    SWAP has the patches as columns instead. A column is a place in the patch's output, whose
    rows are (pixel, channel); weights of single pixels are taken as they are, by column.
    """
    across: tl.constexpr = (W + PX * TW - 1) // (PX * TW)
    down: tl.constexpr = (H + PY * TH - 1) // (PY * TH)
    span: tl.constexpr = PX * R * 3
    tile = tl.program_id(0)
    image = (tile // (across * down)).to(tl.int64)
    m, n = tl.arange(0, TH * TW), tl.arange(0, BN)
    row = (tile // across % down * TH + m // TW) * PY
    col = (tile % across * TW + m % TW) * PX
    channel = n % 3 * (R * R) + n // span % R * R + n % span // 3 % R  # in bounds for any n
    acc = _convolve(x + image * (H * W * C), w, row, col, n, channel,
                    H, W, C, KS, R, PY, PX, BC, BN, SWAP, F32)  # fmt: skip
    if FROM == 3:
        source = base + image * (H * W * 3)
        acc = _enlarge(acc, source, mix, row, col, n, H, W, PY, PX, BN, BR, REACH, PARTS,
                       SWAP, F32)  # fmt: skip
    # The same three vectors as a matrix, whichever way round it is.
    row, col = tl.expand_dims(row, 1 - SWAP), tl.expand_dims(col, 1 - SWAP)
    channel, n = tl.expand_dims(channel, SWAP), tl.expand_dims(n, SWAP)
    top, left = row * R + n // span, col * (R * 3) + n % span
    live = (n < PY * R * span) & (top < H * R) & (left < W * R * 3)
    at = top * (W * R * 3) + left
    value = acc + tl.load(b + channel).to(tl.float32)
    if FROM == 1:
        value += tl.load(base + image * (H * W * R * R * 3) + at, mask=live).to(tl.float32)
    if FROM == 2:
        near = (top // R * W + left // (3 * R)) * 3 + left % 3
        value += tl.load(base + image * (H * W * 3) + near, mask=live).to(tl.float32)
    value = value * GAIN + SHIFT
    if CLIP:
        value = tl.where(value < 0.0, 0.0, tl.where(value > 1.0, 1.0, value))  # lets NaN through
    if BYTES:
        value = value * 255.0 + ROUND - ROUND
    place = y + image * (H * W * R * R * 3) + at
    tl.store(place, value.to(y.dtype.element_ty), mask=live)


@triton.jit
def _convolve(x, w, row, col, n, channel,
              H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, KS: tl.constexpr,
              R: tl.constexpr, PY: tl.constexpr, PX: tl.constexpr, BC: tl.constexpr,
              BN: tl.constexpr, SWAP: tl.constexpr, F32: tl.constexpr):  # fmt: skip
    """The product of the windows of patches at (row, col) with the weights."""
    chunks: tl.constexpr = (C + BC - 1) // BC
    wide: tl.constexpr = PX + KS - 1
    single: tl.constexpr = PY * PX == 1
    width: tl.constexpr = 3 * R * R if single else BN
    column = channel if single else n
    m: tl.constexpr = row.shape[0]
    acc = tl.zeros((BN, m) if SWAP else (m, BN), tl.float32)
    for step in range((PY + KS - 1) * wide * chunks):
        tap, c = step // chunks, step % chunks * BC + tl.arange(0, BC)
        i, j = row + (tap // wide - KS // 2), col + (tap % wide - KS // 2)
        inside = (i >= 0) & (i < H) & (j >= 0) & (j < W)
        mask = inside[:, None] & (c < C)[None, :]
        near = tl.load(x + ((i * W + j) * C)[:, None] + c[None, :], mask=mask, other=0.0)
        at = (tap * C + c)[:, None] * width + column[None, :]
        taps = tl.load(w + at, mask=(c < C)[:, None], other=0.0)
        if F32:
            near, taps = near.to(tl.float32), taps.to(tl.float32)
        if SWAP:
            acc = tl.dot(tl.trans(taps), tl.trans(near), acc, input_precision="ieee")
        else:
            acc = tl.dot(near, taps, acc, input_precision="ieee")
    return acc


@triton.jit
def _enlarge(acc, base, mix, row, col, n, H: tl.constexpr, W: tl.constexpr, PY: tl.constexpr,
             PX: tl.constexpr, BN: tl.constexpr, BR: tl.constexpr, REACH: tl.constexpr,
             PARTS: tl.constexpr, SWAP: tl.constexpr, F32: tl.constexpr):  # fmt: skip
    """Adds the product of the base around the patches with the constants of enlarge.matrix."""
    rows: tl.constexpr = PY + 2 * REACH
    q = tl.arange(0, BR)
    j = tl.minimum(tl.maximum(col[:, None] + (q // 3 - REACH)[None, :], 0), W - 1)
    for u in range(rows):
        i = tl.minimum(tl.maximum(row + (u - REACH), 0), H - 1)
        mask = (q < 3 * (PX + 2 * REACH))[None, :]
        near = tl.load(base + (i[:, None] * W + j) * 3 + (q % 3)[None, :], mask=mask, other=0.0)
        for part in tl.static_range(PARTS):
            at = ((part * rows + u) * BR + q)[:, None] * BN + n[None, :]
            taps = tl.load(mix + at)
            if F32:
                near, taps = near.to(tl.float32), taps.to(tl.float32)
            if SWAP:
                acc = tl.dot(tl.trans(taps), tl.trans(near), acc, input_precision="ieee")
            else:
                acc = tl.dot(near, taps, acc, input_precision="ieee")
    return acc


def tail(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array,
    base: jax.Array | None,
    *,
    r: int,
    enlarge: str | None = "bicubic",
    gain: float = 1.0,
    shift: float = 0.0,
    out: str = "uint8",
    clip: bool = True,
    config: Config | None = None,
) -> jax.Array:
    """clip((pixel_shuffle(conv(x, w) + b) + enlarged base) * gain + shift, 0, 1), stored as `out`.

    x[N, H, W, C], w[k, k, C, 3 * r * r] (k odd, zeros outside), b[3 * r * r] to [N, r*H, r*W, 3].
    `base` is [N, H, W, 3], and `enlarge` "nearest", "bilinear" or "bicubic" (half-pixel centres,
    border repeated, a = -0.75), or [N, r*H, r*W, 3] and "given", or None. float32, float16 or
    bfloat16; sums are float32. "uint8" is 255 times that, rounded half to even as `jnp.round`
    does (on a GPU the product and the sum before it are rounded once, not twice, which differs
    where that falls on a tie). `clip=False` lets floats pass 0 and 1. Gradients are XLA's of
    `definition`; uint8 has none. Raises RefusedError for other shapes and dtypes, and for images
    of 2^31 values or more.
    """
    enlarge = None if base is None else enlarge
    how = How(r, enlarge, float(gain), float(shift), str(out), clip, config)
    _check(x, w, b, base, how)
    return _tail(x, w, b, base, how)


def _check(x, w, b, base, how: How) -> None:
    (n, h, width, c), r = x.shape, how.r
    if r < 1 or w.shape[2:] != (c, 3 * r * r) or w.shape[0] != w.shape[1] or w.shape[0] % 2 == 0:
        expected = f"[k, k, {c}, {3 * r * r}] with k odd"
        raise RefusedError(f"tail: weights are {list(w.shape)}, not {expected}; use impl='xla'")
    if b.shape != (3 * r * r,):
        raise RefusedError(f"tail: the bias is {list(b.shape)}; give [{3 * r * r}]")
    if how.out not in OUTS or str(x.dtype) not in OUTS[1:] or w.dtype != x.dtype:
        kinds = f"{x.dtype} by {w.dtype} to {how.out}"
        raise RefusedError(f"tail: {kinds}; use one of {', '.join(OUTS[1:])} for both inputs")
    if max(c, 3 * r * r) * h * width >= LIMIT:
        raise RefusedError("tail: an image has 2^31 values or more; use tiles or impl='xla'")
    if base is None:
        return
    grown = r if how.enlarge == "given" else 1
    if how.enlarge not in enlarging.METHODS or base.shape != (n, h * grown, width * grown, 3):
        ways = ", ".join(enlarging.METHODS)
        wrong = f"enlarge {how.enlarge!r} of a base {list(base.shape)}"
        raise RefusedError(f"tail: {wrong}; choose one of {ways}, for the shape that it takes")
    if str(base.dtype) not in OUTS[1:]:
        raise RefusedError(f"tail: the base is {base.dtype}; give a float")


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _tail(x, w, b, base, how: How):
    return _forward(x, w, b, base, how)


def _save(x, w, b, base, how):
    return _forward(x, w, b, base, how), (x, w, b, base)


def _gradient(how: How, saved, g):
    if how.out == "uint8":
        return jax.tree.map(jnp.zeros_like, saved)
    plain = lambda x, w, b, base: _finished(_conv(x, w), b, base, how)
    return jax.vjp(plain, *saved)[1](g)


_tail.defvjp(_save, _gradient)


def _forward(x, w, b, base, how: How):
    (n, h, width, c), k, r = x.shape, w.shape[0], how.r
    arrays = [x, w, b] if base is None else [x, w, b, base]
    name = f"tail k{k} r{r} {how.enlarge} {how.out}"
    choices = configs(x.shape, str(x.dtype), k=k, r=r)
    chosen = how.config or pick(name, arrays, choices)
    free = dict(chosen.constants)
    py, px, th, tw = (free[name] for name in ("PY", "PX", "TH", "TW"))
    columns = _columns(py * px, r)
    source = [None, "given", "nearest"].index(how.enlarge) if how.enlarge in SIMPLE else MIXED
    mix, sizes = _mix(base, how, (py, px), columns) if source == MIXED else (b, NO_MIX)
    weights = w if py * px == 1 else packed(w, r, (py, px), columns)
    tiles = n * cdiv(cdiv(h, py), th) * cdiv(cdiv(width, px), tw)
    shape = jax.ShapeDtypeStruct((n, h * r, width * r, 3), how.out)
    return launch(
        _kernel, (tiles,), shape, x, weights, b, b if base is None else base, mix,
        warps=chosen.warps, stages=chosen.stages, H=h, W=width, C=c, KS=k, R=r, BN=columns,
        FROM=source, GAIN=how.gain, SHIFT=how.shift, F32=INTERPRETED,
        CLIP=how.clip or how.out == "uint8", BYTES=how.out == "uint8",
        **free, **sizes,
    )  # fmt: skip


SIMPLE = (None, "given", "nearest")
NO_MIX = {"REACH": 0, "PARTS": 0, "BR": 16}


def _mix(base, how: How, patch: tuple[int, int], columns: int):
    """The constants that enlarge the base, and their sizes."""
    reach = enlarging.REACH[how.enlarge]
    rows = power_of_2(max(16, 3 * (patch[1] + 2 * reach)))
    mix = enlarging.matrix(how.r, how.enlarge, patch, (rows, columns), str(base.dtype))
    return jnp.asarray(mix), {"REACH": reach, "PARTS": mix.shape[0], "BR": rows}


def _columns(pixels: int, r: int) -> int:
    return max(16, power_of_2(3 * pixels * r * r))


def packed(w: jax.Array, r: int, patch: tuple[int, int], columns: int) -> jax.Array:
    """Weights [k, k, C, 3 * r * r] for patches of PY x PX pixels, [(PY+k-1) (PX+k-1) C, columns].

    A pixel's taps lie where its window lies in the patch's; columns are the patch's output, row
    by row, and zeros after it.
    """
    (py, px), (k, _, c, _) = patch, w.shape
    taps = w.reshape(k, k, c, 3, r, r)
    each = [
        [jnp.pad(taps, ((i, py - 1 - i), (j, px - 1 - j), *[(0, 0)] * 4)) for j in range(px)]
        for i in range(py)
    ]
    whole = jnp.stack([jnp.stack(row) for row in each])  # [py, px, u, v, c, colour, i, j]
    flat = whole.transpose(2, 3, 4, 0, 6, 1, 7, 5).reshape(-1, 3 * py * px * r * r)
    return jnp.pad(flat, ((0, 0), (0, columns - flat.shape[1])))


def configs(shape, dtype: str, *, k: int = 3, r: int = 2) -> tuple[Config, ...]:
    """Patches that read less first, and weights as rows where they fill 64; float32: small tiles.

    Taps through the L1 cache (one stage) come before copies past it.
    """
    wide = dtype == "float32"
    chunk = min(32 if wide else 64, power_of_2(max(16, shape[3])))
    result = []
    for py, px in PATCHES.get(r, ((1, 1),)) if k > 1 else ((1, 1),):
        sizes = {"PY": py, "PX": px, "BC": chunk, "TW": 8 if wide else 16}
        if wide:
            result.append(config(**sizes, SWAP=0, TH=4))
            continue
        columns = _columns(py * px, r)
        turns = (1, 0) if columns >= 64 else (0,)
        tiles = ((8, 4, 1), (16, 8, 1), (8, 4, 3)) if columns <= 64 else ((8, 8, 1), (8, 8, 3))
        for th, warps, stages in tiles:
            result += [config(warps, stages, **sizes, SWAP=swap, TH=th) for swap in turns]
    return tuple(result)


# By r: 48 or 64 columns first, then 96 where registers suffice. One pixel has no window to share.
PATCHES = {1: ((4, 4), (2, 4), (1, 1)), 2: ((2, 2), (2, 4), (1, 1)), 3: ((1, 2), (1, 1))}


def _example(key, shape: Shape, dtype: str, *, k: int, r: int, enlarge: str | None):
    """Features, weights small enough that few sums are clipped, and a base in [0, 1]."""
    c, keys = shape[-1], jax.random.split(key, 4)
    arrays = [
        jax.random.normal(keys[0], shape),
        jax.random.normal(keys[1], (k, k, c, 3 * r * r)) * 0.1 / (k * c**0.5),
        0.1 * jax.random.normal(keys[2], (3 * r * r,)) + (0.5 if enlarge is None else 0.0),
    ]
    if enlarge is not None:
        arrays.append(jax.random.uniform(keys[3], (*shape[:3], 3)))
    return tuple(array.astype(dtype) for array in arrays)


def _flops(shape: Shape, *, k: int, r: int) -> float:
    return 6.0 * (k * r) ** 2 * shape[0] * shape[1] * shape[2] * shape[3]


def _least(shape: Shape, size: int, *, k: int, r: int, enlarge: str | None) -> float:
    n, h, w, c = shape
    read = c + (0 if enlarge is None else 3)
    return float(n * h * w * (read * size + 3 * r * r) + 3 * (k * r) ** 2 * c * size)


def _op(name: str, k: int, r: int, enlarge: str | None, shapes: dict[str, Shape]) -> Op:
    """An operation of the bench; its results are bytes, a few of which are one level off."""
    told = {"r": r, "enlarge": enlarge, "out": "uint8"}
    ours = lambda x, w, b, base=None, config=None: tail(x, w, b, base, config=config, **told)
    plain = lambda x, w, b, base=None: definition(x, w, b, base, **told)

    def padded(x, w, b, base=None):
        """XLA pads channels to multiples of 8 by itself, but only in float16."""
        k = w.shape[3]
        y = _conv(x, jnp.pad(w, ((0, 0), (0, 0), (0, 0), (0, -k % 8))))[..., :k]
        return _finished(y, b, base, How(r, enlarge, 1.0, 0.0, "uint8"))

    return Op(
        name=name,
        ours=ours,
        definition=plain,
        example=partial(_example, k=k, r=r, enlarge=enlarge),
        flops=partial(_flops, k=k, r=r),
        bytes=partial(_least, k=k, r=r, enlarge=enlarge),
        configs=partial(configs, k=k, r=r),
        small=((1, 3, 9, 16), (2, 5, 4, 7)) if k < 9 else ((1, 3, 5, 16),),
        shapes=shapes,
        tolerance={"float32": 2e-3, "float16": 2e-3, "bfloat16": 2e-3},
        baselines={"padded": padded},
    )


def _frames(c: int, **sizes: tuple[int, int]) -> dict[str, Shape]:
    return {name: (1, h, w, c) for name, (h, w) in sizes.items()}


MIDDLE = {"540p": (540, 960), "720p": (720, 1280), "1080p": (1080, 1920)}
OPS = (
    _op("tail", 3, 2, "bicubic", _frames(64, **MIDDLE)),
    _op("tail_x4", 3, 4, "nearest", _frames(64, **{"270p": (270, 480), **MIDDLE})),
    _op("tail_x1", 3, 1, None, _frames(64, **MIDDLE)),
    _op("tail_1x1", 1, 2, "bicubic", _frames(32, **MIDDLE)),
    _op("tail_9x9", 9, 1, None, _frames(64, **MIDDLE)),
)
