"""Scores as a comparison gives them, made up: values, gaps, equal frames, missing metrics."""

import numpy as np

from jaxvsr.comparison.scores import Scores
from jaxvsr.metrics.table import METRICS

LEVELS = {"dB": 32.0, "px": 0.6, "x100": 1.2, "x1000": 3.0}
REMEDY = "its weights are not here; connect once"


def level(metric: str) -> float:
    """A usual value of a metric."""
    facts = METRICS[metric]
    if "vmaf" in metric:
        return 80.0
    return LEVELS.get(facts.unit, 0.85 if facts.higher_is_better else 0.2)


def scored(
    name="a", *, seed=0, gain=0.0, frames=200, metrics=tuple(METRICS), missing=(), equal=(), **more
) -> Scores:
    """A candidate; `gain` makes every metric better, `equal` are frames of infinite PSNR."""
    rng, values = np.random.default_rng(seed), {}
    for metric in metrics:
        facts = METRICS[metric]
        sign = 1 if facts.higher_is_better else -1  # a made-up value is never below 0
        noise = 0.01 * rng.standard_normal(frames)
        values[metric] = level(metric) * (1 + sign * gain / 50 + noise)
        if facts.kind == "motion":
            values[metric][0] = np.nan
        if metric in ("psnr", "psnr_y"):
            values[metric][list(equal)] = np.inf
    for metric in missing:
        del values[metric]
    reasons = dict.fromkeys(missing, REMEDY)
    times = np.arange(frames) / 25
    return Scores(name, f"folder/{name}.mp4", times, values, reasons, **more)


def three() -> list[Scores]:
    """Three candidates of every metric and 200 frames."""
    return [
        scored("bicubic", kbps=812.3, missing=("lpips_vgg",)),
        scored("lanczos", seed=1, gain=0.5, kbps=64.25, missing=("lpips_vgg",), equal=(3, 50, 51)),
        scored("network", seed=2, gain=2, missing=("lpips_vgg", "vmaf"), notices=("cut short",)),
    ]


def film(frames: int, candidates: int, size=(96, 128), seed=0) -> np.ndarray:
    """uint8 RGB [1 + candidates, frames, H, W, 3]: a reference, and it with one patch spoiled."""
    rng = np.random.default_rng(seed)
    real = rng.integers(60, 190, (frames, *size, 3), np.uint8)
    films = np.stack([real] * (1 + candidates))
    for i in range(candidates):
        films[1 + i, :, 40:56, 70:90] += np.uint8(4 * (i + 1))
    return films


def looking_at(films: np.ndarray):
    """`frames_at` over such films."""
    return lambda indices: ((i, list(films[:, i])) for i in indices)
