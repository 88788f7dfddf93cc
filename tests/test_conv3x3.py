"""The 3x3 convolution kernel computes its definition: forward, gradient, slices, every config."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("kernels.launch")  # before triton
torch = pytest.importorskip("torch")
from kernels import launch  # noqa: E402
from kernels.conv3x3 import conv3x3, definition, into, into_definition  # noqa: E402

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


def test_into_overwrites_the_slice_that_it_is_given():
    buffer, (_, w, b) = normal(0, 1, 8, 9, 48), arrays(c=16, k=16)
    where = dict(reads=(0, 16), writes=32)
    y = jax.jit(lambda *a: into(*a, **where))(buffer, w, b)
    np.testing.assert_array_equal(y[..., :32], buffer[..., :32])
    assert gap(y, into_definition(buffer, w, b, **where)) < 1e-5
