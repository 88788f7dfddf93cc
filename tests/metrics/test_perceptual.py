"""LPIPS gives the published values, and a gradient that may be trusted."""

import json
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxvsr.metrics.perceptual import NETS, lpips, lpips_layers
from jaxvsr.models.features import Trunk
from jaxvsr.weights.judges import lpips_params
from jaxvsr.weights.layouts import from_tree, to_tree

KEY = jax.random.key(0)


def pair(height=40, width=35, count=2):
    rng = np.random.default_rng(0)
    real = np.cumsum(rng.normal(0, 0.05, (count, height, width, 3)), axis=2).astype(np.float32) % 1
    return np.clip(real + rng.normal(0, 0.1, real.shape), 0, 1).astype(np.float32), real


@cache
def untrained(net):
    """Random parameters of the right shapes, with heads as trained ones are: not negative."""
    name, maps = NETS[net]
    found, params = jax.eval_shape(Trunk(name, maps).init_with_output, KEY, pair()[0])
    rng = np.random.default_rng(1)

    def normal(leaf):  # activations keep their size from layer to layer
        spread = np.sqrt(2 / np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 0.1
        return rng.standard_normal(leaf.shape, np.float32) * np.float32(spread)

    heads = [np.linspace(0, 1 + i, found[key].shape[-1]) for i, key in enumerate(maps)]
    trunk = jax.tree.map(normal, params["params"])
    return {"trunk": trunk, "heads": [head.astype(np.float32) for head in heads]}


@pytest.fixture
def alex():
    return untrained("alex")


def example(shared, name):
    return np.asarray(Image.open(shared / f"lpips/ex_{name}.png").convert("RGB"))[
        None
    ] / np.float32(255)


@pytest.mark.parametrize("net", ["alex", "squeeze"])
def test_published_values(net, shared):
    expected = json.loads((shared / "lpips/expected.json").read_text())
    params = lpips_params(net, trunk=shared / f"lpips/lpips_{net}_v0.1.npz")
    real = example(shared, "ref")
    for name, value in expected[f"{net}_v0.1"].items():
        fake = example(shared, name)
        np.testing.assert_allclose(lpips(fake, real, params, net=net), value, atol=2e-6)
    if net == "alex":
        layers = lpips_layers(example(shared, "p0"), real, params)[:, 0]
        np.testing.assert_allclose(layers, expected["per_layer_alex_p0"], atol=6e-6)


def in_torch(torch, net, params, fake, real):
    """Layers [layers, N] by torch, from images in [0, 1] with a gradient, if they need one."""
    import torch_trunks

    name, _ = NETS[net]
    classifier = torch_trunks.Classifier(name)
    tensors = {key: torch.tensor(np.array(v)) for key, v in from_tree(params["trunk"]).items()}
    classifier.load_state_dict(tensors)
    heads = [torch.tensor(np.array(head)) for head in params["heads"]]
    images = (2 * image.permute(0, 3, 1, 2) - 1 for image in (fake, real))
    return torch_trunks.lpips_layers(net, classifier, heads, *images)


@pytest.mark.parametrize("net", NETS)
def test_values_equal_torch(net):
    torch = pytest.importorskip("torch")
    params, (fake, real) = untrained(net), pair()
    with torch.no_grad():
        theirs = in_torch(torch, net, params, torch.from_numpy(fake), torch.from_numpy(real))
    np.testing.assert_allclose(lpips_layers(fake, real, params, net=net), theirs, rtol=2e-4)


def test_the_gradient_equals_torch(alex):
    torch = pytest.importorskip("torch")
    fake, real = pair()
    theirs = torch.from_numpy(fake).requires_grad_()
    in_torch(torch, "alex", alex, theirs, torch.from_numpy(real)).sum().backward()
    gradient = jax.grad(lambda x: lpips(x, real, alex).sum())(fake)
    np.testing.assert_allclose(gradient, theirs.grad, atol=1e-4 * np.abs(gradient).max())


def test_published_weights_of_vgg_as_far_as_they_are_at_hand(shared):
    """The first two of five layers use published weights, the others random ones."""
    torch = pytest.importorskip("torch")
    found = np.load(shared / "lpips/vgg16_conv1_conv2_and_lpips_lins.npz")
    names = {"conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7}
    known = {
        f"features.{place}.{leaf}": found[f"{name}.{leaf}"]
        for name, place in names.items()
        for leaf in ("weight", "bias")
    }
    heads = [found[f"lin{i}.weight"].ravel() for i in range(5)]
    params = {"trunk": untrained("vgg")["trunk"] | to_tree(known), "heads": heads}
    fake, real = example(shared, "p0"), example(shared, "ref")
    with torch.no_grad():
        theirs = in_torch(torch, "vgg", params, torch.from_numpy(fake), torch.from_numpy(real))
    np.testing.assert_allclose(lpips_layers(fake, real, params, net="vgg"), theirs, rtol=1e-4)


def test_the_gradient_is_the_slope(alex):
    """In double precision, where a difference of two values can be trusted."""
    with jax.enable_x64(True):
        fake, real = (image.astype(np.float64) for image in pair(31, 33, 1))
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), alex)
        f = lambda x: lpips(x, real, params)[0]
        way, step = np.random.default_rng(2).normal(size=fake.shape), 1e-6
        slope = (f(fake + step * way) - f(fake - step * way)) / (2 * step)
        np.testing.assert_allclose((jax.grad(f)(fake) * way).sum(), slope, rtol=1e-5)


