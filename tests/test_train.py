"""The step: what it learns, what it averages, and that stopping it changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from experiments import sr_unet as experiment
from jaxvsr import train
from jaxvsr.errors import WeightsError
from jaxvsr.models.sr_unet import SRUNet

TINY = SRUNet(width=4, depths=(1,) * 7, clip=False)


def gain(params, lr):
    return params["gain"] * lr


def batch(i=0):
    lr = jax.random.uniform(jax.random.key(i), (8, 4, 4, 3))
    return {"lr": lr, "hr": 0.5 * lr}


def play(state, tx, steps, forward=gain):
    step = jax.jit(train.make_step(forward, tx))
    for i in range(int(state.step), steps):
        state, metrics = step(state, batch(i))
    return state, metrics


def start(tx, value=1.0):
    return train.init({"gain": jnp.float32(value)}, tx)


def test_it_learns_the_gain():
    state, metrics = play(start(optax.adam(0.05)), optax.adam(0.05), 60)
    assert state.params["gain"] == pytest.approx(0.5, abs=0.05)
    assert metrics["loss"] < 0.02


def test_the_average_follows_its_formula():
    """gain - gain* has one sign, so plain SGD moves by a known amount each step."""
    tx, state, average = optax.sgd(0.1), start(optax.sgd(0.1)), 1.0
    for i in range(3):
        state, _ = play(state, tx, i + 1)
        keep = min(0.999, (1 + i) / (10 + i))
        average = keep * average + (1 - keep) * float(state.params["gain"])
    assert state.average["gain"] == pytest.approx(average, abs=1e-6)


def test_a_resumed_run_equals_an_unbroken_one(tmp_path):
    tx, file = train.adam(0.1, 10, warm=2), tmp_path / "state.safetensors"
    whole, _ = play(start(tx), tx, 7)
    half, _ = play(start(tx), tx, 4)
    train.save(file, half)
    resumed, _ = play(train.load(file, start(tx)), tx, 7)
    assert jax.tree.leaves(resumed) == jax.tree.leaves(whole)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path):
    file, tx = tmp_path / "state.safetensors", optax.sgd(0.1)
    with pytest.raises(WeightsError, match="not a checkpoint"):
        train.load(file, start(tx))
    train.save(file, start(tx))
    with pytest.raises(WeightsError, match="another network"):
        train.load(file, train.init({"gain": jnp.zeros(2)}, tx))


def test_the_rate_rises_and_falls_to_its_end():
    """Adam's first updates are the rate itself where the gradient keeps its sign."""
    tx, params = train.adam(0.1, 50, warm=10, last=1e-6), {"w": jnp.float32(0)}
    opt, rates = tx.init(params), []
    for _ in range(51):
        updates, opt = tx.update({"w": jnp.float32(1)}, opt, params)
        rates.append(-float(updates["w"]))
    assert rates[0] == 0 and max(rates) == pytest.approx(0.1, rel=1e-3)
    assert np.argmax(rates) == 10 and rates[-1] == pytest.approx(1e-6, rel=1e-2)


def test_sharding_changes_nothing():
    tx, devices = optax.sgd(0.1), jax.devices()[:4]
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,), devices=devices)
    whole, split = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))
    step = jax.jit(train.make_step(gain, tx))
    alone, m1 = step(start(tx), batch())
    shared, m4 = step(jax.device_put(start(tx), whole), jax.device_put(batch(), split))
    assert float(m1["loss"]) == pytest.approx(float(m4["loss"]), rel=1e-6)
    np.testing.assert_allclose(alone.params["gain"], shared.params["gain"], rtol=1e-6)


def test_folding_inside_the_step_leaves_value_and_gradient():
    params = jax.tree.map(lambda p: p + 0.05, experiment.untrained(TINY, 0))
    lr = jax.random.uniform(jax.random.key(1), (1, 16, 16, 3))
    plain = lambda p: jnp.square(TINY.apply({"params": p}, lr)).mean()
    folded = lambda p: jnp.square(experiment.forward_of(TINY)(p, lr)).mean()
    (a, ga), (b, gb) = (jax.jit(jax.value_and_grad(f))(params) for f in (plain, folded))
    np.testing.assert_allclose(a, b, rtol=1e-5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5), ga, gb)


def test_calming_colour_leaves_luma():
    params = jax.tree.map(lambda p: p + 0.05, experiment.untrained(TINY, 0))
    noise = 0.1 * jax.random.normal(jax.random.key(2), params["conv_last"]["kernel"].shape)
    params["conv_last"]["kernel"] += noise
    lr = jax.random.uniform(jax.random.key(1), (1, 16, 16, 3))
    base = TINY.apply({"params": jax.tree.map(jnp.zeros_like, params)}, lr)
    full, half = (
        TINY.apply({"params": experiment.calmed(params, share)}, lr) - base for share in (1, 0.5)
    )
    np.testing.assert_allclose(full, TINY.apply({"params": params}, lr) - base, atol=1e-5)
    grey = (full * jnp.array(experiment.LUMA)).sum(-1, keepdims=True)
    np.testing.assert_allclose(half, (full + grey) / 2, atol=1e-5)


def test_smoke():
    assert np.isfinite(experiment.main(experiment.Config(smoke=True))["loss"])
