"""The kernel of the correlation over displacements: its definition, gradients, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvsr.ops import motion

pytest.importorskip("torch")
module = pytest.importorskip("kernels.correlation")

RNG = np.random.default_rng(0)
OP = module.OPS[0]


def example(shape, dtype="float32"):
    return [jnp.asarray(RNG.standard_normal(shape), dtype) for _ in range(2)]


def by_hand(a, b, radius: int):
    """Every product on its own, in float64."""
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    n, h, w, c = a.shape
    out = np.zeros((n, h, w, 2 * radius + 1, 2 * radius + 1))
    for row, column, dy, dx in np.ndindex(h, w, 2 * radius + 1, 2 * radius + 1):
        y, x = row + dy - radius, column + dx - radius
        if 0 <= y < h and 0 <= x < w:
            out[:, row, column, dy, dx] = (a[:, row, column] * b[:, y, x]).sum(-1) / c
    return out.reshape(n, h, w, -1)


def apart(ours, truth) -> float:
    truth = np.asarray(truth, np.float64)
    return np.linalg.norm(np.asarray(ours, np.float64) - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize("shape", OP.small)
@pytest.mark.parametrize("dtype", OP.dtypes)
def test_the_kernel_computes_every_product(shape, dtype):
    a, b = example(shape, dtype)
    y = jax.jit(OP.ours)(a, b)
    assert y.dtype == dtype
    assert apart(y, by_hand(a, b, 4)) < OP.tolerance[dtype]


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5])
def test_every_radius(radius):
    a, b = example((1, 6, 9, 3))
    truth = by_hand(a, b, radius)
    assert apart(module.correlation(a, b, radius), truth) < 1e-6
    assert apart(module.definition(a, b, radius), truth) < 1e-6


def test_definition_is_the_operation_of_the_library():
    a, b = example((1, 6, 9, 3))
    y = motion.correlation(a, b, 2)
    np.testing.assert_array_equal(y, module.definition(a, b, 2))
    np.testing.assert_allclose(motion.correlation(a, b, 2, impl="triton"), y, atol=1e-6)


@pytest.mark.sampled
@pytest.mark.parametrize("dtype", OP.dtypes)
@pytest.mark.parametrize("shape, radius", [((2, 5, 9, 5), 2), ((1, 3, 4, 70), 1)])
def test_both_gradients_are_those_of_the_definition(dtype, shape, radius):
    a, b = example(shape, dtype)
    weights = RNG.standard_normal((*shape[:3], (2 * radius + 1) ** 2)).astype(np.float32)
    weights = jnp.asarray(weights, dtype)

    def gradients(function, *arrays):
        total = lambda a, b: (function(a, b, radius) * arrays[2]).sum()
        return jax.grad(total, (0, 1))(*arrays[:2])

    ours = gradients(module.correlation, a, b, weights)
    with jax.enable_x64(True):
        exact = [jnp.asarray(np.asarray(x, np.float64)) for x in (a, b, weights)]
        truth = gradients(module.definition, *exact)
    for gradient, other in zip(ours, truth, strict=True):
        assert gradient.dtype == dtype
        assert apart(gradient, other) < OP.tolerance[dtype]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_every_config_gives_the_same(dtype):
    a, b = example((1, 5, 10, 18), dtype)
    truth = by_hand(a, b, 2)
    for config in OP.configs(a.shape, dtype):
        y = module.correlation(a, b, 2, config=config)
        assert apart(y, truth) < OP.tolerance[dtype], config


def test_other_ways_to_write_it_are_the_same():
    a, b = example((1, 6, 9, 3))
    for other in OP.baselines.values():
        np.testing.assert_allclose(other(a, b), OP.definition(a, b), atol=1e-5)


def test_a_map_correlates_best_with_itself_where_it_moved_to():
    a = example((1, 9, 9, 64))[0]
    y = module.correlation(a, jnp.roll(a, (1, -2), (1, 2)), 2)[0, 4, 4]
    assert int(y.argmax()) == (1 + 2) * 5 + (-2 + 2)


def test_what_it_cannot_do_is_refused():
    a, b = example((1, 4, 5, 3))
    with pytest.raises(module.RefusedError, match="give two alike"):
        module.correlation(a, b[:, :3], 2)
    with pytest.raises(module.RefusedError, match="impl='xla'"):
        module.correlation(a.astype(jnp.int32), b.astype(jnp.int32), 2)
    with pytest.raises(module.RefusedError, match="radius 99"):
        module.correlation(a, b, 99)
