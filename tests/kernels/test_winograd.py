"""Winograd convolutions: the algebra is exact, the kernel computes it, and what rounding costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("kernels.launch")  # before triton
torch = pytest.importorskip("torch")
from kernels import launch  # noqa: E402
from kernels import winograd_algebra as algebra  # noqa: E402
from kernels.op import config  # noqa: E402
from kernels.winograd import OPS, configs, definition, winograd3x3  # noqa: E402

OP = OPS[0]
WAYS = (algebra.F23, algebra.F43, algebra.F43_NEAR, algebra.filtering(0, 1))
TINY = dict(BC=16, BK=16, TOGETHER=1)
STREAMED = config(4, 1, ROWS=4, PAIRS=4, STAY=0, **TINY)
RESIDENT = config(4, 1, ROWS=2, PAIRS=4, STAY=3, **TINY)
KEYS = jax.random.split(jax.random.key(0), 8)


@pytest.fixture(scope="module", autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def normal(i: int, *shape: int, dtype: str = "float64"):
    return jax.random.normal(KEYS[i], shape, "float64").astype(dtype)


def gap(ours, truth) -> float:
    """||ours - truth|| / ||truth||."""
    truth = np.asarray(truth, "float64")
    return float(np.linalg.norm(np.asarray(ours, "float64") - truth) / np.linalg.norm(truth))


def exact(tree):
    return jax.tree.map(lambda a: a.astype("float64"), tree)


def torch_conv(x, w, b=None):
    """PyTorch's convolution in float64; NHWC in and out."""
    x, w, b = (None if a is None else torch.from_numpy(np.array(a, "float64")) for a in (x, w, b))
    y = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), b, padding=1)
    return y.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"F({way.m},3)")
def test_products_of_sums_are_the_filter(way):
    for tap, seen in np.ndindex(3, way.m + 2):  # bilinear: one tap and one input at a time
        g, d = np.eye(3)[tap], np.eye(way.m + 2)[seen]
        y = way.outputs @ ((way.taps @ g) * (way.inputs @ d))
        np.testing.assert_allclose(y, [float(i + tap == seen) for i in range(way.m)], atol=1e-12)


@pytest.mark.quick
def test_f23_is_the_published_one():
    np.testing.assert_array_equal(algebra.F23.taps[1:3], [[0.5, 0.5, 0.5], [0.5, -0.5, 0.5]])
    np.testing.assert_array_equal(algebra.F23.inputs[:3, :3], [[1, 0, -1], [0, 1, 1], [0, -1, 1]])
    np.testing.assert_array_equal(algebra.F23.outputs[0], [1, 1, 1, 0])


@pytest.mark.sampled
@pytest.mark.parametrize("way", WAYS[:2], ids=lambda way: f"F({way.m},3)")
@pytest.mark.parametrize("conv", [algebra.conv_rows, algebra.conv_tiles])
def test_convolutions_are_exact_in_float64(conv, way):
    x, w = normal(0, 2, 7, 9, 3), normal(1, 3, 3, 3, 5)
    assert gap(conv(x, w, way), torch_conv(x, w)) < 1e-13
    assert gap(algebra.conv_direct(x, w), torch_conv(x, w)) < 1e-13


@pytest.mark.sweep
def test_rounding_costs_what_the_tables_say():
    shape = dict(kind="gauss", shape=(1, 12, 12, 32), filters=8)
    errors = {
        (name, dtype): algebra.error(algebra.WAYS[name], dtype, **shape)
        for name in ("direct", "F(2,3) along x", "F(4x4,3x3)")
        for dtype in ("float16", "bfloat16")
    }
    direct, rows, large = (
        errors[name, "float16"] for name in ("direct", "F(2,3) along x", "F(4x4,3x3)")
    )
    assert 1.5 * direct < rows < 3 * direct < 5 * direct < large
    assert 3 * rows < errors["direct", "bfloat16"] < 0.1 * errors["F(4x4,3x3)", "bfloat16"]


def arrays(n=1, h=5, w=9, c=16, k=16, dtype="float32"):
    """x, w, b."""
    return (
        normal(0, n, h, w, c, dtype=dtype),
        (0.1 * normal(1, 3, 3, c, k)).astype(dtype),
        normal(2, k, dtype=dtype),
    )


