"""Every kernel on an NVIDIA GPU, against its definition: `make test-gpu`.

Needs nothing but JAX, Triton and pytest, so it also runs alone, as
`pytest --noconftest -m gpu tests/test_gpu_kernels.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

launch = pytest.importorskip("kernels.launch")  # before anything that imports triton
import triton  # noqa: E402
import triton.language as tl  # noqa: E402

from kernels import timing  # noqa: E402
from kernels.bench import ceilings, measure  # noqa: E402
from kernels.table import OPS  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]
FLOATS = [name for name, op in OPS.items() if "float32" in op.dtypes]
NETWORKS = ("sr_unet", "srgan", "anime6b")


@pytest.fixture(autouse=True)
def gpu():
    if jax.default_backend() != "gpu":
        pytest.fail("no GPU that JAX can use; install jax[cuda13] or leave this target alone")


@triton.jit
def _double(x, y, COUNT: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < COUNT)
    tl.store(y + at, value + value, mask=at < COUNT)


def doubled(x, **options):
    out = jax.ShapeDtypeStruct(x.shape, x.dtype)
    grid = (launch.cdiv(x.size, 256),)
    return launch.launch(_double, grid, out, x, COUNT=x.size, BLOCK=256, **options)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "int32"])
def test_a_kernel_runs_inside_an_xla_program(dtype):
    x = jnp.arange(1000).astype(dtype) % 50
    np.testing.assert_array_equal(jax.jit(lambda x: doubled(x + 1) + 1)(x), 2 * (x + 1) + 1)


def test_an_alias_leaves_the_input_as_it_was():
    x = jnp.arange(1000.0)
    both = jax.jit(lambda x: (doubled(x, aliases={0: 0}), x))(x)
    np.testing.assert_array_equal(both[0], 2 * np.arange(1000.0))
    np.testing.assert_array_equal(both[1], np.arange(1000.0))


def test_a_kernel_runs_many_times_in_a_loop():
    """As CUDA graphs and the bench run it."""
    result = jax.jit(lambda x: jax.lax.fori_loop(0, 20, lambda _, x: doubled(x), x))(jnp.ones(999))
    np.testing.assert_array_equal(result, 2.0**20)


def test_ceilings_are_plausible():
    found = ceilings.measure(0.05, scale=4)
    assert all(isinstance(value, float) for value in found.values()), found
    assert found["bfloat16"] > 50 and found["copy"] > 200 and found["l2"] > found["copy"] / 2


def test_timing_is_of_the_device():
    x = jax.random.normal(jax.random.key(0), (4096, 4096), jnp.bfloat16)
    runs = {"one": lambda x: x @ x, "two": lambda x: x @ (x @ x)}
    took = timing.milliseconds(runs, (x,), seconds=0.1)
    assert 1.5 < took["two"].median / took["one"].median < 3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "int8"])
@pytest.mark.parametrize("name", OPS)
def test_a_frame_of_the_bench(name, dtype):
    op = OPS[name]
    if dtype not in op.dtypes:
        pytest.skip(f"{name} is not for {dtype}")
    size = next(iter(op.shapes.values()))
    found = measure.row({"op": name, "size": size, "dtype": dtype, "names": ["triton"]})
    assert not found["errors"] and found["relerr"]["triton"] <= op.tolerance[dtype]


@pytest.mark.parametrize("name", OPS)
def test_every_config_at_odd_sizes(name):
    op, faults = OPS[name], []
    for shape in op.small:
        arrays = op.example(jax.random.key(1), shape, op.dtypes[0])
        with jax.default_device(jax.devices("cpu")[0]):  # so that no fault of the GPU's is truth
            truth, _ = measure.exact(op, jax.tree.map(np.asarray, arrays))
        truth = jax.tree.map(np.asarray, truth)
        for config in op.configs(shape, op.dtypes[0]):
            run = lambda *arrays, config=config: op.ours(*arrays, config=config)
            gap = measure.gap_of(run, arrays, truth, op.dtypes[0])
            if not gap <= op.tolerance[op.dtypes[0]]:
                where = places(jax.jit(run)(*arrays), truth)
                faults.append(f"{shape} {config}: {gap:.2g}, again {where}")
    assert not faults, "\n".join(faults)


def places(made, truth) -> str:
    """Which of the first result's values are far off, axis by axis: for whoever mends it."""
    made, truth = (np.asarray(jax.tree.leaves(x)[0], np.float64) for x in (made, truth))
    wrong = ~(np.abs(made - truth) <= 0.05 * np.abs(truth).max())
    axes = [np.unique(at).tolist() for at in np.nonzero(wrong)]
    return f"{wrong.sum()} of {wrong.size} wrong: " + ", ".join(f"{a[:3]}..{a[-3:]}" for a in axes)


@pytest.mark.parametrize("name", FLOATS)
def test_gradients_are_those_of_the_definition(name):
    op = OPS[name]
    arrays = op.example(jax.random.key(2), op.small[0], "float32")
    floats = [i for i, a in enumerate(arrays) if jnp.issubdtype(a.dtype, jnp.floating)]
    if not jnp.issubdtype(jax.eval_shape(op.definition, *arrays).dtype, jnp.floating):
        pytest.skip("bytes have no gradient")
    with jax.default_matmul_precision("highest"):
        ours, truth = (
            jax.jit(jax.grad(lambda *a, f=f: (f(*a) ** 2).sum(), floats))(*arrays)
            for f in (op.ours, op.definition)
        )
    assert measure.apart(ours, truth) < 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_the_same_by_kernels(name):
    networks = pytest.importorskip("tools.bench_networks")
    errors = {}
    for impl in ("xla", "triton"):
        job = {"network": name, "impl": impl, "size": (1, 40, 56, 3), "dtype": "bfloat16"}
        errors |= networks.row(job)["relerr"]
    assert errors["triton"] < max(2 * errors["xla"], 1e-2), errors
