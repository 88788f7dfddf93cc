"""The kernels of the bilinear warp: its definition, both gradients, the border, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxvsr import ops

torch = pytest.importorskip("torch")
module = pytest.importorskip("kernels.warp")
RNG = np.random.default_rng(0)
OP = module.OPS[0]


def example(shape, dtype="float32", reach=3.0):
    """Random frames and a flow that leads out of them in places."""
    flow = reach * RNG.standard_normal((*shape[:3], 2))
    return jnp.asarray(RNG.standard_normal(shape), dtype), jnp.asarray(flow, dtype)


def apart(ours, truth) -> float:
    truth = np.asarray(truth, np.float64)
    return np.linalg.norm(np.asarray(ours, np.float64) - truth) / np.linalg.norm(truth)


def exact(function, *arrays):
    with jax.enable_x64(True):
        return function(*(jnp.asarray(np.asarray(a, np.float64)) for a in arrays))


def gradients(function, arrays, weights):
    total = lambda *a: (function(*a) * weights).sum(dtype=weights.dtype)
    return jax.grad(total, tuple(range(len(arrays))))(*arrays)


CASES = [(shape, "float32") for shape in (*OP.small, (1, 1, 1, 4))]
CASES += [(OP.small[0], "bfloat16"), (OP.small[0], "float16"), (OP.small[2], "bfloat16")]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("shape, dtype", CASES)
def test_the_kernel_computes_its_definition(shape, dtype):
    arrays = example(shape, dtype)
    y = jax.jit(module.warp)(*arrays)
    assert y.dtype == dtype
    assert apart(y, exact(module.definition, *arrays)) < OP.tolerance[dtype]


@pytest.mark.parametrize("dtype", OP.dtypes)
def test_both_gradients_are_those_of_the_definition(dtype):
    arrays = example((2, 7, 9, 5), dtype)
    weights = RNG.standard_normal(arrays[0].shape).astype(np.float32)
    ours = gradients(module.warp, arrays, jnp.asarray(weights, dtype))
    truth = exact(lambda *a: gradients(module.definition, a[:2], a[2]), *arrays, weights)
    for gradient, array, other in zip(ours, arrays, truth, strict=True):
        assert gradient.dtype == array.dtype
        assert apart(gradient, other) < 2 * OP.tolerance[dtype]


def test_definition_is_the_operation_of_the_library():
    arrays = example((2, 6, 5, 3))
    weights = RNG.standard_normal(arrays[0].shape).astype(np.float32)
    np.testing.assert_array_equal(module.definition(*arrays), ops.warp(*arrays))
    both = (gradients(f, arrays, weights) for f in (module.definition, ops.warp))
    for ours, theirs in zip(*both, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_kernel_and_gradients_match_torch():
    frames, flow = example((1, 5, 6, 3))
    weights = RNG.standard_normal(frames.shape).astype(np.float32)
    theirs = [torch.tensor(np.array(a, np.float64), requires_grad=True) for a in (frames, flow)]
    x, y = theirs[1][..., 0] + torch.arange(6), theirs[1][..., 1] + torch.arange(5)[:, None]
    grid = torch.stack([2 * x / 5 - 1, 2 * y / 4 - 1], -1)
    options = {"mode": "bilinear", "padding_mode": "border", "align_corners": True}
    warped = torch.nn.functional.grid_sample(theirs[0].permute(0, 3, 1, 2), grid, **options)
    warped = warped.permute(0, 2, 3, 1)
    (warped * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(module.warp(frames, flow), warped.detach(), atol=1e-5)
    for ours, other in zip(gradients(module.warp, (frames, flow), weights), theirs, strict=True):
        np.testing.assert_allclose(ours, other.grad, atol=1e-5)


@pytest.mark.parametrize("to", [np.nan, np.inf, -1e30])
def test_a_flow_to_nowhere_is_the_border_and_has_no_gradient(to):
    frames, flow = example((1, 3, 4, 2))
    flow = jnp.full_like(flow, to)
    np.testing.assert_array_equal(module.warp(frames, flow), module.definition(frames, flow))
    assert not np.any(gradients(module.warp, (frames, flow), np.ones_like(frames))[1])


def test_arrays_keep_their_own_dtypes():
    frames, flow = example((1, 4, 5, 3))
    short = frames.astype("bfloat16")
    y = module.warp(short, flow)
    assert y.dtype == "bfloat16"
    assert apart(y, exact(module.definition, short, flow)) < OP.tolerance["bfloat16"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("config", OP.configs((1, 6, 7, 20), "float32"), ids=str)
def test_every_config_gives_the_same(config):
    frames, flow = example((1, 6, 7, 20))
    y = module.warp(frames, flow, config=config)
    np.testing.assert_allclose(y, module.definition(frames, flow), atol=1e-5)


def test_it_runs_on_each_device_for_its_own_images():
    frames, flow = example((4, 3, 5, 2))
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.shard_map(module.warp, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    np.testing.assert_allclose(
        jax.jit(split)(frames, flow), module.definition(frames, flow), atol=1e-5
    )


def test_what_it_cannot_do_is_refused():
    frames, flow = example((1, 4, 5, 3))
    with pytest.raises(module.RefusedError, match="does not fit"):
        module.warp(frames, flow[:, :3])
    with pytest.raises(module.RefusedError, match="impl='xla'"):
        module.warp(frames.astype(jnp.int32), flow)
    with pytest.raises(module.RefusedError, match="too large"):
        huge = jax.ShapeDtypeStruct((1, 30000, 30000, 3), jnp.float16)
        jax.eval_shape(module.warp, huge, jax.ShapeDtypeStruct((1, 30000, 30000, 2), jnp.float16))
