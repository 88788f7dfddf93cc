"""Losses of trained networks' maps, of distillation, and CVEGAN's, each computed a second time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from jaxvsr import losses
from jaxvsr.losses import pixels
from jaxvsr.metrics import fidelity, perceptual
from jaxvsr.models.features import Trunk

torch = pytest.importorskip("torch")
F = torch.nn.functional
DRAW = np.random.default_rng(0)
FAKE, REAL = DRAW.random((2, 2, 12, 13, 3), np.float32)
KERNELS = [DRAW.normal(size=(3, 3, 3, 5)).astype(np.float32), DRAW.normal(size=(3, 3, 5, 4))]
SPLIT = (0.3, 0.1, 0.2, 0.4)


def features(frames):
    """Two maps of a small random network."""
    layout, maps = ("NHWC", "HWIO", "NHWC"), []
    for kernel in KERNELS:
        kernel = jnp.asarray(kernel, jnp.float32)
        frames = jax.lax.conv_general_dilated(
            frames, kernel, (2, 2), "VALID", dimension_numbers=layout
        )
        maps.append(frames)
    return maps


def torch_features(frames):
    x, maps = torch.from_numpy(frames).permute(0, 3, 1, 2), []
    for kernel in KERNELS:
        x = F.conv2d(x, torch.from_numpy(kernel).float().permute(3, 2, 0, 1), stride=2)
        maps.append(x)
    return maps


def pairs():
    return list(zip(torch_features(FAKE), torch_features(REAL), strict=True))


def finite(tree):
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("norm, theirs", [("l1", F.l1_loss), ("l2", F.mse_loss)])
def test_feature_distance_equals_torch(norm, theirs):
    ours = jax.jit(lambda a, b: losses.feature_distance(a, b, features, norm=norm))
    expected = sum(theirs(a, b).item() for a, b in pairs())
    assert ours(FAKE, REAL) == pytest.approx(expected, rel=1e-5)


def test_squared_feature_distance_is_gan_evh_eq_9():
    """The sum over layers of |a - b|^2 / (C H W), averaged over the batch."""
    norms = [((a - b).square().flatten(1).sum(1) / a[0].numel()).mean() for a, b in pairs()]
    ours = losses.feature_distance(FAKE, REAL, features)
    assert ours == pytest.approx(float(sum(norms)), rel=1e-5)


def test_feature_cosine_equals_torch():
    expected = sum(1 - F.cosine_similarity(a, b, 1).mean().item() for a, b in pairs())
    ours = jax.jit(lambda a, b: losses.feature_cosine(a, b, features))
    assert ours(FAKE, REAL) == pytest.approx(expected, abs=1e-5)


def test_feature_losses_take_clips_and_named_maps():
    clip, other = FAKE[:, None], REAL[:, None]
    named = lambda x: dict(zip("ab", features(x), strict=True))
    for loss in (losses.feature_distance, losses.feature_cosine):
        ours = jax.jit(loss, static_argnums=2)
        np.testing.assert_allclose(ours(clip, other, named), ours(FAKE, REAL, features), rtol=1e-6)


@pytest.mark.parametrize("loss", [losses.feature_distance, losses.feature_cosine])
def test_feature_losses_are_smooth_at_equal_and_at_zero_features(loss):
    dead = lambda frames: [0 * frames, jax.nn.relu(-frames)]
    both = lambda a: loss(a, REAL, features) + loss(a, REAL, dead)
    slope = jax.jit(jax.grad(both))(REAL)
    assert finite(slope) and np.abs(slope).max() < 1e-4


def test_a_map_before_its_activation_still_tells_dark_from_darker():
    def distance(name):
        trunk = Trunk("vgg19", (name,))
        shapes = jax.eval_shape(trunk.init, jax.random.key(0), FAKE)["params"]
        draw = np.random.default_rng(3)
        params = jax.tree.map(lambda s: draw.normal(size=s.shape).astype(np.float32), shapes)
        maps = jax.jit(lambda x: trunk.apply({"params": params}, x))
        a, b = (np.asarray(maps(x)[name]) for x in (FAKE, REAL))
        return losses.feature_distance(FAKE, REAL, maps), a, b

    (before, a, b), (after, _, _) = distance("conv1_1"), distance("relu1_1")
    assert before == pytest.approx(np.square(a - b).mean(), rel=1e-5)
    assert after == pytest.approx(np.square(np.maximum(a, 0) - np.maximum(b, 0)).mean(), rel=1e-5)


def test_lpips_as_a_loss_is_the_mean_of_the_metric():
    trunk, maps = perceptual.NETS["squeeze"]
    frames = DRAW.random((2, 2, 17, 17, 3), np.float32)
    shapes = jax.eval_shape(Trunk(trunk, maps).init, jax.random.key(0), frames[0])["params"]
    params = jax.tree.map(lambda s: 0.1 * DRAW.normal(size=s.shape).astype(np.float32), shapes)
    widths = (64, 128, 256, 384, 384, 512, 512)
    judge = {"trunk": params, "heads": [DRAW.random(n, np.float32) for n in widths]}
    each = perceptual.lpips(frames[0], frames[1], judge, net="squeeze")
    found = losses.lpips(frames[0], frames[1], judge, net="squeeze")
    assert each.shape == (2,) and found == pytest.approx(float(each.mean()), rel=1e-6)


@pytest.mark.parametrize("norm, theirs", [("l1", F.l1_loss), ("l2", F.mse_loss)])
def test_distilled_output_and_features_equal_torch_and_spare_the_teacher(norm, theirs):
    maps, others = ([DRAW.random((2, 5, 4, n), np.float32) for n in (3, 6)] for _ in range(2))
    expected = [
        theirs(*map(torch.from_numpy, pair)).item() for pair in zip(maps, others, strict=True)
    ]
    output = losses.distil_output(maps[0], others[0], norm=norm)
    assert output == pytest.approx(expected[0], rel=1e-5)
    both = jax.value_and_grad(lambda a, b: losses.distil_features(a, b, norm=norm), (0, 1))
    value, (student, teacher) = jax.jit(both)(maps, others)
    assert value == pytest.approx(sum(expected), rel=1e-5)
    assert np.abs(student[0]).max() > 0 and not np.any(teacher[0])


def test_distilled_attention_equals_torch_across_widths():
    student, teacher = (DRAW.normal(size=(2, 5, 4, n)).astype(np.float32) for n in (3, 7))
    energy = lambda x: F.normalize(torch.from_numpy(x).square().sum(-1).flatten(1))
    expected = (energy(student) - energy(teacher)).square().sum(1).mean().item()
    loss = jax.jit(losses.distil_attention)
    assert loss([student], [teacher]) == pytest.approx(expected, abs=1e-5)
    assert loss([teacher], [teacher]) < 1e-12
    assert finite(jax.jit(jax.grad(losses.distil_attention))(0 * student, teacher))


def test_networks_of_other_depth_cannot_be_paired():
    with pytest.raises(ValueError):
        losses.distil_features([FAKE], [FAKE, REAL])


def test_cvegan_equals_its_parts_computed_elsewhere():
    shape = (2, 161, 161, 3)
    real = DRAW.random(shape, np.float32)
    fake = np.clip(real + DRAW.normal(0, 0.1, shape), 0, 1).astype(np.float32)
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    options = {"channel_axis": -1, "data_range": 1.0, **window}
    each = [structural_similarity(a, b, **options) for a, b in zip(fake, real, strict=True)]
    error, ms_ssim = fake.astype(np.float64) - real, float(fidelity.ms_ssim(fake, real).mean())
    parts = np.abs(error).mean(), np.square(error).mean(), 1 - np.mean(each), 1 - ms_ssim
    expected = sum(w * np.log(part + 1e-6) for w, part in zip(SPLIT, parts, strict=True))
    assert losses.cvegan(fake, real) == pytest.approx(expected, abs=1e-5)


def test_cvegan_has_finite_slopes_at_equal_and_at_opposite_pictures(monkeypatch):
    """On small pictures, for time: SSIM stands for MS-SSIM, which is tested by itself."""
    monkeypatch.setattr(pixels, "ms_ssim", losses.ssim)
    loss = jax.jit(jax.value_and_grad(losses.cvegan))
    value, slope = loss(REAL, REAL)
    assert value == pytest.approx(np.log(1e-6), abs=0.5) and finite(slope)
    assert finite(loss(1 - REAL, REAL))


def test_pixels_that_are_right_are_left_alone():
    """Also by L1, whose slope JAX puts at 1 where the error is 0."""
    for loss in (losses.l1, losses.mse, losses.charbonnier):
        value, slope = jax.jit(jax.value_and_grad(loss))(REAL, REAL)
        assert value == 0 and not np.any(slope)
    assert losses.l1(FAKE, REAL) == pytest.approx(np.abs(FAKE - REAL).mean(), rel=1e-5)
    assert losses.mse(FAKE, REAL) == pytest.approx(np.square(FAKE - REAL).mean(), rel=1e-5)


def test_an_unknown_norm_is_named():
    with pytest.raises(ValueError, match="norm 'l3': choose one of l1, l2, charbonnier"):
        losses.feature_distance(FAKE, REAL, features, norm="l3")
