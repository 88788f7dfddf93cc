"""Scores told as text, Markdown, JSON and CSV, and as BD-rates."""

import csv
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from scored import REMEDY, scored, three

from jaxvsr.comparison import rates, table, wording
from jaxvsr.errors import UsageError
from jaxvsr.metrics.table import METRICS


def line(text: str, title: str) -> str:
    return next(line for line in text.splitlines() if f" {title}" in line[: len(title) + 4])


@pytest.mark.quick
def test_a_mean_in_the_table_is_numpys():
    scores = [scored("a", metrics=("psnr", "ssim"))]
    text = table.text(scores, width=80)
    mean = np.mean(scores[0].frames["psnr"])
    worst = np.sort(scores[0].frames["psnr"])[:10].mean()
    assert f"{mean:.2f} ({worst:.2f})" in line(text, "PSNR (RGB), dB")


def test_the_worst_of_a_metric_where_lower_is_better_is_its_largest():
    score = scored(metrics=("lpips",))
    worst = np.sort(score.frames["lpips"])[-10:].mean()
    assert f"({worst:.4f})" in table.text([score], width=80)


def test_frames_that_equal_the_reference_are_counted_and_left_out_of_the_mean():
    score = scored(metrics=("psnr",), equal=(0, 7))
    finite = score.frames["psnr"][np.isfinite(score.frames["psnr"])]
    text = table.text([score], width=80)
    assert f"{finite.mean():.2f}" in text
    assert "PSNR (RGB): 2 of 200 frames equal the reference; left out of the mean" in text


def test_identical_films_have_an_infinite_psnr():
    score = scored(metrics=("psnr",), equal=range(200))
    text = table.text([score], width=80)
    assert "inf (inf)" in text and "every frame equals the reference" in text


def test_no_nan_is_ever_printed():
    score = scored(frames=1, missing=("lpips",))  # motion has no value in a single frame
    for told in (table.text([score]), table.markdown([score]), json.dumps(table.as_json([score]))):
        assert not re.search(r"\bnan\b", told, re.IGNORECASE)
    assert line(table.text([score], width=80), "tOF, px").endswith(" -")


def test_a_missing_metric_is_a_dash_with_its_reason_below():
    text = table.text(three(), width=120)
    assert line(text, "LPIPS (VGG16)").split()[-3:] == ["-", "-", "-"]
    assert f"\nLPIPS (VGG16) not available: {REMEDY}" not in text  # the third lacks VMAF too
    both = f"bicubic, lanczos: LPIPS (VGG16) not available: {REMEDY}"
    assert both in text and f"network: LPIPS (VGG16), VMAF not available: {REMEDY}" in text
    assert "network: cut short" in text


def test_a_note_that_is_true_of_all_is_said_once():
    scores = [scored(name, missing=("vmaf",), notices=("cut short",)) for name in "ab"]
    assert wording.notes(scores) == [f"VMAF not available: {REMEDY}", "cut short"]


def test_lines_are_aligned():
    head, *lines = table.text(three(), width=120).split("\n\n")[0].splitlines()
    brackets = [[m.start() for m in re.finditer(r"\(\d", row)] for row in lines]
    assert len({tuple(b) for b in brackets if len(b) == 3}) == 1
    ends = [head.index(name) + len(name) for name in ("bicubic", "lanczos", "network")]
    assert ends == sorted(ends) and len(lines) == 1 + len(METRICS)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_table_fits_the_terminal(width):
    shown = table.text(three(), width=width).split("\nmean (")[0]
    assert max(map(len, shown.splitlines())) <= max(width, 44)  # one column always fits
    for name in ("bicubic", "lanczos", "network"):
        assert shown.count(name) == 1


def test_many_candidates_of_few_metrics_are_lines():
    scores = [scored(f"n{i}", metrics=("psnr", "ssim"), gain=i) for i in range(5)]
    lines = table.text(scores, width=80).splitlines()
    assert [row.split()[0] for row in lines[1:6]] == [f"n{i}" for i in range(5)]
    assert [row.count("*") for row in lines[1:6]] == [0, 0, 0, 0, 2]


def test_the_best_is_marked_whichever_way_is_better():
    text = table.text(three(), width=120)
    assert line(text, "PSNR (Y), dB").endswith("*")
    assert line(text, "LPIPS (AlexNet)").endswith("*")
    assert "*" not in table.text(three()[:1], width=120)


def test_nobody_is_best_where_all_print_alike():
    assert "*" not in table.text([scored("a"), scored("b")], width=120)


def test_candidates_of_one_name_are_told_by_their_paths():
    second = scored("out")
    first = replace(second, path="")
    assert wording.labels([second, scored("other")]) == ["out", "other"]
    assert wording.labels([first, second]) == ["out", "folder/out.mp4"]
    assert wording.labels([second, second]) == ["folder/out.mp4", "folder/out.mp4 (2)"]


