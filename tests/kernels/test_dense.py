"""Dense blocks in one buffer compute what concatenations do, in the network too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("kernels.launch")  # before triton
pytest.importorskip("torch")
from jax.sharding import PartitionSpec

from jaxvsr.models.esrgan import RRDBNet
from kernels import dense
from kernels.launch import RefusedError
from kernels.op import config

KEY = jax.random.key(0)
OPS = {op.name: op for op in dense.OPS}
CASES = [(name, shape) for name, op in OPS.items() for shape in op.small]


def norm(a) -> float:
    return float(np.linalg.norm(np.asarray(a, np.float64)))


def block(c: int, g: int, seed: int = 0, dtype="float32"):
    """Five (w, b) pairs."""
    pairs = []
    for i in range(5):
        key = jax.random.fold_in(jax.random.key(seed), i)
        k = c if i == 4 else g
        w = jax.random.normal(key, (3, 3, c + i * g, k)) * (9 * (c + i * g)) ** -0.5
        pairs.append((w.astype(dtype), jax.random.normal(key, (k,)).astype(dtype)))
    return pairs


@pytest.mark.sampled
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name, shape", CASES)
def test_an_operation_is_its_definition(name, shape, dtype):
    op = OPS[name]
    arrays = op.example(KEY, shape, dtype)
    got = jax.jit(op.ours)(*arrays)
    with jax.enable_x64(True):
        exact = [jnp.asarray(np.asarray(a, np.float64)) for a in arrays]
        truth = np.asarray(op.definition(*exact))
    assert got.dtype == dtype and got.shape == truth.shape
    assert norm(np.asarray(got, np.float64) - truth) < op.tolerance[dtype] * norm(truth)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("blocks", [3, 1, 4])
def test_buffers_are_handed_on(blocks):
    x = jax.random.normal(KEY, (1, 3, 4, 4))
    rrdbs = [[block(4, 2, 10 * i + j) for j in range(blocks)] for i in range(2)]
    wanted = x
    for each in rrdbs:
        wanted = dense.rrdb_definition(wanted, each)
    np.testing.assert_allclose(jax.jit(dense.trunk)(x, rrdbs), wanted, rtol=1e-4, atol=1e-5)


def test_outer_residual():
    x, x0 = jax.random.normal(KEY, (2, 1, 3, 4, 4))
    params = block(4, 2)
    wanted = np.asarray(x0) + 0.5 * np.asarray(dense.definition(x, params, beta=0.3))
    got = dense.dense_block(x, params, beta=0.3, outer=(x0, 0.5))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_gradients():
    x, x0 = jax.random.normal(KEY, (2, 1, 3, 4, 4))
    rrdbs = [[block(4, 2, 1)], [block(4, 2, 2)]]

    def ours(x, x0, rrdbs):
        y = dense.dense_block(dense.trunk(x, rrdbs), rrdbs[0][0], outer=(x0, 0.5))
        return (y**2).sum()

    def plain(x, x0, rrdbs):
        for each in rrdbs:
            x = dense.rrdb_definition(x, each)
        return (dense.definition(x, rrdbs[0][0], outer=(x0, 0.5)) ** 2).sum()

    got, wanted = (jax.jit(jax.grad(f, (0, 1, 2)))(x, x0, rrdbs) for f in (ours, plain))
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-3, atol=1e-4 * float(jnp.abs(w).max()))


@pytest.mark.sweep
def test_by_rows():
    x, params = jax.random.normal(KEY, (1, 5, 6, 16)).astype("float16"), block(16, 8, 0, "float16")
    by_rows = config(4, P=16, BC=16, BK=16, WAVES=1)
    buffer = dense._place(x, 48)
    for w, b in params[:-1]:
        buffer = dense.growth(buffer, w, b, config=by_rows)
    wanted = [np.asarray(x, np.float32)]
    for w, b in params[:-1]:
        maps = jnp.concatenate(wanted, -1)
        y = np.asarray(dense.conv(maps, w.astype("float32")) + b)
        wanted.append(np.where(y >= 0, y, 0.2 * y))
    wanted = np.concatenate(wanted, -1)
    assert norm(np.asarray(buffer, np.float64) - wanted) < 1e-3 * norm(wanted)


def test_on_several_devices():
    mesh = jax.make_mesh((4,), ("n",), axis_types=(jax.sharding.AxisType.Auto,))
    x, params = jax.random.normal(KEY, (4, 2, 3, 4)), block(4, 2)
    split, whole = PartitionSpec("n"), PartitionSpec()
    ours = jax.shard_map(dense.dense_block, mesh=mesh, in_specs=(split, whole), out_specs=split)
    wanted = dense.definition(x, params)
    np.testing.assert_allclose(jax.jit(ours)(x, params), wanted, rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused():
    x, params = jnp.ones((1, 2, 2, 4)), block(4, 2)
    with pytest.raises(RefusedError, match=r"convolution 2 has .*give \(3, 3, 6, 2\)"):
        dense.dense_block(x, [params[0], params[2], *params[2:]])
    with pytest.raises(RefusedError, match=r"x is float16.*one dtype"):
        dense.dense_block(x.astype("float16"), params)
    with pytest.raises(RefusedError, match="reshape x"):
        dense.dense_block(x[0], params)
    with pytest.raises(RefusedError, match="leave it out"):
        dense.rrdb(x, [])


@pytest.mark.sampled(1)
@pytest.mark.parametrize("plus", [False, True])
def test_the_network_is_the_same(plus):
    net = RRDBNet(scale=2, features=4, blocks=1 if plus else 2, growth=2, plus=plus)
    frames = jax.random.uniform(KEY, (1, 5, 6, 3))
    params = net.init(KEY, frames)
    fast = net.clone(impl="triton")
    assert jax.tree.structure(jax.eval_shape(fast.init, KEY, frames)) == jax.tree.structure(params)
    params = jax.tree.map(lambda p: p + 0.05 * jax.random.normal(KEY, p.shape), params)
    wanted = jax.jit(net.apply)(params, frames)
    np.testing.assert_allclose(jax.jit(fast.apply)(params, frames), wanted, rtol=1e-4, atol=1e-5)
    auto = jax.jit(net.clone(impl="auto").apply)(params, frames)
    if jax.default_backend() != "gpu":
        np.testing.assert_array_equal(auto, wanted)
