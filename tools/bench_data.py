"""How fast batches to train on are made, and eaten: `python -m tools.bench_data [--quick]`.

Batches of 32 crops of 7 x 96 x 96, spoiled by x264, in two ways: cut from arrays on disk, and from
made-up scenes that are drawn and coded for them. After them a training step of SR-UNet by L1 takes
such a batch, its 224 frames one by one, and the last line says which is faster. Beside it, what one
core can draw of scenes with and without their optical flow.
"""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np

from jaxvsr import train
from jaxvsr.commands.reading import read
from jaxvsr.commands.speech import answer
from jaxvsr.data import made_up, pipeline, sources
from jaxvsr.data.pipeline import Feed
from jaxvsr.degradation import Recipe
from jaxvsr.host import cores
from jaxvsr.host.options import Range
from tools.bench_train import Case, InJAX

RECIPE = Recipe(factor=2, crf=28)


@dataclass(frozen=True)
class Args:
    """Without a folder of clips, made-up scenes of 384 x 384 lie in the cached folder."""

    folder: Path | None = None
    """Videos or folders of frames to cut from."""
    quick: bool = False
    """A few batches and steps, and without the scenes: whether the feed is faster, alone."""
    batches: Annotated[int, Range(1)] = 100
    steps: Annotated[int, Range(1)] = 10
    """Of training."""
    accelerator: Literal["cpu", "gpu", "tpu"] = "cpu"
    """That trains."""
    shots: Annotated[int, Range(1)] = 24
    """Made-up scenes in the cached folder."""
    threads: Annotated[int, Range(1)] = cores.usable()
    flips: str = "horizontal"


def main(args: Args) -> None:
    """Prints a table: source, ms a batch, crops a second, megabytes a second; then the verdict."""
    if args.quick:
        args = replace(args, batches=20, steps=2, shots=4)
    feed = Feed(flips=args.flips, threads=args.threads)
    train.start(args.accelerator, feed.batch)
    large = made_up.procedural(0, args.shots, 24, (384, 384))
    clips = sources.find(args.folder, frames=feed.frames) if args.folder else large
    print(f"{platform.processor() or platform.machine()}, {cores.usable()} cores, ", end="")
    print(f"{args.threads} threads, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}")
    print(f"batch of {feed.batch} x {feed.frames} x {feed.crop} x {feed.crop}, flips {feed.flips}")
    print("source\tms/batch\tcrops/s\tMB/s")
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        cached = pipeline.stream(clips, RECIPE, feed, folder=place)
        made = time.perf_counter() - start
        fed = tell("arrays on disk", cached, args.batches)
        batch = next(iter(cached.dataset))
    eaten = eating(batch, args.steps)
    if not args.quick:
        tell("scenes, drawn and coded", pipeline.stream(None, RECIPE, feed), args.batches // 2)
        for name, draw in (("clip", clip_of), ("clip and flow", flow_of)):
            print(f"scenes of 7 x 96 x 96, {name}, one core: {1 / seconds(draw):.0f} a second")
    print(f"spoiling {len(cached.batches.pairs)} shots beforehand took {made:.1f} s")
    print(verdict(fed, eaten))


def tell(name: str, stream: pipeline.Stream, count: int) -> float:
    """One row; crops a second, by the mean time after the first few batches, which fill the queue.

    A queue makes single times 0 or long: the mean is the rate.
    """
    batches = iter(stream.dataset)
    for _ in range(3):
        next(batches)
    return row(name, next(batches), [timed(lambda: next(batches)) for _ in range(count)])


def eating(batch: dict[str, np.ndarray], count: int) -> float:
    """One row: crops a second that a step of training takes, on all frames of a batch at once."""
    frames = {name: clips.reshape(-1, *clips.shape[2:]) for name, clips in batch.items()}
    images, patch = frames["lr"].shape[:2]
    training = InJAX(Case("sr_unet", "l1", images, patch), rows=frames)
    step = lambda: (training.step(), training.wait())
    step()  # compiles
    name = f"a step of SR-UNet, L1, {jax.default_backend()}"
    return row(name, batch, [timed(step) for _ in range(count)])


def row(name: str, batch: dict[str, np.ndarray], times: list[float]) -> float:
    """Prints a row of the table; crops a second."""
    mean, rows = float(np.mean(times)), len(batch["lr"])
    size = sum(array.nbytes for array in batch.values())
    print(f"{name}\t{1e3 * mean:.1f}\t{rows / mean:.1f}\t{size / mean / 1e6:.0f}", flush=True)
    return rows / mean


def timed(work: Callable[[], object]) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def verdict(fed: float, eaten: float) -> str:
    """Who waits for whom, by crops a second."""
    told = f"fed {fed:.1f} crops/s, eaten {eaten:.1f} crops/s, ratio {fed / eaten:.1f}"
    return f"{told}: the {'pipeline keeps up' if fed > eaten else 'step waits for the pipeline'}"


def clip_of(number: int) -> None:
    """Draws a scene's frames."""
    made_up.Procedural(1, number, 7, (96, 96)).read(0, 7)


def flow_of(number: int) -> None:
    """Draws a scene's frames and computes its flow."""
    scene = made_up.Procedural(1, number, 7, (96, 96)).scene()
    scene.clip(), scene.motion()


def seconds(draw: Callable[[int], None], count: int = 60) -> float:
    """Median processor time of a call, the surfaces being drawn already."""
    times = []
    for number in range(count):
        start = time.thread_time()
        draw(number)
        times.append(time.thread_time() - start)
    return float(np.median(times))


if __name__ == "__main__":
    sys.exit(answer(lambda: main(read(Args, prog="python -m tools.bench_data"))))
