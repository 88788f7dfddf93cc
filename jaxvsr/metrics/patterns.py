"""What averages miss and eyes do not: a mesh, a painted look, grain lost or made up, flicker.

Frames are RGB [..., H, W, 3] in [0, 1]; what is measured is luma, told in levels of 8 bits or in
decibels. All are ours. Smooth places are those where the truth's luma changes by a few levels from
pixel to pixel: there is little there to hide a pattern.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxvsr.metrics.fidelity import luma

TILE = 32  # pixels; frequencies of periods 2, 4 and 8 are bins of it
SMOOTH = 3.0  # levels a pixel of the truth's gradient at which a place counts a quarter
STILL = 1.0  # levels of the truth's change in time at which a place counts a quarter
FLOOR = 0.5  # levels; differences of less energy are nobody's
BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16

Frames = Float[Array, "*n h w 3"]


class Shares(NamedTuple):
    """Grain of the smooth places in parts of the truth's: `kept` + `lost` = 1."""

    kept: Float[Array, "*n"]
    lost: Float[Array, "*n"]
    invented: Float[Array, "*n"]


@jax.jit
def mesh(fake: Frames, real: Frames) -> Float[Array, "*n"]:
    """The pattern of 2, 4 and 8 pixels that a network lays over smooth places, in levels, [...].

    Root mean square of the part that repeats with the pixel grid, above the truth's: a
    checkerboard of +-1 level that the truth has not is 1, a picture without any 0. Such patterns
    come from pixel shuffles and strides; at a period of 2 they are the spread between the four
    phases of the grid (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts").

    The spectrum is the mean over tiles of 32 pixels under a Hann window, weighted by how smooth
    the truth is there; a frequency counts by what it has more than the geometric mean of its
    eight neighbours, so neither grain nor a gradient is a mesh. ValueError for frames smaller than
    a tile and for shapes that differ.
    """
    fake, real = _levels(fake, real)
    weight = _smoothness(_tiles(real))
    above = [_repeating(_spectrum(_tiles(image), weight)) for image in (fake, real)]
    return jnp.sqrt(jnp.maximum(above[0] - above[1], 0))


@jax.jit
def detail(fake: Frames, real: Frames) -> Float[Array, "*n"]:
    """The finest octave beside the truth's in dB, [...]: below 0 too smooth, above 0 too sharp.

    Ten times the logarithm of the ratio of local variances of what a binomial filter of five taps
    takes away, the mean over tiles of 32 pixels; half a level is added to both, so flat places,
    where neither has any, count 0. ValueError as for `mesh`.
    """
    energies = [_energy(_fine(image)) + FLOOR**2 for image in _levels(fake, real)]
    return 10 * jnp.log10(energies[0] / energies[1]).mean((-2, -1))


@jax.jit
def grain(fake: Frames, real: Frames) -> Float[Array, "*n"]:
    """The same as `detail` of the smooth places together, [...]: below 0 grain went, above it came.

    There the finest octave is noise, of the camera or of the coding. Whether it is the truth's own
    is told by `grain_shares`.
    """
    fake, real = _levels(fake, real)
    weight = _smoothness(_tiles(real))
    energies = [(weight * _energy(_fine(image))).sum((-2, -1)) for image in (fake, real)]
    floor = FLOOR**2 * weight.sum((-2, -1))
    return 10 * jnp.log10((energies[0] + floor) / (energies[1] + floor))


@jax.jit
def grain_shares(fake: Frames, real: Frames) -> Shares:
    """How much of the truth's grain is kept and lost, and how much is made up, of amplitude.

    The candidate's finest octave in smooth places is split into a multiple of the truth's (kept)
    and a rest (invented, as its root mean square over the truth's). The truth has (1, 0, 0), a
    blurred one less than (1, ., 0), fresh grain as strong as the truth's (0, 1, 1).
    """
    fake, real = _levels(fake, real)
    weight = _smoothness(_tiles(real))
    a, b = _fine(fake), _fine(real)
    mean = lambda product: (weight * _tiles(product).mean((-2, -1))).sum((-2, -1))
    energy = mean(b * b) + 1e-9 * weight.sum((-2, -1))
    kept = mean(a * b) / energy
    rest = jnp.maximum(mean(a * a) / energy - kept**2, 0)
    return Shares(kept, 1 - kept, jnp.sqrt(rest))


