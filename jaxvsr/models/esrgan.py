"""RRDBNet, the generator of ESRGAN (Wang et al., ECCVW 2018) and of Real-ESRGAN.

Residual-in-residual dense blocks without batch norm. Modules carry the names of the newer
published layout; `jaxvsr.weights` renames the older two.
"""

from math import ceil, log2

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvsr import ops
from jaxvsr.layers import Conv, leaky_relu

BETA = 0.2  # residual scaling inside a block and around three of them


class DenseBlock(nn.Module):
    """Five convolutions, each fed by all before it; `plus` adds ESRGAN+'s inner residuals."""

    growth: int
    plus: bool = False

    @nn.compact
    def __call__(self, x):
        maps = [x]
        for i in range(1, 5):
            y = leaky_relu(Conv(self.growth, name=f"conv{i}")(jnp.concatenate(maps, -1)))
            if self.plus and i == 2:
                y += Conv(self.growth, 1, bias=False, name="conv1x1")(x)
            if self.plus and i == 4:
                y += maps[2]
            maps.append(y)
        return x + BETA * Conv(x.shape[-1], name="conv5")(jnp.concatenate(maps, -1))


class RRDB(nn.Module):
    """Three dense blocks inside one more scaled residual."""

    growth: int
    plus: bool = False

    @nn.compact
    def __call__(self, x):
        y = x
        for i in range(1, 4):
            y = DenseBlock(self.growth, self.plus, name=f"rdb{i}")(y)
        return x + BETA * y


class RRDBNet(nn.Module):
    """Frames to frames `scale` times larger, not clipped.

    `unshuffle` folds that many pixels each way into channels before the first convolution
    (2 in the published x2 network, 4 in x1); scale * unshuffle is a power of two.
    """

    scale: int = 4
    features: int = 64
    blocks: int = 23
    growth: int = 32
    unshuffle: int = 1
    plus: bool = False

    @property
    def multiple(self) -> int:
        """Height and width must divide by this."""
        return self.unshuffle

    @property
    def doublings(self) -> int:
        """How many times the features are enlarged by two."""
        return round(log2(self.scale * self.unshuffle))

    @property
    def reach(self) -> int:
        """Input pixels on each side that an output pixel can see."""
        last = 2 / 2**self.doublings + sum(1 / 2**i for i in range(1, self.doublings + 1))
        return self.unshuffle * (2 + 15 * self.blocks + ceil(last))

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w 3"]) -> Float[Array, "n H W 3"]:
        x = ops.pixel_unshuffle(frames, self.unshuffle) if self.unshuffle > 1 else frames
        first = y = Conv(self.features, name="conv_first")(x)
        for i in range(self.blocks):
            y = RRDB(self.growth, self.plus, name=f"body_{i}")(y)
        y = first + Conv(self.features, name="conv_body")(y)
        for i in range(1, self.doublings + 1):
            y = ops.upsample(y, 2, "nearest")
            y = leaky_relu(Conv(self.features, name=f"conv_up{i}")(y))
        y = leaky_relu(Conv(self.features, name="conv_hr")(y))
        return Conv(3, name="conv_last")(y)
