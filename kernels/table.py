"""Every operation that has a Triton kernel, by name; for the bench, the gate and the tests."""

from kernels import int8
from kernels.op import Op

MODULES = (int8,)
OPS: dict[str, Op] = {op.name: op for module in MODULES for op in module.OPS}
