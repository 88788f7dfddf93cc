"""What a training step costs, beside plain PyTorch: `python -m tools.bench_train`.

The same networks with the same parameters take the same batch through the same losses, Adam and
moving average. Both run in turns within one process, and the ratio is the median of the ratios of
neighbouring turns: a machine's speed drifts by more than the differences. Memory is measured in
processes of their own.
"""

import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

# Before JAX starts: what it reserves on a GPU, PyTorch would lack.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvsr import losses, train
from jaxvsr.commands.reading import read
from jaxvsr.commands.speech import answer
from jaxvsr.data import made_up, pipeline
from jaxvsr.data.pipeline import Feed
from jaxvsr.data.synthetic import scene
from jaxvsr.degradation import Recipe
from jaxvsr.host import cores
from jaxvsr.host.options import Range
from jaxvsr.layers import trained_folded
from jaxvsr.models.critics import SRGANCritic
from jaxvsr.models.sr_unet import SRUNet
from jaxvsr.models.srresnet import SRResNet
from jaxvsr.train.devices import sharing, show_cores
from tools import busy

NETWORKS = {"sr_unet": SRUNet(clip=False), "srresnet": SRResNet(scale=2, blocks=8)}
LOSSES = {
    "l1": {"l1": 1.0},
    "l1+ssim": {"l1": 1.0, "ssim": 0.5},
    "gan": {"l1": 1.0, "adversarial": 1e-3},
}
TERMS = {
    "l1": lambda r: losses.l1(r.fake, r.hr),
    "ssim": lambda r: losses.ssim(r.fake, r.hr),
    "adversarial": lambda r: losses.non_saturating_generator(r.judge("critic", r.fake)),
}
CRITICS = {
    "critic": lambda r: losses.logistic_critic(r.judge("critic", r.hr), r.judge("critic", r.fake))
}
RECIPE = Recipe(factor=2, crf=28)
Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Args:
    """Prints a block for each network and losses; times are of one step, median [p20, p80]."""

    networks: tuple[Literal["sr_unet", "srresnet"], ...] = ("sr_unet", "srresnet")
    losses: tuple[Literal["l1", "l1+ssim", "gan"], ...] = ("l1",)
    batch: Annotated[int, Range(1)] = 8
    patch: int = 48
    """Side of a crop in input pixels; the true one is twice as large."""
    dtype: Dtype = "float32"
    rounds: Annotated[int, Range(1)] = 7
    steps: Annotated[int | None, Range(1)] = None
    """Steps a turn; by default 1 on a CPU and 20 on a GPU."""
    pipeline: bool = True
    """Measure how fast batches are made as well."""
    memory: bool = True
    out: Path | None = None
    """Folder for the results as JSON and CSV, named by device and date."""


@dataclass(frozen=True)
class Case:
    """One step to measure."""

    network: str
    losses: str = "l1"
    batch: Annotated[int, Range(1)] = 8
    patch: int = 48
    dtype: Dtype = "float32"
    rate: float = 1e-4
    epsilon: float = 1e-8

    @property
    def net(self) -> nn.Module:
        """The generator."""
        return NETWORKS[self.network]


def main(args: Args) -> None:
    """Prints what it measures; writes it to `out`."""
    show_cores(args.batch)
    facts = surroundings()
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    if find_spec("torch") is None:
        print("torch is not installed here: no comparison with it (pip install torch)")
    case, rows = Case("", "", args.batch, args.patch, args.dtype), []
    for network in args.networks:
        for name in args.losses:
            rows += measure(replace(case, network=network, losses=name), args)
            write(args.out, facts, rows)
    if args.pipeline:
        rows += [feeding(args, source) for source in ("arrays", "scenes")]
        write(args.out, facts, rows)


