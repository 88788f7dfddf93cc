"""What is refused before a run starts: each a UsageError or WeightsError of one line."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import flax.errors
import flax.linen as nn
import jax
import numpy as np

from jaxvsr.errors import UsageError, WeightsError
from jaxvsr.host import dealing
from jaxvsr.train.game import GENERATOR, Game, Params, Phase, TrainState, enter
from jaxvsr.train.step import make_step
from jaxvsr.weights import shapes_of


def check_phases(
    game: Game, phases: Sequence[Phase], params: Mapping[str, Params], validate: Callable | None
) -> None:
    """Names and numbers: terms, critics, frozen parts, counts; and what a stop needs."""
    if not phases:
        raise UsageError("no phase to train; give one or more")
    _known("game", "player", (GENERATOR, *game.critics), game.players)
    _known("weights", "parameters of player", game.players, params)
    for phase in phases:
        where = f"phase {phase.name!r}"
        _known(where, "term", phase.weights, game.terms)
        _known(where, "critic", phase.critics, game.critics)
        parts = list(params[GENERATOR])
        _known(where, "part of the generator", phase.frozen, parts)
        if not phase.weights:
            raise UsageError(f"{where} has no terms; choose from {', '.join(game.terms)}")
        if set(phase.frozen) == set(parts):
            raise UsageError(f"{where} freezes the whole generator; leave a part of it out")
        for name in ("steps", "critic_updates", "accumulate"):
            if getattr(phase, name) < 1:
                raise UsageError(f"{where}: {name} {getattr(phase, name)}; give 1 or more")
        if phase.critic_updates > 1 and not phase.critics:
            raise UsageError(f"{where}: critic_updates needs a critic; add one, or leave it at 1")
        if phase.stop is not None and validate is None:
            why = f"stops by {phase.stop.metric!r}, but nothing is validated"
            raise UsageError(f"{where} {why}; give fit validate, or leave stop out")
        _optimisers(where, game, phase)


def check_batch(batch: Mapping[str, Any], phases: Sequence[Phase], devices: int, hosts: int):
    """One host's rows: every device gets equally many in every part of a batch."""
    for name in ("lr", "hr"):
        if name not in batch:
            raise UsageError(f"a batch has {', '.join(batch)}; it needs lr and hr")
    sizes = {name: len(rows) for name, rows in batch.items()}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise UsageError(f"the arrays of a batch differ in rows: {told}")
    rows = hosts * sizes["lr"]
    for phase in phases:
        parts = devices * phase.accumulate
        of = f"{devices} devices" + (f" x {phase.accumulate} parts" if phase.accumulate > 1 else "")
        dealing.check_batch(rows, parts, of)


def check_step(game: Game, phases: Sequence[Phase], state: TrainState, batch: Mapping) -> None:
    """Traces every phase on shapes alone: weights that do not fit show here, in seconds.

    Other errors of a term or network come through as they are.
    """
    _check_generator(game, state.params[GENERATOR], batch["lr"])
    shapes = {name: jax.ShapeDtypeStruct(rows.shape, rows.dtype) for name, rows in batch.items()}
    for number, phase in enumerate(phases):
        state = _entered(game, phase, number, state)
        try:
            metrics = jax.eval_shape(make_step(game, phase), state, *_times(shapes, phase))[1]
        except flax.errors.FlaxError as error:
            cause = str(error).split(" (https")[0]
            raise WeightsError(f"phase {phase.name!r}: {cause} Use its own weights") from error
        silent = [name for name in phase.critics if f"lead_{name}" not in metrics]
        if phase.lead is not None and silent:
            why = f"lead is set, but critic {silent[0]!r} does not tell its own"
            raise UsageError(f"phase {phase.name!r}: {why}; return (loss, losses.critic_lead(...))")


def _times(batch, phase: Phase) -> list:
    return [batch] * phase.critic_updates


def _entered(game: Game, phase: Phase, number: int, state):
    """Shapes of the state at the start of a phase."""
    enter_it = lambda phase: jax.eval_shape(lambda s: enter(game, phase, number, s), state)
    after, anew = enter_it(phase), enter_it(replace(phase, fresh=True))
    if jax.tree.structure(after) != jax.tree.structure(anew):
        why = "its optimisers, critics or frozen parts are not those before: moments do not fit"
        raise UsageError(f"phase {phase.name!r}: {why}; leave fresh=True")
    return after


def _check_generator(game: Game, params: Params, lr: Any) -> None:
    """Every parameter that the network would make has its name and shape in `params`."""
    net = game.players[GENERATOR]
    if not isinstance(net, nn.Module):
        return
    frames = jax.ShapeDtypeStruct(lr.shape, np.float32)
    wanted = jax.eval_shape(net.init, jax.random.key(0), frames)["params"]
    want, have = shapes_of(wanted), shapes_of(params)
    for name in {**want, **have}:
        if want.get(name) != have.get(name):
            given, needed = (shapes.get(name, "missing") for shapes in (have, want))
            raise WeightsError(
                f"weights of another network: {name} is {given}, in {type(net).__name__} it is "
                f"{needed}; use weights of this network"
            )


def _known(where: str, kind: str, names, choices) -> None:
    """Raises UsageError at the first name that is not among the choices."""
    for name in names:
        if name not in choices:
            choice = ", ".join(map(str, choices)) or "none"
            raise UsageError(f"{where}: no {kind} {name!r}; choose from {choice}")


def _optimisers(where: str, game: Game, phase: Phase) -> None:
    tx = game.tx if phase.tx is None else phase.tx
    if isinstance(tx, Mapping):
        _known(where, "optimiser for player", game.players, tx)
