"""How much of the time a GPU is busy, from a trace of JAX's profiler."""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import jax
from jax.profiler import ProfileData


def share(step: Callable[[], None], wait: Callable[[], None], steps: int = 20) -> float | None:
    """Share of the time of `steps` steps in which a GPU does anything; None if not to be had."""
    step(), wait()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(steps):
                step()
            wait()
        traces = sorted(Path(folder).rglob("*.xplane.pb"))
        if not traces:
            return None
        data = ProfileData.from_file(str(traces[0]))
        return covered(intervals(data, "/device:GPU", "Stream"))


def intervals(data: ProfileData, plane: str, line: str) -> list[tuple[float, float]]:
    """(start, end) in ns of all events of the planes and lines whose names begin so."""
    lines = (x for p in data.planes if p.name.startswith(plane) for x in p.lines)
    events = (e for x in lines if x.name.startswith(line) for e in x.events)
    return [(e.start_ns, e.start_ns + e.duration_ns) for e in events]


def covered(spans: Iterable[tuple[float, float]]) -> float | None:
    """Share of the time from the first start to the last end that lies in any span."""
    spans = sorted(spans)
    if not spans:
        return None
    total, reached = 0.0, spans[0][0]
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total / (reached - spans[0][0]) if reached > spans[0][0] else None
