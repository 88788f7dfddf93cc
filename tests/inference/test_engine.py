"""What the engine and a loaded network promise, on toys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toys

from jaxvsr import clip
from jaxvsr.errors import UsageError
from jaxvsr.inference.engine import Engine
from jaxvsr.inference.network import Network


def frames(n=2, h=21, w=34, dtype=np.float32):
    x = np.random.default_rng(0).random((n, h, w, 3), np.float32)
    return x if dtype == np.float32 else (x * 255).astype(dtype)


@pytest.fixture(scope="module")
def net():
    return Network(toys.still())


def test_any_size_is_padded_and_cropped_back(net):
    x = frames()
    direct = toys.still(multiple=1)
    y = Network(direct)(x)
    assert net(x).shape == y.shape == (2, 42, 68, 3)
    inside = slice(0, 42 - 8), slice(0, 68 - 8)  # padding is seen only near the far borders
    np.testing.assert_allclose(net(x)[:, *inside], y[:, *inside], atol=1e-6)


@pytest.mark.parametrize("tile", [4, 8, 16, 64])
def test_tiled_equals_untiled(net, tile):
    x = frames()
    np.testing.assert_allclose(Network(toys.still(), tile=tile)(x), net(x), atol=1e-5)


def test_kind_of_frames_is_kept(net):
    assert isinstance(net(frames()), np.ndarray)
    assert isinstance(net(jnp.asarray(frames())), jax.Array)
    assert net(frames(dtype=np.uint8)).dtype == np.uint8
    assert net(jnp.asarray(frames(), jnp.bfloat16)).dtype == jnp.bfloat16


def test_bytes_and_floats_agree(net):
    x = frames(dtype=np.uint8)
    expected = np.round(net(x.astype(np.float32) / 255) * 255)
    np.testing.assert_allclose(net(x), expected, atol=1)


@pytest.mark.quick
def test_compiled_once_a_shape():
    net = Network(toys.still())
    for x in (frames(), frames(), frames(1), frames()):
        net(x)
    (engine,) = net._engines.values()
    assert engine._whole._cache_size() == 2  # for two frames, and for one


def test_network_can_be_part_of_a_jitted_program(net):
    x = jnp.asarray(frames())
    np.testing.assert_allclose(jax.jit(net)(x), net(x), atol=1e-6)


def test_other_scales_are_resampled():
    x = frames()
    assert Network(toys.still(), scale=1.5)(x).shape == (2, 32, 51, 3)
    flat = np.full((1, 16, 16, 3), 0.5, np.float32)
    np.testing.assert_allclose(Network(toys.identity(), scale=1.5)(flat), 0.5, atol=1e-6)


def test_windows_and_states_are_lifted_to_clips():
    x = jnp.asarray(frames(5, 6, 8))
    mean = clip.windows(x[None], 1)[0].mean(axis=1)
    np.testing.assert_allclose(Network(toys.window_mean())(x), mean, atol=1e-6)
    step = lambda s, f: (0.5 * s + 0.5 * f,) * 2
    echo = jnp.concatenate([x[:1], clip.recurrent(step, x[:1], x[None, 1:])[0]])
    np.testing.assert_allclose(Network(toys.echo())(x), echo, atol=1e-6)


def test_memory_that_ends_halves_the_tile(monkeypatch):
    """The device is made to refuse whatever is larger than 20 x 20 pixels."""
    real, said = Engine._apply, []

    def stingy(self, params, state, x):
        if x.shape[-2] > 20:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")
        return real(self, params, state, x)

    monkeypatch.setattr("jaxvsr.inference.engine.SMALLEST_TILE", 4)
    monkeypatch.setattr(Engine, "_apply", stingy)
    x = frames(1, 64, 64)
    head = tail = lambda a: a
    engine = Engine(toys.still(), head, tail, notice=said.append)
    got, _ = engine(x)
    monkeypatch.setattr(Engine, "_apply", real)
    np.testing.assert_allclose(got, Engine(toys.still(), head, tail)(x)[0], atol=1e-5)
    assert engine.tile == 8
    assert said == [f"out of device memory: going on in tiles of {t} pixels" for t in (32, 16, 8)]


def test_memory_that_never_suffices_is_told(monkeypatch):
    def nothing(self, params, state, x):
        raise RuntimeError("RESOURCE_EXHAUSTED")

    monkeypatch.setattr(Engine, "_apply", nothing)
    with pytest.raises(UsageError, match="too little memory"):
        Engine(toys.still(), lambda a: a, lambda a: a)(frames(1, 64, 64))


def test_other_device_errors_are_not_hidden(monkeypatch):
    def broken(self, params, state, x):
        raise RuntimeError("INTERNAL: something else")

    monkeypatch.setattr(Engine, "_apply", broken)
    with pytest.raises(RuntimeError, match="something else"):
        Engine(toys.still(), lambda a: a, lambda a: a)(frames(1, 64, 64))


def test_half_precision_that_overflows_goes_on_in_float32():
    said = []
    head = lambda x: x * 1e6  # beyond float16
    engine = Engine(toys.identity(), head, lambda y: y, dtype="float16", notice=said.append)
    y, _ = engine(frames(1, 4, 4))
    np.testing.assert_allclose(y, frames(1, 4, 4) * 1e6, rtol=1e-6)
    assert said and "float32" in said[0]


def test_wrong_frames_are_named(net):
    with pytest.raises(UsageError, match=r"\[N, H, W, 3\]"):
        net(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(UsageError, match="int32"):
        net(np.zeros((1, 4, 4, 3), np.int32))
