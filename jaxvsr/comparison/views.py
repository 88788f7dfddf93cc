"""What metrics look at: planes as RGB or as luma, of the reference's size, without a border."""

from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxvsr import ops
from jaxvsr.video import colour
from jaxvsr.video.colour import MATRICES, Colour

Planes = tuple[jax.Array | np.ndarray, ...]


class View:
    """Frames as metrics want them; what none asks for is not computed.

    `planes` are [N, H, W] each as `colour.to_rgb` takes them, or where `meaning` is None one array
    [N, H, W, 3] of integers or of floats in [0, 1]. Frames of another size than `size` are resized
    by `method`; `crop` pixels go at each border.
    """

    def __init__(self, planes: Planes, meaning: Colour | None, size, method=None, crop=0):
        self._planes, self._meaning, self._size = planes, meaning, tuple(size)
        self._method, self._inside = method, slice(crop, -crop or None)

    @cached_property
    def rgb(self) -> Float[Array, "n h w 3"]:
        """R'G'B' in [0, 1]."""
        return self._whole[:, self._inside, self._inside]

    @cached_property
    def channels(self) -> tuple[Float[Array, "n h w"], ...]:
        """The same as three planes, which a sum over all of them is much faster to take from."""
        if self._is_video:
            planes = colour.to_channels(self._planes, self._meaning)
            return tuple(jnp.clip(p, 0, 1)[:, self._inside, self._inside] for p in planes)
        return tuple(self.rgb[..., i] for i in range(3))

    @cached_property
    def luma(self) -> Float[Array, "n h w 1"]:
        """BT.601 luma in limited range, as the super-resolution papers have it.

        Of video it is taken from its planes, so colours outside the gamut count as they are.
        """
        y = self.luma_of("bt601") * (219 / 255) + 16 / 255
        return y[:, self._inside, self._inside, None]

    def luma_of(self, matrix: str) -> Float[Array, "n h w"]:
        """Luma of a matrix, 0 for black and 1 for white, of all rows and columns."""
        if self._is_video:
            return colour.to_luma(self._planes, self._meaning, matrix)
        red, blue = MATRICES[matrix]
        return self._whole @ jnp.array([red, 1 - red - blue, blue], jnp.float32)

    @property
    def _is_video(self) -> bool:
        return self._meaning is not None and self._planes[0].shape[-2:] == self._size

    @cached_property
    def _whole(self):
        rgb = jnp.clip(unit(self._planes, self._meaning), 0, 1)
        if rgb.shape[-3:-1] != self._size:
            rgb = jnp.clip(resized(rgb, self._size, self._method), 0, 1)
        return rgb


def unit(planes: Planes, meaning: Colour | None):
    """Planes, or RGB of any kind, as float32 RGB [..., H, W, 3], not clipped."""
    if meaning is not None:
        return colour.to_rgb(planes, meaning)
    (rgb,) = planes
    peak = np.iinfo(rgb.dtype).max if rgb.dtype.kind in "iu" else 1
    return rgb.astype(np.float32) / np.float32(peak)


def resized(rgb: Float[Array, "n h w 3"], size: tuple[int, int], method: str):
    """RGB of another size.

    "bicubic" is MATLAB's imresize but for the border, "lanczos" has three lobes; both widen where
    the picture shrinks.
    """
    return ops.resize(rgb, size, method, antialias=True, a=-0.5)


def codes(luma, bits: int):
    """Luma in [0, 1] as codes of limited range, uint8, or uint16 above 8 bits."""
    unit_code = 2 ** (bits - 8)
    whole = jnp.round(luma * (219 * unit_code) + 16 * unit_code)
    kind = jnp.uint8 if bits == 8 else jnp.uint16
    return jnp.clip(whole, 0, 2**bits - 1).astype(kind)


def picture(planes: Planes, meaning: Colour | None, size, method) -> np.ndarray:
    """One frame, planes [H, W] or RGB [H, W, 3], as RGB uint8 of `size`."""
    rgb = np.clip(unit(planes, meaning), 0, 1)
    if rgb.shape[:2] != tuple(size):
        rgb = np.asarray(jax.device_get(resized(rgb[None], tuple(size), method)))[0]
    return np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
