"""Bjontegaard's differences: two rate-quality curves in one number (VCEG-M33, 2001).

A curve is a sequence of (rate, quality) in any order: rates in any one unit, and any quality that
moves one way as the rate grows (PSNR rises, LPIPS falls). Each is fitted over the logarithm of the
rate, and the area between the fits, where both curves are, is divided by that length.
"""

from collections.abc import Sequence

import numpy as np
from numpy.polynomial import Polynomial

from jaxvsr.errors import InputError

POINTS = {"pchip": 2, "cubic": 4}  # the fits, and the points that each needs

Curve = Sequence[tuple[float, float]]


def bd_rate(
    anchor: Curve,
    test: Curve,
    *,
    fit: str = "pchip",
    samples: int | None = None,
    at: float | None = None,
) -> float:
    """Rate that `test` takes beyond `anchor` for the same quality, in percent; lower is better.

    `fit` is "pchip" (monotone cubic pieces through the points, as JVET and Netflix do) or "cubic"
    (one polynomial, Bjontegaard's own). The area is exact, or by the trapezoidal rule over
    `samples` qualities: Netflix's `calculate_bd_rate` takes 100. With `at`, the difference at one
    quality instead, `at` percent of the way from the worst to the best that both curves have.
    InputError for curves that cannot be compared: too few points, a rate that is not positive, a
    quality that is not finite or does not follow the rate, no quality in common.
    """
    curves = [_checked(points, fit, name) for points, name in ((anchor, "anchor"), (test, "test"))]
    _check_directions(curves)
    flipped = [(quality, rate) for rate, quality in curves]
    return 100 * float(np.expm1(_difference(flipped, "quality", fit, samples, at)))


def bd_metric(
    anchor: Curve, test: Curve, *, fit: str = "pchip", samples: int | None = None
) -> float:
    """Quality that `test` has beyond `anchor` at the same rate, in the unit of the quality.

    BD-PSNR, BD-VMAF, BD-LPIPS: above 0 is better where a higher quality is. Arguments and errors
    as in `bd_rate`, with rates in common instead of qualities.
    """
    curves = [_checked(points, fit, name) for points, name in ((anchor, "anchor"), (test, "test"))]
    _check_directions(curves)
    return float(_difference(curves, "rate", fit, samples, None))


def _checked(points: Curve, fit: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the rates, which rise, and the qualities."""
    if fit not in POINTS:
        raise ValueError(f"fit {fit!r}: choose {' or '.join(POINTS)}")
    table = np.array(sorted(tuple(point) for point in points), np.float64).reshape(-1, 2)
    cause = None
    if len(table) < POINTS[fit]:
        cause = f"it has {len(table)} and a {fit} fit needs {POINTS[fit]}; measure at more rates"
    elif not (np.isfinite(table[:, 0]).all() and (table[:, 0] > 0).all()):
        cause = "a rate is not above 0; give the bitrate of every point"
    elif not np.isfinite(table[:, 1]).all():
        cause = "a quality is not finite; leave out points that equal the reference"
    elif not (np.diff(table[:, 0]) > 0).all():
        cause = "two have the same rate; keep one of them"
    elif len(set(np.sign(np.diff(table[:, 1])))) > 1 or table[0, 1] == table[-1, 1]:
        cause = "their quality does not rise or fall steadily with the rate; leave out the odd ones"
    if cause:
        raise InputError(f"points of the {name} curve: {cause}")
    return np.log(table[:, 0]), table[:, 1]


def _check_directions(curves) -> None:
    if len({quality[0] < quality[-1] for _, quality in curves}) > 1:
        raise InputError("quality rises with the rate in one curve only; compare by one metric")


def _difference(curves, axis: str, fit: str, samples: int | None, at: float | None) -> float:
    """Mean of the second curve minus the first over what their (x, y) have in common of x."""
    low = max(x.min() for x, _ in curves)
    high = min(x.max() for x, _ in curves)
    if low >= high:
        raise InputError(f"the two curves have no {axis} in common; measure at other rates")
    (first, first_area), (second, second_area) = (_fitted(x, y, fit) for x, y in curves)
    if at is not None:
        if not 0 <= at <= 100:
            raise ValueError(f"at {at}: a percentage, from 0 to 100")
        place = low + (high - low) * at / 100
        return second(place) - first(place)
    if samples is not None:
        if samples < 2:
            raise ValueError(f"samples {samples}: two or more")
        places = np.linspace(low, high, samples)
        return np.trapezoid(second(places) - first(places), places) / (high - low)
    area = second_area(high) - second_area(low) - (first_area(high) - first_area(low))
    return area / (high - low)


def _fitted(x, y, fit: str):
    """The curve y(x) and its integral."""
    order = np.argsort(x)
    if fit == "pchip":
        from scipy.interpolate import PchipInterpolator  # a second that only rates wait for

        curve = PchipInterpolator(x[order], y[order])
        return curve, curve.antiderivative()
    curve = Polynomial.fit(x, y, 3)
    return curve, curve.integ()
