"""Critics: equal to PyTorch's layers with the same weights, and what each one sees."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxvsr import losses
from jaxvsr.models import critics

torch = pytest.importorskip("torch")
F = torch.nn.functional
KEY = jax.random.key(0)


def example(*shape):
    return np.random.default_rng(1).random(shape, np.float32)


def drawn(critic, *inputs):
    """Random parameters, none at its neutral value; drawn by numpy, so nothing is compiled."""
    draw = np.random.default_rng(0)

    def leaf(path, like):
        centre = 1.0 if path[-1].key == "scale" else 0.0
        return (centre + 0.2 * draw.normal(size=like.shape)).astype(np.float32)

    shapes = jax.eval_shape(critic.init, KEY, *inputs)["params"]
    return jax.tree_util.tree_map_with_path(leaf, shapes)


def count(critic, *shape):
    shapes = jax.eval_shape(critic.init, KEY, jnp.zeros(shape))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def tensor(x):
    return torch.from_numpy(np.array(x, np.float32))


def planes(frames):
    return tensor(frames).permute(0, 3, 1, 2)


def conv(x, p, stride=1, padding=1, spectral=False):
    """PyTorch's convolution, with the singular value from its own decomposition."""
    weight = tensor(p["kernel"]).permute(3, 2, 0, 1)
    if spectral:
        weight = weight / torch.linalg.matrix_norm(weight.flatten(1), 2)
    return F.conv2d(x, weight, tensor(p["bias"]) if "bias" in p else None, stride, padding)


def lrelu(x):
    return F.leaky_relu(x, 0.2)


def block(x, p, stride, norm):
    x = conv(x, p["conv"], stride, spectral=norm == "spectral")
    if norm == "batch":
        scale, bias = tensor(p["norm"]["scale"]), tensor(p["norm"]["bias"])
        x = F.batch_norm(x, None, None, scale, bias, training=True)
    if norm == "instance":
        x = F.instance_norm(x)
    return lrelu(x)


def first(norm):
    return "spectral" if norm == "spectral" else "none"


def torch_srgan(p, x, norm):
    for i in range(8):
        x = block(x, p[f"body_{i}"], 1 + i % 2, norm if i else first(norm))
    x = x.permute(0, 2, 3, 1).flatten(1)
    x = lrelu(x @ tensor(p["dense1"]["kernel"]) + tensor(p["dense1"]["bias"]))
    return (x @ tensor(p["dense2"]["kernel"]) + tensor(p["dense2"]["bias"]))[:, 0]


def torch_patch(p, x, norm):
    last = len(p) - 2
    for i in range(last + 1):
        x = block(x, p[f"body_{i}"], 2 if i < last else 1, norm if i else first(norm))
    return conv(x, p["conv_last"], spectral=norm == "spectral")[:, 0]


def torch_teco(p, x):
    x, maps = lrelu(conv(x, p["conv_first"])), []
    for i in range(4):
        x = conv(x, p[f"conv_{i}"], 2)
        bias = tensor(p[f"norm_{i}"]["bias"])
        x = lrelu(F.batch_norm(x, None, None, None, bias, training=True, eps=1e-3))
        maps.append(x)
    return conv(x, p["dense"], padding=0)[:, 0], maps


def torch_unet(p, x, skip):
    maps = [lrelu(conv(x, p["conv0"]))]
    for i in (1, 2, 3):
        maps.append(lrelu(conv(maps[-1], p[f"conv{i}"], 2, spectral=True)))
    x = maps.pop()
    for i in (4, 5, 6):
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = lrelu(conv(x, p[f"conv{i}"], spectral=True)) + skip * maps.pop()
    for i in (7, 8):
        x = lrelu(conv(x, p[f"conv{i}"], spectral=True))
    return conv(x, p["conv9"])[:, 0]


