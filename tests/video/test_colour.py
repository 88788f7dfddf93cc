"""Colour conversion: exact round trips first, then the standards' numbers and swscale's."""

import itertools
from functools import partial

import jax
import numpy as np
import pytest
from av.video.reformatter import Interpolation

from jaxvsr.video import pixels
from jaxvsr.video.colour import MATRICES, SITINGS, Colour, from_rgb, to_rgb

SUBSAMPLINGS = [(1, 1), (1, 2), (2, 2)]


def random_planes(colour: Colour, height: int, width: int, seed: int = 0):
    """Any code, so most colours lie outside the gamut."""
    rng = np.random.default_rng(seed)
    kind = np.uint8 if colour.bits <= 8 else np.uint16
    draw = lambda h, w: rng.integers(0, colour.peak + 1, (h, w)).astype(kind)
    if colour.matrix == "gray":
        return (draw(height, width),)
    sv, sh = (1, 1) if colour.matrix == "rgb" else colour.subsampling
    chroma = -(-height // sv), -(-width // sh)
    return draw(height, width), draw(*chroma), draw(*chroma)


@pytest.mark.sampled
@pytest.mark.parametrize("size", [(8, 10), (7, 9), (8, 9), (2, 2), (1, 1), (1, 3), (3, 2)])
@pytest.mark.parametrize("siting", SITINGS)
def test_there_and_back_is_exact(siting, size):
    for matrix, full, bits, sub in itertools.product(
        [*MATRICES, "rgb", "gray"], [False, True], [8, 10, 12], SUBSAMPLINGS
    ):
        colour = Colour(matrix, full, siting, bits, sub)
        planes = random_planes(colour, *size)
        for before, after in zip(planes, from_rgb(to_rgb(planes, colour), colour), strict=True):
            assert after.dtype == before.dtype
            np.testing.assert_array_equal(after, before, err_msg=str(colour))


@pytest.mark.sampled
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("siting", ["left", "center", "topleft", "right"])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_there_and_back_is_exact_under_jit(subsampling, siting, bits):
    colour = Colour("bt709", False, siting, bits, subsampling)
    planes = random_planes(colour, 13, 14)
    there = jax.jit(partial(to_rgb, colour=colour))
    back = jax.jit(partial(from_rgb, colour=colour))
    rgb = there(planes)
    np.testing.assert_allclose(rgb, to_rgb(planes, colour), atol=1e-6)
    for before, after in zip(planes, back(rgb), strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("matrix", MATRICES)
def test_black_white_and_grey_have_the_standard_codes(matrix, bits):
    """They agree: limited black 16, white 235, neutral chroma 128, times 2^(n-8)."""
    unit = 2 ** (bits - 8)
    for full, black, white in ((False, 16 * unit, 235 * unit), (True, 0, 2**bits - 1)):
        colour = Colour(matrix, full, bits=bits, subsampling=(1, 1))
        rgb = np.array([[[0, 0, 0], [1, 1, 1]]], np.float32)
        y, u, v = from_rgb(rgb, colour)
        np.testing.assert_array_equal(y, [[black, white]])
        np.testing.assert_array_equal([u, v], np.full((2, 1, 2), 128 * unit))
        np.testing.assert_allclose(to_rgb((y, u, v), colour), rgb, atol=1e-6)


@pytest.mark.parametrize(
    "matrix, bars",
    [  # red, green, blue at 100 %, limited range, as tabulated for colour bars
        ("bt601", [(81, 90, 240), (145, 54, 34), (41, 240, 110)]),
        ("bt709", [(63, 102, 240), (173, 42, 26), (32, 240, 118)]),
    ],
)
def test_primaries_have_the_standard_codes(matrix, bars):
    planes = from_rgb(np.eye(3, dtype=np.float32)[None], Colour(matrix, subsampling=(1, 1)))
    np.testing.assert_array_equal(np.stack(planes, -1)[0], bars)


@pytest.mark.parametrize("matrix, code", [("bt601", 5), ("bt709", 1), ("bt2020", 9)])
@pytest.mark.parametrize("full", [False, True])
def test_agrees_with_swscale_at_444(matrix, code, full):
    colour = Colour(matrix, full, subsampling=(1, 1))
    rgb = np.random.default_rng(0).random((16, 16, 3), np.float32)
    planes = from_rgb(rgb, colour)
    frame = pixels.frame_of(planes, "yuv444p")
    exact = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    theirs = frame.reformat(
        format="rgb24",
        src_colorspace=code,
        src_color_range=2 if full else 1,
        interpolation=exact,
    ).to_ndarray()
    ours = 255 * np.clip(to_rgb(planes, colour), 0, 1)
    assert np.abs(ours - theirs).max() < 1.6


@pytest.mark.parametrize("siting", SITINGS)
def test_a_ramp_of_colour_lies_where_the_siting_says(siting):
    """Inside, a linear ramp comes out as the same ramp at each luma sample's own place."""
    sites = {"first": 0.0, "mid": 0.5, "last": 1.0}
    colour = Colour("bt709", True, siting, 8, (2, 2))
    y = np.full((16, 20), 128, np.uint8)
    rows, columns = (sites[site] for site in SITINGS[siting])
    along = lambda n, site: 2 * np.arange(n) + site
    u = np.round(90 + 2 * along(8, rows)[:, None] + 1 * along(10, columns))
    flat = np.full_like(u, 128)
    rgb = to_rgb((y, u.astype(np.uint8), flat.astype(np.uint8)), colour)
    blue = (rgb[..., 2] - 128 / 255) * 255 / 1.8556 + 128
    expected = 90 + 2 * np.arange(16)[:, None] + np.arange(20)
    inside = np.s_[3:-3, 3:-3]
    assert np.abs(blue - expected)[inside].max() < 0.51  # u itself was rounded


def test_out_of_gamut_is_not_clipped():
    planes = tuple(np.array([[code]], np.uint8) for code in (235, 16, 240))
    rgb = to_rgb(planes, Colour("bt709", subsampling=(1, 1)))
    assert rgb.max() > 1.5


def test_batches_of_frames():
    colour = Colour("bt601", siting="center")
    single = [random_planes(colour, 6, 7, seed) for seed in (0, 1)]
    planes = [np.stack(pair) for pair in zip(*single, strict=True)]
    both = to_rgb(tuple(planes), colour)
    np.testing.assert_array_equal(both[1], to_rgb(single[1], colour))
    for before, after in zip(planes, from_rgb(both, colour), strict=True):
        np.testing.assert_array_equal(after, before)


def test_gray_takes_luma():
    (y,) = from_rgb(np.array([[[1, 0, 0], [0, 1, 0]]], np.float32), Colour("gray", True))
    np.testing.assert_array_equal(y, [[76, 150]])
