"""The table of generators: what each one is and what a caller must know to run it."""

from dataclasses import dataclass

import flax.linen as nn

from jaxvsr.models.sr_unet import SRUNet, UNet


@dataclass(frozen=True)
class Spec:
    """Facts about a generator that its own code cannot tell a caller."""

    module: type[nn.Module]
    scale: float
    radius: int = 0  # frames needed on each side: 0 = frame by frame, 2 = five-frame window
    recurrent: bool = False  # carries state from frame to frame instead
    multiple: int = 1  # height and width must divide by this; callers pad
    reach: int = 0  # input pixels a tile must overlap by to equal the untiled result
    any_scale: bool = False  # `scale` may be any positive number
    paper: str = ""


def reach_of(module: nn.Module) -> int:
    """Input pixels on each side that an output pixel of this module can see."""
    return module.reach


SR_UNET_PAPER = "doi:10.1145/3474085.3475683"

MODELS = {
    "sr_unet": Spec(SRUNet, scale=2, multiple=8, reach=SRUNet().reach, paper=SR_UNET_PAPER),
    "unet": Spec(UNet, scale=2, multiple=8, reach=UNet().reach, paper=SR_UNET_PAPER),
}
