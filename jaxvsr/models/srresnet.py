"""SRResNet, the generator of SRGAN (Ledig et al., CVPR 2017), in its inference form.

Batch norm is folded into the convolutions. Eight blocks with grouped convolutions is the
browser variant; sixteen dense ones is the published network.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvsr.layers import Conv, Slope, Tail, Upsampler


class Block(nn.Module):
    """x + conv(prelu(conv(x)))."""

    groups: int = 1
    impl: str = "xla"

    @nn.compact
    def __call__(self, x):
        width, options = x.shape[-1], {"groups": self.groups, "impl": self.impl}
        slope = Slope(name="prelu")(width)
        y = Conv(width, name="conv1", **options)(x, activation="prelu", slope=slope)
        return Conv(width, name="conv2", **options)(y, skips=((x, 1.0),))


class SRResNet(nn.Module):
    """Frames to frames `scale` (2^k or 3) times larger, not clipped.

    `groups` splits the trunk's convolutions; `ends` is the size of the first and last one.
    `tanh` ends in (tanh(y) + 1) / 2, as some train it. `impl` is how convolutions run, see
    `jaxvsr.ops.impl`.
    """

    scale: int = 4
    features: int = 64
    blocks: int = 16
    groups: int = 1
    ends: int = 9
    tanh: bool = False
    impl: str = "xla"

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
        width, trunk = self.features, {"groups": self.groups, "impl": self.impl}
        bent = lambda name: {"activation": "prelu", "slope": Slope(name=name)(width)}
        first = x = Conv(width, self.ends, name="conv_first")(frames, **bent("prelu_first"))
        for i in range(self.blocks):
            x = Block(name=f"body_{i}", **trunk)(x)
        x = Conv(width, name="conv_body", **trunk)(x, skips=((first, 1.0),))
        for i, factor in enumerate(self.factors, 1):
            grow = Upsampler(width * factor**2, r=factor, impl=self.impl, name=f"conv_up{i}")
            x = grow(x, **bent(f"prelu_up{i}"))
        y = Tail(3, self.ends, r=1, impl=self.impl, name="conv_last")(x, None)
        return (jnp.tanh(y) + 1) / 2 if self.tanh else y
