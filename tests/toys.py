"""Tiny networks of each kind, for tests of everything around a network."""

from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvsr import ops
from jaxvsr.models import Spec
from jaxvsr.weights import Loaded


class Still(nn.Module):
    """Frame by frame: two convolutions that see 2 pixels far, then x `scale`."""

    scale: int = 2

    @nn.compact
    def __call__(self, x):
        """[N, H, W, 3] to [N, H * scale, W * scale, 3]."""
        y = nn.relu(nn.Conv(6, (3, 3))(x))
        y = ops.pixel_shuffle(nn.Conv(3 * self.scale**2, (3, 3))(y), self.scale)
        base = jnp.repeat(jnp.repeat(x, self.scale, -3), self.scale, -2)
        return base + 0.1 * y


class Identity(nn.Module):
    """Gives back what it gets."""

    @nn.compact
    def __call__(self, x):
        """[N, H, W, 3] to the same."""
        return x


class WindowMean(nn.Module):
    """The mean of a window of frames, so that a look across a cut would show."""

    @nn.compact
    def __call__(self, x):
        """[N, T, H, W, 3] to [N, H, W, 3]."""
        return x.mean(axis=1)


class Echo(nn.Module):
    """Recurrent: half of this frame, half of what was given before."""

    @nn.compact
    def __call__(self, state, x):
        """(state, [N, H, W, 3]) to (state, [N, H, W, 3]); a state of -1 is no state."""
        y = jnp.where(state < 0, x, 0.5 * x + 0.5 * state)
        return y, y

    def initial_state(self, n, height, width):
        """What a scene begins with."""
        return jnp.full((n, height, width, 3), -1.0)


def loaded(module, **facts) -> Loaded:
    """A toy as `weights.load` would give it, with random parameters."""
    facts = {"scale": getattr(module, "scale", 1), **facts}
    spec = Spec(type(module), **facts)
    params = {}
    if isinstance(module, Still):
        params = module.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
    return Loaded(type(module).__name__.lower(), module, replace(spec), params)


def still(multiple: int = 4, scale: int = 2) -> Loaded:
    """A frame-by-frame network that needs sizes divisible by `multiple`."""
    return loaded(Still(scale), multiple=multiple, reach=2)


def identity() -> Loaded:
    """A network that changes nothing."""
    return loaded(Identity())


def window_mean(radius: int = 1) -> Loaded:
    """A network that averages 2 * radius + 1 frames."""
    return loaded(WindowMean(), radius=radius)


def echo() -> Loaded:
    """A recurrent network that trails the past."""
    return loaded(Echo(), recurrent=True)
