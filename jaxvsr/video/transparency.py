"""Pictures with alpha: what is to be enlarged so that no fringe shows, and what it lies on."""

import numpy as np

SEEN = 16  # an alpha of 1/16 and more vouches for its own colour
NEAR = 3  # pixels from an edge that get its colour alone


def filled(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`colour` [H, W, C] with that of its visible neighbours where `alpha` [H, W] hides it.

    Both unsigned codes of one kind, and so is the result. Whatever mixes neighbouring pixels then
    mixes visible colours alone, as if these were weighted by alpha. A picture that is wholly hidden
    stays as it is.
    """
    peak = np.iinfo(alpha.dtype).max
    weight = np.minimum(alpha.astype(np.float32) * (SEEN / peak), 1.0)[..., None]
    if weight.min() == 1 or not weight.any():
        return colour
    weighted = colour.astype(np.float32) * weight
    for _ in range(NEAR):
        weighted, weight = _grown(weighted, weight)
    spread = _spread(weighted, weight)
    return np.round(np.clip(spread, 0, peak)).astype(colour.dtype)


def _grown(weighted: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours times weights, and weights, with the means of visible neighbours where one lacks."""
    total = _around(weight)
    mean = _around(weighted) / np.maximum(total, 1e-12)
    lacking = np.where(total > 0, 1 - weight, 0)
    return weighted + mean * lacking, weight + lacking


def _around(x: np.ndarray) -> np.ndarray:
    """Sums over squares of 3x3; outside is nothing."""
    for axis in (0, 1):
        pad = [(1, 1) if i == axis else (0, 0) for i in range(3)]
        padded = np.pad(x, pad)
        last = x.shape[axis]
        x = sum(np.take(padded, range(k, k + last), axis) for k in range(3))
    return x


def _spread(weighted: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Colours from colours times weights: where weight lacks, a coarser picture fills in."""
    if max(weight.shape[:2]) == 1:
        return weighted / np.maximum(weight, 1e-12)
    coarse = _halved(weighted), _halved(weight)
    total = coarse[1]
    full = np.minimum(total * 4, 1.0)  # one visible pixel in four is enough
    below = _spread(coarse[0] * (full / np.maximum(total, 1e-12)), full)
    height, width = weight.shape[:2]
    below = below.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return weighted + below * (1 - weight)


def _halved(x: np.ndarray) -> np.ndarray:
    """Means of blocks of 2x2; the edge is repeated."""
    height, width = x.shape[:2]
    x = np.pad(x, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The picture [H, W, C] as it looks on white paper; codes of the same kind."""
    peak = np.iinfo(alpha.dtype).max
    share = alpha.astype(np.float32)[..., None] / peak
    return np.round(colour * share + peak * (1 - share)).astype(colour.dtype)
