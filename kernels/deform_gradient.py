"""The gradients of the deformable convolution of `kernels.deform`, as two kernels.

One takes the gradient of what every tap saw, and from it those of x, the offsets and the mask;
the other samples anew for that of the weights. Both add into float32 atomically.
"""

import jax
import jax.numpy as jnp

from kernels.launch import cdiv, launch  # isort: skip  (before triton)
import triton
import triton.language as tl

from kernels.deform_taps import corner, places, sample, settings, weights
from kernels.op import Config
from kernels.warp import locate

CHANNELS = 16  # at once where four corners are read and added to: more take too many registers
STRETCHES = 64  # of tiles, for each of which a program sums the gradient of a tap's weights


@triton.jit
def _add(to, row, column, c, value, mask, W: tl.constexpr, C: tl.constexpr):
    """Adds to (row, column) [pixels, groups] and channels c what `value` says, atomically."""
    at = ((row * W + column) * C)[:, :, None] + c[None, :, :]
    tl.atomic_add(to + at, value, mask=mask, sem="relaxed")


@triton.jit
def _backward_kernel(g, x, offsets, mask, w, zeros, dx, doffsets, dmask,
                     H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
                     GROUPS: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
                     BLOCK_G: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_K: tl.constexpr,
                     F32: tl.constexpr):  # fmt: skip
    """A tile's gradients of the mask and the offsets, and its share of those of x.

    All follow from the gradient of what a tap saw, g times the weights: summed over channels
    with each of the four corners it gives the mask's and the offsets', and scattered x's.
    """
    image, row, column, live = locate(tl.program_id(0), H, W, TILE_H, TILE_W)
    g += image * (H * W * K)
    x += image * (H * W * C)
    dx += image * (H * W * C)
    offsets += image * (H * W * GROUPS * 18)
    doffsets += image * (H * W * GROUPS * 18)
    mask += image * (H * W * GROUPS * 9)
    dmask += image * (H * W * GROUPS * 9)
    for tap in range(9):
        for first_group in tl.static_range(0, GROUPS, BLOCK_G):
            group = first_group + tl.arange(0, BLOCK_G)
            y, z, m, at_mask, exists = places(
                offsets, mask, row, column, live, group, tap, H, W, GROUPS
            )
            top, bottom, y0, y1, up, down = y
            left, right, x0, x1, back, forth = z
            a, b, d, e = m * 0, m * 0, m * 0, m * 0
            for first in tl.static_range(0, C // GROUPS, BLOCK_C):
                slope = _slope(g, w, row, column, live, tap, first_group, first, W, C, K, GROUPS,
                               BLOCK_G, BLOCK_C, BLOCK_K, TILE_H * TILE_W, F32)  # fmt: skip
                inner = first + tl.arange(0, BLOCK_C)[None, :]
                there = (group < GROUPS)[:, None] & (inner < C // GROUPS)
                c = group[:, None] * (C // GROUPS) + inner
                a += tl.sum(corner(x, top, left, c, there, W, C) * slope, 2)
                b += tl.sum(corner(x, top, right, c, there, W, C) * slope, 2)
                d += tl.sum(corner(x, bottom, left, c, there, W, C) * slope, 2)
                e += tl.sum(corner(x, bottom, right, c, there, W, C) * slope, 2)
                add = exists[:, :, None] & there[None, :, :]
                _add(dx, top, left, c, slope * (m * y0 * x0)[:, :, None], add, W, C)
                _add(dx, top, right, c, slope * (m * y0 * x1)[:, :, None], add, W, C)
                _add(dx, bottom, left, c, slope * (m * y1 * x0)[:, :, None], add, W, C)
                _add(dx, bottom, right, c, slope * (m * y1 * x1)[:, :, None], add, W, C)
            dm = y0 * (x0 * a + x1 * b) + y1 * (x0 * d + x1 * e)
            dy = m * (up * (x0 * a + x1 * b) + down * (x0 * d + x1 * e))
            dz = m * (back * (y0 * a + y1 * d) + forth * (y0 * b + y1 * e))
            tl.store(dmask + at_mask, dm.to(dmask.dtype.element_ty), mask=exists)
            tl.store(doffsets + at_mask * 2, dy.to(doffsets.dtype.element_ty), mask=exists)
            tl.store(doffsets + at_mask * 2 + 1, dz.to(doffsets.dtype.element_ty), mask=exists)


@triton.jit
def _slope(g, w, row, column, live, tap, first_group, first, W: tl.constexpr, C: tl.constexpr,
           K: tl.constexpr, GROUPS: tl.constexpr, BLOCK_G: tl.constexpr, BLOCK_C: tl.constexpr,
           BLOCK_K: tl.constexpr, PIXELS: tl.constexpr, F32: tl.constexpr):  # fmt: skip
    """The gradient of what a tap saw, [pixels, groups, channels]: g times weights, over outputs."""
    total = tl.zeros([PIXELS, BLOCK_G * BLOCK_C], tl.float32)
    for first_k in tl.static_range(0, K, BLOCK_K):
        k = first_k + tl.arange(0, BLOCK_K)
        at, there = weights(w, tap, first_group, first, k, C, K, GROUPS, BLOCK_G, BLOCK_C)
        part = tl.load(at, mask=there, other=0)
        source = g + (row * W + column)[:, None] * K + k[None, :]
        value = tl.load(source, mask=live[:, None] & (k < K)[None, :], other=0)
        if F32:
            value, part = value.to(tl.float32), part.to(tl.float32)
        total = tl.dot(value, tl.trans(part), total, input_precision="ieee")
    return tl.reshape(total, [PIXELS, BLOCK_G, BLOCK_C])


@triton.jit
def _weights_kernel(g, x, offsets, mask, zeros, dw,
                    TILES: tl.constexpr, EACH: tl.constexpr,
                    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
                    GROUPS: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
                    BLOCK_G: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_K: tl.constexpr,
                    F32: tl.constexpr):  # fmt: skip
    """A tap's gradient of a block of weights over EACH tiles: what it saw, transposed, times g."""
    chunks: tl.constexpr = (C // GROUPS + BLOCK_C - 1) // BLOCK_C
    blocks: tl.constexpr = (GROUPS + BLOCK_G - 1) // BLOCK_G * chunks
    tap, block = tl.program_id(1) // blocks, tl.program_id(1) % blocks
    first_group, first = block // chunks * BLOCK_G, block % chunks * BLOCK_C
    k = tl.program_id(2) * BLOCK_K + tl.arange(0, BLOCK_K)
    group, inner = first_group + tl.arange(0, BLOCK_G), first + tl.arange(0, BLOCK_C)[None, :]
    there = (group < GROUPS)[:, None] & (inner < C // GROUPS)
    c = group[:, None] * (C // GROUPS) + inner
    total = tl.zeros([BLOCK_G * BLOCK_C, BLOCK_K], tl.float32)
    for i in range(EACH):
        tile = tl.program_id(0) * EACH + i
        image, row, column, live = locate(tile, H, W, TILE_H, TILE_W)
        live = live & (tile < TILES)
        image = tl.where(tile < TILES, image, 0)
        y, z, m, _, _ = places(offsets + image * (H * W * GROUPS * 18),
                                mask + image * (H * W * GROUPS * 9),
                                row, column, live, group, tap, H, W, GROUPS)  # fmt: skip
        seen = sample(x + image * (H * W * C), y, z, m, c, there, W, C).to(x.dtype.element_ty)
        seen = tl.reshape(seen, [TILE_H * TILE_W, BLOCK_G * BLOCK_C])
        source = g + image * (H * W * K) + ((row * W + column)[:, None] * K + k[None, :])
        value = tl.load(source, mask=live[:, None] & (k < K)[None, :], other=0)
        if F32:
            seen, value = seen.to(tl.float32), value.to(tl.float32)
        total = tl.dot(tl.trans(seen), value, total, input_precision="ieee")
    at, exists = weights(dw, tap, first_group, first, k, C, K, GROUPS, BLOCK_G, BLOCK_C)
    tl.atomic_add(at, total, mask=exists, sem="relaxed")


def gradients(g, x, offsets, mask, w, config: Config):
    """Those of x, offsets, mask and w, each in its dtype, for the result's gradient `g`."""
    tiles, constants = settings(x, mask, w, config, most=CHANNELS)
    outs = jax.ShapeDtypeStruct(x.shape, jnp.float32), _like(offsets), _like(mask)
    arrays = g, x, offsets, mask, w, jnp.zeros(x.shape, jnp.float32)
    aliases = {5: 0}
    dx, *rest = launch(_backward_kernel, (tiles,), outs, *arrays, aliases=aliases, **constants)
    _, constants = settings(x, mask, w, config)
    each = cdiv(tiles, STRETCHES)
    size, groups = constants["BLOCK_C"], constants["GROUPS"]
    blocks = cdiv(groups, constants["BLOCK_G"]) * cdiv(x.shape[-1] // groups, size)
    grid = cdiv(tiles, each), 9 * blocks, cdiv(w.shape[-1], constants["BLOCK_K"])
    out = jax.ShapeDtypeStruct(w.shape, jnp.float32)
    arrays = g, x, offsets, mask, jnp.zeros(w.shape, jnp.float32)
    constants |= {"aliases": {4: 0}, "TILES": tiles, "EACH": each}
    dw = launch(_weights_kernel, grid, out, *arrays, **constants)
    return dx.astype(x.dtype), *rest, dw.astype(w.dtype)


def _like(array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)
