"""A word to the C library's allocator, for a process that asks for the same memory every frame."""

import ctypes
import sys
from contextlib import suppress

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # glibc's malloc.h
PLENTY = (1 << 31) - 1


def keep_memory() -> None:
    """Freed memory stays with the process. Where the C library is not glibc nothing happens.

    glibc gives blocks of more than 32 MiB back to the system at once, and the system clears every
    page when they are asked for again: with large frames this takes as long as the arithmetic.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_MAX, 0)
        libc.mallopt(TRIM_THRESHOLD, PLENTY)
