"""SR-UNet (Vaccaro et al., MM 2021, Fig. 2): a slim U-Net that works below the input's size.

Widths go F/2, F, F, F instead of doubling, which buys more layers in each block. A block is
Eq. 2, `layers.RepBlock`; `layers.fold` turns it into the single 3x3 of Eq. 3. Frames are [0, 1]
outside, [-1, 1] inside. Modules carry the names of the published checkpoints.
"""

from math import ceil

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvsr import ops
from jaxvsr.layers import RepBlock, Tail

LEVELS = 4
LIGHT = {"width": 48, "depths": (1, 2, 2, 2, 2, 2, 2)}  # Sect. 3.3: 0.7 of the layers

WHOLE_FRAME = 1 << 20  # a reach that no tile can have


class SRUNet(nn.Module):
    """Frames to frames `scale` times larger; height and width divide by `multiple`.

    `depths` counts the blocks of the four stages down (the last is the bottleneck) and the three
    up. A scale that is not whole is reached by shrinking the next whole one; `corners` does that
    as the published x1.5 weights expect, corner pixel to corner pixel, which forbids tiles.
    `clip=False` leaves overshoot in place, for losses that want its gradient. `impl` is how
    convolutions run, see `jaxvsr.ops.impl`.
    """

    scale: float = 2
    width: int = 64
    depths: tuple[int, ...] = (2, 3, 3, 3, 3, 3, 3)
    folded: bool | str = False
    clip: bool = True
    corners: bool = False
    impl: str = "xla"

    multiple = 2 ** (LEVELS - 1)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at each level, full size first."""
        return (self.width // 2, self.width, self.width, self.width)

    @property
    def reach(self) -> int:
        """Input pixels that a window starting at a whole `multiple` sees on each side."""
        if self.corners:
            return WHOLE_FRAME
        down, up = self.depths[:LEVELS], self.depths[: LEVELS - 1 : -1]
        low = int(ceil(self.scale) != self.scale)  # how far before the window, level by level
        for depth in up:
            low = (low + depth) // 2 + 1
        low += down[-1]
        for depth in reversed(down[:-1]):
            low = 2 * low + depth
        return low

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w 3"]) -> Float[Array, "n H W 3"]:
        frames = 2 * frames - 1
        x, skips = frames, []
        for i, width in enumerate(self.widths):
            x = self._stage(x, width, self.depths[i], f"dconv_down{i + 1}")
            if i < LEVELS - 1:
                skips.append(x)
                x = ops.max_pool(x)
        for i in reversed(range(LEVELS - 1)):
            x = jnp.concatenate([ops.upsample(x, 2, "bilinear"), skips[i]], axis=-1)
            depth = self.depths[2 * (LEVELS - 1) - i]
            x = self._stage(x, self.widths[i], depth, f"dconv_up{i + 1}")
        return self._head(x, frames)

    def _stage(self, x, width: int, depth: int, name: str):
        for i in range(depth):
            x = RepBlock(width, self.folded, self.impl, name=f"{name}_{i}")(x)
        return x

    def _head(self, x, frames):
        # A zero head makes the untrained network plain bicubic (Eq. 1).
        r = ceil(self.scale)
        options = {"kernel_init": nn.initializers.zeros, "r": r, "impl": self.impl}
        last = Tail(3 * r * r, 1, name="conv_last", **options)
        if r == self.scale:
            return last(x, frames, gain=0.5, shift=0.5, clip=self.clip)
        clip = (lambda y: jnp.clip(y, -1, 1)) if self.clip else lambda y: y
        size = round(frames.shape[1] * self.scale), round(frames.shape[2] * self.scale)
        y = clip(ops.resize(clip(last(x, frames)), size, antialias=False, corners=self.corners))
        return (y + 1) / 2


class UNet(SRUNet):
    """The paper's baseline: the same blocks, two a stage, with widths that double."""

    depths: tuple[int, ...] = (2, 2, 2, 2, 2, 2, 2)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at each level, full size first."""
        return tuple(self.width // 2 << level for level in range(LEVELS))
