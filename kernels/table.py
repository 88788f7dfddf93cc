"""Every operation that has a Triton kernel, by name: for the bench, the compiler's gate, the tests."""

from importlib import import_module
from importlib.util import find_spec

from kernels.op import Op

MODULES = ("conv3x3", "dense", "winograd", "tail", "head", "upsampler", "grouped", "separable")
MODULES += ("warp", "deform", "correlation", "int8", "ring")


def _collect() -> dict[str, Op]:
    found = {}
    for module in MODULES:
        if find_spec(f"kernels.{module}") is None:
            continue
        for op in import_module(f"kernels.{module}").OPS:
            if op.name in found:
                raise ValueError(f"two operations named {op.name!r}; rename that of {module}")
            found[op.name] = op
    return found


OPS = _collect()
