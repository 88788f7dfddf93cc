"""ESPCN (Shi et al., CVPR 2016): convolutions at LR size, then one pixel shuffle; two forms."""

from math import ceil

import flax.linen as nn
from jaxtyping import Array, Float

from jaxvsr.layers import Conv, RepBlock, Tail, bent


class ESPCN(nn.Module):
    """Frames to frames `scale` times larger, not clipped.

    One convolution for each of `widths`, the first `first` wide and the rest 3x3. `activation`
    is one of `layers.bent` ("leaky" with `slope`). `residual` adds the bicubic enlargement (ours:
    the paper has none) and starts from it. `impl` is how convolutions run, see `jaxvsr.ops.impl`.
    """

    scale: int = 2
    widths: tuple[int, ...] = (64, 32)
    first: int = 5
    activation: str = "tanh"
    slope: float = 0.1
    residual: bool = False
    impl: str = "xla"

    multiple = 1

    @property
    def reach(self) -> int:
        """Input pixels on each side that an output pixel can see."""
        return max(self.first // 2 + len(self.widths), 2 * ceil(self.residual))

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w 3"]) -> Float[Array, "n H W 3"]:
        x, slope = frames, self.slope if self.activation == "leaky" else None
        for i, width in enumerate(self.widths):
            conv = Conv(width, 3 if i else self.first, impl=self.impl, name=f"conv{i + 1}")
            x = bent(conv, x, self.activation, slope)
        init = nn.initializers.zeros if self.residual else nn.initializers.lecun_normal()
        options = {"r": self.scale, "impl": self.impl, "kernel_init": init}
        last = Tail(3 * self.scale**2, name=f"conv{len(self.widths) + 1}", **options)
        return last(x, frames if self.residual else None)


class RepESPCN(nn.Module):
    """ESPCN of RepVGG blocks, as SR-UNet's Table 2 compares with; not clipped.

    `blocks` of them, `width` wide (the paper calibrates it to SR-UNet's speed and gives no
    number), and the last convolution, over the bicubic enlargement. `folded` and `impl` are
    SR-UNet's.
    """

    scale: int = 2
    width: int = 60
    blocks: int = 5
    folded: bool | str = False
    impl: str = "xla"

    multiple = 1

    @property
    def reach(self) -> int:
        """Input pixels on each side that an output pixel can see."""
        return self.blocks + 1

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w 3"]) -> Float[Array, "n H W 3"]:
        x = frames
        for i in range(1, self.blocks + 1):
            x = RepBlock(self.width, self.folded, self.impl, name=f"conv{i}")(x)
        zeros, r = nn.initializers.zeros, self.scale
        options = {"kernel_init": zeros, "r": r, "impl": self.impl}
        return Tail(3 * r * r, name=f"conv{self.blocks + 1}", **options)(x, frames)
