"""Fewer pixels, in the ways that the papers use and that players meet; blur and noise.

Frames are RGB [..., H, W, 3], float32 in [0, 1] or uint8.
"""

from functools import lru_cache
from math import ceil

import numpy as np
from PIL import Image

from jaxvsr.degradation.recipe import Recipe
from jaxvsr.ops import resample
from jaxvsr.video import pixels
from jaxvsr.video.colour import Colour, from_rgb, to_rgb

PILLOW = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
COLOURS = {
    matrix: Colour(matrix, False, "left", 8, (2, 2), code, code)
    for matrix, code in (("bt601", 6), ("bt709", 1))
}


def reduced(frame: np.ndarray, recipe: Recipe, index: int, colour: Colour | None = None):
    """Frame number `index`, float32 [H, W, 3] in [0, 1], as it reaches the encoder, [h, w, 3].

    Blurred, downscaled, noisy; not clipped. `colour` is what "swscale" works in, 4:2:0
    of 8 bits; the recipe's by default.
    """
    height, width = recipe.used(*frame.shape[:2])
    frame = frame[:height, :width]
    if recipe.blur:
        frame = blurred(frame, recipe.blur)
    frame = downscaled(frame, recipe, colour or COLOURS[recipe.matrix])
    if recipe.noise:
        rng = np.random.default_rng((recipe.seed, index))
        grain = rng.standard_normal(frame.shape, dtype=np.float32)
        frame = frame + grain * np.float32(recipe.noise / 255)
    return frame


def downscaled(frame: np.ndarray, recipe: Recipe, colour: Colour) -> np.ndarray:
    """The frame, float32 [H, W, 3], at the recipe's size, by the recipe's kind of downscale."""
    size = recipe.size(*frame.shape[:2])
    if recipe.factor == 1:
        return frame[: size[0], : size[1]]
    if recipe.downscale == "gaussian":
        return strided(frame, int(recipe.factor), recipe.sigma, recipe.taps, recipe.phase)
    if recipe.downscale == "swscale":
        return by_swscale(frame, size, colour)
    if recipe.downscale == "imresize":
        return resample.imresize(frame, size=size)
    if recipe.downscale == "area":
        return area(frame, size)
    return np.float32(shrink(quantise(frame)[None], size, recipe.downscale)[0]) / 255


def shrink(clip: np.ndarray, size: tuple[int, int], method: str = "bicubic") -> np.ndarray:
    """A clip uint8 [T, H, W, 3] at `size` = (height, width): "area", "bicubic" or "lanczos".

    The last two are Pillow's, antialiased; "area" rounds the exact mean to the nearest level.
    """
    if method == "area":
        # In levels, where halves are exact and so are rounded up as often as down.
        return np.stack([np.round(area(np.float32(f), size)) for f in clip]).astype(np.uint8)
    if method not in PILLOW:
        raise ValueError(f"method {method!r}: choose area, bicubic or lanczos")
    pictures = (Image.fromarray(frame).resize(size[::-1], PILLOW[method]) for frame in clip)
    return np.stack([np.asarray(picture) for picture in pictures])


def quantise(rgb) -> np.ndarray:
    """RGB in [0, 1], clipped and rounded to uint8."""
    return np.round(np.clip(np.asarray(rgb), 0, 1) * 255).astype(np.uint8)


def area(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Each pixel is the mean of what it covers, parts of pixels by their share; float32."""
    for axis, length in ((-3, size[0]), (-2, size[1])):
        if frame.shape[axis] != length:
            frame = resample.weighted(frame, axis, *_shares(frame.shape[axis], length))
    return frame


@lru_cache(maxsize=16)
def _shares(before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """(index [after, taps], weights [after, taps]) of the pixels under each new one."""
    # Counted in parts of 1 / after of an old pixel, so that all is whole numbers.
    begin = np.arange(after) * before
    near = (begin // after)[:, None] + np.arange(ceil(before / after) + 1)
    left = np.maximum(near * after, begin[:, None])
    right = np.minimum((near + 1) * after, begin[:, None] + before)
    share = np.maximum(right - left, 0)
    used = share.any(0)
    return np.minimum(near, before - 1)[:, used], share[:, used] / before


def strided(
    frame: np.ndarray,
    factor: int,
    sigma: float | None = None,
    taps: int | None = None,
    phase: str = "aligned",
) -> np.ndarray:
    """BD: a Gaussian at every `factor`-th pixel; height and width must divide by it; float32.

    By default sigma is 0.4 * factor (1.6 at x4) and reaches 3 sigma. "aligned" is centred
    on each block, as BasicVSR's script with its even number of taps is; "first" on the block's
    first pixel, as TecoGAN's and DUF's with an odd number are. Borders repeat.
    """
    sigma = 0.4 * factor if sigma is None else sigma
    middle = (factor - 1) / 2 if phase == "aligned" else 0.0
    even = middle % 1 != 0
    taps = 2 * ceil(3 * sigma) + (2 if even else 1) if taps is None else taps
    for axis in (-3, -2):
        table = _bell(frame.shape[axis], factor, middle, sigma, taps)
        frame = resample.weighted(frame, axis, *table)
    return frame


def blurred(frame: np.ndarray, sigma: float) -> np.ndarray:
    """The frame under a Gaussian of `sigma` pixels that reaches 3 sigma; borders repeat."""
    return strided(frame, 1, sigma, 2 * ceil(3 * sigma) + 1)


@lru_cache(maxsize=16)
def _bell(length: int, step: int, middle: float, sigma: float, taps: int):
    centre = np.arange(length // step) * step + middle
    near = np.ceil(centre - taps / 2).astype(int)[:, None] + np.arange(taps)
    weights = np.exp(-0.5 * ((near - centre[:, None]) / sigma) ** 2)
    return np.clip(near, 0, length - 1), weights / weights.sum(1, keepdims=True)


def by_swscale(frame: np.ndarray, size: tuple[int, int], colour: Colour) -> np.ndarray:
    """FFmpeg's bicubic on 4:2:0 planes of `colour`, float32 RGB [H, W, 3] in and out.

    Planes that came from 4:2:0 of the same colour are met again exactly, so that a file is
    scaled as `ffmpeg -vf scale=...:flags=bicubic` scales it.
    """
    picture = pixels.frame_of(from_rgb(frame, colour), "yuv420p")
    # One thread: swscale's slices have been seen to leave lines of chroma unwritten.
    picture = picture.reformat(size[1], size[0], interpolation="BICUBIC", threads=1)
    return to_rgb(pixels.planes_of(picture, "yuv420p"), colour)
