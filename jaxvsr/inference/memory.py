"""Whether work fits into memory, asked of the compiled program before it runs."""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import jax

from jaxvsr.clip import tiling
from jaxvsr.host import memory

SHARE = 0.9  # of what is free that one program may take
CPU_WORK = 1150 << 20  # bytes that a CPU works in, though more be free: a whole 1080p frame's


class Need(NamedTuple):
    """Bytes that a program takes beside its inputs: while it works, and for its results."""

    work: int
    results: int

    @property
    def total(self) -> int:
        """Both."""
        return self.work + self.results


def needs(function, *arguments) -> Need | None:
    """What a jitted function needs for these arguments; None where its backend cannot tell.

    It is compiled, but not run; a call with the same arguments does not compile it again.
    """
    compiled = function.lower(*arguments).compile()
    with suppress(AttributeError, NotImplementedError, jax.errors.JaxRuntimeError):
        told = compiled.memory_analysis()
        if told is not None:
            results = told.output_size_in_bytes - told.alias_size_in_bytes
            return Need(told.temp_size_in_bytes, max(results, 0))
    return None


def room(device: jax.Device | None) -> float:
    """Bytes that one program may take on a device (None: JAX's choice); infinite if unknown."""
    device = device or jax.config.jax_default_device or jax.devices()[0]
    if getattr(device, "platform", device) == "cpu":
        left = memory.free()
        return float("inf") if left is None else SHARE * left
    told = (device.memory_stats() if hasattr(device, "memory_stats") else None) or {}
    if "bytes_limit" not in told:
        return float("inf")
    return SHARE * (told["bytes_limit"] - told.get("bytes_in_use", 0))


def work_limit(device: jax.Device | None) -> float:
    """Bytes of work beyond which frames are cut, though more be free: on a CPU, tiles cost little.

    A GPU is filled best by whole frames.
    """
    device = device or jax.config.jax_default_device or jax.devices()[0]
    return CPU_WORK if getattr(device, "platform", device) == "cpu" else float("inf")


def cut(
    size: tuple[int, int], pixels: float, smallest: int, reach: int, multiple: int
) -> tuple[int, int] | None:
    """Cores (rows, columns) of tiles whose windows have at most so many pixels; None if none have.

    Of all ways to cut a frame of this size the one that computes least twice.
    """
    sides = [_ways(side, smallest, reach, multiple) for side in size]
    ways = (
        (across[2] * down[2], (down[0], across[0]))
        for down in sides[0]
        for across in sides[1]
        if down[1] * across[1] <= pixels
    )
    best = min(ways, default=None)
    return None if best is None else best[1]


def _ways(size: int, smallest: int, reach: int, multiple: int) -> list[tuple[int, int, int]]:
    """(core, window, pixels that are read in all) of each way to cut one axis."""
    ways = []
    for count in range(1, max(size // max(smallest, 1), 1) + 1):
        core = -(-size // count // multiple) * multiple
        tiles = tiling(size, core, reach, multiple)
        ways.append((core, tiles.window, tiles.window * len(tiles.tiles)))
    return ways


def shrunk(cores: tuple[int, int], fits: Callable[[tuple[int, int]], bool], smallest: int):
    """The first of ever smaller tiles that fits; None where not even the smallest does."""
    while not fits(cores):
        if max(cores) // 2 < smallest:
            return None
        longer = cores.index(max(cores))
        cores = tuple(side // 2 if i == longer else side for i, side in enumerate(cores))
    return cores
