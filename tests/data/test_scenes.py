"""Made-up scenes: their optical flow is right where it says so, and a seed is a scene."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from jaxvsr import losses, ops
from jaxvsr.data import flow_scenes, made_up
from jaxvsr.data.flow_scenes import Layer, Scene
from jaxvsr.errors import InputError


def scene(seed, **size):
    return flow_scenes.draw(np.random.default_rng(seed), **size)


def bilinear(frame, flow):
    """frame [H, W, 3] at the places that the flow points to, by SciPy."""
    from scipy.ndimage import map_coordinates

    y, x = np.mgrid[: frame.shape[0], : frame.shape[1]]
    places = [y + flow[..., 1], x + flow[..., 0]]
    channels = np.moveaxis(frame.astype(float), -1, 0)
    return np.stack([map_coordinates(c, places, order=1, mode="nearest") for c in channels], -1)


def gaps(made):
    """(mean error of the warped next frames where visible, mean change of the frames)."""
    clip, (flow, visible) = made.clip(), made.motion()
    warped = np.stack([bilinear(clip[t + 1], flow[t]) for t in range(len(flow))])
    error = np.abs(warped - clip[:-1]).mean(-1)[visible].mean()
    return error, np.abs(np.diff(clip.astype(float), axis=0)).mean()


def smooth(height=400, width=420):
    """A still without detail, which interpolation reproduces: what is left is the flow's error."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + k) + np.cos(y / 11 - k) for k in range(3)]
    return np.uint8(np.rint(127.5 + 60 * np.stack(waves, -1)))


@pytest.mark.parametrize("seed", range(6))
def test_the_flow_over_a_smooth_still_is_exact(seed):
    made = flow_scenes.over_still(np.random.default_rng(seed), smooth(), 5, 48, 56)
    clip, (flow, visible) = made.clip(), made.motion()
    warped = np.stack([bilinear(clip[t + 1], flow[t]) for t in range(4)])
    error = warped - clip[:-1]
    assert np.abs(error)[visible].mean() < 0.8  # levels of 255: two roundings
    slopes = np.gradient(clip[:-1].astype(float), axis=(2, 1))
    slopes = np.stack([slope[visible].ravel() for slope in slopes], -1)
    off = np.linalg.lstsq(slopes, error[visible].ravel(), rcond=None)[0]
    assert np.abs(off).max() < 0.02  # pixels by which the flow would have to be corrected


def test_warping_the_next_frame_gives_the_frame_where_visible():
    errors, changes = zip(*(gaps(scene(seed, frames=4)) for seed in range(16)), strict=True)
    assert np.mean(errors) < 0.35 * np.mean(changes)
    assert np.mean(errors) < 5  # levels of 255; the surfaces are full of detail


def test_it_is_the_flow_that_warp_wants():
    made = scene(5, frames=3)
    clip, (flow, visible) = made.clip(), made.motion()
    ours = ops.warp(clip[1:].astype(np.float32), flow)
    theirs = np.stack([bilinear(c, f) for c, f in zip(clip[1:], flow, strict=True)])
    np.testing.assert_allclose(np.asarray(ours)[visible], theirs[visible], atol=1e-2)


def test_played_in_reverse_it_is_the_flow_that_losses_want():
    made = flow_scenes.over_still(np.random.default_rng(1), smooth(), 4, 64, 80)
    clip = np.float32(made.clip())[None] / 255
    flow, visible = (x[None] for x in made.motion())
    mask = np.float32(visible[..., None])
    backward = losses.warp_consistency(clip[:, ::-1], flow[:, ::-1], mask[:, ::-1])
    still = losses.warp_consistency(clip[:, ::-1], 0 * flow, mask[:, ::-1])
    forward = losses.warp_consistency(clip, flow, mask)
    assert backward < 0.1 * min(still, forward)


def test_a_move_by_whole_pixels_is_exact():
    still = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    views = np.array([[[1, 0, 5 + 2 * t], [0, 1, 9 - t]] for t in range(3)], float)
    made = Scene((Layer(Image.fromarray(still), views),), 16, 20)
    np.testing.assert_array_equal(made.clip()[2], still[7:23, 9:29])
    flow, visible = made.motion()
    np.testing.assert_allclose(flow, np.broadcast_to((-2.0, 1.0), flow.shape), atol=1e-6)
    assert visible[:, :15, 2:].all()
    assert not visible[:, :, :2].any() and not visible[:, 15].any()  # these leave the frame


