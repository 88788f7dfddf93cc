"""SR-UNet (Vaccaro et al., MM 2021), Table 2: 540p to 1080p after H.265 CRF 23, 14 Derf clips.

python -m experiments.sr_unet --accelerator gpu       # 102,400 steps; paper: 24 h on a Titan Xp
python -m experiments.sr_unet --smoke                 # under a minute, made-up scenes, no files
python -m experiments.sr_unet --network unet          # another row of Table 2, by the same recipe
python -m experiments.sr_unet --use x2                # weights for a use instead of the paper's
python -m experiments.sr_unet table RUN...            # Table 2 and the rate-distortion curves
python -m experiments.sr_unet overfit CLIP            # Table 4: a network of its own for one film
python -m experiments.sr_unet pack FILE.zip           # coded clips for a machine without them

Claim: better LPIPS and VMAF than H.265 with bicubic enlargement, in real time. The same command
continues a run that was stopped; one for the paper ends with its row of Table 2, paper | ours.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from experiments import say, tell_library
from experiments.frame import material as sr_unet_data
from experiments.frame import validation
from jaxvsr import losses, train, weights
from jaxvsr.data.pipeline import Feed, check_batch
from jaxvsr.errors import UsageError, WeightsError
from jaxvsr.layers import trained_folded
from jaxvsr.models.critics import SRGANCritic
from jaxvsr.models.espcn import RepESPCN
from jaxvsr.models.sr_unet import LIGHT, SRUNet, UNet
from jaxvsr.models.srresnet import SRResNet
from jaxvsr.train import checkpoint, rates
from jaxvsr.weights import judges

PAPER = {  # Table 2: SSIM, LPIPS, VMAF, and frames per second on a GTX 1080 Ti
    "sr_unet": {"ssim": 0.7190, "lpips": 0.2067, "vmaf": 84.30, "fps": 46.1},
    "unet": {"ssim": 0.7273, "lpips": 0.2193, "vmaf": 85.32, "fps": 45.4},
    "srresnet_8": {"ssim": 0.7278, "lpips": 0.2130, "vmaf": 84.24, "fps": 6.4},
    "espcn_6": {"ssim": 0.7159, "lpips": 0.2125, "vmaf": 82.29, "fps": 45.0},
    "bicubic": {"ssim": 0.7209, "lpips": 0.2821, "vmaf": 79.15},
}
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
LENGTH = 24  # frames of a shot, about. Ours
WARM = 0.1  # ours: share of the steps by pixels alone; the paper starts with every term
FIDELITY = {"l1": 1.0, "ssim": 0.1}  # ours
PERCEPTUAL = {"lpips": 1.0, "ssim": 1.0, "adversarial": 1e-3}  # Eq. 4
FREE = ("data",)  # what may differ when a run goes on: where its clips lie


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


CRITICS = {"critic": told_apart}


def pieces(frames: jax.Array) -> jax.Array:
    """Crops [N, H, W, 3] as the critic sees them: [M, 96, 96, 3] if they are so many times 96.

    Its first dense layer, and with it its cost, grows with the side of a crop: the paper's is 96.
    """
    n, height, width, _ = frames.shape
    if height % PATCH or width % PATCH:
        return frames
    cut = frames.reshape(n, height // PATCH, PATCH, width // PATCH, PATCH, 3)
    return cut.swapaxes(2, 3).reshape(-1, PATCH, PATCH, 3)


def falling(plan: tuple[train.Phase, ...], peak: float) -> tuple[train.Phase, ...]:
    """The phases, each with a rate that rises for a little while and falls along a cosine."""
    adam = lambda phase: rates.adam(peak, phase.steps, last=peak / 50)
    return tuple(replace(phase, tx=adam(phase)) for phase in plan)


def phases(
    loss: str,
    steps: int,
    share: float = WARM,
    ssim: float = FIDELITY["ssim"],
    lead: float | None = None,
    pixels: str = "l1",
) -> tuple[train.Phase, ...]:
    """The fidelity phase, and behind it Eq. 4 unless `loss` is "fidelity"."""
    fidelity = {pixels: FIDELITY["l1"], "ssim": ssim}
    if loss == "fidelity":
        return (train.Phase("fidelity", steps, fidelity),)
    first = math.ceil(share * steps)
    full = train.Phase("eq4", max(steps - first, 1), PERCEPTUAL, ("critic",), lead=lead)
    return (train.Phase("fidelity", first, fidelity), full) if first else (full,)


@dataclass(frozen=True)
class Config:
    """Defaults are Sect. 3.3; what the paper does not state is marked "ours"."""

    accelerator: Literal["cpu", "gpu", "tpu"] = "cpu"
    smoke: bool = False
    """Two steps a phase of a tiny network on made-up scenes; reads and downloads nothing."""
    use: str = "paper"
    """paper (H.265 at CRF 23), x2 (CRF 18-28, H.264 H.265 VP9 AV1), x2_collapse (CRF 33-42), or
    light_x2 (as x2, the light network)."""
    network: str | None = None
    """sr_unet, sr_unet_light, unet, srresnet_8 or espcn_6; by default what the use calls for."""
    loss: Literal["perceptual", "fidelity"] = "perceptual"
    """Eq. 4 after a fidelity phase (ours), or that alone: L1 + ssim * (1 - SSIM)."""
    ssim: float = FIDELITY["ssim"]
    """Weight of SSIM in the fidelity phase. More looks firmer, less is nearer to the truth."""
    pixels: Literal["l1", "mse"] = "l1"
    """The fidelity phase's other term; mse is what PSNR measures, and gains it some. Ours."""
    lead: float | None = None
    """The critic learns only while it is less far ahead than this; TecoGAN's is 0.4. Ours."""
    lpips: Literal["squeeze", "vgg"] = "squeeze"
    """Trunk of the LPIPS term. The paper's is vgg. Results are reported with alex."""
    scale: float = 1.0
    """Of the paper's 102,400 steps."""
    rate: float = 1e-4
    """Adam's: constant, or where each phase peaks."""
    decay: Literal["constant", "cosine"] = "constant"
    """Cosine falls to a fiftieth in each phase: ours, for runs far shorter than the paper's."""
    batch: int = 32
    patch: int = PATCH
    """Side of a training crop in true pixels. Ours: the paper does not say of which picture."""
    start: str | None = None
    """Weights of the same network to begin with, such as those of a fidelity run, or the folder of
    such a run, whose critic then goes on too; RUN/best is where its LPIPS was best."""
    data: tuple[Path, ...] = ()
    """Folders of clips, or NAME/SPLIT=FOLDER for a published set (reds/train=data/REDS), or packs
    (FILE.zip); by default the clips of JAXVSR_DATA, or made-up scenes."""
    share: float = 0.2
    """Of the sequences that is held out to validate on."""
    keep: Path = Path("runs/sr_unet_data")
    """Folder of coded clips; runs of one use share them."""
    run: Path | None = None
    """Folder of the run, by default runs/sr_unet/USE-NETWORK-LOSS; a run found there goes on."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What networks compute in. Ours."""
    threads: int = 2
    """That cut crops."""
    validate: int = 5000
    """Steps from one validation to the next."""
    seed: int = 0
    net: Annotated[nn.Module | None, tyro.conf.Suppress] = field(default=None, compare=False)


