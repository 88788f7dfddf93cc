"""LPIPS v0.1 (Zhang et al. 2018): how different two pictures look to a trained network."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvsr.models.features import Trunk

EPSILON = 1e-10  # added to a feature vector's length, as published
NETS = {  # net: (trunk, the maps that are compared)
    "alex": ("alexnet", ("relu1", "relu2", "relu3", "relu4", "relu5")),
    "squeeze": ("squeezenet1_1", ("relu1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9")),
    "vgg": ("vgg16", ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")),
}


@partial(jax.jit, static_argnames=("net", "crop"))
def lpips(
    fake: Float[Array, "*n h w 3"],
    real: Float[Array, "*n h w 3"],
    params: dict,
    *,
    net: str = "alex",
    crop: int = 0,
) -> Float[Array, "*n"]:
    """Learned perceptual distance of RGB images in [0, 1], [...]: 0 for equal, rarely above 1.

    Version 0.1, lower is better. `net` is "alex" (the one that papers report), "squeeze" or
    "vgg"; `params` are its trunk and heads from `jaxvsr.weights.judges.lpips_params(net)`.
    `crop` pixels go at each border. Differentiable everywhere, so it is a loss too.

    ValueError for shapes that differ, another `net`, and images smaller than 31x31 (alex), 16x16
    (vgg) or 17x17 (squeeze). All images go through the network at once: give long clips in
    batches. A pair at 1080p takes 0.2 GB with alex, 0.6 GB with squeeze and 2.4 GB with vgg.
    """
    return lpips_layers(fake, real, params, net=net, crop=crop).sum(0)


@partial(jax.jit, static_argnames=("net", "crop"))
def lpips_layers(
    fake: Float[Array, "*n h w 3"],
    real: Float[Array, "*n h w 3"],
    params: dict,
    *,
    net: str = "alex",
    crop: int = 0,
):
    """What each compared map adds to `lpips`, [layers, ...], first layer first; same arguments."""
    if fake.shape != real.shape:
        raise ValueError(f"shapes differ: {fake.shape} and {real.shape}")
    if net not in NETS:
        raise ValueError(f"net {net!r}: choose one of {', '.join(NETS)}")
    name, maps = NETS[net]
    trunk, inside = Trunk(name, maps, "highest"), slice(crop, -crop or None)

    def features(images):
        images = jnp.asarray(images, jnp.promote_types(images.dtype, jnp.float32))
        images = images[..., inside, inside, :]
        images = images.reshape(-1, *images.shape[-3:])
        found = trunk.apply({"params": params["trunk"]}, images)
        return [_unit(found[name]) for name in maps]

    pairs = zip(features(fake), features(real), params["heads"], strict=True)
    parts = [(jnp.square(a - b) * head).sum(-1).mean((1, 2)) for a, b, head in pairs]
    return jnp.stack(parts).reshape(-1, *fake.shape[:-3])


def _unit(x):
    """Feature vectors at length 1; a vector of zeros stays zero and has no gradient."""
    squares = jnp.square(x).sum(-1, keepdims=True)
    some = squares > 0
    length = jnp.sqrt(jnp.where(some, squares, 1)) + EPSILON
    return jnp.where(some, x / length, 0)
