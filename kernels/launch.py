"""Where Triton meets JAX: the only file that knows the interpreter, the compiler and the bridge.

On an NVIDIA GPU a kernel is compiled by Triton while JAX traces the program, and becomes a custom
call of it: XLA's own `triton_kernel_call_ffi`, which CUDA graphs can capture. Anywhere else it
runs in Triton's interpreter on the host: slow, but every kernel can be tested without a GPU.
With KERNELS_TARGET=90 (a compute capability) in the environment kernels are compiled for that
device, whether or not it is there: such a program can be lowered for "cuda", not run.
"""

import os
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import jax
import numpy as np

TARGET = int(os.environ.get("KERNELS_TARGET") or 0)
INTERPRETED = not TARGET and jax.default_backend() != "gpu"
os.environ["TRITON_INTERPRET"] = str(int(INTERPRETED))  # read when Triton is imported

import triton  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

WARP = 32  # threads
NAMES = {
    "float32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "int8": "i8",
    "uint8": "u8",
    "int32": "i32",
}
ONE = threading.Lock()  # the interpreter patches Triton's modules while it runs
MEMORY = None  # what interpreted kernels' arrays lie in; `kernels.guards` sets it
cdiv = triton.cdiv
power_of_2 = triton.next_power_of_2


class RefusedError(ValueError):
    """A kernel cannot do what it is asked; says what it can, or to use impl="xla"."""


@dataclass(frozen=True)
class Compiled:
    """A kernel made for a device: its name, assembly, and what it takes of a multiprocessor.

    `shared` is bytes of shared memory, `registers` and `stack` are per thread; a stack above 0
    means spilled registers. They are counted by `resources`, not while a program is traced.
    """

    name: str
    ptx: str
    cubin: bytes
    warps: int
    shared: int


def launch(
    kernel,
    grid: tuple[int, ...],
    out: jax.ShapeDtypeStruct | Sequence[jax.ShapeDtypeStruct],
    *arrays: jax.Array,
    warps: int = 4,
    stages: int = 1,
    aliases: dict[int, int] | None = None,
    **constants,
):
    """Runs kernel(*arrays, *out, **constants) over `grid`; returns what `out` describes.

    `kernel` is decorated with `triton.jit`; its pointers come first, inputs before outputs, and
    everything else is a constexpr. `aliases` {input: output} says which outputs start as an
    input; the kernel gets both pointers, on a GPU to the same memory, and XLA copies where the
    input is still needed. Outputs that are not aliased start with anything in them.
    """
    outs = (out,) if isinstance(out, jax.ShapeDtypeStruct) else tuple(out)
    pairs = tuple((aliases or {}).items())
    if INTERPRETED:
        run = partial(_interpret, kernel, grid, outs, pairs, constants)
        results = jax.pure_callback(run, outs, *arrays, vmap_method="sequential")
    else:
        dtypes = tuple(str(a.dtype) for a in (*arrays, *outs))
        settings = tuple(sorted(constants.items()))
        made = compiled(kernel, dtypes, settings, warps, stages, capability())
        results = _call(made, grid, outs, pairs, arrays)
    return results[0] if isinstance(out, jax.ShapeDtypeStruct) else tuple(results)


def capability() -> int:
    """The device's compute capability, 90 for an H100 or H200; KERNELS_TARGET if that is set."""
    return TARGET or int(jax.devices("gpu")[0].compute_capability.replace(".", ""))


@cache
def compiled(
    kernel, dtypes: tuple[str, ...], constants: tuple, warps: int, stages: int, capability: int
) -> Compiled:
    """The kernel for pointers of `dtypes`, all at addresses that divide by 16, as XLA's do."""
    names = kernel.arg_names
    pointers = dict(zip(names, (f"*{NAMES[d]}" for d in dtypes), strict=False))
    signature = {name: pointers.get(name, "constexpr") for name in names}
    attributes = {(i,): [["tt.divisibility", 16]] for i in range(len(dtypes))}
    source = ASTSource(kernel, signature, dict(constants), attributes)
    options = {"num_warps": warps, "num_stages": stages}
    made = triton.compile(source, target=GPUTarget("cuda", capability, WARP), options=options)
    facts = made.metadata
    scratch = getattr(facts, "global_scratch_size", 0) or 0
    code = made.asm["ptx"], made.asm["cubin"]
    result = Compiled(facts.name, *code, facts.num_warps, facts.shared)
    if scratch or "trap;" in result.ptx:  # Triton's answer to too much tensor memory is a trap
        lacks = "scratch memory" if scratch else "more tensor memory"
        raise RefusedError(f"{result.name}: needs {lacks} of the device; use impl='xla'")
    RECORD.append(result)
    return result


RECORD: list[Compiled] = []  # every kernel compiled in this process, for `kernels.compiled`


def resources(made: Compiled) -> dict[str, int]:
    """{"registers", "stack", "shared"} of a compiled kernel, counted by NVIDIA's cuobjdump."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.cubin)
        file.flush()
        said = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True)
    if said.returncode:
        raise RuntimeError(f"{tool.name}: {said.stderr.strip()}; install triton anew")
    words = said.stdout.replace(":", " ").split()
    count = lambda word: int(words[words.index(word) + 1])
    return {"registers": count("REG"), "stack": count("STACK"), "shared": made.shared}


def _call(made: Compiled, grid, outs, pairs, arrays):
    """The compiled kernel as a custom call of the program that is being traced."""
    from jaxlib import gpu_triton  # only there with a CUDA plugin

    kernel = gpu_triton.TritonKernel(
        made.name, made.warps, 1, made.shared, made.ptx, "", capability()
    )
    pointers = [gpu_triton.create_array_parameter(0, 16)] * (len(arrays) + len(outs))
    sizes = (*grid, 1, 1)[:3]
    call = gpu_triton.TritonKernelCall(kernel, *sizes, pointers)
    opaque = zlib.compress(call.to_proto(made.name, b""))
    custom = jax.ffi.ffi_call("triton_kernel_call_ffi", outs, input_output_aliases=dict(pairs))
    return custom(*arrays, name=made.name, opaque=opaque)


def _interpret(kernel, grid, outs, pairs, constants, *arrays) -> tuple[np.ndarray, ...]:
    """The kernel run by Triton's interpreter, which reads host memory through torch tensors."""
    results = [np.empty(out.shape, out.dtype) for out in outs]
    inputs = [np.array(a) for a in arrays]
    for result in results:  # what nothing writes must be seen
        result.view(np.uint8).fill(0x7F)
    for i, o in pairs:
        results[o] = inputs[i].copy()
    arrays = [*inputs, *results]
    program = lambda arrays: kernel[grid](*map(_tensor, arrays), **constants)
    with ONE:
        if MEMORY:
            memory = MEMORY(arrays)
            memory.run(program)
            arrays = memory.arrays
        else:
            program(arrays)
    return tuple(arrays[len(inputs) :])


def _tensor(array: np.ndarray):
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