def close(ours, theirs):
    np.testing.assert_allclose(ours, np.asarray(theirs), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("norm", critics.NORMS)
def test_srgan_equals_torch(norm):
    critic, frames = critics.SRGANCritic(4, norm, hidden=8), example(3, 37, 35, 3)
    params = drawn(critic, frames)
    scores = jax.jit(critic.apply)({"params": params}, frames)
    assert scores.shape == (3,)
    close(scores, torch_srgan(params, planes(frames), norm))


@pytest.mark.parametrize("norm", critics.NORMS)
def test_patch_equals_torch(norm):
    critic, frames = critics.Patch((4, 6, 8, 10), norm), example(2, 43, 37, 3)
    params = drawn(critic, frames)
    scores = jax.jit(critic.apply)({"params": params}, frames)
    assert scores.shape == (2, 3, 2)
    close(scores, torch_patch(params, planes(frames), norm))


def test_temporal_patch_equals_torch_on_concatenated_frames():
    critic, clip = critics.TemporalPatch((4, 6)), example(2, 3, 19, 17, 3)
    params = drawn(critic, clip)
    stacked = torch.cat([planes(clip[:, t]) for t in range(3)], 1)
    scores = jax.jit(critic.apply)({"params": params}, clip)
    close(scores, torch_patch(params["patch"], stacked, "batch"))


def test_tecogan_equals_torch_and_shows_its_maps():
    critic, inputs = critics.TecoGANCritic((4, 4, 6, 8, 10)), example(2, 37, 35, 27)
    params = drawn(critic, inputs)
    both = jax.jit(lambda p, x: critic.apply({"params": p}, x, method="layers"))
    (scores, maps), (theirs, pictures) = both(params, inputs), torch_teco(params, planes(inputs))
    close(scores, theirs)
    for ours, picture in zip(maps, pictures, strict=True):
        close(ours, picture.permute(0, 2, 3, 1))
    np.testing.assert_array_equal(jax.jit(critic.apply)({"params": params}, inputs), scores)


@pytest.mark.parametrize("skip", [True, False])
def test_unet_equals_torch(skip):
    critic, frames = critics.UNetCritic(4, skip), example(2, 40, 24, 3)
    params = drawn(critic, frames)
    scores = jax.jit(critic.apply)({"params": params}, frames)
    assert scores.shape == (2, 40, 24)
    close(scores, torch_unet(params, planes(frames), skip))


def test_published_parameter_counts():
    """CycleGAN's code prints 2.765 M for its critic; BasicSR's U-Net critic holds 4,376,897."""
    assert count(critics.Patch(norm="instance"), 1, 32, 32, 3) == 2_764_737
    assert count(critics.UNetCritic(), 1, 16, 16, 3) == 4_376_897


def test_srgan_counts_what_its_layers_hold():
    """At 96x96, as usually built, 23,565,505; ours less the 1,856 biases that batch norm undoes."""
    assert count(critics.SRGANCritic(), 1, 96, 96, 3) == 23_565_505 - 1_856


def test_a_patch_is_70_pixels():
    critic, frames = critics.Patch((2, 2, 2, 2), "none"), example(1, 112, 112, 3)
    params = drawn(critic, frames)
    score = lambda x: critic.apply({"params": params}, x)[0, 6, 6]
    seen = np.abs(jax.jit(jax.grad(score))(frames)).sum((0, 3)) > 0
    assert [np.ptp(np.nonzero(seen.any(axis))) + 1 for axis in (0, 1)] == [70, 70]


def test_the_smallest_patch_has_one_score():
    critic = critics.Patch((2, 2, 2, 2), "none")
    shape = lambda side: jax.eval_shape(critic.init_with_output, KEY, jnp.zeros((1, side, 24, 3)))
    assert shape(24)[0].shape == (1, 1, 1)
    with pytest.raises(ValueError, match="24x23 is smaller than 24x24"):
        shape(23)


def test_bad_sizes_and_norms_are_named():
    with pytest.raises(ValueError, match="20x16 is no multiple of 8"):
        critics.UNetCritic(2).init(KEY, jnp.zeros((1, 16, 20, 3)))
    with pytest.raises(ValueError, match="norm 'bath': choose one of batch, instance"):
        critics.Patch((2, 2), "bath").init(KEY, jnp.zeros((1, 16, 16, 3)))


def kernels():
    """Random, nearly degenerate, degenerate, of rank one, wide, of tiny and huge numbers."""
    draw = np.random.default_rng(0)
    left, right = (np.linalg.qr(draw.normal(size=(n, n)))[0] for n in (64, 32))
    near = left[:, :32] * np.linspace(1, 0.999, 32) @ right
    yield draw.normal(size=(4, 4, 64, 128))
    yield near
    yield left[:, :32] @ right
    yield np.outer(left[0], right[0])
    yield draw.normal(size=(3, 3, 3, 64))
    yield 1e-25 * draw.normal(size=(16, 16))
    yield 1e25 * draw.normal(size=(16, 16))


@pytest.mark.parametrize("kernel", [*kernels()], ids=lambda k: "x".join(map(str, k.shape)))
def test_spectral_norm_is_the_largest_singular_value(kernel):
    exact = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]
    sigma = jax.jit(critics.spectral_norm)(kernel.astype(np.float32))
    assert sigma == pytest.approx(exact, rel=1e-3)


