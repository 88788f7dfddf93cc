"""The step: what it learns, what it leaves alone, and what it refuses before a run starts."""

import chex
import jax
import jax.numpy as jnp
import little_run
import numpy as np
import optax
import pytest
from little_run import TERMS, Batches

from experiments.sr_unet import light as experiment
from jaxvsr import train
from jaxvsr.layers import RepBlock, fold, trained_folded
from jaxvsr.models.sr_unet import SRUNet

TINY = SRUNet(width=4, depths=(1,) * 7, clip=False)
PARAMS = little_run.params()
L1 = {"l1": 1.0}
FULL = {"l1": 1.0, "space": 0.1}
KEY = jax.random.key(1)


def batch(number=0):
    data = Batches()
    data.number = number
    return next(data)


def play(phase, steps=1, tx=None, state=None, on=1, **options):
    """(first state, last state, metrics of the last step) of one phase on the first devices."""
    table = little_run.game(optax.sgd(0.1) if tx is None else tx, **options)
    whole, split = train.shardings(jax.devices()[:on])
    first = train.init(KEY, PARAMS, table, phase) if state is None else state
    chex.clear_trace_counter()
    once = chex.assert_max_traces(train.make_step(table, phase), n=1)  # whatever a batch holds
    last, step = train.replicate(first, whole), jax.jit(once)
    for _ in range(steps):
        rows = [batch(int(last.step) + k) for k in range(phase.critic_updates)]
        last, metrics = step(last, *(train.distribute(row, split) for row in rows))
    return first, last, {name: float(value) for name, value in metrics.items()}


def phase(weights=L1, critics=(), **options):
    return train.Phase("only", 10, weights, critics, **options)


def same(a, b) -> bool:
    return all(
        (np.asarray(x) == np.asarray(y)).all()
        for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)
    )


def close(a, b, **tolerance):
    chex.assert_trees_all_close(a, b, **tolerance)


@pytest.fixture(scope="module")
def full():
    return play(phase(FULL, ("space",)), 3)


@pytest.mark.quick
def test_it_learns():
    _, _, before = play(phase(), 1, optax.adam(0.01))
    _, _, after = play(phase(), 60, optax.adam(0.01))
    assert after["l1"] < 0.8 * before["l1"]


def test_a_step_equals_pytorchs():
    """One step of both players by Adam, in the game of the little run."""
    torch = pytest.importorskip("torch")
    from torch.nn import functional

    to_torch = lambda x: torch.tensor(
        np.asarray(x).transpose(3, 2, 0, 1) if x.ndim == 4 else np.asarray(x)
    )
    theirs = jax.tree.map(lambda x: to_torch(x).requires_grad_(), PARAMS)
    g, c = theirs["generator"], theirs["space"]
    rows = {name: torch.tensor(x).permute(0, 3, 1, 2) for name, x in batch().items()}

    def conv(x, layer, **options):
        return functional.conv2d(x, layer["kernel"], layer.get("bias"), **options)

    def judge(x):
        x = conv(functional.pad(x, (0, 1, 0, 1)), c["first"], stride=2)
        return conv(functional.leaky_relu(x, 0.2), c["last"])

    beats = lambda a, b: functional.softplus(-(a - b.mean())).mean()
    fake = rows["lr"] + conv(conv(rows["lr"], g["first"], padding=1).relu(), g["last"], padding=1)
    real, made = judge(rows["hr"]), judge(fake)
    total = (fake - rows["hr"]).abs().mean() + 0.1 * beats(made, real)
    optimisers = []
    for player, loss in ((g, total), (c, beats(real, made) + beats(-made, -real))):
        weights = [x for layer in player.values() for x in layer.values()]
        for weight, gradient in zip(
            weights, torch.autograd.grad(loss, weights, retain_graph=True), strict=True
        ):
            weight.grad = gradient
        optimisers.append(torch.optim.Adam(weights, 1e-2, eps=1e-3))
    for optimiser in optimisers:
        optimiser.step()
    ours = play(phase(FULL, ("space",)), 1, optax.adam(1e-2, eps=1e-3))
    assert ours[2]["total"] == pytest.approx(float(total.detach()), abs=1e-6)
    to_jax = lambda x: (
        np.asarray(x.detach()).transpose(2, 3, 1, 0) if x.ndim == 4 else np.asarray(x.detach())
    )
    close(ours[1].params, jax.tree.map(to_jax, theirs), atol=1e-5)


