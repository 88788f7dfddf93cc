"""Correlation of two feature maps over displacements, FlowNet's cost volume, and its gradient.

(2r+1)^2 shifted products re-read both maps for every displacement. Here the 8x8 pixels of a tile
meet their whole neighbourhood in one matrix product: [64, C] by [C, 16x16] for radii up to 4. Of
its columns 81 of 256 are wanted at radius 4, and the tensor cores are fast enough for the rest:
17 GFLOP at 540p with 64 channels, against 11 GFLOP that no tensor core can do otherwise. Each
map is read about once, and only what was asked for is written. The gradient is the same product
with the roles exchanged: the band is gathered from the result's gradient. Not measured yet.

Dosovitskiy et al. 2015, "FlowNet"; the mean over channels and zeros outside are as in PWC-Net
(Sun et al. 2018).
"""

from functools import partial

import jax
import jax.numpy as jnp

from kernels.launch import INTERPRETED, RefusedError, cdiv, launch, power_of_2  # isort: skip
import triton
import triton.language as tl

from kernels.op import FLOATS, Config, Op, Shape, config
from kernels.tuning import pick

CHANNELS = 64  # at once; more are a loop
FARTHEST = 24  # radius; beyond it most of a product is thrown away
LIMIT = 2**31  # values of one image: offsets inside an image have 32 bits


def definition(a, b, radius: int):
    """[N, H, W, (2r+1)^2]: the mean over channels of a(x) * b(x + d), in plain JAX.

    d runs over rows, then columns, from -r to r; b is zero outside of its image.
    """
    exact = jnp.promote_types(jnp.promote_types(a.dtype, b.dtype), "float32")
    h, w, side = a.shape[1], a.shape[2], 2 * radius + 1
    wide = jnp.pad(b, ((0, 0), (radius, radius), (radius, radius), (0, 0))).astype(exact)
    products = [
        (a.astype(exact) * wide[:, dy : dy + h, dx : dx + w]).mean(-1)
        for dy in range(side)
        for dx in range(side)
    ]
    return jnp.stack(products, -1).astype(a.dtype)


