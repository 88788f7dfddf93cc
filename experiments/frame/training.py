"""What a run begins with, plays and leaves: parameters, phases, weights."""

from dataclasses import asdict, replace
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments import say
from experiments.frame import material
from experiments.frame.config import Config
from experiments.frame.drawing import drawn
from experiments.frame.experiment import Experiment
from jaxvsr import train, weights
from jaxvsr.errors import WeightsError
from jaxvsr.train import checkpoint, rates
from jaxvsr.train.game import GENERATOR

FREE = ("data",)  # what may differ when a run goes on: where its clips lie
LEFT = ("net", "accelerator", "smoke", "run", "keep", "threads", "validate")  # of no consequence


def starting(experiment: Experiment, config: Config) -> dict:
    """Parameters of all players. Raises WeightsError where --start is of another network."""
    begun = begun_with(config) if config.start else {}
    players = experiment.players(config)
    nets = {name: net for name, (net, _) in players.items()}
    inputs = {name: np.zeros(shape, np.float32) for name, (_, shape) in players.items()}
    untrained = lambda key: train.untrained(key, nets, inputs)
    key, small = jax.random.key(config.seed), config.net == experiment.tiny
    params = drawn(untrained, key) if small else untrained(key)
    for part in experiment.zeroed if small else ():
        params[GENERATOR][part] = jax.tree.map(np.zeros_like, params[GENERATOR][part])
    for name, given in begun.items():
        if weights.shapes_of(given) != weights.shapes_of(params[name]):
            raise WeightsError(f"{config.start}: another {name}; start from a run like this one")
    return params | begun


def begun_with(config: Config) -> dict:
    """The players that --start gives: all of a run, or the generator of a file of weights."""
    folder = Path(config.start)
    if folder.is_dir():
        last = folder / "checkpoints"
        return checkpoint.players(last if last.is_dir() else folder)
    loaded = weights.load(config.start, folded=False)
    if unclipped(loaded.module) != config.net:
        raise WeightsError(f"{config.start}: not a {config.network}; give weights of this one")
    return {GENERATOR: dict(loaded.params)}


def unclipped(net: nn.Module) -> nn.Module:
    """The network as it is trained: overshoot has a gradient."""
    return net.clone(clip=False) if hasattr(net, "clip") else net


def planned(experiment: Experiment, config: Config) -> tuple[train.Phase, ...]:
    """The phases of a run; `--decay` lets rates rise for a while and fall along a cosine."""
    plan = experiment.phases(config, max(round(config.scale * experiment.steps), 1))
    if config.decay == "constant":
        return plan
    falling = lambda steps: rates.adam(config.rate, steps, last=config.rate / 50)
    return tuple(replace(phase, tx=falling(phase.steps)) for phase in plan)


def fit(experiment: Experiment, config: Config, told: dict, asked, params, batches, score):
    """Plays all phases, and writes the averaged weights at each validation; the last scores."""
    packaged = lambda average, folder: package(experiment, config, average, folder)

    def validated(average):
        packaged(average, config.run)
        return score(average) if score else {}

    end = train.fit(
        config.run,
        experiment.game(config, asked),
        planned(experiment, config),
        params,
        batches,
        key=jax.random.key(config.seed),
        config=told,
        free=FREE,
        validate=validated,
        improved=lambda average: packaged(average, config.run / "best"),
        cadence=train.Cadence(validate=config.validate),
    )
    say(f"weights: {packaged(end.state.ema, config.run)}")
    return dict(end.scores)


def identity(config: Config, found: material.Material) -> dict:
    """What must be the same when a run goes on."""
    given = asdict(replace(config, net=None))
    told = {name: value for name, value in given.items() if name not in LEFT}
    paths = [str(path) for path in config.data]
    return told | {"data": paths, "clips": material.identity(found)}


def package(experiment: Experiment, config: Config, average, folder: Path) -> Path:
    """Writes averaged weights to `folder`, for `weights.load`; their path."""
    path = folder / f"{config.use}-{config.network}.safetensors"
    net = config.net.clone(clip=True) if hasattr(config.net, "clip") else config.net
    facts = {name: str(getattr(config, name)) for name in ("network", "use", *experiment.told)}
    if jax.process_index() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        weights.save(path, jax.tree.map(np.asarray, average), weights.metadata_of(net) | facts)
    return path


def example(config: Config) -> tuple[int, ...]:
    """The shape of a frame [1, H, W, 3] that shows a generator what it is for."""
    side = 8 * config.net.multiple
    return (1, side, side, 3)


def seen_by(cut, config: Config) -> tuple[int, ...]:
    """The shape of what a critic sees of two crops, where `cut` hands them on in another shape."""
    return jax.eval_shape(cut, jnp.zeros((2, config.patch, config.patch, 3))).shape
