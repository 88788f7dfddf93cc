"""What holds on an NVIDIA GPU too: `make test-gpu`. Without one these tests are not chosen."""

import jax
import media
import numpy as np
import pytest
import toys

from jaxvsr.inference.film import enhance_film
from jaxvsr.inference.network import load
from jaxvsr.inference.settings import Settings
from jaxvsr.video.reader import VideoReader

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpu():
    try:
        return jax.devices("gpu")[0]
    except RuntimeError:
        pytest.fail("no GPU that JAX can use; install jax[cuda13] or leave this target alone")


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).random((2, 72, 128, 3), np.float32)


def on(device, frames, **options):
    with jax.default_device(device):
        return load("sr_unet_light_x2", **options)(frames)


def test_gpu_equals_cpu(gpu, frames):
    """TensorFloat-32 may round the products, so half a level of 8 bits is the bound."""
    np.testing.assert_allclose(on(gpu, frames), on(jax.devices("cpu")[0], frames), atol=2e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_close(dtype, gpu, frames):
    error = on(gpu, frames, dtype=dtype) - on(gpu, frames)
    assert -10 * np.log10(np.square(error).mean()) > 40


def test_tiled_equals_untiled(gpu, frames):
    np.testing.assert_allclose(on(gpu, frames, tile=32), on(gpu, frames), atol=2e-3)


def test_film_on_gpu_equals_cpu(gpu, tmp_path):
    source = media.film(tmp_path / "in.mkv")
    net, frames = toys.still(), {}
    for device in ("cpu", "gpu"):
        settings = Settings(device=device, codec="ffv1")
        output = enhance_film(net, source, tmp_path / f"{device}.mkv", settings, "none").output
        with VideoReader(output) as reader:
            frames[device] = [f.planes[0].astype(int) for f in reader]
    for a, b in zip(frames["cpu"], frames["gpu"], strict=True):
        assert np.abs(a - b).max() <= 1
