"""Winograd's minimal filtering in plain JAX: what it saves, and what rounding then costs.

F(m, 3) computes m neighbouring outputs of a filter of 3 taps from m + 2 products instead of 3 m:
y = A [(G g) * (B d)] for the taps g and the m + 2 inputs d that the outputs see. A, G and B follow
from the points at which two polynomials are multiplied (Toom 1963, Cook 1966; Winograd, Arithmetic
Complexity of Computations, 1980). On images, along x alone or along both axes, and summed over
channels before A: Lavin and Gray 2016 (arXiv 1509.09308). Here they are built in exact fractions.

`python -m kernels.winograd_algebra` prints the error of every way to compute a convolution with
16-bit operands and float32 sums, against float64.
"""

import itertools
from dataclasses import dataclass
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

TAPS = 3


@dataclass(frozen=True, eq=False)
class Filtering:
    """F(m, 3): y = outputs [(taps g) * (inputs d)], with n = m + 2 products.

    `outputs` is [m, n], `taps` [n, 3], `inputs` [n, n]; float64.
    """

    m: int
    outputs: np.ndarray
    taps: np.ndarray
    inputs: np.ndarray


def filtering(*points: float) -> Filtering:
    """F(m, 3) from m + 1 distinct `points`; infinity is always the last one.

    Multiplying polynomials of m and 3 coefficients by their values at the points, and transposing,
    gives the filter. Each divisor belongs to `taps`, so `inputs` and `outputs` stay small integers
    where the points are.
    """
    at = [Fraction(point) for point in points]
    m = len(at) - 1
    outputs = [[p**i for p in at] + [Fraction(i == m - 1)] for i in range(m)]
    taps, inputs = [], []
    for j, p in enumerate(at):
        others = at[:j] + at[j + 1 :]
        divisor = product(p - q for q in others)
        sign = -1 if divisor < 0 and not p else 1
        taps.append([p**i / divisor * sign for i in range(TAPS)])
        inputs.append([sign * value for value in [*polynomial(others), Fraction(0)]])
    taps.append([Fraction(0), Fraction(0), Fraction(1)])
    inputs.append(polynomial(at))
    exact = (np.array(matrix, float) for matrix in (outputs, taps, inputs))
    return Filtering(m, *exact)


