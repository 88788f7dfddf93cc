"""The bench: every kernel against XLA and PyTorch, its losses printed like its wins.

    python -m kernels.bench
    python -m kernels.bench --op conv3x3 --shape 1080p --dtype float16
    python -m kernels.bench --network esrgan
    python -m kernels.bench --tune --op conv3x3 --dtype bfloat16
    python -m kernels.bench --all --out kernels/results

`--all` ends within 8 minutes by its own clock: what is worth most comes first, results are written
after every row, and what failed or found no time is a row that says so. Without a GPU it says that
times mean nothing and runs the correctness half. Alone it is `--all` on a GPU; elsewhere one small
shape of every operation is checked. Every measurement is made in another process.
"""

import argparse
import math
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path

from kernels.bench.campaign import Campaign, measure_ceilings, measure_row
from kernels.bench.report import HEAD, line, or_assumed, rows

FRAMES = {"270p": (270, 480), "540p": (540, 960), "720p": (720, 1280), "1080p": (1080, 1920)}
FIRST = (
    "conv3x3",
    "dense_block",
    "growth",
    "fusion",
    "winograd3x3",
    "tail",
    "grouped4",
    "separable3x3",
)
FIRST += ("depthwise3x3", "warp", "deform3x3", "correlation", "upsampler", "head", "rrdb")
FIRST += ("int8_conv3x3", "ring3x3")
LATER = {"bfloat16": 0, "int8": 0, "float16": 1, "float32": 3, "1080p": 1}
NETWORKS = ("sr_unet", "srgan", "anime6b", "esrgan")
FLAGS = {  # XLA's other ways, all off by default
    "runtime-fusion": "--xla_gpu_use_runtime_fusion=true",
    "conv-fusion": "--xla_gpu_experimental_enable_conv_fusion=true",
    "command-buffers": "--xla_gpu_enable_command_buffer=+CONVOLUTION",
}
PHASES = {"rows": 0.38, "tune": 0.58, "networks": 0.74, "flags": 0.86, "torch": 1.0}  # until when
SECONDS = 470.0  # that --all may take; the rest of 8 minutes is for starting and ending
NO_TRITON = 'the kernels need Triton: pip install ".[kernels]"'
SAMPLED = 0.2  # seconds that each implementation of a row is measured


def main(args: Sequence[str] | None = None) -> int:
    """Runs the bench; 1 where a kernel failed or was wrong, 2 without Triton."""
    options = parsed(args)
    if find_spec("triton") is None:
        print(NO_TRITON, file=sys.stderr)
        return 2
    environment = dict(os.environ)
    os.environ["JAX_PLATFORMS"] = "cpu"  # this process only plans
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    with Campaign(options.out, options.seconds, environment, say) as run:
        run.begin()
        say(" | ".join(f"{name} {value}" for name, value in run.facts.items()))
        if "error" in run.facts:
            return 1
        if run.gpu:
            timed(run, options)
        elif options.alone:
            checked_briefly(run)
        else:
            checked(run, options)
        finish(run)
    return int(any("triton" in entry.errors for entry in run.entries.values()))


def parsed(args: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="kernels.bench", description=__doc__.split("\n")[0])
    parser.add_argument("--op", nargs="*", default=[], help="operations; all with --all or --tune")
    parser.add_argument("--shape", nargs="*", default=[], help=f"{', '.join(FRAMES)} or NxHxWxC")
    parser.add_argument("--dtype", nargs="*", default=[], help="all that an operation has")
    parser.add_argument("--network", nargs="*", default=[], choices=NETWORKS)
    parser.add_argument("--phase", nargs="*", default=[], choices=PHASES, help="parts of --all")
    parser.add_argument("--all", action="store_true", help="everything, in order of its worth")
    parser.add_argument("--tune", action="store_true", help="time all configs; keep the fastest")
    parser.add_argument("--seconds", type=seconds, default=0.0, help="for everything")
    parser.add_argument("--out", type=Path, help="folder for results, CSV and JSON, and a plot")
    options = parser.parse_args(args)
    options.alone = not (options.all or options.tune or options.op or options.network)
    options.all |= options.alone
    options.seconds = options.seconds or (SECONDS if options.all else 3600.0)
    if not options.phase:
        options.phase = list(PHASES) if options.all else asked(options)
    return options