def checked(config: Config) -> Config:
    """The config with what hangs on other fields filled in. Raises UsageError."""
    sr_unet_data.check_use(config.use)
    name = config.network or ("sr_unet_light" if config.use == "light_x2" else "sr_unet")
    if name == "bicubic":
        raise UsageError("bicubic learns nothing; it is a row of: experiments.sr_unet table RUN...")
    if name not in NETWORKS:
        raise UsageError(f"no network {name!r}; choose from {', '.join(NETWORKS)}")
    if config.scale <= 0 or not 0 < config.share < 1:
        raise UsageError("scale must be above 0, and share between 0 and 1")
    for given, least in {"batch": 1, "threads": 1, "validate": 1, "seed": 0}.items():
        if getattr(config, given) < least:
            raise UsageError(f"{given} {getattr(config, given)}: give {least} or more")
    if config.patch < 32 or config.patch % 16:
        raise UsageError(f"patch {config.patch}: give a multiple of 16 from 32")
    run = config.run or Path("runs/sr_unet") / f"{config.use}-{name}-{config.loss}"
    return replace(config, network=name, run=run, net=config.net or NETWORKS[name])


def main(config: Config) -> dict[str, float]:
    """Trains, resuming where there is something to resume; returns the last validation's scores."""
    config = checked(config)
    train.start(config.accelerator, config.batch)
    if config.smoke:
        from experiments.frame.smoke import smoke

        return smoke(config)
    check_batch(config.batch, jax.device_count())
    perceptual = config.loss == "perceptual"
    judge = judges.lpips_params(config.lpips) if perceptual else {}
    params = starting(config)
    found = sr_unet_data.material(config.data, config.share, config.seed)
    say(*found.told)
    judge_of = judges.lpips_params("alex") if perceptual and found.validates else None
    told = identity(config, found)
    train.check_folder(config.run, told, free=FREE)
    feed = feed_of(config)
    batches, unseen, left = sr_unet_data.fed(found, config.use, feed, config.keep)
    say(*left)
    score = validation.over(unseen, trained_folded(config.net), judge_of) if unseen else None
    return fit(config, told, judge, params, batches, score)


def feed_of(config: Config) -> Feed:
    """Single frames, mirrored at most; ours: shots of 24 frames, each coded on its own."""
    return Feed(
        batch=config.batch,
        crop=config.patch,
        frames=1,
        length=LENGTH,
        flips="horizontal",
        seed=config.seed,
        threads=config.threads,
        hosts=jax.process_count(),
        host=jax.process_index(),
    )


