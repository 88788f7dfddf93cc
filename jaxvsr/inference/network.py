"""A network as a function of frames: what `jaxvsr.load` returns."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxvsr import weights
from jaxvsr.clip import scenes
from jaxvsr.errors import UsageError
from jaxvsr.inference.engine import Engine, target_size
from jaxvsr.inference.settings import DEFAULT_MODEL, SCALE, TILE


def load(name_or_path: str = DEFAULT_MODEL, *, arch: str = "", **options) -> "Network":
    """Loads a packaged network by name, or a checkpoint by path or URL, as a `Network`.

    `arch` says what tensors do not, such as "srvgg-relu" (see `weights.archs`). `options` are those
    of `Network`. Raises WeightsError for a file that is not a checkpoint of a known network as a
    whole, that contains code, or that holds values which are not finite.
    """
    return Network(weights.load(str(name_or_path), arch=arch), **options)


class Network:
    """Callable: frames [N, H, W, 3] to enhanced frames [N, H', W', 3] of the same kind.

    Frames are consecutive pictures of one scene, numpy or JAX, uint8, uint16 or float in [0, 1],
    of any size; results are clipped. `scale` may differ from the network's own (an antialiased
    resample follows the network), or a `size` (height, width) be given instead. Compiled once a
    shape. `impl` is "xla", "triton" or "auto", see `jaxvsr.ops.impl`; `notice` hears of tiles.
    `spec` holds the network's facts, `params` its parameters, `notes` what was assumed when its
    file was read.
    """

    def __init__(
        self,
        loaded,
        *,
        scale: float | None = None,
        size: tuple[int, int] | None = None,
        dtype: str = "float32",
        tile: int = 0,
        impl: str = "auto",
        notice: Callable[[str], None] = lambda line: None,
    ):
        self.name, self.module, self.spec = loaded.name, loaded.module, loaded.spec
        self.notes = loaded.notes
        self.params, self.size = loaded.params, size
        self.scale = loaded.spec.scale if scale is None else SCALE.read("scale", scale)
        tile = TILE.read("tile", tile, int)
        how = {"dtype": dtype, "tile": tile, "impl": impl, "notice": notice}
        self._engine = partial(Engine, loaded, pointwise=True, says_time=True, **how)
        self._engines: dict = {}

    def __repr__(self):
        count = sum(p.size for p in jax.tree.leaves(self.params))
        return f"Network({self.name!r}, scale={self.scale:g}, {count:,} parameters)"

    def __call__(self, frames):
        if frames.ndim != 4 or frames.shape[-1] != 3:
            raise UsageError(f"frames are [N, H, W, 3], not {list(frames.shape)}")
        engine = self._for(frames.shape[1:3], frames.dtype)
        if isinstance(frames, jax.core.Tracer):
            return engine._whole(engine.params, None, frames)[1]
        if self.spec.recurrent or self.spec.radius:
            results = self._in_time(engine, frames)
        else:
            results, _ = engine(frames)
        return np.asarray(results) if isinstance(frames, np.ndarray) else results

    def _for(self, size, dtype):
        """The engine for one frame size and one kind of number."""
        integer = jnp.issubdtype(dtype, jnp.integer)
        if integer and dtype not in (jnp.uint8, jnp.uint16):
            raise UsageError(f"frames are uint8, uint16 or float in [0, 1], not {dtype}")
        key = (*size, str(dtype))
        if key not in self._engines:
            head, tail = _integers(dtype) if integer else (_as_float, _clipped(dtype))
            wanted = self.size or target_size(*size, self.scale)
            self._engines[key] = self._engine(head, tail, size=wanted)
        return self._engines[key]

    def _in_time(self, engine, frames):
        """Window by window, or frame by frame with the state handed on."""
        items = ((frame, i == 0) for i, frame in enumerate(frames))
        results, state = [], None
        for window, _ in scenes(items, self.spec.radius):
            stack = jnp.stack(window)[None] if self.spec.radius else window[0][None]
            result, state = engine(stack, state)
            results.append(result)
        return jnp.concatenate(results)


def _integers(dtype):
    """(head, tail) of codes: 0 to the largest of their kind."""
    most = jnp.iinfo(dtype).max
    head = lambda frames: frames.astype(jnp.float32) / most
    return head, lambda frames: jnp.round(jnp.clip(frames, 0, 1) * most).astype(dtype)


def _as_float(frames):
    return frames.astype(jnp.float32)


def _clipped(dtype):
    return lambda frames: jnp.clip(frames, 0, 1).astype(dtype)
