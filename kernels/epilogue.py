"""What follows a convolution, before its result is stored: once for kernels, once in plain JAX.

activation(z) * scale + factor * skip + ...: all of it costs no memory traffic but the skips'
where the convolution's kernel does it. As passes of their own, activation and residual of 64
channels would read and write as much as the convolution itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from kernels.launch import RefusedError  # isort: skip  (must come before triton)
import triton
import triton.language as tl

ACTIVATIONS = ("none", "relu", "leaky", "prelu")
SKIPS = 2  # at most


@dataclass(frozen=True)
class Epilogue:
    """What is known while tracing: the activation, leaky's slope, the scale, skips' factors."""

    activation: str = "none"
    slope: float = 0.0
    scale: float = 1.0
    factors: tuple[float, ...] = ()

    def constants(self) -> dict:
        """Constexprs of `finish`."""
        first, second = (*self.factors, 0.0, 0.0)[:SKIPS]
        activation = dict(ACTIVATION=self.activation, SLOPE=self.slope)
        return activation | dict(SCALE=self.scale, FIRST=first, SECOND=second)


def split(activation: str, slope, scale: float, skips: Sequence, out: tuple[int, ...]):
    """An Epilogue, prelu's slopes or None, and the skips' arrays, for a result of shape `out`.

    Raises RefusedError where they do not fit it.
    """
    if activation not in ACTIVATIONS:
        raise RefusedError(f"activation {activation!r}: choose one of {', '.join(ACTIVATIONS)}")
    if len(skips) > SKIPS:
        raise RefusedError(f"{len(skips)} skips: at most {SKIPS}; add the others afterwards")
    for array, _ in skips:
        if array.shape != out:
            raise RefusedError(f"skip of shape {array.shape}: must be {out}")
    prelu = activation == "prelu"
    if prelu and (slope is None or jnp.shape(slope) != out[-1:]):
        raise RefusedError(f"prelu: slope must be an array of shape {out[-1:]}")
    if activation == "leaky" and (slope is None or jnp.ndim(slope)):
        raise RefusedError("leaky: slope must be a number; use prelu for one a channel")
    number = float(slope) if activation == "leaky" else 0.0
    factors = tuple(float(factor) for _, factor in skips)
    arrays = tuple(array for array, _ in skips)
    then = Epilogue(activation, number, float(scale), factors)
    return then, slope if prelu else None, arrays


def after(then: Epilogue, z, slope, arrays):
    """The definition of `finish`: activation(z) * scale + the sum of factor * array."""
    if then.activation == "relu":
        z = jax.nn.relu(z)
    elif then.activation != "none":
        slope = then.slope if slope is None else slope.astype(z.dtype)
        z = jnp.where(z >= 0, z, z * slope)
    z = z if then.scale == 1 else z * then.scale
    for array, factor in zip(arrays, then.factors, strict=True):
        z = z + array.astype(z.dtype) * factor
    return z


def pointers(x, slope, arrays) -> tuple:
    """The arrays that `finish` gets; `x` stands where there is none, and is not read."""
    return (x if slope is None else slope, *(*arrays, x, x)[:SKIPS])


@triton.jit
def vector(values, channel, wide, GIVEN: tl.constexpr):
    """values[channel] in float32 where `wide`, else 0; all 0 where they are not GIVEN."""
    if GIVEN:
        return tl.load(values + channel, mask=wide, other=0.0).to(tl.float32)
    else:
        return tl.zeros_like(channel).to(tl.float32)


@triton.jit
def finish(z, steep, first, second, at, live,
           ACTIVATION: tl.constexpr, SLOPE: tl.constexpr, SCALE: tl.constexpr,
           FIRST: tl.constexpr, SECOND: tl.constexpr):  # fmt: skip
    """z [pixels, channels] in float32 as it is to be stored `at` its places, where `live`.

    `steep` is prelu's slopes [channels]; `first` and `second` point to the skips, laid out as z.
    """
    z = bend(z, steep, ACTIVATION, SLOPE)
    if SCALE != 1.0:
        z = z * SCALE
    if FIRST != 0.0:
        z += tl.load(first + at, mask=live, other=0.0).to(tl.float32) * FIRST
    if SECOND != 0.0:
        z += tl.load(second + at, mask=live, other=0.0).to(tl.float32) * SECOND
    return z


@triton.jit
def bend(z, steep, ACTIVATION: tl.constexpr, SLOPE: tl.constexpr):
    """The activation of z [pixels, channels]; `steep` [channels] is for prelu."""
    if ACTIVATION == "relu":
        z = tl.maximum(z, 0.0, propagate_nan=tl.PropagateNan.ALL)  # XLA's lets NaN through too
    elif ACTIVATION == "leaky":
        z = tl.where(z >= 0, z, z * SLOPE)
    elif ACTIVATION == "prelu":
        z = tl.where(z >= 0, z, z * steep[None, :])
    return z