def starting(config: Config) -> dict:
    """Parameters of both players. Raises WeightsError where --start is of another network."""
    net, side = config.net, 8 * config.net.multiple
    begun = begun_with(config) if config.start else {}
    players = {"generator": net, "critic": critic_of(net)}
    seen = jax.eval_shape(pieces, jnp.zeros((2, config.patch, config.patch, 3)))
    shapes = {"generator": (1, side, side, 3), "critic": seen.shape}
    inputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    untrained = lambda key: train.untrained(key, players, inputs)
    key = jax.random.key(config.seed)
    params = drawn(untrained, key) if net == TINY else untrained(key)
    if net == TINY:  # it too starts as bicubic
        made = params["generator"]
        made["conv_last"] = jax.tree.map(np.zeros_like, made["conv_last"])
    for name, given in begun.items():
        if weights.shapes_of(given) != weights.shapes_of(params[name]):
            raise WeightsError(f"{config.start}: another {name}; start from a run like this one")
    return params | begun


def begun_with(config: Config) -> dict:
    """The players that --start gives: both of a run, or the generator of a file of weights."""
    folder = Path(config.start)
    if folder.is_dir():
        last = folder / "checkpoints"
        return checkpoint.players(last if last.is_dir() else folder)
    loaded = weights.load(config.start, folded=False)
    if unclipped(loaded.module) != config.net:
        raise WeightsError(f"{config.start}: not a {config.network}; give weights of this one")
    return {"generator": dict(loaded.params)}


def unclipped(net: nn.Module) -> nn.Module:
    """The network as it is trained: overshoot has a gradient."""
    return net.clone(clip=False) if hasattr(net, "clip") else net


def critic_of(net: nn.Module) -> SRGANCritic:
    """SRGAN's with 32 filters, as in the authors' code; a small one for the tiny network."""
    return SRGANCritic(width=2, hidden=8) if net == TINY else SRGANCritic(width=32)


def game_of(config: Config, judge: dict) -> train.Game:
    """Both players, all terms, and the optimiser."""
    players = {"generator": trained_folded(config.net), "critic": critic_of(config.net)}
    dtype, named = jnp.dtype(config.dtype), terms(config.lpips, judge)
    return train.Game(players, named, optax.adam(config.rate), CRITICS, dtype=dtype)


def fit(config: Config, told: dict, judge: dict, params, batches, score) -> dict[str, float]:
    """Plays all phases, and writes the averaged weights at each validation."""
    steps, share = max(round(config.scale * STEPS), 1), 0 if config.start else WARM
    plan = phases(config.loss, steps, share, config.ssim, config.lead, config.pixels)
    plan = plan if config.decay == "constant" else falling(plan, config.rate)

    def validated(average):
        package(config, average)
        return score(average) if score else {}

    end = train.fit(
        config.run,
        game_of(config, judge),
        plan,
        params,
        batches,
        key=jax.random.key(config.seed),
        config=told,
        free=FREE,
        validate=validated,
        improved=lambda average: package(config, average, config.run / "best"),
        cadence=train.Cadence(validate=config.validate),
    )
    path = package(config, end.state.ema)
    say(f"weights: {path}")
    return dict(end.scores)


def identity(config: Config, found: sr_unet_data.Material) -> dict:
    """What must be the same when a run goes on."""
    given = asdict(replace(config, net=None))
    left = ("net", "accelerator", "smoke", "run", "keep", "threads", "validate")
    told = {name: value for name, value in given.items() if name not in left}
    paths = [str(path) for path in config.data]
    return told | {"data": paths, "clips": sr_unet_data.identity(found)}


def package(config: Config, average, folder: Path | None = None) -> Path:
    """Writes averaged weights to `folder`, the run's by default, for `weights.load`; their path."""
    path = (folder or config.run) / f"{config.use}-{config.network}.safetensors"
    net = config.net.clone(clip=True) if hasattr(config.net, "clip") else config.net
    facts = {"network": config.network, "use": config.use, "loss": config.loss}
    if jax.process_index() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        average = jax.tree.map(np.asarray, average)
        weights.save(path, average, weights.metadata_of(net) | facts)
    return path


def drawn(untrained: Callable, key: jax.Array):
    """Random numbers in the shapes of `untrained(key)`, without compiling how they are drawn."""
    rng = np.random.default_rng(0)
    scaled = lambda s: rng.normal(0, 1 / math.sqrt(max(math.prod(s.shape[:-1]), 1)), s.shape)
    return jax.tree.map(lambda s: np.float32(scaled(s)), jax.eval_shape(untrained, key))


def command(args: list[str]) -> object:
    """What the command line asks for."""
    from experiments.frame.packing import Pack
    from experiments.sr_unet.overfit import Overfit
    from experiments.sr_unet.tables import Table, conclude

    others = {"table": Table, "overfit": Overfit, "pack": Pack}
    if args and args[0] in others:
        prog = f"python -m experiments.sr_unet {args[0]}"
        return tyro.cli(others[args[0]], args=args[1:], prog=prog).run()
    prog = "python -m experiments.sr_unet"
    config = tyro.cli(Config, args=args, prog=prog, description=__doc__)
    scores = main(config)
    print(*(f"{name} {value:.4f}" for name, value in scores.items()))
    if config.use == "paper" and not config.smoke and jax.process_index() == 0:
        conclude(checked(config).run)
    return scores


if __name__ == "__main__":
    tell_library()
    sys.exit(train.exit_status(lambda: command(sys.argv[1:])))
