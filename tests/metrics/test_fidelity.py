"""PSNR, SSIM and MS-SSIM equal other programs and the values that other projects publish."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxvsr.metrics import ms_ssim, psnr, ssim, windows

SHAPE = (2, 40, 33, 3)
PAIRS = (  # files of the shared VMAF pairs: degraded, reference, size, and the key of their values
    (
        "src01_hrc01_576x324.yuv420p10le.yuv",
        "src01_hrc00_576x324.yuv420p10le.yuv",
        (576, 324),
        "src01_10le_576x324_3frames",
    ),
    (
        "sparks_dis_480x270.yuv42010le.yuv",
        "sparks_ref_480x270.yuv42010le.yuv",
        (480, 270),
        "sparks_10le_480x270_5frames",
    ),
)


def pair(seed=0, noise=0.1, shape=SHAPE):
    rng = np.random.default_rng(seed)
    real = np.cumsum(rng.normal(0, 0.05, shape), axis=2).astype(np.float32) % 1
    return np.clip(real + rng.normal(0, noise, shape), 0, 1).astype(np.float32), real


def test_equal_images_are_perfect():
    _, real = pair()
    assert np.isposinf(psnr(real, real)).all()
    np.testing.assert_array_equal(ssim(real, real), 1)
    large = pair(shape=(161, 170, 3))[1]
    for convention in ("wang", "libvmaf"):
        np.testing.assert_allclose(ms_ssim(large, large, convention=convention), 1, atol=1e-6)


@pytest.mark.quick
def test_one_level_of_error_is_48_decibels():
    real = np.zeros((8, 8, 3), np.float32)
    np.testing.assert_allclose(psnr(real + np.float32(1 / 255), real), 48.1308036, atol=1e-4)
    y = psnr(real + np.float32(1 / 255), real, channels="y")
    np.testing.assert_allclose(y, 49.4527218, atol=1e-3)


def test_agrees_with_the_published_values_of_mmagic(shared):
    """Its images are 0 to 255 there; `convert_to` Y is the luma of BT.601 in limited range."""
    expected = json.loads((shared / "metrics" / "image_metrics_expected.json").read_text())
    for metric, name, tolerance in ((psnr, "psnr", 2e-4), (ssim, "ssim", 5e-6)):
        for case in expected[name]:
            shape = (32, 32, 3) if "x3" in case["a"] else (32, 32, 1)
            one = np.full(shape, 1 / 255, np.float32)
            channels = "y" if case.get("convert_to") == "Y" else "rgb"
            got = metric(one, 2 * one, channels=channels)
            np.testing.assert_allclose(got, case["value"], atol=tolerance, err_msg=str(case))


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


def test_a_large_image_goes_in_strips_that_join_without_a_seam():
    metrics = pytest.importorskip("skimage.metrics")
    fake, real = pair(noise=0.02, shape=(398, 1500, 1))  # the last strip overlaps the one before
    assert fake.size > 2 * windows.STRIP
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    x, y = (image[..., 0].astype(float) for image in (fake, real))
    theirs = metrics.structural_similarity(x, y, data_range=1, **options)
    np.testing.assert_allclose(ssim(fake, real), theirs, atol=1e-6)
    batch = np.stack([fake, real]), np.stack([real, real])
    for metric in (ssim, jax.vmap(ssim)):
        np.testing.assert_allclose(metric(*batch), [theirs, 1], atol=1e-6)
    with jax.enable_x64():
        # The gradient along one direction, over the seams, against a difference quotient.
        fake, real = fake.astype(float), real.astype(float)
        slope = (jax.grad(ssim)(fake, real) * (fake - real)).sum()
        step = 1e-4 * (fake - real)
        rise = (ssim(fake + step, real) - ssim(fake - step, real)) / 2e-4
        np.testing.assert_allclose(slope, rise, rtol=1e-5)


def scales(x, y):
    """MS-SSIM of two planes by its definition: torch's convolution, double precision."""
    torch = pytest.importorskip("torch")
    t = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-t * t / (2 * 1.5**2))
    window = (line[:, None] * line / line.sum() ** 2)[None, None]
    x, y = (torch.tensor(plane, dtype=torch.float64)[None, None] for plane in (x, y))
    result = 1.0
    for i, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        means = [torch.nn.functional.conv2d(z, window) for z in (x, y, x * x, y * y, x * y)]
        mx, my, xx, yy, xy = means
        score = (2 * (xy - mx * my) + 9e-4) / (xx - mx * mx + yy - my * my + 9e-4)
        if i == 4:
            score = score * (2 * mx * my + 1e-4) / (mx * mx + my * my + 1e-4)
        result *= max(float(score.mean()), 0.0) ** weight
        odd = (0, x.shape[3] % 2, 0, x.shape[2] % 2)
        x, y = (torch.nn.functional.pad(z, odd, mode="replicate") for z in (x, y))
        x, y = (torch.nn.functional.avg_pool2d(z, 2) for z in (x, y))
    return result


