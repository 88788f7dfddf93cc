"""What is said before the work: how long it will take and how large the result will be, about."""

import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import jax
import numpy as np

from jaxvsr import weights
from jaxvsr.errors import InputError
from jaxvsr.host.progress import amount, clock
from jaxvsr.inference.plan import Plan
from jaxvsr.inference.settings import Settings
from jaxvsr.models import MODELS
from jaxvsr.models.table import cost
from jaxvsr.video import encode
from jaxvsr.video.sequence import PictureWriter
from jaxvsr.video.streams import VideoInfo, open_media

INTRA = ("ffv1", "prores_ks")  # encoders that make every frame a key frame
BETWEEN = 0.25  # bytes of a frame by those of a key frame, where the source cannot tell
PACKETS = 200  # of the source that are looked at
QUICK = 2.0  # seconds of a first call below which what is only done once counts for too much
LONG = 2 * 3600.0  # seconds of a wait for which something lighter is proposed
LIGHT = "sr_unet_light_x2"


@dataclass(frozen=True)
class Forecast:
    """Seconds and bytes, and of what: so many frames (None: not known) of [height, width]."""

    seconds: float
    size: float
    frames: int | None
    shape: tuple[int, int]

    def __str__(self) -> str:
        pixels = f"{self.shape[1]}x{self.shape[0]}"
        if self.frames is None:
            return (
                f"about {self.seconds:.2f} s and {amount(self.size)} for each frame of {pixels}; "
                "how many there are the input does not say"
            )
        wait, frames = clock(self.seconds), f"{self.frames} frames of {pixels}"
        return f"about {wait} for {frames}; the output will take about {amount(self.size)}"

    def facts(self) -> dict:
        """For programs."""
        sides = {"width": self.shape[1], "height": self.shape[0]}
        return {"seconds": round(self.seconds, 1), "bytes": round(self.size), **sides}


def timed(engine, planes, state):
    """(what the engine gives, seconds that it takes without what is only done once)."""
    engine.compile(planes, state)
    begin = time.perf_counter()
    given = engine(planes, state)
    seconds = time.perf_counter() - begin
    if seconds < QUICK:
        begin = time.perf_counter()
        jax.block_until_ready(engine(planes, state)[0])
        seconds = time.perf_counter() - begin
    return given, seconds


def foresee(plan: Plan, output: Path, planes, seconds: float, left: int | None, folder: Path):
    """The Forecast of `left` more frames (None: unknown), measured on one that is finished.

    `planes` are its [H, W], `seconds` what the network takes for it; `folder` is where a trial of
    the encoder may lie meanwhile.
    """
    begin = time.perf_counter()
    size = _key_frame(plan, planes, output, folder)
    slowest, count = max(seconds, time.perf_counter() - begin), 1 if left is None else left
    if output.suffix.lower() == ".y4m":
        return Forecast(slowest * count, sum(p.nbytes for p in planes) * count, left, plan.size)
    if plan.encoding is not None and plan.encoding.codec not in INTRA:
        size *= _between(plan.info)
    sound = 0.0 if plan.encoding is None else _others(plan.info) * count
    return Forecast(slowest * count, size * count + sound, left, plan.size)


def _key_frame(plan: Plan, planes, output: Path, folder: Path) -> int:
    """Bytes of one frame by itself."""
    with tempfile.TemporaryDirectory(prefix="trial", dir=folder) as place:
        return _written(plan, planes, output, Path(place))


def _written(plan: Plan, planes, output: Path, folder: Path) -> int:
    if plan.encoding is None:
        writer = PictureWriter(folder / "trial", plan.colour, output.suffix)
        writer.write(planes)
        return sum(path.stat().st_size for path in (folder / "trial").iterdir())
    info, (height, width), path = plan.info, plan.size, folder / "trial.mkv"
    more = {"fps": info.fps, "sar": plan.sar, "colour": plan.colour}
    with encode.SegmentWriter(path, plan.encoding, width=width, height=height, **more) as writer:
        writer.write(planes)
    with open_media(path) as file:
        return sum(packet.size for packet in file.demux(video=0))


def _between(info: VideoInfo) -> float:
    """Bytes of the source's frames by those of its first key frame, at most 1."""
    sizes = _sizes(info)
    share = np.mean(sizes) / sizes[0] if sizes and sizes[0] else 1.0
    return float(share) if share < 0.8 else BETWEEN  # intra sources tell nothing


def _others(info: VideoInfo) -> float:
    """Bytes of all that is not the picture, for each of its frames."""
    sizes = _sizes(info)
    if not (sizes and info.frames and info.streams):
        return 0.0
    return max(Path(info.path).stat().st_size / info.frames - float(np.mean(sizes)), 0.0)


def _sizes(info: VideoInfo) -> list[int]:
    """Bytes of the first packets of the source's video, from a key frame on."""
    sizes: list[int] = []
    try:
        with open_media(info.path) as file:
            for packet in file.demux(file.streams[info.stream_index]):
                if packet.size and (sizes or packet.is_keyframe):
                    sizes.append(packet.size)
                if len(sizes) == PACKETS:
                    break
    except (av.FFmpegError, InputError, ValueError):
        pass
    return sizes


def lighter(net, settings: Settings) -> str:
    """What to do about a wait of hours: a lighter network by its name and factor, or less work."""
    factor = _work(net.name, net.module) / _work("sr_unet", weights.load(LIGHT).module)
    if net.name not in MODELS or factor < 1.5:
        return "no packaged network is lighter; a smaller --height, or a GPU, takes less"
    scale = settings.scale or net.spec.scale
    same = "" if settings.height or scale == 2 else f" --scale {scale:g}"
    return f"--model {LIGHT}{same} is about {factor:.0f} times lighter"


@cache
def _work(name: str, module) -> float:
    """Operations for each pixel of the input."""
    if name not in MODELS:
        return 0.0
    scale = getattr(module, "scale", 1)
    return cost(module)[1] * scale**2
