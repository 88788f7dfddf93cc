"""The convolution by rows is a convolution: against PyTorch, over strips, segments and blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("kernels.launch")  # before triton
torch = pytest.importorskip("torch")
from kernels import launch, ring  # noqa: E402
from kernels.conv3x3 import into_definition  # noqa: E402
from kernels.op import config  # noqa: E402

SMALL = config(4, P=16, BC=16, BK=16, WAVES=1)


def arrays(shape, k: int, seed: int = 0):
    keys = jax.random.split(jax.random.key(seed), 3)
    c = shape[-1]
    shapes = (shape, (3, 3, c, k), (k,))
    sizes = (1, (9 * c) ** -0.5, 0.1)
    drawn = zip(keys, shapes, sizes, strict=True)
    return tuple((jax.random.normal(*at) * size).astype("float16") for *at, size in drawn)


def by_torch(x, w, b, slope: float = 1.0):
    x, w, b = (torch.from_numpy(np.asarray(a, np.float64)) for a in (x, w, b))
    y = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), b, padding=1)
    return torch.where(y >= 0, y, y * slope).permute(0, 2, 3, 1).numpy()


def error(got, wanted) -> float:
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    return np.linalg.norm(got - wanted) / np.linalg.norm(wanted)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "shape, k, built",
    [
        ((2, 7, 5, 3), 3, None),
        ((1, 1, 1, 1), 2, None),
        ((1, 13, 17, 20), 18, SMALL),  # two strips, three segments, two blocks in and out
        ((2, 8, 16, 16), 16, SMALL),
        ((1, 3, 17, 40), 8, SMALL),
    ],
)
def test_it_is_a_convolution(shape, k, built):
    x, w, b = arrays(shape, k)
    got = jax.jit(lambda *a: ring.ring3x3(*a, **ring.LEAKY, config=built))(x, w, b)
    assert got.dtype == "float16"
    assert error(got, by_torch(x, w, b, slope=0.2)) < 5e-4


@pytest.mark.parametrize("in_place", [True, False])
def test_channels_of_wide_buffers(in_place):
    buffer, w, b = arrays((1, 4, 5, 9), 3)
    w = w[:, :, :4]
    target = None if in_place else arrays((1, 4, 5, 7), 1, seed=1)[0]
    other = arrays((1, 4, 5, 5), 1, seed=2)[0]
    skips = ((buffer, -0.5, 1), (other, 2.0, 2))
    where = dict(reads=(1, 4), writes=6 if in_place else 2, target=target, scale=0.2)
    got = ring.ring3x3(buffer, w, b, skips=skips, **where)
    exact = lambda tree: jax.tree.map(lambda a: a.astype("float32"), tree)
    where = where | {"target": exact(target)}
    skips = [(exact(a), f, s) for a, f, s in skips]
    wanted = into_definition(*exact((buffer, w, b)), skips=skips, **where)
    assert error(got, wanted) < 5e-4
    untouched = [
        c for c in range(wanted.shape[-1]) if not where["writes"] <= c < where["writes"] + 3
    ]
    start = buffer if in_place else target
    np.testing.assert_array_equal(got[..., untouched], start[..., untouched])


def test_gradient():
    x, w, b = (a.astype("bfloat16") for a in arrays((1, 3, 4, 4), 4))
    skip = x[..., ::-1]

    def loss(convolve):
        return lambda x, w, b: (convolve(x, w, b).astype("float32") ** 2).sum()

    ours = loss(lambda x, w, b: ring.ring3x3(x, w, b, skips=((x, 1.0, 0), (skip, 1.0, 0))))
    plain = loss(lambda x, w, b: ring.definition(x, w, b) + x + skip)
    got, wanted = (jax.jit(jax.grad(f, (0, 1, 2)))(x, w, b) for f in (ours, plain))
    for g, v in zip(got, wanted, strict=True):
        assert error(g.astype(jnp.float32), v.astype(jnp.float32)) < 0.03


@pytest.mark.parametrize("n, h, w, k", [(1, 540, 960, 64), (3, 7, 5, 33), (1, 1, 1, 1)])
@pytest.mark.parametrize("waves", [1, 4])
def test_every_row_belongs_to_one_program(n, h, w, k, waves):
    built = dict(P=64, BK=32, WAVES=waves)
    (programs,), rows = ring.grid(n, h, w, k, built)
    across = n * -(-w // 64) * -(-k // 32)
    assert 1 <= rows <= h and programs % across == 0
    assert (programs // across - 1) * rows < h <= programs // across * rows


@pytest.mark.parametrize(
    "dtype, c, k", [("float32", 64, 64), ("float16", 192, 32), ("float16", 64, 128)]
)
def test_what_does_not_fit_is_refused(dtype, c, k):
    x, w, b = (a.astype(dtype) for a in arrays((1, 2, 2, c), k))
    with pytest.raises(launch.RefusedError, match="use impl='xla'"):
        ring.ring3x3(x, w, b)


def test_reading_what_is_written_is_refused():
    buffer, w, b = arrays((1, 2, 2, 8), 4)
    with pytest.raises(launch.RefusedError, match="give a target"):
        ring.ring3x3(buffer, w[:, :, :4], b, reads=(0, 4), writes=2)
