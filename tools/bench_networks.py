"""Frames per second of whole networks, by XLA, by the kernels, or by choice a layer.

    python -m tools.bench_networks [esrgan anime6b srgan sr_unet] [--impl xla triton auto] [--json]

`kernels.bench --network` asks the same of `--serve`, which takes a job of JSON a line. Parameters
are random: time does not depend on them. One frame a call, at the size of the project's targets.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec

if find_spec("av") is None:  # all of jaxvsr needs it to read films; its networks alone do not
    sys.modules["jaxvsr"] = module_from_spec(find_spec("jaxvsr"))

import jax
import jax.numpy as jnp

from jaxvsr import models

SIZES = {"270p": (1, 270, 480, 3), "540p": (1, 540, 960, 3)}


@dataclass(frozen=True)
class Case:
    """A network, its settings, and the frame it enlarges."""

    module: type
    settings: dict
    shape: str


CASES = {
    "sr_unet": Case(models.SRUNet, {"folded": True}, "540p"),
    "srgan": Case(models.SRResNet, {"scale": 2, "blocks": 8}, "540p"),
    "anime6b": Case(models.RRDBNet, {"scale": 4, "blocks": 6}, "270p"),
    "esrgan": Case(models.RRDBNet, {"scale": 4, "blocks": 23}, "270p"),
}
SAMPLE = 20.0  # milliseconds between two waits
TINY = (1, 16, 24, 3)  # where nothing is timed


def row(job: dict) -> dict:
    """{"times", "relerr", "flops", "frames", ...} of `network` by `impl`, as the bench takes it.

    The error is that of the bfloat16 result against XLA's in float32.
    """
    case = CASES[job["network"]]
    shape, dtype = tuple(job.get("size") or size_of(case)), job.get("dtype", "bfloat16")
    frames = jax.random.uniform(jax.random.key(1), shape)
    plain, ours = (case.module(**case.settings, impl=impl) for impl in ("xla", job["impl"]))
    params = drawn(plain, jax.random.key(0))
    half = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    small = frames.astype(dtype)
    program = jax.jit(ours.apply)
    truth = jax.jit(plain.apply)(params, frames)
    gap = apart(program(half, small), truth)
    del truth
    times = {}
    if job.get("seconds"):
        times = {job["impl"]: milliseconds(program, half, small, job["seconds"])}
    facts = {"frames": shape[0], "flops": flops(plain, half, small), "truth": "float32"}
    where = {"shape": case.shape, "size": shape, "dtype": dtype}
    return {"times": times, "relerr": {job["impl"]: gap}, **facts, **where}


def size_of(case: Case) -> tuple[int, int, int, int]:
    """The frame of a case, its sides rounded up to what the network takes, as callers pad it."""
    n, h, w, c = SIZES[case.shape]
    multiple = getattr(case.module(**case.settings), "multiple", 1)
    return n, -(-h // multiple) * multiple, -(-w // multiple) * multiple, c


def milliseconds(program: Callable, params, frames, seconds: float) -> list[float]:
    """[median, 20 %, 80 %] of a frame's time; many frames are begun before one is waited for.

    What a network keeps between its layers is larger than any cache, so inputs are not rotated.
    """

    def elapsed(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            last = program(params, frames)
        jax.block_until_ready(last)
        return 1e3 * (time.perf_counter() - start) / count

    elapsed(2)
    once = min(elapsed(1) for _ in range(3))
    count = max(1, min(50, round(SAMPLE / once)))
    rounds = max(5, min(50, round(1e3 * seconds / (count * once))))
    samples = sorted(elapsed(count) for _ in range(rounds))
    return [samples[round(share * (rounds - 1))] for share in (0.5, 0.2, 0.8)]


def drawn(module, key: jax.Array):
    """Random parameters, also where a network starts with zeros."""
    shapes = jax.eval_shape(module.init, key, jnp.zeros(TINY))
    leaves, tree = jax.tree.flatten(shapes)
    keys = jax.random.split(key, len(leaves))
    scale = lambda leaf: (leaf.size / leaf.shape[-1]) ** -0.5 if len(leaf.shape) > 1 else 0.1
    made = [scale(s) * jax.random.normal(k, s.shape) for k, s in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, made)


def apart(result, truth) -> float:
    """||result - truth|| / ||truth||."""
    result, truth = result.astype(jnp.float32), truth.astype(jnp.float32)
    return float(jnp.linalg.norm((result - truth).ravel()) / jnp.linalg.norm(truth.ravel()))


def flops(module, params, frames) -> float:
    """What XLA counts in the network as it is written; 0 where it does not count."""
    cost = jax.jit(module.apply).lower(params, frames).cost_analysis() or {}
    return float(cost.get("flops", 0.0))


def guarded(job: dict) -> dict:
    """`row`, or {"error": why}."""
    try:
        return row(job)
    except Exception as error:  # the others are worth having
        said = str(error).strip().partition("\n")[0][:300]
        return {"error": f"{type(error).__name__}: {said}"}


def serve() -> None:
    """Answers jobs from stdin on stdout; what anything else prints goes to stderr."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        for job in sys.stdin:
            print(json.dumps(guarded(json.loads(job))), file=out, flush=True)


def main(args: Sequence[str] | None = None) -> None:
    """Prints a line for each network and implementation."""
    parser = argparse.ArgumentParser(prog="tools.bench_networks")
    parser.add_argument("network", nargs="*", default=[], help=", ".join(CASES))
    parser.add_argument("--impl", nargs="*", default=["xla", "triton", "auto"])
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each")
    parser.add_argument("--serve", action="store_true", help="answer jobs from stdin")
    options = parser.parse_args(args)
    if options.serve:
        return serve()
    gpu = jax.default_backend() == "gpu"
    if not gpu:
        print("No GPU: kernels are interpreted; a tiny frame, nothing is timed.", file=sys.stderr)
    for name in options.network or CASES:
        for impl in options.impl:
            job = {"network": name, "impl": impl, "dtype": options.dtype}
            job |= {"seconds": 0.3} if gpu else {"size": TINY}
            found = guarded(job)
            print(json.dumps({**job, **found}) if options.json else line(job, found), flush=True)


def line(job: dict, found: dict) -> str:
    """A result as text."""
    said = f"{job['network']} {job['impl']}"
    if "error" in found:
        return f"{said}: error: {found['error']}"
    said = f"{said} {found['shape']} {found['dtype']}: error {found['relerr'][job['impl']]:.2g}"
    times = found["times"].get(job["impl"])
    return f"{said}, {1e3 * found['frames'] / times[0]:.1f} frames/s" if times else said


if __name__ == "__main__":
    main()
