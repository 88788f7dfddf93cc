"""Every operation that has a Triton kernel, by name; for the bench, the gate and the tests."""

from kernels import correlation, dense, grouped, head, int8, ring, separable, tail, upsampler, warp
from kernels.op import Op

MODULES = (dense, tail, head, upsampler, grouped, separable, warp, correlation, int8, ring)
OPS: dict[str, Op] = {op.name: op for module in MODULES for op in module.OPS}
