"""Threads stay ordinary where an encoder would make them real-time."""

import contextlib
import os
from pathlib import Path

THREADS = Path("/proc/self/task")  # of Linux


class ordinary:  # noqa: N801  (reads as a word in `with ordinary():`)
    """Takes real-time priority back from every thread that got it within the block.

    Where it may, as root does in a container, SVT-AV1 gives it to its threads and to the one that
    opens the encoder, and leaves it there. What that thread goes on to compute then keeps all
    others off its core, the kernel's included: a process that waited for another hung for good.
    """

    def __enter__(self):
        self._before = _real_time()
        return self

    def __exit__(self, *_):
        for thread in _real_time() - self._before:
            with contextlib.suppress(OSError):  # it has ended
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _real_time() -> set[int]:
    """Threads of this process that ordinary ones wait for."""
    if not THREADS.is_dir():
        return set()
    found = set()
    for thread in map(int, os.listdir(THREADS)):
        with contextlib.suppress(OSError):
            if os.sched_getscheduler(thread) in (os.SCHED_FIFO, os.SCHED_RR):
                found.add(thread)
    return found
