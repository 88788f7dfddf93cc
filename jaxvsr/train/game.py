"""What is trained: players, the terms they are scored by, and the phases of a run.

A player is a Linen module or a function `(params, *inputs) -> outputs`. One is the "generator",
others are critics, or only asked, as a teacher is whom a student follows. Parameters are float32
always; see `Game.dtype` for how players compute.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

Params = Mapping[str, Any]
Leaf = Any  # an array, or its shape while a step is tried out
Weight = float | int | Callable  # a number, or an optax schedule over the steps of the phase
Player = nn.Module | Callable
Optimiser = optax.GradientTransformation | Mapping[str, optax.GradientTransformation]

GENERATOR = "generator"


@dataclass(frozen=True)
class Stop:
    """Ends a phase by a validation score: at a value, or after validations without a better one.

    SRGAN for browsers stops at `Stop("psnr", at=33.5)`. `lower` says that lower is better, as
    for LPIPS. `patience` counts validations.
    """

    metric: str
    at: float | None = None
    patience: int | None = None
    lower: bool = False

    def better(self, value: float, than: float | None) -> bool:
        """True where `value` beats `than`; anything beats None, and NaN beats nothing."""
        if value != value:
            return False
        return than is None or (value < than if self.lower else value > than)

    def reached(self, value: float) -> bool:
        """True at the asked value or beyond it."""
        return self.at is not None and (value <= self.at if self.lower else value >= self.at)


@dataclass(frozen=True)
class Phase:
    """A stretch of training. A term without a weight here is not computed at all.

    Steps of `weights` and of learning rates count from the start of the phase.

    - `critics`: those who judge and learn; the others stay as they are.
    - `frozen`: top-level parameter names of the generator that stay as they are.
    - `tx`: optimisers of this phase instead of the game's. They start anew with each phase, for
      another loss has other moments; `fresh=False` carries them on, with the counts of their
      schedules. That needs the optimisers, critics and frozen parts of the phase before.
    - `critic_updates`: of every so many batches the critics learn from each, the generator from
      the last (Goodfellow et al. 2014, Alg. 1).
    - `lead`: a critic learns only while the moving mean of its lead is below this (TecoGAN: 0.4).
    - `clip`: largest global norm of a player's gradient.
    - `accumulate`: a batch is worked through in so many parts, for less memory. Their gradients
      are averaged; batch norm and relativistic means then see a part, not the batch.
    - `ema`: how much of the moving average a step keeps, once it is warm.
    """

    name: str
    steps: int
    weights: Mapping[str, Weight]
    critics: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    tx: Optimiser | None = None
    fresh: bool = True
    critic_updates: int = 1
    lead: float | None = None
    clip: float | None = None
    accumulate: int = 1
    ema: float = 0.999
    stop: Stop | None = None


@dataclass(frozen=True)
class Round:
    """What a loss term may look at.

    `fake` is what the generator returned for `lr`, in float32. `generate(*inputs)` plays it again,
    `judge(player, *inputs, **options)` asks another player; options go to its `apply`, as
    `method="layers"`. While a critic learns, `judge` uses its new parameters and the generator is
    constant. `batch` has whatever else the data brings; `step` counts from the start of the phase;
    `key` is for noise and differs for each step and player.
    """

    lr: jax.Array
    hr: jax.Array
    fake: Any
    generate: Callable
    judge: Callable
    batch: Mapping[str, jax.Array] = field(default_factory=dict)
    step: jax.Array | int = 0
    key: jax.Array | None = None


@dataclass(frozen=True)
class Game:
    """Everything that the phases of a run choose from.

    - `terms`: name -> f(Round) -> scalar, what the generator may be told to make small.
    - `critics`: critic's name -> f(Round) -> scalar, what this critic makes small; or
      f(Round) -> (scalar, lead), where `losses.critic_lead` tells how far it is ahead.
    - `tx`: the optimiser of every player, or a mapping by player.
    - `dtype`: what players compute in. With bfloat16 their parameters and inputs are rounded to it
      on the way in; parameters, outputs, losses, gradients, moments and the moving average are
      float32. A picture rounded to bfloat16 lies about 58 dB from itself, so validate in float32.
    """

    players: Mapping[str, Player]
    terms: Mapping[str, Callable]
    tx: Optimiser
    critics: Mapping[str, Callable] = field(default_factory=dict)
    dtype: Any = jnp.float32

    def play(self, name: str, params: Params, *inputs, **options) -> Any:
        """What a player makes of its inputs, in float32."""
        player = self.players[name]
        params, inputs = (_rounded(x, self.dtype) for x in (params, inputs))
        if isinstance(player, nn.Module):
            return _rounded(player.apply({"params": params}, *inputs, **options), jnp.float32)
        return _rounded(player(params, *inputs, **options), jnp.float32)


@flax.struct.dataclass
class TrainState:
    """Everything that the next step depends on, beside the batch; dicts are keyed by player.

    `step` counts the steps of the run, skipped ones too; `phase` is the number of the phase that
    `began` at that step. `opt` has the players who learn in this phase; `ema` is the generator's
    moving average, which a finished run ships. `lead` is how far each critic is ahead. `skipped`
    counts skipped steps, `missed` those in a row at the end. `key` is the run's key as raw data:
    each step folds its number into it.
    """

    step: Leaf
    phase: Leaf
    began: Leaf
    params: dict[str, Params]
    opt: dict[str, optax.OptState]
    ema: Params
    lead: Any  # dict[str, Leaf]; orbax hands an empty one out as something else
    skipped: Leaf
    missed: Leaf
    key: Leaf


def init(key: jax.Array, params: Mapping[str, Params], game: Game, phase: Phase) -> TrainState:
    """The state before the first step of the first phase; `params` by player."""
    zero = jnp.int32(0)
    params = jax.tree.map(jnp.asarray, dict(params))
    ema = jax.tree.map(jnp.copy, params[GENERATOR])
    lead = {name: jnp.float32(0) for name in game.players if name != GENERATOR}
    data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    state = TrainState(zero, zero, zero, params, {}, ema, lead, zero, zero, data)
    return enter(game, phase, 0, state)


def enter(game: Game, phase: Phase, number: int, state: TrainState) -> TrainState:
    """The state at the start of phase `number`."""
    opt = state.opt
    if phase.fresh or not opt:
        who = (GENERATOR, *phase.critics)
        opt = {name: optimiser(game, phase, name).init(state.params[name]) for name in who}
    return state.replace(phase=jnp.int32(number), began=state.step, opt=opt)


def optimiser(game: Game, phase: Phase, name: str) -> optax.GradientTransformation:
    """A player's optimiser in a phase; frozen parts have none."""
    tx = game.tx if phase.tx is None else phase.tx
    tx = tx[name] if isinstance(tx, Mapping) else tx
    if name != GENERATOR or not phase.frozen:
        return tx
    both = {"learns": tx, "frozen": optax.set_to_zero()}
    return optax.partition(both, lambda params: _labels(params, phase.frozen))


def untrained(
    key: jax.Array, players: Mapping[str, nn.Module], inputs: Mapping[str, Any]
) -> dict[str, Params]:
    """Fresh parameters for every player by one example input each."""
    keys = dict(zip(players, jax.random.split(key, len(players)), strict=True))
    return {k: player.init(keys[k], inputs[k])["params"] for k, player in players.items()}


def _labels(params, frozen: tuple[str, ...]) -> dict[str, str]:
    return {part: "frozen" if part in frozen else "learns" for part in params}


def _rounded(tree, dtype):
    """Floating-point arrays of a tree in another precision."""
    is_float = lambda x: hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)
    return jax.tree.map(lambda x: x.astype(dtype) if is_float(x) else x, tree)
