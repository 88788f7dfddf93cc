"""Colour conversion: exact round trips first, then the standards' numbers and swscale's."""

import itertools
from functools import partial

import jax
import numpy as np
import pytest

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
