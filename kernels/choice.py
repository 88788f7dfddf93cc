"""XLA or a kernel, and which, for one operation on one device: measured once, then remembered.

`impl="auto"` asks here while a program is traced. All are run on random arrays of the shapes at
hand, in turn, and the answer is kept by `kernels.store`, so a program is measured only on its
first day. A kernel has to be faster by MARGIN: what cannot be told apart stays with XLA.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from kernels import launch, store

MARGIN = 0.97  # of XLA's time
SECONDS = 0.2  # that a measurement may take for each way
APART = 0.05  # relative difference from XLA's result beyond which a kernel is out


def fastest(name: str, ways: Mapping[str, Callable], plain: Callable, arrays: Sequence) -> str:
    """Which of the kernels `ways`, by name, is the fastest for `arrays` here, or "xla".

    `plain` is XLA's; `arrays` need only shapes and dtypes; `name` says what else all depend on.
    "xla" without a GPU. A kernel that refuses, does not compile, or differs from `plain` is out.
    Where measuring itself fails, for want of memory say, it is "xla" too, and nothing is kept.
    """
    if launch.INTERPRETED or launch.TARGET:
        return "xla"
    key = f"{store.device()} | chosen {name} | {store.shapes(arrays)}"
    known = store.load().get(key)
    if known is None or not ways.keys() <= known["ms"].keys() | known["refused"].keys():
        try:
            with jax.ensure_compile_time_eval():
                known = measured(ways, plain, arrays)
        except Exception:
            # Measuring holds inputs and results of its own; the program alone may yet fit.
            return "xla"
        store.save(key, known)
    times = {way: ms for way, ms in known["ms"].items() if way in ways}
    best = min(times, key=times.get, default="xla")
    return best if best != "xla" and times[best] < MARGIN * known["ms"]["xla"] else "xla"


def measured(ways: Mapping[str, Callable], plain: Callable, arrays: Sequence) -> dict:
    """{"ms": {"xla": ..., and each way that runs}, "refused": {each other way: why}}."""
    inputs = [_random(i, array) for i, array in enumerate(arrays)]
    runs, refused = {"xla": jax.jit(plain)}, {}
    wanted = runs["xla"](*inputs)
    for way, ours in ways.items():
        run = jax.jit(ours)
        try:
            gap = _gap(run(*inputs), wanted)
        except Exception as error:
            # A kernel that fails in any way must not fail the program: XLA's always works.
            refused[way] = str(error).partition("\n")[0][:200]
            continue
        if gap <= APART:
            runs[way] = run
        else:  # a result that is not a number is apart too
            refused[way] = f"results differ by {gap:.2g}"
    return {"ms": _times(runs, inputs) if len(runs) > 1 else {}, "refused": refused}


def _times(runs: Mapping[str, Callable], inputs: list) -> dict[str, float]:
    from kernels import timing

    took = timing.milliseconds(runs, inputs, seconds=SECONDS)
    return {way: time.median for way, time in took.items()}


def _gap(a, b) -> float:
    """||a - b|| / ||b|| over all outputs."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    pairs = [(x.astype(jnp.float32), y.astype(jnp.float32)) for x, y in leaves]
    apart = sum(float(jnp.sum((x - y) ** 2)) for x, y in pairs)
    size = sum(float(jnp.sum(y**2)) for _, y in pairs)
    return (apart / max(size, 1e-30)) ** 0.5


def _random(seed: int, array) -> jax.Array | None:
    if array is None:
        return None
    key = jax.random.key(seed)
    if jnp.issubdtype(array.dtype, jnp.floating):
        return 0.1 * jax.random.normal(key, array.shape, array.dtype)
    return jax.random.randint(key, array.shape, 0, 100).astype(array.dtype)