def surroundings() -> dict[str, str]:
    """Everything that a number depends on, beside the code that is measured."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    found = {name: version(name) for name in ("jax", "flax", "optax", "torch") if find_spec(name)}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "device": device(),
        "cores": str(cores.usable()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        **found,
        "git": done.stdout.strip() or "unknown",
    }


def device() -> str:
    """The accelerator's name, or the processor's."""
    kind = jax.devices()[0].device_kind
    if kind != "cpu":
        return kind
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def measure(case: Case, args: Args) -> list[dict]:
    """A block: steps in JAX and PyTorch, memory, their ratio, and how busy a GPU is."""
    on_gpu = jax.default_backend() == "gpu"
    ways = [way for way in WAYS if way == "jax" or find_spec("torch")]
    ways = [way for way in ways if on_gpu or way != "torch compiled"]
    runs, first = {}, {}
    for way in ways:
        start = time.perf_counter()
        runs[way] = WAYS[way](case)
        runs[way].step(), runs[way].wait()
        first[way] = time.perf_counter() - start
    load = os.getloadavg()[0]
    times = turns(runs, args.rounds, args.steps or (20 if on_gpu else 1))
    size = f"{case.batch} x {case.patch}x{case.patch}, {case.dtype}"
    print(f"\n{case.network}, {case.losses}, {size}, load {load:.1f}")
    crowded = load > 1 + cores.usable() and not on_gpu
    rows = []
    for way in ways:
        row = asdict(case) | {"way": way, "load": load, "first_s": first[way]}
        row |= summary(times[way]) | {"images_per_s": case.batch / np.median(times[way])}
        row["peak_mib"] = peak_memory(way, case) if args.memory else None
        if way != "jax":
            row |= ratio(times[way], times["jax"])
            if crowded:  # PyTorch's threads wait for each other at every barrier
                row["verdict"] = "none, others use this machine; run it again when they do not"
        if way == "jax" and on_gpu:
            row["busy"] = busy.share(runs["jax"].step, runs["jax"].wait)
        print(told(row))
        rows.append(row)
    return rows


def told(row: dict) -> str:
    """Lines for one way of doing the step."""
    low, median, high = (f"{1e3 * row[part]:.1f}" for part in ("p20_s", "median_s", "p80_s"))
    line = f"  {row['way']:16}{median:>9} ms [{low}, {high}]{row['images_per_s']:9.1f} images/s"
    line += f", first step {row['first_s']:.1f} s"
    if row["peak_mib"] is not None:
        line += f", peak {row['peak_mib']:.0f} MiB"
    if "ratio" in row:
        between = f"[{row['ratio_p20']:.2f}, {row['ratio_p80']:.2f}]"
        line += f"\n    {row['way']} / jax {row['ratio']:.2f} {between}: {row['verdict']}"
    if "busy" in row:
        share = "not measured" if row["busy"] is None else f"{row['busy']:.1%}"
        line += f"\n    time that the device is busy, batches from memory: {share}"
    return line


class InJAX:
    """The library's own step, as `train.fit` runs it."""

    def __init__(self, case: Case, params: dict | None = None, rows: dict | None = None):
        game, phase = table(case)
        whole, split = train.shardings(used(case.batch))
        self.batch = train.distribute(rows or batch(case), split)
        self.program = jax.jit(train.make_step(game, phase), donate_argnums=0)
        state = train.init(jax.random.key(0), params or untrained(case), game, phase)
        self.state = train.replicate(state, whole)
        self.metrics = {}

    def step(self) -> None:
        """Begins one step."""
        self.state, self.metrics = self.program(self.state, self.batch)

    def wait(self) -> None:
        """Returns when all steps are done."""
        jax.block_until_ready(self.state)


def used(rows: int) -> list[jax.Device]:
    """One GPU, or as many CPU devices as `train.fit` would have for so many rows."""
    gpu = jax.default_backend() == "gpu"
    return jax.devices()[: 1 if gpu else sharing(rows, jax.device_count())]


class InTorch:
    """The same step in PyTorch."""

    def __init__(self, case: Case, params: dict | None = None, *, compiled: bool = False):
        import torch

        from tools.bench_torch import Training, srgan_critic

        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")  # TF32, as JAX does by itself
        builders = {"generator": partial(_generator, case.net), "critic": srgan_critic}
        options = {"rate": case.rate, "epsilon": case.epsilon, "compiled": compiled}
        options["bfloat16"] = case.dtype == "bfloat16"
        own = params or untrained(case)
        self.batch, self.metrics = batch(case), {}
        builders = {name: builders[name] for name in own}
        self.training = Training(own, builders, LOSSES[case.losses], **options)

    def step(self) -> None:
        """Begins one step."""
        self.metrics = self.training.step(self.batch)

    def wait(self) -> None:
        """Returns when all steps are done."""
        self.training.wait()


WAYS = {"jax": InJAX, "torch": InTorch, "torch compiled": partial(InTorch, compiled=True)}


def _generator(net: nn.Module, tree) -> Callable:
    """The network in PyTorch."""
    from tools import bench_torch

    if isinstance(net, SRUNet):
        return bench_torch.sr_unet(tree, net.depths, net.scale, clip=net.clip)
    return bench_torch.srresnet(tree, net.blocks, len(net.factors))


def table(case: Case) -> tuple[train.Game, train.Phase]:
    """The game and its only phase."""
    critics = CRITICS if case.losses == "gan" else {}
    players = {"generator": trained_folded(case.net)}
    players |= {"critic": SRGANCritic(32)} if critics else {}
    tx = optax.adam(case.rate, eps=case.epsilon)
    dtype = jnp.dtype(case.dtype)
    game = train.Game(players, TERMS, tx, critics, dtype)
    return game, train.Phase("only", 1 << 30, LOSSES[case.losses], tuple(critics))


def untrained(case: Case) -> dict:
    """Parameters by player, none of them at a neutral value such as 0."""
    players = table(case)[0].players | {"generator": case.net}
    small, large = (jnp.zeros((1, side, side, 3)) for side in (case.patch, 2 * case.patch))
    inputs = {"generator": small, "critic": large}
    params = train.untrained(jax.random.key(0), players, inputs)
    stir = lambda p: np.array(p + 0.01 * jax.random.normal(jax.random.key(p.size), p.shape))
    return jax.tree.map(stir, params)


