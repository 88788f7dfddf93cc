"""SRVGGNetCompact (Wang et al., Real-ESRGAN, 2021): a plain stack of convolutions at LR size.

Modules carry the published names: convolutions at even places of `body`, PReLUs at odd ones.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvsr import ops
from jaxvsr.layers import Conv, PReLU


class SRVGGNetCompact(nn.Module):
    """Frames to frames `scale` times larger, not clipped; `convs` counts the inner ones."""

    scale: int = 4
    features: int = 64
    convs: int = 16

    multiple = 1

    @property
    def reach(self) -> int:
        """Input pixels on each side that an output pixel can see."""
        return self.convs + 2

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w 3"]) -> Float[Array, "n H W 3"]:
        x = frames
        for i in range(self.convs + 1):
            x = Conv(self.features, name=f"body_{2 * i}")(x)
            x = PReLU(name=f"body_{2 * i + 1}")(x)
        x = Conv(3 * self.scale**2, name=f"body_{2 * self.convs + 2}")(x)
        # Each pixel repeated scale**2 times before the shuffle is the nearest enlargement after it.
        return ops.pixel_shuffle(x + jnp.repeat(frames, self.scale**2, -1), self.scale)
