"""Threads stay ordinary where an encoder would make them real-time."""

import contextlib
import ctypes
import os
import sys
from pathlib import Path

THREADS = Path("/proc/self/task")  # of Linux
VERSION, NICE = 0x20080522, 1 << 23  # capabilities(7): the format of today, CAP_SYS_NICE


class ordinary:  # noqa: N801  (reads as a word in `with ordinary():`)
    """Nothing that this thread calls within the block can make a thread real-time.

    Where it may, as root does in a container, SVT-AV1 does so to its threads and to the one that
    opens the encoder, and leaves it so. What that thread goes on to compute then keeps all others
    off its core, the kernel's included: a process that waited for another hung for good. So the
    thread lacks the privilege meanwhile, as threads that it begins do for ever; what became
    real-time all the same is taken back.
    """

    def __enter__(self):
        self._before = _is_real_time(0)
        self._lent = _privilege(held=False)
        return self

    def __exit__(self, *_):
        if self._lent:
            _privilege(held=True)
        if _is_real_time(0) and not self._before:
            for thread in _real_time():
                with contextlib.suppress(OSError):  # it has ended
                    os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _privilege(*, held: bool) -> bool:
    """Gives or takes this thread's privilege to make threads real-time; True if that changed it."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    header = lambda: (ctypes.c_uint32 * 2)(VERSION, 0)  # 0: the calling thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    if libc.capget(header(), sets) or bool(sets[0] & NICE) == held:
        return False
    sets[0] ^= NICE
    return libc.capset(header(), sets) == 0


def _is_real_time(thread: int) -> bool:
    """Whether ordinary threads wait for this one; 0 is the calling thread."""
    known = hasattr(os, "sched_getscheduler")
    return known and os.sched_getscheduler(thread) in (os.SCHED_FIFO, os.SCHED_RR)


def _real_time() -> set[int]:
    """The threads of this process that are."""
    found = set()
    for thread in map(int, os.listdir(THREADS)):
        with contextlib.suppress(OSError):
            if _is_real_time(thread):
                found.add(thread)
    return found
