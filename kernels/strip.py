"""The kernels of `separable`: a depthwise 3x3 convolution alone, or with a pointwise one behind it.

`strip_kernel` walks down `ROWS` rows of `BW` columns. It reads each input row three times, shifted
by -1, 0 and 1 pixel, uses it for the three output rows that it belongs to, and asks for the next
row before it computes: (3 + 6 / ROWS) reads a pixel, all but one of them from the first level
cache. `square_kernel` makes TH x TW pixels, with nine reads each, for any number of channels.
"""

from kernels.launch import INTERPRETED  # noqa: F401  (must come before triton)  # isort: skip
import triton
import triton.language as tl

from kernels.epilogue import bend, finish, vector


@triton.jit
def strip_kernel(x, dw, db, pw, pb, bends, slope, first, second, y,
                 H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
                 POINTWISE: tl.constexpr, MIDDLE: tl.constexpr, BENT: tl.constexpr,
                 ROWS: tl.constexpr, BW: tl.constexpr, BC: tl.constexpr, BK: tl.constexpr,
                 DB: tl.constexpr, PB: tl.constexpr, ACTIVATION: tl.constexpr,
                 SLOPE: tl.constexpr, SCALE: tl.constexpr, FIRST: tl.constexpr,
                 SECOND: tl.constexpr, F32: tl.constexpr):  # fmt: skip
    """One program makes ROWS x BW pixels: of BC channels, or, POINTWISE, BK sums over all C.

    `late` waits for the last of its three input rows, `soon` for the last two: after input row i
    output row i - 2 is complete. The loop must stay one: unrolled, Triton 3.7.1 lays out the whole
    depthwise convolution as the product wants it, in each warp anew, and spills 5 KB a thread.
    """
    blocks: tl.constexpr = (K + BK - 1) // BK
    across: tl.constexpr = (W + BW - 1) // BW
    down: tl.constexpr = (H + ROWS - 1) // ROWS
    block, strip = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    image = (strip // (across * down)).to(tl.int64)
    x += image * (H * W * C)
    y += image * (H * W * K)
    first += image * (H * W * K)
    second += image * (H * W * K)
    top = strip // across % down * ROWS
    column = strip % across * BW + tl.arange(0, BW)
    out = block * BK + tl.arange(0, BK)
    channel = out
    if POINTWISE:
        channel = tl.arange(0, BC)
        points = _points(pw, channel, out, C, K)
        bent = vector(bends, channel, channel < C, MIDDLE == "prelu")
        outer = vector(pb, out, out < K, PB)
    inner = vector(db, channel, channel < C, DB)
    steep = vector(slope, out, out < K, ACTIVATION == "prelu")
    taps = _nine(dw, channel, C)
    late = tl.zeros([BW, BC], tl.float32)
    soon = tl.zeros([BW, BC], tl.float32)
    coming = _three(x, top - 1, column, channel, H, W, C)
    for i in range(ROWS + 2):
        left, here, right = coming
        coming = _three(x, top + i, column, channel, H, W, C)
        left, here, right = left.to(tl.float32), here.to(tl.float32), right.to(tl.float32)
        z = late + left * taps[6] + here * taps[7] + right * taps[8] + inner[None, :]
        if POINTWISE:
            z = bend(z, bent, MIDDLE, BENT)
            z = _sums(z, points, tl.zeros([BW, BK], tl.float32), F32) + outer[None, :]
        row = top + i - 2
        live = ((column < W) & (i >= 2) & (row < H))[:, None] & (out < K)[None, :]
        at = (row * W + column)[:, None] * K + out[None, :]
        z = finish(z, steep, first, second, at, live, ACTIVATION, SLOPE, SCALE, FIRST, SECOND)
        tl.store(y + at, z.to(y.dtype.element_ty), mask=live)
        late = soon + left * taps[3] + here * taps[4] + right * taps[5]
        soon = left * taps[0] + here * taps[1] + right * taps[2]


@triton.jit
def square_kernel(x, dw, db, pw, pb, bends, slope, first, second, y,
                  H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
                  MIDDLE: tl.constexpr, BENT: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr,
                  BC: tl.constexpr, BK: tl.constexpr, DB: tl.constexpr, PB: tl.constexpr,
                  ACTIVATION: tl.constexpr, SLOPE: tl.constexpr, SCALE: tl.constexpr,
                  FIRST: tl.constexpr, SECOND: tl.constexpr, F32: tl.constexpr):  # fmt: skip
    """One program makes TH x TW pixels of BK channels, BC of the middle channels at a time."""
    blocks: tl.constexpr = (K + BK - 1) // BK
    across: tl.constexpr = (W + TW - 1) // TW
    down: tl.constexpr = (H + TH - 1) // TH
    block, square = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    image = (square // (across * down)).to(tl.int64)
    x += image * (H * W * C)
    y += image * (H * W * K)
    first += image * (H * W * K)
    second += image * (H * W * K)
    pixel = tl.arange(0, TH * TW)
    row = square // across % down * TH + pixel // TW
    column = square % across * TW + pixel % TW
    out = block * BK + tl.arange(0, BK)
    total = tl.zeros([TH * TW, BK], tl.float32)
    for start in range(0, C, BC):
        channel = start + tl.arange(0, BC)
        z = tl.zeros([TH * TW, BC], tl.float32)
        for dy in range(3):  # a loop for the same reason as that of the strip
            for dx in tl.static_range(3):
                weight = vector(dw + (dy * 3 + dx) * C, channel, channel < C, True)
                near = _pixels(x, row + (dy - 1), column + (dx - 1), channel, H, W, C)
                z += near.to(tl.float32) * weight[None, :]
        z += vector(db, channel, channel < C, DB)[None, :]
        z = bend(z, vector(bends, channel, channel < C, MIDDLE == "prelu"), MIDDLE, BENT)
        total = _sums(z, _points(pw, channel, out, C, K), total, F32)
    live = ((column < W) & (row < H))[:, None] & (out < K)[None, :]
    at = (row * W + column)[:, None] * K + out[None, :]
    z = total + vector(pb, out, out < K, PB)[None, :]
    steep = vector(slope, out, out < K, ACTIVATION == "prelu")
    z = finish(z, steep, first, second, at, live, ACTIVATION, SLOPE, SCALE, FIRST, SECOND)
    tl.store(y + at, z.to(y.dtype.element_ty), mask=live)


@triton.jit
def _pixels(x, row, column, channel, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr):
    """[pixels, channels] at `row` and `column`, 0 outside the image."""
    inside = (row >= 0) & (row < H) & (column >= 0) & (column < W)
    at = (row * W + column)[:, None] * C + channel[None, :]
    return tl.load(x + at, mask=inside[:, None] & (channel < C)[None, :], other=0.0)


@triton.jit
def _three(x, row, column, channel, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr):
    """The pixels of a row to the left of `column`, there, and to the right."""
    left = _pixels(x, row, column - 1, channel, H, W, C)
    here = _pixels(x, row, column, channel, H, W, C)
    return left, here, _pixels(x, row, column + 1, channel, H, W, C)


@triton.jit
def _nine(dw, channel, C: tl.constexpr):
    """The depthwise weights [1, channels] of nine taps."""
    taps = ()
    for tap in tl.static_range(9):
        taps += (vector(dw + tap * C, channel, channel < C, True)[None, :],)
    return taps


@triton.jit
def _points(pw, channel, out, C: tl.constexpr, K: tl.constexpr):
    """The pointwise weights [channels, outputs], 0 where there are none."""
    live = (channel < C)[:, None] & (out < K)[None, :]
    return tl.load(pw + channel[:, None] * K + out[None, :], mask=live, other=0.0)


@triton.jit
def _sums(z, points, total, F32: tl.constexpr):
    """total + z @ points, z rounded as the weights are; in float32 in the interpreter."""
    z = z.to(points.dtype)
    if F32:
        z, points = z.to(tl.float32), points.to(tl.float32)
    return tl.dot(z, points, total, input_precision="ieee")
