"""What each network promises: counts, identities, windows, and equality with PyTorch's."""

from itertools import pairwise

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvsr import ops
from jaxvsr.layers import fold
from jaxvsr.models import MODELS, spec_of
from jaxvsr.models.classical import Bicubic, Lanczos
from jaxvsr.models.espcn import ESPCN, RepESPCN
from jaxvsr.models.esrgan import RRDBNet
from jaxvsr.models.sr_unet import LIGHT, SRUNet, UNet
from jaxvsr.models.srresnet import SRResNet
from jaxvsr.models.srvgg import SRVGGNetCompact

KEY = jax.random.key(0)
TINY = [
    SRUNet(width=4, depths=(1,) * 7, clip=False),
    SRUNet(width=4, depths=(1, 1, 1, 1, 2, 1, 1), folded=True, scale=1.5, clip=False),
    UNet(width=4, depths=(1,) * 7, scale=1, clip=False),
    RRDBNet(features=4, growth=2, blocks=1, scale=2),
    RRDBNet(features=4, growth=2, blocks=1, scale=1, unshuffle=2, plus=True),
    SRVGGNetCompact(features=4, convs=1),
    ESPCN(widths=(4,), residual=True),
    ESPCN(widths=(4, 4), activation="relu", scale=3),
    SRResNet(features=4, blocks=1, groups=2, scale=4),
    SRResNet(features=4, blocks=1, scale=3, ends=3),
    Bicubic(scale=2.5),
    Bicubic(scale=0.5),
    Lanczos(scale=1.5),
]


def describe(net):
    return f"{type(net).__name__}-x{net.scale}"


def random_params(net, seed=0):
    """Positive numbers, so that no unit is dead and no two paths cancel."""
    rng, side = np.random.default_rng(seed), 8 * net.multiple
    shapes = jax.eval_shape(net.init, KEY, jnp.zeros((1, side, side, 3))).get("params", {})
    top = lambda leaf: 1 / np.prod(leaf.shape[:-1]) if leaf.ndim > 1 else 0.5
    return jax.tree.map(lambda v: np.float32(rng.random(v.shape) * top(v)), shapes)


def run(net, params, x):
    return np.asarray(jax.jit(net.apply)({"params": params}, x))


def untrained(net, x, head="conv_last"):
    """The output with the head as it is initialised and everything before it random."""
    first = jax.jit(lambda: net.init(KEY, x)["params"][head])()
    return run(net, {**random_params(net), head: first}, x)


def count(net):
    shapes = jax.eval_shape(net.init, KEY, jnp.zeros((1, 16, 16, 3)))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize("net", TINY, ids=describe)
def test_output_is_scale_times_larger_and_keeps_the_type(net):
    side = 4 * net.multiple
    frames = jax.ShapeDtypeStruct((2, side, 2 * side, 3), jnp.bfloat16)
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), random_params(net))
    result = jax.eval_shape(net.apply, {"params": params}, frames)
    assert result.shape == (2, side * net.scale, 2 * side * net.scale, 3)
    assert result.dtype == jnp.bfloat16


