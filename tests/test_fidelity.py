"""PSNR and SSIM equal scikit-image's and the values other projects publish."""

import numpy as np
import pytest

from jaxvsr.metrics import psnr, ssim

SHAPE = (2, 40, 33, 3)


def pair(seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    real = np.cumsum(rng.normal(0, 0.05, SHAPE), axis=2).astype(np.float32) % 1
    return np.clip(real + rng.normal(0, noise, SHAPE), 0, 1).astype(np.float32), real


def test_equal_images_are_perfect():
    _, real = pair()
    assert np.isposinf(psnr(real, real)).all()
    np.testing.assert_array_equal(ssim(real, real), 1)


def test_one_level_of_error_is_48_decibels():
    real = np.zeros((8, 8, 3), np.float32)
    np.testing.assert_allclose(psnr(real + np.float32(1 / 255), real), 48.1308036, atol=1e-4)
    y = psnr(real + np.float32(1 / 255), real, channels="y")
    np.testing.assert_allclose(y, 49.4527218, atol=1e-3)


@pytest.mark.parametrize("noise", [0.003, 0.1])
def test_agrees_with_scikit_image(noise):
    metrics = pytest.importorskip("skimage.metrics")
    fake, real = pair(noise=noise)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for i, (p, s) in enumerate(zip(psnr(fake, real), ssim(fake, real), strict=True)):
        theirs = metrics.peak_signal_noise_ratio(real[i], fake[i], data_range=1)
        np.testing.assert_allclose(p, theirs, rtol=1e-5)
        theirs = metrics.structural_similarity(
            real[i].astype(float), fake[i].astype(float), data_range=1, channel_axis=-1, **options
        )
        np.testing.assert_allclose(s, theirs, atol=1e-5)


def test_constant_images_differ_by_their_light_only():
    one = np.full((32, 32, 1), 1 / 255, np.float32)
    np.testing.assert_allclose(ssim(one, 2 * one), 0.9130623777, atol=5e-6)
    one, two = (np.full((32, 32, 3), level / 255, np.float32) for level in (1, 2))
    np.testing.assert_allclose(ssim(one, two, channels="y"), 0.9987801, atol=5e-6)


def test_crop_ignores_the_border():
    fake, real = pair()
    spoiled = fake.copy()
    spoiled[:, :4] = spoiled[:, :, -4:] = 0
    for metric in (psnr, ssim):
        np.testing.assert_array_equal(metric(spoiled, real, crop=4), metric(fake, real, crop=4))
        assert (metric(spoiled, real) < metric(fake, real)).all()


def test_what_cannot_be_compared_is_named():
    fake, real = pair()
    with pytest.raises(ValueError, match="shapes differ"):
        psnr(fake[:, 1:], real)
    with pytest.raises(ValueError, match="'yuv': choose rgb or y"):
        psnr(fake, real, channels="yuv")
    with pytest.raises(ValueError, match="33x10 is smaller than the 11x11 window"):
        ssim(fake[:, :10], real[:, :10])
