"""Where the time and the memory of an enhancement go: `python -m tools.bench_enhance`.

Everything that is compared runs in turns within one process, and ratios of medians are what
counts: a machine's speed drifts by more than the differences.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np

import jaxvsr
from jaxvsr import ops, weights
from jaxvsr.commands.reading import read
from jaxvsr.commands.speech import answer
from jaxvsr.data.synthetic import scene, tone
from jaxvsr.host.options import SIDE, Range
from jaxvsr.inference.engine import Engine
from jaxvsr.models.sr_unet import SRUNet
from jaxvsr.models.srresnet import SRResNet
from jaxvsr.video import colour, encode
from jaxvsr.video.reader import VideoReader
from tools.demo import FPS, Film

PARTS = ("stages", "networks", "convolutions", "memory")
LIMIT = 50  # MiB by which a long film may need more than a short one


@dataclass(frozen=True)
class Args:
    """Prints tables; every ratio is of medians over `rounds` turns."""

    only: tuple[Literal["stages", "networks", "convolutions", "memory"], ...] = PARTS
    model: str = "sr_unet_light_x2"
    """What is run in the stages and for memory."""
    width: Annotated[int, SIDE] = 960
    height: Annotated[int, SIDE] = 540
    frames: Annotated[int, Range(1)] = 24
    """Length of the film in the stages."""
    rounds: Annotated[int, Range(1)] = 3
    lengths: Annotated[tuple[int, int], Range(1)] = (300, 3000)
    """Frames of the short and of the long film whose memory is compared."""


def main(args: Args) -> None:
    """Runs the parts asked for."""
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, JAX {jax.__version__}")
    print(f"device: {jax.devices()[0].device_kind}")
    for part in args.only:
        print()
        globals()[part](args)


def interleaved(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each task, taken in turns after one run of each that does not count."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: float(np.median(taken)) for name, taken in times.items()}


def stages(args: Args) -> None:
    """Decode, network and encode alone, and all of it; steady state, in ms a frame.

    The whole is timed over the film and over its first third: the difference is free of
    compiling, opening and closing.
    """
    with tempfile.TemporaryDirectory() as folder, compiled_once(Path(folder, "xla")):
        film, result = Path(folder, "film.mp4"), Path(folder, "result.mp4")
        write_film(film, args.frames, args.height, args.width)
        third = args.frames // 3
        whole = partial(jaxvsr.enhance, film, result, model=args.model, overwrite=True)
        tasks = stage_tasks(args, film, Path(folder, "segment.mkv"))
        tasks |= {"third": partial(whole, duration=third / FPS), "end to end": whole}
        seconds = interleaved(tasks, args.rounds)
    total = seconds.pop("end to end")
    each = {name: seconds[name] / args.frames for name in ("decode", "network", "encode")}
    steady = (total - seconds["third"]) / (args.frames - third)
    slowest = max(each, key=each.get)
    print(f"{args.model}, {args.width}x{args.height}, {args.frames} frames: ms a frame")
    for name, value in {**each, "end to end": steady}.items():
        print(f"  {name:12}{1000 * value:9.1f}")
    print(f"  end to end / {slowest}: {steady / each[slowest]:.2f}")
    print(f"  all of it, start and compilation included: {total:.1f} s")


@contextmanager
def compiled_once(cache: Path):
    """Programs are kept on disk, so that compiling does not blur differences between runs."""
    facts = {
        "jax_compilation_cache_dir": str(cache),
        "jax_persistent_cache_min_compile_time_secs": 0,
    }
    before = {name: getattr(jax.config, name) for name in facts}
    for name, value in facts.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def stage_tasks(args: Args, film: Path, segment: Path) -> dict[str, Callable]:
    """The three stages, each fed from memory."""
    net = weights.load(args.model)
    with VideoReader(film) as reader:
        info, frames = reader.info, [frame.planes for frame in reader]
    encoding = encode.choose(info, ".mp4")
    target = encode.colour_of(encoding, info.colour)
    head, tail = partial(colour.to_rgb, colour=info.colour), partial(colour.from_rgb, colour=target)
    size = round(args.height * net.spec.scale), round(args.width * net.spec.scale)
    engine = Engine(net, head, tail, size=size)
    run = lambda planes: [np.asarray(p) for p in engine(tuple(p[None] for p in planes))[0]]
    enhanced = [[p[0] for p in run(planes)] for planes in frames]

    def decode():
        with VideoReader(film) as reader:
            return sum(1 for _ in reader)

    def write():
        more = {"fps": info.fps, "sar": info.sar, "colour": target}
        with encode.SegmentWriter(segment, encoding, size[1], size[0], **more) as writer:
            for planes in enhanced:
                writer.write(planes)

    return {"decode": decode, "network": lambda: [run(p) for p in frames], "encode": write}


def networks(args: Args) -> None:
    """Ours against plain PyTorch with the same parameters, float32, and how far they differ."""
    if find_spec("torch") is None:
        print("torch is not installed here: no comparison with it (pip install torch)")
        return
    from tools import bench_torch

    unet, resnet = SRUNet(folded=True), SRResNet(scale=2, blocks=8)
    cases = {
        "SR-UNet x2, 960x544": (unet, (544, 960), lambda p: bench_torch.sr_unet(p, unet.depths, 2)),
        "SRResNet-8 x2, 640x360": (resnet, (360, 640), lambda p: bench_torch.srresnet(p, 8, 1)),
    }
    print("network: ms a frame, one at a time, float32")
    for name, (module, size, build) in cases.items():
        compare(name, module, size, build, args.rounds)


def compare(name: str, module, size: tuple[int, int], build, rounds: int) -> None:
    """One line: JAX, PyTorch, their ratio, and the largest difference of their results."""
    import torch

    from tools.bench_torch import pictures

    frames = np.stack(list(scene(0, 1, *size))).astype(np.float32) / 255
    params = module.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]
    params = jax.tree.map(
        lambda p: p + 0.01 * jax.random.normal(jax.random.key(1), p.shape), params
    )
    ours = jax.jit(lambda params, x: module.apply({"params": params}, x))
    theirs, x = build(jax.tree.map(np.asarray, params)), pictures(frames)
    with torch.inference_mode():
        tasks = {
            "jax": lambda: jax.block_until_ready(ours(params, frames)),
            "torch": lambda: theirs(x),
        }
        seconds = interleaved(tasks, rounds)
        gap = np.abs(ours(params, frames) - theirs(x).permute(0, 2, 3, 1).numpy()).max()
    a, b = seconds["jax"], seconds["torch"]
    line = f"JAX {1000 * a:7.0f}, PyTorch channels_last {1000 * b:7.0f}"
    print(f"  {name:24}{line}, PyTorch / JAX {b / a:.2f}, differ by {gap:.0e}")


def convolutions(args: Args) -> None:
    """`ops.conv` against plain `lax` where XLA's own grouped convolutions are slow."""
    print("3x3 convolution, 64 channels, 320x180: ms")
    x = jax.random.normal(jax.random.key(0), (1, 180, 320, 64))
    for name, groups in (("groups = 4", 4), ("depthwise", 64)):
        kernel = jax.random.normal(jax.random.key(1), (3, 3, 64 // groups, 64))
        plain = partial(
            jax.lax.conv_general_dilated,
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )
        both = {"ops": jax.jit(partial(ops.conv, groups=groups)), "lax": jax.jit(plain)}
        tasks = {
            way: lambda f=f, k=kernel: jax.block_until_ready(f(x, k)) for way, f in both.items()
        }
        seconds = interleaved(tasks, max(args.rounds, 7))
        a, b = seconds["ops"], seconds["lax"]
        print(f"  {name:12}ops.conv {1000 * a:7.1f}, lax {1000 * b:7.1f}, lax / ops {b / a:.1f}")


def memory(args: Args) -> None:
    """The peak of a process that enhances a film, for the frame size and for two lengths."""
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder, "film.mp4")
        write_film(film, args.frames, args.height, args.width)
        peak = peak_memory(film, args.model)
        print(f"peak memory, {args.width}x{args.height}, {args.frames} frames: {peak:.0f} MiB")
        peaks = []
        for length in args.lengths:
            write_film(film, length, 48, 64)
            peaks.append(peak_memory(film, args.model))
            print(f"peak memory, 64x48, {length} frames: {peaks[-1]:.0f} MiB")
    more = peaks[1] - peaks[0]
    print(f"  the long film needs {more:+.0f} MiB (aim: at most {LIMIT})")


def peak_memory(film: Path, model: str) -> float:
    """MiB that a fresh process needs at most; Linux's VmHWM leaves its parent's memory out."""
    code = (
        "import jaxvsr, sys; from pathlib import Path\n"
        "film = Path(sys.argv[1])\n"
        "jaxvsr.enhance(film, film.with_name('out.mp4'), model=sys.argv[2], overwrite=True)\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(status.split('VmHWM:')[1].split()[0])"
    )
    argv = [sys.executable, "-c", code, str(film), model]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1024


def write_film(path: Path, frames: int, height: int, width: int) -> None:
    """The made-up film; long ones repeat it."""
    pictures = list(scene(0, min(frames, 50), height, width))
    sound = tone(0, frames / FPS)
    with Film(path, height, width, sound, crf=23, preset="veryfast") as film:
        for i in range(frames):
            film.add(pictures[i % len(pictures)])


if __name__ == "__main__":
    sys.exit(answer(lambda: main(read(Args, prog="python -m tools.bench_enhance"))))
