"""How long calls take on a device: many calls to one wait, in turns, on data that no cache holds.

A program of its own runs every function on several copies of its inputs, one copy after the other,
so what a call reads was evicted from L2 since it was last used, and the time of starting a program
is shared by all its calls. Functions take turns, so a clock that falls hits all of them alike.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

BEYOND_L2 = 200e6  # bytes; more than three times the L2 of an H100, H200 or B200's half
MOST_COPIES = 16
MOST_BYTES = 8e9  # that results in flight may take
SAMPLE = 0.004  # seconds between two waits; a wait costs some 20 microseconds
ROUNDS = (5, 60)  # fewest and most samples


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call: the median of the samples, and 20 and 80 % of them."""

    median: float
    p20: float
    p80: float

    def __str__(self):
        return f"{self.median:.4g} [{self.p20:.4g}, {self.p80:.4g}]"


def milliseconds(
    runs: Mapping[str, Callable],
    arrays: Sequence,
    *,
    seconds: float = 0.5,
    copies: int | None = None,
) -> dict[str, Timing]:
    """The time of each of `runs`, called on `arrays`; `seconds` is about what each may take.

    `arrays` are JAX arrays or None, and results must not be Python numbers. `copies` is how many
    inputs are rotated, by default enough for BEYOND_L2 on a GPU. Whatever a function raises while
    it is compiled or run is raised.
    """
    size = max(_size(run, arrays) for run in runs.values())
    sets = _copied(arrays, copies or _count(size))
    programs = {name: jax.jit(partial(_in_turn, run)) for name, run in runs.items()}
    once = {name: _warm(program, sets) for name, program in programs.items()}
    fit = max(1, int(MOST_BYTES / (size * len(sets))))
    repeats = {name: min(fit, max(1, round(SAMPLE / took))) for name, took in once.items()}
    longest = max(repeats[name] * once[name] for name in runs)
    rounds = min(max(round(seconds / longest), ROUNDS[0]), ROUNDS[1])
    samples = {name: [] for name in runs}
    for _ in range(rounds):
        for name, program in programs.items():
            took = _elapsed(program, sets, repeats[name])
            samples[name].append(1e3 * took / (repeats[name] * len(sets)))
    return {name: summary(taken) for name, taken in samples.items()}


def summary(samples: Sequence[float]) -> Timing:
    """Median, 20 and 80 % of samples, each of which is one that was measured."""
    ordered = sorted(samples)
    at = lambda share: ordered[round(share * (len(ordered) - 1))]
    return Timing(at(0.5), at(0.2), at(0.8))


def _in_turn(run: Callable, sets: list) -> list:
    """run(*arrays) for each of the sets; a barrier keeps XLA from merging or reordering them."""
    results, before = [], None
    for arrays in sets:
        arrays, before = jax.lax.optimization_barrier((arrays, before))
        if before is not None:
            results[-1] = before
        before = run(*arrays)
        results.append(before)
    return results


def _warm(program: Callable, sets: list) -> float:
    """Compiles; the seconds of one call of the program, best of three."""
    jax.block_until_ready(program(sets))
    return max(min(_elapsed(program, sets, 1) for _ in range(3)), 1e-6)


def _elapsed(program: Callable, sets: list, times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        last = program(sets)  # the one before is freed, so memory does not grow
    jax.block_until_ready(last)
    return time.perf_counter() - start


def _copied(arrays: Sequence, count: int) -> list:
    return [jax.tree.map(partial(jnp.array, copy=True), tuple(arrays)) for _ in range(count)]


def _count(size: int) -> int:
    if jax.default_backend() != "gpu":
        return 1
    return min(max(math.ceil(BEYOND_L2 / size), 1), MOST_COPIES)


def _size(run: Callable, arrays: Sequence) -> int:
    """Bytes that a call takes and returns."""
    leaves: list[Any] = jax.tree.leaves((tuple(arrays), jax.eval_shape(run, *arrays)))
    return max(sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves), 1)
