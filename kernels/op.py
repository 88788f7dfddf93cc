"""What an operation with a kernel is: its definition, its kernel, and what both cost.

Arrays are NHWC; 3x3 weights are HWIO as `jax.lax` has them. Tests, the bench, the compiler's gate
and the choice between XLA and Triton all read the same `Op`s.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import jax

Shape = tuple[int, int, int, int]  # N, H, W, C of the input
HALF = ("bfloat16", "float16")
FLOATS = (*HALF, "float32")


@dataclass(frozen=True)
class Config:
    """How a kernel is built: its constexprs that are free to choose, warps, pipeline stages."""

    constants: tuple[tuple[str, int], ...] = ()
    warps: int = 4
    stages: int = 1

    def __str__(self):
        tiles = " ".join(f"{name}={value}" for name, value in self.constants)
        return f"{tiles} warps={self.warps} stages={self.stages}".strip()


def config(warps: int = 4, stages: int = 1, **constants: int) -> Config:
    """A `Config` from keywords."""
    return Config(tuple(sorted(constants.items())), warps, stages)


@dataclass(frozen=True)
class Op:
    """An operation that has a kernel.

    - `ours(*arrays, config=None)`: the kernel; None picks the config by `kernels.tuning`.
    - `definition(*arrays)`: the truth in plain JAX, in the dtype of its inputs, up to float64.
    - `example(key, shape, dtype)`: its arrays, random, for an input of `shape`.
    - `flops(shape)`: multiplications and additions of the definition.
    - `bytes(shape, size)`: least traffic to and from memory, for values of `size` bytes.
    - `configs(shape, dtype)`: all that may be tried, the safest first.
    - `small`: odd shapes for the interpreter; `shapes`: those of the bench, by name.
    - `tolerance`: largest ||ours - truth|| / ||truth|| by dtype; truth in float64.
    - `baselines`: other ways to write it in JAX that XLA may be faster at, by name.
    """

    name: str
    ours: Callable
    definition: Callable
    example: Callable[[jax.Array, Shape, str], tuple]
    flops: Callable[[Shape], float]
    bytes: Callable[[Shape, int], float]
    configs: Callable[[Shape, str], tuple[Config, ...]]
    small: tuple[Shape, ...]
    shapes: Mapping[str, Shape]
    dtypes: tuple[str, ...] = FLOATS
    tolerance: Mapping[str, float] = field(
        default_factory=lambda: {"float32": 1e-5, "float16": 1e-3, "bfloat16": 8e-3}
    )
    baselines: Mapping[str, Callable] = field(default_factory=dict)
