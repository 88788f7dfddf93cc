"""Enlarging without learning: the two classical filters as entries of the table."""

from fractions import Fraction
from math import ceil

import flax.linen as nn
from jaxtyping import Array, Float

from jaxvsr import ops
from jaxvsr.ops.resizing import PHASES


class Bicubic(nn.Module):
    """Keys' bicubic filter (a = -0.75, as PyTorch) at any scale; antialiased where it shrinks."""

    scale: float = 2
    method = "bicubic"
    lobes = 2

    @property
    def multiple(self) -> int:
        """The scale's denominator where that is small: windows then resize as the whole does."""
        denominator = Fraction(self.scale).limit_denominator(1000).denominator
        return denominator if denominator <= PHASES else 1

    @property
    def reach(self) -> int:
        """Input pixels on each side that an output pixel can see."""
        return ceil(self.lobes * max(1, 1 / self.scale))

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w 3"]) -> Float[Array, "n H W 3"]:
        size = round(frames.shape[1] * self.scale), round(frames.shape[2] * self.scale)
        return ops.resize(frames, size, self.method)


class Lanczos(Bicubic):
    """The windowed sinc of three lobes at any scale."""

    method = "lanczos"
    lobes = 3
