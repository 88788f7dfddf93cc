"""SR-UNet's run: networks of Table 2, the terms of Eq. 4, and the phases that bring them in."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import optax

from experiments.frame import config as options
from experiments.frame import drawing, material
from experiments.frame.experiment import Experiment
from experiments.frame.training import example, seen_by
from experiments.sr_unet.paper import PAPER
from jaxvsr import losses, train
from jaxvsr.degradation.presets import recipe
from jaxvsr.host.options import Range
from jaxvsr.layers import trained_folded
from jaxvsr.models.critics import SRGANCritic
from jaxvsr.models.espcn import RepESPCN
from jaxvsr.models.sr_unet import LIGHT, SRUNet, UNet
from jaxvsr.models.srresnet import SRResNet
from jaxvsr.weights import judges

NETWORKS = {
    "sr_unet": SRUNet(clip=False),
    "sr_unet_light": SRUNet(clip=False, **LIGHT),
    "unet": UNet(clip=False),
    # ours: eight residual blocks, without batch norm.
    "srresnet_8": SRResNet(scale=2, blocks=8),
    # ours: 60 wide, for as many operations as SR-UNet, over a bicubic enlargement.
    "espcn_6": RepESPCN(),
}
TINY = SRUNet(width=4, depths=(1,) * 7, clip=False)
STEPS = 80 * 1280  # Sect. 3.3
PATCH = 96
WARM = 0.1  # ours: share of the steps by pixels alone; the paper starts with every term
FIDELITY = {"l1": 1.0, "ssim": 0.1}  # ours
PERCEPTUAL = {"lpips": 1.0, "ssim": 1.0, "adversarial": 1e-3}  # Eq. 4
# Sect. 3.3: H.265 at CRF 23, half the size. The generator is not asked.
USES = {"paper": lambda rng: recipe("sr-unet")} | material.USES


@dataclass(frozen=True)
class Config(options.Config):
    """Defaults are Sect. 3.3; what the paper does not state is marked "ours"."""

    loss: Literal["perceptual", "fidelity"] = "perceptual"
    """Eq. 4 after a fidelity phase (ours), or that alone: L1 + ssim * (1 - SSIM)."""
    ssim: Annotated[float, Range(0)] = FIDELITY["ssim"]
    """Weight of SSIM in the fidelity phase. More looks firmer, less is nearer to the truth."""
    pixels: Literal["l1", "mse"] = "l1"
    """The fidelity phase's other term; mse is what PSNR measures, and gains it some. Ours."""
    lead: Annotated[float | None, Range(0)] = None
    """The critic learns only while it is less far ahead than this; TecoGAN's is 0.4. Ours."""
    lpips: Literal["squeeze", "vgg"] = "squeeze"
    """Trunk of the LPIPS term. The paper's is vgg. Results are reported with alex."""

    @property
    def mark(self) -> str:
        """Runs of one network by other losses are other runs."""
        return self.loss


def terms(net: str, params: dict) -> dict[str, Callable]:
    """Eq. 4, and the L1 that the text before it names; `params` are LPIPS's of trunk `net`."""
    return {
        "l1": lambda r: losses.l1(r.fake, r.hr),
        "mse": lambda r: losses.mse(r.fake, r.hr),
        "lpips": lambda r: losses.lpips(r.fake, r.hr, params, net=net),
        "ssim": lambda r: losses.ssim(r.fake, r.hr),
        "adversarial": lambda r: losses.non_saturating_generator(r.judge("critic", pieces(r.fake))),
    }


def told_apart(r: train.Round) -> tuple:
    """(the critic's loss, how far it is ahead)."""
    scores = r.judge("critic", pieces(r.hr)), r.judge("critic", pieces(r.fake))
    return losses.logistic_critic(*scores), losses.critic_lead(*scores)


def pieces(frames: jax.Array) -> jax.Array:
    """Crops [N, H, W, 3] as the critic sees them: [M, 96, 96, 3] if they are so many times 96.

    Its first dense layer, and with it its cost, grows with the side of a crop: the paper's is 96.
    """
    n, height, width, _ = frames.shape
    if height % PATCH or width % PATCH:
        return frames
    cut = frames.reshape(n, height // PATCH, PATCH, width // PATCH, PATCH, 3)
    return cut.swapaxes(2, 3).reshape(-1, PATCH, PATCH, 3)


def phases(config: Config, steps: int) -> tuple[train.Phase, ...]:
    """The fidelity phase, and behind it Eq. 4 unless the loss is "fidelity"."""
    fidelity = {config.pixels: FIDELITY["l1"], "ssim": config.ssim}
    if config.loss == "fidelity":
        return (train.Phase("fidelity", steps, fidelity),)
    first = 0 if config.start else math.ceil(WARM * steps)
    rest = max(steps - first, 1)
    full = train.Phase("eq4", rest, PERCEPTUAL, ("critic",), lead=config.lead)
    return (train.Phase("fidelity", first, fidelity), full) if first else (full,)


def players(config: Config) -> dict:
    """The generator, and SRGAN's critic with 32 filters, as in the authors' code."""
    small = {"width": 2, "hidden": 8} if config.net == TINY else {"width": 32}
    critic = SRGANCritic(**small), seen_by(pieces, config)
    return {"generator": (config.net, example(config)), "critic": critic}


def game(config: Config, lpips: dict) -> train.Game:
    """Both players, all terms, and the optimiser."""
    both = {"generator": trained_folded(config.net), "critic": players(config)["critic"][0]}
    tx, named = optax.adam(config.rate), terms(config.lpips, lpips)
    return train.Game(both, named, tx, {"critic": told_apart}, dtype=jnp.dtype(config.dtype))


def perceptual(config: Config) -> bool:
    """Whether Eq. 4 is played, with the LPIPS that it takes and that watches over it."""
    return config.loss == "perceptual"


SR_UNET = Experiment(
    paper=PAPER,
    config=Config,
    uses=USES,
    networks=NETWORKS,
    usual={"": "sr_unet", "light_x2": "sr_unet_light"},
    steps=STEPS,
    players=players,
    game=game,
    phases=phases,
    tiny=TINY,
    zeroed=("conv_last",),  # it too starts as bicubic
    judges=lambda config: judges.lpips_params(config.lpips) if perceptual(config) else {},
    guarded=perceptual,
    random_judges=lambda config: drawing.random_lpips(config.lpips),
    told=("loss",),
)
