"""The training step, pure and resumable: parameters, their moving average, Adam's moments."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jaxvsr import losses
from jaxvsr.errors import WeightsError

Params = Mapping[str, Any]


@flax.struct.dataclass
class TrainState:
    """Everything a run needs to resume. `average` is what a finished run ships."""

    step: jax.Array
    params: Params
    average: Params
    opt: optax.OptState


def init(params: Params, tx) -> TrainState:
    """The state before the first step."""
    return TrainState(jnp.int32(0), params, jax.tree.map(jnp.copy, params), tx.init(params))


def adam(peak: float, steps: int, *, warm: int = 200, last: float = 1e-6):
    """Adam whose rate rises to `peak` over `warm` steps and falls to `last` along a cosine.

    The schedule depends on the step alone, so a run that is resumed with another `steps` bends
    its cosine and still ends at `last`.
    """
    return optax.adam(optax.warmup_cosine_decay_schedule(0.0, peak, warm, steps, last))


def make_step(forward: Callable, tx, loss: Callable = losses.l1, decay: float = 0.999):
    """Builds `step(state, batch) -> (state, metrics)`, pure; the caller jits it.

    `forward(params, lr) -> fake`; `loss(fake, hr) -> scalar`; a batch is {"lr", "hr"}. The moving
    average forgets faster at first, so that it does not drag the untrained weights along.
    """

    def objective(params, batch):
        return loss(forward(params, batch["lr"]), batch["hr"])

    def step(state: TrainState, batch) -> tuple[TrainState, dict[str, jax.Array]]:
        value, grads = jax.value_and_grad(objective)(state.params, batch)
        updates, opt = tx.update(grads, state.opt, state.params)
        params = optax.apply_updates(state.params, updates)
        keep = jnp.minimum(decay, (1 + state.step) / (10 + state.step))
        average = jax.tree.map(lambda a, p: p + keep * (a - p), state.average, params)
        return TrainState(state.step + 1, params, average, opt), {"loss": value}

    return step


def save(path: Path, state: TrainState) -> None:
    """Writes the state as one safetensors file, by a rename: a crash leaves the previous one."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    arrays = {jax.tree_util.keystr(key): np.asarray(leaf) for key, leaf in leaves}
    part = path.with_name(path.name + ".part")
    save_file(arrays, part)
    os.replace(part, path)


def load(path: Path, like: TrainState) -> TrainState:
    """The state that `save` wrote; `like` is a state of the same network and optimiser."""
    try:
        arrays = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a checkpoint of a run ({error}); delete it") from error
    leaves, tree = jax.tree_util.tree_flatten_with_path(like)
    names = [jax.tree_util.keystr(key) for key, _ in leaves]
    shapes = {name: np.shape(leaf) for name, (_, leaf) in zip(names, leaves, strict=True)}
    if shapes != {name: array.shape for name, array in arrays.items()}:
        raise WeightsError(f"{path}: a checkpoint of another network; use another folder")
    return jax.tree.unflatten(tree, [jnp.asarray(arrays[name]) for name in names])