def polynomial(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (x - root), the constant first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        lower = [*coefficients, Fraction(0)]
        coefficients = [s - root * c for s, c in zip(shifted, lower, strict=True)]
    return coefficients


def product(values) -> Fraction:
    """The product of fractions."""
    result = Fraction(1)
    for value in values:
        result *= value
    return result


F23 = filtering(0, 1, -1)  # 4 products for 2 outputs, not 6
F43 = filtering(0, 1, -1, 2, -2)  # 6 for 4, not 12
F43_NEAR = filtering(0, 1, -1, 0.5, -2)  # the same, of points that lose less to rounding


def transform_rows(w, way: Filtering = F23, dtype=None) -> jax.Array:
    """Weights [3, 3, C, K] -> [3, n, C, K]: each row's three taps as n factors, for 1-D Winograd.

    Computed in float32 at least and rounded once, to `dtype` (default: that of `w`).
    """
    wide = w.astype(jnp.promote_types(w.dtype, "float32"))
    factors = [sum(wide[:, j] * row[j] for j in range(TAPS) if row[j]) for row in way.taps.tolist()]
    return jnp.stack(factors, 1).astype(dtype or w.dtype)


def conv_rows(x, w, way: Filtering = F23):
    """A 3x3 convolution [N, H, W, C] -> [N, H, W, K], zeros outside, by Winograd along x.

    Operands of the products are rounded to the dtype of `x`; sums are float32 at least.
    """
    _, h, width, _ = x.shape
    exact = jnp.promote_types(x.dtype, "float32")
    factors = transform_rows(w, way, x.dtype)
    tiles = _windows(_padded(x, (1, 1), _sides(width, way)), 2, way, -(-width // way.m))
    values = _products("nj,bhtjc->bhtnc", _constant(way.inputs, exact), tiles, exact=exact)
    values = values.astype(x.dtype)
    rows = [values[:, dy : dy + h] for dy in range(TAPS)]
    m = sum(
        _products("bhtnc,nck->bhtnk", v, u, exact=exact) for v, u in zip(rows, factors, strict=True)
    )
    y = _products("mn,bhtnk->bhtmk", _constant(way.outputs, exact), m, exact=exact)
    return y.reshape(*y.shape[:2], -1, y.shape[-1])[:, :, :width].astype(x.dtype)


def conv_tiles(x, w, way: Filtering = F23):
    """`conv_rows` with Winograd along both axes: F(m x m, 3x3)."""
    _, h, width, _ = x.shape
    exact = jnp.promote_types(x.dtype, "float32")
    taps, inputs, outputs = (_constant(a, exact) for a in (way.taps, way.inputs, way.outputs))
    factors = _products("pi,qj,ijck->pqck", taps, taps, w, exact=exact).astype(x.dtype)
    padded = _padded(x, _sides(h, way), _sides(width, way)).astype(exact)
    tiles = _windows(_windows(padded, 2, way, -(-width // way.m)), 1, way, -(-h // way.m))
    values = _products("pi,qj,bsitjc->bstpqc", inputs, inputs, tiles, exact=exact).astype(x.dtype)
    m = _products("bstpqc,pqck->bstpqk", values, factors, exact=exact)
    y = _products("ip,jq,bstpqk->bsitjk", outputs, outputs, m, exact=exact)
    n, s, i, t, j, k = y.shape
    return y.reshape(n, s * i, t * j, k)[:, :h, :width].astype(x.dtype)


def conv_direct(x, w):
    """The convolution that the others compute, in the dtype of `x` with float32 sums at least."""
    layout = ("NHWC", "HWIO", "NHWC")
    exact = jnp.promote_types(x.dtype, "float32")
    y = jax.lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=layout, preferred_element_type=exact
    )
    return y.astype(x.dtype)


def _products(equation: str, *arrays, exact):
    """An einsum of `arrays`, widened to the dtype `exact`.

    The product of two 16-bit values is exact in float32, on every device, if nothing rounds it.
    """
    widened = [array.astype(exact) for array in arrays]
    return jnp.einsum(equation, *widened, precision=jax.lax.Precision.HIGHEST)


def _constant(matrix: np.ndarray, dtype):
    return jnp.asarray(matrix, dtype)


def _sides(length: int, way: Filtering) -> tuple[int, int]:
    """Zeros before and behind `length` pixels, so that whole tiles cover them."""
    return 1, 1 + -length % way.m


def _padded(x, rows: tuple[int, int], columns: tuple[int, int]):
    return jnp.pad(x, ((0, 0), rows, columns, (0, 0)))


def _windows(x, axis: int, way: Filtering, count: int):
    """`axis` becomes two: `count` windows, and the m + 2 values that each of them sees."""
    at = way.m * np.arange(count)[:, None] + np.arange(way.m + TAPS - 1)
    return jnp.take(x, at, axis)


WAYS = {
    "direct": conv_direct,
    "F(2,3) along x": conv_rows,
    "F(2x2,3x3)": conv_tiles,
    "F(4,3) along x": lambda x, w: conv_rows(x, w, F43),
    "F(4x4,3x3)": lambda x, w: conv_tiles(x, w, F43),
    "F(4x4,3x3) points 0,1,-1,1/2,-2": lambda x, w: conv_tiles(x, w, F43_NEAR),
}
INPUTS = {
    "gauss": lambda x: x,
    "leaky": lambda x: jnp.where(x > 0, x, 0.2 * x),
    "smooth": lambda x: jnp.abs(jnp.cumsum(jnp.cumsum(x, 1), 2)) * 0.05,
}


def error(way, dtype: str, kind: str, shape=(1, 32, 32, 64), filters: int = 64) -> float:
    """||way - truth|| / ||truth|| of one convolution of random inputs; needs x64 enabled."""
    one, two = jax.random.split(jax.random.key(0))
    x = INPUTS[kind](jax.random.normal(one, shape, "float64")).astype(dtype)
    w = jax.random.normal(two, (TAPS, TAPS, shape[-1], filters), "float64") / 24
    w = w.astype(dtype)
    truth = conv_direct(x.astype("float64"), w.astype("float64"))
    return float(jnp.linalg.norm(way(x, w).astype("float64") - truth) / jnp.linalg.norm(truth))


def main() -> None:
    """Prints the table: ways down, dtypes and kinds of input across."""
    jax.config.update("jax_enable_x64", True)
    columns = list(itertools.product(("float32", "float16", "bfloat16"), INPUTS))
    print("| relative error | " + " | ".join(f"{d} {k}" for d, k in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, way in WAYS.items():
        cells = [f"{error(way, dtype, kind):.1e}" for dtype, kind in columns]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
