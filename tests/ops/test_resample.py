"""imresize against what MATLAB itself gave, as published by others, and against Pillow and JAX.

The numbers are facts from two public repositories: results of MATLAB's imresize on ramps and
points, saved by the tests of github.com/sanghyun-son/bicubic_pytorch (test_answer/*.mat), all 16
of whose files agree with ours to 1e-12, those of a photograph to 1e-13.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxvsr.ops.resample import KERNELS, imresize, taps

LETTERS = np.arange(64.0).reshape(8, 8)
BIG = np.arange(225.0).reshape(15, 15)
POINTS = np.zeros((4, 4))
POINTS[0, 0], POINTS[1, 0], POINTS[0, 1], POINTS[0, 3] = 100, 10, 1, 100
MATLAB = {  # (image, size, antialiased): the first row of what MATLAB gives
    "small_noaa": (np.arange(16.0).reshape(4, 4), (3, 3), False),
    "small_aa": (np.arange(16.0).reshape(4, 4), (3, 3), True),
    "down_noaa": (LETTERS, (3, 4), False),
    "down_aa": (LETTERS, (3, 4), True),
    "irregular_noaa": (LETTERS, (5, 7), False),
    "irregular_aa": (LETTERS, (5, 7), True),
    "topleft_noaa": (POINTS, (5, 5), False),
    "up_irregular_aa": (LETTERS, (11, 13), True),
    "x2_aa": (LETTERS, (4, 4), True),
    "x4_aa": (LETTERS, (2, 2), True),
    "x3_aa": (BIG, (5, 5), True),
    "x5_aa": (BIG, (3, 3), True),
}
ROWS = {
    "small_noaa": [0.5439814814814781, 1.9351851851851825, 3.3263888888888866],
    "small_aa": [0.7505518763796901, 2.1004415011037523, 3.4503311258278133],
    "down_noaa": [7.011574074074076, 9.074074074074076, 11.074074074074076, 13.136574074074076],
    "down_aa": [6.472528773310022, 8.511591273310021, 10.535028773310023, 12.57409127331002],
    "irregular_noaa": [1.8526341107871684, 3.026285714285709, 4.169142857142852, 5.311999999999995],
    "irregular_aa": [2.184525125376686, 3.3191373855569823, 4.468841371477804, 5.620459770114943],
    "topleft_noaa": [108.68522499999966, 27.697097499999902, -12.446562499999981, 26.8841925],
    "up_irregular_aa": [
        -0.5487371020587932,
        -0.11840596869511627,
        0.5673871582962373,
        1.1827717736808516,
    ],
    "x2_aa": [4.04296875, 6.08203125, 8.10546875, 10.14453125],
    "x4_aa": [12.3837890625, 16.6318359375],
    "x3_aa": [14.41975308641976, 17.506172839506178, 20.518518518518526, 23.530864197530867],
    "x5_aa": [29.10720000000004, 34.28800000000005, 39.468800000000044],
}


def resized(case, image):
    _, size, antialias = MATLAB[case]
    return np.asarray(imresize(image[..., None], size=size, antialias=antialias))[..., 0]


@pytest.mark.parametrize("case", MATLAB)
def test_matlab_s_own_results_come_out(case):
    row = resized(case, MATLAB[case][0])[0, : len(ROWS[case])]
    np.testing.assert_allclose(row, ROWS[case], rtol=0, atol=1e-12)


@pytest.mark.sampled
@pytest.mark.parametrize("case", MATLAB)
def test_float32_in_jax_agrees_to_a_millionth_of_the_peak(case):
    image = MATLAB[case][0] / MATLAB[case][0].max()
    ours = resized(case, jnp.asarray(image, jnp.float32))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, resized(case, image), rtol=0, atol=1e-6)


def test_a_picture_of_a_published_set_comes_out_bit_for_bit(shared):
    real = Image.open(shared / "metrics" / "mmagic_gt_baboon.png").convert("RGB")
    small = np.asarray(Image.open(shared / "metrics" / "mmagic_lq_baboon_x4.png").convert("RGB"))
    ours = imresize(np.asarray(real) / 255, 0.25) * 255
    np.testing.assert_array_equal(np.floor(np.clip(ours, 0, 255) + 0.5), small)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_flat_image_stays_flat(kernel):
    flat = np.full((2, 13, 9, 3), 0.7)
    np.testing.assert_allclose(imresize(flat, 0.37, kernel=kernel), 0.7, atol=1e-14)
    np.testing.assert_allclose(imresize(flat, 1.9, kernel=kernel), 0.7, atol=1e-14)


def test_sides_are_rounded_up_and_leading_axes_pass():
    assert imresize(np.zeros((2, 5, 7, 10, 3), np.float32), 0.25).shape == (2, 5, 2, 3, 3)
    assert imresize(np.zeros((7, 10, 1)), 1.5).shape == (11, 15, 1)


def test_it_runs_and_differentiates_inside_jit():
    image = jnp.asarray(np.random.default_rng(0).random((2, 9, 8, 3)), jnp.float32)
    halved = jax.jit(lambda x: imresize(x, 0.5))(image)
    np.testing.assert_allclose(halved, imresize(np.asarray(image), 0.5), atol=1e-6)
    slope = jax.jit(jax.grad(lambda x: imresize(x, 0.5)[0, 1, 1, 0]))(image)
    assert slope.sum() == pytest.approx(1, abs=1e-6) and jnp.isfinite(slope).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_and_the_input_are_kept(dtype):
    image = np.random.default_rng(0).random((8, 8, 3)).astype(dtype)
    before = image.copy()
    assert imresize(image, 0.5).dtype == dtype
    np.testing.assert_array_equal(imresize(image, 1), before)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    "kernel, filtered",
    [("cubic", "BICUBIC"), ("lanczos3", "LANCZOS"), ("linear", "BILINEAR"), ("box", "BOX")],
)
def test_inside_it_is_what_pillow_does_in_float(kernel, filtered):
    """Pillow cuts the kernel off at the border instead of mirroring the image."""
    image = np.random.default_rng(1).random((64, 64)).astype(np.float32)
    theirs = Image.fromarray(image).resize((24, 24), Image.Resampling[filtered])
    ours = imresize(image[..., None], size=(24, 24), kernel=kernel)[..., 0]
    near = 0 if kernel == "box" else 4
    inside = slice(near, 24 - near or None)
    np.testing.assert_allclose(ours[inside, inside], np.asarray(theirs)[inside, inside], atol=2e-6)


def test_taps_are_few_positive_where_they_must_and_sum_to_one():
    index, weights = taps(8, 4, 0.5)
    assert index.shape == weights.shape == (4, 8) and weights.dtype == np.float64
    np.testing.assert_allclose(weights.sum(1), 1)
    assert index[0].tolist() == [2, 1, 0, 0, 1, 2, 3, 4]  # mirrored, the border pixel twice


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({}, "either a scale or a size"),
        ({"scale": 0.5, "size": (2, 2)}, "either a scale or a size"),
        ({"scale": 0.5, "kernel": "cubik"}, "choose one of cubic"),
        ({"size": (0, 3)}, "less than one pixel"),
        ({"scale": -1.0}, "less than one pixel"),
    ],
)
def test_what_cannot_be_is_refused_by_name(wrong, words):
    with pytest.raises(ValueError, match=words):
        imresize(np.zeros((4, 4, 1)), **wrong)


def test_integers_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        imresize(np.zeros((4, 4, 3), np.uint8), 0.5)
