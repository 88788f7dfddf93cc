"""Bilinear warp along a flow, and its two gradients, each in one pass over the pixels.

What has to move is one read of the frames, one write of the result, and the flow; XLA may also
write out the four gathered corners. A program takes a two-dimensional tile of pixels, so that of
the four corners of neighbouring pixels L1 serves most, and reads 16 bytes of channels a thread.
The frames' gradient is a scatter: float32 atomics into L2, in an order that is not fixed, so its
last bits may differ from run to run. The speed was not measured yet.

The definition is that of PyTorch's `grid_sample(padding_mode="border", align_corners=True)`
(Jaderberg et al. 2015, "Spatial Transformer Networks", for the gradients).
"""

from functools import partial

import jax
import jax.numpy as jnp

from kernels.launch import RefusedError, cdiv, launch, power_of_2  # isort: skip  (before triton)
import triton
import triton.language as tl

from kernels.op import FLOATS, Config, Op, Shape, config
from kernels.tuning import pick

CHANNELS = 64  # at once; more are a loop
LIMIT = 2**31  # values of one image: offsets inside an image have 32 bits


def definition(frames, flow):
    """out(x) = frames(x + flow(x)) in plain JAX; [N, H, W, C] and [N, H, W, 2] as (dx, dy).

    Outside the frame its border pixel is repeated, and there the gradient of the flow is 0.
    """
    n, h, w, c = frames.shape
    exact = jnp.promote_types(flow.dtype, "float32")
    column, fx = _between(jnp.arange(w) + flow[..., 0].astype(exact), w)
    row, fy = _between(jnp.arange(h)[:, None] + flow[..., 1].astype(exact), h)
    flat = jnp.asarray(frames).reshape(n * h * w, c)
    corner = (jnp.arange(n)[:, None, None] * h + row) * w + column
    right, down = min(1, w - 1), w * min(1, h - 1)
    tap = lambda offset, weight: flat[corner + offset] * weight[..., None]
    upper = tap(0, (1 - fx) * (1 - fy)) + tap(right, fx * (1 - fy))
    lower = tap(down, (1 - fx) * fy) + tap(down + right, fx * fy)
    return (upper + lower).astype(frames.dtype)


def _between(at, length: int):
    """The pixel before each position in a row of pixels, and how far behind it the position is."""
    inside = (at > 0) & (at < length - 1)
    at = jnp.where(inside, at, jax.lax.stop_gradient(jnp.where(at > 0, length - 1, 0)))
    before = jnp.clip(jax.lax.stop_gradient(at).astype(jnp.int32), 0, max(length - 2, 0))
    return before, at - before


