"""Video super-resolution and compressed-video restoration with GANs, in pure-functional JAX.

net = jaxvsr.load("sr_unet_light_x2")        # a packaged name, a path, or a URL
better = net(frames)                         # [N, H, W, 3], uint8 or float in [0, 1]
jaxvsr.enhance("film.mp4", model="sr_unet_light_x2")
jaxvsr.compare("truth.mkv", "film.mp4").mean("psnr")
jaxvsr.degrade("film.mp4", "worse.mp4", "gan-evh")     # as a paper does to its data
"""

from jaxvsr.comparison.one import compare
from jaxvsr.degradation.anything import degrade
from jaxvsr.errors import JaxvsrError
from jaxvsr.inference.enhance import enhance
from jaxvsr.inference.network import Network, load
from jaxvsr.inference.settings import Result, Settings
from jaxvsr.models import MODELS, Spec
from jaxvsr.ops import fused, motion

__version__ = "0.1.0"
__all__ = ["MODELS", "JaxvsrError", "Network", "Result", "Settings", "Spec"]
__all__ += ["compare", "degrade", "enhance", "fused", "load", "motion"]
