"""Losses of motion, each computed a second time by numpy or PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvsr import losses, ops

torch = pytest.importorskip("torch")
DRAW = np.random.default_rng(0)
CLIP = DRAW.random((2, 3, 7, 9, 3), np.float32)
FLOW = DRAW.normal(0, 2, (2, 2, 7, 9, 2)).astype(np.float32)
PENALTY = {
    "l1": np.abs,
    "l2": np.square,
    "charbonnier": lambda e: np.sqrt(np.square(e) + 1e-6) - 1e-3,
}


def errors():
    """Each frame less the one before it, sampled by PyTorch where the flow points."""
    before = torch.from_numpy(CLIP[:, :-1].reshape(-1, 7, 9, 3)).permute(0, 3, 1, 2)
    rows, columns = np.mgrid[:7, :9].astype(np.float32)
    at = np.stack([columns, rows], -1) + FLOW.reshape(-1, 7, 9, 2)
    grid = torch.from_numpy(2 * at / np.float32([8, 6]) - 1)
    options = {"padding_mode": "border", "align_corners": True}
    warped = torch.nn.functional.grid_sample(before, grid, **options).permute(0, 2, 3, 1)
    return CLIP[:, 1:] - warped.numpy().reshape(2, 2, 7, 9, 3)


def finite(tree):
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("loss", [losses.warp_consistency, losses.photometric])
@pytest.mark.parametrize("norm", PENALTY)
def test_a_frame_is_compared_with_the_one_before_it_warped(loss, norm):
    found = jax.jit(lambda c, f: loss(c, f, norm=norm))(CLIP, FLOW)
    assert found == pytest.approx(PENALTY[norm](errors()).mean(), abs=1e-5)


def test_a_mask_leaves_out_what_was_hidden():
    mask = (DRAW.random((2, 2, 7, 9, 1)) < 0.5).astype(np.float32)
    expected = (np.abs(errors()) * mask).sum() / (3 * mask.sum())
    loss = jax.jit(losses.warp_consistency)
    assert loss(CLIP, FLOW, mask) == pytest.approx(expected, abs=1e-5)
    assert loss(CLIP, FLOW, 0 * mask) == 0


def test_a_pan_followed_by_its_flow_costs_nothing():
    wide = DRAW.random((1, 8, 14, 3), np.float32)
    clip = np.stack([wide[:, :, 2 * t : 2 * t + 8] for t in range(4)], 1)
    flow = np.broadcast_to(np.float32([2, 0]), (1, 3, 8, 8, 2))
    seen = np.ones((1, 3, 8, 8, 1), np.float32)
    seen[..., -2:, :] = 0
    loss = jax.jit(losses.warp_consistency)
    assert loss(clip, flow, seen) == 0
    assert loss(clip, 0 * flow, seen) > 0.1


def test_consistency_trains_pictures_and_photometric_trains_flow():
    slopes = lambda loss: jax.jit(jax.grad(loss, (0, 1)))(CLIP, FLOW)
    picture, flow = slopes(losses.warp_consistency)
    assert np.abs(picture).max() > 0 and not np.any(flow)
    picture, flow = slopes(losses.photometric)
    assert np.abs(flow).max() > 0


def test_a_still_clip_has_finite_slopes():
    still, rest = np.repeat(CLIP[:, :1], 3, 1), 0 * FLOW

    def moved(clip, flow):
        return losses.warp_consistency(clip, flow) + losses.photometric(clip, flow)

    value, slopes = jax.jit(jax.value_and_grad(moved, (0, 1)))(still, rest)
    assert value == 0 and finite(slopes)


def test_a_flow_that_is_smooth_is_left_alone():
    def rough(flow):
        pairs = [
            (loss, norm)
            for loss in (losses.flow_smoothness, losses.flow_change)
            for norm in PENALTY
        ]
        return sum(loss(flow, norm=norm) for loss, norm in pairs)

    value, slope = jax.jit(jax.value_and_grad(rough))(0 * FLOW)
    assert value == 0 and not np.any(slope)


@pytest.mark.parametrize("norm", PENALTY)
def test_flow_smoothness_is_the_mean_of_first_differences(norm):
    cost = PENALTY[norm]
    across, down = FLOW[..., 1:, :] - FLOW[..., :-1, :], FLOW[..., 1:, :, :] - FLOW[..., :-1, :, :]
    found = jax.jit(lambda f: losses.flow_smoothness(f, norm=norm))(FLOW)
    assert found == pytest.approx(cost(across).mean() + cost(down).mean(), rel=1e-5)
    found = losses.flow_change(FLOW, norm=norm)
    assert found == pytest.approx(cost(FLOW[:, 1] - FLOW[:, 0]).mean(), rel=1e-5)


def test_one_flow_cannot_change():
    with pytest.raises(ValueError, match="axis 1 needs two values"):
        losses.flow_change(FLOW[:, :1])


def test_a_palindrome_goes_there_and_back():
    there = losses.palindrome(CLIP)
    assert there.shape[1] == 5
    np.testing.assert_array_equal(there, there[:, ::-1])
    assert losses.palindrome(np.zeros((1, 10, 2, 2, 3), np.float32)).shape[1] == 19
    value, slope = jax.jit(jax.value_and_grad(losses.ping_pong_palindrome))(there)
    assert value == 0 and not np.any(slope)


def test_palindrome_ping_pong_compares_the_way_there_with_the_way_back():
    made = DRAW.random((2, 7, 4, 5, 3), np.float32)
    gap = [made[:, t] - made[:, 6 - t] for t in range(3)]
    loss = lambda norm: losses.ping_pong_palindrome(made, norm=norm)
    assert loss("l1") == pytest.approx(np.mean(np.abs(gap)), rel=1e-5)
    assert loss("l2") == pytest.approx(np.mean(np.square(gap)), rel=1e-5)
    with pytest.raises(ValueError, match="6 frames: a palindrome has an odd number"):
        losses.ping_pong_palindrome(made[:, :6])


def test_ping_pong_compares_a_clip_with_itself_made_in_reverse():
    backward = CLIP[:, ::-1] + np.float32(0.5)
    assert losses.ping_pong(CLIP, backward) == pytest.approx(0.25, rel=1e-5)


def blend(clip):
    """A toy generator with a direction: each frame plus a third of the one before it."""
    before = jnp.concatenate([jnp.zeros_like(clip[:, :1]), clip[:, :-1]], 1)
    return clip + before / 3


def test_window_ping_pong_is_gan_evh_eq_10():
    """Forwards x1 + x0 / 3; backwards [made 2, x1, x0] gives x1 + made 2 / 3."""
    loss = jax.jit(jax.value_and_grad(lambda lr: losses.ping_pong_window(blend, lr, blend(lr))))
    x0, x1, x2 = (CLIP[:, t] for t in range(3))
    expected = np.square((x0 - (x2 + x1 / 3)) / 3).mean()
    value, slope = loss(CLIP)
    assert value == pytest.approx(expected, rel=1e-5) and finite(slope)


@pytest.mark.parametrize("count", [4, 5])
def test_longer_windows_keep_their_outer_frames(count):
    clip = DRAW.random((1, count, 4, 4, 3), np.float32)
    smooth = jax.jit(lambda c: blend(c) + jnp.roll(c, 2, 1) / 5)
    made, middle = np.asarray(smooth(clip)), (count - 1) // 2
    turned = [clip[:, t] for t in range(count)]
    turned[middle + 1] = made[:, middle + 1]
    again = np.asarray(smooth(np.stack(turned[::-1], 1)))[:, count - 1 - middle]
    found = losses.ping_pong_window(smooth, clip, made)
    assert found == pytest.approx(np.square(made[:, middle] - again).mean(), rel=1e-5)


def test_window_ping_pong_brings_a_larger_output_back_to_the_input():
    """A generator that enlarges still pictures by nearest sees them again unchanged."""
    double = jax.jit(lambda c: jnp.repeat(jnp.repeat(c, 2, 2), 2, 3))
    flat = np.broadcast_to(DRAW.random((2, 3, 1, 1, 3), np.float32), (2, 3, 4, 6, 3))
    assert losses.ping_pong_window(double, flat, double(flat)) == 0
    mixed = lambda c: double(blend(c))
    made = mixed(CLIP)
    seen = ops.resize(made[:, 2], (7, 9))
    again = double((CLIP[:, 1] + seen / 3)[:, None])[:, 0]
    found = losses.ping_pong_window(mixed, CLIP, made)
    assert found == pytest.approx(float(jnp.square(made[:, 1] - again).mean()), rel=1e-5)


def test_two_frames_have_no_middle():
    with pytest.raises(ValueError, match="2 frames: ping-pong needs one before"):
        losses.ping_pong_window(blend, CLIP[:, :2], CLIP[:, :2])
