"""The trunks give the maps of torchvision's layers, and no more than was asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvsr.models.features import STACKS, Trunk, max_pool, normalise, smallest

KEY = jax.random.key(0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def frames(height, width, count=1):
    return np.random.default_rng(0).random((count, height, width, 3), np.float32)


def names(net):
    return tuple(step.name for step in STACKS[net])


@pytest.mark.parametrize(
    "net, height, width",
    [
        ("vgg16", 47, 33),
        ("vgg19", 32, 35),
        ("alexnet", 71, 64),
        ("squeezenet1_1", 61, 44),
    ],
)
def test_every_map_equals_torch(net, height, width):
    torch = pytest.importorskip("torch")
    from torch_trunks import Classifier

    x, classifier = frames(height, width), Classifier(net)
    normal = (torch.from_numpy(x) - torch.tensor(MEAN)) / torch.tensor(STD)
    with torch.no_grad():
        theirs = classifier(normal.permute(0, 3, 1, 2))
    ours = jax.jit(Trunk(net, names(net)).apply)({"params": classifier.tree()}, x)
    for name, other in zip(names(net), theirs, strict=True):
        mine, other = ours[name], other.permute(0, 2, 3, 1).numpy()
        assert mine.shape == other.shape, name
        np.testing.assert_allclose(mine, other, atol=1e-5 * np.abs(other).max(), err_msg=name)


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("size, stride, side", [(2, 2, 7), (3, 2, 7), (3, 2, 8), (3, 3, 11)])
def test_max_pool_equals_torch(size, stride, side, ceil):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).normal(-3, 1, (2, side, side + 1, 5)).astype(np.float32)
    pool = torch.nn.MaxPool2d(size, stride, ceil_mode=ceil)
    theirs = pool(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    np.testing.assert_array_equal(max_pool(x, size, stride, ceil=ceil), theirs)


def test_max_pool_passes_its_gradient_to_the_largest():
    x = np.random.default_rng(1).permutation(25).reshape(1, 5, 5, 1).astype(np.float32)
    gradient = jax.grad(lambda x: max_pool(x, 3, 2, ceil=True).sum())(x)
    winners = [x[0, i : i + 3, j : j + 3, 0].max() for i in (0, 2) for j in (0, 2)]
    expected = [winners.count(value) for value in x.ravel()]
    np.testing.assert_array_equal(gradient.ravel(), expected)


def test_a_convolution_is_told_from_its_activation():
    trunk, x = Trunk("vgg19", ("conv1_2", "relu1_2")), frames(8, 8)
    found = trunk.apply(trunk.init(KEY, x), x)
    assert found["conv1_2"].min() < 0
    np.testing.assert_array_equal(found["relu1_2"], np.maximum(found["conv1_2"], 0))


@pytest.mark.parametrize("maps, convolutions", [(("conv3_4",), 8), (("relu1_1", "pool2"), 4)])
def test_nothing_behind_the_last_map_is_computed(maps, convolutions):
    trunk = Trunk("vgg19", maps)
    program = jax.make_jaxpr(lambda x: trunk.init_with_output(KEY, x))(jnp.zeros((1, 16, 16, 3)))
    assert str(program).count("conv_general_dilated[") == convolutions
    assert len(jax.eval_shape(trunk.init, KEY, jnp.zeros((1, 16, 16, 3)))["params"]) == convolutions


def test_published_parameter_counts():
    """Convolutions only, as torchvision lists them without the classifiers."""
    counts = {"vgg16": 14_714_688, "vgg19": 20_024_384}
    counts |= {"alexnet": 2_469_696, "squeezenet1_1": 722_496}
    for net, count in counts.items():
        trunk = Trunk(net, names(net)[-1:])
        shapes = jax.eval_shape(trunk.init, KEY, jnp.zeros((1, 64, 64, 3)))
        assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count, net


@pytest.mark.parametrize("net", STACKS)
def test_the_smallest_frame_is_the_smallest_that_torch_takes(net):
    torch = pytest.importorskip("torch")
    from torch_trunks import Classifier

    side, trunk = smallest(STACKS[net]), Trunk(net, names(net)[-1:])
    (last,) = jax.eval_shape(trunk.init_with_output, KEY, frames(side, side))[0].values()
    assert last.shape[1:3] == (1, 1)
    with pytest.raises(ValueError, match=f"{side}x{side - 1} is smaller than {side}x{side}"):
        trunk.init(KEY, frames(side - 1, side))
    with torch.device("meta"):
        classifier = Classifier(net)
        assert classifier(torch.empty(1, 3, side, side))[-1].shape[2:] == (1, 1)
        with pytest.raises(RuntimeError):
            classifier(torch.empty(1, 3, side - 1, side))


def test_unknown_names_are_answered_with_the_choices():
    with pytest.raises(ValueError, match="'vgg13': choose one of vgg16"):
        Trunk("vgg13").init(KEY, frames(16, 16))
    with pytest.raises(ValueError, match=r"\['relu3_4'\] of vgg16: choose from conv1_1"):
        Trunk("vgg16", ("relu1_1", "relu3_4")).init(KEY, frames(16, 16))


def test_the_mean_colour_of_imagenet_is_zero():
    np.testing.assert_allclose(normalise(np.full((2, 2, 3), MEAN, np.float32)), 0, atol=1e-6)
    white = normalise(np.ones((1, 1, 3), np.float32))
    np.testing.assert_allclose(white[0, 0], (1 - np.array(MEAN)) / STD, rtol=1e-6)


def test_numbers_of_half_the_width_stay_so():
    trunk = Trunk("alexnet", ("relu1",))
    x = jnp.asarray(frames(16, 16), jnp.bfloat16)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), trunk.init(KEY, x))
    assert trunk.apply(params, x)["relu1"].dtype == jnp.bfloat16
