"""Farneback's flow: known motions, and agreement with OpenCV."""

from itertools import islice

import av
import jax
import numpy as np
import pytest

from jaxvsr.metrics.flow import expand, farneback, motion

SHAPE = 75, 131  # a pyramid of two levels, of odd sides
flow_of = jax.jit(farneback)


def texture(shape, seed=0, move=(0.0, 0.0), turn=0.0):
    """Smooth random grey levels [H, W], moved by (dx, dy) pixels and turned about the corner."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    x, y = x - move[0], y - move[1]
    x, y = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    waves = rng.normal(size=(60, 2)) * 0.25, rng.random(60) * 2 * np.pi
    total = sum(np.sin(kx * x + ky * y + p) for (kx, ky), p in zip(*waves, strict=True))
    return np.clip(np.round(128 + 8 * total), 0, 255).astype(np.uint8)


def opencv(first, second):
    cv2 = pytest.importorskip("cv2")
    return cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)


def ours(first, second):
    return np.asarray(flow_of(*(frame[None].astype(np.float32) for frame in (first, second)))[0])


def apart(one, other):
    return np.linalg.norm(one - other, axis=-1)


def test_flow_is_that_of_opencv():
    first, second = texture(SHAPE), texture(SHAPE, move=(3.3, -1.7), turn=0.02)
    distance = apart(ours(first, second), opencv(first, second))
    assert distance.mean() < 1e-4 and distance.max() < 0.01


def test_where_nothing_matches_flow_is_still_that_of_opencv():
    first, second = texture(SHAPE), texture(SHAPE, seed=1)
    distance = apart(ours(first, second), opencv(first, second))
    assert distance.mean() < 0.01 and np.percentile(distance, 99) < 0.05


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["bigbuckbunny_720p.mp4", "driving_720p.mp4"])
def test_on_real_frames_flow_is_that_of_opencv(shared, name):
    with av.open(shared / "clips" / name) as file:
        pair = islice(file.decode(video=0), 10, 12)
        first, second = (f.to_ndarray(format="gray")[200:460, 300:700].copy() for f in pair)
    distance = apart(ours(first, second), opencv(first, second))
    assert distance.mean() < 1e-3 and distance.max() < 0.02


def test_a_known_translation_is_found():
    flow = ours(texture(SHAPE), texture(SHAPE, move=(4.5, 2.25)))
    assert np.abs(flow[16:-16, 16:-16] - (4.5, 2.25)).max() < 0.1


def test_equal_frames_do_not_move():
    """But for the last row and column, where OpenCV does not look into the second frame."""
    frame = texture(SHAPE)
    assert apart(ours(frame, frame), opencv(frame, frame)).max() < 1e-4
    assert np.abs(ours(frame, frame)[:10, :60]).max() < 1e-4


def test_flat_frames_do_not_move():
    flat = np.full(SHAPE, 90, np.uint8)
    np.testing.assert_allclose(ours(flat, flat + 9), 0, atol=1e-4)


def test_a_batch_is_its_pairs_one_by_one():
    frames = np.stack([texture((48, 40), move=(t, 0)) for t in range(3)]).astype(np.float32)
    batch = flow_of(frames[:-1], frames[1:])
    fits = [jax.jit(expand)(frame[None]) for frame in frames]
    for i, flow in enumerate(batch):
        np.testing.assert_allclose(jax.jit(motion)(fits[i], fits[i + 1])[0], flow, atol=1e-4)


def test_no_level_is_smaller_than_32_pixels():
    sizes = lambda *shape: [fit.shape[1:3] for fit in jax.eval_shape(expand, np.zeros((1, *shape)))]
    assert sizes(720, 1280) == [(90, 160), (180, 320), (360, 640), (720, 1280)]
    assert sizes(65, 300) == [(32, 150), (65, 300)]
    assert sizes(63, 300) == [(63, 300)]


@pytest.mark.parametrize("shapes", [((1, 9, 9), (1, 9, 8)), ((9, 9), (9, 9)), ((1, 1, 9),) * 2])
def test_frames_that_cannot_be_compared_are_refused(shapes):
    with pytest.raises(ValueError, match="two equal shapes"):
        farneback(*(np.zeros(shape, np.float32) for shape in shapes))
