"""A network's ends as kernels equal PyTorch in float64; without a GPU they run interpreted."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kernels.launch")  # not triton itself: launch decides how it is imported
from torch.nn import functional  # noqa: E402

from jaxvsr import ops  # noqa: E402
from kernels import enlarge, head, tail, upsampler  # noqa: E402
from kernels.launch import RefusedError  # noqa: E402
from kernels.op import config  # noqa: E402

KEY = jax.random.key(3)
TOLERANCE = {"float32": 2e-6, "float16": 1e-3, "bfloat16": 8e-3}
TILE = {"TH": 2, "TW": 8}  # so that small frames need several
CASES = {  # x, k, r, enlarge
    "bicubic": ((2, 5, 5, 20), 3, 2, "bicubic"),
    "nearest": ((1, 3, 5, 16), 3, 4, "nearest"),
    "bilinear": ((1, 3, 9, 8), 1, 3, "bilinear"),
    "given": ((1, 2, 5, 40), 3, 2, "given"),
    "no base": ((1, 6, 9, 5), 3, 1, None),
    "wide window": ((1, 3, 9, 4), 9, 1, None),
}


def arrays_for(shape, k, r, method, dtype="float32"):
    """Sums of which some are below 0 and some above 1."""
    n, h, w, c = shape
    keys = jax.random.split(KEY, 4)
    grown = r if method == "given" else 1
    x = jax.random.normal(keys[0], shape)
    weights = jax.random.normal(keys[1], (k, k, c, 3 * r * r)) * 0.6 / (k * c**0.5)
    b = 0.2 * jax.random.normal(keys[2], (3 * r * r,)) + (0 if method else 0.5)
    base = jax.random.uniform(keys[3], (n, h * grown, w * grown, 3))
    made = tuple(a.astype(dtype) for a in (x, weights, b, base))
    return made if method else (*made[:3], None)


def nchw(array):
    return torch.from_numpy(np.array(array, np.float64)).movedim(-1, 1)


def convolved(x, w, b):
    """PyTorch's convolution of NHWC arrays in float64, NCHW."""
    w = torch.from_numpy(np.array(w, np.float64)).permute(3, 2, 0, 1)
    b = torch.from_numpy(np.array(b, np.float64))
    return functional.conv2d(nchw(x), w, b, padding=w.shape[-1] // 2)


def enlarged(base, r, method):
    centred = {} if method == "nearest" else {"align_corners": False}
    return functional.interpolate(nchw(base), scale_factor=r, mode=method, **centred)


def expected(x, w, b, base, r, method, gain=1.0, shift=0.0):
    y = functional.pixel_shuffle(convolved(x, w, b), r)
    if base is not None:
        y = y + (nchw(base) if method == "given" else enlarged(base, r, method))
    return (y * gain + shift).clamp(0, 1).movedim(1, -1).numpy()


def near(ours, theirs, dtype):
    gap = np.linalg.norm(np.asarray(ours, np.float64) - theirs) / np.linalg.norm(theirs)
    assert gap < TOLERANCE[dtype], gap


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("r", [2, 3])
def test_enlarging_is_the_networks(method, r):
    base = jax.random.uniform(KEY, (1, 3, 5, 3))
    ours = enlarge.enlarged(base, r, method)
    np.testing.assert_allclose(ours, enlarged(base, r, method).movedim(1, -1), atol=1e-6)
    np.testing.assert_allclose(ours, ops.upsample(base, r, method), atol=1e-6)


@pytest.mark.parametrize("dtype, error", [("float32", 1e-7), ("float16", 1e-7), ("bfloat16", 8e-6)])
def test_constants_in_parts_keep_the_precision_of_float32(dtype, error):
    parts = enlarge.matrix(3, "bicubic", (1, 2), (32, 64), dtype)
    whole = parts.astype(np.float64).sum(0)
    exact = enlarge.phases(3, "bicubic")
    np.testing.assert_allclose(whole[2, :15:3, 0], exact[0, 2] * exact[0], atol=error)
    np.testing.assert_allclose(whole.sum((0, 1))[:54], 1, atol=10 * error)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_tail_equals_torch(name, dtype):
    _, k, r, method = CASES[name]
    arrays = arrays_for(*CASES[name], dtype)
    patch = tail.PATCHES.get(r, ((1, 1),))[0] if k > 1 else (1, 1)
    tile = config(PY=patch[0], PX=patch[1], BC=16, SWAP=0, **TILE)
    told = {"r": r, "enlarge": method, "gain": 0.8, "shift": 0.1, "out": dtype, "config": tile}
    y = jax.jit(partial(tail.tail, **told))(*arrays)
    assert y.dtype == dtype
    theirs = expected(*arrays, r, method, 0.8, 0.1)
    assert 0 < np.mean(theirs == 0) < 0.5 and 0 < np.mean(theirs == 1) < 0.5
    near(y, theirs, dtype)


SHAPES = {
    (r, *(dict(choice.constants)[name] for name in ("PY", "PX", "SWAP")))
    for r in (1, 2, 3, 4)
    for choice in tail.configs((1, 8, 8, 64), "float16", k=3, r=r)
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("r, py, px, swap", sorted(SHAPES))
def test_every_patch_gives_the_same(r, py, px, swap):
    arrays = arrays_for((1, 3, 6, 5), 3, r, "bilinear", "float16")
    told = {"r": r, "enlarge": "bilinear", "out": "float32"}
    y = tail.tail(*arrays, **told, config=config(PY=py, PX=px, SWAP=swap, BC=16, TH=2, TW=8))
    near(y, expected(*arrays, r, "bilinear"), "float32")


def test_the_default_config_makes_the_bytes_that_a_network_makes():
    arrays = arrays_for((1, 3, 5, 8), 3, 2, "bicubic")
    run = partial(tail.tail, *arrays, r=2)
    y = jax.jit(run)()
    assert y.dtype == np.uint8
    np.testing.assert_array_equal(y, np.round(255 * np.asarray(run(out="float32"))))
    np.testing.assert_array_equal(y, np.rint(255 * expected(*arrays, 2, "bicubic")))


def test_bytes_round_half_to_even_and_floats_keep_nan():
    x = jnp.array([0.5, 1.5, 2.5, 253.5]).reshape(1, 2, 2, 1)
    w, b = jnp.ones((1, 1, 1, 3)), jnp.zeros(3)
    run = partial(tail.tail, r=1, gain=1 / 255)
    assert run(x, w, b, None)[..., 0].ravel().tolist() == [0, 2, 2, 254]
    y = run(x.at[0, 0, 1].set(jnp.nan), w, b, None, out="float32")
    assert np.isnan(y[..., 0]).ravel().tolist() == [False, True, False, False]


def test_gradient_of_the_tail_equals_torch():
    arrays = arrays_for((1, 3, 4, 2), 3, 2, "bicubic")
    tile = config(PY=1, PX=1, SWAP=0, BC=16, **TILE)
    run = lambda *a: (tail.tail(*a, r=2, out="float32", config=tile) ** 2).sum()
    ours = jax.jit(jax.grad(run, (0, 1, 2, 3)))(*arrays)
    given = [torch.tensor(np.array(a, np.float64), requires_grad=True) for a in arrays]
    x, w, b, base = given
    y = functional.conv2d(x.movedim(-1, 1), w.permute(3, 2, 0, 1), b, padding=1)
    large = functional.interpolate(base.movedim(-1, 1), scale_factor=2, mode="bicubic")
    ((functional.pixel_shuffle(y, 2) + large).clamp(0, 1) ** 2).sum().backward()
    for mine, theirs in zip(ours, given, strict=True):
        np.testing.assert_allclose(mine, theirs.grad, atol=2e-5)


def test_bytes_have_no_gradient():
    x, *rest = arrays_for((1, 2, 3, 2), 1, 1, None)
    y, back = jax.vjp(lambda x: tail.tail(x, *rest, r=1), x)
    assert not np.any(back(np.zeros(y.shape, jax.dtypes.float0))[0])


def test_a_tail_is_split_over_devices():
    x, w, b, base = arrays_for((4, 2, 3, 4), 1, 2, "nearest")
    run = partial(tail.tail, r=2, enlarge="nearest", out="float32")
    mesh = jax.make_mesh((4,), ("n",), axis_types=(jax.sharding.AxisType.Auto,))
    batch, same = jax.P("n"), jax.P()
    told = {"mesh": mesh, "in_specs": (batch, same, same, batch), "out_specs": batch}
    y = jax.jit(jax.shard_map(run, **told, check_vma=False))(x, w, b, base)
    np.testing.assert_allclose(y, expected(x, w, b, base, 2, "nearest"), atol=1e-6)


HEADS = {  # frames, k, K, activation, gain, shift
    "one pixel": ((2, 3, 5, 3), 1, 20, "relu", 1 / 255, 0.0),
    "3x3, tiles inside": ((1, 6, 17, 3), 3, 20, "prelu", 2 / 255, -1.0),
    "9x9": ((1, 4, 9, 3), 9, 16, "leaky", 1 / 255, -0.4),
}
BENT = {
    "none": lambda y, slope: y,
    "relu": lambda y, slope: y.clamp(0),
    "leaky": functional.leaky_relu,
    "prelu": lambda y, slope: functional.prelu(y, torch.from_numpy(np.array(slope, np.float64))),
}


def slope_for(activation, channels, dtype):
    if activation == "prelu":
        return jax.random.normal(KEY, (channels,)).astype(dtype)
    return 0.2 if activation == "leaky" else None


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_head_equals_torch(name, dtype):
    shape, k, channels, activation, gain, shift = HEADS[name]
    frames = jax.random.randint(KEY, shape, 0, 256).astype("uint8")
    w = (jax.random.normal(KEY, (k, k, 3, channels)) / k).astype(dtype)
    b, slope = jnp.arange(channels, dtype=dtype) / 64, slope_for(activation, channels, dtype)
    tile = config(BC=16 if k == 1 else 32, BN=16, **TILE)
    told = {"gain": gain, "shift": shift, "activation": activation, "slope": slope}
    y = jax.jit(partial(head.head, **told, config=tile))(frames, w, b)
    assert y.dtype == dtype
    numbers = np.asarray(frames, np.float64) * gain + shift
    near(y, BENT[activation](convolved(numbers, w, b), slope).movedim(1, -1).numpy(), dtype)


def test_a_heads_bytes_are_exact_in_bfloat16():
    """A bfloat16 holds u and u - 127.5 of every byte u, but not u / 255."""
    frames = jax.random.randint(KEY, (1, 4, 9, 3), 0, 256).astype("uint8")
    w, b = jax.random.normal(KEY, (3, 3, 3, 16)).astype("bfloat16"), jnp.zeros(16, "bfloat16")
    y = head.head(frames, w, b, gain=2 / 255, shift=-1.0, out="float32")
    numbers = np.asarray(frames, np.float64) / 127.5 - 1
    near(y, convolved(numbers, w, b).movedim(1, -1).numpy(), "float32")


@pytest.mark.sampled
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("r, shape, channels, activation", [
    (2, (2, 2, 9, 20), 5, "prelu"), (3, (1, 3, 4, 6), 5, "leaky"), (1, (1, 2, 3, 3), 4, "none"),
])  # fmt: skip
def test_upsampler_equals_torch(r, shape, channels, activation, dtype):
    depth = channels * r * r
    x = jax.random.normal(KEY, shape).astype(dtype)
    w = jax.random.normal(KEY, (3, 3, shape[3], depth)).astype(dtype)
    b, slope = jnp.arange(depth, dtype=dtype) / 8, slope_for(activation, channels, dtype)
    tile = config(BC=16, BN=32, **TILE)
    told = {"r": r, "activation": activation, "slope": slope}
    y = jax.jit(partial(upsampler.upsampler, **told, config=tile))(x, w, b)
    shuffled = functional.pixel_shuffle(convolved(x, w, b), r)
    near(y, BENT[activation](shuffled, slope).movedim(1, -1).numpy(), dtype)


def test_gradients_of_head_and_upsampler_are_their_definitions():
    frames = jax.random.randint(KEY, (1, 3, 4, 3), 0, 256).astype("uint8")
    keys = jax.random.split(KEY, 4)
    w, b, slope = (jax.random.normal(keys[0], s) for s in ((3, 3, 3, 8), (8,), (8,)))
    deep, bias, bend = (jax.random.normal(keys[1], s) for s in ((1, 1, 8, 8), (8,), (2,)))
    told, wide = {"activation": "prelu", "gain": 1 / 99}, {"activation": "prelu", "r": 2}

    def both(first, second):
        def loss(w, b, slope, deep, bias, bend):
            y = first(frames, w, b, slope=slope, **told)
            return jnp.sum(jnp.sin(second(y, deep, bias, slope=bend, **wide)))

        return jax.grad(loss, range(6))(w, b, slope, deep, bias, bend)

    ours, theirs = both(head.head, upsampler.upsampler), both(head.definition, upsampler.definition)
    for mine, plain in zip(ours, theirs, strict=True):
        assert np.any(plain)
        np.testing.assert_allclose(mine, plain, rtol=2e-3, atol=2e-3)


def test_what_a_kernel_cannot_do_is_refused():
    x, w, b, base = arrays_for((1, 3, 4, 2), 3, 2, "bicubic")
    run = partial(tail.tail, r=2)
    for wrong in (
        lambda: run(x, w[:, :2], b, base),
        lambda: run(x, w, b[:3], base),
        lambda: run(x, w, b, base, enlarge="lanczos"),
        lambda: run(x, w, b, base, enlarge="given"),
        lambda: run(x, w, b, base.astype("uint8")),
        lambda: run(x, w.astype("float16"), b, base),
        lambda: run(x, w, b, base, out="int16"),
        lambda: head.head(base, w, b),
        lambda: head.head(base.astype("uint8"), jnp.ones((3, 3, 3, 4)), jnp.ones(4), gain=0),
        lambda: upsampler.upsampler(x, w[..., :11], b[:11], r=2),
        lambda: upsampler.upsampler(x, w, b, r=2, activation="gelu"),
        lambda: upsampler.upsampler(x, w, b, r=2, activation="prelu"),
        lambda: run(jax.ShapeDtypeStruct((1, 2**15, 2**15, 2), x.dtype), w, b, None),
    ):
        with pytest.raises(RefusedError):
            wrong()