def seconds(text: str) -> float:
    """A time that can be spent."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


def asked(options: argparse.Namespace) -> list[str]:
    """The phases of a run that is not for everything."""
    tuned = ["tune"] if options.tune else []
    measured = ["rows", "flags", "torch"] if options.op and not options.tune else []
    return [*measured, *tuned, *(["networks"] if options.network else [])]


def timed(run: Campaign, options: argparse.Namespace) -> None:
    """All phases that are asked for, each until its share of the time is over."""
    from kernels.bench.tune import Compilers

    subjects = plan(options)
    tuned = [s for s in subjects if s[3] != "float32"]
    jobs = [(op.name, size, d, i) for op, _, size, d in tuned for i in range(count(op, size, d))]
    phases = {"rows": time_rows, "tune": tune_all, "networks": time_networks}
    phases |= {"flags": time_flags, "torch": time_torch}
    ready = Compilers(run, jobs if "tune" in options.phase else [], workers())
    with closing(ready):
        measure_ceilings(run)
        say(HEAD)
        whole = run.seconds
        for name in (name for name in PHASES if name in options.phase):
            run.seconds = whole * PHASES[name] if options.all else whole
            phases[name](run, networks(options) if name == "networks" else subjects)
            say(f"phase {name} ended; {whole - run.seconds + run.left:.0f} s are left")
            if name == "tune":
                ready.close()
        run.seconds = whole


def time_rows(run: Campaign, subjects: list) -> None:
    """Every operation by its default or tuned config, and XLA as it is."""
    for op, shape, size, dtype in subjects:
        if run.over:
            run.entry(op.name, shape, size, dtype).errors.setdefault("triton", "no time was left")
        else:
            measure_row(run, op, shape, size, dtype, seconds=SAMPLED)
    run.save()


def tune_all(run: Campaign, subjects: list) -> None:
    """All configs of every operation; rows are measured again where another one is kept."""
    from kernels.bench.tune import tune

    composed = [
        s for s in subjects if count(s[0], s[2], s[3]) == 1
    ]  # of kernels that are tuned alone
    for op, shape, size, dtype in (s for s in subjects if s[3] != "float32"):
        if run.over:
            return
        if count(op, size, dtype) > 1 and tune(run, op, shape, size, dtype) and not run.over:
            measure_row(run, op, shape, size, dtype, seconds=SAMPLED)
    for op, shape, size, dtype in composed:
        if not run.over:
            measure_row(run, op, shape, size, dtype, seconds=SAMPLED)


def time_flags(run: Campaign, subjects: list) -> None:
    """XLA with each of the flags that may make convolutions faster, in equal shares of the time."""
    ends = run.seconds
    for done, (flag, setting) in enumerate(FLAGS.items(), 1):
        run.seconds = ends - run.left * (1 - done / len(FLAGS))
        flags = f"{run.environment.get('XLA_FLAGS', '')} {setting}".strip()
        for op, shape, size, dtype in subjects:
            if run.over:
                break
            worker = run.worker(flag, "kernels.bench.measure", XLA_FLAGS=flags)
            job = {"do": "row", "op": op.name, "size": list(size), "dtype": dtype}
            entry = run.entry(op.name, shape, size, dtype)
            names = ["xla", *(f"xla {name}" for name in op.baselines)]
            names = [name for name in names if name not in entry.errors]
            answer = run.ask(worker, names=names, unchecked=True, seconds=SAMPLED, **job)
            run.save(entry, add(entry, answer, "xla", f"{{}} +{flag}"))
        run.seconds = ends


def time_torch(run: Campaign, subjects: list) -> None:
    """The same operations in PyTorch, channels_last: eager first, as compiling takes long."""
    for name, limit in (("torch", 60.0), ("torch compile", 120.0)):
        for op, shape, size, dtype in subjects:
            if run.over:
                return
            target = str(run.facts["capability"])  # else Triton would interpret, PyTorch's too
            settings = {"JAX_PLATFORMS": "cpu", "KERNELS_TARGET": target}
            worker = run.worker("torch", "kernels.bench.rivals", **settings)
            job = {"op": op.name, "size": list(size), "dtype": dtype, "name": name}
            entry = run.entry(op.name, shape, size, dtype)
            answer = run.ask(worker, limit, seconds=SAMPLED, **job)
            if not answer.get("none"):  # PyTorch has no such operation
                run.save(entry, add(entry, answer, name, "{}"))


def time_networks(run: Campaign, names: Sequence[str]) -> None:
    """Frames per second of whole networks, a process for each, by XLA, kernels, and by choice."""
    for name in names:
        for impl in ("xla", "triton", "auto"):
            if run.over:
                return
            worker = run.worker(name, "tools.bench_networks --serve")
            answer = run.ask(worker, 120.0, network=name, impl=impl, seconds=SAMPLED)
            shape, size = answer.get("shape", ""), answer.get("size", ())
            entry = run.entry(f"network {name}", shape, size, answer.get("dtype", ""))
            run.save(entry, add(entry, answer, impl, "{}"))


def checked(run: Campaign, options: argparse.Namespace) -> None:
    """The correctness half, at the small shapes, where there is no GPU."""
    say("No GPU: kernels are interpreted and times mean nothing. Errors against float64:")
    say(HEAD)
    for op in chosen(options.op):
        shapes = {s: size_of(op, s) for s in options.shape} or {"": op.small[0]}
        for shape, size in shapes.items():
            for dtype in (d for d in op.dtypes if d in (options.dtype or op.dtypes)):
                if not run.over:
                    measure_row(run, op, shape, size, dtype, seconds=None)


def checked_briefly(run: Campaign) -> None:
    """A row for every operation, at the smallest of its small shapes and in its first dtype."""
    say(
        "No GPU: kernels are interpreted, and times would mean nothing. The difference is relative,"
    )
    say("|kernel - definition| / |definition| over all values, the definition in float64.")
    say("operation | shape | dtype | difference | allowed | verdict")
    for op in chosen([]):
        size, dtype = min(op.small, key=math.prod), op.dtypes[0]
        entry = run.entry(op.name, "", size, dtype)
        job = {"do": "row", "op": op.name, "size": list(size), "dtype": dtype}
        add(entry, run.ask(run.device(), names=["triton"], **job), "triton", "{}")
        gap, fault = entry.relerr.get("triton"), entry.errors.get("triton")
        shape = "x".join(map(str, size))
        difference = "-" if gap is None else f"{gap:.2g}"
        verdict = f"WRONG: {fault}" if fault else "ok"
        say(f"{op.name} | {shape} | {dtype} | {difference} | {op.tolerance[dtype]:g} | {verdict}")


def finish(run: Campaign) -> None:
    """Says the kernels' rows once more, writes all, and a plot where that can be drawn."""
    run.save()
    found = rows(run.entries.values(), or_assumed(run.ceilings))
    if run.gpu:
        say("", HEAD, *(line(row) for row in found if row.impl in ("triton", "auto")))
    if not run.out:
        return
    with suppress(OSError):
        from kernels import store

        shutil.copy(store.path(), run.out / "measured.json")
    try:
        from kernels.bench.plots import plot

        plot(run.out)
    except Exception as error:  # results are written; a plot can be made of them elsewhere
        say(
            f"no plot: {error}; where matplotlib is, python -m kernels.bench.plots "
            f"{run.out.name} makes it"
        )


