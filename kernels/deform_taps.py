"""What a tap of a deformable convolution sees, inside a kernel, and how its channels are blocked.

The kernels of `kernels.deform` and of its gradient share it.
"""

from kernels.launch import INTERPRETED, cdiv, power_of_2  # isort: skip  (before triton)
import triton
import triton.language as tl

from kernels.op import Config


def _blocks(c: int, k: int, groups: int, channels: int) -> dict[str, int]:
    """BLOCK_G deformable groups of BLOCK_C channels each, at least 16 together; BLOCK_K outputs."""
    block_c = min(power_of_2(c // groups), channels)
    block_g = min(power_of_2(groups), max(1, channels // block_c))
    block_c = max(block_c, 16 // block_g)
    return {"BLOCK_G": block_g, "BLOCK_C": block_c, "BLOCK_K": max(16, min(power_of_2(k), 128))}


def settings(x, mask, w, config: Config, most: int = 64) -> tuple[int, dict]:
    """How many tiles there are, and the constants of a kernel; `most` channels at once."""
    (n, h, wide, c), k, groups = x.shape, w.shape[-1], mask.shape[-1] // 9
    free = dict(config.constants)
    high, broad = free["TILE_H"], free["TILE_W"]
    constants = dict(H=h, W=wide, C=c, K=k, GROUPS=groups, TILE_H=high, TILE_W=broad)
    constants |= _blocks(c, k, groups, min(free["CHANNELS"], most))
    constants |= dict(F32=INTERPRETED, warps=config.warps)
    return n * cdiv(h, high) * cdiv(wide, broad), constants


@triton.jit
def ends(at, LENGTH: tl.constexpr):
    """The two pixels around each position, their weights, and the weights' slopes."""
    inside = (at > -1) & (at < LENGTH)
    at = tl.where(inside, at, -1.0)
    first = tl.floor(at)
    behind = at - first
    first = first.to(tl.int32)
    near, far = first >= 0, first + 1 < LENGTH
    y0, y1 = tl.where(near, 1 - behind, 0.0), tl.where(far, behind, 0.0)
    slope0, slope1 = tl.where(near & inside, -1.0, 0.0), tl.where(far & inside, 1.0, 0.0)
    return tl.maximum(first, 0), tl.minimum(first + 1, LENGTH - 1), y0, y1, slope0, slope1


@triton.jit
def places(offsets, mask, row, column, live, group, tap,
            H: tl.constexpr, W: tl.constexpr, GROUPS: tl.constexpr):  # fmt: skip
    """Where a tap of each pixel and group looks: rows, columns [pixels, groups], and its mask."""
    at = ((row * W + column) * GROUPS)[:, None] * 9 + group[None, :] * 9 + tap
    there = live[:, None] & (group < GROUPS)[None, :]
    m = tl.load(mask + at, mask=there, other=0).to(tl.float32)
    dy = tl.load(offsets + at * 2, mask=there, other=0).to(tl.float32)
    dx = tl.load(offsets + at * 2 + 1, mask=there, other=0).to(tl.float32)
    y = ends((row + tap // 3 - 1).to(tl.float32)[:, None] + dy, H)
    x = ends((column + tap % 3 - 1).to(tl.float32)[:, None] + dx, W)
    return y, x, m, at, there


@triton.jit
def corner(x, row, column, c, there, W: tl.constexpr, C: tl.constexpr):
    """x at (row, column) [pixels, groups] and channels c [groups, channels], in float32."""
    at = ((row * W + column) * C)[:, :, None] + c[None, :, :]
    return tl.load(x + at, mask=there[None, :, :], other=0).to(tl.float32)


@triton.jit
def sample(x, y, z, m, c, there, W: tl.constexpr, C: tl.constexpr):
    """What a tap sees, [pixels, groups, channels]: four corners, weighted, times the mask."""
    top, bottom, y0, y1, _, _ = y
    left, right, x0, x1, _, _ = z
    seen = corner(x, top, left, c, there, W, C) * (y0 * x0 * m)[:, :, None]
    seen += corner(x, top, right, c, there, W, C) * (y0 * x1 * m)[:, :, None]
    seen += corner(x, bottom, left, c, there, W, C) * (y1 * x0 * m)[:, :, None]
    return seen + corner(x, bottom, right, c, there, W, C) * (y1 * x1 * m)[:, :, None]


@triton.jit
def weights(w, tap, first_group, first, k, C: tl.constexpr, K: tl.constexpr,
             GROUPS: tl.constexpr, BLOCK_G: tl.constexpr, BLOCK_C: tl.constexpr):  # fmt: skip
    """Places in w [9 * C, K] of one tap, BLOCK_G * BLOCK_C channels, outputs k; which exist."""
    j = tl.arange(0, BLOCK_G * BLOCK_C)
    group, inner = first_group + j // BLOCK_C, first + j % BLOCK_C
    channel = tap * C + group * (C // GROUPS) + inner
    there = ((group < GROUPS) & (inner < C // GROUPS))[:, None] & (k < K)[None, :]
    return w + channel[:, None] * K + k[None, :], there
