"""A run in small: a tiny network, made-up scenes, judges with random weights; nothing is kept."""

from dataclasses import replace

import jax

from experiments import say
from experiments.frame import material
from experiments.frame.config import Config, feed_of
from experiments.frame.experiment import Experiment
from experiments.frame.training import starting
from jaxvsr import train
from jaxvsr.data.made_up import procedural

STEPS = 2  # of each phase


def smoke(experiment: Experiment, config: Config) -> dict[str, float]:
    """Two steps of every phase; returns the last one's metrics."""
    say("smoke: a tiny network, made-up scenes, and judges with random weights")
    small = {"net": experiment.tiny, "patch": 32, "batch": 2 * jax.device_count(), "start": None}
    config = replace(config, **small)
    feed = replace(feed_of(config), mix=2, visit=8)
    draw = experiment.uses[config.use]
    batches = material.frames_of(procedural(config.seed, 4, 4), draw, feed, None)
    game, metric = experiment.game(config, experiment.random_judges(config)), {}
    plan, params = experiment.phases(config, 2 * STEPS), starting(experiment, config)
    state = train.init(jax.random.key(config.seed), params, game, plan[0])
    for number, phase in enumerate(plan):
        state = train.enter(game, phase, number, state)
        step = jax.jit(train.make_step(game, phase))
        for _ in range(STEPS):
            state, metric = step(state, *(next(batches) for _ in range(phase.critic_updates)))
        say(f"smoke, {phase.name}: total {float(metric['total']):.4f}")
    return jax.tree.map(float, metric)
