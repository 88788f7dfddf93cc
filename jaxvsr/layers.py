"""Linen layers that two networks or more use; frames and features are NHWC."""

import flax.linen as nn
import jax.numpy as jnp

from jaxvsr import ops


class PReLU(nn.Module):
    """max(x, 0) + weight * min(x, 0) with one weight a channel (He et al. 2015)."""

    @nn.compact
    def __call__(self, x):
        weight = self.param("weight", nn.initializers.constant(0.25), (x.shape[-1],))
        return jnp.where(x >= 0, x, x * weight.astype(x.dtype))


class Conv(nn.Module):
    """A stride-1 convolution that keeps the size; `groups` as in `ops.conv`."""

    features: int
    size: int = 3
    groups: int = 1
    bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x):
        shape = (self.size, self.size, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape).astype(x.dtype)
        y = ops.conv(x, kernel, groups=self.groups)
        if not self.bias:
            return y
        return y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)


def leaky_relu(x):
    """Slope 0.2, as in ESRGAN."""
    return nn.leaky_relu(x, 0.2)
