"""Activations, and the slopes that some of them take."""

import jax
import jax.numpy as jnp


def split_slope(slope) -> tuple:
    """(`slope` if it is a number, `slope` if it is an array), the other one None.

    Arrays are arguments of a program that is timed or differentiated, numbers are part of it.
    """
    return (None, slope) if hasattr(slope, "shape") else (slope, None)


def joined_slope(number, array):
    """What `split_slope` took apart."""
    return number if array is None else array


def activate(x, activation: str, slope=None):
    """`x` behind "none", "relu", "leaky" (0 < slope < 1) or "prelu" (a slope for each channel)."""
    if activation == "none":
        return x
    if activation == "relu":
        return jax.nn.relu(x)
    if activation in ("leaky", "prelu"):
        slope = slope.astype(x.dtype) if hasattr(slope, "astype") else slope
        return jnp.where(x >= 0, x, x * slope)
    raise ValueError(f"activation {activation!r}: choose one of none, relu, leaky, prelu")
