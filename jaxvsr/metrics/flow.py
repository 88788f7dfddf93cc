"""Motion between two frames by polynomial expansion (Farneback 2003), as OpenCV computes it.

"Two-Frame Motion Estimation Based on Polynomial Expansion", SCIA 2003. Around every pixel the
frame is fitted with f(x) = x'A x + b'x + c. Where a frame moves by d its b changes by -2 A d, so
two expansions give d by least squares over a window, coarse to fine. The paper leaves the pyramid
and the borders open; there we do what OpenCV's `calcOpticalFlowFarneback` does (5.0, flags 0),
with the parameters of TecoGAN's published metric, because that is the flow of the literature.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxvsr import ops

LEVELS = 3  # halvings of the frame at most
SMALLEST = 32  # no level has a side below this
WINDOW = 15  # side of the square over which motion is one and the same
ITERATIONS = 3  # at each level
RADIUS, SIGMA = 5, 1.2  # of the Gaussian that weights the fit
RIDGE = 1e-3  # keeps the least squares solvable where there is no texture
MARGIN = (0.14, 0.14, 0.4472, 0.4472, 0.4472)  # trust in the outermost pixels, whose fit is poor

Frames = Float[Array, "n h w"]
Flow = Float[Array, "n h w 2"]
Pyramid = tuple[Float[Array, "n _ _ 5"], ...]  # coarsest first; a pixel's b and A as in `_fit`


def farneback(first: Frames, second: Frames) -> Flow:
    """The motion (dx, dy) in pixels that carries a pixel of `first` to its place in `second`.

    Both [N, H, W], grey levels in [0, 255]; sides of at least 2. ValueError for other shapes.
    """
    if first.shape != second.shape or first.ndim != 3 or min(first.shape[1:]) < 2:
        raise ValueError(f"two equal shapes [N, H, W] are needed: {first.shape}, {second.shape}")
    return motion(expand(first), expand(second))


def expand(frames: Frames) -> Pyramid:
    """The polynomial expansion of frames at every level; a frame shared by two pairs needs one."""
    frames = jnp.asarray(frames, jnp.float32)
    return tuple(_fit(_shrink(frames, level)) for level in reversed(range(_levels(frames) + 1)))


def motion(first: Pyramid, second: Pyramid) -> Flow:
    """`farneback` of frames that are expanded already."""
    flow = jnp.zeros((*first[0].shape[:3], 2))
    for before, after in zip(first, second, strict=True):
        if before.shape[:3] != flow.shape[:3]:
            flow = 2 * ops.resize(flow, before.shape[1:3], "bilinear")
        # A loop, so that the program holds and the compiler sees one iteration of each level.
        step = lambda _, flow, fits=(before, after): _solve(_equations(*fits, flow))
        flow = lax.fori_loop(0, ITERATIONS, step, flow)
    return flow


def _levels(frames) -> int:
    side = min(frames.shape[1:])
    return sum(side >= SMALLEST * 2**level for level in range(1, LEVELS + 1))


def _shrink(frames, level: int):
    """Blurred at full size, then sampled bilinearly; level 0 is blurred too, as in OpenCV."""
    sigma = (2**level - 1) / 2
    radius = max(round(5 * sigma) // 2, 1)
    t = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * np.square(t / sigma)) if level else np.array([1.0, 2.0, 1.0])
    kernel /= kernel.sum()
    for axis in (1, 2):
        (frames,) = _filter(frames, axis, [kernel], "reflect")
    size = tuple(round(side / 2**level) for side in frames.shape[1:])
    return ops.resize(frames[..., None], size, "bilinear", antialias=False)[..., 0]


def _fit(frames):
    """[N, H, W, 5]: the coefficients of x, y, x^2, y^2 and xy, weighted by a Gaussian.

    Of 1, x and x^2 - m2 no two overlap under a Gaussian of variance m2, so the inverse of the
    paper's matrix G is diagonal for them and each coefficient is one separable filter.
    """
    t = np.arange(-RADIUS, RADIUS + 1)
    weight = np.exp(-0.5 * np.square(t / SIGMA))
    weight /= weight.sum()
    m2, m4 = (weight * t**2).sum(), (weight * t**4).sum()
    linear, square = weight * t / m2, weight * (t**2 - m2) / (m4 - m2**2)
    level, slope, bend = _filter(frames, 1, [weight, linear, square], "edge")
    x, xx = _filter(level, 2, [linear, square], "edge")
    y, xy = _filter(slope, 2, [weight, linear], "edge")
    (yy,) = _filter(bend, 2, [weight], "edge")
    return jnp.stack([x, y, xx, yy, xy], -1)


def _filter(x, axis: int, kernels, border: str):
    """x [N, H, W] weighted along an axis by each kernel of the same odd length."""
    length, radius = x.shape[axis], len(kernels[0]) // 2
    padding = [(radius, radius) if i == axis else (0, 0) for i in range(3)]
    padded = jnp.pad(x, padding, mode=border)
    taps = [lax.slice_in_dim(padded, k, k + length, axis=axis) for k in range(2 * radius + 1)]
    return [sum(float(w) * tap for w, tap in zip(k, taps, strict=True)) for k in kernels]


def _equations(before, after, flow):
    """A'A (three numbers) and A'db (two) of each pixel, [N, 5, H, W].

    A is the mean of both fits and 2 db the loss of b, as if the pixel had moved by `flow` already.

    A pixel that `flow` carries out of the second frame keeps its own A and is pulled to rest.
    """
    there, inside = ops.warp(after, flow), _inside(flow)
    x, y, xx, yy, xy = jnp.moveaxis(before, -1, 0)
    x2, y2, xx2, yy2, xy2 = jnp.moveaxis(there, -1, 0)
    trust = jnp.asarray(_trust(*flow.shape[1:3]))
    u, v = flow[..., 0], flow[..., 1]
    a11 = jnp.where(inside, (xx + xx2) / 2, xx) * trust
    a22 = jnp.where(inside, (yy + yy2) / 2, yy) * trust
    a12 = jnp.where(inside, (xy + xy2) / 4, xy / 2) * trust
    b1 = (x - jnp.where(inside, x2, 0)) / 2 * trust + a11 * u + a12 * v
    b2 = (y - jnp.where(inside, y2, 0)) / 2 * trust + a12 * u + a22 * v
    squares = a11 * a11 + a12 * a12, (a11 + a22) * a12, a12 * a12 + a22 * a22
    return jnp.stack([*squares, a11 * b1 + a12 * b2, a12 * b1 + a22 * b2], 1)


def _inside(flow):
    """Whether all four pixels that a bilinear sample needs exist."""
    _, h, w, _ = flow.shape
    x, y = jnp.arange(w) + flow[..., 0], jnp.arange(h)[:, None] + flow[..., 1]
    return (x >= 0) & (x < w - 1) & (y >= 0) & (y < h - 1)


def _trust(height: int, width: int):
    """The product of the margins of all four sides, [H, W]."""

    def side(length: int):
        margin = np.ones(length + len(MARGIN), np.float32)
        margin[: len(MARGIN)] = MARGIN
        return margin[:length] * margin[:length][::-1]

    return side(height)[:, None] * side(width)


def _solve(equations):
    """Least squares over the window around each pixel; the border pixel is repeated."""
    reach = WINDOW // 2
    for axis in (2, 3):
        padding = [(reach, reach) if i == axis else (0, 0) for i in range(4)]
        window = [WINDOW if i == axis else 1 for i in range(4)]
        padded = jnp.pad(equations, padding, mode="edge")
        equations = lax.reduce_window(padded, 0.0, lax.add, window, (1,) * 4, "VALID")
    g11, g12, g22, h1, h2 = jnp.moveaxis(equations / WINDOW**2, 1, 0)
    scale = 1 / (g11 * g22 - g12 * g12 + RIDGE)
    return jnp.stack([(g22 * h1 - g12 * h2) * scale, (g11 * h2 - g12 * h1) * scale], -1)
