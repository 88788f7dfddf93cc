"""Depthwise and separable convolutions equal PyTorch's; kernels run in the interpreter here."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kernels.launch")  # not triton itself: launch decides how it is imported
from kernels import separable  # noqa: E402
from kernels.launch import RefusedError  # noqa: E402
from kernels.separable import depthwise3x3, separable3x3  # noqa: E402

KEY = jax.random.key(4)
DTYPES = ("float32", "float16", "bfloat16")
DEPTHWISE, SEPARABLE = separable.OPS
AUTO = (jax.sharding.AxisType.Auto,)


def depthwise64(x, w, b):
    """x * w + b by PyTorch in float64."""
    x, w, b = (torch.from_numpy(np.asarray(a).astype(np.float64)) for a in (x, w, b))
    y = torch.nn.functional.conv2d(
        x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), b, padding=1, groups=x.shape[-1]
    )
    return y.permute(0, 2, 3, 1).numpy()


def leaky(z):
    return np.where(z >= 0, z, z * 0.2)


def separable64(x, dw, db, pw, pb):
    """Both steps and both activations of the bench's operation, in float64."""
    pw, pb = (np.asarray(a).astype(np.float64) for a in (pw, pb))
    return leaky(leaky(depthwise64(x, dw, db)) @ pw + pb)


def gap(ours, truth) -> float:
    """||ours - truth|| / ||truth||."""
    truth = np.asarray(truth, np.float64)
    return np.linalg.norm(np.asarray(ours).astype(np.float64) - truth) / np.linalg.norm(truth)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("dtype", DTYPES)
def test_depthwise_equals_torch(dtype):
    for shape in DEPTHWISE.small:
        arrays = DEPTHWISE.example(KEY, shape, dtype)
        truth = leaky(depthwise64(*arrays))
        assert gap(jax.jit(DEPTHWISE.ours)(*arrays), truth) < DEPTHWISE.tolerance[dtype]
        if dtype == "float32":
            assert gap(DEPTHWISE.definition(*arrays), truth) < 1e-6


@pytest.mark.sampled(1)
@pytest.mark.parametrize("dtype", DTYPES)
def test_separable_equals_torch(dtype):
    for shape in SEPARABLE.small:
        arrays = SEPARABLE.example(KEY, shape, dtype)
        truth = separable64(*arrays)
        assert gap(jax.jit(SEPARABLE.ours)(*arrays), truth) < SEPARABLE.tolerance[dtype]
        if dtype == "float32":
            assert gap(SEPARABLE.definition(*arrays), truth) < 1e-6


def test_other_ways_to_write_them_are_the_same():
    for op in separable.OPS:
        arrays = op.example(KEY, (1, 5, 4, 6), "float32")
        for way in op.baselines.values():
            assert gap(way(*arrays), op.definition(*arrays)) < 1e-6


@pytest.mark.sampled(1)
@pytest.mark.parametrize("op", separable.OPS, ids=lambda op: op.name)
def test_every_config_gives_the_same(op):
    arrays = op.example(KEY, (1, 9, 3, 12), "float16")
    truth = separable64(*arrays) if op is SEPARABLE else leaky(depthwise64(*arrays))
    for dtype in ("float16", "float32"):
        made = {c.constants: c for c in op.configs((1, 9, 3, 12), dtype)}  # warps change nothing
        for config in made.values():
            assert gap(op.ours(*arrays, config=config), truth) < 1e-3, config


@pytest.mark.sampled(1)
@pytest.mark.parametrize("c, k", [(140, 3), (5, 140), (1, 1)])
def test_more_channels_than_one_block(c, k):
    keys = jax.random.split(KEY, 2)
    x, dw, db = DEPTHWISE.example(keys[0], (1, 3, 4, c), "float32")
    pw = jax.random.normal(keys[1], (1, 1, c, k))
    truth = depthwise64(x, dw, db) @ np.asarray(pw[0, 0], np.float64)
    assert gap(separable3x3(x, dw, db, pw, None), truth) < 1e-6
    assert gap(depthwise3x3(x, dw, db), depthwise64(x, dw, db)) < 1e-6


def graded(run, arrays, weights):
    """The value of <weights, run(*arrays)> and its gradients."""
    total = lambda *a: jnp.sum(weights * run(*a))
    return jax.value_and_grad(total, argnums=tuple(range(len(arrays))))(*arrays)


def same(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=3e-4)


def test_gradients_of_the_depthwise():
    """Behind prelu, scaled, with a skip; of every array."""
    keys = jax.random.split(KEY, 3)
    arrays = (*DEPTHWISE.example(keys[0], (2, 5, 6, 8), "float32"), jnp.linspace(-0.5, 0.5, 8))
    skip, weights = (jax.random.normal(key, (2, 5, 6, 8)) for key in keys[1:])

    def run(conv, x, w, b, slope, skip):
        return conv(x, w, b, activation="prelu", slope=slope, scale=0.2, skips=((skip, 1.5),))

    ways = [partial(run, conv) for conv in (depthwise3x3, separable.depthwise_definition)]
    same(*(graded(way, (*arrays, skip), weights) for way in ways))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("middle", ["relu", "prelu"])
def test_gradients_of_the_separable(middle):
    keys = jax.random.split(KEY, 3)
    x, dw, db, pw, pb = SEPARABLE.example(keys[0], (2, 5, 6, 8), "float32")
    slopes = (jnp.linspace(0.1, 0.5, 8), jnp.linspace(0.6, 0.3, 8))
    skip, weights = (jax.random.normal(key, (2, 5, 6, 8)) for key in keys[1:])

    def run(conv, x, dw, db, pw, pb, bent, slope, skip):
        inner = dict(middle=middle, middle_slope=bent)
        after = dict(activation="prelu", slope=slope, scale=0.5, skips=((skip, -1.0), (skip, 0.3)))
        return conv(x, dw, db, pw, pb, **inner, **after)

    ways = [partial(run, conv) for conv in (separable3x3, separable.definition)]
    same(*(graded(way, (x, dw, db, pw, pb, *slopes, skip), weights) for way in ways))


def zeros(*shape):
    return jnp.zeros(shape)


REFUSED = {
    "more channels out": (dict(dw=zeros(3, 3, 1, 8)), "else use grouped3x3"),
    "5x5": (dict(dw=zeros(5, 5, 1, 4)), "use impl='xla'"),
    "a bias": (dict(db=zeros(3)), r"b \[K\]"),
    "weights of another dtype": (dict(pw=jnp.zeros((4, 2), "float16")), r"must be \[C, K\] alike"),
    "points": (dict(pw=zeros(3, 2)), r"must be \[C, K\] alike"),
    "their bias": (dict(pb=zeros(3)), r"must be \(2,\)"),
    "an activation": (dict(middle="gelu"), "choose one of none, relu"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_remedy(name):
    changes, remedy = REFUSED[name]
    how = dict(x=zeros(1, 4, 4, 4), dw=zeros(3, 3, 1, 4), db=None, pw=zeros(4, 2), pb=None)
    with pytest.raises(RefusedError, match=remedy):
        separable3x3(**how | changes)


def test_frames_on_two_devices():
    arrays = SEPARABLE.example(KEY, (2, 4, 5, 8), "float32")
    mesh, frames = jax.make_mesh((2,), ("frames",), axis_types=AUTO), jax.P("frames")
    specs = (frames, *[jax.P()] * 4)
    split = jax.shard_map(SEPARABLE.ours, mesh=mesh, in_specs=specs, out_specs=frames)
    np.testing.assert_array_equal(jax.jit(split)(*arrays), SEPARABLE.ours(*arrays))
