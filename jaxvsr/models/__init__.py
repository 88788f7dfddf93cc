"""The table of generators: what each one is and what a caller must know to run it."""

from dataclasses import dataclass, replace

import flax.linen as nn

from jaxvsr.models.classical import Bicubic, Lanczos
from jaxvsr.models.espcn import ESPCN, RepESPCN
from jaxvsr.models.esrgan import RRDBNet
from jaxvsr.models.sr_unet import SRUNet, UNet
from jaxvsr.models.srresnet import SRResNet
from jaxvsr.models.srvgg import SRVGGNetCompact


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


def spec_of(name: str, module: nn.Module) -> Spec:
    """The table's entry `name` with the facts of this module instead of the default one."""
    facts = {key: getattr(module, key) for key in ("scale", "multiple", "reach")}
    return replace(MODELS[name], **facts)


SR_UNET = "doi:10.1145/3474085.3475683"
KEYS = "doi:10.1109/TASSP.1981.1163711"
DUCHON = "doi:10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2"

MODELS = {
    "sr_unet": Spec(SRUNet, scale=2, multiple=8, reach=SRUNet().reach, paper=SR_UNET),
    "unet": Spec(UNet, scale=2, multiple=8, reach=UNet().reach, paper=SR_UNET),
    "esrgan": Spec(RRDBNet, scale=4, reach=RRDBNet().reach, paper="arXiv:1809.00219"),
    "srvgg": Spec(SRVGGNetCompact, scale=4, reach=18, paper="arXiv:2107.10833"),
    "espcn": Spec(ESPCN, scale=2, reach=ESPCN().reach, paper="arXiv:1609.05158"),
    "espcn_rep": Spec(RepESPCN, scale=2, reach=RepESPCN().reach, paper=SR_UNET),
    "srresnet": Spec(SRResNet, scale=4, reach=SRResNet().reach, paper="arXiv:1609.04802"),
    "bicubic": Spec(Bicubic, scale=2, reach=2, any_scale=True, paper=KEYS),
    "lanczos": Spec(Lanczos, scale=2, reach=3, any_scale=True, paper=DUCHON),
}
