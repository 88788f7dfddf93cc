"""What the metrics of motion promise; tOF and the warping error also against OpenCV."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvsr import metrics

SIZE = 48, 64
OFF = np.where(np.arange(3) % 2, 1.0, -1.0)[:, None, None, None]  # changes sign in every frame


def scene(speed=0.0, frames=3, size=SIZE, seed=0):
    """Coloured waves [T, H, W, 3] as 8-bit frames in [0, 1], carried `speed` pixels a frame."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    waves, phases = rng.normal(size=(40, 2)) * 0.3, rng.random((40, 3)) * 2 * np.pi
    x = x - speed * np.arange(frames)[:, None, None]
    parts = zip(waves, phases, strict=True)
    total = sum(np.sin((kx * x + ky * y)[..., None] + phase) for (kx, ky), phase in parts)
    return eight_bits(0.5 + 0.04 * total)


def eight_bits(clip):
    return (np.round(255 * np.clip(clip, 0, 1)) / 255).astype(np.float32)


def noise(scale, frames=3, seed=1):
    return scale * np.random.default_rng(seed).standard_normal((frames, *SIZE, 3))


def scores(fake, real, **options):
    return {name: np.asarray(v) for name, v in metrics.motion_scores(fake, real, **options).items()}


def opencv_flow(first, second):
    cv2 = pytest.importorskip("cv2")
    grey = [
        cv2.cvtColor(np.round(255 * f).astype(np.uint8), cv2.COLOR_RGB2GRAY)
        for f in (first, second)
    ]
    return cv2.calcOpticalFlowFarneback(*grey, None, 0.5, 3, 15, 3, 5, 1.2, 0)


