"""Parameters that nobody learned, drawn quickly: for runs that only prove that they run."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxvsr.metrics.perceptual import NETS
from jaxvsr.models.features import Trunk


def drawn(untrained: Callable, key: jax.Array):
    """Random numbers in the shapes of `untrained(key)`, without compiling how they are drawn."""
    rng = np.random.default_rng(0)
    scaled = lambda s: rng.normal(0, 1 / math.sqrt(max(math.prod(s.shape[:-1]), 1)), s.shape)
    return jax.tree.map(lambda s: np.float32(scaled(s)), jax.eval_shape(untrained, key))


def random_lpips(net: str) -> dict:
    """LPIPS's parameters as nobody learned them, to prove that a step runs."""
    name, maps = NETS[net]
    frames = np.zeros((1, 32, 32, 3), np.float32)
    trunk, key = Trunk(name, maps), jax.random.key(0)
    found, _ = jax.eval_shape(trunk.init_with_output, key, frames)
    heads = [jnp.full(found[key].shape[-1:], 1 / found[key].shape[-1]) for key in maps]
    return {"trunk": drawn(lambda key: trunk.init(key, frames)["params"], key), "heads": heads}
