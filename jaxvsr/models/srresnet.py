"""SRResNet, the generator of SRGAN (Ledig et al., CVPR 2017), in its inference form.

Batch norm is folded into the convolutions. Eight blocks with grouped convolutions is the
browser variant; sixteen dense ones is the published network.
"""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxvsr import ops
from jaxvsr.layers import Conv, PReLU


class Block(nn.Module):
    """x + conv(prelu(conv(x)))."""

    groups: int = 1

    @nn.compact
    def __call__(self, x):
        y = Conv(x.shape[-1], groups=self.groups, name="conv1")(x)
        y = PReLU(name="prelu")(y)
        return x + Conv(x.shape[-1], groups=self.groups, name="conv2")(y)


class SRResNet(nn.Module):
    """Frames to frames `scale` (2^k or 3) times larger, not clipped.

    `groups` splits the trunk's convolutions; `ends` is the size of the first and last one.
    """

    scale: int = 4
    features: int = 64
    blocks: int = 16
    groups: int = 1
    ends: int = 9

    multiple = 1

    @property
    def factors(self) -> tuple[int, ...]:
        """The pixel shuffles that make up `scale`."""
        return (3,) if self.scale == 3 else (2,) * (self.scale.bit_length() - 1)

    @property
    def reach(self) -> int:
        """Input pixels on each side that an output pixel can see."""
        reach, size = self.ends // 2 + 2 * self.blocks + 1, 1
        for factor in self.factors:  # a shuffled pixel sees whole what it was cut from
            reach, size = reach + 1 / size, size * factor
        return int(reach + self.ends // 2 / size) + 1

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w 3"]) -> Float[Array, "n H W 3"]:
        x = Conv(self.features, self.ends, name="conv_first")(frames)
        first = x = PReLU(name="prelu_first")(x)
        for i in range(self.blocks):
            x = Block(self.groups, name=f"body_{i}")(x)
        x = first + Conv(self.features, groups=self.groups, name="conv_body")(x)
        for i, factor in enumerate(self.factors, 1):
            x = Conv(self.features * factor**2, name=f"conv_up{i}")(x)
            x = PReLU(name=f"prelu_up{i}")(ops.pixel_shuffle(x, factor))
        return Conv(3, self.ends, name="conv_last")(x)
