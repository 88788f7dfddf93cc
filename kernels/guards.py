"""Memory with guards for the interpreter, so that a test sees what a GPU would not forgive.

On a GPU a read beside an array gives what lies there, and a masked lane without `other` gives
anything; the interpreter's host memory mostly holds what makes the result right. Inside
`guarded()` every array lies between poison, masked lanes without `other` are poison, and what
touches memory outside of the launch's arrays is an error.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from kernels import launch  # isort: skip  (it decides how triton is imported)
from triton.runtime import interpreter

WIDTH = 4096  # bytes of poison on either side
ALIGNED = 16  # bytes; XLA promises no more
ACCESSES = ("create_masked_load", "create_masked_store", "create_atomic_rmw")  # of Triton's
BYTE = 0x7F  # 127 in int8 and uint8, 2139062143 in int32


@contextmanager
def guarded() -> Iterator[None]:
    """Kernels that are interpreted meanwhile, in any thread, run in guarded memory."""
    launch.MEMORY = Guarded
    try:
        yield
    finally:
        launch.MEMORY = None


class Guarded:
    """The arrays of one launch, copied into memory between poison."""

    def __init__(self, arrays: Sequence[np.ndarray]):
        placed = [_placed(array) for array in arrays]
        self.whole = [whole for whole, _ in placed]
        self.arrays = [array for _, array in placed]
        spans = sorted((a.ctypes.data, a.ctypes.data + a.nbytes) for a in self.arrays)
        self.starts, self.ends = np.array(spans, np.uint64).T

    def run(self, kernel) -> None:
        """kernel(arrays) by an interpreter that checks each access; raises for one outside."""
        builder, check = interpreter.InterpreterBuilder, self._check
        real = {name: getattr(builder, name) for name in ACCESSES}

        def load(self_, pointers, mask, other, *rest):
            check("reads", pointers, mask)
            other = _poison(pointers) if other is None else other
            return real["create_masked_load"](self_, pointers, mask, other, *rest)

        def store(self_, pointers, value, mask, *rest):
            check("writes", pointers, mask)
            return real["create_masked_store"](self_, pointers, value, mask, *rest)

        def add(self_, operation, pointers, value, mask, *rest):
            check("writes", pointers, mask)
            return real["create_atomic_rmw"](self_, operation, pointers, value, mask, *rest)

        try:
            for name, access in zip(ACCESSES, (load, store, add), strict=True):
                setattr(builder, name, access)
            kernel(self.arrays)
        finally:
            for name, access in real.items():
                setattr(builder, name, access)

    def _check(self, does: str, pointers, mask) -> None:
        """Whole values must lie in one array each, where the mask is true."""
        first = pointers.data[mask.data.astype(bool)].astype(np.uint64)  # which may be int8
        last = first + np.uint64(pointers.get_element_ty().primitive_bitwidth // 8)
        at = np.searchsorted(self.starts, first, side="right") - 1
        outside = (at < 0) | (last > self.ends[at])
        if outside.any():
            raise IndexError(f"a kernel {does} {outside.sum()} values outside of its arrays")


def _placed(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(all that was allocated, the copy of `array` in it), poison around it."""
    size = WIDTH + -(-array.nbytes // ALIGNED) * ALIGNED + WIDTH
    whole = np.empty(size + ALIGNED, np.uint8)
    whole = whole[-whole.ctypes.data % ALIGNED :][:size]
    whole.view(array.dtype)[:] = _bad(array.dtype)
    inner = whole[WIDTH : WIDTH + array.nbytes].view(array.dtype).reshape(array.shape)
    inner[...] = array
    return whole, inner


def _bad(dtype) -> np.ndarray:
    """NaN, or a large integer."""
    integer = np.issubdtype(dtype, np.integer)
    return np.full(np.dtype(dtype).itemsize, BYTE, np.uint8).view(dtype) if integer else np.nan


def _poison(pointers):
    """What masked lanes get where a kernel does not say it."""
    kind = pointers.get_element_ty()
    dtype = interpreter._get_np_dtype(kind)
    if kind.is_bf16():  # held as bits
        return interpreter.TensorHandle(np.full(pointers.data.shape, 0x7FC0, dtype), kind)
    return interpreter.TensorHandle(np.full(pointers.data.shape, _bad(dtype), dtype), kind)
