"""Frames to numbers: one compiled program a candidate for every metric that is arithmetic."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxvsr.comparison.views import Planes, View
from jaxvsr.errors import JaxvsrError, UsageError
from jaxvsr.host import cores
from jaxvsr.metrics.fidelity import ms_ssim, ssim
from jaxvsr.metrics.niqe import niqe
from jaxvsr.metrics.patterns import detail, flicker, grain, mesh
from jaxvsr.metrics.perceptual import lpips
from jaxvsr.metrics.table import METRICS
from jaxvsr.metrics.temporal import MOTION_SCORES, motion_scores, tlp
from jaxvsr.metrics.vmaf import find_ffmpeg
from jaxvsr.video.colour import Colour
from jaxvsr.weights.judges import lpips_params, niqe_pristine


class Reason(str):
    """Why a metric cannot be had, and the remedy; `status` is the exit status that says so."""

    status: int

    def __new__(cls, error: JaxvsrError):
        self = super().__new__(cls, error)
        self.status = error.status
        return self


@dataclass(frozen=True)
class Ready:
    """Metrics that can be computed, what they need, and why the others cannot."""

    names: tuple[str, ...]
    params: Mapping[str, object] = field(default_factory=dict)
    unavailable: Mapping[str, Reason] = field(default_factory=dict)

    def of_kind(self, *kinds: str) -> tuple[str, ...]:
        """The metrics of these kinds; see `metrics.table`."""
        return tuple(name for name in self.names if METRICS[name].kind in kinds)


def make_ready(names: tuple[str, ...]) -> Ready:
    """Loads what metrics need. What cannot be loaded makes its metrics unavailable, no more."""
    params, missing = {}, {}
    for need in {METRICS[name].needs for name in names} - {""}:
        try:
            if need == "libvmaf":
                find_ffmpeg()
            else:
                params[need] = niqe_pristine() if need == "niqe" else lpips_params(need)
        except JaxvsrError as error:
            missing[need] = Reason(error)
    refused = {n: missing[METRICS[n].needs] for n in names if METRICS[n].needs in missing}
    had = tuple(name for name in names if name not in refused)
    return Ready(had, params, refused)


FRAME = {
    "psnr": lambda fake, real, params: _psnr(fake.channels, real.channels),
    "psnr_y": lambda fake, real, params: _psnr([fake.luma[..., 0]], [real.luma[..., 0]]),
    "ssim": lambda fake, real, params: ssim(fake.rgb, real.rgb),
    "ssim_y": lambda fake, real, params: ssim(fake.luma, real.luma),
    "ms_ssim": lambda fake, real, params: ms_ssim(fake.rgb, real.rgb),
    "ms_ssim_y": lambda fake, real, params: ms_ssim(fake.luma, real.luma),
    "lpips": lambda fake, real, params: _lpips("alex", fake, real, params),
    "lpips_squeeze": lambda fake, real, params: _lpips("squeeze", fake, real, params),
    "lpips_vgg": lambda fake, real, params: _lpips("vgg", fake, real, params),
    "niqe": lambda fake, real, params: niqe(fake.rgb, params["niqe"]),
    "mesh": lambda fake, real, params: mesh(fake.rgb, real.rgb),
    "detail": lambda fake, real, params: detail(fake.rgb, real.rgb),
    "grain": lambda fake, real, params: grain(fake.rgb, real.rgb),
}


SINGLE = {"psnr", "psnr_y", "ssim", "ssim_y", "ms_ssim", "ms_ssim_y", "vmaf", "vmaf_neg"}


def _psnr(fake, real):
    """`fidelity.psnr` of RGB, without putting the channels together first."""
    errors = (jnp.square(a - b).mean((-2, -1)) for a, b in zip(fake, real, strict=True))
    return -10 * jnp.log10(sum(errors) / len(fake))


def _lpips(net: str, fake: View, real: View, params):
    return lpips(fake.rgb, real.rgb, params[net], net=net)


@partial(jax.jit, static_argnames=("names", "meanings", "size", "method", "crop"))
def measure(real: Planes, fake: Planes, params, *, names, meanings, size, method=None, crop=0):
    """{metric: [N]} of N frames, planes as `View` takes them; `meanings` are of (real, fake).

    Where a metric of motion is among `names`, N + 1 frames are given: the first is only what the
    second moves from.
    """
    look = lambda planes, meaning, crop=crop: View(planes, meaning, size, method, crop)
    motion = tuple(name for name in names if METRICS[name].kind == "motion")
    values = {}
    if motion:
        clips = look(fake, meanings[1], 0).rgb, look(real, meanings[0], 0).rgb
        values = _motion(*clips, motion, params, crop)
        real, fake = (tuple(plane[1:] for plane in planes) for planes in (real, fake))
    views = look(fake, meanings[1]), look(real, meanings[0])
    return values | {name: FRAME[name](*views, params) for name in names if name in FRAME}


def _motion(fake, real, names: tuple[str, ...], params, crop: int) -> dict:
    """Metrics of neighbouring frames [T, H, W, 3]; motion is found before the border goes."""
    values = {}
    if "tlp" in names:
        distance = lambda a, b: lpips(a, b, params["alex"], net="alex")
        values["tlp"] = tlp(fake, real, distance, crop=crop)
    if "flicker" in names:
        values["flicker"] = flicker(fake, real, crop=crop)
    rest = tuple(name for name in names if name in MOTION_SCORES)
    return values | (motion_scores(fake, real, rest, crop=crop) if rest else {})


class Meter:
    """Scores one candidate, batch by batch.

    `batch` frames go to the device together, `ahead` batches are computed while more are prepared.
    `examples` are planes of one frame of the reference and of the candidate: metrics that cannot
    be had for frames of this size, or for only `count` frames, are found here and end up in
    `unavailable`.
    """

    def __init__(self, ready: Ready, examples, count: int, batch: int, *, ahead: int = 1, **facts):
        self.unavailable, self.names = {}, ()
        self._params, self._facts, self._batch = ready.params, facts, batch
        for name in ready.of_kind("frame", "alone", "motion"):
            if reason := self._obstacle(name, examples, count):
                self.unavailable[name] = reason
            else:
                self.names += (name,)
        self.moves = any(METRICS[name].kind == "motion" for name in self.names)
        self._ahead = ahead
        self._values: dict[str, list] = {name: [] for name in self.names}
        self._pending: deque = deque()

    def _obstacle(self, name: str, examples, count: int) -> Reason | None:
        moves = METRICS[name].kind == "motion"
        if moves and count < 2:
            return Reason(UsageError("needs two frames in a row; give a longer clip"))
        shapes = jax.tree.map(
            lambda plane: jax.ShapeDtypeStruct((self._batch + moves, *plane.shape), plane.dtype),
            tuple(examples),
        )
        try:
            jax.eval_shape(partial(measure, names=(name,), **self._facts), *shapes, self._params)
        except ValueError as error:
            return Reason(UsageError(f"{str(error).splitlines()[0]}; give larger frames"))
        return None

    def add(self, real: Planes, fake: Planes, alone: np.ndarray) -> None:
        """Takes a batch, with the frame before it where metrics of motion are wanted.

        `alone` [n] tells which of its n frames do not follow the frame before; a batch may be
        padded beyond n. Earlier ones are waited for, so `ahead` + 1 batches are in memory at most.
        """
        if not self.names:
            return
        values = measure(real, fake, self._params, names=self.names, **self._facts)
        self._pending.append((values, alone))
        self._collect(self._ahead)

    def _collect(self, left: int) -> None:
        """Waits for all batches but the last `left`."""
        while len(self._pending) > left:
            values, alone = self._pending.popleft()
            for name, new in values.items():
                new = np.array(new, np.float64)[: len(alone)]
                if METRICS[name].kind == "motion":
                    new[alone] = np.nan
                self._values[name].append(new)

    def finish(self) -> dict[str, np.ndarray]:
        """{metric: [T]} of all frames."""
        self._collect(0)
        return {name: np.concatenate(parts) for name, parts in self._values.items()}


def batch_size(size: tuple[int, int], count: int, names: tuple[str, ...]) -> int:
    """Frames that go to the device together: as many as keep it busy within modest memory."""
    pixels = 1 << (21 if jax.default_backend() == "cpu" else 23)
    return max(1, min(16, count, pixels // (size[0] * size[1])))


def devices_for(names: tuple[str, ...], batches: int) -> list[jax.Device | None]:
    """Where batches go in turn; [None] for JAX's own choice.

    XLA computes these metrics on one core, and one thing at a time on a device. Where there are
    several CPU devices (`jaxvsr.host.cores`) and enough to do, each takes its turn.
    """
    chosen = jax.config.jax_default_device or jax.devices()[0]
    if chosen.platform != "cpu" or not set(names) <= SINGLE:
        return [None]
    count = min(cores.usable(), batches // 8)
    return list(jax.local_devices(backend="cpu")[:count]) or [None]


def stacked(frames: list[Planes], length: int) -> Planes:
    """Planes of single frames as one batch, the last frame repeated up to `length`."""
    frames = frames + frames[-1:] * (length - len(frames))
    if length == 1:
        return tuple(plane[None] for plane in frames[0])
    return tuple(np.stack(planes) for planes in zip(*frames, strict=True))


@partial(jax.jit, static_argnames=("meaning", "size", "method", "matrix"))
def luma_of(planes: Planes, *, meaning: Colour | None, size, method, matrix: str):
    """Luma [N, H, W], 0 to 1, of a matrix, of planes as `View` takes them."""
    return jnp.clip(View(planes, meaning, size, method=method).luma_of(matrix), 0, 1)
