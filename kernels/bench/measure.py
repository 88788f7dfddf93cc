"""What a process that has the device does for the bench: `python -m kernels.bench.measure`.

A job says what to `do`, and the operation, shape and dtype to do it with; see `JOBS`.
"""

import math
import platform
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version

import jax
import jax.numpy as jnp

from kernels import launch, timing, tuning
from kernels.bench import ceilings
from kernels.bench.workers import brief, serve
from kernels.op import Op

PACKAGES = ("jax", "jaxlib", "triton", "torch", "nvidia-cudnn-cu13", "nvidia-cudnn-cu12", "flax")
FAR = 0.05  # relative error beyond which a baseline is not the same operation


def facts(_: dict) -> dict:
    """The device and what runs on it."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "capability": 0 if launch.INTERPRETED else launch.capability(),
        "runtime": getattr(device.client, "platform_version", "").replace("\n", " ")[:100],
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def row(job: dict) -> dict:
    """Errors against float64, then milliseconds: {"times", "errors", "relerr", "truth", ...}.

    `names` are the implementations to take, all if missing; without `seconds` nothing is timed,
    and with `unchecked` results are not compared.
    An implementation that fails, or a kernel that passes its tolerance, is an error and no time.
    """
    op, shape, dtype = _subject(job)
    arrays = _arrays(op.name, shape, dtype)
    truth, kind = (None, "") if job.get("unchecked") else _truth(op.name, shape, dtype)
    runs = {"triton": op.ours, "xla": op.definition}
    runs |= {f"xla {name}": run for name, run in op.baselines.items()}
    runs = {name: run for name, run in runs.items() if name in job.get("names", runs)}
    errors, relerr, good = {}, {}, {}
    for name, run in runs.items():
        try:
            gap = relerr[name] = gap_of(run, arrays, truth, dtype)
            limit = op.tolerance[dtype] if name == "triton" else FAR
            if gap <= limit:
                good[name] = jax.jit(run)
            else:
                errors[name] = f"wrong: relative error {gap:.2g}, allowed {limit:.2g}"
        except Exception as error:
            errors[name] = brief(error)
    times = {}
    if good and job.get("seconds"):
        times = _timed(good, arrays, dtype, job["seconds"], errors)
    said = {"flops": op.flops(shape), "bytes": op.bytes(shape, jnp.dtype(dtype).itemsize)}
    checked = relerr if truth is not None else {}
    relerr = {name: gap if math.isfinite(gap) else None for name, gap in checked.items()}
    return {"times": times, "errors": errors, "relerr": relerr, "truth": kind, **said}


def config(job: dict) -> dict:
    """Milliseconds of the operation's config number `config`: {"config", "times", "relerr"}."""
    op, shape, dtype = _subject(job)
    arrays, (truth, _) = _arrays(op.name, shape, dtype), _truth(op.name, shape, dtype)
    choice = op.configs(shape, dtype)[job["config"]]
    run = partial(op.ours, config=choice)
    gap = gap_of(run, arrays, truth, dtype)
    if not gap <= op.tolerance[dtype]:
        return {"config": str(choice), "error": f"wrong: relative error {gap:.2g}"}
    with _precise(dtype):
        took = timing.milliseconds({"triton": jax.jit(run)}, arrays, seconds=job["seconds"])
    return {"config": str(choice), "times": _listed(took), "relerr": gap}


def keep(job: dict) -> dict:
    """Records config number `config` at `ms` for whatever the operation asks `tuning` about."""
    op, shape, dtype = _subject(job)
    choice = op.configs(shape, dtype)[job["config"]]
    asked = heard(op, shape, dtype)
    for name, arrays in asked:
        tuning.record(name, arrays, choice, job["ms"])
    return {"config": str(choice), "keys": [name for name, _ in asked]}


def compile_only(job: dict) -> dict:
    """Fills Triton's cache with the kernels of one config; needs KERNELS_TARGET and no GPU."""
    op, shape, dtype = _subject(job)
    choice = op.configs(shape, dtype)[job["config"]]
    jax.eval_shape(partial(op.ours, config=choice), *_shapes(op, shape, dtype))
    return {"kernels": len(launch.RECORD)}


def measured_ceilings(job: dict) -> dict:
    """See `ceilings.measure`."""
    return ceilings.measure(job["seconds"])


