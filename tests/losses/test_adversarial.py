"""Both sides of every game equal PyTorch's, and no score is too large for them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxvsr import losses

torch = pytest.importorskip("torch")
F = torch.nn.functional
bce = F.binary_cross_entropy_with_logits
DRAW = np.random.default_rng(0)
REAL, FAKE = (DRAW.normal(mean, 2, (4, 3, 5)).astype(np.float32) for mean in (1, -1))

CRITICS = {
    losses.logistic_critic: lambda r, f: bce(r, one(r)) + bce(f, zero(f)),
    losses.least_squares_critic: lambda r, f: (
        0.5 * (F.mse_loss(r, one(r)) + F.mse_loss(f, zero(f)))
    ),
    losses.hinge_critic: lambda r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean(),
    losses.relativistic_critic: lambda r, f: bce(r - f.mean(), one(r)) + bce(f - r.mean(), zero(f)),
    losses.relativistic_generator: lambda r, f: (
        bce(r - f.mean(), zero(r)) + bce(f - r.mean(), one(f))
    ),
    losses.critic_lead: lambda r, f: F.logsigmoid(r).mean() - F.logsigmoid(f).mean(),
}
GENERATORS = {
    losses.saturating_generator: lambda f: -bce(f, zero(f)),
    losses.non_saturating_generator: lambda f: bce(f, one(f)),
    losses.least_squares_generator: lambda f: 0.5 * F.mse_loss(f, one(f)),
    losses.hinge_generator: lambda f: -f.mean(),
}
BOTH = [(ours, theirs, (REAL, FAKE)) for ours, theirs in CRITICS.items()]
BOTH += [(ours, theirs, (FAKE,)) for ours, theirs in GENERATORS.items()]


def one(x):
    return torch.ones_like(x)


def zero(x):
    return torch.zeros_like(x)


def named(function):
    return getattr(function, "__name__", "")


@pytest.mark.parametrize("ours, theirs, scores", BOTH, ids=named)
def test_value_and_slope_equal_torch(ours, theirs, scores):
    """The last argument is the made pictures' score, the one that every side differentiates."""
    tensors = [torch.from_numpy(s).requires_grad_() for s in scores]
    expected = theirs(*tensors)
    expected.backward()
    value, slope = jax.jit(jax.value_and_grad(ours, len(scores) - 1))(*scores)
    assert float(value) == pytest.approx(expected.item(), abs=1e-5)
    np.testing.assert_allclose(slope, tensors[-1].grad, atol=1e-5)


@pytest.mark.parametrize("ours, theirs, scores", BOTH, ids=named)
def test_saturated_scores_have_finite_values_and_slopes(ours, theirs, scores):
    both = jax.jit(jax.value_and_grad(ours, tuple(range(len(scores)))))
    for signs in ((1, 1), (-1, -1), (1, -1), (-1, 1)):
        far = [np.full((2, 2), 100.0 * sign, np.float32) for sign in signs[: len(scores)]]
        value, slopes = both(*far)
        assert np.isfinite(value) and all(np.isfinite(s).all() for s in slopes)


def test_the_logistic_game_is_optax_cross_entropy():
    entropy = optax.sigmoid_binary_cross_entropy
    expected = entropy(REAL, np.ones_like(REAL)).mean() + entropy(FAKE, np.zeros_like(FAKE)).mean()
    assert losses.logistic_critic(REAL, FAKE) == pytest.approx(float(expected), abs=1e-5)


def test_the_non_saturating_form_has_a_slope_where_the_saturating_one_has_none():
    sure = jnp.full((1,), -20.0)
    assert jnp.abs(jax.grad(losses.saturating_generator)(sure)) < 1e-8
    assert jnp.abs(jax.grad(losses.non_saturating_generator)(sure)) > 0.99


def test_a_critic_that_cannot_tell_has_no_lead():
    assert losses.critic_lead(FAKE, FAKE) == 0
    assert losses.critic_lead(REAL, FAKE) > 0.4


def test_the_relativistic_mean_is_the_global_batch():
    """Eight pictures on four devices: the mean of four local losses would be another number."""
    real, fake = (np.resize(s, (8, 7)) * np.arange(8)[:, None] for s in (REAL, FAKE))
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    split = [jax.device_put(s, NamedSharding(mesh, PartitionSpec("data"))) for s in (real, fake)]
    whole = losses.relativistic_critic(real, fake)
    assert jax.jit(losses.relativistic_critic)(*split) == pytest.approx(float(whole), rel=1e-5)
    pairs = [(real[i : i + 2], fake[i : i + 2]) for i in (0, 2, 4, 6)]
    local = np.mean([jax.jit(losses.relativistic_critic)(*pair) for pair in pairs])
    assert abs(local - whole) > 0.01


def test_r1_of_a_linear_critic_is_the_length_of_its_weights():
    weights = DRAW.normal(size=(6, 5, 3)).astype(np.float32)
    critic = lambda x: (x * weights).sum((1, 2, 3))
    pictures = DRAW.random((4, 6, 5, 3), np.float32)
    found = jax.jit(lambda x: losses.r1_penalty(critic, x))(pictures)
    assert found == pytest.approx(float(np.square(weights).sum()), rel=1e-5)


def test_r1_and_its_slope_equal_torch():
    kernel = DRAW.normal(size=(3, 3, 3, 4)).astype(np.float32)
    pictures = DRAW.random((2, 7, 6, 3), np.float32)
    layout = ("NHWC", "HWIO", "NHWC")
    conv = lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=layout)

    def ours(k):
        return losses.r1_penalty(lambda x: jnp.square(jax.nn.softplus(conv(x, k))), pictures)

    weight = torch.from_numpy(kernel).permute(3, 2, 0, 1).clone().requires_grad_()
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).clone().requires_grad_()
    scores = F.softplus(F.conv2d(x, weight, padding=1)).square()
    (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    expected = slope.square().sum((1, 2, 3)).mean()
    expected.backward()
    value, grad = jax.jit(jax.value_and_grad(ours))(kernel)
    assert float(value) == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(grad, weight.grad.permute(2, 3, 1, 0), rtol=1e-4, atol=1e-3)


def test_critic_layers_sum_channels_and_average_places():
    fake, real = ([DRAW.random((2, n, 4, 3), np.float32) for n in (8, 4)] for _ in range(2))
    expected = sum(np.abs(a - b).sum(-1).mean() for a, b in zip(fake, real, strict=True))
    loss = jax.jit(jax.value_and_grad(losses.critic_layers, (0, 1)))
    value, (to_fake, to_real) = loss(fake, real)
    assert float(value) == pytest.approx(expected, abs=1e-5)
    assert np.abs(to_fake[0]).max() > 0 and not np.any(to_real[0])
    value, (to_fake, _) = loss(real, real)
    assert value == 0 and not np.any(to_fake[0])
