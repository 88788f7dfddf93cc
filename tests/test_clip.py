"""What clips, streams and tiles promise."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jaxvsr import clip


@pytest.mark.quick
def test_windows_mirror_without_repeating_the_end():
    frames = jnp.arange(4.0).reshape(1, 4, 1, 1, 1)
    near = clip.windows(frames, 2)[0, :, :, 0, 0, 0]
    expected = [[2, 1, 0, 1, 2], [1, 0, 1, 2, 3], [0, 1, 2, 3, 2], [1, 2, 3, 2, 1]]
    np.testing.assert_array_equal(near, expected)


@pytest.mark.sampled
@pytest.mark.parametrize("radius", [0, 1, 2, 3])
@pytest.mark.parametrize("lengths", [(7,), (1,), (2, 5, 1), (4, 4), (1, 1, 1), (9, 2)])
def test_streamed_windows_equal_those_of_each_scene_alone(radius, lengths):
    """A stream cut into scenes gives what `windows` gives for every scene by itself."""
    starts = [0, *itertools.accumulate(lengths)]
    items = [(i, i in starts) for i in range(sum(lengths))]
    expected = []
    for start, length in zip(starts, lengths, strict=False):
        scene = jnp.arange(start, start + length, dtype=jnp.float32).reshape(1, -1, 1, 1, 1)
        rows = np.asarray(clip.windows(scene, radius)).reshape(length, -1).astype(int).tolist()
        expected += [(row, i == 0) for i, row in enumerate(rows)]
    assert list(clip.scenes(items, radius)) == expected


def test_streamed_windows_hold_few_frames():
    """A frame is given out as soon as its window is full: memory does not grow with length."""
    taken = 0

    def source():
        nonlocal taken
        for i in range(1000):
            taken = i + 1
            yield i, i == 0

    for given, (window, _) in enumerate(clip.scenes(source(), 2)):
        assert len(window) == 5
        assert taken <= min(given + 3, 1000)


@pytest.mark.parametrize(
    "size, tile, reach, multiple", [(64, 16, 5, 8), (40, 64, 3, 4), (56, 24, 9, 8)]
)
def test_tiles_cover_the_axis_and_hold_their_reach(size, tile, reach, multiple):
    t = clip.tiling(size, tile, reach, multiple)
    kept = set()
    for window, core in t.tiles:
        kept |= set(range(core, core + t.core))
        assert window % multiple == core % multiple == 0
        assert window == 0 or core - window >= reach
        assert window + t.window == size or window + t.window - core - t.core >= reach
        assert 0 <= window <= core and core + t.core <= window + t.window <= size
    assert kept == set(range(size))


def test_recurrent_carries_state_forward():
    frames = jnp.arange(1.0, 5.0).reshape(1, 4, 1, 1, 1)
    total = clip.recurrent(lambda s, x: (s + x, s + x), jnp.zeros((1, 1, 1, 1)), frames)
    np.testing.assert_array_equal(total.ravel(), [1, 3, 6, 10])


def test_sliding_with_radius_zero_is_frame_by_frame():
    frames = jnp.arange(6.0).reshape(2, 3, 1, 1, 1)
    np.testing.assert_array_equal(clip.sliding(lambda x: 2 * x, frames, 0), 2 * frames)
