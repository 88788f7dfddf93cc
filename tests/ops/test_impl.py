"""A network gives the same frames whichever way its operations run, and says when they cannot."""

import importlib

import jax
import numpy as np
import pytest

from jaxvsr import ops
from jaxvsr.errors import UsageError
from jaxvsr.inference.film import find_device
from jaxvsr.inference.settings import Settings
from jaxvsr.models.espcn import ESPCN
from jaxvsr.models.sr_unet import SRUNet
from jaxvsr.models.srresnet import SRResNet
from jaxvsr.models.srvgg import SRVGGNetCompact
from jaxvsr.ops import impl

KEY = jax.random.key(0)
X = jax.random.uniform(KEY, (1, 8, 8, 8))
W = 0.1 * jax.random.normal(KEY, (3, 3, 8, 8))

NETWORKS = {
    "sr_unet": SRUNet(width=8, depths=(1,) * 7, folded=True),
    "sr_unet x1.5": SRUNet(scale=1.5, width=8, depths=(1,) * 7, folded=True),
    "srresnet": SRResNet(scale=2, features=8, blocks=1),
    "srresnet grouped": SRResNet(scale=2, features=8, blocks=1, groups=2),
    "srvgg": SRVGGNetCompact(scale=2, features=8, convs=1),
    "espcn": ESPCN(widths=(8, 8), activation="relu", residual=True),
}
WINOGRAD = ("srresnet", "winograd")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name, impl", [WINOGRAD, *((name, "triton") for name in NETWORKS)])
def test_kernels_change_nothing(name, impl):
    pytest.importorskip("kernels.launch")  # before Triton, whose interpreter it turns on
    net, frames = NETWORKS[name], jax.random.uniform(KEY, (1, 8, 16, 3))
    params = net.init(KEY, frames)
    params = jax.tree.map(lambda p: p + 0.05 * jax.random.normal(KEY, p.shape), params)
    wanted = jax.jit(net.apply)(params, frames)
    got = jax.jit(net.clone(impl=impl).apply)(params, frames)
    np.testing.assert_allclose(got, wanted, atol=2e-5)


@pytest.mark.parametrize("activation", ["none", "relu", "leaky", "prelu"])
def test_what_follows_a_convolution(activation):
    slope = {"leaky": 0.2, "prelu": np.linspace(0, 0.7, 8, dtype=np.float32)}.get(activation)
    y = np.asarray(ops.conv(X, W)) + 1
    bent = {"none": y, "relu": np.maximum(y, 0)}.get(activation)
    bent = np.where(y >= 0, y, y * slope) if bent is None else bent
    got = ops.conv(
        X,
        W,
        np.ones(8, np.float32),
        activation=activation,
        slope=slope,
        scale=0.5,
        skips=((X, 2.0), (X, -1.0)),
    )
    np.testing.assert_allclose(got, 0.5 * bent + X, atol=1e-5)


def test_auto_without_a_gpu_is_xla():
    if jax.default_backend() == "gpu":
        pytest.skip("there is a GPU")
    never = lambda: pytest.fail("a kernel was asked for")
    assert impl.either("auto", "sum", lambda x: x + 1, never, 1) == 2


def test_an_unknown_impl_names_the_choices():
    with pytest.raises(ValueError, match=r"impl 'cuda': choose one of auto, xla, triton, winograd"):
        ops.conv(X, W, impl="cuda")


def test_missing_kernels_are_named_with_the_remedy():
    def fast():
        return importlib.import_module("kernels.nothing_of_this_name")

    with pytest.raises(UsageError, match=r"run from a checkout.*; or use impl 'auto'"):
        impl.either("triton", "sum", lambda x: x, fast, 1)


@pytest.mark.parametrize("impl", ["triton", "winograd"])
def test_kernels_without_a_gpu_are_refused_before_work(impl):
    if jax.default_backend() == "gpu":
        pytest.skip("there is a GPU")
    with pytest.raises(UsageError, match=f"--impl {impl}: needs an NVIDIA GPU, JAX has cpu"):
        find_device(Settings(impl=impl))


def test_warp_by_kernel():
    pytest.importorskip("kernels.launch")
    flow = 3 * jax.random.normal(KEY, (1, 8, 8, 2))
    got = jax.jit(lambda x, flow: ops.warp(x, flow, impl="triton"))(X, flow)
    np.testing.assert_allclose(got, ops.warp(X, flow), atol=1e-5)


@pytest.mark.parametrize("way", ["triton", "winograd", "ring"])
def test_every_way_to_convolve(way):
    """All take the same arguments, with and without a bias; the definition is XLA's."""
    kernels = pytest.importorskip("kernels")
    pytest.importorskip("kernels.launch")
    x, w = X.astype("float16"), W.astype("float16")
    then = {"activation": "leaky", "slope": 0.2, "scale": 0.5, "skips": ((x, 2.0),)}
    for bias in (None, jax.numpy.ones(8, "float16")):
        wanted = ops.conv(x.astype("float32"), w.astype("float32"), bias, **then)
        got = jax.jit(lambda x, w, b: kernels.convolve(x, w, b, way=way, **then))(x, w, bias)
        np.testing.assert_allclose(got, wanted, atol=5e-3)


def test_auto_chooses_from_what_can_be():
    kernels = pytest.importorskip("kernels")
    assert kernels.ways(1, "float16") == ("triton", "winograd", "ring")
    assert "winograd" not in kernels.ways(1, "bfloat16")
    assert kernels.ways(4, "float16") == ("triton",)