def test_the_average_follows_its_formula():
    state, kernel = None, np.asarray(PARAMS["generator"]["last"]["kernel"])
    for step in range(3):
        _, state, _ = play(phase(ema=0.2), 1, state=state)
        keep = min(0.2, (1 + step) / (10 + step))
        kernel = keep * kernel + (1 - keep) * np.asarray(
            state.params["generator"]["last"]["kernel"]
        )
    np.testing.assert_allclose(state.ema["last"]["kernel"], kernel, atol=1e-6)


def test_a_term_without_a_weight_is_not_even_traced():
    _, _, metrics = play(phase())
    assert set(metrics) == {"total", "l1", "norm", "skipped", "missed"}
    with pytest.raises(ZeroDivisionError):
        play(phase({"never": 0.0}))


def test_a_phase_without_a_critic_leaves_it_alone():
    first, last, _ = play(phase(FULL))
    assert same(first.params["space"], last.params["space"])
    assert not same(first.params["generator"], last.params["generator"])


def test_a_critic_learns_and_is_told_of(full):
    first, last, metrics = full
    assert not same(first.params["space"], last.params["space"])
    assert {"critic_space", "lead_space"} <= set(metrics)


def test_four_devices_change_nothing(full):
    _, last, metrics = play(phase(FULL, ("space",)), 3, on=4)
    close(last.params, full[1].params, atol=1e-5)
    close(metrics, full[2], rtol=1e-4, atol=1e-5)


def test_a_weight_follows_its_schedule_from_the_start_of_the_phase():
    ramp = phase({"l1": 1.0, "l2": optax.linear_schedule(0.0, 3.0, 3)})
    start = train.init(KEY, PARAMS, little_run.game(), ramp)
    late = start.replace(step=jnp.int32(7), began=jnp.int32(5))
    _, _, metrics = play(ramp, state=late)
    assert metrics["total"] == pytest.approx(metrics["l1"] + 2.0 * metrics["l2"], rel=1e-5)


def test_frozen_parts_stay_even_from_weight_decay():
    first, last, _ = play(phase(frozen=("first",)), 2, optax.adamw(0.1, weight_decay=0.1))
    before, after = first.params["generator"], last.params["generator"]
    assert same(before["first"], after["first"]) and not same(before["last"], after["last"])
    assert play(phase(frozen=("first",)))[2]["norm"] < play(phase())[2]["norm"]
    assert same(last.ema["first"], before["first"])


def test_critics_learn_several_times_and_from_other_batches():
    several = phase(FULL, ("space",), critic_updates=3)
    _, last, _ = play(several, 1, optax.adam(0.01))
    assert int(last.opt["space"][0].count) == 3 and int(last.opt["generator"][0].count) == 1
    alone = train.make_step(little_run.game(), several)
    with pytest.raises(ValueError, match="1 batches for 3 critic updates"):
        alone(last, batch())


def test_a_critic_that_is_too_far_ahead_waits():
    critics = {"space": lambda r: (little_run.critic_loss(r)[0], jnp.float32(50.0))}
    table = train.Game(little_run.game().players, TERMS, optax.adam(0.01), critics)
    held = phase(FULL, ("space",), lead=0.4)
    state, step = train.init(KEY, PARAMS, table, held), jax.jit(train.make_step(table, held))
    one, metrics = step(state, batch())
    assert one.lead["space"] == pytest.approx(0.01 * 50) and metrics["lead_space"] == 50
    assert same(one.params["space"], PARAMS["space"]) and int(one.opt["space"][0].count) == 0
    assert not same(one.params["generator"], PARAMS["generator"])
    behind = step(state.replace(lead={"space": jnp.float32(-0.2)}), batch())[0]
    assert not same(behind.params["space"], PARAMS["space"])


