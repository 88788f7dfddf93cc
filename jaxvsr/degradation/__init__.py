"""What spoils a video on its way to a viewer: fewer pixels, noise, then a real codec."""

from jaxvsr.degradation.cache import Cache
from jaxvsr.degradation.coding import code, spoil, spoil_and_tell, subsampled
from jaxvsr.degradation.downscale import COLOURS, quantise, shrink
from jaxvsr.degradation.presets import PRESETS
from jaxvsr.degradation.reading import read_frames, read_video
from jaxvsr.degradation.recipe import CODECS, DOWNSCALES, Recipe, draw

__all__ = ["CODECS", "COLOURS", "DOWNSCALES", "PRESETS", "Cache", "Recipe", "code", "draw"]
__all__ += ["quantise", "read_frames", "read_video", "shrink", "spoil", "spoil_and_tell"]
__all__ += ["subsampled"]
