"""Losses that compare what trained networks see in two pictures, [..., H, W, 3] in [0, 1].

`features` maps frames [N, H, W, 3] to a list or dict of maps [N, h, w, C]. With VGG-19 before an
activation, as ESRGAN has it, and parameters from `jaxvsr.weights.judges.trunk_params("vgg19")`:

    trunk = Trunk("vgg19", ("conv5_4",))
    features = lambda frames: trunk.apply({"params": params}, frames)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvsr.losses.pixels import penalty
from jaxvsr.metrics import perceptual


def lpips(
    fake: Float[Array, "*n h w 3"],
    real: Float[Array, "*n h w 3"],
    params: dict,
    *,
    net: str = "vgg",
) -> Float[Array, ""]:
    """Mean LPIPS v0.1 (Zhang et al. 2018), the first term of SR-UNet's Eq. 4.

    `params` are those of `jaxvsr.metrics.lpips`. SR-UNet trains on "vgg" and reports "alex":
    what is reported should be judged by another trunk than the one that was trained on.
    """
    return perceptual.lpips(fake, real, params, net=net).mean()


def feature_distance(
    fake: Float[Array, "*n h w 3"],
    real: Float[Array, "*n h w 3"],
    features: Callable,
    *,
    norm: str = "l2",
) -> Float[Array, ""]:
    """Mean error of each feature map, summed over the maps.

    "l2" is GAN-EVH's Eq. 9, |a - b|^2 / (C H W), and SRGAN's Eq. 5 (Ledig et al. 2017); "l1" is
    ESRGAN's L_percep and Eq. 4 of the browser SRGAN. Which maps, and whether before or after
    the activation, is up to `features`.
    """
    return sum(penalty(a - b, norm).mean() for a, b in _pairs(fake, real, features))


def feature_cosine(
    fake: Float[Array, "*n h w 3"], real: Float[Array, "*n h w 3"], features: Callable
) -> Float[Array, ""]:
    """1 - the mean cosine between the feature vectors of each place, summed over the maps.

    TecoGAN (Chu et al. 2020, L_phi). It does not ask for the same contrast, only the same kind of
    texture. As in the authors' code, a vector of zeros has cosine 0 to all, itself included.
    """
    cosine = lambda a, b: (unit(a) * unit(b)).sum(-1).mean()
    return sum(1 - cosine(a, b) for a, b in _pairs(fake, real, features))


def unit(x: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
    """Vectors at length 1; one of zeros stays zero and has no gradient."""
    squares = jnp.square(x).sum(-1, keepdims=True)
    some = squares > 0
    return jnp.where(some, x * jax.lax.rsqrt(jnp.where(some, squares, 1) + 1e-12), 0)


def _pairs(fake, real, features: Callable):
    flat = lambda frames: frames.reshape(-1, *frames.shape[-3:])
    maps = [jax.tree.leaves(features(flat(frames))) for frames in (fake, real)]
    return zip(*maps, strict=True)
