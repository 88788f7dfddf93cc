"""Convolutions as they run on a CPU, and their gradients, against XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvsr import ops
from jaxvsr.ops import convolution


def drawn(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.fixture
def everywhere(monkeypatch):
    """Every convolution counts as helped, and pieces are of few rows."""
    monkeypatch.setattr(convolution, "FITS", 0)
    monkeypatch.setattr(convolution, "PIECE", 2000)


@pytest.mark.sampled
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (2, 2), (4, 3), (9, 9)])
@pytest.mark.parametrize("channels", [(3, 8), (8, 3), (6, 6)])
def test_the_gradient_of_a_kernel_is_xlas(size, channels, everywhere):
    into, out = channels
    x, kernel, slopes = (
        drawn(0, 2, 11, 9, into),
        drawn(1, *size, into, out),
        drawn(2, 2, 11, 9, out),
    )
    _, back = jax.vjp(convolution.dense, x, kernel)
    own = convolution.kernel_gradient(x, slopes, size)
    np.testing.assert_allclose(own, back(slopes)[1], rtol=1e-5, atol=1e-4)


def test_pieces_are_several(everywhere):
    x, slopes = drawn(0, 2, 11, 9, 6), drawn(2, 2, 11, 9, 6)
    text = str(jax.make_jaxpr(lambda x, s: convolution.kernel_gradient(x, s, (3, 3)))(x, slopes))
    assert text.count("conv_general_dilated[") == 3  # four rows of 2 * 9 * 6 * 4 bytes each


def scored(conv):
    return lambda x, kernel, bias: jnp.sin(conv(x, kernel) + bias).sum()


def test_value_and_gradients_are_xlas(everywhere):
    arrays = drawn(0, 2, 8, 6, 5), drawn(1, 3, 3, 5, 7), drawn(2, 7)
    found, expected = (
        jax.jit(jax.value_and_grad(scored(conv), (0, 1, 2)))(*arrays)
        for conv in (ops.conv, convolution.dense)
    )
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    jax.tree.map(close, found, expected)


def test_a_penalty_on_slopes_learns_as_with_xlas(everywhere):
    """R1 differentiates the gradient of the input by the kernel."""
    x, kernel, bias = drawn(0, 1, 8, 6, 5), drawn(1, 3, 3, 5, 7), drawn(2, 7)

    def penalty(conv):
        slope = jax.grad(scored(conv))
        return jax.jit(jax.grad(lambda k: jnp.square(slope(x, k, bias)).sum()))(kernel)

    np.testing.assert_allclose(penalty(ops.conv), penalty(convolution.dense), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "kernel", "dtype", "expected"),
    [
        ((8, 48, 48, 64), (3, 3, 64, 64), "float32", True),
        ((8, 24, 24, 64), (3, 3, 64, 64), "float32", False),
        ((1, 8, 8, 32), (3, 3, 32, 12), "float32", True),
        ((1, 8, 8, 3), (3, 3, 3, 12), "float32", False),
        ((8, 48, 48, 64), (3, 3, 64, 64), "bfloat16", False),
    ],
)
def test_where_pieces_help(shape, kernel, dtype, expected):
    assert convolution._helped(shape, kernel, jnp.dtype(dtype)) is expected


def test_forward_derivatives_pass_where_nothing_is_helped():
    x, kernel = drawn(0, 1, 8, 8, 4), drawn(1, 3, 3, 4, 4)
    value, moved = jax.jvp(lambda x: ops.conv(x, kernel), (x,), (x,))
    np.testing.assert_allclose(value, moved, rtol=1e-6)
