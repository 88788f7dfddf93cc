"""Operations of networks that look along motion, on frames or features [N, H, W, C].

`deform` samples where it is told to, tap by tap; `correlation` compares every pixel with its
neighbourhood in another frame. Bringing a frame along a flow is `jaxvsr.ops.warp`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvsr.ops.impl import either


def correlation(
    a: Float[Array, "n h w c"],
    b: Float[Array, "n h w c"],
    radius: int,
    *,
    impl: str = "xla",
) -> Float[Array, "n h w d"]:
    """The mean over channels of a(x) * b(x + d), for all (2 * radius + 1)^2 displacements d.

    d runs over rows (dy), then columns (dx), from -radius to radius; b is zero outside. It is the
    cost volume of FlowNet (Dosovitskiy et al. 2015) and PWC-Net (Sun et al. 2018). Sums are in
    float32 at least, the result in the dtype of `a`; `impl` is as in `jaxvsr.ops.impl`.
    """

    def fast():
        from kernels.correlation import correlation as kernel

        return lambda a, b: kernel(a, b, radius)

    plain = lambda a, b: _correlation(a, b, radius)
    return either(impl, f"correlation radius={radius}", plain, fast, a, b)


def _correlation(a, b, radius: int):
    exact = jnp.promote_types(jnp.promote_types(a.dtype, b.dtype), "float32")
    h, w, side = a.shape[1], a.shape[2], 2 * radius + 1
    around = ((0, 0), (radius, radius), (radius, radius), (0, 0))
    wide = jnp.pad(b, around).astype(exact)
    shifts = [(dy, dx) for dy in range(side) for dx in range(side)]
    products = [a.astype(exact) * wide[:, dy : dy + h, dx : dx + w] for dy, dx in shifts]
    return jnp.stack([product.mean(-1) for product in products], -1).astype(a.dtype)


def deform(
    x: Float[Array, "n h w c"],
    offsets: Float[Array, "n h w o"],
    mask: Float[Array, "n h w m"],
    kernel: Float[Array, "3 3 c k"],
    bias: Float[Array, " k"] | None = None,
    *,
    impl: str = "xla",
) -> Float[Array, "n h w k"]:
    """Modulated deformable 3x3 convolution, DCNv2 (Zhu et al. 2019), stride 1, size kept.

    Tap t of the kernel looks at its own place plus `offsets`, bilinearly between pixels and zero
    outside, and what it sees is multiplied by `mask`. `offsets` are (dy, dx) for each of 9 taps,
    row by row, for each of g groups of c / g channels: o = g * 9 * 2, m = g * 9, and g follows
    from m. The order is that of torchvision's `deform_conv2d` with channels last; an activation
    of the mask is the caller's. `impl` is as in `jaxvsr.ops.impl`. Raises ValueError where channels
    do not fit.
    """
    groups, rest = divmod(mask.shape[-1], 9)
    if rest or not groups or offsets.shape[-1] != 18 * groups or x.shape[-1] % groups:
        raise ValueError(
            f"{offsets.shape[-1]} channels of offsets and {mask.shape[-1]} of mask for "
            f"{x.shape[-1]} channels: give g * 18 and g * 9 with a g that divides the channels"
        )

    def fast():
        from kernels.deform import deform3x3

        return deform3x3

    return either(impl, "deform", _deform, fast, x, offsets, mask, kernel, bias)


def _deform(x, offsets, mask, kernel, bias):
    """One tap after another: sampled, weighted and multiplied by its part of the kernel."""
    n, h, w, c = x.shape
    groups = mask.shape[-1] // 9
    exact = jnp.promote_types(x.dtype, "float32")
    offsets = offsets.reshape(n, h, w, groups, 9, 2).astype(exact)
    mask = mask.reshape(n, h, w, groups, 9).astype(exact)
    image = x.reshape(n, h, w, groups, c // groups)
    total = 0 if bias is None else bias.astype(exact)
    for tap in range(9):
        row = jnp.arange(h)[:, None, None] + tap // 3 - 1 + offsets[..., tap, 0]
        column = jnp.arange(w)[:, None] + tap % 3 - 1 + offsets[..., tap, 1]
        seen = _sample(image, row, column, exact) * mask[..., tap, None]
        seen, part = seen.reshape(n, h, w, c).astype(x.dtype), kernel[tap // 3, tap % 3]
        total = total + jnp.matmul(seen, part.astype(x.dtype), preferred_element_type=exact)
    return total.astype(x.dtype)


def _sample(image, row, column, exact):
    """image [N, H, W, G, C] at (row, column) [N, H, W, G]: bilinear, zero outside."""
    n, h, w, groups, _ = image.shape
    top, fy = _before(row, h)
    left, fx = _before(column, w)
    at_n, at_g = jnp.arange(n)[:, None, None, None], jnp.arange(groups)

    def corner(y, x, weight):
        inside = (y >= 0) & (y < h) & (x >= 0) & (x < w)
        value = image[at_n, jnp.clip(y, 0, h - 1), jnp.clip(x, 0, w - 1), at_g].astype(exact)
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
