"""Operations of two steps in one: against NumPy, and the kernels against XLA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvsr.ops import fused

RNG = np.random.default_rng(3)
SLOPES = RNG.uniform(0, 0.7, 8).astype(np.float32)


def drawn(*shape) -> np.ndarray:
    return RNG.normal(0, 0.3, shape).astype(np.float32)


def convolved(x, w) -> np.ndarray:
    """A 3x3 convolution in float64 (integers stay exact), one tap after the other."""
    h, width = x.shape[1:3]
    wide = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [(i, j) for i in range(3) for j in range(3)]
    return sum(wide[:, i : i + h, j : j + width] @ w[i, j].astype(np.float64) for i, j in taps)


def leaky(x, slope):
    return np.where(x >= 0, x, x * slope)


@pytest.fixture(params=["xla", "triton"])
def impl(request):
    if request.param == "triton":
        pytest.importorskip("kernels.launch")
    return request.param


@pytest.mark.parametrize("slope", [0.2, SLOPES], ids=["leaky", "prelu"])
def test_head_reads_bytes(impl, slope):
    frames = RNG.integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    w, b = drawn(3, 3, 3, 8), drawn(8)
    how = {"activation": "prelu" if slope is SLOPES else "leaky", "slope": slope}
    run = jax.jit(lambda *a: fused.head(*a, gain=2 / 255, shift=-1.0, impl=impl, **how))
    wanted = leaky(convolved(frames * (2 / 255) - 1.0, w) + b, slope)
    np.testing.assert_allclose(run(frames, w, b), wanted, atol=1e-5)


@pytest.mark.parametrize("slope", [0.2, SLOPES], ids=["leaky", "prelu"])
def test_separable_is_both_convolutions(impl, slope):
    x, dw, db = drawn(1, 6, 5, 8), drawn(3, 3, 1, 8), drawn(8)
    pw, pb, skip = drawn(1, 1, 8, 8), drawn(8), drawn(1, 6, 5, 8)
    bends = "prelu" if slope is SLOPES else "leaky"
    how = {"middle": bends, "middle_slope": slope, "activation": "leaky", "slope": 0.1}

    def run(*a):
        return fused.separable(*a[:5], scale=0.5, skips=((a[5], -2.0),), impl=impl, **how)

    diagonal = dw * np.eye(8)
    inner = leaky(convolved(x, diagonal) + db, slope)
    wanted = 0.5 * leaky(inner @ pw[0, 0] + pb, 0.1) - 2 * skip
    np.testing.assert_allclose(jax.jit(run)(x, dw, db, pw, pb, skip), wanted, atol=1e-5)


def integers():
    x = RNG.integers(-128, 128, (2, 5, 6, 20)).astype(np.int8)
    w = RNG.integers(-128, 128, (3, 3, 20, 7)).astype(np.int8)
    b = RNG.integers(-20000, 20000, 7).astype(np.int32)
    return x, w, b, RNG.uniform(1e-4, 3e-4, 7).astype(np.float32)


@pytest.mark.parametrize("bounds", [{}, {"low": 0}, {"low": -5, "high": 60}])
def test_int8_is_exact(impl, bounds):
    x, w, b, multiplier = integers()
    total = (convolved(x, w) + b).astype(np.float32) * multiplier
    wanted = np.rint(total).clip(bounds.get("low", -128), bounds.get("high", 127)).astype(np.int8)
    got = jax.jit(lambda *a: fused.int8_conv(*a, impl=impl, **bounds))(x, w, b, multiplier)
    assert len(np.unique(wanted)) > 30
    np.testing.assert_array_equal(got, wanted)


def test_int8_bounds_that_cannot_be_are_named():
    with pytest.raises(ValueError, match="bounds 5, 300: give low <= high within -128 and 127"):
        fused.int8_conv(*map(jnp.asarray, integers()), low=5, high=300)
