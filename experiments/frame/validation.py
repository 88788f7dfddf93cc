"""What a run is told by while it trains: scores over whole clips that it does not see."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxvsr import metrics
from jaxvsr.data.shots import Pair

SHOWN = 256  # pixels a side, at most, of each clip in the picture


def over(clips: Sequence[Pair], forward: Callable, judge: dict | None = None) -> Callable:
    """f(params) -> {"psnr", "ssim", "lpips" if there is a judge, "real_above_made": a picture}.

    `forward(params, frames [1, h, w, 3])` plays the network on each frame, in [0, 1]. `judge` has
    LPIPS's parameters for AlexNet. Scores are means over the frames of a clip, then over clips.
    """

    @jax.jit
    def scored(params, lr, hr) -> tuple[dict, jax.Array]:
        fake = jnp.clip(forward(params, lr), 0, 1)
        found = {"psnr": metrics.psnr(fake, hr), "ssim": metrics.ssim(fake, hr)}
        if judge is not None:
            found["lpips"] = metrics.lpips(fake, hr, judge)
        return jax.tree.map(jnp.mean, found), fake[0]

    def of_clip(params, pair: Pair) -> tuple[dict, np.ndarray]:
        """(its mean scores, the last frame: truth above what was made)."""
        found = []
        for lr, hr in zip(pair.lr, pair.hr, strict=True):
            real = np.float32(hr) / 255
            scores, fake = jax.device_get(scored(params, np.float32(lr)[None] / 255, real[None]))
            found.append(scores)
        return _means(found), np.concatenate([_middle(real), _middle(fake)])

    def validate(params) -> dict:
        params = jax.device_put(jax.device_get(params))  # on one device, as its single frames
        scores, strips = zip(*(of_clip(params, pair) for pair in clips), strict=True)
        alike = [strip for strip in strips if strip.shape == strips[-1].shape]
        return _means(scores) | {"real_above_made": np.concatenate(alike[-4:], axis=1)}

    return validate


def _means(found: Sequence[dict]) -> dict[str, float]:
    return {name: float(np.mean([scores[name] for scores in found])) for name in found[0]}


def _middle(frame: np.ndarray) -> np.ndarray:
    top, left = (max(0, side - SHOWN) // 2 for side in frame.shape[:2])
    return frame[top : top + SHOWN, left : left + SHOWN]
