"""The 3x3 convolution on the device: one tile of pixels times one block of output channels.

A tile is TH x TW pixels of one image, P in all. Nine taps are nine matrix products [P, BC] x
[BC, BK] for each block of BC input channels, summed in float32. With SWAP the weights are the
left operand, [BK, BC] x [BC, P]. Channels and pixels beyond the arrays are masks.
"""

from kernels.epilogue import bend, vector  # isort: skip  (kernels.launch comes before triton)
import triton
import triton.language as tl


@triton.jit
def place(tile, N: tl.constexpr, H: tl.constexpr, W: tl.constexpr, TH: tl.constexpr,
          TW: tl.constexpr):  # fmt: skip
    """Of tile number `tile`: the index of its first pixel, its rows [P], its columns [P].

    Rows of a tile beyond the last image are far outside, so that masks on rows hold for it.
    """
    across: tl.constexpr = (W + TW - 1) // TW
    down: tl.constexpr = (H + TH - 1) // TH
    image = tile // (across * down)
    top = tile // across % down * TH
    left = tile % across * TW
    first = (image.to(tl.int64) * H + top) * W + left
    top = tl.where(image < N, top, -TH - 2)
    p = tl.arange(0, TH * TW)
    return first, top + p // TW, left + p % TW


@triton.jit
def pixels(x, first, row, column, c, dy, dx, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr,
           XB: tl.constexpr, XAT: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr):  # fmt: skip
    """[P, BC]: channels `c` of the pixels (dy, dx) from those of a tile, zero outside.

    `x` has XB channels in memory, of which XAT is the first that counts.
    """
    p = tl.arange(0, TH * TW)
    y, z = row + dy, column + dx
    inside = (y >= 0) & (y < H) & (z >= 0) & (z < W)
    offset = (p // TW * W + p % TW) * XB
    tile = x + first * XB + ((dy * W + dx) * XB + XAT)
    mask = inside[:, None] & (c < C)[None, :]
    return tl.load(tile + offset[:, None] + c[None, :], mask=mask, other=0.0)


@triton.jit
def weights(w, tap, c, k, C: tl.constexpr, K: tl.constexpr):
    """[BC, BK] of w[3, 3, C, K] at `tap` = 0 to 8, zero outside."""
    mask = (c < C)[:, None] & (k < K)[None, :]
    return tl.load(w + tap * (C * K) + c[:, None] * K + k[None, :], mask=mask, other=0.0)


@triton.jit
def product(a, u, total, SWAP: tl.constexpr, F32: tl.constexpr, PRECISION: tl.constexpr):
    """`total` + a[P, BC] u[BC, BK], or its transpose with SWAP."""
    if F32:
        a, u = a.to(tl.float32), u.to(tl.float32)
    if SWAP:
        total = tl.dot(tl.trans(u), tl.trans(a), total, input_precision=PRECISION)
    else:
        total = tl.dot(a, u, total, input_precision=PRECISION)
    return total


@triton.jit
def finish(y, b, slope, k, K: tl.constexpr, BIAS: tl.constexpr, ACTIVATION: tl.constexpr,
           SLOPE: tl.constexpr, SCALE: tl.constexpr):  # fmt: skip
    """activation(y[P, BK] + b[K]) * SCALE of output channels `k`, in float32."""
    if BIAS:
        y += vector(b, k, k < K, True)[None, :]
    y = bend(y, vector(slope, k, k < K, ACTIVATION == "prelu"), ACTIVATION, SLOPE)
    return y * SCALE


@triton.jit
def outputs(row, column, k, H: tl.constexpr, W: tl.constexpr, K: tl.constexpr):
    """Mask [P, BK] of what is inside the image and the output channels."""
    return ((row >= 0) & (row < H) & (column < W))[:, None] & (k < K)[None, :]


@triton.jit
def offsets(k, W: tl.constexpr, B: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr):
    """[P, BK] from a tile's first pixel on, in memory with B channels."""
    p = tl.arange(0, TH * TW)
    return ((p // TW * W + p % TW) * B)[:, None] + k[None, :]


@triton.jit
def skip(given, x, target, first, k, mask, FROM: tl.constexpr, B: tl.constexpr, AT: tl.constexpr,
         W: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr):  # fmt: skip
    """What is added: from an array of its own, from the input, or from the target."""
    if FROM == "given":
        source = given
    elif FROM == "read":
        source = x
    else:
        source = target
    at = offsets(k, W, B, TH, TW)
    return tl.load(source + (first * B + AT) + at, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def deliver(y, x, b, slope, skip0, skip1, target, out, first, row, column, k, H: tl.constexpr,
            W: tl.constexpr, K: tl.constexpr, YB: tl.constexpr, YAT: tl.constexpr,
            BIAS: tl.constexpr, ACTIVATION: tl.constexpr, SLOPE: tl.constexpr,
            SCALE: tl.constexpr, FROM0: tl.constexpr, B0: tl.constexpr, AT0: tl.constexpr,
            F0: tl.constexpr, FROM1: tl.constexpr, B1: tl.constexpr, AT1: tl.constexpr,
            F1: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr):  # fmt: skip
    """Stores activation(y[P, BK] + b) * SCALE + the skips, in `out`'s type."""
    y = finish(y, b, slope, k, K, BIAS, ACTIVATION, SLOPE, SCALE)
    mask = outputs(row, column, k, H, W, K)
    if FROM0 != "none":
        y += F0 * skip(skip0, x, target, first, k, mask, FROM0, B0, AT0, W, TH, TW)
    if FROM1 != "none":
        y += F1 * skip(skip1, x, target, first, k, mask, FROM1, B1, AT1, W, TH, TW)
    at = offsets(k, W, YB, TH, TW)
    tl.store(out + (first * YB + YAT) + at, y.to(out.dtype.element_ty), mask=mask)


@triton.jit
def conv3x3_kernel(x, w, b, slope, skip0, skip1, target, out, N: tl.constexpr, H: tl.constexpr,
                   W: tl.constexpr, C: tl.constexpr, K: tl.constexpr, XB: tl.constexpr,
                   XAT: tl.constexpr, YB: tl.constexpr, YAT: tl.constexpr, BIAS: tl.constexpr,
                   ACTIVATION: tl.constexpr, SLOPE: tl.constexpr, SCALE: tl.constexpr,
                   FROM0: tl.constexpr, B0: tl.constexpr, AT0: tl.constexpr, F0: tl.constexpr,
                   FROM1: tl.constexpr, B1: tl.constexpr, AT1: tl.constexpr, F1: tl.constexpr,
                   TH: tl.constexpr, TW: tl.constexpr, BC: tl.constexpr, BK: tl.constexpr,
                   SWAP: tl.constexpr, WAY: tl.constexpr, EACH: tl.constexpr,
                   F32: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """One program makes BK channels of EACH tiles of out[N, H, W, YB]; see `kernels.conv3x3`.

    WAY 0 is one loop, which can be pipelined; 1 has its nine taps written out; with 2 the weights
    are loaded once for all tiles and stay in shared memory.
    """
    blocks: tl.constexpr = (K + BK - 1) // BK
    chunks: tl.constexpr = (C + BC - 1) // BC
    k = tl.program_id(0) % blocks * BK + tl.arange(0, BK)
    unrolled: tl.constexpr = chunks if WAY == 2 else 1
    kept = ()
    if WAY == 2:
        for part in tl.static_range(chunks * 9):
            c = part // 9 * BC + tl.arange(0, BC)
            kept = kept + (weights(w, part % 9, c, k, C, K),)  # noqa: RUF005
    for i in range(EACH):
        tile = tl.program_id(0) // blocks + i * (tl.num_programs(0) // blocks)
        first, row, column = place(tile, N, H, W, TH, TW)
        y = tl.zeros((BK, TH * TW) if SWAP else (TH * TW, BK), tl.float32)
        if WAY == 0:
            for step in range(chunks * 9):
                c = step // 9 * BC + tl.arange(0, BC)
                t = step % 9
                a = pixels(x, first, row, column, c, t // 3 - 1, t % 3 - 1, H, W, C, XB, XAT, TH,
                           TW)  # fmt: skip
                y = product(a, weights(w, t, c, k, C, K), y, SWAP, F32, PRECISION)
        else:
            for chunk in range(chunks // unrolled):
                c = chunk * BC + tl.arange(0, BC)
                ahead = pixels(x, first, row, column, c, -1, -1, H, W, C, XB, XAT, TH, TW)
                for part in tl.static_range(unrolled * 9):
                    a, at = ahead, part + 1
                    if at < unrolled * 9:  # on its way while this one is multiplied
                        after = c + at // 9 * BC
                        ahead = pixels(x, first, row, column, after, at % 9 // 3 - 1, at % 3 - 1, H,
                                       W, C, XB, XAT, TH, TW)  # fmt: skip
                    u = kept[part] if WAY == 2 else weights(w, part, c, k, C, K)
                    y = product(a, u, y, SWAP, F32, PRECISION)
        if SWAP:
            y = tl.trans(y)
        deliver(y, x, b, slope, skip0, skip1, target, out, first, row, column, k, H, W, K, YB,
                YAT, BIAS, ACTIVATION, SLOPE, SCALE, FROM0, B0, AT0, F0, FROM1, B1, AT1, F1, TH,
                TW)  # fmt: skip
