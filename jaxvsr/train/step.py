"""The training step: one pure function for a generator, any number of critics, and named terms.

All players learn from the state as it was before the step. In one `jit` program over a mesh
every mean runs over the global batch, so relativistic losses and batch norm are global for free.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxvsr.train.game import GENERATOR, Game, Phase, Round, TrainState, Weight, optimiser

REMEMBERED = 0.99  # of a critic's lead from step to step, as in TecoGAN's code


def make_step(game: Game, phase: Phase) -> Callable:
    """Builds `step(state, batch, *more) -> (state, metrics)`, pure; the caller jits it.

    A batch is {"lr": [N, ...], "hr": [N, ...], ...}, in [0, 1] or uint8. With several critic
    updates the step takes as many batches: the critics learn from each, the generator from the
    last. Metrics are float32 scalars: "total", every term unweighted, "critic_<name>" and
    "lead_<name>" for every critic of the phase, "norm" of the generator's gradient before it is
    clipped, "skipped" and "missed" as in the state.

    A step with a loss or gradient that is not finite changes nothing but the counters.
    """

    def step(state: TrainState, *batches):
        if len(batches) != phase.critic_updates:
            raise ValueError(f"{len(batches)} batches for {phase.critic_updates} critic updates")
        new, finite = state, jnp.bool_(True)
        for number, batch in enumerate(batches):
            who = players if number == len(batches) - 1 else phase.critics
            key = jax.random.fold_in(_key(state), number)
            grads, metrics = _gradients(key, game, phase, who, new, _floats(batch))
            new, norms = _learnt(game, phase, new, grads, metrics)
            finite &= jnp.isfinite(jnp.stack(jax.tree.leaves((metrics, norms)))).all()
        new = new.replace(ema=_averaged(new, phase.ema))
        new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)
        missed = jnp.where(finite, 0, state.missed + 1)
        new = new.replace(step=state.step + 1, skipped=state.skipped + ~finite, missed=missed)
        counts = {"skipped": new.skipped, "missed": new.missed}
        metrics = metrics | {"norm": norms[GENERATOR]} | counts
        return new, {name: jnp.float32(value) for name, value in metrics.items()}

    players = (GENERATOR, *phase.critics)
    return step


def at(weight: Weight, step) -> jax.Array | float | int:
    """A weight's value: a number is itself, a schedule is asked."""
    return weight(step) if callable(weight) else weight


def _key(state: TrainState) -> jax.Array:
    return jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)


def _floats(batch: Mapping) -> dict[str, jax.Array]:
    """Bytes count 255ths."""
    in_bytes = lambda x: x.dtype == jnp.uint8
    return {k: jnp.float32(x) / 255 if in_bytes(x) else x for k, x in batch.items()}


def _gradients(key, game, phase, who, state, batch):
    """(gradients by player, metrics) of a batch, worked through in `phase.accumulate` parts."""
    parts = phase.accumulate
    if parts == 1:
        return _of_part(key, game, phase, who, state, batch)
    # Row r goes to part r mod parts: each device's rows are spread evenly and none has to move.
    deal = lambda x: x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)
    split = jax.random.split(key, parts), jax.tree.map(deal, batch)
    part = lambda key, batch: _of_part(key, game, phase, who, state, batch)
    if jax.default_backend() == "cpu":
        # XLA's loops make convolutions over ten times as slow there; this saves less memory.
        every = (part(*jax.tree.map(lambda x, i=i: x[i], split)) for i in range(parts))
        return jax.tree.map(lambda *xs: sum(xs) / parts, *every)
    shapes = jax.eval_shape(part, *jax.tree.map(lambda x: x[0], split))
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    add = lambda total, xs: (jax.tree.map(jnp.add, total, part(*xs)), None)
    total, _ = lax.scan(add, zeros, split)
    return jax.tree.map(lambda x: x / parts, total)


