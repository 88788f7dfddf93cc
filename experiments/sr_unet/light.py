"""A light SR-UNet x2 (Vaccaro et al., MM 2021, Sect. 3.3) for compressed video, by L1 alone.

python -m experiments.sr_unet light --smoke  # under a minute, drawn scenes, no data needed
python -m experiments.sr_unet light --run runs/light  # about two hours on two CPU cores
python -m experiments.evaluate_clips runs/light/sr_unet_light_x2.safetensors

Claim: more PSNR, SSIM and VMAF than bicubic and Lanczos on clips that it never saw. The paper's
perceptual and adversarial terms are not part of this run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np

from experiments import DATA, say
from experiments.frame.numbered import Numbered
from jaxvsr import degradation, losses, train, weights
from jaxvsr.data import crops
from jaxvsr.host.dealing import check_batch
from jaxvsr.host.options import Range
from jaxvsr.layers import trained_folded
from jaxvsr.models.sr_unet import LIGHT, SRUNet

VIDEOS = {  # lines to which a training video may be reduced; those not named here are held out
    "bamboo_foliage_540p": 400,
    "bedroom_540p": 400,
    "blocks_720p": 480,
    "coffee_720p": 480,
    "crosswalk_people_480p": 360,
    "face_selfie_1440x1080": 540,
    "flower_opening_540p": 400,
    "gopro_hero7_walk_480p": 360,
    "parachute_544x960": 640,
    "park_trees_traffic_1080p": 540,
    "slides_1024x768": 768,
    "street_london_1376x1840": 918,
}
HELD_OUT = {"drone_coast_480p": 360, "gopro_max_walk_480p": 360}
STILLS = ("cid22", "clic2025", "photo")
EVERY = 12  # one still in so many is held out
NATIVE = 0.4  # of the videos keep their size, with the faint colour that coding left them
SOFT = 0.1  # of the stills are enlarged: real video is seldom sharp to the pixel
COLOUR = 0.5  # share of the colour correction that ships; best on held-out videos at full size
LUMA = (0.2126, 0.7152, 0.0722)  # BT.709
LINES = 4320  # more than any video here has
SIDE, FRAMES = 256, 8  # a training clip, before it is spoiled
TERMS = {"l1": lambda r: losses.l1(r.fake, r.hr)}
MIX = (0.56, 0.28, 0.07, 0.09)  # stills, videos, drawn shapes and text, made-up films


@dataclass(frozen=True)
class Light:
    """Defaults are those of the packaged weights."""

    accelerator: Literal["cpu", "gpu", "tpu"] = "cpu"
    smoke: bool = False
    """Two steps of a tiny network on drawn scenes."""
    run: Path = Path("runs/sr_unet_light_x2")
    """Folder of crops, checkpoint and result; a run found there is resumed."""
    steps: Annotated[int, Range(1)] = 12_100
    rate: Annotated[float, Range(0, 1, above=True)] = 5e-4
    batch: Annotated[int, Range(1)] = 16
    patch: Annotated[int, Range(8, 512)] = 48
    """Side of a training crop in input pixels."""
    clips: Annotated[int, Range(1)] = 1500
    """Clips to cut crops from, eight from each."""
    seed: Annotated[int, Range(0)] = 0


def main(config: Light) -> dict[str, float]:
    """Trains, resuming where there is something to resume; returns the last metrics."""
    train.start(config.accelerator, config.batch)
    if config.smoke:
        return smoke(config)
    check_batch(config.batch, jax.device_count())
    train.check_folder(config.run, identity(config))
    known, unseen = (load_crops(config, held_out) for held_out in (False, True))
    return fit(config, SRUNet(clip=False, **LIGHT), known, unseen)


def smoke(config: Light) -> dict[str, float]:
    """Two steps of a tiny network on two drawn clips, nothing written."""
    rng = np.random.default_rng(config.seed)
    drawn = (crops.scene(3, 64, rng) for _ in range(2))
    pairs = crops.pairs(drawn, rng, degradation.draw, side=16, count=2)
    net = SRUNet(width=4, depths=(1,) * 7, clip=False)
    game, phase = table(net, config.rate, 2)
    state = train.init(jax.random.key(0), {"generator": untrained(net, config.seed)}, game, phase)
    step = jax.jit(train.make_step(game, phase))
    for i in range(2):
        state, metrics = step(state, pairs.batch(i, 2, 8, config.seed))
    return jax.tree.map(float, metrics)


def table(net: SRUNet, rate: float, steps: int) -> tuple[train.Game, train.Phase]:
    """What is trained, and its one phase."""
    game = train.Game({"generator": trained_folded(net)}, TERMS, train.adam(rate, steps))
    return game, train.Phase("fidelity", steps, {"l1": 1.0})


def untrained(net: SRUNet, seed: int):
    """Fresh parameters, in the layout for training."""
    side = net.multiple
    return net.init(jax.random.key(seed), np.zeros((1, side, side, 3), np.float32))["params"]


def fit(config: Light, net: SRUNet, known: crops.Pairs, unseen: crops.Pairs) -> dict[str, float]:
    """Runs to `config.steps` with a checkpoint every two minutes; writes the averaged weights."""
    game, phase = table(net, config.rate, config.steps)

    def validated(params):
        package(config, net, params)
        return validate(net, params, unseen)

    end = train.fit(
        config.run,
        game,
        (phase,),
        {"generator": untrained(net, config.seed)},
        Draws(known, config),
        key=jax.random.key(config.seed),
        config=identity(config),
        validate=validated,
        cadence=train.Cadence(validate=500),
    )
    package(config, net, end.state.ema)
    return dict(end.scores)


def identity(config: Light) -> dict:
    """What must be the same when a run goes on."""
    return {name: getattr(config, name) for name in ("rate", "batch", "patch", "seed", "clips")}


class Draws(Numbered):
    """The run's batches."""

    def __init__(self, known: crops.Pairs, config: Light):
        self.known, self.config = known, config

    def batch(self, number: int) -> dict[str, np.ndarray]:
        """See `Numbered`."""
        config = self.config
        return self.known.batch(number, config.batch, config.patch, config.seed)


