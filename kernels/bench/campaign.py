"""A run of the bench: what was measured so far, the time that is left, and who is asked.

Everything is asked of other processes, so nothing that a kernel does can end the run, and results
are written after every answer, so nothing that ends the run can take them.
"""

import subprocess
import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from kernels.bench.report import Entry, line, of_entry, or_assumed, write
from kernels.bench.workers import ROOT, Worker

LIMIT = 60.0  # seconds that one answer may take
LEAST = 3.0  # seconds with which nothing is begun
SETTINGS = {  # for every process that is asked, unless the caller has set them
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several processes share the device
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
}
CLOCKS = "driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,temperature.gpu"


@dataclass
class Campaign:
    """Results of a run, where they are written, and the processes that make them."""

    out: Path | None
    seconds: float
    environment: Mapping[str, str]
    say: Callable[[str], None]
    start: float = field(default_factory=time.monotonic)
    entries: dict[tuple, Entry] = field(default_factory=dict)
    facts: dict = field(default_factory=dict)
    ceilings: dict = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds until the run ends."""
        return self.start + self.seconds - time.monotonic()

    @property
    def over(self) -> bool:
        """True when nothing new should be begun."""
        return self.left < LEAST

    @property
    def log(self) -> Path:
        """Where the processes' own words go."""
        return (self.out or ROOT / ".cache") / "bench.log"

    def worker(self, name: str, module: str, **settings: str) -> Worker:
        """The process called `name`, with `settings` in its environment; others are ended.

        One process at a time has the device: two would disturb each other's times.
        """
        for other in list(self.workers.keys() - {name}):
            self.workers.pop(other).close()
        if name not in self.workers:
            self.workers[name] = Worker(module, SETTINGS | self.environment | settings, self.log)
        return self.workers[name]

    def device(self) -> Worker:
        """The process that measures on the device."""
        return self.worker("device", "kernels.bench.measure")

    def ask(self, worker: Worker, limit: float = LIMIT, **job) -> dict:
        """The worker's answer, or {"error": why}, in no more time than is left."""
        if self.over:
            return {"error": "not measured: the time was over"}
        return worker.ask(job, min(limit, self.left))

    def begin(self) -> None:
        """Finds out what there is to measure on."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_text("")
        found = self.ask(self.device(), 120, do="facts")
        found.pop("well", None)
        self.facts = {**found, **machine(self.environment)}

    @property
    def gpu(self) -> bool:
        """True where times mean something."""
        return self.facts.get("platform") == "gpu"

    def entry(self, op: str, shape: str, size: Sequence[int], dtype: str) -> Entry:
        """The entry of an operation at a shape and dtype, made if need be."""
        key = op, tuple(size), dtype
        return self.entries.setdefault(key, Entry(op, shape, tuple(size), dtype))

    def save(self, entry: Entry | None = None, names: Container[str] | None = None) -> None:
        """Writes all results; says the rows of `entry`, all or those of some implementations."""
        self.facts["clocks_last"] = clocks()
        if self.out:
            with suppress(OSError):  # a full disk must not end the run; what is said remains
                write(self.out, self.facts, self.ceilings, self.entries.values())
        for row in of_entry(entry, or_assumed(self.ceilings)) if entry else ():
            if names is None or row.impl in names:
                self.say(line(row))

    def close(self) -> None:
        """Ends all processes."""
        for worker in self.workers.values():
            worker.close()
        self.workers.clear()

    def __enter__(self) -> "Campaign":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def measure_ceilings(run: Campaign) -> None:
    """Measures what the device can do at most."""
    found = run.ask(run.device(), 90, do="ceilings", seconds=0.3)
    found.pop("well", None)
    run.ceilings = found
    run.save()
    units = lambda name: "GB/s" if name in ("copy", "l2") else "TFLOP/s"
    for name, value in found.items():
        run.say(
            f"ceiling {name}: {value if isinstance(value, str) else f'{value:.0f}'} {units(name)}"
        )


def measure_row(run: Campaign, op, shape: str, size, dtype: str, *, seconds: float | None) -> Entry:
    """The kernel and XLA's variants of an operation. What ends the process is asked without."""
    entry = run.entry(op.name, shape, size, dtype)
    others = ["xla", *(f"xla {name}" for name in op.baselines)]
    job = {"do": "row", "op": op.name, "size": list(size), "dtype": dtype, "seconds": seconds}
    answer = run.ask(run.device(), **job)
    lost = answer.get("error") or (answer["errors"] and not answer.get("well"))
    entry.add(answer)
    if lost and not run.over:  # first without the kernel, which is likelier to blame
        entry.errors["triton"] = answer.get("error") or entry.errors.get("triton", "see the others")
        again = run.ask(run.device(), names=others, **job)
        entry.add(again)
        if again.get("error") and not run.over:
            entry.errors["xla"] = again["error"]
            entry.errors.pop("triton")
            alone = run.ask(run.device(), names=["triton"], **job)
            entry.add(alone if "error" not in alone else {"errors": {"triton": alone["error"]}})
    elif lost:
        entry.errors["triton"] = answer.get("error") or "the time was over"
    run.save(entry)
    return entry


def machine(environment: Mapping[str, str]) -> dict:
    """What does not depend on the device's process: date, code, flags, driver and clocks."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": _said("git", "rev-parse", "--short=12", "HEAD") or "unknown",
        "changed": bool(_said("git", "status", "--porcelain", "--untracked-files=no")),
        "xla_flags": environment.get("XLA_FLAGS", ""),
        "clocks_first": clocks(),
    }


def clocks() -> dict[str, str]:
    """Driver, clocks, power limit and temperature, by nvidia-smi; {} where it is not there."""
    said = _said("nvidia-smi", f"--query-gpu={CLOCKS}", "--format=csv,noheader")
    values = [value.strip() for value in said.splitlines()[0].split(",")] if said else []
    return dict(zip(CLOCKS.split(","), values, strict=False))


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