def plan(options: argparse.Namespace) -> list[tuple]:
    """(operation, shape's name, size, dtype), what is worth most first."""
    ops = chosen(options.op) if options.op or options.all or options.tune else []
    found = [
        (op, shape, size_of(op, shape), dtype)
        for op in ops
        for shape in options.shape or op.shapes
        for dtype in op.dtypes
        if dtype in (options.dtype or op.dtypes)
    ]
    return sorted(found, key=_worth)


def _worth(subject: tuple) -> tuple:
    """Main operations at 540p in bfloat16 first; variants, other shapes and dtypes later."""
    op, shape, _, dtype = subject
    main = op.name in FIRST
    usual = "540p" if "540p" in op.shapes else next(iter(op.shapes))
    later = 0 if shape == usual else LATER.get(shape, 2)
    later += LATER[dtype] + (0 if main else 2)
    return later, FIRST.index(op.name) if main else len(FIRST), op.name


def chosen(names: Sequence[str]) -> list:
    """Operations by name, all without names."""
    from kernels.table import OPS

    if unknown := set(names) - OPS.keys():
        sys.exit(f"no operation {', '.join(sorted(unknown))}; there are {', '.join(OPS)}")
    return [OPS[name] for name in names or OPS]


def networks(options: argparse.Namespace) -> Sequence[str]:
    """The networks to time."""
    return options.network or (NETWORKS if options.all else ())


def size_of(op, shape: str) -> tuple:
    """N, H, W, C by one of the operation's names, a name of FRAMES, or NxHxWxC."""
    if shape in op.shapes:
        return tuple(op.shapes[shape])
    first = next(iter(op.shapes.values()))
    if shape in FRAMES:
        return (first[0], *FRAMES[shape], first[3])
    try:
        n, h, w, c = map(int, shape.split("x"))
    except ValueError:
        sys.exit(f"--shape {shape}: say one of {', '.join(FRAMES)}, or NxHxWxC")
    return n, h, w, c


def count(op, size, dtype: str) -> int:
    """How many configs there are; 0 where the operation cannot say."""
    try:
        return len(op.configs(size, dtype))
    except Exception:
        return 0


def workers() -> int:
    """Processes that may compile while another one measures."""
    return max(1, min(12, (os.cpu_count() or 4) - 3))


def add(entry, answer: dict, name: str, named: str) -> set[str]:
    """An answer, or its error as one of implementation `name`; the names that it is about."""
    if answer.get("error"):
        answer = {"errors": {name: answer["error"]}}
    return entry.add(answer, named=named)


def say(*lines: str) -> None:
    """Prints at once: a run that is cut off has said what it found."""
    for text in lines:
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