def test_what_gets_hidden_is_not_visible():
    ground = Image.new("RGB", (60, 40), (90, 140, 60))
    board = Image.new("RGBA", (10, 10), (200, 30, 30, 255))
    still = np.tile(np.array([[1, 0, 5], [0, 1, 5]], float), (2, 1, 1))
    ahead = np.array([[[1, 0, -8], [0, 1, -8]], [[1, 0, -12], [0, 1, -8]]], float)
    flow, visible = Scene((Layer(ground, still), Layer(board, ahead)), 24, 40).motion()
    assert tuple(flow[0, 12, 12]) == (4, 0) and visible[0, 12, 12]
    assert tuple(flow[0, 12, 20]) == (0, 0) and not visible[0, 12, 20]  # the board will be there
    assert visible[0, 12, 30]


def test_a_seed_is_a_scene():
    one, same, other = (scene(seed, frames=3, height=40, width=48) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.clip(), same.clip())
    for a, b in zip(one.motion(), same.motion(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.clip().shape == (3, 40, 48, 3) and one.clip().dtype == np.uint8
    assert np.abs(one.clip().astype(float) - other.clip()).mean() > 10


def test_scenes_vary():
    clips = np.stack([scene(seed, frames=2, height=32, width=32).clip() for seed in range(30)])
    tones = clips.reshape(30, -1, 3).mean(1)
    assert tones.std(0).min() > 15
    moves = [np.abs(scene(s, frames=2).motion()[0]).mean() for s in range(30)]
    assert min(moves) < 0.3 and max(moves) > 3 and np.std(moves) > 0.5
    owners = {len(scene(seed).layers) for seed in range(30)}
    assert owners == {2, 3, 4, 5}


def test_one_frame_has_no_flow():
    flow, visible = scene(0, frames=1, height=16, width=24).motion()
    assert flow.shape == (0, 16, 24, 2) and visible.shape == (0, 16, 24)


def test_a_small_still_is_mirrored_not_blackened():
    still = np.full((12, 10, 3), 200, np.uint8)
    made = flow_scenes.over_still(np.random.default_rng(3), still, 4, 40, 40)
    assert made.clip().min() >= 199


def test_part_of_a_clip_is_that_part():
    clip = made_up.Procedural(4, 7, 6, (32, 48))
    np.testing.assert_array_equal(clip.read(2, 3), clip.read(0, 6)[2:5])


def test_stills_become_clips(tmp_path):
    Image.fromarray(smooth()).save(tmp_path / "waves.png")
    (tmp_path / "torn.png").write_bytes(b"no picture")
    found = made_up.moving_stills(tmp_path, 1, 5, (32, 48))
    (clip,) = found.clips
    assert clip.read(0, 5).shape == (5, 32, 48, 3)
    assert clip.scene().motion()[0].shape == (4, 32, 48, 2)
    assert len(found.skipped) == 1 and "torn.png" in found.skipped[0]


def test_a_panned_still_is_not_resampled(tmp_path):
    still = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    Image.fromarray(still).save(tmp_path / "noise.png")
    (still_clip,) = made_up.moving_stills(tmp_path, 1, 5, (24, 32)).clips
    clips = [replace(still_clip, whole=True, take=take) for take in range(3)]
    corners = set()
    for clip in clips:
        views = clip.scene().layers[0].views
        for frame, view in zip(clip.read(0, 5), views, strict=True):
            x, y = view[:, 2].astype(int)
            np.testing.assert_array_equal(frame, still[y : y + 24, x : x + 32])
        corners.add(tuple(views[0, :, 2]))
    assert len(corners) == len({clip.name for clip in clips}) == 3


def test_grain_is_as_strong_and_wide_as_asked_and_new_in_each_frame(tmp_path):
    Image.fromarray(np.full((96, 96, 3), 128, np.uint8)).save(tmp_path / "grey.png")
    still = made_up.MovingStill(tmp_path / "grey.png", 1, 3, (64, 64), whole=True)
    for width, alike in ((0.0, 0.0), (0.8, 0.6)):
        clip = made_up.Grainy(still, 4.0, width)
        grain = clip.read(0, 3).astype(float) - 128
        assert grain.std() == pytest.approx(4, rel=0.03) and abs(grain.mean()) < 0.2
        luma = grain.mean(-1)
        beside = np.corrcoef(luma[:, :, 1:].ravel(), luma[:, :, :-1].ravel())[0, 1]
        assert beside == pytest.approx(alike, abs=0.1)
        assert abs(np.corrcoef(luma[0].ravel(), luma[1].ravel())[0, 1]) < 0.1
        assert np.corrcoef(grain[..., 0].ravel(), grain[..., 2].ravel())[0, 1] > 0.8
        np.testing.assert_array_equal(clip.read(2, 1)[0] - 128.0, grain[2])


def test_a_folder_without_stills_is_refused(tmp_path):
    with pytest.raises(InputError, match="no picture"):
        made_up.moving_stills(tmp_path)