@triton.jit
def locate(tile, H: tl.constexpr, W: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    """The image, rows and columns of a tile's pixels, and which of them are in the image."""
    across: tl.constexpr = (W + TILE_W - 1) // TILE_W
    along: tl.constexpr = (H + TILE_H - 1) // TILE_H
    p = tl.arange(0, TILE_H * TILE_W)
    row = tile // across % along * TILE_H + p // TILE_W
    column = tile % across * TILE_W + p % TILE_W
    image = (tile // (across * along)).to(tl.int64)
    return image, row, column, (row < H) & (column < W)


@triton.jit
def _between_pixels(at, LENGTH: tl.constexpr):
    """`_between`, and whether the position depends on the flow."""
    inside = (at > 0) & (at < LENGTH - 1)
    at = tl.where(inside, at, tl.where(at > 0, LENGTH - 1.0, 0.0))
    before = tl.minimum(at.to(tl.int32), LENGTH - 2 if LENGTH > 1 else 0)
    return before, at - before.to(tl.float32), inside


@triton.jit
def _corner(flow, row, column, live, H: tl.constexpr, W: tl.constexpr):
    """The upper left of four pixels for each pixel, the distances from it, and what is inside."""
    at = flow + (row * W + column) * 2
    dx = tl.load(at, mask=live, other=0).to(tl.float32)
    dy = tl.load(at + 1, mask=live, other=0).to(tl.float32)
    left, fx, inside_x = _between_pixels(column.to(tl.float32) + dx, W)
    upper, fy, inside_y = _between_pixels(row.to(tl.float32) + dy, H)
    return upper * W + left, fx[:, None], fy[:, None], inside_x, inside_y


@triton.jit
def _forward_kernel(frames, flow, out,
                    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr,
                    TILE_H: tl.constexpr, TILE_W: tl.constexpr, BLOCK_C: tl.constexpr):  # fmt: skip
    """One program warps a tile of TILE_H x TILE_W pixels, BLOCK_C channels at a time."""
    image, row, column, live = locate(tl.program_id(0), H, W, TILE_H, TILE_W)
    corner, fx, fy, _, _ = _corner(flow + image * (H * W * 2), row, column, live, H, W)
    right: tl.constexpr = C if W > 1 else 0
    down: tl.constexpr = W * C if H > 1 else 0
    for first in tl.static_range(0, C, BLOCK_C):
        c = first + tl.arange(0, BLOCK_C)[None, :]
        mask = live[:, None] & (c < C)
        at = frames + image * (H * W * C) + (corner[:, None] * C + c)
        a = tl.load(at, mask=mask, other=0).to(tl.float32)
        b = tl.load(at + right, mask=mask, other=0).to(tl.float32)
        d = tl.load(at + down, mask=mask, other=0).to(tl.float32)
        e = tl.load(at + down + right, mask=mask, other=0).to(tl.float32)
        y = a * ((1 - fx) * (1 - fy)) + b * (fx * (1 - fy)) + (d * ((1 - fx) * fy) + e * (fx * fy))
        to = out + image * (H * W * C) + ((row * W + column)[:, None] * C + c)
        tl.store(to, y.to(out.dtype.element_ty), mask=mask)


@triton.jit
def _frames_kernel(g, flow, zeros, out,
                   H: tl.constexpr, W: tl.constexpr, C: tl.constexpr,
                   TILE_H: tl.constexpr, TILE_W: tl.constexpr, BLOCK_C: tl.constexpr):  # fmt: skip
    """Adds a tile's gradient to the four pixels that each of its pixels was made of."""
    image, row, column, live = locate(tl.program_id(0), H, W, TILE_H, TILE_W)
    corner, fx, fy, _, _ = _corner(flow + image * (H * W * 2), row, column, live, H, W)
    right: tl.constexpr = C if W > 1 else 0
    down: tl.constexpr = W * C if H > 1 else 0
    for first in tl.static_range(0, C, BLOCK_C):
        c = first + tl.arange(0, BLOCK_C)[None, :]
        mask = live[:, None] & (c < C)
        source = g + image * (H * W * C) + ((row * W + column)[:, None] * C + c)
        value = tl.load(source, mask=mask, other=0).to(tl.float32)
        at = out + image * (H * W * C) + (corner[:, None] * C + c)
        tl.atomic_add(at, value * ((1 - fx) * (1 - fy)), mask=mask, sem="relaxed")
        tl.atomic_add(at + right, value * (fx * (1 - fy)), mask=mask, sem="relaxed")
        tl.atomic_add(at + down, value * ((1 - fx) * fy), mask=mask, sem="relaxed")
        tl.atomic_add(at + down + right, value * (fx * fy), mask=mask, sem="relaxed")


@triton.jit
def _flow_kernel(g, frames, flow, out,
                 H: tl.constexpr, W: tl.constexpr, C: tl.constexpr,
                 TILE_H: tl.constexpr, TILE_W: tl.constexpr, BLOCK_C: tl.constexpr):  # fmt: skip
    """A tile's gradient of the flow: the slopes of the frames there, times g, over all channels."""
    image, row, column, live = locate(tl.program_id(0), H, W, TILE_H, TILE_W)
    corner, fx, fy, inside_x, inside_y = _corner(
        flow + image * (H * W * 2), row, column, live, H, W
    )
    right: tl.constexpr = C if W > 1 else 0
    down: tl.constexpr = W * C if H > 1 else 0
    dx = tl.zeros([TILE_H * TILE_W], tl.float32)
    dy = tl.zeros([TILE_H * TILE_W], tl.float32)
    for first in tl.static_range(0, C, BLOCK_C):
        c = first + tl.arange(0, BLOCK_C)[None, :]
        mask = live[:, None] & (c < C)
        source = g + image * (H * W * C) + ((row * W + column)[:, None] * C + c)
        value = tl.load(source, mask=mask, other=0).to(tl.float32)
        at = frames + image * (H * W * C) + (corner[:, None] * C + c)
        a = tl.load(at, mask=mask, other=0).to(tl.float32)
        b = tl.load(at + right, mask=mask, other=0).to(tl.float32)
        d = tl.load(at + down, mask=mask, other=0).to(tl.float32)
        e = tl.load(at + down + right, mask=mask, other=0).to(tl.float32)
        dx += tl.sum(value * ((b - a) * (1 - fy) + (e - d) * fy), 1)
        dy += tl.sum(value * ((d - a) * (1 - fx) + (e - b) * fx), 1)
    to = out + image * (H * W * 2) + (row * W + column) * 2
    tl.store(to, tl.where(inside_x, dx, 0.0).to(out.dtype.element_ty), mask=live)
    tl.store(to + 1, tl.where(inside_y, dy, 0.0).to(out.dtype.element_ty), mask=live)


def configs(shape: Shape, dtype: str) -> tuple[Config, ...]:
    """Tiles of as many values as registers hold four of; square ones first."""
    channels = min(power_of_2(shape[3]), CHANNELS)
    pixels = min((2048 if dtype == "float32" else 4096) // channels, 128)
    tall = 2 ** ((pixels.bit_length() - 1) // 2)
    tiles = [(tall, pixels, 4), (tall // 2, pixels // 2, 4), (1, pixels, 4), (2, pixels, 4)]
    return tuple(
        config(warps, TILE_H=high, TILE_W=count // high, BLOCK_C=channels)
        for high, count, warps in (*tiles, (tall, pixels * 2, 8))
    )


def _run(kernel, out, *arrays, shape: Shape, config: Config):
    """`kernel` over all tiles of images of `shape`; `arrays` as `launch` has them."""
    n, h, w, c = shape
    constants = dict(config.constants)
    tiles = n * cdiv(h, constants["TILE_H"]) * cdiv(w, constants["TILE_W"])
    aliases = {2: 0} if kernel is _frames_kernel else None
    settings = dict(H=h, W=w, C=c, warps=config.warps, aliases=aliases, **constants)
    return launch(kernel, (tiles,), out, *arrays, **settings)


def warp(frames, flow, *, config: Config | None = None):
    """`definition` as a Triton kernel: frames [N, H, W, C], flow [N, H, W, 2] as (dx, dy).

    float16, bfloat16 or float32, each array its own; the result has the dtype of `frames`. Both
    gradients are kernels too. Raises RefusedError for other dtypes, shapes that do not belong
    together, and images of 2**31 values or more.
    """
    _check(frames, flow)
    choices = configs(frames.shape, frames.dtype.name)
    return _warp(frames, flow, config or pick("warp", (frames, flow), choices))


def _check(frames, flow):
    if frames.ndim != 4 or flow.shape != (*frames.shape[:3], 2):
        raise RefusedError(
            f"warp: flow {flow.shape} does not fit frames {frames.shape}; give [N, H, W, 2]"
        )
    for name in (frames.dtype.name, flow.dtype.name):
        if name not in FLOATS:
            raise RefusedError(f"warp: no kernel for {name}; use impl='xla'")
    _, h, w, c = frames.shape
    if not frames.size or h * w * max(c, 2) >= LIMIT:
        raise RefusedError(f"warp: images of {h}x{w}x{c} are empty or too large; use impl='xla'")


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _warp(frames, flow, config: Config):
    out = jax.ShapeDtypeStruct(frames.shape, frames.dtype)
    return _run(_forward_kernel, out, frames, flow, shape=frames.shape, config=config)


def _save(frames, flow, config):
    return _warp(frames, flow, config), (frames, flow)


def _gradient(config, saved, g):
    """Two kernels, so that XLA drops the one whose result nobody asks for."""
    frames, flow = saved
    sizes = {"shape": frames.shape, "config": config}
    zeros = jnp.zeros(frames.shape, jnp.float32)
    whole = jax.ShapeDtypeStruct(frames.shape, jnp.float32)
    df = _run(_frames_kernel, whole, g, flow, zeros, **sizes)
    slope = jax.ShapeDtypeStruct(flow.shape, flow.dtype)
    return df.astype(frames.dtype), _run(_flow_kernel, slope, g, frames, flow, **sizes)


_warp.defvjp(_save, _gradient)


def smooth(key, shape: tuple[int, ...], reach: float):
    """A random field [N, H, W, any] that changes over tens of pixels, as motion does."""
    n, h, w, c = shape
    slow, fast = jax.random.split(key)
    coarse = jax.random.normal(slow, (n, h // 32 + 2, w // 32 + 2, c))
    return reach * (
        jax.image.resize(coarse, shape, "linear") + 0.1 * jax.random.normal(fast, shape)
    )


def _example(key, shape: Shape, dtype: str):
    one, two = jax.random.split(key)
    return jax.random.normal(one, shape, dtype), smooth(two, (*shape[:3], 2), 4.0)


def _baseline(frames, flow):
    """By `jax.scipy.ndimage.map_coordinates`, which gathers one channel at a time."""
    from jax.scipy.ndimage import map_coordinates

    h, w = frames.shape[1:3]
    exact = jnp.promote_types(flow.dtype, "float32")
    column = jnp.arange(w) + flow[..., 0].astype(exact)
    row = jnp.arange(h)[:, None] + flow[..., 1].astype(exact)
    take = lambda image, y, x: map_coordinates(image, [y, x], 1, "nearest")
    channels = jax.vmap(take, (-1, None, None), -1)
    return jax.vmap(channels)(frames.astype(exact), row, column).astype(frames.dtype)


def _pixels(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]


OPS = (
    Op(
        name="warp",
        ours=warp,
        definition=definition,
        example=_example,
        flops=lambda shape: 7.0 * _pixels(shape) * shape[3],
        bytes=lambda shape, size: _pixels(shape) * (2.0 * shape[3] * size + 8),
        configs=configs,
        small=((2, 7, 9, 5), (1, 1, 11, 3), (1, 5, 8, 80)),
        shapes={"540p": (1, 540, 960, 64), "1080p rgb": (1, 1080, 1920, 3)},
        baselines={"map_coordinates": _baseline},
    ),
)