@pytest.mark.sampled(8)
@pytest.mark.parametrize("net", TINY, ids=describe)
def test_a_window_with_its_reach_gives_the_untiled_result(net):
    m = net.multiple
    margin, core = -(-net.reach // m) * m, 2 * m
    width = 2 * margin + core + 4 * m
    x, params = (
        np.random.default_rng(0).random((1, 2 * m, width, 3), np.float32),
        random_params(net),
    )
    whole, part = run(net, params, x), run(net, params, x[:, :, 2 * m : -2 * m])
    at = lambda pixels: round(pixels * net.scale)
    inner = whole[:, :, at(2 * m + margin) : at(2 * m + margin + core)]
    np.testing.assert_allclose(part[:, :, at(margin) : at(margin + core)], inner, atol=1e-5)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("net", TINY, ids=describe)
def test_gradient_reaches_as_far_as_said(net):
    """The receptive field itself, by where the gradient of a few columns is not zero."""
    m = net.multiple
    place = (net.reach // m + 4) * m
    x, params = np.full((1, 2 * m, 2 * place + m, 3), 0.6, np.float32), random_params(net)
    left, right = round(place * net.scale), round((place + m) * net.scale)
    seen = lambda x: net.apply({"params": params}, x)[:, :, left:right].sum()
    columns = np.flatnonzero(np.abs(jax.jit(jax.grad(seen))(x)).max((0, 1, 3)))
    reach = max(place - columns[0], columns[-1] - (place + m - 1))
    assert net.reach - m <= reach <= net.reach


@pytest.mark.quick
@pytest.mark.parametrize("name", MODELS)
def test_table_tells_what_the_default_module_is(name):
    spec = MODELS[name]
    assert spec == spec_of(name, spec.module())
    assert spec.reach == spec.module().reach


@pytest.mark.parametrize(
    "net, expected",
    [
        (SRUNet(), 719_020),  # 740,975 with the layers that the published network never uses
        (SRUNet(folded=True), 665_932),
        (SRUNet(**LIGHT), 277_764),  # 290,199
        (UNet(), 2_056_492),  # 2,164,911
        (RRDBNet(), 16_697_987),
        pytest.param(RRDBNet(scale=2, unshuffle=2), 16_703_171, marks=pytest.mark.sweep),
        (RRDBNet(blocks=6), 4_467_779),
        (SRVGGNetCompact(), 621_424),
        (SRVGGNetCompact(convs=32), 1_213_296),
    ],
)
def test_parameters_are_as_many_as_published(net, expected):
    assert count(net) == expected


@pytest.mark.parametrize("net", [SRUNet(), SRUNet(**LIGHT), UNet()], ids=["full", "light", "unet"])
def test_paper_counts_layers_that_are_never_used(net):
    """Each width change carries a 1x1 beside its 3x3, and there is a second, unused last layer."""
    w = net.widths
    changes = [(3, w[0]), *pairwise(w)]
    changes += [(low + high, high) for low, high in zip(w[:0:-1], w[-2::-1], strict=True)]
    unused = sum(a * b + b for a, b in changes if a != b) + 3 * w[0] + 3
    expected = {SRUNet(): 740_975, SRUNet(**LIGHT): 290_199, UNet(): 2_164_911}[net]
    assert count(net) + unused == expected


@pytest.mark.sampled
@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("network", [SRUNet, UNet])
def test_untrained_network_is_bicubic(network, scale):
    net, x = network(scale=scale, width=4, depths=(1,) * 7), jax.random.uniform(KEY, (1, 16, 24, 3))
    y = untrained(net, x)
    np.testing.assert_allclose(y, jnp.clip(ops.upsample(x, scale), 0, 1), atol=1e-6)


def test_untrained_residual_espcn_is_bicubic():
    net, x = ESPCN(residual=True), jax.random.uniform(KEY, (1, 8, 8, 3))
    np.testing.assert_allclose(untrained(net, x, "conv3"), ops.upsample(x, 2), atol=1e-6)


def test_untrained_rep_espcn_is_bicubic():
    net, x = RepESPCN(width=4), jax.random.uniform(KEY, (1, 8, 8, 3))
    np.testing.assert_allclose(untrained(net, x, "conv6"), ops.upsample(x, 2), atol=1e-6)


def test_folding_rep_espcn_changes_nothing():
    net, x = RepESPCN(width=8, blocks=3), jax.random.uniform(KEY, (1, 8, 8, 3))
    params = random_params(net)
    folded = run(net.clone(folded=True), fold(params), x)
    np.testing.assert_allclose(folded, run(net, params, x), atol=1e-5)


@pytest.mark.parametrize("network", [SRUNet, UNet])
def test_folding_changes_nothing(network):
    """Eq. 3."""
    net, x = network(width=8, depths=(2,) + (1,) * 6), jax.random.uniform(KEY, (1, 16, 16, 3))
    params = random_params(net)
    folded = run(net.clone(folded=True), fold(params), x)
    assert count(net.clone(folded=True)) == sum(p.size for p in jax.tree.leaves(fold(params)))
    np.testing.assert_allclose(folded, run(net, params, x), atol=1e-5)


def test_folding_twice_is_folding_once():
    once = fold(random_params(SRUNet(width=4)))
    chex.assert_trees_all_equal(fold(once), once)


def test_without_the_clip_overshoot_stays():
    net, x = (
        SRUNet(width=4, depths=(1,) * 7, clip=False),
        jnp.zeros((1, 8, 8, 3)).at[:, :, 4:].set(1),
    )
    y = untrained(net, x)
    assert y.min() < 0 and y.max() > 1


def test_grouped_trunk_has_fewer_parameters_by_the_groups():
    dense, split = (count(SRResNet(features=8, blocks=2, groups=g)) for g in (1, 4))
    assert dense - split == 5 * (9 * 8 * 8 - 9 * 2 * 8)