def test_gradients_are_clipped_by_their_global_norm():
    first, last, metrics = play(phase(clip=1e-3), 1, optax.sgd(1.0))
    moved = jax.tree.map(jnp.subtract, first.params["generator"], last.params["generator"])
    length = np.sqrt(sum(float(jnp.square(x).sum()) for x in jax.tree.leaves(moved)))
    assert length == pytest.approx(1e-3, rel=1e-3) and metrics["norm"] > 1e-2


@pytest.mark.parametrize(("on", "backend"), [(1, "cpu"), (2, "cpu"), (1, "gpu"), (2, "gpu")])
def test_a_batch_in_parts_is_the_batch(on, backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)  # it chooses how parts follow
    whole, parts = (play(phase(accumulate=k), 2, on=on) for k in (1, 4))
    close(parts[1].params, whole[1].params, atol=1e-6)
    assert parts[2]["l1"] == pytest.approx(whole[2]["l1"], rel=1e-5)


def test_bfloat16_computes_and_float32_remembers():
    seen = []
    table = little_run.game(optax.sgd(0.1), dtype=jnp.bfloat16)
    exact = play(phase(FULL, ("space",)))[2]
    _, last, metrics = play(phase(FULL, ("space",)), dtype=jnp.bfloat16)
    kinds = {
        x.dtype
        for x in jax.tree.leaves((last.params, last.ema))
        if jnp.issubdtype(x.dtype, jnp.floating)
    }
    assert kinds == {jnp.dtype("float32")}
    assert metrics["l1"] == pytest.approx(exact["l1"], rel=0.01) and metrics["l1"] != exact["l1"]
    spied = train.Game(
        {"generator": lambda p, x: seen.append((p["a"].dtype, x.dtype)) or x},
        {},
        table.tx,
        dtype=jnp.bfloat16,
    )
    made = spied.play("generator", {"a": jnp.ones(1)}, jnp.ones((1, 2, 2, 3)))
    assert seen == [(jnp.bfloat16, jnp.bfloat16)] and made.dtype == jnp.float32


def test_noise_differs_from_step_to_step_and_not_from_run_to_run():
    one, two = play(phase({"noisy": 1.0}), 1), play(phase({"noisy": 1.0}), 1)
    assert one[2] == two[2]
    later = one[0].replace(step=jnp.int32(1), began=jnp.int32(1))
    table = little_run.game(optax.sgd(0.1))
    step = jax.jit(train.make_step(table, phase({"noisy": 1.0})))
    assert float(step(later, batch())[1]["noisy"]) != one[2]["noisy"]


def test_bytes_count_255ths():
    table, step = little_run.game(), None
    step = jax.jit(train.make_step(table, phase()))
    state = train.init(KEY, PARAMS, table, phase())
    in_bytes = {name: np.uint8(255 * x) for name, x in batch().items()}
    as_floats = {name: np.float32(x) / 255 for name, x in in_bytes.items()}
    assert step(state, in_bytes)[1]["l1"] == pytest.approx(float(step(state, as_floats)[1]["l1"]))


@pytest.mark.parametrize("on", [1, 4])
def test_a_step_that_is_not_finite_changes_nothing_but_the_counters(on):
    """One bad row: on four devices three of them would have learnt."""
    table, play_it = little_run.game(), phase(FULL, ("space",))
    whole, split = train.shardings(jax.devices()[:on])
    state = train.replicate(train.init(KEY, PARAMS, table, play_it), whole)
    step = jax.jit(train.make_step(table, play_it))
    bad = batch()
    bad["hr"][-1, 0, 0, 0] = np.nan
    after, metrics = step(state, train.distribute(bad, split))
    after, metrics = step(after, train.distribute(bad, split))
    assert int(after.step) == 2 and metrics["skipped"] == 2 and metrics["missed"] == 2
    for part in ("params", "opt", "ema", "lead"):
        assert same(getattr(after, part), getattr(state, part)), part
    better, metrics = step(after, train.distribute(batch(), split))
    assert metrics["skipped"] == 2 and metrics["missed"] == 0
    assert not same(better.params["space"], state.params["space"])


