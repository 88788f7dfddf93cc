"""Frames to frames on XLA, at any size: pads, tiles, resamples, and gives way when memory ends.

Inputs are whatever `head` turns into RGB frames [N, H, W, 3] in [0, 1] (windows
[N, 2r + 1, H, W, 3] for a network of radius r); results are whatever `tail` makes of the
enhanced frames. All of it is one compiled program per shape, so a file's planes can enter and
leave the device as they are.
"""

import itertools
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxvsr import clip, ops
from jaxvsr.errors import UsageError
from jaxvsr.host.progress import amount, clock
from jaxvsr.inference import memory
from jaxvsr.ops.impl import check

SAFE = 0.85  # of the pixels that a whole frame's work lets expect of a tile; some is its own
PATIENCE = 10  # seconds that a picture may take unannounced
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
    of a tile in input pixels, 0 for whole frames. Before a shape runs, its program tells what
    memory it needs: frames for which that is too much are cut into tiles, or smaller ones, and
    `notice` is told; those that cannot fit are a UsageError. Tiles are halved, too, when the
    device runs out of memory. They overlap by the network's receptive field, so they change
    nothing. In half precision a first result that is not finite moves the run to float32. `impl`
    is how the network's operations run, see `jaxvsr.ops.impl`. `pointwise` tells that `tail` makes
    [N, H, W, 3] of [N, H, W, 3], pixel by pixel, so that tiles can be kept as what it makes;
    `says_time` has `notice` told how long a first frame in tiles will take, if that is long.
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
        pointwise: bool = False,
        says_time: bool = False,
        notice: Callable[[str], None] = lambda line: None,
    ):
        self.net, self.spec, self.head, self.tail = net, net.spec, head, tail
        self.size, self.device, self.notice = size, device, notice
        self.pointwise, self.says_time = pointwise, says_time
        self.cores = (tile, tile) if tile else None
        self.module = _running(net.module, impl, device)
        self._fitted: set = set()
        self._proven: set = set()
        self._prepare(dtype)

    @property
    def tile(self) -> int:
        """The longer side of a tile in input pixels; 0 for whole frames."""
        return max(self.cores) if self.cores else 0

    @property
    def _cuts(self) -> bool:
        """Whether frames of this network can be cut into tiles."""
        return not (self.spec.recurrent or self.spec.any_scale)

    def _prepare(self, dtype: str) -> None:
        self.dtype = jnp.dtype(dtype)
        cast = lambda p: p.astype(self.dtype) if jnp.issubdtype(p.dtype, jnp.floating) else p
        self.params = jax.device_put(jax.tree.map(cast, self.net.params), self.device)
        self._whole = jax.jit(self._run_whole)
        self._open = jax.jit(self._pad_head)
        self._place = jax.jit(self._run_tile, static_argnums=(5, 6, 7), donate_argnums=2)
        self._close = jax.jit(self._finish, static_argnums=(1, 2, 3))
        self._begin = jax.jit(partial(initial_state, self.net), static_argnums=(0, 1, 2))

    def __call__(self, inputs, state=None) -> tuple[Any, Any]:
        """(inputs, state or None) to (results, state); only recurrent networks have a state."""
        inputs = jax.tree.map(lambda x: jax.device_put(x, self.device), inputs)
        while True:
            try:
                self._fit_once(inputs, state)
                key = self._key(inputs)
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

    def compile(self, inputs, state=None) -> None:
        """Does what has to be done only once for these shapes; frames do not run yet."""
        try:
            self._fit_once(jax.tree.map(lambda x: jax.device_put(x, self.device), inputs), state)
        except RuntimeError as error:
            self._halve(error, inputs)

    def _key(self, inputs):
        return *(x.shape for x in jax.tree.leaves(inputs)), self.cores, self.dtype

    def _fit_once(self, inputs, state) -> None:
        if self._key(inputs) not in self._fitted:
            self._fit(inputs, state)
            self._fitted.add(self._key(inputs))

    def _dispatch(self, inputs, state):
        state = self._begun(inputs, state)
        if self.cores and self._cuts:
            return None, *self._run_tiled(inputs)
        return self._whole(self.params, state, inputs)

    def _run_whole(self, params, state, inputs):
        frames = self.head(inputs)
        height, width = frames.shape[-3:-1]
        state, y = self._apply(params, state, self._padded(frames))
        return state, *self._finish(y, height, width, False)

    def _run_tiled(self, inputs):
        _, height, width = self._shape(inputs)
        frames = self._open(inputs)
        rows, cols = self._tiling(frames.shape[-3:-1], self.cores)
        early = self._early(height, width)
        out = self._out(frames, early)
        out = jax.device_put((jnp.zeros(out.shape, out.dtype), jnp.array(True)), self.device)
        shape, begin = ((rows.window, cols.window), (rows.core, cols.core)), time.perf_counter()
        tiles = list(itertools.product(rows.tiles, cols.tiles))
        for row, col in tiles:
            window, core = (row.window, col.window), (row.core, col.core)
            out = self._place(self.params, frames, out, window, core, *shape, early)
            if self.says_time:
                jax.block_until_ready(out)
                self._foretell((time.perf_counter() - begin) * len(tiles), height, width)
        del frames
        if early and out[0].shape[1:3] == self._own_size(height, width):
            return out  # nothing is left to do, not even to copy
        return self._close(out[0], height, width, early)[0], out[1]

    def _foretell(self, seconds: float, height: int, width: int) -> None:
        """Says how long the first frame will take, where that is long."""
        self.says_time = False
        if seconds > PATIENCE:
            size = self.size or self._own_size(height, width)
            self.notice(f"about {clock(seconds)} for {size[1]}x{size[0]} pixels")

    def _run_tile(self, params, frames, out, window, core, window_size, core_size, early):
        """Enhances one window of the frames and writes its core into `out`.

        That holds what was made before, finished if `early`, and whether it all was finite.
        """
        out, finite = out
        grown = tuple(round(c * self.spec.scale) for c in core_size)
        lead = frames.ndim - 3
        at = (*(0 for _ in range(lead)), *window, 0)
        x = jax.lax.dynamic_slice(frames, at, (*frames.shape[:lead], *window_size, 3))
        _, y = self._apply(params, None, x)
        inner = [_whole_number(c - w, self.spec.scale) for c, w in zip(core, window, strict=True)]
        y = jax.lax.dynamic_slice(y, (0, *inner, 0), (y.shape[0], *grown, 3))
        place = [_whole_number(c, self.spec.scale) for c in core]
        finite &= jnp.isfinite(y).all()
        y = self.tail(y) if early else y
        return jax.lax.dynamic_update_slice(out, y, (0, *place, 0)), finite

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

    def _finish(self, y, height, width, finished):
        """Crops the padding away, resamples to the wanted size and hands over to `tail`."""
        own = self._own_size(height, width)
        y = y[:, : own[0], : own[1]]
        if finished:
            return y, True
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

    def _tiling(self, sides, cores) -> list[clip.Tiling]:
        """How rows and columns of padded frames are cut."""
        how = self.spec.reach, self.spec.multiple
        return [clip.tiling(s, core, *how) for s, core in zip(sides, cores, strict=True)]

    def _out(self, frames, early: bool) -> jax.ShapeDtypeStruct:
        """What padded frames become at the network's own scale, finished if `early`."""
        sides = (round(s * self.spec.scale) for s in frames.shape[-3:-1])
        out = jax.ShapeDtypeStruct((frames.shape[0], *sides, 3), jnp.float32)
        return jax.eval_shape(self.tail, out) if early else out

    def _early(self, height: int, width: int) -> bool:
        """Whether a tile can be finished by itself: nothing that looks around follows it."""
        return self.pointwise and self.size in (None, self._own_size(height, width))

    def _begun(self, inputs, state):
        """The state, or for a recurrent network that has none yet the first one."""
        if self.spec.recurrent and state is None:
            return self._begin(*self._shape(inputs))
        return state

    def _fit(self, inputs, state) -> None:
        """Compiles; cuts frames into tiles, or smaller ones, whose work fits into what is free."""
        room, limit = memory.room(self.device), memory.work_limit(self.device)
        before, whole = self.cores if self._cuts else None, None
        if before is None:
            whole = memory.needs(self._whole, self.params, self._begun(inputs, state), inputs)
            if whole is None or (whole.total <= room and not (self._cuts and whole.work > limit)):
                return
            if not self._cuts:
                raise self._refusal(inputs, whole.total, room)
        frames = jax.eval_shape(self._pad_head, inputs)
        _, *sides = self._shape(inputs)
        early = self._early(*sides)
        out = self._out(frames, early), jax.ShapeDtypeStruct((), bool)
        kept = frames.size * 4 + out[0].size * out[0].dtype.itemsize
        spare = min(room - kept, limit)
        if not early:
            finish = memory.needs(self._close, out[0], *sides, early)
            if finish and out[0].size * 4 + finish.total > room:
                raise self._refusal(inputs, out[0].size * 4 + finish.total, room)
        if before is None:
            pixels = SAFE * spare / max(whole.work, 1) * math.prod(frames.shape[-3:-1])
            how = SMALLEST_TILE, self.spec.reach, self.spec.multiple
            before = memory.cut(frames.shape[-3:-1], pixels, *how) or (SMALLEST_TILE,) * 2
        fits = lambda cores: self._tile_work(frames, out, early, cores) <= spare
        cores = memory.shrunk(before, fits, SMALLEST_TILE)
        if cores is None:
            least = kept + self._tile_work(frames, out, early, (SMALLEST_TILE,) * 2)
            raise self._refusal(inputs, least, room)
        if cores != self.cores:
            self.cores = cores
            self._tell_tiles(kept + self._tile_work(frames, out, early, cores), whole, room)

    def _tile_work(self, frames, out, early: bool, cores: tuple[int, int]) -> int:
        """Bytes of the work on one tile."""
        rows, cols = self._tiling(frames.shape[-3:-1], cores)
        sizes = (rows.window, cols.window), (rows.core, cols.core)
        need = memory.needs(self._place, self.params, frames, out, (0, 0), (0, 0), *sizes, early)
        return need.work if need else 0

    def _tell_tiles(self, takes: int, whole, room: float) -> None:
        size, told = f"{self.cores[1]}x{self.cores[0]}", amount
        instead = f" instead of {told(whole.total)}" if whole else ""
        free = f"; {told(room)} are free" if math.isfinite(room) else ""
        self.notice(f"in tiles of {size} pixels, which take {told(takes)}{instead}{free}")

    def _refusal(self, inputs, takes: int, room: float) -> UsageError:
        n, height, width = self._shape(inputs)
        frames = f"{n} frames" if n > 1 else "a frame"
        return UsageError(
            f"{self.net.name}: too little memory for {frames} of {width}x{height}: at least "
            f"{amount(takes)}, and {amount(room)} are free; use a smaller --batch, a lighter "
            "--model, or a machine with more"
        )

    def _halve(self, error: RuntimeError, inputs) -> None:
        """Answers an exhausted device with smaller tiles; raises what it cannot answer."""
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise error
        n, height, width = self._shape(inputs)
        side = min(self.tile or max(height, width), max(height, width)) // 2
        if side < SMALLEST_TILE or not self._cuts:
            raise UsageError(
                f"{self.net.name}: the device has too little memory for {n} frames of "
                f"{width}x{height}; use a smaller --batch, a lighter --model or --device cpu"
            ) from error
        self.cores = (max(side // self.spec.multiple, 1) * self.spec.multiple,) * 2
        self.notice(f"out of device memory: going on in tiles of {self.tile} pixels")


def _running(module, impl: str, device: jax.Device | None):
    """The module with its operations run as `impl` says; as it is where it has no choice."""
    if impl == "auto" and device is not None and device.platform != "gpu":
        impl = "xla"
    return module.clone(impl=check(impl)) if hasattr(module, "impl") else module


def _whole_number(position, scale):
    """A traced pixel position times a scale that makes it whole (1.5 on multiples of 2, say)."""
    return jnp.round(position * scale).astype(jnp.int32)
