"""Every config of an operation, timed; the fastest is kept for `tuning.pick`.

Kernels are compiled by many processes beside the one that measures: Triton keeps what it compiled,
so the measuring process finds it. Compiling needs no GPU and takes most of the time.
"""

import threading
from collections.abc import Iterable
from pathlib import Path

from kernels.campaign import LIMIT, Campaign
from kernels.op import Op
from kernels.report import Entry
from kernels.workers import Worker, brief

SECONDS = 0.08  # that a config is measured
WORTH = 0.98  # of the first config's time, below which another is worth to be kept


class Compilers:
    """Processes that fill Triton's cache: jobs are (operation, size, dtype, number of config)."""

    def __init__(self, run: Campaign, jobs: Iterable[tuple[str, tuple, str, int]], count: int):
        self.run, self.jobs, self.lock = run, iter(list(jobs)), threading.Lock()
        capability = str(run.facts["capability"])
        settings = {"KERNELS_TARGET": capability, "JAX_PLATFORMS": "cpu"}
        self.env = {**run.environment, **settings}
        self.ended, self.done, self.failed = threading.Event(), 0, 0
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """Lets them end what they do, and begin nothing."""
        self.ended.set()
        for thread in self.threads:
            thread.join(timeout=5)

    def _work(self) -> None:
        with Worker("kernels.measure", self.env, self._log()) as worker:
            while not self.ended.is_set() and not self.run.over:
                with self.lock:
                    job = next(self.jobs, None)
                if job is None:
                    return
                name, size, dtype, number = job
                ask = {"do": "compile", "op": name, "size": list(size), "dtype": dtype}
                answer = worker.ask({**ask, "config": number}, min(LIMIT, self.run.left))
                with self.lock:
                    self.done, self.failed = self.done + 1, self.failed + ("error" in answer)

    def _log(self) -> Path:
        return self.run.log.with_name("compilers.log")


def tune(run: Campaign, op: Op, shape: str, size: tuple, dtype: str) -> bool:
    """Measures the configs until the time is over; True where another than the first is kept."""
    entry = run.entry(op.name, shape, size, dtype)
    job = {"op": op.name, "size": list(size), "dtype": dtype}
    choices = _choices(op, size, dtype, entry)
    for number in range(len(choices)):
        if run.over:
            break
        answer = run.ask(run.device(), do="config", config=number, seconds=SECONDS, **job)
        times = answer.get("times", {}).get("triton")
        entry.configs[str(choices[number])] = times or answer.get("error", "no time")
        said = f"{times[0]:.4g} ms" if times else f"error: {answer.get('error')}"
        run.say(f"tune {op.name} {shape} {dtype} {choices[number]}: {said}")
    run.save()
    found = {i: entry.configs.get(str(c)) for i, c in enumerate(choices)}
    measured = {i: times[0] for i, times in found.items() if isinstance(times, list)}
    if not measured:
        return False
    best = min(measured, key=measured.get)
    if best and measured[best] > WORTH * measured.get(0, float("inf")):
        best = 0
    answer = run.ask(run.device(), do="keep", config=best, ms=measured[best], **job)
    run.say(f"tune {op.name} {shape} {dtype}: kept {choices[best]} {answer.get('error', '')}")
    return best > 0 and "error" not in answer


def _choices(op: Op, size: tuple, dtype: str, entry: Entry) -> tuple:
    try:
        return op.configs(size, dtype)
    except Exception as error:  # an operation that cannot say leaves the others to be tuned
        entry.errors["tuning"] = brief(error)
        return ()
