"""Every config of an operation, timed; the fastest is kept for `tuning.pick`.

Kernels are compiled by many processes beside the one that measures: Triton keeps what it compiled,
so the measuring process finds it. Compiling needs no GPU and takes most of the time.
"""

import threading
from collections.abc import Iterable
from contextlib import suppress

from kernels.bench.campaign import LIMIT, Campaign
from kernels.bench.report import Entry
from kernels.bench.workers import Worker, brief
from kernels.op import Config, Op

SECONDS = 0.08  # that a config is measured
TWINS = {"bfloat16": "float16"}  # what is best for one is kept for the other until it is measured
WORTH = 0.98  # of the first config's time, below which another is worth to be kept


class Compilers:
    """Processes that fill Triton's cache: jobs are (operation, size, dtype, number of config)."""

    def __init__(self, run: Campaign, jobs: Iterable[tuple[str, tuple, str, int]], count: int):
        self.jobs, self.lock = iter(list(jobs)), threading.Lock()
        capability = str(run.facts["capability"])
        settings = {"KERNELS_TARGET": capability, "JAX_PLATFORMS": "cpu"}
        self.env, log = {**run.environment, **settings}, run.log.with_name("compilers.log")
        self.ended = threading.Event()
        self.workers = [Worker("kernels.bench.measure", self.env, log) for _ in range(count)]
        self.threads = [
            threading.Thread(target=self._work, args=(w,), daemon=True) for w in self.workers
        ]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """Ends them, whatever they are at."""
        self.ended.set()
        for worker in self.workers:
            worker.close()

    def _work(self, worker: Worker) -> None:
        with suppress(Exception), worker:  # what is not compiled here is compiled when it is timed
            while not self.ended.is_set():
                with self.lock:
                    name, size, dtype, number = next(self.jobs)
                ask = {"do": "compile", "op": name, "size": list(size), "dtype": dtype}
                worker.ask({**ask, "config": number}, LIMIT)


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
    answer = _keep(run, op, size, dtype, choices[best], measured[best])
    run.say(f"tune {op.name} {shape} {dtype}: kept {choices[best]} {answer.get('error', '')}")
    twin = TWINS.get(dtype)
    if twin in op.dtypes and not run.entry(op.name, shape, size, twin).configs:
        _keep(run, op, size, twin, choices[best], measured[best])
    return best > 0 and "error" not in answer


def _keep(run: Campaign, op: Op, size: tuple, dtype: str, choice: Config, ms: float) -> dict:
    """Records a choice among the configs for `dtype`, if it is one of them."""
    numbers = [i for i, other in enumerate(op.configs(size, dtype)) if other == choice]
    job = {"do": "keep", "op": op.name, "size": list(size), "dtype": dtype, "ms": ms}
    return run.ask(run.device(), config=numbers[0], **job) if numbers else {"error": "no such one"}


def _choices(op: Op, size: tuple, dtype: str, entry: Entry) -> tuple:
    try:
        return op.configs(size, dtype)
    except Exception as error:  # an operation that cannot say leaves the others to be tuned
        entry.errors["tuning"] = brief(error)
        return ()
