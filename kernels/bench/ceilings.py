"""What a device can do at most, measured: matrix products, copies, and reads that L2 serves.

Every share of a roofline is of these figures; `report.ASSUMED` stand in where they are missing.
"""

from functools import partial

import jax
import jax.numpy as jnp

from kernels.launch import RefusedError, launch  # isort: skip  (must come before triton)
import triton
import triton.language as tl

from kernels import timing

SIDE = 8192  # of the matrices
COPIED = 2**29  # bytes
RESIDENT = 16 * 2**20  # bytes that stay in L2
PASSES = 32  # over them
PROGRAMS = 2048


def measure(seconds: float = 0.3, *, scale: int = 1) -> dict[str, float | str]:
    """TFLOP/s by dtype, and GB/s of "copy" and "l2"; what fails is a string that says why.

    `scale` divides the sizes, for tests.
    """
    parts = {
        "copy": partial(copying, COPIED // scale, seconds),
        "bfloat16": partial(products, "bfloat16", SIDE // scale, seconds),
        "float16": partial(products, "float16", SIDE // scale, seconds),
        "l2": partial(resident, RESIDENT // scale, seconds),
        "int8": partial(products, "int8", SIDE // scale, seconds),
        "float32": partial(products, "float32", SIDE // 2 // scale, seconds),
    }
    found = {}
    for name, part in parts.items():
        try:
            found[name] = part()
        except Exception as error:  # the others are worth having
            found[name] = f"error: {str(error).partition(chr(10))[0][:200]}"
    return found


def products(dtype: str, side: int, seconds: float) -> float:
    """TFLOP/s of a square matrix product of random values; zeros would draw less power."""
    keys = jax.random.split(jax.random.key(0))
    if dtype == "int8":
        pair = [jax.random.randint(key, (side, side), -100, 100, jnp.int8) for key in keys]
    else:
        pair = [jax.random.normal(key, (side, side), dtype) for key in keys]
    result = {"int8": jnp.int32}.get(dtype)
    precise = "highest" if dtype == "float32" else None

    def run(a, b):
        return jnp.matmul(a, b, preferred_element_type=result, precision=precise)

    took = timing.milliseconds({"gemm": run}, pair, seconds=seconds, copies=1)["gemm"]
    return 2 * side**3 / took.median / 1e9


def copying(size: int, seconds: float) -> float:
    """GB/s of reading and writing so many bytes, once each."""
    x = jax.random.normal(jax.random.key(0), (size // 4,), jnp.float32)
    took = timing.milliseconds({"copy": lambda x: -x}, (x,), seconds=seconds, copies=1)["copy"]
    return 2 * x.nbytes / took.median / 1e6


@triton.jit
def _read(x, y, COUNT: tl.constexpr, PASSES: tl.constexpr, STEP: tl.constexpr, BLOCK: tl.constexpr):
    """Each program reads BLOCK values PASSES times, everywhere in x, past L1; writes their sums."""
    first = tl.program_id(0) * BLOCK
    total = tl.zeros((BLOCK,), tl.float32)
    for i in tl.static_range(PASSES):
        start = tl.multiple_of((first + i * STEP) % COUNT, BLOCK)  # so that loads are 16 bytes wide
        total += tl.load(x + start + tl.arange(0, BLOCK), cache_modifier=".cg")
    tl.store(y + first + tl.arange(0, BLOCK), total)


def resident(size: int, seconds: float) -> float:
    """GB/s of reads that L2 serves: many programs read the same `size` bytes over and over."""
    count, block = size // 4, 1024
    if count % block:
        raise RefusedError(f"{size} bytes: give a multiple of {4 * block}")
    programs = min(PROGRAMS, count // block)
    x = jax.random.normal(jax.random.key(0), (count,), jnp.float32)
    out = jax.ShapeDtypeStruct((programs * block,), jnp.float32)
    step = block * 37 % count  # the next pass of a program reads what another one just read
    sizes = {"COUNT": count, "PASSES": PASSES, "STEP": step, "BLOCK": block}

    def run(x):
        return launch(_read, (programs,), out, x, **sizes)

    took = timing.milliseconds({"l2": run}, (x,), seconds=seconds, copies=1)["l2"]
    return PASSES * programs * block * 4 / took.median / 1e6