@pytest.mark.parametrize("noise", [0.01, 0.4])
def test_ms_ssim_follows_its_definition(noise):
    fake, real = pair(noise=noise, shape=(2, 161, 187, 3))  # odd sides at several scales
    for i in range(2):
        theirs = np.mean([scales(fake[i, ..., c], real[i, ..., c]) for c in range(3)])
        np.testing.assert_allclose(ms_ssim(fake, real)[i], theirs, atol=1e-5)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("fake", "real", "size", "key"), PAIRS, ids=lambda x: str(x)[:5])
def test_agrees_with_libvmaf(shared, fake, real, size, key):
    """Netflix's 10-bit pairs, whose luma is given to libvmaf as 0 to 255.75.

    float_ssim is ours, but its window has six digits, which is worth 1.3e-5. float_ms_ssim is
    ours with `convention="libvmaf"`; the paper's own pooling gives 0.001 more on the first pair.
    """
    expected = json.loads((shared / "vmaf" / "expected.json").read_text())[key]
    width, height = size
    planes = []
    for name in (fake, real):
        raw = np.fromfile(shared / "vmaf" / name, np.uint16).reshape(-1, width * height * 3 // 2)
        luma = raw[:, : width * height].reshape(-1, height, width, 1)
        planes.append(luma.astype(np.float32) / (4 * 255))
    np.testing.assert_allclose(ssim(*planes).mean(), expected["float_ssim"], atol=2e-5)
    theirs = expected["float_ms_ssim"]
    np.testing.assert_allclose(ms_ssim(*planes, convention="libvmaf").mean(), theirs, atol=3e-6)
    np.testing.assert_allclose(ms_ssim(*planes).mean(), theirs, atol=2e-3)


def test_opposites_score_0_at_several_scales_with_a_finite_gradient():
    _, real = pair(shape=(161, 161, 1))
    value, gradient = jax.value_and_grad(ms_ssim)(1 - real, real)
    assert value == 0 and jnp.isfinite(gradient).all()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("metric", [ssim, ms_ssim])
def test_gradients_are_right(metric):
    """Against difference quotients in double precision; at equal images they are all 0."""
    side = 13 if metric is ssim else 161
    with jax.enable_x64():
        fake, real = (x.astype(float) for x in pair(shape=(side, side, 1)))
        check_grads(lambda x: metric(x, real), (fake,), 1, modes=("rev",), rtol=1e-5)
        flat = np.full_like(real, 0.25)
        check_grads(lambda x: metric(x, flat + 0.1), (flat,), 1, modes=("rev",), rtol=1e-5)
        np.testing.assert_allclose(jax.grad(metric)(real, real), 0, atol=1e-12)
        np.testing.assert_allclose(jax.grad(metric)(flat, flat), 0, atol=1e-12)
    fake, real, flat = (x.astype(np.float32) for x in (fake, real, flat))
    for x, y in ((fake, real), (real, real), (flat, flat), (0 * flat, 0 * flat), (flat, real)):
        assert jnp.isfinite(jax.grad(metric)(x, y)).all()


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


def test_half_precision_is_measured_in_single():
    fake, real = (jnp.asarray(image, jnp.bfloat16) for image in pair())
    single = ssim(fake.astype(jnp.float32), real.astype(jnp.float32))
    np.testing.assert_array_equal(ssim(fake, real), single)


def test_what_cannot_be_compared_is_named():
    fake, real = pair()
    with pytest.raises(ValueError, match="shapes differ"):
        psnr(fake[:, 1:], real)
    with pytest.raises(ValueError, match="'yuv': choose rgb or y"):
        psnr(fake, real, channels="yuv")
    with pytest.raises(ValueError, match="'y' of 1 channels: give RGB"):
        psnr(fake[..., :1], real[..., :1], channels="y")
    with pytest.raises(ValueError, match=r"images of uint8: give floats in \[0, 1\]"):
        psnr(fake.astype(np.uint8), real.astype(np.uint8))
    with pytest.raises(ValueError, match="33x10 is smaller than the 11x11 window"):
        ssim(fake[:, :10], real[:, :10])
    with pytest.raises(ValueError, match=r"33x40 is smaller .* 5 scales: 161 pixels a side"):
        ms_ssim(fake, real)
    with pytest.raises(ValueError, match="'matlab': choose wang or libvmaf"):
        ms_ssim(fake, real, convention="matlab")
