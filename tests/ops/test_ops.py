"""What the operations on frames promise: exact identities, and agreement with PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvsr import ops
from jaxvsr.ops import convolution, resizing

RNG = np.random.default_rng(0)


def frames(*shape):
    return RNG.random(shape, np.float32)


def torch_resize(x, size, **options):
    torch = pytest.importorskip("torch")
    y = torch.nn.functional.interpolate(torch.tensor(x).permute(0, 3, 1, 2), size, **options)
    return y.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("r", [1, 2, 3, 4])
def test_unshuffle_undoes_shuffle(r):
    x = frames(2, 3, 5, 2 * r * r)
    np.testing.assert_array_equal(ops.pixel_unshuffle(ops.pixel_shuffle(x, r), r), x)


@pytest.mark.quick
def test_shuffle_matches_torch():
    torch = pytest.importorskip("torch")
    x = frames(2, 3, 5, 12)
    theirs = torch.nn.functional.pixel_shuffle(torch.tensor(x).permute(0, 3, 1, 2), 2)
    np.testing.assert_array_equal(ops.pixel_shuffle(x, 2), theirs.permute(0, 2, 3, 1))


@pytest.mark.sampled
@pytest.mark.parametrize("method", resizing.KERNELS)
@pytest.mark.parametrize("size", [(24, 40), (18, 10), (19, 33)])
def test_resizing_keeps_a_flat_frame(method, size):
    y = ops.resize(np.full((1, 12, 20, 3), 0.7, np.float32), size, method)
    np.testing.assert_allclose(y, 0.7, atol=1e-6)


@pytest.mark.parametrize("method", resizing.KERNELS)
def test_same_size_is_the_same_frame(method):
    x = frames(1, 7, 9, 3)
    np.testing.assert_array_equal(ops.resize(x, (7, 9), method), x)


@pytest.mark.sampled
@pytest.mark.parametrize("method", ["bicubic", "bilinear"])
@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5, 2, 4])
def test_resize_matches_torch(method, scale):
    x, size = frames(2, 12, 20, 3), (round(12 * scale), round(20 * scale))
    theirs = torch_resize(x, size, mode=method, align_corners=False)
    np.testing.assert_allclose(ops.resize(x, size, method, antialias=False), theirs, atol=3e-6)


@pytest.mark.parametrize("corners", [False, True])
def test_any_ratio_matches_torch(corners):
    x = frames(1, 12, 20, 3)
    theirs = torch_resize(x, (37, 53), mode="bicubic", align_corners=corners)
    ours = ops.resize(x, (37, 53), antialias=False, corners=corners)
    np.testing.assert_allclose(ours, theirs, atol=3e-6)


@pytest.mark.parametrize("scale", [2, 3])
def test_nearest_matches_torch(scale):
    x = frames(1, 5, 6, 3)
    theirs = torch_resize(x, (5 * scale, 6 * scale), mode="nearest")
    np.testing.assert_array_equal(ops.upsample(x, scale, "nearest"), theirs)


@pytest.mark.parametrize("size", [(12, 20), (17, 29)])
def test_shrinking_is_antialiased_as_in_torch_away_from_the_border(size):
    x = frames(1, 24, 40, 3)
    theirs = torch_resize(x, size, mode="bicubic", align_corners=False, antialias=True)
    ours = ops.resize(x, size, a=-0.5)
    np.testing.assert_allclose(ours[:, 3:-3, 3:-3], theirs[:, 3:-3, 3:-3], atol=3e-6)


@pytest.mark.sampled
@pytest.mark.parametrize("method", ["bicubic", "lanczos", "bilinear"])
@pytest.mark.parametrize("scale", [2, 1.5])
def test_a_window_resizes_as_the_frame_does(method, scale):
    x, reach = frames(1, 8, 32, 3), 4
    whole = ops.resize(x, (round(8 * scale), round(32 * scale)), method)
    part = ops.resize(x[:, :, 8:24], (round(8 * scale), round(16 * scale)), method)
    inner = slice(round((8 + reach) * scale), round((24 - reach) * scale))
    near = slice(round(reach * scale), round((16 - reach) * scale))
    np.testing.assert_allclose(part[:, :, near], whole[:, :, inner], atol=1e-6)


def test_unknown_method_names_the_choices():
    with pytest.raises(ValueError, match="lanczos"):
        ops.resize(frames(1, 4, 4, 3), (8, 8), "cubic")


@pytest.mark.sampled
@pytest.mark.parametrize("groups, out", [(1, 32), (2, 64), (4, 64), (8, 32), (32, 32), (32, 64)])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_conv_is_lax_convolution(groups, out, size):
    x, kernel = frames(2, 5, 6, 32), (frames(size, size, 32 // groups, out) - 0.5) / 4
    layout = ("NHWC", "HWIO", "NHWC")
    theirs = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=layout, feature_group_count=groups
    )
    np.testing.assert_allclose(ops.conv(x, kernel, groups=groups), theirs, atol=1e-5)


@pytest.mark.parametrize("groups", [2, 4, 32])
def test_gradients_of_the_fast_forms_are_those_of_lax(groups):
    x, kernel = jnp.asarray(frames(1, 5, 6, 32)), jnp.asarray(frames(3, 3, 32 // groups, 32))
    fast = jax.grad(lambda k: (ops.conv(x, k, groups=groups) ** 2).sum())(kernel)
    plain = jax.grad(lambda k: (convolution.dense(x, k, groups) ** 2).sum())(kernel)
    np.testing.assert_allclose(fast, plain, rtol=1e-4)


def test_max_pool_takes_the_largest_of_four():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(ops.max_pool(x)[0, :, :, 0], [[5, 7], [13, 15]])


def test_half_precision_goes_in_and_comes_out():
    assert ops.upsample(jnp.zeros((1, 4, 4, 3), jnp.bfloat16), 2).dtype == jnp.bfloat16
