"""Losses of clips [N, T, H, W, C] and of optical flow [N, T - 1, H, W, 2].

Flow is (dx, dy) in pixels and leads from a frame back to the one before it: `flow[:, t]` says
where each pixel of frame t + 1 was in frame t, so that frame t warped by it looks like t + 1.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvsr import ops
from jaxvsr.losses.pixels import penalty

Clip = Float[Array, "n t h w c"]
Flow = Float[Array, "n t2 h w 2"]
Mask = Float[Array, "n t2 h w 1"]
Scalar = Float[Array, ""]


def warp_consistency(
    clip: Clip, flow: Flow, mask: Mask | None = None, *, norm: str = "l1"
) -> Scalar:
    """Mean error of each frame against the one before it, warped: the clip should move as told.

    The short-term temporal loss of Lai et al. 2018, M |O_t - warp(O_t-1)|. `mask` M is 1 where a
    pixel was visible before and 0 where not; the mean is over what it leaves, and 0 if that is
    nothing. Trains the pictures: the flow, which comes from the input or from the truth, gets no
    gradient.
    """
    return _moved(clip, jax.lax.stop_gradient(flow), mask, norm)


def photometric(
    clip: Clip, flow: Flow, mask: Mask | None = None, *, norm: str = "charbonnier"
) -> Scalar:
    """The same error, to train the flow: brightness stays along it (Yu et al. 2016).

    `clip` is what the flow was estimated on. "l2" is TecoGAN's L_warp, of which the authors' code
    sums the channels, 3 times this.
    """
    return _moved(clip, flow, mask, norm)


def _moved(clip, flow, mask, norm: str):
    before, after = (x.reshape(-1, *x.shape[2:]) for x in (clip[:, :-1], clip[:, 1:]))
    cost = penalty(after - ops.warp(before, flow.reshape(-1, *flow.shape[2:])), norm)
    if mask is None:
        return cost.mean()
    seen = jnp.broadcast_to(mask.reshape(-1, *mask.shape[2:]), cost.shape)
    total = seen.sum()
    return (cost * seen).sum() / jnp.where(total > 0, total, 1)


def flow_smoothness(flow: Float[Array, "*n h w 2"], *, norm: str = "l1") -> Scalar:
    """Mean first difference of the flow across and down, added (Yu et al. 2016).

    "l1" allows steps at edges, "charbonnier" is the paper's, "l2" blurs them.
    """
    across, down = _steps(flow, -2), _steps(flow, -3)
    return penalty(across, norm).mean() + penalty(down, norm).mean()


def flow_change(flow: Flow, *, norm: str = "l1") -> Scalar:
    """Mean change of the flow from one pair of frames to the next: motion should not be torn.

    ours: MST-GAN asks for it and gives no equation. The clip needs three frames.
    """
    return penalty(_steps(flow, 1), norm).mean()


def _steps(flow, axis: int):
    if flow.shape[axis] < 2:
        raise ValueError(f"flow {flow.shape}: axis {axis} needs two values to differ")
    return jnp.diff(flow, axis=axis)


def ping_pong(forward: Clip, backward: Clip, *, norm: str = "l2") -> Scalar:
    """Mean error of a clip made forwards against the same clip made from its last frame to its
    first; `backward` is in the order in which it was made.
    """
    return penalty(forward - jnp.flip(backward, 1), norm).mean()


def palindrome(clip: Clip) -> Float[Array, "n t2 h w c"]:
    """[N, T, ...] to [N, 2 T - 1, ...]: forwards, then back to the start (TecoGAN: 10 to 19)."""
    return jnp.concatenate([clip, jnp.flip(clip[:, :-1], 1)], 1)


def ping_pong_palindrome(fake: Clip, *, norm: str = "l1") -> Scalar:
    """TecoGAN's L_PP: a frame on the way there against itself on the way back.

    `fake` is what a recurrent generator makes of a `palindrome`, [N, 2 T - 1, ...]. "l1" is the
    authors' code, "l2" the paper's norm squared. ValueError for an even number of frames.
    """
    count = fake.shape[1]
    if count % 2 == 0 or count < 3:
        raise ValueError(f"{count} frames: a palindrome has an odd number, from 3 on")
    half = count // 2
    return ping_pong(fake[:, :half], fake[:, half + 1 :], norm=norm)


def ping_pong_window(
    generate: Callable, lr: Clip, fake: Float[Array, "n t H W c"], *, norm: str = "l2"
) -> Scalar:
    """GAN-EVH's Eq. 10: the middle frame, made forwards and made from its own future backwards.

    `fake` is `generate(lr)` of T >= 3 frames. The made frame behind the middle takes the place
    of its input (ours: brought to the input's size where the generator enlarges), the clip is
    reversed and made again, and the middles are compared. At T = 3 it is the paper's
    [made t + 1, t, t - 1]; longer clips, for windows of five, keep their outer frames.
    """
    count = lr.shape[1]
    if count < 3:
        raise ValueError(f"{count} frames: ping-pong needs one before and one behind the middle")
    middle = (count - 1) // 2
    lr, seen = jnp.asarray(lr), ops.resize(fake[:, middle + 1], lr.shape[2:4])
    again = generate(jnp.flip(lr.at[:, middle + 1].set(seen), 1))
    return penalty(fake[:, middle] - again[:, count - 1 - middle], norm).mean()
