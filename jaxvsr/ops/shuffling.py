"""Pixels and channels that change places, and the largest of neighbours; frames [N, H, W, C]."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def pixel_shuffle(x: Float[Array, "n h w c"], r: int) -> Float[Array, "n H W C"]:
    """Channels in the order (C, r, r) become an image r times larger (ESPCN, Shi et al. 2016)."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, c // r**2, r, r)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(n, h * r, w * r, c // r**2)


def pixel_unshuffle(x: Float[Array, "n H W C"], r: int) -> Float[Array, "n h w c"]:
    """The inverse of `pixel_shuffle`; height and width must divide by r."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // r, r, w // r, r, c)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(n, h // r, w // r, c * r**2)


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    """The largest of every 2x2; height and width must be even."""
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])