def test_spectral_norm_takes_its_vectors_as_constants():
    kernel = np.random.default_rng(1).normal(size=(3, 3, 4, 8)).astype(np.float32)
    left, _, right = np.linalg.svd(kernel.reshape(-1, 8))
    slope = jax.jit(jax.grad(critics.spectral_norm))(kernel)
    np.testing.assert_allclose(slope.reshape(-1, 8), np.outer(left[:, 0], right[0]), atol=1e-4)


def test_a_zero_kernel_stays_zero_under_spectral_norm():
    layer, x = critics.Conv(4, spectral=True), example(1, 8, 8, 4)
    score = lambda kernel: layer.apply({"params": {"kernel": kernel, "bias": jnp.zeros(4)}}, x)
    zero = jnp.zeros((3, 3, 4, 4))
    assert jnp.all(score(zero) == 0)
    assert jnp.all(jnp.isfinite(jax.grad(lambda k: score(k).sum())(zero)))


def test_r1_reaches_through_spectral_norm():
    """The penalty of a step differentiates the slope of scores once more, by the parameters."""
    critic, frames = critics.UNetCritic(2), example(2, 8, 8, 3)
    params = drawn(critic, frames)
    judge = lambda p: lambda x: critic.apply({"params": p}, x)
    slope = jax.jit(jax.grad(lambda p: losses.r1_penalty(judge(p), frames)))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    assert np.abs(slope["conv1"]["kernel"]).max() > 0


def test_scores_do_not_depend_on_the_number_of_devices():
    """Batch statistics are the global batch's, for the program is one."""
    critic, frames = critics.Patch((2, 4)), example(4, 16, 16, 3)
    params = drawn(critic, frames)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    split = jax.device_put(frames, NamedSharding(mesh, PartitionSpec("data")))
    slope = jax.jit(jax.grad(lambda p, x: jnp.square(critic.apply({"params": p}, x)).mean()))
    one, four = slope(params, frames), slope(params, split)
    chex.assert_trees_all_close(one, four, atol=1e-5, rtol=1e-4)


def test_parameters_are_the_only_state():
    for critic, shape in (
        (critics.Patch((2, 2)), (1, 16, 16, 3)),
        (critics.UNetCritic(2), (1, 16, 16, 3)),
    ):
        assert set(jax.eval_shape(critic.init, KEY, jnp.zeros(shape))) == {"params"}


def test_half_precision_keeps_statistics_and_scores_in_float32():
    critic, frames = critics.Patch((4, 6)), example(2, 17, 19, 3)
    params = drawn(critic, frames)
    half = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), (params, frames))
    scores = jax.jit(critic.apply)({"params": half[0]}, half[1])
    assert scores.dtype == jnp.float32
    np.testing.assert_allclose(scores, critic.apply({"params": params}, frames), atol=0.2)


def test_channels_are_frame_after_frame():
    clip = example(2, 3, 4, 5, 3)
    np.testing.assert_array_equal(critics.as_channels(clip)[..., 3:6], clip[:, 1])


def test_triplets_keep_the_middle_of_what_was_warped():
    frames, warped, enlarged = (jnp.full((1, 3, 8, 16, 3), v) for v in (0.25, 0.5, 0.75))
    x = critics.triplets(frames, warped, enlarged)
    assert x.shape == (1, 8, 16, 27)
    assert jnp.all(x[..., :9] == 0.25) and jnp.all(x[..., 18:] == 0.75)
    assert jnp.all(x[:, 1:7, 2:14, 9:18] == 0.5)
    assert x[..., 9:18].sum() == 0.5 * 6 * 12 * 9


def test_instance_noise_has_the_deviation_asked_for():
    frames = jnp.full((2, 64, 64, 3), 0.5)
    noisy = critics.instance_noise(KEY, frames, 0.1)
    assert jnp.std(noisy - frames) == pytest.approx(0.1, rel=0.05)
    np.testing.assert_array_equal(critics.instance_noise(KEY, frames, 0.1), noisy)
    np.testing.assert_array_equal(critics.instance_noise(KEY, frames, jnp.float32(0)), frames)
