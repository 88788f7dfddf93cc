"""Every operation that has a Triton kernel, by name; for the bench, the gate and the tests."""

from kernels import (
    conv3x3,
    correlation,
    deform,
    dense,
    grouped,
    head,
    int8,
    ring,
    separable,
    tail,
    upsampler,
    warp,
    winograd,
)
from kernels.op import Op

# In the order of the bench.
MODULES = (
    conv3x3,
    dense,
    winograd,
    tail,
    head,
    upsampler,
    grouped,
    separable,
    warp,
    deform,
    correlation,
    int8,
    ring,
)
OPS: dict[str, Op] = {op.name: op for module in MODULES for op in module.OPS}
