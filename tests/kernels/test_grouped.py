"""The grouped convolution equals PyTorch's; without a GPU the kernel runs in the interpreter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kernels.launch")  # not triton itself: launch decides how it is imported
from kernels import grouped  # noqa: E402
from kernels.grouped import grouped3x3  # noqa: E402
from kernels.launch import RefusedError  # noqa: E402

KEY = jax.random.key(3)
DTYPES = ("float32", "float16", "bfloat16")
SLOPE = 0.2
AUTO = (jax.sharding.AxisType.Auto,)


def conv64(x, w, groups: int):
    """x * w by PyTorch in float64."""
    x, w = (torch.from_numpy(np.asarray(a).astype(np.float64)) for a in (x, w))
    y = torch.nn.functional.conv2d(
        x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), padding=1, groups=groups
    )
    return y.permute(0, 2, 3, 1).numpy()


def leaky(z, slope=SLOPE):
    return np.where(z >= 0, z, z * slope)


def gap(ours, truth) -> float:
    """||ours - truth|| / ||truth||."""
    truth = np.asarray(truth, np.float64)
    return np.linalg.norm(np.asarray(ours).astype(np.float64) - truth) / np.linalg.norm(truth)


def arrays(shape, groups: int, out: int, dtype: str = "float32"):
    """x, w, b for `out` channels."""
    keys = jax.random.split(KEY, 3)
    w = jax.random.normal(keys[1], (3, 3, shape[3] // groups, out)) / 6
    x, b = jax.random.normal(keys[0], shape), jax.random.normal(keys[2], (out,))
    return tuple(a.astype(dtype) for a in (x, w, b))


@pytest.mark.sampled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", grouped.OPS, ids=lambda op: op.name)
def test_kernel_and_definition_equal_torch(op, dtype):
    for shape in op.small:
        x, w, b = op.example(KEY, shape, dtype)
        truth = leaky(conv64(x, w, shape[3] // w.shape[2]) + np.asarray(b, np.float64))
        assert gap(jax.jit(op.ours)(x, w, b), truth) < op.tolerance[dtype]
        if dtype == "float32":
            assert gap(op.definition(x, w, b), truth) < op.tolerance[dtype]


SHAPES = {  # shape of x, groups, channels out
    "three in a group, five out": ((1, 4, 5, 12), 4, 20),
    "a group a channel": ((1, 3, 4, 7), 7, 14),
    "wider than a product": ((1, 2, 3, 160), 2, 6),
    "wider out than a product": ((1, 2, 3, 4), 2, 140),
    "groups that do not fill a block": ((1, 2, 3, 30), 5, 15),
    "one group": ((1, 2, 3, 8), 1, 8),
    "one pixel": ((3, 1, 1, 8), 2, 8),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", SHAPES)
def test_any_groups(name):
    shape, groups, out = SHAPES[name]
    x, w, b = arrays(shape, groups, out)
    truth = conv64(x, w, groups) + np.asarray(b)
    assert gap(grouped3x3(x, w, b, groups=groups), truth) < 1e-6


@pytest.mark.sampled(1)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_config_gives_the_same(dtype):
    x, w, _ = arrays((1, 9, 3, 16), 4, 16, dtype)
    truth = conv64(x, w, 4)
    made = {c.constants: c for c in grouped.choices(4, 4, dtype)}  # warps change nothing here
    for config in made.values():
        assert gap(grouped3x3(x, w, groups=4, config=config), truth) < 1e-3, config


THEN = {
    "relu, scaled": dict(activation="relu", scale=0.2),
    "prelu": dict(activation="prelu", slope=jnp.linspace(-0.5, 0.5, 8)),
    "leaky, two skips": dict(activation="leaky", slope=0.1, scale=2.0, skips=2),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", THEN)
def test_what_follows_and_all_gradients(name):
    """Of a function that weighs every output differently, for x, w, b, slopes and skips."""
    x, w, b = arrays((2, 5, 6, 8), 2, 8)
    how = dict(THEN[name])
    count, slope = how.pop("skips", 0), how.pop("slope", None)
    keys = jax.random.split(jax.random.key(5), 3)
    added = tuple(jax.random.normal(key, (2, 5, 6, 8)) for key in keys[:count])
    weights = jax.random.normal(keys[2], (2, 5, 6, 8))
    prelu = how["activation"] == "prelu"

    def total(conv, x, w, b, steep, added):
        steep = steep if prelu else slope
        skips = tuple(zip(added, (0.5, -1.5), strict=False))
        return jnp.sum(weights * conv(x, w, b, groups=2, slope=steep, skips=skips, **how))

    given = (x, w, b, slope if prelu else jnp.zeros(8), added)
    ways = [jax.value_and_grad(lambda *a, f=f: total(f, *a), argnums=(0, 1, 2, 3, 4)) for f in PAIR]
    (ours, slopes), (theirs, wanted) = (way(*given) for way in ways)
    assert abs(ours - theirs) < 1e-4 * abs(weights).sum()
    for a, b in zip(jax.tree.leaves(slopes), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


PAIR = (grouped3x3, grouped.definition)


def test_flipped_weights_are_the_transposed_convolution():
    """<conv(x, w), y> = <x, conv(y, flipped(w))>, in float64."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1, 4, 5, 12)), rng.normal(size=(1, 4, 5, 8))
    w = rng.normal(size=(3, 3, 3, 8))
    one = np.vdot(conv64(x, w, 4), y)
    np.testing.assert_allclose(np.vdot(x, conv64(y, grouped.flipped(w, 4), 4)), one, rtol=1e-12)


REFUSED = {
    "channels do not divide": (dict(w=(3, 3, 2, 8), groups=3), "use impl='xla'"),
    "5x5": (dict(w=(5, 5, 4, 8)), "use impl='xla'"),
    "weights of other groups": (dict(w=(3, 3, 2, 8)), r"w must be \[3, 3, 4, K\]"),
    "float64": (dict(x=np.zeros((1, 4, 4, 8))), "give both one of"),
    "an activation": (dict(activation="gelu"), "choose one of none, relu"),
    "slopes": (dict(activation="prelu"), r"slope must be an array of shape \(8,\)"),
    "no slope": (dict(activation="leaky"), "slope must be a number"),
    "a skip's shape": (dict(skips=((jnp.zeros((1, 4, 4, 4)), 1.0),)), "must be"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_remedy(name):
    how, remedy = REFUSED[name]
    how = {"x": jnp.zeros((1, 4, 4, 8)), "w": (3, 3, 4, 8), "groups": 2} | how
    with pytest.raises(RefusedError, match=remedy):
        grouped3x3(how.pop("x"), jnp.zeros(how.pop("w")), **how)


def test_an_image_of_2_to_the_31_values_is_refused():
    x, w = (jax.ShapeDtypeStruct(s, "float16") for s in ((1, 2**15, 2**13, 8), (3, 3, 4, 8)))
    with pytest.raises(RefusedError, match="cut it in windows"):
        jax.eval_shape(lambda x, w: grouped3x3(x, w, groups=2), x, w)


def test_frames_on_two_devices():
    x, w, b = arrays((2, 4, 5, 8), 2, 8)
    mesh, frames = jax.make_mesh((2,), ("frames",), axis_types=AUTO), jax.P("frames")
    run = lambda x, w, b: grouped3x3(x, w, b, groups=2)
    split = jax.shard_map(run, mesh=mesh, in_specs=(frames, jax.P(), jax.P()), out_specs=frames)
    np.testing.assert_array_equal(jax.jit(split)(x, w, b), run(x, w, b))
