"""Linen layers that two networks or more use; frames and features are NHWC."""

from collections.abc import Callable, Mapping
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvsr import ops


class Slope(nn.Module):
    """PReLU's slope below zero, one a channel (He et al. 2015): `slope=` of a `Conv`."""

    @nn.compact
    def __call__(self, channels: int):
        return self.param("weight", nn.initializers.constant(0.25), (channels,))


class PReLU(nn.Module):
    """max(x, 0) + weight * min(x, 0) with one weight a channel (He et al. 2015)."""

    @nn.compact
    def __call__(self, x):
        weight = self.param("weight", nn.initializers.constant(0.25), (x.shape[-1],))
        return ops.activate(x, "prelu", weight)


class Conv(nn.Module):
    """A stride-1 convolution that keeps the size, with what follows it: see `ops.conv`."""

    features: int
    size: int = 3
    groups: int = 1
    bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    impl: str = "xla"

    @nn.compact
    def __call__(self, x, **then):
        return ops.conv(x, *self.weights(x), groups=self.groups, impl=self.impl, **then)

    def weights(self, x):
        """(kernel, bias or None) for an input like `x`, in its type."""
        shape = (self.size, self.size, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape).astype(x.dtype)
        if not self.bias:
            return kernel, None
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return kernel, bias.astype(x.dtype)


class Upsampler(Conv):
    """A convolution to `r`**2 times the wanted channels, and their pixel shuffle."""

    r: int = 2

    @nn.compact
    def __call__(self, x, **then):
        return ops.conv_shuffle(x, *self.weights(x), self.r, impl=self.impl, **then)


class Tail(Conv):
    """The last convolution, its pixel shuffle, and the enlarged input: see `ops.tail`."""

    r: int = 2

    @nn.compact
    def __call__(self, x, base, **then):
        return ops.tail(x, *self.weights(x), base, self.r, impl=self.impl, **then)


SMOOTH = {  # activations that no kernel has, by name
    "tanh": jnp.tanh,
    "elu": nn.elu,
    "gelu": partial(nn.gelu, approximate=False),
    "silu": nn.silu,
    "mish": lambda x: x * jnp.tanh(nn.softplus(x)),
}


def bent(conv: Conv, x, activation: str, slope=None):
    """`conv` of `x` and then an activation: one of `ops.conv`'s, or of `SMOOTH`."""
    if activation in SMOOTH:
        return SMOOTH[activation](conv(x))
    return conv(x, activation=activation, slope=slope)


def leaky_relu(x):
    """Slope 0.2, as in ESRGAN."""
    return nn.leaky_relu(x, 0.2)


class RepBlock(nn.Module):
    """relu(W3 * x + W1 * x + x); where the width changes, and once folded, relu(W3 * x).

    RepVGG's block as SR-UNet has it (Vaccaro et al., MM 2021, Eq. 2). `folded` "kernels" has both
    kernels in one and x beside it, relu(W3 * x + x): for bfloat16, which would round 1 plus a
    weight to 1/128.
    """

    width: int
    folded: bool | str = False
    impl: str = "xla"

    @nn.compact
    def __call__(self, x):
        conv = Conv(self.width, impl=self.impl, name="conv1")
        if x.shape[-1] != self.width or self.folded is True:
            return conv(x, activation="relu")
        if self.folded == "kernels":
            return nn.relu(conv(x) + x)
        return nn.relu(conv(x) + Conv(self.width, 1, name="conv_adapter")(x) + x)


def fold(params: Mapping, *, folded: bool | str = True) -> dict:
    """What a network of `RepBlock`s with `folded` needs for the same function (Eq. 3)."""
    block = lambda p: _fold_block(p, folded) if "conv_adapter" in p else p
    return {name: block(p) for name, p in params.items()}


def trained_folded(net: nn.Module) -> Callable:
    """f(params, frames) for training: folded within the step, with the unfolded one's gradients.

    A sixth faster than the blocks as they are written. In bfloat16 the kernels alone are folded.
    What does not fold is applied as it is.
    """
    if not hasattr(net, "folded"):
        return lambda params, frames: net.apply({"params": params}, frames)

    def forward(params, frames):
        exact = jax.tree.leaves(params)[0].dtype == jnp.float32
        how = True if exact else "kernels"
        return net.clone(folded=how).apply({"params": fold(params, folded=how)}, frames)

    return forward


def _fold_block(params: Mapping, folded: bool | str) -> dict:
    """In NumPy where the parameters are: JAX would compile each of these sums for itself."""
    conv3, conv1 = params["conv1"], params["conv_adapter"]
    on = np if isinstance(conv3["kernel"], np.ndarray) else jnp
    centre = on.asarray(conv1["kernel"])[0, 0]
    if folded is True:
        centre = centre + on.eye(len(centre), dtype=centre.dtype)
    kernel = conv3["kernel"] + on.pad(centre[None, None], ((1, 1), (1, 1), (0, 0), (0, 0)))
    return {"conv1": {"kernel": kernel, "bias": conv3["bias"] + conv1["bias"]}}
