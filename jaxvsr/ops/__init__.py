"""Operations on frames [N, H, W, C], written once and used by every network.

Each takes `impl` where a Triton kernel exists for it; see `jaxvsr.ops.impl`.
"""

from jaxvsr.ops.activations import activate, joined_slope, split_slope
from jaxvsr.ops.convolving import conv, conv_shuffle, tail
from jaxvsr.ops.resizing import resize, upsample
from jaxvsr.ops.shuffling import max_pool, pixel_shuffle, pixel_unshuffle
from jaxvsr.ops.warping import warp

__all__ = ["activate", "conv", "conv_shuffle", "joined_slope", "max_pool", "pixel_shuffle"]
__all__ += ["pixel_unshuffle", "resize", "split_slope", "tail", "upsample", "warp"]
