"""Before JAX starts: a compilation cache, four CPU devices, checked signatures. Then: data."""

import dataclasses
import gc
import os
import sys
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from beartype import BeartypeConf, beartype

ROOT = Path(__file__).parent.parent

# Compiling is most of the time of a test run, and small programs are most of that; XLA's programs
# are kept for the other processes, and between runs.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
FLAGS = "--xla_force_host_platform_device_count=4"
# What is compiled here runs once, on little: XLA's passes for speed cost more than they save.
PLAINLY = " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

# A callback, as Triton's interpreter is here, that asks JAX for an array while its program runs
# asynchronously may wait for a thread that waits for it (jax-ml/jax issue 25861).
import jax  # noqa: E402  (it reads the environment above)

jax.config.update("jax_cpu_enable_async_dispatch", False)

# Signatures are checked while the tests run. An int may stand for a float, numpy for JAX.
# `metrics` is left out: its own error for shapes that differ is tested.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
jaxtyping.Array = jaxtyping.Array | np.ndarray
PARTS = {path.relative_to(ROOT).parts[1] for path in ROOT.glob("jaxvsr/**/*.py")} - {"metrics"}
STRICT = [f"jaxvsr.{part.removesuffix('.py')}" for part in sorted(PARTS)]
jaxtyping.install_import_hook(STRICT, "conftest.checked")


def pytest_configure(config):
    """Sets XLA's flags before its backend starts; on a GPU programs are compiled as for users."""
    on_gpu = config.option.markexpr == "gpu"
    flags = [os.environ.get("XLA_FLAGS", ""), FLAGS, "" if on_gpu else PLAINLY]
    os.environ["XLA_FLAGS"] = " ".join(filter(None, flags))


def pytest_collection_finish():
    """Python's collector looks at what JAX traces again and again, and most of it stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    without_checks_of_overflow()


def without_checks_of_overflow():
    """Spares Triton's interpreter a third of its time: on tiny images 32 bits are enough."""
    if interpreter := sys.modules.get("triton.runtime.interpreter"):
        builder = interpreter.interpreter_builder
        builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items):
    """Marks as sweeps what `sampled` leaves out."""
    groups: dict = {}
    for item in items:
        if item.get_closest_marker("sampled"):
            groups.setdefault((item.path, item.originalname), []).append(item)
    for group in groups.values():
        count = group[0].get_closest_marker("sampled").args
        kept = group[: count[0]] if count else shown_once(group)
        for item in group:
            if item not in kept:
                item.add_marker("sweep")


def shown_once(items: list) -> list:
    """As few items as show each value of each parameter, by taking whichever shows most anew."""
    shown = lambda item: {(name, id(value)) for name, value in item.callspec.params.items()}
    values = {id(item): shown(item) for item in items}
    left, kept = set().union(*values.values()), []
    while left:
        kept.append(max(items, key=lambda item: len(values[id(item)] & left)))
        left -= values[id(kept[-1])]
    return kept


@pytest.fixture(autouse=True)
def ordinary():
    """No test leaves this thread at a priority that starves the others; see `video.priority`."""
    yield
    if hasattr(os, "sched_getscheduler"):  # elsewhere than on Linux there is none
        assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of clips, weights and expected values, which is not part of the project."""
    path = Path(os.environ.get("JAXVSR_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no shared data at {path}; set JAXVSR_DATA")
    return path


@pytest.fixture(scope="session")
def films(tmp_path_factory) -> Path:
    """Five small films in a folder, to be read alone."""
    import media

    folder = tmp_path_factory.mktemp("films")
    for name in ("ant", "bee", "cat", "dog", "eel"):
        media.film(folder / f"{name}.mp4", media.Picture(frames=6, width=192, height=128))
    return folder