@triton.jit
def _tile(H: tl.constexpr, W: tl.constexpr, SIDE: tl.constexpr):
    """The image of this program and the first row and column of its SIDE x SIDE pixels."""
    across: tl.constexpr = (W + SIDE - 1) // SIDE
    along: tl.constexpr = (H + SIDE - 1) // SIDE
    tile = tl.program_id(0)
    image = (tile // (across * along)).to(tl.int64)
    return image, tile // across % along * SIDE, tile % across * SIDE


@triton.jit
def _features(x, row, column, first, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr,
              BLOCK_C: tl.constexpr, F32: tl.constexpr):  # fmt: skip
    """x at (row, column), zero outside, [pixels, BLOCK_C] from channel `first` on."""
    c = first + tl.arange(0, BLOCK_C)[None, :]
    inside = (row >= 0) & (row < H) & (column >= 0) & (column < W)
    at = (row * W + column)[:, None] * C + c
    value = tl.load(x + at, mask=inside[:, None] & (c < C), other=0)
    return value.to(tl.float32) if F32 else value


@triton.jit
def _forward_kernel(a, b, out,
                    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, RADIUS: tl.constexpr,
                    SIDE: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr,
                    GROUPS: tl.constexpr, BLOCK_C: tl.constexpr, F32: tl.constexpr):  # fmt: skip
    """One program: SIDE x SIDE pixels of a, by GROUPS of ROWS x WIDE pixels of b around them.

    Pixels of b are the rows of the product: neighbours among them are neighbours in memory.
    """
    image, top, left = _tile(H, W, SIDE)
    span: tl.constexpr = 2 * RADIUS + 1
    p = tl.arange(0, SIDE * SIDE)
    row, column = top + p // SIDE, left + p % SIDE
    live = (row < H) & (column < W)
    q = tl.arange(0, ROWS * WIDE)
    a += image * (H * W * C)
    b += image * (H * W * C)
    out += image * (H * W * span * span)
    for group in range(GROUPS):
        far_row, far_column = top + group * ROWS + q // WIDE - RADIUS, left + q % WIDE - RADIUS
        products = tl.zeros([ROWS * WIDE, SIDE * SIDE], tl.float32)
        for first in tl.static_range(0, C, BLOCK_C):
            near = _features(a, row, column, first, H, W, C, BLOCK_C, F32)
            far = _features(b, far_row, far_column, first, H, W, C, BLOCK_C, F32)
            products = tl.dot(far, tl.trans(near), products, input_precision="ieee")
        dy = far_row[:, None] - row[None, :] + RADIUS
        dx = far_column[:, None] - column[None, :] + RADIUS
        wanted = (dy >= 0) & (dy < span) & (dx >= 0) & (dx < span) & live[None, :]
        at = (row * W + column)[None, :] * (span * span) + dy * span + dx
        tl.store(out + at, (products / C).to(out.dtype.element_ty), mask=wanted)


@triton.jit
def _backward_kernel(g, other, out,
                     H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, RADIUS: tl.constexpr,
                     SIDE: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr,
                     GROUPS: tl.constexpr, BLOCK_C: tl.constexpr, TURNED: tl.constexpr,
                     F32: tl.constexpr):  # fmt: skip
    """out(p) = the sum over q near p of g(p, q - p) * other(q), or of g(q, p - q) if TURNED."""
    image, top, left = _tile(H, W, SIDE)
    span: tl.constexpr = 2 * RADIUS + 1
    p = tl.arange(0, SIDE * SIDE)
    row, column = top + p // SIDE, left + p % SIDE
    live = (row < H) & (column < W)
    q = tl.arange(0, ROWS * WIDE)
    first = tl.program_id(1) * BLOCK_C
    g += image * (H * W * span * span)
    other += image * (H * W * C)
    total = tl.zeros([SIDE * SIDE, BLOCK_C], tl.float32)
    for group in range(GROUPS):
        far_row, far_column = top + group * ROWS + q // WIDE - RADIUS, left + q % WIDE - RADIUS
        dy = far_row[None, :] - row[:, None] + RADIUS
        dx = far_column[None, :] - column[:, None] + RADIUS
        inside = (far_row >= 0) & (far_row < H) & (far_column >= 0) & (far_column < W)
        wanted = (dy >= 0) & (dy < span) & (dx >= 0) & (dx < span)
        if TURNED:
            at = (far_row * W + far_column)[None, :] * (span * span)
            at += (span - 1 - dy) * span + span - 1 - dx
        else:
            at = (row * W + column)[:, None] * (span * span) + dy * span + dx
        band = tl.load(g + at, mask=wanted & inside[None, :] & live[:, None], other=0)
        band = band.to(tl.float32) if F32 else band
        far = _features(other, far_row, far_column, first, H, W, C, BLOCK_C, F32)
        total = tl.dot(band, far, total, input_precision="ieee")
    c = first + tl.arange(0, BLOCK_C)[None, :]
    to = out + image * (H * W * C) + ((row * W + column)[:, None] * C + c)
    tl.store(to, (total / C).to(out.dtype.element_ty), mask=live[:, None] & (c < C))


def configs(shape: Shape, dtype: str) -> tuple[Config, ...]:
    """Tiles of 8x8 pixels, and how many of their neighbours, PIXELS, are met at once."""
    block = max(16, min(power_of_2(shape[3]), CHANNELS))
    if dtype == "float32":  # no tensor cores: small tiles, so that products stay in registers
        return tuple(
            config(warps, SIDE=4, PIXELS=pixels, BLOCK_C=min(block, 32))
            for pixels, warps in ((64, 4), (128, 4))
        )
    return tuple(
        config(warps, SIDE=8, PIXELS=pixels, BLOCK_C=block)
        for pixels, warps in ((256, 8), (64, 4), (128, 4), (256, 4), (128, 8))
    )


def correlation(a, b, radius: int, *, config: Config | None = None):
    """`definition` as a Triton kernel: a and b [N, H, W, C] to [N, H, W, (2 * radius + 1)^2].

    float16, bfloat16 or float32, one dtype for all. Both gradients are kernels too. Raises
    RefusedError for other dtypes, maps that differ in shape, radii over 24, and images or results
    of 2**31 values or more.
    """
    _check(a, b, radius)
    choices = configs(a.shape, a.dtype.name)
    return _correlation(a, b, radius, config or pick("correlation", (a, b, radius), choices))


def _check(a, b, radius: int):
    if a.shape != b.shape or a.dtype != b.dtype or a.ndim != 4 or not a.size:
        raise RefusedError(
            f"correlation: {a.shape} {a.dtype} and {b.shape} {b.dtype}; give two alike [N, H, W, C]"
        )
    if a.dtype.name not in FLOATS:
        raise RefusedError(f"correlation: no kernel for {a.dtype.name}; use impl='xla'")
    if not 0 <= radius <= FARTHEST:
        raise RefusedError(f"correlation: radius {radius} not in 0..{FARTHEST}; use impl='xla'")
    _, h, w, c = a.shape
    if h * w * max(c, (2 * radius + 1) ** 2) >= LIMIT:
        raise RefusedError(f"correlation: images of {h}x{w}x{c} are too large; use impl='xla'")


def _run(kernel, depth: int, *arrays, shape: Shape, radius: int, config: Config, **constants):
    """`kernel` over all tiles of maps of `shape`, to [N, H, W, depth]."""
    n, h, w, c = shape
    free = dict(config.constants)
    side, wide = free["SIDE"], power_of_2(free["SIDE"] + 2 * radius)
    backward = kernel is _backward_kernel
    rows = max(1, (64 if backward else free["PIXELS"]) // wide)
    constants |= dict(H=h, W=w, C=c, RADIUS=radius, SIDE=side, ROWS=rows, WIDE=wide)
    constants |= dict(GROUPS=cdiv(side + 2 * radius, rows), BLOCK_C=free["BLOCK_C"])
    grid = (n * cdiv(h, side) * cdiv(w, side), cdiv(c, free["BLOCK_C"]) if backward else 1)
    out = jax.ShapeDtypeStruct((n, h, w, depth), arrays[0].dtype)
    warps = 4 if backward else config.warps
    return launch(kernel, grid, out, *arrays, warps=warps, F32=INTERPRETED, **constants)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _correlation(a, b, radius: int, config: Config):
    settings = {"shape": a.shape, "radius": radius, "config": config}
    return _run(_forward_kernel, (2 * radius + 1) ** 2, a, b, **settings)


def _save(a, b, radius, config):
    return _correlation(a, b, radius, config), (a, b)


def _gradient(radius, config, saved, g):
    a, b = saved
    settings = {"shape": a.shape, "radius": radius, "config": config}
    c = a.shape[-1]
    da = _run(_backward_kernel, c, g, b, TURNED=False, **settings)
    return da, _run(_backward_kernel, c, g, a, TURNED=True, **settings)


_correlation.defvjp(_save, _gradient)


def _example(key, shape: Shape, dtype: str):
    one, two = jax.random.split(key)
    return jax.random.normal(one, shape, dtype), jax.random.normal(two, shape, dtype)


def _by_rows(a, b, radius: int):
    """Each row of displacements as products of [W, C] and [C, W + 2r], whose band is taken."""
    h, w, side = a.shape[1], a.shape[2], 2 * radius + 1
    wide = jnp.pad(b, ((0, 0), (radius, radius), (radius, radius), (0, 0)))
    near = jnp.arange(w)[:, None] + jnp.arange(side)

    def row(_, dy):
        rows = jax.lax.dynamic_slice_in_dim(wide, dy, h, 1)
        whole = jnp.einsum("nhwc,nhvc->nhwv", a, rows, preferred_element_type=jnp.float32)
        return None, jnp.take_along_axis(whole, near[None, None], 3) / a.shape[-1]

    rows = jax.lax.scan(row, None, jnp.arange(side))[1]
    return jnp.moveaxis(rows, 0, 3).reshape(*a.shape[:3], side**2).astype(a.dtype)


def _op(radius: int) -> Op:
    span = (2 * radius + 1) ** 2
    pixels = lambda shape: shape[0] * shape[1] * shape[2]
    return Op(
        name="correlation",
        ours=partial(correlation, radius=radius),
        definition=partial(definition, radius=radius),
        example=_example,
        flops=lambda shape: 2.0 * span * shape[3] * pixels(shape),
        bytes=lambda shape, size: 1.0 * (2 * shape[3] + span) * size * pixels(shape),
        configs=configs,
        small=((2, 7, 9, 5), (1, 3, 17, 70)),
        shapes={"540p": (1, 540, 960, 64), "270p": (1, 270, 480, 64)},
        baselines={"rows": partial(_by_rows, radius=radius)},
    )


OPS = (_op(4),)
