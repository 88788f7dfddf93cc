"""Kernels touch no memory but their arrays', and use no lane that a mask has left undefined."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

launch = pytest.importorskip("kernels.launch")  # before anything that imports triton
pytest.importorskip("torch")
import triton  # noqa: E402
import triton.language as tl  # noqa: E402

from kernels import guards  # noqa: E402
from kernels.bench import measure  # noqa: E402
from kernels.table import OPS  # noqa: E402

FAULTY = ("head", "head_9x9", "int8_conv3x3")  # whose results on a GPU were in doubt
MORE = {"head": [(1, 4, 5, 3)], "head_9x9": [(1, 9, 16, 3)], "int8_conv3x3": [(1, 4, 5, 1)]}


@triton.jit
def _shifted(x, y, COUNT: tl.constexpr, FROM: tl.constexpr, TO: tl.constexpr):
    at = tl.arange(0, 16)
    tl.store(y + TO + at, tl.load(x + FROM + at, mask=at < COUNT), mask=at < COUNT)


@triton.jit
def _unmasked(x, y, COUNT: tl.constexpr):
    at = tl.arange(0, 16)
    tl.store(y + at, tl.load(x + at, mask=at < COUNT))


@triton.jit
def _added(x, y, TO: tl.constexpr):
    at = tl.arange(0, 16)
    tl.atomic_add(y + TO + at, tl.load(x + at))


def shifted(x, **constants):
    out = jax.ShapeDtypeStruct(x.shape, x.dtype)
    with guards.guarded():
        return np.asarray(launch.launch(_shifted, (1,), out, x, COUNT=x.size, **constants))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8", "uint8", "int32"])
def test_a_kernel_within_its_arrays_is_as_ever(dtype):
    x = jnp.arange(13).astype(dtype)
    np.testing.assert_array_equal(shifted(x, FROM=0, TO=0), x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("start", [-1, 1])
def test_a_value_outside_is_an_error(start):
    x = jnp.arange(13, dtype=jnp.int8)
    with pytest.raises(Exception, match="reads 1 values outside"):
        shifted(x, FROM=start, TO=0)
    with pytest.raises(Exception, match="writes 1 values outside"):
        shifted(x, FROM=0, TO=start)
    assert launch.MEMORY is None


@pytest.mark.filterwarnings("ignore")
def test_atomic_additions_outside_are_an_error():
    x = jnp.ones(16)
    with pytest.raises(Exception, match="writes 4 values outside"), guards.guarded():
        jax.block_until_ready(
            launch.launch(_added, (1,), jax.ShapeDtypeStruct(x.shape, x.dtype), x, TO=4)
        )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8"])
def test_masked_lanes_without_a_value_are_poison(dtype):
    x = jnp.ones(16, dtype)
    out = jax.ShapeDtypeStruct(x.shape, x.dtype)
    with guards.guarded():
        y = np.asarray(launch.launch(_unmasked, (1,), out, x, COUNT=10), np.float64)
    assert (y[:10] == 1).all()
    assert (y[10:] == 127).all() if dtype == "int8" else np.isnan(y[10:]).all()


def test_arrays_lie_where_xla_promises_and_no_better():
    memory = guards.Guarded([np.arange(5, dtype=np.int8), np.ones((3, 3))])
    for array, whole in zip(memory.arrays, memory.whole, strict=True):
        assert array.ctypes.data % guards.ALIGNED == 0
        assert whole.size >= array.nbytes + 2 * guards.WIDTH


def right_by_every_config(name: str, shape) -> None:
    """Against the definition in float64; warps and stages change nothing in the interpreter."""
    op, dtype = OPS[name], OPS[name].dtypes[0]
    arrays = op.example(jax.random.key(1), shape, dtype)
    truth, _ = measure.exact(op, arrays)
    for choice in {c.constants: c for c in op.configs(shape, dtype)}.values():
        with guards.guarded():
            made = jax.block_until_ready(op.ours(*arrays, config=choice))
        assert measure.apart(made, truth) <= op.tolerance[dtype], choice


SHAPES = {name: (*OPS[name].small, *MORE[name]) for name in FAULTY}
MOST = max(map(len, SHAPES.values()))
SMALL = [(name, s) for i in range(MOST) for name in FAULTY for s in SHAPES[name][i : i + 1]]
OTHERS = [(name, shape) for name in OPS if name not in FAULTY for shape in OPS[name].small]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name, shape", SMALL)
def test_kernels_that_were_in_doubt(name, shape):
    right_by_every_config(name, shape)


@pytest.mark.sweep
@pytest.mark.parametrize("name, shape", OTHERS)
def test_all_other_kernels(name, shape):
    right_by_every_config(name, shape)
