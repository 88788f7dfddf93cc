"""Warping along a flow: exact identities, and agreement with PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvsr import ops

RNG = np.random.default_rng(0)


def example(*shape, reach=3.0):
    """Random frames and a flow that leads out of them in places."""
    flow = reach * RNG.standard_normal((*shape[:3], 2))
    return RNG.random(shape, np.float32), flow.astype(np.float32)


def torch_warp(torch, frames, flow):
    h, w = frames.shape[1:3]
    x, y = flow[..., 0] + torch.arange(w), flow[..., 1] + torch.arange(h)[:, None]
    grid = torch.stack([2 * x / (w - 1) - 1, 2 * y / (h - 1) - 1], -1)
    options = {"mode": "bilinear", "padding_mode": "border", "align_corners": True}
    out = torch.nn.functional.grid_sample(frames.permute(0, 3, 1, 2), grid, **options)
    return out.permute(0, 2, 3, 1)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("shape", [(2, 7, 9, 3), (1, 2, 2, 1)])
def test_warp_and_both_gradients_match_torch(shape):
    torch = pytest.importorskip("torch")
    frames, flow = example(*shape)
    weights = RNG.random(shape, np.float32)
    theirs = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (frames, flow)]
    warped = torch_warp(torch, *theirs)
    (warped * torch.tensor(weights)).sum().backward()
    ours = jax.grad(lambda *a: (ops.warp(*a) * weights).sum(), (0, 1))(frames, flow)
    np.testing.assert_allclose(ops.warp(frames, flow), warped.detach(), atol=1e-5)
    for gradient, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(gradient, other.grad, atol=1e-5)


def test_no_motion_changes_nothing():
    frames, flow = example(2, 6, 5, 4)
    np.testing.assert_array_equal(ops.warp(frames, 0 * flow), frames)


def test_whole_pixels_move_and_the_border_is_repeated():
    frames, flow = example(1, 4, 6, 2)
    y = ops.warp(frames, np.zeros_like(flow) + np.array([2, 0], np.float32))
    np.testing.assert_array_equal(y[:, :, :4], frames[:, :, 2:])
    np.testing.assert_array_equal(y[:, :, 4:], np.repeat(frames[:, :, 5:], 2, 2))


def test_a_row_of_pixels_can_be_warped():
    frames, flow = example(1, 1, 6, 2)
    np.testing.assert_array_equal(ops.warp(frames, 0 * flow + 100), frames[:, :, 5:] + 0 * frames)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_short_floats_keep_their_type_and_exact_places(dtype):
    frames, flow = example(1, 2, 600, 1)
    short = jnp.asarray(frames, dtype)
    y = ops.warp(short, jnp.zeros_like(flow, dtype) + jnp.asarray([-1, 0], dtype))
    assert y.dtype == dtype
    np.testing.assert_array_equal(y[:, :, 1:], short[:, :, :-1])
