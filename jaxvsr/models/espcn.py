"""ESPCN (Shi et al., CVPR 2016): convolutions at LR size, then one pixel shuffle."""

from math import ceil

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvsr.layers import Conv, Tail


class ESPCN(nn.Module):
    """Frames to frames `scale` times larger, not clipped.

    One convolution for each of `widths`, the first `first` wide and the rest 3x3. `residual` adds
    the bicubic enlargement (ours: the paper has none) and starts from it. `impl` is how
    convolutions run, see `jaxvsr.impl`.
    """

    scale: int = 2
    widths: tuple[int, ...] = (64, 32)
    first: int = 5
    activation: str = "tanh"
    residual: bool = False
    impl: str = "xla"

    multiple = 1

    @property
    def reach(self) -> int:
        """Input pixels on each side that an output pixel can see."""
        return max(self.first // 2 + len(self.widths), 2 * ceil(self.residual))

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w 3"]) -> Float[Array, "n H W 3"]:
        x, tanh = frames, self.activation == "tanh"
        for i, width in enumerate(self.widths):
            conv = Conv(width, 3 if i else self.first, impl=self.impl, name=f"conv{i + 1}")
            x = jnp.tanh(conv(x)) if tanh else conv(x, activation=self.activation)
        init = nn.initializers.zeros if self.residual else nn.initializers.lecun_normal()
        options = {"r": self.scale, "impl": self.impl, "kernel_init": init}
        last = Tail(3 * self.scale**2, name=f"conv{len(self.widths) + 1}", **options)
        return last(x, frames if self.residual else None)