def opencv_warp(image, flow):
    cv2 = pytest.importorskip("cv2")
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    at = x + flow[..., 0], y + flow[..., 1]
    options = {"interpolation": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    # OpenCV rounds places to 1/32 pixel; four images at whole places are exact.
    low = [np.floor(a) for a in at]
    fx, fy = (a - b for a, b in zip(at, low, strict=True))
    taps = [cv2.remap(image, low[0] + i, low[1] + j, **options) for j in (0, 1) for i in (0, 1)]
    weights = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    return sum(w[..., None] * tap for w, tap in zip(weights, taps, strict=True))


def test_the_truth_is_perfectly_steady():
    real = scene(speed=1.6)
    found = scores(real, real)
    np.testing.assert_array_equal(found["tof"], 0)
    np.testing.assert_array_equal(found["tpsnr"], np.inf)
    np.testing.assert_array_equal(found["tssim"], 1)


def test_a_still_clip_of_a_still_truth_is_perfectly_steady():
    real, fake = scene(), scene(seed=5)
    found = scores(fake, real)
    assert found["tof"].max() < 0.02  # only along the border that Farneback's second frame lacks
    assert scores(fake, real, crop=12)["tof"].max() < 1e-3
    assert found["tpsnr"].min() > 60 and found["tssim"].min() > 0.9999
    assert found["warp_error"].max() < 1e-3


def test_tof_is_the_difference_of_speeds():
    found = scores(scene(speed=2.5), scene(speed=1), crop=12)
    np.testing.assert_allclose(found["tof"], 1.5, atol=0.15)


def test_tof_is_that_of_opencv():
    real = scene(speed=2)
    fake = eight_bits(real + noise(0.03))
    expected = []
    for t in (1, 2):
        off = opencv_flow(fake[t - 1], fake[t]) - opencv_flow(real[t - 1], real[t])
        expected.append(np.linalg.norm(off, axis=-1))
    np.testing.assert_allclose(scores(fake, real)["tof"], np.mean(expected, (1, 2)), atol=1e-4)
    middle = np.mean([e[8:40, 16:48] for e in expected], (1, 2))  # TecoGAN's cut of 48x64
    np.testing.assert_allclose(metrics.tof(fake, real, crop="tecogan"), middle, atol=1e-4)


def test_warp_error_is_that_of_opencv_and_numpy():
    """Lai et al.: the next frame warped back, where Ruder et al.'s thresholds allow it."""
    real = scene(speed=2)
    fake = eight_bits(real + noise(0.03))
    on, back = opencv_flow(real[0], real[1]), opencv_flow(real[1], real[0])
    power = lambda flow: (flow**2).sum(-1)
    returned = opencv_warp(back, on)
    seen = power(on + returned) <= 0.01 * (power(on) + power(returned)) + 0.5
    edge = [np.diff(on, axis=a, append=on.take([-1], a)) for a in (0, 1)]
    seen &= power(edge[0]) + power(edge[1]) <= 0.01 * power(on) + 0.002
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    x, y = x + on[..., 0], y + on[..., 1]
    seen &= (x >= 0) & (x <= SIZE[1] - 1) & (y >= 0) & (y <= SIZE[0] - 1)
    assert 0.5 < seen.mean() < 1
    expected = np.square(fake[0] - opencv_warp(fake[1], on))[seen].mean()
    np.testing.assert_allclose(scores(fake, real)["warp_error"][0], 1000 * expected, rtol=1e-3)


@pytest.mark.parametrize("speed", [0.0, 1.5])
def test_flicker_and_noise_lower_every_score(speed):
    real = scene(speed)
    steps = [scores(eight_bits(real + scale * OFF), real) for scale in (0.01, 0.03)]
    steps += [scores(eight_bits(real + noise(scale)), real) for scale in (0.02, 0.06)]
    for weak, strong in (steps[:2], steps[2:]):
        assert (strong["tpsnr"] < weak["tpsnr"] - 5).all()
        assert (strong["tssim"] < weak["tssim"]).all()
        assert (strong["warp_error"] > weak["warp_error"]).all()
    assert (steps[3]["tof"] > steps[2]["tof"]).all() and (steps[2]["tof"] > 0).all()


def test_an_error_new_in_every_frame_costs_3_db_more_than_in_psnr():
    real = scene()
    fake = real + noise(0.02).astype(np.float32)
    both = metrics.psnr(fake[:-1], real[:-1]), metrics.psnr(fake[1:], real[1:])
    np.testing.assert_allclose(scores(fake, real)["tpsnr"], np.mean(both, 0) - 3.01, atol=0.1)


def test_an_error_that_moves_with_the_scene_costs_little():
    real, other = scene(speed=1.5), scene(speed=1.5, seed=7)
    moving = eight_bits(0.7 * real + 0.3 * other)
    standing = eight_bits(0.7 * real + 0.3 * scene(seed=7))
    steady, loose = (scores(fake, real, crop=12)["tpsnr"] for fake in (moving, standing))
    assert (steady > metrics.psnr(moving, real).max() + 10).all() and (steady > loose + 10).all()


def test_against_itself_the_truth_is_limited_and_still_tpsnr_is_the_warping_error():
    moving = scene(speed=1.5)
    itself = scores(moving, moving, against="itself", crop=12)
    assert np.isfinite(itself["tpsnr"]).all() and (itself["tssim"] < 1).all()
    still = scene()
    found = scores(eight_bits(still + noise(0.03)), still, against="itself", crop=12)
    expected = -10 * np.log10(found["warp_error"] / 1000)
    np.testing.assert_allclose(found["tpsnr"], expected, atol=1e-2)


def test_colour_alone_does_not_count_in_luma():
    real = scene()
    tint = np.array([0, -0.04, 0.04 * 128.553 / 24.966], np.float32)  # of no luma
    fake = (real + OFF * tint).astype(np.float32)
    assert metrics.tpsnr(fake, real, channels="y").min() > 60 > scores(fake, real)["tpsnr"].max()


@pytest.mark.parametrize("name", ["tssim", "warp_error"])
def test_a_metric_alone_is_its_part_of_all_inside_jit_too(name):
    real = scene(speed=1)
    fake = eight_bits(real + noise(0.02))
    alone = jax.jit(getattr(metrics, name))(fake, real)
    assert alone.shape == (2,)
    np.testing.assert_allclose(alone, scores(fake, real)[name], rtol=1e-3)


def test_tlp_is_100_times_the_difference_of_changes():
    distance = lambda a, b: jnp.abs(a - b).mean((1, 2, 3))
    real, fake = np.zeros((3, *SIZE, 3), np.float32), np.zeros((3, *SIZE, 3), np.float32)
    real[1], fake[1], fake[2] = 0.2, 0.5, 0.5
    np.testing.assert_allclose(metrics.tlp(fake, real, distance), [30, 20], rtol=1e-5)
    np.testing.assert_array_equal(metrics.tlp(real, real, distance, crop="tecogan"), 0)


def refused(message, fake, real, *args, **options):
    with pytest.raises(ValueError, match=message):
        metrics.motion_scores(fake, real, *args, **options)


def test_what_cannot_be_measured_is_refused():
    real = scene()
    refused("two frames or more", real[:1], real[:1])
    refused("two frames or more", real[..., :1], real[..., :1])
    refused("shapes differ", real, real[:2])
    refused("names 'tlp'", real, real, ("tlp",))
    refused("against 'nothing'", real, real, against="nothing")
    refused("channels 'yuv'", real, real, channels="yuv")
    refused("crop 24 leaves nothing of 64x48", real, real, crop=24)
    with pytest.raises(ValueError, match="two frames or more"):
        metrics.tlp(real[:1], real[:1], lambda a, b: a)
