"""The INT8 convolution equals integer arithmetic to the last bit; kernels run interpreted here."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kernels.launch")  # not triton itself: launch decides how it is imported
from kernels import int8  # noqa: E402
from kernels.launch import RefusedError  # noqa: E402
from kernels.op import config  # noqa: E402

KEY = jax.random.key(7)
OP = int8.OPS[0]
SHARED = config(TH=8, TW=16, BC=64, BK=32, PROGRAMS=5, warps=4)
CASES = {  # input shape, output channels
    "whole tiles": ((1, 8, 16, 32), 32),
    "three channels": ((2, 9, 5, 3), 48),
    "one output": ((1, 3, 17, 40), 1),
    "channels in parts": ((1, 2, 5, 70), 6),
}


def theirs(x, w, b, multiplier, low=-128, high=127):
    """The same by PyTorch's convolution in float64, which is exact here, and NumPy's rounding."""
    x, w = (torch.from_numpy(np.array(a, np.float64)) for a in (x, w))
    total = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), padding=1)
    total = total.permute(0, 2, 3, 1).numpy() + np.array(b)
    assert np.abs(total).max() < 2**31
    value = total.astype(np.float32) * np.array(multiplier)
    return np.rint(value).clip(low, high).astype(np.int8)


@pytest.mark.sampled
@pytest.mark.parametrize("name", CASES)
def test_kernel_and_definition_equal_torch(name):
    shape, out = CASES[name]
    arrays = int8.example(KEY, shape, out=out)
    truth = theirs(*arrays)
    assert len(np.unique(truth)) > 40  # the range of the output is used
    np.testing.assert_array_equal(jax.jit(int8.definition)(*arrays), truth)
    np.testing.assert_array_equal(int8.xla_conv(*arrays), truth)
    np.testing.assert_array_equal(jax.jit(int8.int8_conv3x3)(*arrays), truth)


@pytest.mark.parametrize("bounds", [{"low": 0}, {"high": 20}, {"low": -3, "high": 5}])
def test_bounds_clamp_what_is_rounded(bounds):
    arrays = int8.example(KEY, (1, 4, 6, 8))
    truth = theirs(*arrays, **bounds)
    np.testing.assert_array_equal(int8.definition(*arrays, **bounds), truth)
    np.testing.assert_array_equal(int8.int8_conv3x3(*arrays, **bounds), truth)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "choice", sorted({*OP.configs((1, 8, 16, 64), "int8"), SHARED}, key=str), ids=str
)
def test_every_config_gives_the_same(choice):
    """Of nine tiles each program of SHARED makes five or fewer, with the weights it has."""
    arrays = int8.example(KEY, (3, 9, 17, 33), out=5)
    np.testing.assert_array_equal(int8.int8_conv3x3(*arrays, config=choice), theirs(*arrays))


def test_ties_go_to_the_even_integer():
    """With a multiplier of 1/2 odd sums are ties: -1.5, -0.5, 0.5, 1.5, 2.5, ..."""
    x = jnp.arange(-9, 10, dtype=jnp.int8).reshape(1, 1, -1, 1)
    w = jnp.zeros((3, 3, 1, 1), jnp.int8).at[1, 1].set(1)
    arrays = x, w, jnp.zeros(1, jnp.int32), jnp.full(1, 0.5)
    truth = [-4, -4, -4, -3, -2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2, 3, 4, 4, 4]
    for way in (int8.definition, int8.int8_conv3x3):
        np.testing.assert_array_equal(way(*arrays).ravel(), truth)


def test_largest_sums_are_exact():
    """All products are 128 * 128; one more or less in 5.9 million must be seen."""
    x, w = jnp.full((1, 3, 3, 40), -128, jnp.int8), jnp.full((3, 3, 40, 2), -128, jnp.int8)
    b = jnp.array([-(9 * 40 * 2**14) + 1, -(9 * 40 * 2**14) - 1], jnp.int32)
    y = int8.int8_conv3x3(x, w, b, jnp.ones(2))
    np.testing.assert_array_equal(y[0, 1, 1], [1, -1])


@pytest.mark.parametrize("out", ["float32", "float16", "bfloat16"])
def test_float_output(out):
    """Triton's interpreter cuts float32 to bfloat16 instead of rounding: a last bit may differ."""
    arrays = int8.example(KEY, (1, 4, 5, 8))
    got, wanted = (
        np.asarray(way(*arrays, low=-50, high=60.5, out=out), np.float32)
        for way in (int8.int8_conv3x3, int8.definition)
    )
    np.testing.assert_allclose(got, wanted, rtol=2**-7 if out == "bfloat16" else 0)
    assert wanted.max() == 60.5


def test_gradient_of_the_multiplier():
    x, w, b, multiplier = int8.example(KEY, (1, 3, 4, 5))
    loss = lambda way, m: (way(x, w, b, m, out="float32") ** 2).sum()
    ours, truth = (
        jax.grad(partial(loss, way))(multiplier) for way in (int8.int8_conv3x3, int8.definition)
    )
    np.testing.assert_allclose(ours, truth, rtol=1e-6)


def test_devices_share_a_batch():
    x, *rest = int8.example(KEY, (4, 4, 5, 8))
    mesh = jax.make_mesh((4,), ("n",), axis_types=(jax.sharding.AxisType.Auto,))
    split, whole = jax.P("n"), jax.P()
    shared = jax.shard_map(
        int8.int8_conv3x3, mesh=mesh, in_specs=(split, *[whole] * 3), out_specs=split
    )
    np.testing.assert_array_equal(jax.jit(shared)(x, *rest), theirs(x, *rest))


REFUSED = {
    "dtype": (dict(x=jnp.zeros((1, 4, 4, 8))), {}, "give int8, int8, int32"),
    "channels": (dict(x=jnp.zeros((1, 4, 4, 7), jnp.int8)), {}, "give .N,H,W,C. and .3,3,C,K."),
    "bias": (dict(b=jnp.zeros(3, jnp.int32)), {}, "give .K. of both"),
    "output": ({}, {"out": "uint8"}, "choose one of int8, float32"),
    "bounds": ({}, {"low": 0.5}, "use integers in"),
    "no range": ({}, {"low": 3, "high": 2}, "use integers in"),
    "too wide": ({}, {"high": 128}, "use integers in"),
    "too deep": (dict(x=(1, 2, 2, 14600), w=(3, 3, 14600, 8)), {}, "at most 14563 channels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_cannot_do_is_refused(name):
    changed, options, remedy = REFUSED[name]
    arrays = dict(zip(("x", "w", "b", "multiplier"), int8.example(KEY, (1, 4, 4, 8)), strict=True))
    for part, value in changed.items():
        shaped = isinstance(value, tuple)
        arrays[part] = jax.ShapeDtypeStruct(value, jnp.int8) if shaped else value
    with pytest.raises(RefusedError, match=remedy):
        jax.eval_shape(partial(int8.int8_conv3x3, **options), *arrays.values())
