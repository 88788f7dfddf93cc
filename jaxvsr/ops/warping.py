"""Frames [N, H, W, C] brought along a flow."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvsr.ops.impl import either


def warp(
    frames: Float[Array, "n h w c"], flow: Float[Array, "n h w 2"], *, impl: str = "xla"
) -> Float[Array, "n h w c"]:
    """out(x) = frames(x + flow(x)), bilinear: frames brought to where `flow` starts from.

    `flow` is (dx, dy) in pixels. Outside the frame its border pixel is repeated, and there the
    gradient of the flow is 0. PyTorch's `grid_sample(padding_mode="border", align_corners=True)`.
    `impl` is as in `jaxvsr.ops.impl`.
    """

    def fast():
        from kernels.warp import warp as kernel_warp

        return kernel_warp

    return either(impl, "warp", _warp, fast, frames, flow)


def _warp(frames, flow):
    n, h, w, c = frames.shape
    exact = jnp.promote_types(flow.dtype, "float32")
    column, fx = _between(jnp.arange(w) + flow[..., 0].astype(exact), w)
    row, fy = _between(jnp.arange(h)[:, None] + flow[..., 1].astype(exact), h)
    flat = jnp.asarray(frames).reshape(n * h * w, c)
    corner = (jnp.arange(n)[:, None, None] * h + row) * w + column
    right, down = min(1, w - 1), w * min(1, h - 1)

    def tap(offset: int, weight):
        return flat.at[corner + offset].get(mode="promise_in_bounds") * weight[..., None]

    upper = tap(0, (1 - fx) * (1 - fy)) + tap(right, fx * (1 - fy))
    lower = tap(down, (1 - fx) * fy) + tap(down + right, fx * fy)
    return (upper + lower).astype(frames.dtype)


def _between(at, length: int):
    """The pixel before each position in a row of pixels, and how far behind it the position is."""
    inside = (at > 0) & (at < length - 1)
    at = jnp.where(inside, at, jax.lax.stop_gradient(jnp.where(at > 0, length - 1, 0)))
    before = jnp.clip(jax.lax.stop_gradient(at).astype(jnp.int32), 0, max(length - 2, 0))
    return before, at - before
