"""Trunks of image classifiers, whose inner maps judge pictures: the `features` of torchvision.

VGG16 and VGG19 (Simonyan and Zisserman 2015), AlexNet (Krizhevsky 2014) and SqueezeNet 1.1
(Iandola et al. 2016). Parameters have torchvision's names: `features_0/kernel` is
`features.0.weight`.
"""

from typing import Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

MEAN = np.array([0.485, 0.456, 0.406])  # of ImageNet, red first, as torchvision has them
DEVIATION = np.array([0.229, 0.224, 0.225])


class Step(NamedTuple):
    """One place in torchvision's sequence, and what its output is called.

    `width` is what a convolution puts out, or what a fire module squeezes to. `ceil` lets a last
    pooling window reach over the edge.
    """

    name: str
    kind: Literal["conv", "fire", "relu", "pool"]
    width: int = 0
    size: int = 1
    stride: int = 1
    padding: int = 0
    ceil: bool = False


def normalise(frames: Float[Array, "*n h w 3"]) -> Float[Array, "*n h w 3"]:
    """Frames in [0, 1] to what the classifiers were trained on: minus mean, over deviation."""
    mean, deviation = (jnp.asarray(value, frames.dtype) for value in (MEAN, DEVIATION))
    return (frames - mean) / deviation


def _conv(number: str, width: int, size: int = 3, stride: int = 1, padding: int | None = None):
    padding = size // 2 if padding is None else padding
    yield Step(f"conv{number}", "conv", width, size, stride, padding)
    yield Step(f"relu{number}", "relu")


def _vgg(*depths: int):
    for block, (width, depth) in enumerate(zip((64, 128, 256, 512, 512), depths, strict=True), 1):
        for i in range(depth):
            yield from _conv(f"{block}_{i + 1}", width)
        yield Step(f"pool{block}", "pool", size=2, stride=2)


def _alexnet():
    yield from _conv("1", 64, 11, 4, 2)
    yield Step("pool1", "pool", size=3, stride=2)
    yield from _conv("2", 192, 5)
    yield Step("pool2", "pool", size=3, stride=2)
    for number, width in (("3", 384), ("4", 256), ("5", 256)):
        yield from _conv(number, width)
    yield Step("pool5", "pool", size=3, stride=2)


def _squeezenet():
    yield from _conv("1", 64, 3, 2, 0)
    fire = 2
    for pool, widths in (("1", (16, 16)), ("3", (32, 32)), ("5", (48, 48, 64, 64))):
        yield Step(f"pool{pool}", "pool", size=3, stride=2, ceil=True)
        for width in widths:
            yield Step(f"fire{fire}", "fire", width)
            fire += 1


STACKS: dict[str, tuple[Step, ...]] = {
    "vgg16": tuple(_vgg(2, 2, 3, 3, 3)),
    "vgg19": tuple(_vgg(2, 2, 4, 4, 4)),
    "alexnet": tuple(_alexnet()),
    "squeezenet1_1": tuple(_squeezenet()),
}


class Trunk(nn.Module):
    """Frames in [0, 1] to the maps asked for, by name; nothing behind the last one is computed.

    `net` is a key of STACKS. Maps are called as in the papers: "relu3_4" or, before its
    activation, "conv3_4" (VGG); "relu5" (AlexNet); "fire9" (SqueezeNet); "pool1". `precision` is
    lax's: None lets a GPU round the factors of its products to TF32, "highest" does not.
    ValueError for a map that the network lacks and for frames too small to reach it.
    """

    net: str = "vgg19"
    maps: tuple[str, ...] = ("conv5_4",)
    precision: str | None = None

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w 3"]) -> dict[str, Float[Array, "n _ _ _"]]:
        steps = self._steps()
        least, (height, width) = smallest(steps), frames.shape[1:3]
        if min(height, width) < least:
            raise ValueError(
                f"{self.net}: {width}x{height} is smaller than {least}x{least}, "
                f"the least that reaches {steps[-1].name}"
            )
        x, found = normalise(frames), {}
        for place, step in enumerate(steps):
            x = self._apply(step, x, f"features_{place}")
            if step.name in self.maps:
                found[step.name] = x
        return found

    def _steps(self) -> tuple[Step, ...]:
        """The network up to the last map asked for."""
        if self.net not in STACKS:
            raise ValueError(f"net {self.net!r}: choose one of {', '.join(STACKS)}")
        names = [step.name for step in STACKS[self.net]]
        unknown = [name for name in self.maps if name not in names]
        if unknown or not self.maps:
            raise ValueError(f"maps {unknown} of {self.net}: choose from {', '.join(names)}")
        return STACKS[self.net][: max(names.index(name) for name in self.maps) + 1]

    def _apply(self, step: Step, x, name: str):
        if step.kind == "relu":
            return nn.relu(x)
        if step.kind == "pool":
            return max_pool(x, step.size, step.stride, ceil=step.ceil)
        if step.kind == "fire":
            return Fire(step.width, self.precision, name=name)(x)
        size, padding = (step.size, step.size), step.padding
        options = {"padding": padding, "precision": self.precision, "name": name}
        return nn.Conv(step.width, size, step.stride, **options)(x)


class Fire(nn.Module):
    """Squeeze to `width` channels, expand to eight times as many: half by 1x1, half by 3x3."""

    width: int
    precision: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c8"]:
        def conv(x, width: int, size: int, name: str):
            options = {"padding": size // 2, "precision": self.precision, "name": name}
            return nn.relu(nn.Conv(width, (size, size), **options)(x))

        x = conv(x, self.width, 1, "squeeze")
        wide = 4 * self.width
        parts = conv(x, wide, 1, "expand1x1"), conv(x, wide, 3, "expand3x3")
        return jnp.concatenate(parts, -1)


def max_pool(
    x: Float[Array, "n h w c"], size: int, stride: int, *, ceil: bool = False
) -> Float[Array, "n h2 w2 c"]:
    """The largest of every size x size, as torch's `max_pool2d` without padding.

    A window that would reach over the edge is left out, or with `ceil` takes what is inside.
    Written as the largest of shifted slices: on a CPU that is 10 times as fast as XLA's windows.
    """
    for axis in (1, 2):
        over = x.shape[axis] - size
        count = (over + ceil * (stride - 1)) // stride + 1
        missing = max(0, (count - 1) * stride - over)
        if missing:
            edge = [(0, missing if i == axis else 0, 0) for i in range(x.ndim)]
            x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), edge)
        last = (count - 1) * stride + 1
        parts = [lax.slice_in_dim(x, i, i + last, stride, axis) for i in range(size)]
        x = parts[0]
        for part in parts[1:]:
            x = jnp.maximum(x, part)
    return x


def smallest(steps: tuple[Step, ...]) -> int:
    """The least height and width that leaves a pixel behind all these steps."""
    need = 1
    for step in reversed(steps):
        over = step.stride - 1 if step.ceil else 0
        need = max(1, (need - 1) * step.stride + step.size - 2 * step.padding - over)
    return need
