"""The two sides of every game. Scores are a critic's logits, of any shape; the mean is over all.

The critic's side takes (real, fake), the generator's (fake), or (real, fake) where it compares.
All are written with softplus, so no score is too large: -log sigmoid(s) = softplus(-s) and
-log(1 - sigmoid(s)) = softplus(s). Means run over the whole global batch, which is why a
training step is one program and not one a device.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.nn import relu, softplus
from jaxtyping import Array, Float, PyTree

from jaxvsr.losses.pixels import absolute

Scores = Float[Array, "..."]
Scalar = Float[Array, ""]


def logistic_critic(real: Scores, fake: Scores) -> Scalar:
    """-log D(real) - log(1 - D(fake)), D = sigmoid of the score (Goodfellow et al. 2014, Eq. 1).

    Eq. 5-7 of the browser SRGAN with the sign turned, for it is minimised here. SR-UNet's code
    takes half of it.
    """
    return softplus(-real).mean() + softplus(fake).mean()


def saturating_generator(fake: Scores) -> Scalar:
    """log(1 - D(fake)): the game's own form, whose gradient dies where the critic is sure."""
    return -softplus(fake).mean()


def non_saturating_generator(fake: Scores) -> Scalar:
    """-log D(fake): SRGAN's Eq. 6, the last term of SR-UNet's Eq. 4, TecoGAN's L_adv."""
    return softplus(-fake).mean()


def least_squares_critic(real: Scores, fake: Scores) -> Scalar:
    """((s_real - 1)^2 + s_fake^2) / 2 (LSGAN, Mao et al. 2017, Eq. 9)."""
    return (jnp.square(real - 1).mean() + jnp.square(fake).mean()) / 2


def least_squares_generator(fake: Scores) -> Scalar:
    """(s_fake - 1)^2 / 2 (LSGAN, Eq. 9)."""
    return jnp.square(fake - 1).mean() / 2


def hinge_critic(real: Scores, fake: Scores) -> Scalar:
    """max(0, 1 - s_real) + max(0, 1 + s_fake) (Miyato et al. 2018, Eq. 16)."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def hinge_generator(fake: Scores) -> Scalar:
    """-s_fake (Miyato et al. 2018, Eq. 17)."""
    return -fake.mean()


def relativistic_critic(real: Scores, fake: Scores) -> Scalar:
    """Real should beat the mean fake, fake lose to the mean real (Jolicoeur-Martineau 2018).

    L_D^Ra of ESRGAN (Eq. 1). GAN-EVH's Eq. 7 and 8 are this one and the generator's, printed the
    other way round. BasicSR takes half of each.
    """
    return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()


def relativistic_generator(real: Scores, fake: Scores) -> Scalar:
    """The same comparison with the roles exchanged: L_G^Ra of ESRGAN (Eq. 2)."""
    return relativistic_critic(fake, jax.lax.stop_gradient(real))


def r1_penalty(critic: Callable, real: Float[Array, "n ..."]) -> Scalar:
    """Mean over pictures of |d score / d picture|^2 at real ones (Mescheder et al. 2018, Eq. 9).

    Their weight is gamma / 2. `critic` maps pictures to scores; of many scores a picture the sum
    is taken. Use a critic without batch norm: with it a score is not one picture's own.
    """
    slope = jax.grad(lambda x: critic(x).sum())(real)
    return jnp.square(slope).sum() / real.shape[0]


def critic_layers(fake: PyTree, real: PyTree) -> Scalar:
    """L1 between a critic's inner maps of made and of real pictures (TecoGAN, Chu et al. 2020).

    The mean over pictures and places of the sum over channels, summed over the maps. The authors
    weigh the four maps by 0.02 / 12, / 14, / 24 and / 100: give them one by one to do so. The
    real maps get no gradient.
    """
    pairs = zip(jax.tree.leaves(fake), jax.tree.leaves(real), strict=True)
    return sum(absolute(a - jax.lax.stop_gradient(b)).sum(-1).mean() for a, b in pairs)


def critic_lead(real: Scores, fake: Scores) -> Scalar:
    """How far ahead a critic is: mean log D(real) - mean log D(fake). Not a loss but a gauge.

    0 when it cannot tell. TecoGAN updates its critic only while a running mean stays below 0.4.
    """
    return softplus(-fake).mean() - softplus(-real).mean()
