"""The cores of a CPU as devices of JAX, for work that XLA does on one core at a time."""

import os
from contextlib import suppress

import jax

MOST = 8  # devices that are shown where nobody says how many
FLAG = "xla_force_host_platform_device_count"


def usable() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def show(count: int | None = None) -> None:
    """Lets JAX show `count` CPU devices, by default one a core; call it before JAX computes.

    Nothing happens where it has begun, or where XLA_FLAGS or JAX_NUM_CPU_DEVICES say how many.
    """
    if FLAG in os.environ.get("XLA_FLAGS", "") or os.environ.get("JAX_NUM_CPU_DEVICES"):
        return
    with suppress(RuntimeError):  # it has begun
        jax.config.update("jax_num_cpu_devices", count or min(usable(), MOST))
