"""SRVGGNetCompact (Wang et al., Real-ESRGAN, 2021): a plain stack of convolutions at LR size.

Modules carry the published names: convolutions at even places of `body`, PReLUs at odd ones.
"""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxvsr.layers import Conv, Slope, Tail, bent


class SRVGGNetCompact(nn.Module):
    """Frames to frames `scale` times larger, not clipped; `convs` counts the inner ones.

    `activation` is "prelu", as published, or one of `layers.bent` ("leaky" with `slope`). `base` is
    how the input is enlarged before it is added: "nearest", as published, "bilinear", "bicubic",
    or "plain", which adds nothing. `impl` is how convolutions run, see `jaxvsr.ops.impl`.
    """

    scale: int = 4
    features: int = 64
    convs: int = 16
    activation: str = "prelu"
    slope: float = 0.1
    base: str = "nearest"
    impl: str = "xla"

    multiple = 1

    @property
    def reach(self) -> int:
        """Input pixels on each side that an output pixel can see."""
        return self.convs + 2

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w 3"]) -> Float[Array, "n H W 3"]:
        x = frames
        for i in range(self.convs + 1):
            slope = self.slope if self.activation == "leaky" else None
            if self.activation == "prelu":
                slope = Slope(name=f"body_{2 * i + 1}")(self.features)
            conv = Conv(self.features, impl=self.impl, name=f"body_{2 * i}")
            x = bent(conv, x, self.activation, slope)
        name = f"body_{2 * self.convs + 2}"
        last = Tail(3 * self.scale**2, r=self.scale, impl=self.impl, name=name)
        return last(x, None) if self.base == "plain" else last(x, frames, enlarge=self.base)
