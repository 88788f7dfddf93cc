"""NIQE equals the published values of another implementation, and says what it cannot measure."""

import json

import jax
import numpy as np
import pytest

from jaxvsr.metrics.niqe import Pristine, niqe

ANY = Pristine(np.zeros(36, np.float32), np.eye(36, dtype=np.float32))


@pytest.fixture(scope="module")
def pristine(shared):
    with np.load(shared / "metrics" / "niqe_pris_params.npz") as file:
        mean, covariance = file["mu_pris_param"][0], file["cov_pris_param"]
    return Pristine(mean.astype(np.float32), covariance.astype(np.float32))


@pytest.fixture(scope="module")
def baboon(shared):
    """Float32 RGB [480, 500, 3]."""
    image = pytest.importorskip("PIL.Image").open(shared / "metrics" / "mmagic_gt_baboon.png")
    return np.asarray(image.convert("RGB"), np.float32) / 255


def noise(seed, shape):
    return np.random.default_rng(seed).random(shape, np.float32)


def test_agrees_with_the_published_values_of_mmagic(shared, pristine, baboon):
    cases = json.loads((shared / "metrics" / "image_metrics_expected.json").read_text())["niqe"]
    assert len(cases) == 5
    for case in cases:
        channels = {"y": "y", "gray": "grey"}.get(case["input"].split()[1], "plane")
        image = baboon[..., 2:] if channels == "plane" else baboon  # "BGR channel 0" is blue
        got = niqe(image, pristine, channels=channels, crop=case["crop_border"])
        np.testing.assert_allclose(got, case["value"], atol=2e-4, err_msg=str(case))


@pytest.mark.sweep
def test_images_of_a_batch_are_measured_one_by_one():
    batch = noise(1, (2, 2, 100, 200, 3))
    together = niqe(batch, ANY)
    assert together.shape == (2, 2)
    np.testing.assert_allclose(niqe(batch[1, 0], ANY), together[1, 0], rtol=1e-5)


@pytest.mark.sweep
def test_double_precision_changes_little():
    image = noise(2, (192, 192, 1))
    single = niqe(image, ANY, channels="plane")
    with jax.enable_x64():
        double = niqe(image.astype(float), ANY, channels="plane")
    assert double.dtype == np.float64
    np.testing.assert_allclose(single, double, rtol=1e-4)


def test_flat_blocks_tell_only_that_they_are_flat():
    """A black half leaves a finite score; a picture of one colour has none."""
    image = noise(3, (192, 192, 1))
    image[:96] = 0
    assert np.isfinite(niqe(image, ANY, channels="plane"))
    assert np.isnan(niqe(np.full_like(image, 0.4), ANY, channels="plane"))


def test_what_cannot_be_measured_is_named():
    with pytest.raises(ValueError, match="190x100 is smaller than two blocks of 96x96"):
        niqe(noise(0, (100, 190, 3)), ANY)
    with pytest.raises(ValueError, match="'rgb': choose from y, grey, plane"):
        niqe(noise(0, (96, 192, 3)), ANY, channels="rgb")
    with pytest.raises(ValueError, match=r"'y' needs 3 of floats .* not 1 of float32"):
        niqe(noise(0, (96, 192, 1)), ANY)
    with pytest.raises(ValueError, match=r"'y' needs 3 of floats .* not 3 of uint8"):
        niqe(np.zeros((96, 192, 3), np.uint8), ANY)
