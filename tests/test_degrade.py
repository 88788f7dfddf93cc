"""A real encoder and decoder in memory: exact where it can be, worse as the CRF rises."""

from dataclasses import replace

import numpy as np
import pytest

from jaxvsr import degrade
from jaxvsr.degrade import COLOURS, Recipe, code, draw, quantise, shrink
from jaxvsr.errors import UsageError
from jaxvsr.video.colour import from_rgb, to_rgb

HEVC = Recipe(codec="libx265", preset="ultrafast")


def noise(frames=5, height=64, width=80, seed=0):
    """Blotches that move, as uint8 [T, H, W, 3]."""
    rng = np.random.default_rng(seed)
    still = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3)).repeat(8, 0).repeat(8, 1)
    return np.stack([still[t : t + height, t : t + width] for t in range(frames)]).astype(np.uint8)


def error(a, b):
    return np.abs(a.astype(float) - b).mean()


@pytest.mark.parametrize("matrix", COLOURS)
def test_lossless_coding_leaves_what_4_2_0_leaves(matrix):
    clip, colour = noise(), COLOURS[matrix]
    planes = from_rgb(clip.astype(np.float32) / 255, colour)
    expected = quantise(to_rgb(planes, colour))
    np.testing.assert_array_equal(code(clip, Recipe(crf=0, matrix=matrix)), expected)


@pytest.mark.parametrize("recipe", [Recipe(), HEVC], ids=["h264", "h265"])
def test_every_frame_comes_back_in_order_and_worse_with_crf(recipe):
    clip = noise(9)
    good, bad = (code(clip, replace(recipe, crf=crf)) for crf in (18, 45))
    assert good.shape == bad.shape == clip.shape and good.dtype == np.uint8
    assert error(good, clip) < error(bad, clip)
    nearest = [np.argmin([error(frame, other) for other in clip]) for frame in good]
    assert nearest == list(range(9))


def test_the_same_recipe_gives_the_same_frames():
    clip, recipe = noise(), Recipe(preset="medium", crf=30)
    np.testing.assert_array_equal(recipe(clip), recipe(clip))


def test_a_recipe_halves():
    assert Recipe()(noise(2)).shape == (2, 32, 40, 3)


@pytest.mark.parametrize("method", degrade.FILTERS)
def test_shrinking_keeps_the_mean_and_the_place(method):
    clip = noise(1, 64, 64)
    small = shrink(clip, (32, 32), method)
    assert small.mean() == pytest.approx(clip.mean(), abs=1)
    back = small.repeat(2, 1).repeat(2, 2)
    moved = [error(np.roll(back, by, 2), clip) for by in (-1, 0, 1)]
    assert np.argmin(moved) == 1 and moved[0] == pytest.approx(moved[2], rel=0.1)


def test_area_is_the_mean_of_a_block():
    blocks = noise(1, 16, 16)[:, ::2, ::2]
    np.testing.assert_array_equal(shrink(blocks.repeat(2, 1).repeat(2, 2), (8, 8), "area"), blocks)


def test_odd_sides_are_refused():
    with pytest.raises(UsageError, match="even"):
        code(noise(1)[:, :63], Recipe())


def test_drawn_recipes_are_as_told_and_repeat_with_the_seed():
    recipes = [draw(np.random.default_rng(7)) for _ in range(2)]
    assert recipes[0] == recipes[1]
    rng = np.random.default_rng(0)
    drawn = [draw(rng) for _ in range(300)]
    assert {r.codec for r in drawn} == {"libx264", "libx265"}
    assert min(r.crf for r in drawn) >= 14 and max(r.crf for r in drawn) <= 38
    assert 0.15 < np.mean([r.codec == "libx265" for r in drawn]) < 0.35