def test_a_name_cannot_break_the_table():
    text = table.text([scored("a\n\x1b[31mb", metrics=("psnr",))], width=80)
    assert "\x1b" not in text and "a\N{REPLACEMENT CHARACTER}" in text


def test_json_is_strict_and_says_infinity():
    scores = [scored("a", metrics=("psnr", "tof"), equal=range(200), frames=200)]
    text = json.dumps(table.as_json(scores, frames=True), allow_nan=False)
    (candidate,) = json.loads(text)["candidates"]
    assert candidate["scores"]["psnr"] == {"mean": "inf", "worst": "inf", "equal_frames": 200}
    assert candidate["values"]["tof"][0] is None and len(candidate["times"]) == 200
    assert math.isclose(candidate["scores"]["tof"]["mean"], scores[0].mean("tof"))


def test_json_names_what_could_not_be_had():
    facts = json.loads(json.dumps(table.as_json(three()), allow_nan=False))
    assert facts["candidates"][2]["unavailable"] == {"lpips_vgg": REMEDY, "vmaf": REMEDY}
    assert facts["metrics"]["lpips"]["better"] == "lower"
    assert "values" not in facts["candidates"][0]


def test_csv_gives_every_value_back():
    scores = three()
    file = io.StringIO()
    csv.writer(file).writerows(table.csv_rows(scores))
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert len(rows) == 3 * 200 and list(rows[0])[:3] == ["candidate", "frame", "seconds"]
    for metric in METRICS:
        read = [float(row[metric] or "nan") for row in rows if row["candidate"] == "lanczos"]
        want = scores[1].frames.get(metric, np.full(200, np.nan))
        np.testing.assert_array_equal(read, want)
    assert float(rows[201]["seconds"]) == pytest.approx(scores[1].times[1])


def test_markdown_is_a_table_that_names_cannot_end():
    text = table.markdown([scored("a|b<c", metrics=("psnr",)), scored("d", gain=1)])
    rows = [row for row in text.splitlines() if row.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert "a\\|b&lt;c" in text and "**" in text


def series(name, factor=1.0, points=(100, 300, 900, 2700), **more):
    return [
        scored(f"{name} {rate}", gain=3 * i, kbps=rate * factor, series=name, **more)
        for i, rate in enumerate(points)
    ]


def test_half_the_bitrate_at_equal_quality_is_minus_50_percent():
    for_all, _ = rates.bd_rates(series("x") + series("y", 0.5), "x")
    assert for_all["y"] == {metric: pytest.approx(-50, abs=1e-9) for metric in METRICS}


def test_a_rate_that_cannot_be_had_is_a_dash_with_its_reason():
    scores = series("x") + series("y", 0.5) + series("z", points=(500,))
    scores += [scored("high", gain=30 + i, kbps=100 + i, series="far") for i in range(4)]
    text = rates.table(scores, "x")
    row = line(" " + text.replace("\n", "\n "), "PSNR (RGB)")
    assert row.split()[-4:] == ["-50.00", "%", "-", "-"]
    assert "z: no BD-rate of PSNR (RGB)" in text and "far: no BD-rate of" in text


def test_rates_as_json_are_strict_and_name_the_first_series_as_anchor():
    scores = series("x", metrics=("psnr",)) + series("y", 0.5, points=(500,), metrics=("psnr",))
    facts = json.loads(json.dumps(rates.as_json(scores), allow_nan=False))
    assert facts["anchor"] == "x" and facts["series"]["x"]["bd_rate"] == {}
    assert facts["series"]["y"]["points"]["psnr"][0][0] == 250
    assert "test curve" in facts["series"]["y"]["unavailable"]["psnr"]


def test_points_without_a_rate_or_a_finite_mean_are_left_out():
    scores = series("x", metrics=("psnr",), frames=20)
    scores.append(scored("unknown", series="x", metrics=("psnr",)))
    scores.append(scored("equal", series="x", kbps=9e3, frames=20, equal=range(20)))
    points = rates.curves(scores)["x"]["psnr"]
    assert [rate for rate, _ in points] == [100, 300, 900, 2700]


def test_an_unknown_anchor_is_refused_by_name():
    with pytest.raises(UsageError, match=r"'x265'.*choose one of 'x'"):
        rates.table(series("x"), "x265")


def test_a_metric_that_was_not_measured_says_why():
    score = scored(metrics=("psnr", "vmaf"), missing=("vmaf",))
    for method in (score.mean, score.worst, score.order, score.equal):
        with pytest.raises(UsageError, match=f"VMAF was not measured: {re.escape(REMEDY)}"):
            method("vmaf")
    with pytest.raises(UsageError, match="psnr_y was not measured; choose from psnr"):
        score.mean("psnr_y")
