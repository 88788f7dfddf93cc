"""A loss for the mesh that pixel shuffles and strides leave: patterns that repeat every few pixels.

Texture differs from place to place; a mesh does not. So the error is averaged over the places of
a neighbourhood that have the same phase (row and column, each modulo the period), which leaves
what repeats, and the phases are compared.
"""

from jaxtyping import Array, Float

from jaxvsr.losses.pixels import penalty


def mesh(
    fake: Float[Array, "*n h w c"],
    real: Float[Array, "*n h w c"],
    *,
    periods: tuple[int, ...] = (2, 4),
    window: int = 16,
) -> Float[Array, ""]:
    """How far the error's mean depends on the phase, the mean over neighbourhoods; 0 for none.

    `window` is the side of a neighbourhood in pixels, a multiple of every period; sides are cut
    to a multiple of it. The sum over `periods` is of Charbonnier penalties. Ours.
    """
    error = (fake - real).reshape(-1, *fake.shape[-3:])
    return sum(penalty(_by_phase(error, p, window), "charbonnier").mean() for p in periods)


def _by_phase(error, period: int, window: int) -> Float[Array, "n rows columns p p c"]:
    """Means of each phase, less those of all phases."""
    n, h, w, c = error.shape
    rows, columns = h // window, w // window
    cells = window // period
    cut = error[:, : rows * window, : columns * window]
    cut = cut.reshape(n, rows, cells, period, columns, cells, period, c)
    means = cut.mean(axis=(2, 5)).swapaxes(2, 3)
    return means - means.mean(axis=(3, 4), keepdims=True)
