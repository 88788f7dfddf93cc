"""Losses by which a small network learns from a large one. The teacher gets no gradient.

`maps` are inner features of the two networks, a list or dict of [N, H, W, C] each.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxvsr.losses.perceptual import unit
from jaxvsr.losses.pixels import penalty


def distil_output(
    student: Float[Array, "*shape"], teacher: Float[Array, "*shape"], *, norm: str = "l1"
) -> Float[Array, ""]:
    """Mean error of the student's picture against the teacher's (FAKD, He et al. 2020, L_TS)."""
    return penalty(student - jax.lax.stop_gradient(teacher), norm).mean()


def distil_features(student: PyTree, teacher: PyTree, *, norm: str = "l2") -> Float[Array, ""]:
    """Mean error of each map against the teacher's, summed over maps (FitNets, Romero 2015, Eq. 3).

    Both need the same widths: there is no learned regressor between them.
    """
    return sum(distil_output(a, b, norm=norm) for a, b in _pairs(student, teacher))


def distil_attention(student: PyTree, teacher: PyTree) -> Float[Array, ""]:
    """Squared distance of where the two networks look, summed over maps; widths may differ.

    Attention transfer (Zagoruyko and Komodakis 2017, Eq. 2, p = 2, squared): the energy of all
    channels at each place, as a vector over places of length 1. A picture's distance lies in
    [0, 2]; their weight is beta / 2.
    """
    energy = lambda x: unit(jnp.square(x).sum(-1).reshape(x.shape[0], -1))
    pairs = _pairs(student, teacher)
    distance = lambda a, b: jnp.square(energy(a) - energy(jax.lax.stop_gradient(b))).sum(-1)
    return sum(distance(a, b).mean() for a, b in pairs)


def _pairs(student: PyTree, teacher: PyTree):
    return zip(jax.tree.leaves(student), jax.tree.leaves(teacher), strict=True)
