"""The 3x3 convolution kernel computes its definition: forward, gradient, slices, every config."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("kernels.launch")  # before triton
torch = pytest.importorskip("torch")
from kernels.conv3x3 import OPS, configs, conv3x3, definition, into, into_definition  # noqa: E402
from kernels.launch import RefusedError  # noqa: E402
from kernels.op import config  # noqa: E402

TOLERANCE = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 8e-3}
KEYS = jax.random.split(jax.random.key(0), 8)


def normal(i: int, *shape: int, dtype: str = "float32"):
    return jax.random.normal(KEYS[i], shape, dtype)


def arrays(n=1, h=5, w=9, c=16, k=16, dtype="float32"):
    """x, w, b."""
    kernel = 0.1 * normal(1, 3, 3, c, k, dtype=dtype)
    return normal(0, n, h, w, c, dtype=dtype), kernel, normal(2, k, dtype=dtype)


def gap(ours, truth) -> float:
    """||ours - truth|| / ||truth||, in float64."""
    ours, truth = (np.asarray(a.astype("float32"), "float64") for a in (ours, truth))
    return float(np.linalg.norm(ours - truth) / np.linalg.norm(truth))


def exact(tree):
    """The same values in float32, for a definition that rounds nothing else."""
    return jax.tree.map(lambda a: a.astype("float32") if hasattr(a, "dtype") else a, tree)


def as_torch(a):
    return torch.from_numpy(np.array(a, "float64"))


def test_definition_is_torchs():
    x, w, b = arrays(n=2, c=5, k=7)
    y = torch.nn.functional.conv2d(
        as_torch(x).permute(0, 3, 1, 2), as_torch(w).permute(3, 2, 0, 1), as_torch(b), padding=1
    )
    slope, skip = jnp.linspace(0, 1, 7), normal(3, 2, 5, 9, 7)
    y = torch.nn.functional.prelu(y, as_torch(slope)).permute(0, 2, 3, 1) * 0.5
    y = y + 3 * as_torch(skip)
    ours = definition(x, w, b, activation="prelu", slope=slope, scale=0.5, skips=[(skip, 3)])
    np.testing.assert_allclose(ours, y, atol=1e-5)


@pytest.mark.sampled
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_operation_computes_its_definition(op, dtype):
    for shape in op.small:
        given = op.example(KEYS[7], shape, dtype)
        y = jax.jit(op.ours)(*given)
        assert y.dtype == dtype
        assert gap(y, op.definition(*exact(given))) < TOLERANCE[dtype]


THEN = {
    "relu": dict(activation="relu"),
    "leaky": dict(activation="leaky", slope=0.1, scale=-0.5),
    "prelu": dict(activation="prelu", slope=jnp.linspace(-1, 2, 24), scale=3.0),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("activation", THEN)
def test_what_follows_the_sums_and_its_gradient(activation):
    x, w, b = arrays(c=5, k=24)
    skips = normal(3, 1, 5, 9, 24), normal(4, 1, 5, 9, 24)
    slope = THEN[activation].get("slope", 0.0)

    def loss(f, x, w, b, slope, *skips):
        then = THEN[activation] | {"skips": tuple(zip(skips, (2.0, -0.3), strict=True))}
        y = f(x, w, b, **then | ({"slope": slope} if activation == "prelu" else {}))
        return (y * normal(5, 1, 5, 9, 24)).sum(), y

    given = (x, w, b, slope, *skips)
    which = (0, 1, 2, 4, 5) + ((3,) if activation == "prelu" else ())
    run = lambda f: jax.jit(jax.grad(lambda *a: loss(f, *a), argnums=which, has_aux=True))(*given)
    (ours, y), (theirs, truth) = run(conv3x3), run(definition)
    assert gap(y, truth) < 1e-5
    for mine, other in zip(ours, theirs, strict=True):
        assert gap(mine, other) < 1e-5


def test_without_bias():
    x, w, _ = arrays(k=3)
    assert gap(conv3x3(x, w), definition(x, w)) < 1e-5


@pytest.mark.sampled(2)
@pytest.mark.parametrize("choice", configs((1, 9, 18, 20), "float16", 64), ids=str)
def test_every_config_in_16_bit(choice):
    resident = dict(choice.constants)["WAY"] == 2  # several tiles a program, and some too many
    x, w, b = arrays(h=9 if resident else 5, w=33 if resident else 9, c=20, k=64, dtype="float16")
    y = conv3x3(x, w, b, config=choice)
    assert gap(y, definition(*exact((x, w, b)))) < TOLERANCE["float16"]


def test_resident_weights_serve_several_blocks_of_channels():
    x, w, b = arrays(h=5, c=40, k=70)
    tile = dict(TH=4, TW=8, BC=32, BK=64, WAY=2, SWAP=1, AT_ONCE=1)
    y = conv3x3(x, w, b, config=config(4, 1, **tile))
    assert gap(y, definition(x, w, b)) < 1e-5


@pytest.mark.sampled(1)
@pytest.mark.parametrize("choice", configs((1, 9, 18, 20), "float32", 20), ids=str)
def test_every_config_in_32_bit(choice):
    x, w, b = arrays(h=9, c=20, k=20)
    assert gap(conv3x3(x, w, b, config=choice), definition(x, w, b)) < TOLERANCE["float32"]


def test_nan_stays():
    x, w, b = arrays()
    y = conv3x3(x.at[0, 2, 3, 4].set(jnp.nan), w, b, activation="relu")
    assert np.isnan(y[0, 1:4, 2:5]).all() and np.isfinite(y[0, :, 5:]).all()


SLICES = {
    "behind": (5, dict(reads=(0, 16), writes=32)),
    "in front": (19, dict(reads=(20, 16), writes=3, activation="leaky", slope=0.2)),
}


@pytest.mark.parametrize("start, where", SLICES.values(), ids=SLICES)
def test_into_changes_only_the_slice(start, where):
    buffer, (_, w, b) = normal(0, 1, 9, 9, 48), arrays(c=16, k=16)
    skips = lambda buffer: ((buffer, 0.5, start), (normal(6, 1, 9, 9, 20), 2.0, 4))
    ours, theirs = (
        jax.jit(lambda buffer, f=f: f(buffer, w, b, skips=skips(buffer), **where))(buffer)
        for f in (into, into_definition)
    )
    at = where["writes"]
    np.testing.assert_array_equal(ours[..., :at], buffer[..., :at])
    np.testing.assert_array_equal(ours[..., at + 16 :], buffer[..., at + 16 :])
    assert gap(ours[..., at : at + 16], theirs[..., at : at + 16]) < 1e-5


def test_into_another_buffer_and_its_gradient():
    buffer, target, (_, w, b) = normal(0, 2, 5, 9, 48), normal(4, 2, 5, 9, 24), arrays(c=24, k=8)

    def loss(f, buffer, target, w, b):
        skips = ((target, 1.0, 16), (buffer, -0.2, 0))
        y = f(buffer, w, b, reads=(8, 24), writes=16, target=target, scale=0.2, skips=skips)
        return (y**2).sum(), y

    run = lambda f: jax.grad(lambda *a: loss(f, *a), (0, 1, 2, 3), has_aux=True)(
        buffer, target, w, b
    )
    (ours, y), (theirs, truth) = run(into), run(into_definition)
    np.testing.assert_array_equal(y[..., :16], target[..., :16])
    assert gap(y, truth) < 1e-5
    for mine, other in zip(ours, theirs, strict=True):
        assert gap(mine, other) < 1e-5


def test_in_a_sharded_program():
    x, w, b = arrays(n=4, h=3)
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    shard, same = jax.sharding.PartitionSpec("batch"), jax.sharding.PartitionSpec()
    run = jax.shard_map(
        conv3x3, mesh=mesh, in_specs=(shard, same, same), out_specs=shard, check_vma=False
    )
    assert gap(jax.jit(run)(x, w, b), definition(x, w, b)) < 1e-5


@pytest.mark.parametrize(
    "change, why",
    [
        (dict(w=jnp.zeros((3, 3, 8, 16))), "give"),
        (dict(w=jnp.zeros((5, 5, 16, 16))), "give"),
        (dict(b=jnp.zeros(3)), "give"),
        (dict(x=jnp.zeros((1, 5, 9, 16), "float16")), "dtypes"),
        (dict(activation="gelu"), "choose one of"),
        (dict(activation="prelu"), "slope"),
        (dict(skips=((jnp.zeros((1, 5, 9, 8)), 1.0),)), "skip"),
        (dict(skips=((jnp.zeros((1, 5, 9, 16)), 1.0),) * 3), "3 skips"),
    ],
)
def test_refuses_what_does_not_fit(change, why):
    given = dict(zip("xwb", arrays(), strict=True)) | change
    with pytest.raises(RefusedError, match=why):
        conv3x3(**given)


@pytest.mark.parametrize(
    "where",
    [dict(reads=(0, 16), writes=8), dict(reads=(40, 16), writes=0), dict(reads=(0, 16), writes=40)],
)
def test_into_refuses_slices_that_overlap_or_are_not_there(where):
    _, w, b = arrays()
    with pytest.raises(RefusedError, match="into"):
        into(jnp.zeros((1, 5, 9, 48)), w, b, **where)


def test_into_refuses_a_skip_that_it_would_overwrite():
    (_, w, b), buffer = arrays(), jnp.zeros((1, 5, 9, 48))
    with pytest.raises(RefusedError, match="overlaps"):
        into(buffer, w, b, reads=(0, 16), writes=20, skips=((buffer, 1.0, 17),))
