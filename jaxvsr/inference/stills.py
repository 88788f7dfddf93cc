"""One picture through a network: grey stays grey, and alpha leaves no fringe."""

from collections.abc import Callable

import numpy as np

from jaxvsr import ops
from jaxvsr.video.transparency import filled

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def enlarged(pixels: np.ndarray, alpha: np.ndarray | None, run: Callable):
    """(pixels, alpha) of a picture [H, W, 1 or 3], [H, W], of the same kind of unsigned codes.

    `run` takes frames [1, H, W, 3] of such codes to enhanced ones. Colours come from pixels that
    can be seen, and a picture whose channels are equal keeps them so.
    """
    if alpha is not None:
        pixels = filled(pixels, alpha)
    frames = np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
    equal = bool((pixels == pixels[..., :1]).all())
    better = np.asarray(run(frames[None]))[0]
    if equal:
        grey = np.round(better @ LUMA).astype(better.dtype)
        better = np.repeat(grey[..., None], pixels.shape[-1], axis=-1)
    return better, None if alpha is None else grown(alpha, better.shape[:2])


def grown(alpha: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Alpha [h, w] at `size`, of the same kind."""
    x = ops.resize(unit(alpha)[None, ..., None], size, method="lanczos", antialias=True)
    return as_kind(np.asarray(x)[0, ..., 0], alpha.dtype)


def unit(picture: np.ndarray) -> np.ndarray:
    """Integers to float32 in [0, 1]."""
    return picture.astype(np.float32) / np.iinfo(picture.dtype).max


def as_kind(picture: np.ndarray, dtype) -> np.ndarray:
    """Floats in [0, 1] to integers of a kind."""
    return np.round(np.clip(picture, 0, 1) * np.iinfo(dtype).max).astype(dtype)
