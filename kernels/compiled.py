"""The compiler's gate: every kernel compiled ahead of time, without a GPU, and what it takes.

    python -m kernels.compiled [--target 80 90 100] [--op NAME ...] [--every] [--quick]

For every operation of `kernels.table`, each shape of the bench and each dtype it compiles the
kernels of the forward pass and of the gradient, and prints registers and stack per thread and
shared memory per block. It exits with 1 where something does not compile or passes a limit: a
stack means spilled registers, more shared memory than the device has means no launch at all.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp

if __name__ == "__main__" and find_spec("triton") is None:
    sys.exit('the kernels need Triton: pip install ".[kernels]"')

from kernels import launch
from kernels.op import Config, Op

ROOT = Path(__file__).parent.parent
SHARED = {80: 166912, 86: 101376, 89: 101376, 90: 232448, 100: 232448, 120: 101376}  # bytes a block
FILE = 65536  # registers of a multiprocessor
STACK = 0  # bytes a thread
NONE = "none"  # an operation has no config for a device: it refuses, and XLA's is used


@dataclass(frozen=True)
class Row:
    """What one kernel takes on one device; `error` where it could not be compiled."""

    target: int
    op: str
    kernel: str
    shape: str
    dtype: str
    config: str
    registers: int = 0
    stack: int = 0
    shared: int = 0
    warps: int = 0
    error: str = ""
    late: bool = False  # see `fenced_late`; no fault, as results on a GPU were right

    @property
    def fault(self) -> str:
        """The limit that is passed, or ""."""
        if self.error:
            return self.error
        if self.stack > STACK:
            return f"spills {self.stack} bytes a thread"
        if self.shared > SHARED[self.target]:
            return f"more shared memory than sm_{self.target} has: {SHARED[self.target]}"
        if self.registers * self.warps * launch.WARP > FILE:
            return "more registers than a multiprocessor has"
        return ""


@dataclass(frozen=True)
class Args:
    """Compiles kernels ahead of time; says what they take and whether a limit is passed."""

    target: tuple[int, ...] = (80, 90, 100)
    """Compute capabilities."""
    op: tuple[str, ...] = ()
    """Names of operations; none means all."""
    dtype: tuple[str, ...] = ()
    """None means all that an operation has."""
    every: bool = False
    """Every config that may be tried, not only the one that is taken where none was measured."""
    quick: bool = False
    """Only the first shape of the bench, no float32, and one dtype's gradient."""


def parsed(args: Sequence[str]) -> Args:
    """The command line."""
    parser = argparse.ArgumentParser(prog="kernels.compiled", description=Args.__doc__)
    parser.add_argument("--target", nargs="+", type=int, choices=SHARED, help="capabilities")
    parser.add_argument("--op", nargs="*", help="names of operations; all without")
    parser.add_argument("--dtype", nargs="*", help="all that an operation has, without")
    parser.add_argument("--every", action="store_true", help="every config that may be tried")
    parser.add_argument("--quick", action="store_true", help="the first shape, and no float32")
    given = {name: value for name, value in vars(parser.parse_args(args)).items() if value}
    return Args(**{n: tuple(v) if isinstance(v, list) else v for n, v in given.items()})