def test_the_gradient_is_finite_where_lengths_are_zero(alex):
    _, real = pair()
    gradient = jax.grad(lambda x, p: lpips(x, real, p).sum())
    np.testing.assert_allclose(gradient(real, alex), 0, atol=1e-7)
    dead = {**alex, "trunk": jax.tree.map(lambda leaf: 0 * leaf, alex["trunk"])}
    np.testing.assert_array_equal(gradient(0 * real, dead), 0)
    for params in (alex, jax.tree.map(lambda leaf: 1e-25 * leaf, alex)):
        assert np.isfinite(gradient(0 * real, params)).all()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("net", NETS)
def test_equal_images_have_no_distance_and_the_order_does_not_matter(net):
    params, (fake, real) = untrained(net), pair()
    np.testing.assert_allclose(lpips(real, real, params, net=net), 0, atol=1e-12)
    there, back = (lpips(*images, params, net=net) for images in ((fake, real), (real, fake)))
    np.testing.assert_allclose(there, back, rtol=1e-5)
    assert (there > 0).all()


def test_images_of_a_batch_are_judged_one_by_one(alex):
    fake, real = pair(count=4)
    batch = lpips(fake, real, alex)
    alone = [lpips(a, b, alex) for a, b in zip(fake, real, strict=True)]
    assert batch.shape == (4,) and alone[0].shape == ()
    np.testing.assert_allclose(batch, alone, rtol=1e-4)
    clips = lpips(fake.reshape(2, 2, *fake.shape[1:]), real.reshape(2, 2, *real.shape[1:]), alex)
    np.testing.assert_allclose(clips.reshape(-1), batch, rtol=1e-4)


def test_crop_ignores_the_border(alex):
    fake, real = pair()
    spoiled = fake.copy()
    spoiled[:, :2] = spoiled[:, :, -2:] = 0
    same = (lpips(image, real, alex, crop=2) for image in (spoiled, fake))
    np.testing.assert_array_equal(*same)
    assert (lpips(spoiled, real, alex) > lpips(fake, real, alex)).all()


def test_it_runs_inside_a_program(alex):
    fake, real = pair()
    step = jax.jit(lambda x: jnp.mean(lpips(x, real, alex)))
    np.testing.assert_allclose(step(fake), lpips(fake, real, alex).mean(), rtol=1e-4)


def test_images_of_half_the_width_are_judged_at_full_width(alex):
    fake, real = (jnp.asarray(image, jnp.bfloat16) for image in pair())
    full = lpips(fake.astype(jnp.float32), real.astype(jnp.float32), alex)
    found = lpips(fake, real, alex)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, full, rtol=1e-4)


@pytest.mark.parametrize("net, least", [("alex", 31), ("squeeze", 17), ("vgg", 16)])
def test_the_smallest_images(net, least):
    params, (fake, real) = untrained(net), pair(least, least, 1)
    assert np.isfinite(lpips(fake, real, params, net=net)).all()
    with pytest.raises(ValueError, match=f"{least}x{least - 1} is smaller than {least}x{least}"):
        lpips(fake[:, 1:], real[:, 1:], params, net=net)


def test_what_cannot_be_compared_is_named(alex):
    fake, real = pair()
    with pytest.raises(ValueError, match="shapes differ"):
        lpips(fake[:, 1:], real, alex)
    with pytest.raises(ValueError, match="'resnet': choose one of alex, squeeze, vgg"):
        lpips(fake, real, alex, net="resnet")
