"""The kernels of the deformable convolution: the definition, all gradients, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvsr import ops
from jaxvsr.ops import motion

torch = pytest.importorskip("torch")
module = pytest.importorskip("kernels.deform")

RNG = np.random.default_rng(0)
TOLERANCE = module.OPS[0].tolerance


def example(shape, groups: int, k: int, dtype="float32"):
    """Random arrays; offsets lead out of the image in places, and never to a pixel's centre.

    There the gradient of the offsets jumps, and rounding decides between its two values.
    """
    n, h, w, c = shape
    shapes = shape, (n, h, w, groups * 18), (n, h, w, groups * 9), (3, 3, c, k), (k,)
    arrays = [RNG.standard_normal(s) for s in shapes]
    arrays[1] = RNG.integers(-3, 3, shapes[1]) + RNG.uniform(0.1, 0.9, shapes[1])
    return [jnp.asarray(a, dtype) for a in arrays]


def by_torch(x, offsets, mask, w, b):
    """Each tap of each group by `grid_sample`, as float64 tensors."""
    n, h, wide, _ = x.shape
    groups = mask.shape[-1] // 9
    parts = x.permute(0, 3, 1, 2).chunk(groups, 1)
    places = offsets.reshape(n, h, wide, groups, 9, 2)
    out = b.expand(n, h, wide, -1)
    for tap in range(9):
        seen = []
        for group, part in enumerate(parts):
            y = torch.arange(h)[:, None] + tap // 3 - 1 + places[:, :, :, group, tap, 0]
            z = torch.arange(wide) + tap % 3 - 1 + places[:, :, :, group, tap, 1]
            grid = torch.stack([(2 * z + 1) / wide - 1, (2 * y + 1) / h - 1], -1)
            got = torch.nn.functional.grid_sample(part, grid, align_corners=False)
            weight = mask.reshape(n, h, wide, groups, 9)[:, None, :, :, group, tap]
            seen.append((got * weight).permute(0, 2, 3, 1))
        out = out + torch.cat(seen, -1) @ w[tap // 3, tap % 3]
    return out


def tensors(arrays):
    return [torch.tensor(np.asarray(a, np.float64), requires_grad=True) for a in arrays]


def apart(ours, truth) -> float:
    truth = np.asarray(truth, np.float64)
    return np.linalg.norm(np.asarray(ours, np.float64) - truth) / np.linalg.norm(truth)


SHAPES = [  # of x, deformable groups, outputs
    ((2, 3, 4, 16), 8, 5),
    ((1, 5, 4, 5), 1, 20),
    ((1, 1, 9, 6), 3, 4),
    ((1, 2, 2, 34), 1, 130),
]


CASES = [(*case, "float32") for case in SHAPES]
CASES += [(*SHAPES[0], "bfloat16"), (*SHAPES[0], "float16"), (*SHAPES[1], "bfloat16")]


@pytest.mark.sampled
@pytest.mark.parametrize("shape, groups, k, dtype", CASES)
def test_the_kernel_sees_what_torch_samples(shape, groups, k, dtype):
    arrays = example(shape, groups, k, dtype)
    y = jax.jit(module.deform3x3)(*arrays)
    assert y.dtype == dtype
    assert apart(y, by_torch(*tensors(arrays)).detach()) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", module.FLOATS)
def test_the_definition_is_that_of_torch_too(dtype):
    arrays = example(*SHAPES[0], dtype)
    truth = by_torch(*tensors(arrays)).detach()
    assert apart(jax.jit(module.definition)(*arrays), truth) < TOLERANCE[dtype]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("shape, groups, k, dtype", CASES[:2] + CASES[3:6])
def test_all_gradients_match_torch(shape, groups, k, dtype):
    arrays = example(shape, groups, k, dtype)
    g = jnp.asarray(RNG.standard_normal((*shape[:3], k)), dtype)
    theirs = tensors(arrays)
    by_torch(*theirs).backward(tensors([g])[0])
    for gradient, array, other in zip(
        jax.vjp(module.deform3x3, *arrays)[1](g), arrays, theirs, strict=True
    ):
        assert gradient.dtype == array.dtype
        assert apart(gradient, other.grad) < 2 * TOLERANCE[dtype]


def test_the_library_runs_the_same_and_has_the_same_gradients():
    arrays = example((1, 4, 5, 8), 2, 6)
    ours, back = jax.vjp(jax.jit(motion.deform), *arrays)
    fast, fast_back = jax.vjp(lambda *a: motion.deform(*a, impl="triton"), *arrays)
    np.testing.assert_allclose(fast, ours, atol=1e-5)
    np.testing.assert_allclose(ours, jax.jit(module.definition)(*arrays), atol=1e-6)
    for a, b in zip(fast_back(fast), back(fast), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-5)


def test_without_offsets_it_is_a_convolution():
    x, offsets, mask, w, b = example((1, 6, 5, 4), 2, 3)
    y = module.deform3x3(x, 0 * offsets, 0 * mask + 1, w)
    np.testing.assert_allclose(y, ops.conv(x, w), atol=1e-5)
    np.testing.assert_allclose(module.deform3x3(x, 0 * offsets, 0 * mask + 1, w, b), y + b)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("to", [np.nan, -1e30])
def test_what_lies_outside_is_zero_and_has_no_gradient(to):
    x, offsets, mask, w, b = example((1, 3, 4, 4), 2, 3)
    offsets = jnp.full_like(offsets, to)
    for function in (module.deform3x3, jax.jit(module.definition)):
        y, back = jax.vjp(function, x, offsets, mask, w, b)
        np.testing.assert_array_equal(y, jnp.broadcast_to(b, y.shape))
        assert not any(np.any(gradient) for gradient in back(jnp.ones_like(y))[:4])


@pytest.mark.sampled(1)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_every_config_gives_the_same(dtype):
    arrays = example((1, 3, 9, 36), 2, 18, dtype)
    truth = by_torch(*tensors(arrays)).detach()
    for config in module.configs(arrays[0].shape, dtype):
        y = module.deform3x3(*arrays, config=config)
        assert apart(y, truth) < TOLERANCE[dtype], config


def test_arrays_keep_their_own_dtypes():
    arrays = example((1, 4, 5, 4), 1, 3)
    mixed = [a.astype(t) for a, t in zip(arrays, ("bfloat16", *["float32"] * 4), strict=True)]
    y, back = jax.vjp(module.deform3x3, *mixed)
    assert y.dtype == "bfloat16"
    assert [gradient.dtype for gradient in back(y)] == [a.dtype for a in mixed]


def test_what_it_cannot_do_is_refused():
    x, offsets, mask, w, b = example((1, 4, 5, 4), 2, 3)
    with pytest.raises(module.RefusedError, match="do not fit"):
        module.deform3x3(x, offsets[..., :18], mask, w, b)
    with pytest.raises(module.RefusedError, match="impl='xla'"):
        module.deform3x3(x, offsets.astype(jnp.int32), mask, w, b)
    with pytest.raises(ValueError, match="give g \\* 18"):
        motion.deform(x, offsets, mask[..., :9], w, b)
