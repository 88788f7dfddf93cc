"""ESPCN (Shi et al., CVPR 2016): convolutions at LR size, then one pixel shuffle."""

from math import ceil

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvsr import ops
from jaxvsr.layers import Conv

ACTIVATIONS = {"tanh": jnp.tanh, "relu": nn.relu}


class ESPCN(nn.Module):
    """Frames to frames `scale` times larger, not clipped.

    One convolution for each of `widths`, the first `first` wide and the rest 3x3. `residual` adds
    the bicubic enlargement (ours: the paper has none) and starts from it.
    """

    scale: int = 2
    widths: tuple[int, ...] = (64, 32)
    first: int = 5
    activation: str = "tanh"
    residual: bool = False

    multiple = 1

    @property
    def reach(self) -> int:
        """Input pixels on each side that an output pixel can see."""
        return max(self.first // 2 + len(self.widths), 2 * ceil(self.residual))

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w 3"]) -> Float[Array, "n H W 3"]:
        x = frames
        for i, width in enumerate(self.widths):
            x = Conv(width, 3 if i else self.first, name=f"conv{i + 1}")(x)
            x = ACTIVATIONS[self.activation](x)
        init = nn.initializers.zeros if self.residual else nn.initializers.lecun_normal()
        x = Conv(3 * self.scale**2, kernel_init=init, name=f"conv{len(self.widths) + 1}")(x)
        x = ops.pixel_shuffle(x, self.scale)
        return x + ops.upsample(frames, self.scale) if self.residual else x
