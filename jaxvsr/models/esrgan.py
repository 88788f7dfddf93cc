"""RRDBNet, the generator of ESRGAN (Wang et al., ECCVW 2018) and of Real-ESRGAN.

Residual-in-residual dense blocks without batch norm. Modules carry the names of the newer
published layout; `jaxvsr.weights` renames the older two.
"""

from collections.abc import Mapping
from math import ceil, log2

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvsr import ops
from jaxvsr.layers import Conv, Tail, leaky_relu
from jaxvsr.ops.impl import available, check, either

BETA = 0.2  # residual scaling inside a block and around three of them


class DenseBlock(nn.Module):
    """Five convolutions, each fed by all before it; `plus` adds ESRGAN+'s inner residuals."""

    growth: int
    plus: bool = False

    @nn.compact
    def __call__(self, x):
        maps = [x]
        for i in range(1, 5):
            y = leaky_relu(Conv(self.growth, name=f"conv{i}")(jnp.concatenate(maps, -1)))
            if self.plus and i == 2:
                y += Conv(self.growth, 1, bias=False, name="conv1x1")(x)
            if self.plus and i == 4:
                y += maps[2]
            maps.append(y)
        return x + BETA * Conv(x.shape[-1], name="conv5")(jnp.concatenate(maps, -1))


class RRDB(nn.Module):
    """Three dense blocks inside one more scaled residual."""

    growth: int
    plus: bool = False

    @nn.compact
    def __call__(self, x):
        y = x
        for i in range(1, 4):
            y = DenseBlock(self.growth, self.plus, name=f"rdb{i}")(y)
        return x + BETA * y


class RRDBNet(nn.Module):
    """Frames to frames `scale` times larger, not clipped.

    `unshuffle` folds that many pixels each way into channels before the first convolution
    (2 in the published x2 network, 4 in x1); scale * unshuffle is a power of two. `impl` is how
    convolutions run, see `jaxvsr.ops.impl`; the trunk as kernels has no concatenations left, but
    with `plus` it is always XLA's.
    """

    scale: int = 4
    features: int = 64
    blocks: int = 23
    growth: int = 32
    unshuffle: int = 1
    plus: bool = False
    impl: str = "xla"

    @property
    def multiple(self) -> int:
        """Height and width must divide by this."""
        return self.unshuffle

    @property
    def doublings(self) -> int:
        """How many times the features are enlarged by two."""
        return round(log2(self.scale * self.unshuffle))

    @property
    def reach(self) -> int:
        """Input pixels on each side that an output pixel can see."""
        last = 2 / 2**self.doublings + sum(1 / 2**i for i in range(1, self.doublings + 1))
        return self.unshuffle * (2 + 15 * self.blocks + ceil(last))

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w 3"]) -> Float[Array, "n H W 3"]:
        x = ops.pixel_unshuffle(frames, self.unshuffle) if self.unshuffle > 1 else frames
        width, leaky = self.features, {"activation": "leaky", "slope": 0.2}
        conv = lambda name, width=width: Conv(width, impl=self.impl, name=name)
        first = conv("conv_first")(x)
        y = conv("conv_body")(self._trunk(first), skips=((first, 1.0),))
        for i in range(1, self.doublings + 1):
            y = conv(f"conv_up{i}")(ops.upsample(y, 2, "nearest"), **leaky)
        last = Tail(3, r=1, impl=self.impl, name="conv_last")
        return last(conv("conv_hr")(y, **leaky), None)

    def _trunk(self, x):
        """All RRDBs: one after the other, or as kernels that hand their buffers on."""
        names = [f"body_{i}" for i in range(self.blocks)]

        def plain(x, *_):
            for name in names:
                x = RRDB(self.growth, self.plus, name=name)(x)
            return x

        def fast():
            from kernels.dense import trunk

            return lambda x, params: trunk(x, [_weights(p, x.dtype) for p in params], beta=BETA)

        if self.plus or self.is_initializing() or not names:
            return plain(x)
        params = [self.variables["params"][name] for name in names]
        return either(self._way(x, params[0]), "trunk", plain, fast, x, params)

    def _way(self, x, params) -> str:
        """`impl`; for "auto" what was measured to be faster for one RRDB."""
        if check(self.impl) != "auto":
            return self.impl
        if not available():
            return "xla"
        from kernels.choice import fastest
        from kernels.dense import rrdb

        leaves, tree = jax.tree.flatten(jax.tree.map(lambda p: p.astype(x.dtype), params))
        block = RRDB(self.growth, parent=None)
        plain = lambda x, *leaves: block.apply({"params": tree.unflatten(leaves)}, x)
        ours = lambda x, *leaves: rrdb(x, _weights(tree.unflatten(leaves), x.dtype), beta=BETA)
        return fastest("rrdb", {"triton": ours}, plain, (x, *leaves))


def _weights(params: Mapping, dtype) -> tuple:
    """An RRDB's parameters as `kernels.dense` takes them: three times five (kernel, bias)."""
    convs = [[params[f"rdb{i}"][f"conv{j}"] for j in range(1, 6)] for i in range(1, 4)]
    return tuple(
        tuple((conv["kernel"].astype(dtype), conv["bias"].astype(dtype)) for conv in five)
        for five in convs
    )