def package(config: Light, net: SRUNet, average) -> None:
    """Writes the averaged weights as `jaxvsr.weights.load` reads them."""
    path = config.run / "sr_unet_light_x2.safetensors"
    params = calmed(average, COLOUR)
    weights.save(path, params, weights.metadata_of(net.clone(clip=True)))


def calmed(params, share: float):
    """The same network whose residual keeps its luma and this share of its colour.

    The last layer is linear, so this is another last layer.
    """
    change = share * np.eye(3) + (1 - share) * np.outer(LUMA, np.ones(3))
    last = {}
    for name, value in params["conv_last"].items():
        value = np.asarray(value)
        channels = value.reshape(*value.shape[:-1], 3, -1)
        mixed = np.einsum("...cr,cd->...dr", channels, change)
        last[name] = mixed.reshape(value.shape).astype(np.float32)
    return {**params, "conv_last": last}


def validate(net: SRUNet, params, unseen: crops.Pairs, count: int = 192) -> dict[str, float]:
    """PSNR of the network and of its bicubic base over held-out crops (dB, RGB, mean error)."""
    lr, hr = unseen.lr[:count].astype(np.float32) / 255, unseen.hr[:count].astype(np.float32) / 255
    plain = jax.tree.map(np.zeros_like, params)
    forward = jax.jit(trained_folded(net))
    psnr = lambda p: -10 * np.log10(np.mean((np.clip(forward(p, lr), 0, 1) - hr) ** 2, (1, 2, 3)))
    return {"psnr": float(psnr(params).mean()), "bicubic": float(psnr(plain).mean())}


def load_crops(config: Light, held_out: bool) -> crops.Pairs:
    """The run's crops, cut on first use and kept beside its checkpoint."""
    file = config.run / ("held_out.npz" if held_out else "crops.npz")
    if not file.exists():
        rng = np.random.default_rng((config.seed, held_out))
        count = config.clips // 10 if held_out else config.clips
        made = crops.pairs(clips(rng, count, held_out), rng, degradation.draw, count=8)
        np.savez(file, lr=made.lr, hr=made.hr)
    arrays = np.load(file)
    return crops.Pairs(arrays["lr"], arrays["hr"])


def clips(rng, count: int, held_out: bool) -> Iterator[np.ndarray]:
    """`count` clips, mixed as MIX says; without the shared data, drawn and made-up ones alone."""
    stills, videos = still_paths(held_out), video_paths(held_out)
    sources = [moving_stills(rng, stills), films(rng, videos), shapes(rng), made_up(rng)]
    share = np.array(MIX) * (bool(stills), bool(videos), True, True)
    missing = [kind for kind, paths in (("stills", stills), ("videos", videos)) if not paths]
    if missing:
        say(f"{DATA / 'train'}: no {' and no '.join(missing)}; the other sources take their share")
    for i in rng.choice(len(MIX), size=count, p=share / share.sum()):
        yield next(sources[i])


def still_paths(held_out: bool) -> list[Path]:
    """The stills of the shared data that are, or are not, held out."""
    paths = [p for folder in STILLS for p in sorted((DATA / "train" / folder).glob("*"))]
    pictures = [p for p in paths if p.suffix in (".jpg", ".png", ".webp")]
    return [p for i, p in enumerate(pictures) if (i % EVERY == 0) == held_out]


def video_paths(held_out: bool) -> dict[Path, int]:
    """The videos of the shared data, and the lines to which each may be reduced."""
    names = (HELD_OUT if held_out else VIDEOS).items()
    found = ((next((DATA / "train/video").glob(f"{name}.*"), None), n) for name, n in names)
    return {path: lines for path, lines in found if path}


def moving_stills(rng, paths: list[Path]) -> Iterator[np.ndarray]:
    """Stills in random order, for ever; three clips from a large one."""
    while True:
        for i in rng.permutation(len(paths)):
            still = crops.read_still(paths[i], int(rng.choice([900, 1300, 4000])))
            if rng.random() < SOFT:
                still = crops.enlarged(still, rng.uniform(1.2, 1.8))
            for _ in range(3 if max(still.shape) > 600 else 1):
                move = crops.pan if rng.random() < 0.6 else crops.turn
                yield move(still, FRAMES, SIDE, rng)


def films(rng, videos: dict[Path, int]) -> Iterator[np.ndarray]:
    """Every second window of every video, for ever, from another frame each time round."""
    while True:
        for path, lines in videos.items():
            start = int(rng.integers(FRAMES))
            lines = lines if rng.random() > NATIVE else LINES
            for i, clip in enumerate(crops.windows(path, FRAMES, SIDE, lines, rng, start)):
                if i % 2 == 0:
                    yield clip


def shapes(rng) -> Iterator[np.ndarray]:
    """Drawn shapes and text, for ever."""
    while True:
        yield crops.scene(FRAMES, SIDE, rng)


def made_up(rng) -> Iterator[np.ndarray]:
    """Both shots of one made-up film after another, for ever."""
    while True:
        yield from crops.made_up(FRAMES, SIDE, rng)
