"""Video super-resolution and compressed-video restoration with GANs, in pure-functional JAX.

net = jaxvsr.load("sr_unet_light_x2")        # a packaged name, a path, or a URL
better = net(frames)                         # [N, H, W, 3], uint8 or float in [0, 1]
jaxvsr.enhance("film.mp4", model="sr_unet_light_x2")
jaxvsr.compare("truth.mkv", "film.mp4").mean("psnr")
jaxvsr.degrade("film.mp4", "worse.mp4", "gan-evh")     # as a paper does to its data

Each is imported when it is first used, so that `--help` need not wait for JAX.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_HOMES = {
    "compare": "comparison.one",
    "degrade": "degradation.anything",
    "JaxvsrError": "errors",
    "enhance": "inference.enhance",
    "Network": "inference.network",
    "load": "inference.network",
    "Result": "inference.settings",
    "Settings": "inference.settings",
    "MODELS": "models",
    "Spec": "models",
}
_MODULES = {"fused": "ops.fused", "motion": "ops.motion"}


def __getattr__(name: str):
    """A public name or a room of the library, imported at its first use."""
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name in _MODULES or (name[0] != "_" and find_spec(f"{__name__}.{name}")):
        value = import_module(f"{__name__}.{_MODULES.get(name, name)}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
