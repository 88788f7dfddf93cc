"""Clips, [N, T, H, W, C] in [0, 1], and the three ways a network meets one.

A generator is written for the least it needs: one frame, a window of frames, or a frame and a
state. These functions lift it to whole clips, to endless streams of frames, and to frames that
are too large to be run in one piece.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Clip = Float[Array, "n t h w c"]
Item = TypeVar("Item")


def reflect(index: int, count: int) -> int:
    """Folds any integer into [0, count) by mirroring at both ends without repeating them."""
    if count == 1:
        return 0
    index %= 2 * (count - 1)
    return min(index, 2 * (count - 1) - index)


def windows(clip: Clip, radius: int) -> Float[Array, "n t w2 h w c"]:
    """Every frame with `radius` neighbours on each side; the clip is mirrored at both ends."""
    count = clip.shape[1]
    near = [[reflect(t + d, count) for d in range(-radius, radius + 1)] for t in range(count)]
    return clip[:, jnp.array(near)]


def sliding(network, clip: Clip, radius: int) -> Clip:
    """Applies window -> frame at every time; a radius of 0 is frame by frame."""
    views = windows(clip, radius) if radius else clip
    return jax.vmap(network, in_axes=1, out_axes=1)(views)


def recurrent(network, state, clip: Clip) -> Clip:
    """Applies (state, frame) -> (state, frame) from first to last."""
    _, frames = jax.lax.scan(network, state, jnp.moveaxis(clip, 1, 0))
    return jnp.moveaxis(frames, 0, 1)


def scenes(items: Iterable[tuple[Item, bool]], radius: int) -> Iterator[tuple[list[Item], bool]]:
    """Windows over a stream of (frame, begins a scene) that never look across a cut.

    Yields (2 * radius + 1 frames around each frame, whether that frame begins a scene), in
    order, holding at most that many frames. A scene is mirrored at its ends, as in `windows`.
    """
    scene: deque[Item] = deque()
    first = ready = 0  # index in the scene of scene[0], and of the next frame to give out
    for item, begins in items:
        if begins:
            yield from _rest(scene, first, ready, radius)
            scene.clear()
            first = ready = 0
        scene.append(item)
        if first + len(scene) - ready > radius:
            yield _window(scene, first, ready, None, radius), ready == 0
            ready += 1
            while first < ready - radius:
                scene.popleft()
                first += 1
    yield from _rest(scene, first, ready, radius)


def _rest(scene, first, ready, radius):
    """The windows that had to wait for the end of their scene."""
    count = first + len(scene)
    for t in range(ready, count):
        yield _window(scene, first, t, count, radius), t == 0


def _window(scene, first, t, count, radius):
    """The window around frame t; `count` is the scene's length, once it is known."""
    near = range(t - radius, t + radius + 1)
    at = [abs(i) if count is None else reflect(i, count) for i in near]
    return [scene[i - first] for i in at]


class Tile(NamedTuple):
    """Where one tile reads and where its result counts, along one axis, in input pixels."""

    window: int  # first pixel that is read
    core: int  # first pixel that is kept


class Tiling(NamedTuple):
    """Equal windows along one axis, so that one compiled program serves every tile."""

    window: int  # pixels read by each tile
    core: int  # pixels kept of each tile
    tiles: tuple[Tile, ...]


def tiling(size: int, tile: int, reach: int, multiple: int = 1) -> Tiling:
    """Cuts an axis of `size` pixels (a multiple of `multiple`) into overlapping windows.

    Each window holds its core and `reach` pixels on both sides, or ends at the border of the
    frame, so a network of that reach gives in the core what it would give untiled. The last
    core moves back to stay inside, which computes some pixels twice and changes none.
    """
    core = min(size, max(1, tile // multiple) * multiple)
    margin = -(-reach // multiple) * multiple
    window = min(size, core + 2 * margin)
    starts = [min(i * core, size - core) for i in range(-(-size // core))]
    tiles = (Tile(min(max(s - margin, 0), size - window), s) for s in starts)
    return Tiling(window, core, tuple(tiles))