@partial(jax.jit, static_argnames=("crop",))
def flicker(
    fake: Float[Array, "t h w 3"], real: Float[Array, "t h w 3"], *, crop: int = 0
) -> Float[Array, " t-1"]:
    """What trembles where the truth stands still, in levels, [T - 1]; 0 is best.

    Root mean square of the finest octave of the change from frame to frame, above the truth's own,
    over tiles weighted by how little the truth changes there. NaN where nothing stands still.
    `crop` pixels go at each border. ValueError for fewer than two frames, and as for `mesh`.
    """
    if fake.ndim != 4 or fake.shape[0] < 2:
        raise ValueError(f"{fake.shape}: flicker needs two frames or more, [T, H, W, 3]")
    inside = slice(crop, -crop or None)
    fake, real = _levels(fake[:, inside, inside], real[:, inside, inside])
    changes = [jnp.diff(image, axis=0) for image in (fake, real)]
    moved = _energy(_coarse(changes[1]))
    weight = 1 / jnp.square(1 + moved / STILL**2)
    total = weight.sum((-2, -1))
    energies = [(weight * _energy(_fine(c))).sum((-2, -1)) / total for c in changes]
    still = total > 0.01 * weight[0].size
    return jnp.where(still, jnp.sqrt(jnp.maximum(energies[0] - energies[1], 0)), jnp.nan)


def _levels(fake, real):
    """Luma [..., H, W] of both, black 16 and white 235."""
    if fake.shape != real.shape:
        raise ValueError(f"shapes differ: {fake.shape} and {real.shape}")
    if min(fake.shape[-3:-1]) < TILE:
        size = f"{fake.shape[-2]}x{fake.shape[-3]}"
        raise ValueError(f"{size}: needs frames of at least {TILE}x{TILE} pixels")
    return tuple(255 * luma(image.astype(jnp.float32))[..., 0] for image in (fake, real))


def _tiles(image):
    """[..., rows, columns, 32, 32]: tiles that do not overlap; what is left at the end goes."""
    rows, columns = (side // TILE for side in image.shape[-2:])
    cut = image[..., : rows * TILE, : columns * TILE]
    return cut.reshape(*image.shape[:-2], rows, TILE, columns, TILE).swapaxes(-3, -2)


def _energy(image):
    """Mean square of each tile, [..., rows, columns]."""
    return jnp.square(_tiles(image)).mean((-2, -1))


def _smoothness(tiles):
    """Weight of each tile, [..., rows, columns]: 1 where it is flat."""
    down, right = (jnp.square(jnp.diff(tiles, axis=axis)).mean((-2, -1)) for axis in (-2, -1))
    return 1 / jnp.square(1 + (down + right) / (2 * SMOOTH**2))


def _spectrum(tiles, weight):
    """[..., 16, 16]: mean energy at the even bins of the tiles' spectra, in squares of levels.

    The even bins of 32 points are the bins of 16 points that both halves were added into.
    """
    hann = np.square(np.sin(np.pi * np.arange(TILE) / TILE))
    window = jnp.asarray(np.outer(hann, hann) / hann.sum() ** 2, jnp.float32)
    mean = tiles.mean((-2, -1), keepdims=True)
    half = TILE // 2
    folded = ((tiles - mean) * window).reshape(*tiles.shape[:-2], 2, half, 2, half).sum((-4, -2))
    energy = jnp.square(jnp.abs(jnp.fft.fft2(folded)))
    share = weight / weight.sum((-2, -1), keepdims=True)
    return (share[..., None, None] * energy).sum((-4, -3))


def _repeating(spectrum):
    """Energy at the periods of 2, 4 and 8 pixels, above that of the frequencies around."""
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    around = sum(jnp.log(jnp.roll(spectrum, s, (-2, -1)) + 1e-12) for s in shifts) / len(shifts)
    above = (spectrum - jnp.exp(around))[..., ::2, ::2]
    return above.sum((-2, -1)) - above[..., 0, 0]


def _coarse(image):
    """A binomial filter of five taps along both sides; edges are repeated."""
    for axis in (-2, -1):
        pad = [(0, 0)] * image.ndim
        pad[axis] = (2, 2)
        padded, length = jnp.pad(image, pad, mode="edge"), image.shape[axis]
        parts = (jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(5))
        image = sum(tap * part for tap, part in zip(BINOMIAL, parts, strict=True))
    return image


def _fine(image):
    return image - _coarse(image)