def batch(case: Case) -> dict[str, np.ndarray]:
    """Crops of a drawn scene and the same at half the size, uint8."""
    side = 2 * case.patch
    hr = np.stack(list(scene(0, case.batch, side, side)))
    halves = hr.reshape(case.batch, case.patch, 2, case.patch, 2, 3).mean((2, 4))
    return {"lr": (halves + 0.5).astype(np.uint8), "hr": hr}


def turns(runs: dict, rounds: int, steps: int) -> dict[str, np.ndarray]:
    """Seconds a step of each run [rounds], taken in turns after one turn that does not count."""
    times = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            for _ in range(steps):
                run.step()
            run.wait()
            if turn:
                times[name].append((time.perf_counter() - start) / steps)
    return {name: np.array(taken) for name, taken in times.items()}


def summary(times: np.ndarray) -> dict[str, float]:
    """Median and spread of the seconds of a step."""
    low, median, high = np.percentile(times, (20, 50, 80))
    return {"median_s": float(median), "p20_s": float(low), "p80_s": float(high)}


def ratio(theirs: np.ndarray, ours: np.ndarray) -> dict[str, float | str]:
    """How many times our seconds theirs are, turn by turn, and what that says."""
    low, median, high = np.percentile(theirs / ours, (20, 50, 80))
    verdict = "JAX is faster" if low > 1 else "JAX is slower" if high < 1 else "no clear difference"
    return {"ratio": median, "ratio_p20": low, "ratio_p80": high, "verdict": verdict}


def peak_memory(way: str, case: Case) -> float:
    """MiB that a fresh process, or its GPU, needs at most for three steps."""
    code = "import sys; from tools import bench_train; bench_train.alone(*sys.argv[1:])"
    argv = [sys.executable, "-c", code, way, json.dumps(asdict(case))]
    root = Path(__file__).parent.parent
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, cwd=root)
    return float(done.stdout.split()[-1])


def alone(way: str, case: str) -> None:
    """Runs three steps and prints the peak memory in MiB; for `peak_memory`'s process."""
    found = Case(**json.loads(case))
    show_cores(found.batch)
    run = WAYS[way](found)
    for _ in range(3):
        run.step()
    run.wait()
    print(peak_here(way))


def peak_here(way: str) -> float:
    """MiB of the GPU that `way` used at most, or without a GPU of this process.

    Linux's VmHWM leaves the parent's memory out, which getrusage would count.
    """
    if jax.default_backend() == "gpu" and way == "jax":
        return jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 2**20
    if jax.default_backend() == "gpu":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def feeding(args: Args, source: str) -> dict:
    """Prints how many images a second the pipeline makes, nothing else running in this process."""
    feed = Feed(args.batch, frames=1, crop=2 * args.patch, threads=cores.usable())
    if source == "scenes":
        rate = images_per_second(pipeline.stream(None, RECIPE, feed), 24)
    else:
        side = -(-4 * args.patch // 48) * 48
        clips = made_up.procedural(0, 12, 12, (side, side))
        with tempfile.TemporaryDirectory() as place:
            rate = images_per_second(pipeline.stream(clips, RECIPE, feed, folder=place), 200)
    what = {"arrays": "crops of arrays on disk", "scenes": "crops of scenes, drawn and coded"}
    load = os.getloadavg()[0]
    print(f"\npipeline, {what[source]}: {rate:.0f} images/s, load {load:.1f}")
    return {"way": f"pipeline, {source}", "load": load, "images_per_s": rate}


def images_per_second(stream: pipeline.Stream, count: int) -> float:
    """The mean rate of `count` batches after the first few, which fill the queue."""
    batches = iter(stream.dataset)
    for _ in range(4):
        rows = len(next(batches)["lr"])
    start = time.perf_counter()
    for _ in range(count):
        next(batches)
    return rows * count / (time.perf_counter() - start)


def write(folder: Path | None, facts: dict[str, str], rows: Sequence[dict]) -> None:
    """What there is so far: `train_DEVICE_DATE.json` and `.csv` in `folder`, which is made."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    kind = "".join(c if c.isalnum() else "_" for c in facts["device"]).strip("_").lower()
    path = folder / f"train_{kind}_{facts['date'].split()[0]}.json"
    path.write_text(json.dumps({"facts": facts, "rows": list(rows)}, indent=1) + "\n")
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.with_suffix(".csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [*facts, *(n for n in names if n not in facts)])
        table.writeheader()
        table.writerows({**facts, **row} for row in rows)
    print(f"\nwrote {path} and .csv")


if __name__ == "__main__":
    sys.exit(answer(lambda: main(read(Args, prog="python -m tools.bench_train"))))
