"""How fast batches to train on are made: `python -m tools.bench_data [--folder FOLDER]`.

Batches of 32 crops of 7 x 96 x 96, spoiled by x264, in two ways: cut from arrays on disk, and from
made-up scenes that are drawn and coded for them. Beside it, what one core can draw of scenes with
and without their optical flow.
"""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from jaxvsr.data import made_up, pipeline, sources
from jaxvsr.data.pipeline import Feed
from jaxvsr.degradation import Recipe

RECIPE = Recipe(factor=2, crf=28)


@dataclass(frozen=True)
class Args:
    """Without a folder of clips, made-up scenes of 384 x 384 lie in the cached folder."""

    folder: Path | None = None
    """Videos or folders of frames to cut from."""
    batches: int = 100
    shots: int = 24
    """Made-up scenes in the cached folder."""
    threads: int = os.cpu_count() or 2
    flips: str = "horizontal"


def main(args: Args) -> None:
    """Prints a table: source, ms a batch, crops a second, megabytes a second."""
    feed = Feed(flips=args.flips, threads=args.threads)
    large = made_up.procedural(0, args.shots, 24, (384, 384))
    clips = sources.find(args.folder, frames=feed.frames) if args.folder else large
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"{args.threads} threads, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}")
    print(f"batch of {feed.batch} x {feed.frames} x {feed.crop} x {feed.crop}, flips {feed.flips}")
    print("source\tms/batch\tcrops/s\tMB/s")
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        cached = pipeline.stream(clips, RECIPE, feed, folder=place)
        made = time.perf_counter() - start
        tell("arrays on disk", cached, args.batches)
    tell("scenes, drawn and coded", pipeline.stream(None, RECIPE, feed), args.batches // 2)
    print(f"spoiling {len(cached.batches.pairs)} shots beforehand took {made:.1f} s")
    for name, draw in (("clip", clip_of), ("clip and flow", flow_of)):
        print(f"scenes of 7 x 96 x 96, {name}, one core: {1 / seconds(draw):.0f} a second")


def tell(name: str, stream: pipeline.Stream, count: int) -> None:
    """One row: the mean time between batches after the first few, which fill the queue."""
    batches, times = iter(stream.dataset), []
    for _ in range(3):
        next(batches)
    for _ in range(count):
        start = time.perf_counter()
        batch = next(batches)
        times.append(time.perf_counter() - start)
    mean = float(np.mean(times))  # a queue makes single times 0 or long: the mean is the rate
    size = sum(array.nbytes for array in batch.values())
    rows = len(batch["lr"])
    print(f"{name}\t{1e3 * mean:.1f}\t{rows / mean:.0f}\t{size / mean / 1e6:.0f}", flush=True)


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
    main(tyro.cli(Args))
