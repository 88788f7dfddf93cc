"""SR-UNet's run in small: a tiny network, made-up scenes, nothing read and nothing kept."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from experiments import say
from experiments.frame import material as sr_unet_data
from experiments.sr_unet.recipe import TINY, Config, drawn, feed_of, game_of, phases, starting
from jaxvsr import train
from jaxvsr.metrics.perceptual import NETS
from jaxvsr.models.features import Trunk


def smoke(config: Config) -> dict[str, float]:
    """Two steps a phase of a tiny SR-UNet under random LPIPS; nothing is read or kept."""
    say("smoke: a tiny network, made-up scenes, and LPIPS with random weights")
    config = replace(config, net=TINY, patch=32, batch=2 * jax.device_count())
    feed = replace(feed_of(config), mix=2, visit=8)
    scenes = sr_unet_data.made_up.procedural(config.seed, 4, 4)
    batches = sr_unet_data.frames_of(scenes, config.use, feed, None)
    game, metric = game_of(config, random_judge(config.lpips)), {}
    both = phases("perceptual", 4, 0.5)
    params = starting(replace(config, start=None))
    state = train.init(jax.random.key(config.seed), params, game, both[0])
    for number, phase in enumerate(both):
        state = train.enter(game, phase, number, state)
        step = jax.jit(train.make_step(game, phase))
        for _ in range(phase.steps):
            state, metric = step(state, next(batches))
        say(f"smoke, {phase.name}: total {float(metric['total']):.4f}")
    return jax.tree.map(float, metric)


def random_judge(net: str) -> dict:
    """LPIPS's parameters as nobody learned them, to prove that a step runs."""
    name, maps = NETS[net]
    frames = np.zeros((1, 32, 32, 3), np.float32)
    trunk, key = Trunk(name, maps), jax.random.key(0)
    found, _ = jax.eval_shape(trunk.init_with_output, key, frames)
    heads = [jnp.full(found[key].shape[-1:], 1 / found[key].shape[-1]) for key in maps]
    return {"trunk": drawn(lambda key: trunk.init(key, frames)["params"], key), "heads": heads}