def _of_part(key, game, phase, who, state, batch):
    """(gradients by player, metrics) of one part of a batch."""
    grads, metrics = {}, {}
    names = (GENERATOR, *phase.critics)
    keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
    if GENERATOR in who:
        score = jax.value_and_grad(_generator_loss, argnums=1, has_aux=True)
        own = state.params[GENERATOR]
        scored = score(keys[GENERATOR], own, game, phase, state, batch)
        (total, (terms, fake)), grads[GENERATOR] = scored
        metrics = {"total": total, **terms}
    else:
        fake = game.play(GENERATOR, state.params[GENERATOR], batch["lr"])
    fake = lax.stop_gradient(fake)
    for name in phase.critics:
        score = jax.value_and_grad(_critic_loss, argnums=1, has_aux=True)
        own = state.params[name]
        (loss, lead), grads[name] = score(keys[name], own, game, name, state, batch, fake)
        metrics |= {f"critic_{name}": loss, **lead}
    return grads, metrics


def _generator_loss(key, params, game: Game, phase: Phase, state, batch):
    """(weighted total, (terms, fake))."""
    # A constant part costs no backward pass and does not count in the norm.
    params = {k: lax.stop_gradient(p) if k in phase.frozen else p for k, p in params.items()}
    played, others = state.step - state.began, state.params
    generate = lambda *inputs, **options: game.play(GENERATOR, params, *inputs, **options)
    judge = lambda name, *inputs, **options: game.play(name, others[name], *inputs, **options)
    fake = generate(batch["lr"])
    scene = Round(batch["lr"], batch["hr"], fake, generate, judge, batch, played, key)
    terms = {name: jnp.float32(game.terms[name](scene)) for name in phase.weights}
    total = sum(at(weight, played) * terms[name] for name, weight in phase.weights.items())
    return jnp.float32(total), (terms, fake)


def _critic_loss(key, params, game: Game, name: str, state, batch, fake):
    """(loss, {"lead_<name>": how far it is ahead} or nothing) of one critic."""
    others = {**state.params, name: params}
    constant = lax.stop_gradient(state.params[GENERATOR])
    generate = lambda *inputs, **options: game.play(GENERATOR, constant, *inputs, **options)
    judge = lambda who, *inputs, **options: game.play(who, others[who], *inputs, **options)
    played = state.step - state.began
    scene = Round(batch["lr"], batch["hr"], fake, generate, judge, batch, played, key)
    loss = game.critics[name](scene)
    if not isinstance(loss, tuple):
        return jnp.float32(loss), {}
    return jnp.float32(loss[0]), {f"lead_{name}": jnp.float32(loss[1])}


def _learnt(game: Game, phase: Phase, state: TrainState, grads, metrics):
    """(the state after everybody's update, norms of the gradients by player)."""
    params, opt, lead, norms = dict(state.params), dict(state.opt), dict(state.lead), {}
    for name, gradient in grads.items():
        norms[name] = _norm(gradient)
        if phase.clip is not None:
            share = jnp.minimum(1, phase.clip / jnp.maximum(norms[name], 1e-12))
            gradient = jax.tree.map(lambda g, share=share: g * share, gradient)
        updates, after = optimiser(game, phase, name).update(gradient, opt[name], params[name])
        learnt = optax.apply_updates(params[name], updates), after
        if f"lead_{name}" in metrics:
            lead[name] = REMEMBERED * lead[name] + (1 - REMEMBERED) * metrics[f"lead_{name}"]
            if phase.lead is not None:
                learns = lead[name] < phase.lead
                pick = lambda new, old, learns=learns: jnp.where(learns, new, old)
                learnt = jax.tree.map(pick, learnt, (params[name], opt[name]))
        params[name], opt[name] = learnt
    return state.replace(params=params, opt=opt, lead=lead), norms


def _norm(tree) -> jax.Array:
    return jnp.sqrt(sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(tree)))


def _averaged(state: TrainState, decay: float):
    """The moving average; it forgets faster at first, not to drag the untrained weights along."""
    keep = jnp.minimum(decay, (1 + state.step) / (10 + state.step))
    return jax.tree.map(lambda a, p: p + keep * (a - p), state.ema, state.params[GENERATOR])
