"""Bjontegaard's differences equal Netflix's calculators and two published examples."""

import json

import numpy as np
import pytest

from jaxvsr.errors import InputError
from jaxvsr.metrics import bd_metric, bd_rate

ANCHOR = [(1000, 34.0), (2000, 36.5), (4000, 39.0), (8000, 41.0)]


def times(factor, curve=ANCHOR):
    return [(rate * factor, quality) for rate, quality in curve]


def test_a_curve_does_not_differ_from_itself():
    for fit in ("pchip", "cubic"):
        assert bd_rate(ANCHOR, ANCHOR, fit=fit) == pytest.approx(0, abs=1e-9)
        assert bd_metric(ANCHOR, ANCHOR, fit=fit) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("fit", ["pchip", "cubic"])
def test_half_the_rate_is_minus_50_percent(fit):
    assert bd_rate(ANCHOR, times(0.5), fit=fit) == pytest.approx(-50)
    assert bd_rate(times(0.5), ANCHOR, fit=fit) == pytest.approx(100)


def test_a_better_quality_at_every_rate_is_the_difference():
    better = [(rate, quality + 0.75) for rate, quality in ANCHOR]
    assert bd_metric(ANCHOR, better) == pytest.approx(0.75)
    assert bd_rate(ANCHOR, better) < 0


def test_order_and_unit_of_the_points_do_not_matter():
    test = [(900, 34.0), (2100, 36.9), (4200, 39.5), (7000, 41.0)]
    expected = bd_rate(ANCHOR, test)
    assert bd_rate(ANCHOR[::-1], test[::-1]) == expected
    assert bd_rate(times(1e-3), times(1e-3, test)) == pytest.approx(expected)


def test_a_quality_that_falls_with_the_rate_is_compared_alike():
    def fall(curve):
        return [(rate, 1 - quality / 50) for rate, quality in curve]

    test = [(900, 34.2), (2100, 36.9), (4200, 39.5), (7000, 41.3)]
    assert bd_rate(fall(ANCHOR), fall(test)) == pytest.approx(bd_rate(ANCHOR, test))
    assert bd_metric(fall(ANCHOR), fall(test)) == pytest.approx(-bd_metric(ANCHOR, test) / 50)


def test_two_points_are_a_straight_line():
    assert bd_rate(ANCHOR[:2], times(1.1, ANCHOR[:2])) == pytest.approx(10)


@pytest.mark.parametrize("name", ["anserw_sample1", "fau_test1"])
def test_agrees_with_published_examples(shared, name):
    case = json.loads((shared / "metrics" / "bdrate.json").read_text())[name]
    anchor, test = (list(zip(case[f"R{i}"], case[f"P{i}"], strict=True)) for i in (1, 2))
    for fit in ("pchip", "cubic"):
        assert bd_rate(anchor, test, fit=fit) == pytest.approx(case[f"bd_rate_{fit}_pct"], abs=1e-9)
    assert bd_metric(anchor, test, fit="cubic") == pytest.approx(case["bd_psnr_cubic_db"], abs=1e-9)


def test_agrees_with_both_calculators_of_netflix(shared):
    """The older one integrates exactly; the newer takes 100 samples, or one at a percentage."""
    cases = json.loads((shared / "metrics" / "vmaf_bdrate_cases.json").read_text())["cases"]
    assert len(cases) == 35
    for case in cases:
        newer = case["fn"] == "calculate_bd_rate"
        options = {"samples": 100 if newer else None, "at": case["kw"].get("at_perc")}
        got = bd_rate(case["a"], case["b"], **options) / 100
        assert round(got - case["expected"], case["places"]) == 0, case["test"]


def test_what_cannot_be_compared_is_named():
    rates, qualities = np.array(ANCHOR).T
    refused = {
        "anchor curve: it has 1 and a pchip fit needs 2": ANCHOR[:1],
        "anchor curve: it has 0": [],
        "a rate is not above 0": [(0, 30), *ANCHOR],
        "a quality is not finite": [*ANCHOR, (9000, np.inf)],
        "two have the same rate": [*ANCHOR, (8000, 42)],
        "does not rise or fall steadily": [*ANCHOR, (9000, 40)],
        "quality rises with the rate in one curve only": list(zip(rates, -qualities, strict=True)),
        "no quality in common": [(rate, quality + 20) for rate, quality in ANCHOR],
    }
    for message, curve in refused.items():
        with pytest.raises(InputError, match=message):
            bd_rate(curve, ANCHOR)
    with pytest.raises(InputError, match="test curve: it has 3 and a cubic fit needs 4"):
        bd_rate(ANCHOR, ANCHOR[:3], fit="cubic")
    with pytest.raises(InputError, match="no rate in common"):
        bd_metric(ANCHOR, times(100))
    with pytest.raises(ValueError, match="'akima': choose pchip or cubic"):
        bd_rate(ANCHOR, ANCHOR, fit="akima")
    with pytest.raises(ValueError, match="at 101: a percentage"):
        bd_rate(ANCHOR, ANCHOR, at=101)
    with pytest.raises(ValueError, match="samples 1: two or more"):
        bd_rate(ANCHOR, ANCHOR, samples=1)