def compiled(args: Args) -> list[Row]:
    """Rows for all of `args`; each target has a process of its own, as many at once as cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(partial(_elsewhere, args=args), args.target)
        return [row for rows in found for row in rows]


def _elsewhere(target: int, args: Args) -> list[Row]:
    """KERNELS_TARGET is read once in a process, when the kernels are imported."""
    settings = {"KERNELS_TARGET": str(target), "JAX_PLATFORMS": "cpu", "TRITON_INTERPRET": "0"}
    command = [sys.executable, "-c", "from kernels import compiled; compiled.child()"]
    child = subprocess.run(
        command,
        input=json.dumps(asdict(args)),
        env=os.environ | settings,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if child.returncode:
        raise SystemExit(f"sm_{target}: {child.stderr.strip()[-2000:]}")
    return [Row(**json.loads(line)) for line in child.stdout.splitlines() if line[:1] == "{"]


def child() -> None:
    """In the process of one target: `Args` as JSON from stdin, a row of JSON a line to stdout."""
    from kernels.table import OPS

    args = Args(**json.loads(sys.stdin.read()))
    if unknown := set(args.op) - OPS.keys():
        raise SystemExit(f"no operation {', '.join(sorted(unknown))}; there are {', '.join(OPS)}")
    for name, op in OPS.items():
        if not args.op or name in args.op:
            for row in _rows(op, args):
                print(json.dumps(asdict(row)), flush=True)


def _rows(op: Op, args: Args) -> Iterator[Row]:
    dtypes = [d for d in op.dtypes if not args.dtype or d in args.dtype]
    if args.quick:
        dtypes = [d for d in dtypes if d != "float32"] or dtypes
    for shape in list(op.shapes.values())[: 1 if args.quick else None]:
        for dtype in dtypes:
            choices = op.configs(shape, dtype)
            if not choices:
                size = "x".join(map(str, shape))
                yield Row(launch.TARGET, op.name, NONE, size, dtype, NONE)
            for config in choices if args.every else choices[:1]:
                gradient = config == choices[0] and (not args.quick or dtype == dtypes[0])
                yield from _one(op, shape, dtype, config, gradient=gradient)


def _one(op: Op, shape, dtype: str, config: Config, *, gradient: bool) -> Iterator[Row]:
    """A row for each kernel that `op` runs; those of the gradient only if asked for."""
    size = "x".join(map(str, shape))
    row = partial(Row, launch.TARGET, op.name, shape=size, dtype=dtype, config=str(config))
    launch.compiled.cache_clear()
    first = len(launch.RECORD)
    try:
        arrays = jax.eval_shape(partial(op.example, shape=shape, dtype=dtype), jax.random.key(0))
        trace(partial(op.ours, config=config), arrays, gradient=gradient)
    except Exception as error:  # one that fails must not hide the others
        yield row("", error=f"{type(error).__name__}: {_line(error)}")
    for made in launch.RECORD[first:]:
        taken = launch.resources(made)
        yield row(made.name, warps=made.warps, late=fenced_late(made.ptx), **taken)


def fenced_late(ptx: str) -> bool:
    """True where threads write an operand of Hopper's products and fence it behind a barrier.

    These products read shared memory by another way than threads write it. NVIDIA's own code has
    the writer fence before the barrier, and so does Triton, unless a product takes its left side
    from registers, where it counts on the barrier of an earlier step.
    """
    state = ""
    steps = "|".join(("st.shared", "fence.proxy.async", "bar.sync", "wgmma.mma_async"))
    after = {
        ("", "st.shared"): "written",
        ("written", "bar.sync"): "handed over",
        ("handed over", "fence.proxy.async"): "late",
        ("late", "st.shared"): "written",
        ("fenced", "st.shared"): "written",
        ("handed over", "st.shared"): "written",
        ("written", "fence.proxy.async"): "fenced",
    }
    for step in re.findall(steps.replace(".", r"\."), ptx):
        if step == "wgmma.mma_async" and state == "late":
            return True
        state = after.get((state, step), state)
    return False


def trace(ours, arrays, *, gradient: bool) -> None:
    """Traces `ours(*arrays)`, and its gradient by all float arrays where the result is float."""
    out = jax.tree.leaves(jax.eval_shape(ours, *arrays))
    floats = [i for i, a in enumerate(arrays) if _is_float(a)]
    if not gradient or not floats or not all(map(_is_float, out)):
        return

    def loss(*arrays):
        return sum(y.astype(jnp.float32).sum() for y in jax.tree.leaves(ours(*arrays)))

    jax.eval_shape(jax.grad(loss, floats), *arrays)


def _is_float(a) -> bool:
    return jnp.issubdtype(a.dtype, jnp.floating)


def _line(error: Exception) -> str:
    """The last line that says something: Triton's errors quote the source first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" ^\n")]
    return (lines[-1] if lines else "")[:200]


def main(args: Args) -> int:
    """Prints the table; returns the number of faults."""
    faults = 0
    print("target | op | kernel | shape | dtype | config | registers | stack | shared | fault")
    for row in compiled(args):
        faults += bool(row.fault)
        what = f"sm_{row.target} | {row.op} | {row.kernel} | {row.shape} | {row.dtype}"
        took = f"{row.registers} | {row.stack} | {row.shared} | {row.fault or '-'}"
        print(f"{what} | {row.config} | {took}")
    print(f"{faults} faults" if faults else "all within the limits")
    return faults


if __name__ == "__main__":
    sys.exit(main(parsed(sys.argv[1:])) > 0)