@pytest.mark.sampled(3)
@pytest.mark.parametrize("made", [STREAMED, RESIDENT], ids=["streamed", "resident"])
@pytest.mark.parametrize(
    "shape, dtype",
    [((2, 5, 7, 20, 24), dtype) for dtype in OP.dtypes]
    + [((1, 8, 9, 32, 16), "float16"), ((1, 1, 1, 3, 1), "bfloat16")],
    ids=str,
)
def test_kernel_is_the_definition(shape, dtype, made):
    x, w, b = arrays(*shape, dtype=dtype)
    y = jax.jit(lambda *a: winograd3x3(*a, config=made))(x, w, b)
    assert y.dtype == dtype and gap(y, torch_conv(x, w, b)) < OP.tolerance[dtype]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("shape", OP.small, ids=str)
def test_the_config_that_is_taken_where_nothing_was_measured(shape):
    inputs = OP.example(KEYS[3], shape, "float16")
    assert gap(OP.ours(*inputs), OP.definition(*exact(inputs))) < OP.tolerance["float16"]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "activation, made",
    [("none", STREAMED), ("relu", RESIDENT), ("leaky", STREAMED), ("prelu", RESIDENT)],
    ids=["none", "relu", "leaky", "prelu"],
)
def test_what_follows_the_convolution(activation, made):
    x, w, b = arrays(n=2, h=3, w=5, k=6)
    skips = [
        (normal(3, 2, 3, 5, 6, dtype="float32"), 0.7),
        (normal(4, 2, 3, 5, 6, dtype="float32"), -2),
    ]
    slope = {"leaky": 0.3, "prelu": jnp.linspace(-1, 1, 6, dtype="float32")}.get(activation)
    y = winograd3x3(
        x, w, b, activation=activation, slope=slope, scale=0.2, skips=skips, config=made
    )
    z = torch_conv(x, w, b)
    low = {"none": z, "relu": 0 * z}.get(activation, z * np.asarray(0 if slope is None else slope))
    truth = (
        0.2 * np.where(z >= 0, z, low) + 0.7 * np.asarray(skips[0][0]) - 2 * np.asarray(skips[1][0])
    )
    assert gap(y, truth) < 1e-5
    assert (
        gap(definition(x, w, b, activation=activation, slope=slope, scale=0.2, skips=skips), truth)
        < 1e-5
    )


def test_gradients_are_those_of_the_definition():
    x, w, b = arrays(h=3, w=5, k=4)
    slope, skip = jnp.linspace(-1, 1, 4, dtype="float32"), normal(3, 1, 3, 5, 4, dtype="float32")

    def loss(conv, x, w, b, slope, skip, **how):
        y = conv(x, w, b, activation="prelu", slope=slope, scale=0.5, skips=[(skip, 3)], **how)
        return (y * jnp.cos(jnp.arange(y.size, dtype="float32")).reshape(y.shape)).sum()

    inputs = (x, w, b, slope, skip)
    ours = jax.grad(lambda *a: loss(winograd3x3, *a, config=STREAMED), range(5))(*inputs)
    theirs = jax.grad(lambda *a: loss(definition, *a), range(5))(*inputs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_shards_compute_their_images():
    x, w, b = arrays(n=2, h=3, w=5)
    mesh = jax.sharding.Mesh(jax.devices()[:2], "n")
    here, everywhere = jax.sharding.PartitionSpec("n"), jax.sharding.PartitionSpec()
    parts = jax.shard_map(
        lambda *a: winograd3x3(*a, config=STREAMED),
        mesh=mesh,
        in_specs=(here, everywhere, everywhere),
        out_specs=here,
        check_vma=False,
    )
    assert gap(jax.jit(parts)(x, w, b), torch_conv(x, w, b)) < 1e-5


def refused(*inputs, **how):
    with pytest.raises(launch.RefusedError) as error:
        winograd3x3(*inputs, **how)
    return str(error.value)


def test_what_it_cannot_do_is_said():
    x, w, b = arrays()
    assert "use impl='xla'" in refused(x, w[:1])
    assert "must be (16,)" in refused(x, w, b[:3])
    assert "dtype float64" in refused(exact(x), exact(w))
    assert "at most 2" in refused(x, w, skips=[(x, 1)] * 3)
    huge = jax.ShapeDtypeStruct((1, 2**14, 2**14, 16), "float16")
    assert "2^31" in refused(huge, jax.ShapeDtypeStruct(w.shape, "float16"))


@pytest.mark.parametrize("dtype", OP.dtypes)
def test_configs_are_distinct_and_cover_thin_and_wide_filters(dtype):
    for filters in (1, 12, 16, 32, 48, 256):
        choices = configs((1, 540, 960, 64), dtype, filters)
        assert choices and len(set(choices)) == len(choices)