def heard(op: Op, shape, dtype: str) -> list[tuple[str, tuple]]:
    """(kernel, arrays) of every question that the operation asks `tuning.pick`."""
    asked, real = [], tuning._key

    def listen(name, arrays):
        asked.append((name, tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays)))
        return real(name, arrays)

    jax.clear_caches()  # else a program that was traced before asks nothing
    tuning._key = listen
    try:
        jax.eval_shape(op.ours, *_shapes(op, shape, dtype))
    finally:
        tuning._key = real
    return list(dict.fromkeys(asked))


def exact(op: Op, arrays) -> tuple:
    """(the definition's result, "float64" or what it was computed in where that cannot be)."""
    try:
        with jax.enable_x64(True):
            wide = [_cast(array, "float64") for array in arrays]
            return jax.block_until_ready(jax.jit(op.definition)(*wide)), "float64"
    except Exception:  # cuDNN may have no such convolution, or memory may end
        with jax.default_matmul_precision("highest"):
            wide = [_cast(array, "float32") for array in arrays]
            return jax.block_until_ready(jax.jit(op.definition)(*wide)), "float32"


def apart(result, truth) -> float:
    """||result - truth|| / ||truth|| over all outputs, in float64; infinite where not finite."""
    with jax.enable_x64(True):
        pairs = list(zip(jax.tree.leaves(result), jax.tree.leaves(truth), strict=True))
        wide = [(_wide(a), _wide(b)) for a, b in pairs]
        gap = sum(float(jnp.sum(jnp.square(a - b))) for a, b in wide)
        size = sum(float(jnp.sum(jnp.square(b))) for _, b in wide)
    return math.sqrt(gap / max(size, 1e-300)) if math.isfinite(gap) else math.inf


def gap_of(run: Callable, arrays, truth, dtype: str) -> float:
    """`apart` of what `run` makes, in memory that was poisoned before; 0 without a truth."""
    with _precise(dtype):
        program = jax.jit(run).lower(*arrays).compile()
        poison(program.out_info)
        result = jax.block_until_ready(program(*arrays))
    return 0.0 if truth is None else apart(result, truth)


def poison(shapes) -> None:
    """Leaves NaN, or 127, where the allocator will put results of such shapes next."""
    filled = [jnp.full(s.shape, _poison(s.dtype), s.dtype) for s in jax.tree.leaves(shapes)]
    jax.block_until_ready(filled)


def _timed(good: dict, arrays, dtype: str, seconds: float, errors: dict) -> dict:
    """All in turns; if that fails each alone, so that those which work have their time."""
    with _precise(dtype):
        try:
            return _listed(timing.milliseconds(good, arrays, seconds=seconds))
        except Exception:
            times = {}
        for name, run in good.items():
            try:
                times |= _listed(timing.milliseconds({name: run}, arrays, seconds=seconds))
            except Exception as error:
                errors[name] = brief(error)
        return times


@lru_cache(1)
def _arrays(name: str, shape, dtype: str) -> tuple:
    from kernels.table import OPS

    kind = "rbg" if launch.INTERPRETED else None  # on a CPU the usual one compiles for seconds
    return OPS[name].example(jax.random.key(0, impl=kind), shape, dtype)


@lru_cache(1)
def _truth(name: str, shape, dtype: str) -> tuple:
    from kernels.table import OPS

    return exact(OPS[name], _arrays(name, shape, dtype))


def _subject(job: dict) -> tuple[Op, tuple, str]:
    from kernels.table import OPS

    return OPS[job["op"]], tuple(job["size"]), job["dtype"]


def _shapes(op: Op, shape, dtype: str):
    return jax.eval_shape(lambda key: op.example(key, shape, dtype), jax.random.key(0))


def _listed(took: dict) -> dict[str, list[float]]:
    return {name: [t.median, t.p20, t.p80] for name, t in took.items()}


def _precise(dtype: str):
    """Kernels multiply float32 as it is, so XLA may not round it to TensorFloat-32 either."""
    return jax.default_matmul_precision("highest") if dtype == "float32" else nullcontext()


def _cast(array, dtype: str):
    floating = hasattr(array, "dtype") and jnp.issubdtype(array.dtype, jnp.floating)
    return array.astype(dtype) if floating else array


def _wide(array):
    return jnp.asarray(array).astype(jnp.float64)


def _poison(dtype):
    return jnp.nan if jnp.issubdtype(dtype, jnp.floating) else 127


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


JOBS = {
    "facts": facts,
    "ceilings": measured_ceilings,
    "row": row,
    "config": config,
    "keep": keep,
    "compile": compile_only,
}

if __name__ == "__main__":
    serve(lambda job: JOBS[job["do"]](job), lambda: jax.block_until_ready(jnp.ones(8) + 1))
