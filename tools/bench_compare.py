"""What a comparison costs beyond decoding: `python -m tools.bench_compare [--clip FILE]`.

Everything that is compared runs in turns within one process, and ratios of medians are what
counts. Compiling is left out: programs are kept on disk, and the first turn does not count.
"""

import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Annotated

import av
import jax
import numpy as np

from jaxvsr.commands.reading import read
from jaxvsr.commands.speech import answer
from jaxvsr.comparison.pairs import make_plan, paired
from jaxvsr.comparison.run import compare
from jaxvsr.comparison.score import make_ready, measure
from jaxvsr.comparison.settings import DEFAULT, Settings
from jaxvsr.comparison.sources import Film
from jaxvsr.data.synthetic import scene
from jaxvsr.errors import JaxvsrError
from jaxvsr.host import allocator, cores
from jaxvsr.host.options import SIDE, Range
from tools.bench_enhance import compiled_once, interleaved

TARGET = 1.3  # times the readers alone


@dataclass(frozen=True)
class Args:
    """Prints milliseconds a frame, and ratios of medians over `rounds` turns."""

    clip: Path | None = None
    """What is coded twice and compared; a made-up moving scene by default."""
    width: Annotated[int, SIDE] = 1920
    height: Annotated[int, SIDE] = 1080
    """Size of the made-up scene."""
    frames: Annotated[int, Range(1)] = 48
    rounds: Annotated[int, Range(1)] = 3
    vmaf: bool = True
    """Measure VMAF beside the rest, too."""


def main(args: Args) -> None:
    """Makes the pair and prints the ratios."""
    allocator.keep_memory()  # as the command does
    cores.show()
    print(f"{date.today()}, {platform.machine()}, {cores.usable()} cores, JAX {jax.__version__}")
    with tempfile.TemporaryDirectory() as folder, compiled_once(Path(folder, "xla")):
        pair = write_pair(Path(folder), args)
        films = [Film(path) for path in pair]
        count, (height, width) = len(films[0].times), films[0].size
        rates = " and ".join(f"{film.kbps / 1000:.1f}" for film in films)
        print(f"{width}x{height}, {count} frames, x264 at CRF 20 and 30: {rates} Mbit/s")
        speed(films, count, args)
        if args.vmaf:
            vmaf(films, count, args)
    lpips(args)


def write_pair(folder: Path, args: Args) -> list[Path]:
    """The same frames at CRF 20 and 30."""
    paths = [folder / f"crf{crf}.mp4" for crf in (20, 30)]
    for path, crf in zip(paths, ("20", "30"), strict=True):
        with av.open(str(path), "w") as file:
            stream = file.add_stream("libx264", rate=25, options={"crf": crf, "preset": "medium"})
            stream.pix_fmt = "yuv420p"
            for i, frame in enumerate(pictures(args)):
                if i == 0:
                    stream.width, stream.height = frame.width, frame.height
                frame.pts, frame.time_base = i, Fraction(1, 25)
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
    return paths


def pictures(args: Args):
    """Frames of the clip, or of the scene."""
    if args.clip is None:
        for rgb in scene(0, args.frames, args.height, args.width):
            yield av.VideoFrame.from_ndarray(rgb).reformat(format="yuv420p", threads=1)
        return
    with av.open(str(args.clip)) as file:
        for frame in islice(file.decode(video=0), args.frames):
            yield frame.reformat(format="yuv420p", threads=1)


def speed(films: list[Film], count: int, args: Args) -> None:
    """Readers alone against the default metrics, and each metric by itself."""
    tasks: dict[str, Callable[[], object]] = {"readers alone": lambda: decoded(films)}
    for names in (DEFAULT, *((name,) for name in DEFAULT)):
        tasks[" ".join(names)] = lambda n=names: compare(films[0], films[1:], Settings(n))
    seconds = interleaved(tasks, args.rounds)
    alone = seconds["readers alone"]
    for name, value in seconds.items():
        print(f"  {name:24}{1000 * value / count:8.1f} ms a frame, {value / alone:5.2f}")
    ratio = seconds[" ".join(DEFAULT)] / alone
    print(f"  {' '.join(DEFAULT)} / readers alone: {ratio:.2f} (aim: at most {TARGET})")


def decoded(films: list[Film]) -> int:
    """Decodes both to planes in their threads, paired, and does nothing with them."""
    plan = make_plan(films[0], films[1:], Settings())
    return sum(1 for _ in paired(films[0], films[1:], plan))


def vmaf(films: list[Film], count: int, args: Args) -> None:
    """VMAF alone, and with the default metrics beside it."""
    run = lambda *names: compare(films[0], films[1:], Settings(names))
    try:
        make_ready(("vmaf",))
        if reasons := run("vmaf")[0].unavailable:
            raise JaxvsrError(reasons["vmaf"])
    except JaxvsrError as error:
        print(f"  {error}")
        return
    tasks = {
        "vmaf": lambda: run("vmaf"),
        "the rest": lambda: run(*DEFAULT),
        "vmaf and the rest": lambda: run("vmaf", *DEFAULT),
    }
    seconds = interleaved(tasks, args.rounds)
    for name, value in seconds.items():
        print(f"  {name:24}{1000 * value / count:8.1f} ms a frame")
    alone, rest, both = seconds.values()
    print(
        f"  both / VMAF alone: {both / alone:.2f}; both / one after the other: "
        f"{both / (alone + rest):.2f}"
    )


def lpips(args: Args) -> None:
    """LPIPS (AlexNet) of eight frames together and one by one."""
    ready = make_ready(("lpips",))
    if "lpips" in ready.unavailable:
        print(f"  LPIPS: {ready.unavailable['lpips']}")
        return
    frames = np.stack(list(scene(0, 8, 270, 480)))
    facts = {"names": ("lpips",), "meanings": (None, None), "size": (270, 480)}
    score = lambda a, b: jax.block_until_ready(measure((a,), (b,), ready.params, **facts))
    worse = frames // 8 * 8
    tasks = {
        "eight together": lambda: score(frames, worse),
        "one by one": lambda: [score(frames[i : i + 1], worse[i : i + 1]) for i in range(8)],
    }
    seconds = interleaved(tasks, args.rounds)
    together, single = seconds.values()
    print(
        f"  LPIPS, 480x270: {1000 * together / 8:.1f} ms a frame in eights, "
        f"{1000 * single / 8:.1f} one by one"
    )


if __name__ == "__main__":
    sys.exit(answer(lambda: main(read(Args, prog="python -m tools.bench_compare"))))
