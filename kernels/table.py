"""Every operation that has a Triton kernel, by name; for the bench, the gate and the tests."""

from kernels import correlation, grouped, head, int8, tail, upsampler, warp
from kernels.op import Op

MODULES = (tail, head, upsampler, grouped, warp, correlation, int8)
OPS: dict[str, Op] = {op.name: op for module in MODULES for op in module.OPS}
