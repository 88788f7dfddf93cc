"""A word to the C library's allocator, for a process that asks for the same memory every frame."""

import ctypes
import sys
from contextlib import suppress

TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8  # glibc's malloc.h
PLENTY = (1 << 31) - 1


def keep_memory() -> None:
    """Freed memory stays with the process, in one place for all threads; to be called early.

    glibc gives blocks of more than 32 MiB back to the system at once, and a thread's own arena
    never holds one of 64 MiB; the system clears every page when they are asked for again. With
    1080p that takes as long as the arithmetic. Where the C library is not glibc nothing happens.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for option, value in ((ARENA_MAX, 1), (MMAP_MAX, 0), (TRIM_THRESHOLD, PLENTY)):
            libc.mallopt(option, value)
