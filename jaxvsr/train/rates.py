"""Optimisers and learning rates of the papers; a rate is a function of the steps of a phase."""

from collections.abc import Sequence

import optax


def cosine(peak: float, steps: int, *, warm: int = 0, last: float = 0.0) -> optax.Schedule:
    """Rises to `peak` over `warm` steps and falls to `last` at `steps` along a cosine.

    It depends on the step alone, so a run that is resumed with another `steps` bends its cosine
    and still ends at `last`.
    """
    if warm == 0:
        return optax.cosine_decay_schedule(peak, steps, last / peak)
    return optax.warmup_cosine_decay_schedule(0.0, peak, warm, steps, last)


def multistep(start: float, at: Sequence[int], factor: float = 0.5) -> optax.Schedule:
    """Starts at `start`, multiplied by `factor` at each step in `at`.

    ESRGAN: `multistep(1e-4, (50_000, 100_000, 200_000, 300_000))`.
    """
    return optax.piecewise_constant_schedule(start, dict.fromkeys(at, factor))


def adam(peak: float, steps: int, *, warm: int | None = None, last: float = 1e-6):
    """Adam(0.9, 0.999) whose rate is `cosine`; it warms up for a tenth, 200 steps at most."""
    warm = min(200, steps // 10) if warm is None else warm
    return optax.adam(cosine(peak, steps, warm=warm, last=last))
