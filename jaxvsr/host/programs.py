"""XLA's programs, kept from one command to the next: compiling takes longer than a short film."""

import hashlib
import os
import platform
import re
from importlib.util import find_spec
from pathlib import Path

import jax

from jaxvsr.host.places import cache_folder

MOST = 256 << 20  # bytes of programs; those that were not used for longest make room
WORTH = 0.01  # seconds of compiling from which a program is kept


def keep_programs() -> None:
    """Lets JAX keep what it compiles in the user's cache folder; to be called before it compiles.

    Nothing happens where JAX_COMPILATION_CACHE_DIR names another place, where
    JAX_ENABLE_COMPILATION_CACHE is false, or where the folder cannot be written.
    """
    config = jax.config
    if config.jax_compilation_cache_dir or not config.jax_enable_compilation_cache:
        return
    folder = cache_folder() / "programs" / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK) or find_spec("filelock") is None:  # which bounds it
        return
    config.update("jax_compilation_cache_dir", str(folder))
    config.update("jax_compilation_cache_max_size", MOST)
    config.update("jax_persistent_cache_min_compile_time_secs", WORTH)


def _processor() -> str:
    """What tells apart processors that cannot run each other's programs, in a shared home."""
    facts = platform.machine() + platform.processor()
    cpus = Path("/proc/cpuinfo")
    if cpus.is_file():
        found = re.search(r"^(?:flags|Features)\s*:.*$", cpus.read_text(), re.MULTILINE)
        facts += found[0] if found else ""
    return hashlib.sha256(facts.encode()).hexdigest()[:8]
