"""XLA or Triton, for one operation on one device: measured once, then remembered.

`impl="auto"` asks here while a program is traced. Both are run on random arrays of the shapes at
hand, in turn, and the answer is kept by `kernels.store`, so a program is measured only on its
first day. A kernel has to be faster by MARGIN: what cannot be told apart stays with XLA.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from kernels import launch, store

MARGIN = 0.97  # of XLA's time
SECONDS = 0.2  # that a measurement may take for each of the two


def faster(name: str, ours: Callable, plain: Callable, arrays: Sequence) -> bool:
    """True where the kernel `ours(*arrays)` beats `plain(*arrays)` on this device.

    `arrays` need only shapes and dtypes; `name` says what else the two depend on. False without
    a GPU, and where the kernel refuses, does not compile, or differs from `plain`.
    """
    if launch.INTERPRETED or launch.TARGET:
        return False
    key = f"{store.device()} | chosen {name} | {store.shapes(arrays)}"
    known = store.load().get(key)
    if known is None:
        with jax.ensure_compile_time_eval():
            known = _measured(ours, plain, arrays)
        store.save(key, known)
    return known.get("triton", float("inf")) < MARGIN * known.get("xla", 0.0)


def _measured(ours: Callable, plain: Callable, arrays: Sequence) -> dict:
    """{"xla": ms, "triton": ms}, or {"refused": why}."""
    from kernels import timing

    inputs = [_random(i, array) for i, array in enumerate(arrays)]
    try:
        fast, slow = jax.jit(ours), jax.jit(plain)
        if (gap := _gap(fast(*inputs), slow(*inputs))) > 0.05:
            return {"refused": f"results differ by {gap:.2g}"}
        took = timing.milliseconds({"xla": slow, "triton": fast}, inputs, seconds=SECONDS)
        return {way: time.median for way, time in took.items()}
    except Exception as error:
        # A kernel that fails in any way must not fail the program: XLA's always works.
        return {"refused": str(error).partition("\n")[0][:200]}


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
