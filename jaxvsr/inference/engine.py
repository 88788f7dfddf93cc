"""Frames to frames on XLA, at any size: pads, tiles, resamples, and gives way when memory ends.

Inputs are whatever `head` turns into RGB frames [N, H, W, 3] in [0, 1] (windows
[N, 2r + 1, H, W, 3] for a network of radius r); results are whatever `tail` makes of the
enhanced frames. All of it is one compiled program per shape, so a file's planes can enter and
leave the device as they are.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxvsr import clip, ops
from jaxvsr.errors import UsageError
from jaxvsr.ops.impl import check

SMALLEST_TILE = 32  # below this, tiles are mostly overlap


def target_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """The size that a frame has after enlarging by `scale`, to the nearest pixel."""
    return max(1, round(height * scale)), max(1, round(width * scale))


def initial_state(net, n: int, height: int, width: int):
    """What a recurrent network carries into the first of `n` frames, which are padded first."""
    m = net.spec.multiple
    return net.module.initial_state(n, -(-height // m) * m, -(-width // m) * m)


class Engine:
    """Runs one loaded network over frames; compiled once a shape, blocking only the first time.

    `size` is the (height, width) wanted; None means the network's own scale. `tile` is the side
    of a tile in input pixels, 0 for whole frames; it is halved, and `notice` is told, when the
    device runs out of memory. Tiles overlap by the network's receptive field, so they change
    nothing. In half precision a first result that is not finite moves the run to float32. `impl`
    is how the network's operations run, see `jaxvsr.ops.impl`.
    """

    def __init__(
        self,
        net,
        head: Callable[[Any], jax.Array],
        tail: Callable[[jax.Array], Any],
        *,
        size: tuple[int, int] | None = None,
        dtype: str = "float32",
        tile: int = 0,
        device: jax.Device | None = None,
        impl: str = "auto",
        notice: Callable[[str], None] = lambda line: None,
    ):
        self.net, self.spec, self.head, self.tail = net, net.spec, head, tail
        self.size, self.tile, self.device, self.notice = size, tile, device, notice
        self.module = _running(net.module, impl, device)
        self._proven: set = set()
        self._prepare(dtype)

    def _prepare(self, dtype: str) -> None:
        self.dtype = jnp.dtype(dtype)
        cast = lambda p: p.astype(self.dtype) if jnp.issubdtype(p.dtype, jnp.floating) else p
        self.params = jax.device_put(jax.tree.map(cast, self.net.params), self.device)
        self._whole = jax.jit(self._run_whole)
        self._open = jax.jit(self._pad_head)
        self._place = jax.jit(self._run_tile, static_argnums=(5, 6), donate_argnums=2)
        self._close = jax.jit(self._finish, static_argnums=(1, 2))
        self._begin = jax.jit(partial(initial_state, self.net), static_argnums=(0, 1, 2))

    def __call__(self, inputs, state=None) -> tuple[Any, Any]:
        """(inputs, state or None) to (results, state); only recurrent networks have a state."""
        inputs = jax.tree.map(lambda x: jax.device_put(x, self.device), inputs)
        key = (*(x.shape for x in jax.tree.leaves(inputs)), self.tile, self.dtype)
        while True:
            try:
                state_out, results, finite = self._dispatch(inputs, state)
                if key in self._proven:
                    return results, state_out
                jax.block_until_ready(results)
            except RuntimeError as error:
                self._halve(error, inputs)
                continue
            if self.dtype != jnp.float32 and not finite:
                self.notice(f"{self.dtype} gives values that are not finite: going on in float32")
                self._prepare("float32")
                continue
            self._proven.add(key)
            return results, state_out

    def _dispatch(self, inputs, state):
        if self.spec.recurrent and state is None:
            state = self._begin(*self._shape(inputs))
        if self.tile and not self.spec.any_scale:
            return None, *self._run_tiled(inputs)
        return self._whole(self.params, state, inputs)

    def _run_whole(self, params, state, inputs):
        frames = self.head(inputs)
        height, width = frames.shape[-3:-1]
        state, y = self._apply(params, state, self._padded(frames))
        return state, *self._finish(y, height, width)

    def _run_tiled(self, inputs):
        n, height, width = self._shape(inputs)
        frames = self._open(inputs)
        rows, cols = (
            clip.tiling(side, self.tile, self.spec.reach, self.spec.multiple)
            for side in frames.shape[-3:-1]
        )
        sides = (round(s * self.spec.scale) for s in frames.shape[-3:-1])
        out = jax.device_put(jnp.zeros((n, *sides, 3)), self.device)
        for row in rows.tiles:
            for col in cols.tiles:
                window, core = (row.window, col.window), (row.core, col.core)
                shape = (rows.window, cols.window), (rows.core, cols.core)
                out = self._place(self.params, frames, out, window, core, *shape)
        return self._close(out, height, width)

    def _run_tile(self, params, frames, out, window, core, window_size, core_size):
        """Enhances one window of the frames and writes its core into `out`."""
        grown = tuple(round(c * self.spec.scale) for c in core_size)
        lead = frames.ndim - 3
        at = (*(0 for _ in range(lead)), *window, 0)
        x = jax.lax.dynamic_slice(frames, at, (*frames.shape[:lead], *window_size, 3))
        _, y = self._apply(params, None, x)
        inner = [_whole_number(c - w, self.spec.scale) for c, w in zip(core, window, strict=True)]
        y = jax.lax.dynamic_slice(y, (0, *inner, 0), (y.shape[0], *grown, 3))
        place = [_whole_number(c, self.spec.scale) for c in core]
        return jax.lax.dynamic_update_slice(out, y, (0, *place, 0))

    def _apply(self, params, state, x):
        x = x.astype(self.dtype)
        if self.spec.recurrent:
            state, y = self.module.apply({"params": params}, state, x)
        else:
            y = self._module(x).apply({"params": params}, x)
        return state, y.astype(jnp.float32)

    def _module(self, x):
        """The network; one that can give any scale is asked for the wanted one."""
        if not (self.spec.any_scale and self.size):
            return self.module
        return self.module.clone(scale=self.size[0] / x.shape[-3])

    def _pad_head(self, inputs):
        return self._padded(self.head(inputs))

    def _padded(self, frames):
        """Frames mirrored at the right and the bottom up to `Spec.multiple`."""
        m = self.spec.multiple
        *lead, height, width, _ = frames.shape
        pad = [(0, 0)] * len(lead) + [(0, -height % m), (0, -width % m), (0, 0)]
        return jnp.pad(frames, pad, mode="symmetric")

    def _finish(self, y, height, width):
        """Crops the padding away, resamples to the wanted size and hands over to `tail`."""
        own = self._own_size(height, width)
        y = y[:, : own[0], : own[1]]
        if self.size and self.size != own:
            y = ops.resize(y, self.size, method="lanczos", antialias=True)
        return self.tail(y), jnp.isfinite(y).all()

    def _own_size(self, height, width):
        if self.spec.any_scale and self.size:
            return target_size(height, width, self.size[0] / height)
        return target_size(height, width, self.spec.scale)

    def _shape(self, inputs):
        frames = jax.eval_shape(self.head, inputs)
        return frames.shape[0], *frames.shape[-3:-1]

    def _halve(self, error: RuntimeError, inputs) -> None:
        """Answers an exhausted device with smaller tiles; raises what it cannot answer."""
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise error
        n, height, width = self._shape(inputs)
        side = min(self.tile or max(height, width), max(height, width)) // 2
        if side < SMALLEST_TILE or self.spec.recurrent or self.spec.any_scale:
            raise UsageError(
                f"{self.net.name}: the device has too little memory for {n} frames of "
                f"{width}x{height}; use a smaller --batch, a lighter --model or --device cpu"
            ) from error
        self.tile = max(side // self.spec.multiple, 1) * self.spec.multiple
        self.notice(f"out of device memory: going on in tiles of {self.tile} pixels")


def _running(module, impl: str, device: jax.Device | None):
    """The module with its operations run as `impl` says; as it is where it has no choice."""
    if impl == "auto" and device is not None and device.platform != "gpu":
        impl = "xla"
    return module.clone(impl=check(impl)) if hasattr(module, "impl") else module


def _whole_number(position, scale):
    """A traced pixel position times a scale that makes it whole (1.5 on multiples of 2, say)."""
    return jnp.round(position * scale).astype(jnp.int32)
