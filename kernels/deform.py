"""Modulated deformable 3x3 convolution (DCNv2), sampling and product in one kernel; gradients too.

Library code samples nine copies of the input into memory, 18 C bytes a pixel in 16 bit, and reads
them back for a matrix product. Here a program samples a tile's pixels tap by tap in registers and
multiplies at once; what moves is x, the offsets, the mask and the result. Each thread reads 16
bytes of a deformable group's channels at a corner, and L1 serves the corners' overlap. The
gradients sample anew: of x by float32 atomics, in an order that is not fixed, of the weights by
sums over stretches of tiles. The speed was not measured yet.

Zhu et al. 2019, "Deformable ConvNets v2". Offsets and masks are ordered as in torchvision's
`deform_conv2d`, with channels last.
"""

from functools import partial

import jax
import jax.numpy as jnp

from kernels.launch import RefusedError, cdiv, launch  # isort: skip  (before triton)
import triton
import triton.language as tl

from kernels.deform_gradient import gradients
from kernels.deform_taps import places, sample, settings, weights
from kernels.op import FLOATS, Config, Op, Shape, config
from kernels.tuning import pick
from kernels.warp import locate, smooth

LIMIT = 2**31  # values of one image: offsets inside an image have 32 bits


def definition(x, offsets, mask, w, b=None):
    """[N, H, W, K] in plain JAX, for x [N, H, W, C] and w [3, 3, C, K].

    Tap t of pixel p sees x at p + t + offsets(p, group, t), bilinear and zero outside, times
    mask(p, group, t): offsets [N, H, W, g * 9 * 2] as (dy, dx), mask [N, H, W, g * 9].
    """
    n, h, wide, c = x.shape
    groups = mask.shape[-1] // 9
    exact = jnp.promote_types(x.dtype, "float32")
    offsets = offsets.reshape(n, h, wide, groups, 9, 2).astype(exact)
    mask = mask.reshape(n, h, wide, groups, 9).astype(exact)
    image = x.reshape(n, h, wide, groups, c // groups).astype(exact)
    total = 0 if b is None else b.astype(exact)
    for tap in range(9):
        row = jnp.arange(h)[:, None, None] + tap // 3 - 1 + offsets[..., tap, 0]
        column = jnp.arange(wide)[:, None] + tap % 3 - 1 + offsets[..., tap, 1]
        seen = _sample(image, row, column) * mask[..., tap, None]
        seen, part = seen.reshape(x.shape).astype(x.dtype), w[tap // 3, tap % 3].astype(x.dtype)
        total = total + jnp.matmul(seen, part, preferred_element_type=exact)
    return total.astype(x.dtype)


def _sample(image, row, column):
    """image [N, H, W, G, C] at (row, column) [N, H, W, G]: bilinear, zero outside."""
    n, h, w, groups, _ = image.shape
    top, fy = _before(row, h)
    left, fx = _before(column, w)
    at_n, at_g = jnp.arange(n)[:, None, None, None], jnp.arange(groups)

    def corner(y, x, weight):
        inside = (y >= 0) & (y < h) & (x >= 0) & (x < w)
        value = image[at_n, jnp.clip(y, 0, h - 1), jnp.clip(x, 0, w - 1), at_g]
        return value * jnp.where(inside, weight, 0)[..., None]

    upper = corner(top, left, (1 - fy) * (1 - fx)) + corner(top, left + 1, (1 - fy) * fx)
    lower = corner(top + 1, left, fy * (1 - fx)) + corner(top + 1, left + 1, fy * fx)
    return upper + lower


def _before(at, length: int):
    """The pixel before each position, and how far behind it that is; -1 and 0 if out of reach."""
    inside = (at > -1) & (at < length)
    at = jnp.where(inside, at, -1.0)
    before = jnp.floor(jax.lax.stop_gradient(at)).astype(jnp.int32)
    return before, at - before


@triton.jit
def _forward_kernel(x, offsets, mask, w, b, out,
                    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
                    GROUPS: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
                    BLOCK_G: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_K: tl.constexpr,
                    F32: tl.constexpr):  # fmt: skip
    """A tile of pixels, BLOCK_K outputs: for each tap, sampled channels times their weights."""
    image, row, column, live = locate(tl.program_id(0), H, W, TILE_H, TILE_W)
    x += image * (H * W * C)
    offsets += image * (H * W * GROUPS * 18)
    mask += image * (H * W * GROUPS * 9)
    k = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    total = tl.zeros([TILE_H * TILE_W, BLOCK_K], tl.float32)
    for tap in range(9):
        for first_group in tl.static_range(0, GROUPS, BLOCK_G):
            group = first_group + tl.arange(0, BLOCK_G)
            y, z, m, _, _ = places(offsets, mask, row, column, live, group, tap, H, W, GROUPS)
            for first in tl.static_range(0, C // GROUPS, BLOCK_C):
                inner = first + tl.arange(0, BLOCK_C)[None, :]
                there = (group < GROUPS)[:, None] & (inner < C // GROUPS)
                c = group[:, None] * (C // GROUPS) + inner
                seen = sample(x, y, z, m, c, there, W, C).to(x.dtype.element_ty)
                seen = tl.reshape(seen, [TILE_H * TILE_W, BLOCK_G * BLOCK_C])
                at, exists = weights(w, tap, first_group, first, k, C, K, GROUPS, BLOCK_G, BLOCK_C)
                part = tl.load(at, mask=exists, other=0)
                if F32:
                    seen, part = seen.to(tl.float32), part.to(tl.float32)
                total = tl.dot(seen, part, total, input_precision="ieee")
    total += tl.load(b + k, mask=k < K, other=0).to(tl.float32)[None, :]
    to = out + image * (H * W * K) + ((row * W + column)[:, None] * K + k[None, :])
    tl.store(to, total.to(out.dtype.element_ty), mask=live[:, None] & (k < K)[None, :])


def configs(shape: Shape, dtype: str) -> tuple[Config, ...]:
    """Tiles of pixels, and how many channels, CHANNELS, are sampled at once."""
    if dtype == "float32":  # no tensor cores: small products, so that they stay in registers
        return tuple(config(4, TILE_H=high, TILE_W=8, CHANNELS=16) for high in (4, 2))
    tiles = ((8, 8, 64, 4), (8, 8, 32, 4), (8, 16, 64, 8), (4, 8, 64, 4), (8, 16, 32, 8))
    return tuple(config(w, TILE_H=h, TILE_W=v, CHANNELS=c) for h, v, c, w in tiles)


def deform3x3(x, offsets, mask, w, b=None, *, config: Config | None = None):
    """`definition` as a Triton kernel: x [N, H, W, C] and w [3, 3, C, K] to [N, H, W, K].

    offsets [N, H, W, g * 9 * 2], mask [N, H, W, g * 9]; float16, bfloat16 or float32, each array
    its own. The result has the dtype of x, to which w is brought, too. All gradients are kernels.
    Raises RefusedError for other dtypes, shapes that do not belong together, and images of 2**31
    values or more.
    """
    _check(x, offsets, mask, w, b)
    b = jnp.zeros(w.shape[-1], x.dtype) if b is None else b
    arrays = (x, offsets, mask, w.astype(x.dtype), b)
    choices = configs(x.shape, x.dtype.name)
    return _deform(*arrays, config or pick("deform3x3", arrays, choices))


def _check(x, offsets, mask, w, b):
    groups = max(1, mask.shape[-1] // 9)
    fits = mask.shape == (*x.shape[:3], groups * 9) and offsets.shape == (*x.shape[:3], groups * 18)
    fits &= w.shape[:-1] == (3, 3, x.shape[-1]) and x.ndim == 4 and x.shape[-1] % groups == 0
    if not fits or not x.size or (b is not None and b.shape != w.shape[-1:]):
        shapes = ", ".join(str(a.shape) for a in (x, offsets, mask, w, b) if a is not None)
        wanted = "[N,H,W,C], [N,H,W,g*18], [N,H,W,g*9], [3,3,C,K], [K]"
        raise RefusedError(f"deform3x3: {shapes} do not fit; give {wanted}")
    for array in (x, offsets, mask, w):
        if array.dtype.name not in FLOATS:
            raise RefusedError(f"deform3x3: no kernel for {array.dtype.name}; use impl='xla'")
    if x.shape[1] * x.shape[2] * max(x.shape[3], w.shape[3], groups * 18) >= LIMIT:
        raise RefusedError(f"deform3x3: images of {x.shape[1:]} are too large; use impl='xla'")


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def _deform(x, offsets, mask, w, b, config: Config):
    tiles, constants = settings(x, mask, w, config)
    grid = tiles, cdiv(w.shape[-1], constants["BLOCK_K"])
    out = jax.ShapeDtypeStruct((*x.shape[:3], w.shape[-1]), x.dtype)
    return launch(_forward_kernel, grid, out, x, offsets, mask, w, b, **constants)


def _save(x, offsets, mask, w, b, config):
    return _deform(x, offsets, mask, w, b, config), (x, offsets, mask, w, b)


def _gradient(config, saved, g):
    *arrays, b = saved
    db = g.astype(jnp.float32).sum((0, 1, 2)).astype(b.dtype)
    return *gradients(g, *arrays, config), db


_deform.defvjp(_save, _gradient)


def _example(key, shape: Shape, dtype: str, groups: int):
    one, two, three, four = jax.random.split(key, 4)
    c = shape[-1]
    w = jax.random.normal(three, (3, 3, c, c)) / (9 * c) ** 0.5
    return (
        jax.random.normal(one, shape, dtype),
        smooth(two, (*shape[:3], groups * 18), 2.0).astype(dtype),
        jax.nn.sigmoid(smooth(four, (*shape[:3], groups * 9), 1.0)).astype(dtype),
        w.astype(dtype),
        jnp.linspace(-1, 1, c, dtype=dtype),
    )


def _op(name: str, groups: int, small: tuple[Shape, ...]) -> Op:
    pixels = lambda shape: shape[0] * shape[1] * shape[2]
    return Op(
        name=name,
        ours=deform3x3,
        definition=definition,
        example=partial(_example, groups=groups),
        flops=lambda shape: pixels(shape) * (18.0 * shape[3] ** 2 + 90.0 * shape[3]),
        bytes=lambda shape, size: 1.0 * size * pixels(shape) * (2 * shape[3] + 27 * groups),
        configs=configs,
        small=small,
        shapes={"540p": (1, 540, 960, 64), "270p": (1, 270, 480, 64)},
    )


OPS = (
    _op("deform3x3", 8, ((1, 5, 9, 16), (2, 3, 4, 24))),
    _op("deform3x3 one group", 1, ((1, 5, 9, 5),)),
)