def test_cosine_and_multistep_are_pytorchs():
    torch = pytest.importorskip("torch")
    scheduler = torch.optim.lr_scheduler
    weight = [torch.nn.Parameter(torch.zeros(1))]
    for ours, theirs in (
        (train.cosine(0.1, 20, last=0.01), lambda o: scheduler.CosineAnnealingLR(o, 20, 0.01)),
        (train.multistep(0.1, (5, 9)), lambda o: scheduler.MultiStepLR(o, [5, 9], 0.5)),
    ):
        optimiser = torch.optim.SGD(weight, 0.1)
        schedule = theirs(optimiser)
        for step in range(20):
            assert float(ours(step)) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-5)
            optimiser.step()
            schedule.step()


def test_the_rate_rises_and_falls_to_its_end():
    """Adam's first updates are the rate itself where the gradient keeps its sign."""
    tx, weight = train.adam(0.1, 50, warm=10, last=1e-6), {"w": jnp.float32(0)}
    opt, rates = tx.init(weight), []
    for _ in range(51):
        updates, opt = tx.update({"w": jnp.float32(1)}, opt, weight)
        rates.append(-float(updates["w"]))
    assert rates[0] == 0 and max(rates) == pytest.approx(0.1, rel=1e-3)
    assert np.argmax(rates) == 10 and rates[-1] == pytest.approx(1e-6, rel=1e-2)


def test_folding_inside_the_step_leaves_value_and_gradient():
    params = jax.tree.map(lambda p: p + 0.05, experiment.untrained(TINY, 0))
    lr = jax.random.uniform(jax.random.key(1), (1, 16, 16, 3))
    plain = lambda p: jnp.square(TINY.apply({"params": p}, lr)).mean()
    folded = lambda p: jnp.square(trained_folded(TINY)(p, lr)).mean()
    (a, ga), (b, gb) = (jax.jit(jax.value_and_grad(f))(params) for f in (plain, folded))
    np.testing.assert_allclose(a, b, rtol=1e-5)
    chex.assert_trees_all_close(ga, gb, rtol=1e-3, atol=1e-5)


@pytest.mark.sweep
def test_bfloat16_leaves_the_identity_out_of_the_kernels():
    """1 + 2^-9 is 1 in bfloat16: x * (1 + w) summed in a kernel loses w, x + x * w does not."""
    net = RepBlock(2)
    params = net.init(jax.random.key(0), jnp.zeros((1, 4, 4, 2)))["params"]
    params = jax.tree.map(jnp.zeros_like, params)
    params["conv_adapter"]["kernel"] += 2**-9 * jnp.eye(2)
    half = lambda tree: jax.tree.map(lambda x: x.astype(jnp.bfloat16), tree)
    whole, kernels = (
        fold({"b": params}, folded=how)["b"]["conv1"]["kernel"] for how in (True, "kernels")
    )
    assert (half(whole)[1, 1] == jnp.eye(2)).all() and half(kernels)[1, 1, 0, 0] == 2**-9
    x = jax.random.uniform(jax.random.key(1), (1, 4, 4, 2))
    apart = RepBlock(2, folded="kernels").apply(
        {"params": fold({"b": params}, folded="kernels")["b"]}, x
    )
    np.testing.assert_allclose(apart, net.apply({"params": params}, x), rtol=1e-6)
    params = half(jax.tree.map(lambda p: p + 0.05, experiment.untrained(TINY, 0)))
    lr = jax.random.uniform(jax.random.key(1), (1, 16, 16, 3), jnp.bfloat16)
    net, small = TINY.clone(folded="kernels"), {"params": fold(params, folded="kernels")}
    assert (trained_folded(TINY)(params, lr) == net.apply(small, lr)).all()


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
    assert np.isfinite(experiment.main(experiment.Light(smoke=True))["total"])


def test_untrained_parameters_differ_by_key():
    frames = np.zeros((1, 8, 8, 3), np.float32)
    players = little_run.game().players
    one, two = (
        train.untrained(jax.random.key(k), players, dict.fromkeys(players, frames)) for k in (0, 1)
    )
    assert jax.tree.map(jnp.shape, one) == jax.tree.map(jnp.shape, PARAMS)
    assert not same(one["generator"], two["generator"]) and not same(one["space"], two["space"])
