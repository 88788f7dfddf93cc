"""The page needs nothing but itself, and cannot be broken by what a file is called."""

import base64
import io
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from scored import film, looking_at, scored, three

from jaxvsr.comparison import chart, page
from jaxvsr.comparison.thinning import thin
from jaxvsr.metrics.table import METRICS

VOID = {"meta", "img", "input", "link", "br", "hr"}


class Reader(HTMLParser):
    """Every tag with its attributes, the text, and whether all that was opened was closed."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> str:
    """A page of three candidates with pictures."""
    scores = three()
    shots = page.pictures(scores, looking_at(film(200, 3)), "psnr")
    path = tmp_path_factory.mktemp("page") / "report.html"
    return page.write(scores, shots, path, reference="truth.mp4").read_text("utf-8")


def test_what_is_opened_is_closed(html):
    assert Reader(html).open == []


def test_nothing_is_loaded_from_elsewhere(html):
    assert "http" not in html and "@import" not in html and "url(" not in html
    sources = [attrs for _, attrs in Reader(html).tags if {"src", "href"} & attrs.keys()]
    assert sources and all(attrs["src"].startswith("data:image/") for attrs in sources)


def test_the_table_and_the_pictures_are_there_without_a_script(html):
    read = Reader(re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL))
    assert len(read.all("td")) == 1 + 3 * (len(METRICS) + 1)  # with the corner, and bitrates
    shown = [image for image in read.all("img") if "src" in image]
    assert len(shown) == 12 and all(image["alt"] for image in shown)
    assert f"{three()[1].mean('ssim'):.4f}" in read.text
    assert "truth.mp4" in read.text and "3 of 200 frames equal the reference" in read.text


def test_the_slider_is_an_input_with_a_name(html):
    (slider,) = [attrs for attrs in Reader(html).all("input") if attrs["type"] == "range"]
    assert slider["aria-label"]
    assert [attrs["id"] for attrs in Reader(html).all("select")] == [
        "shot", "left", "right", "zoom",
    ]  # fmt: skip


def test_every_metric_that_was_had_has_a_chart(html):
    charts = [a for a in Reader(html).all("figure") if a.get("class") == "chart"]
    assert len(charts) == len(Reader(html).all("svg")) == len(METRICS) - 1
    assert all(svg["aria-label"] and svg["tabindex"] == "0" for svg in Reader(html).all("svg"))


def test_no_nan_and_no_open_place_is_written(html):
    assert not re.search(r"\bnan\b", re.sub(r"base64,[^\"]*", "", html), re.IGNORECASE)
    assert "{{" not in html


def test_the_numbers_behind_the_charts_are_those_of_the_frames(html):
    raw = re.search(r'id="data">(.*?)</script>', html, re.DOTALL)[1]
    data = json.loads(raw)
    assert data["values"]["psnr"][1][3] == "inf" and data["values"]["tof"][0][0] == "-"
    assert data["values"]["ssim"][0][9] == f"{three()[0].frames['ssim'][9]:.4f}"
    assert data["times"][25] == 1.0 and data["last"][-1] == 199
    assert data["values"]["vmaf"][2] is None


def test_a_name_cannot_become_a_tag(tmp_path):
    evil = "<script>alert('x')</script>\" onerror=\"x"
    scores = [scored(evil, frames=30, metrics=("psnr",), notices=(f"cut {evil}",))]
    shots = page.pictures(scores, looking_at(film(30, 1)), "psnr")
    text = page.write(scores, shots, tmp_path / "p.html", reference=evil).read_text("utf-8")
    assert "<script>alert" not in text
    read = Reader(text)
    assert len(read.all("script")) == 2 and read.open == []
    assert not any("onerror" in attrs for _, attrs in read.tags)


def test_pictures_are_kept_without_loss_at_the_spot(tmp_path):
    films = film(30, 1)
    scores = [scored("a", frames=30, metrics=("psnr",))]
    (shot,) = page.pictures(scores, looking_at(films), "psnr", count=1)
    text = page.write(scores, [shot], tmp_path / "p.html").read_text("utf-8")
    coded = re.findall(r"base64,([^\"]*)", text)
    read = [np.asarray(Image.open(io.BytesIO(base64.b64decode(c)))) for c in coded]
    np.testing.assert_array_equal(read[0], shot.frames["reference"])
    np.testing.assert_array_equal(read[1], films[1, shot.index])
    assert shot.values == {"a": scores[0].frames["psnr"][shot.index]}


@pytest.mark.parametrize("candidates", [1, 3, 5, 14])
def test_the_number_of_pictures_is_bounded(candidates):
    scores = [scored(str(i), metrics=("psnr",)) for i in range(candidates)]
    shots = page.pictures(scores, looking_at(film(200, candidates)), "psnr")
    assert shots and sum(len(s.frames) for s in shots) <= max(12, candidates + 1)


def test_large_frames_are_cut(tmp_path):
    films = film(2, 1, size=(720, 1280))
    films[1, :, 300:310, 900:910] = 255
    scores = [scored("a", frames=2, metrics=("psnr",))]
    (shot, _) = page.pictures(scores, looking_at(films), "psnr")
    assert shot.frames["a"].shape == (*page.CROP, 3)
    top, left = shot.spot
    assert top <= 300 <= top + page.CROP[0] and left <= 900 <= left + page.CROP[1]


def test_a_long_film_stays_small_and_one_frame_is_shown(tmp_path):
    score = scored(frames=100_000, metrics=("psnr", "tof"), equal=range(500, 900))
    assert page.write([score], [], tmp_path / "l.html").stat().st_size < 400_000
    one = scored(frames=1, metrics=("psnr", "tof"))
    text = page.write([one], [], tmp_path / "o.html").read_text("utf-8")
    assert 'class="dots"' in text and Reader(text).open == []


def test_candidates_of_other_lengths_share_one_axis(tmp_path):
    scores = [scored("a", metrics=("psnr",)), scored("b", frames=150, metrics=("psnr",))]
    text = page.write(scores, [], tmp_path / "p.html").read_text("utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert [len(v) for v in data["values"]["psnr"]] == [200, 200]
    assert data["values"]["psnr"][1][150] == "-"


@pytest.mark.parametrize(
    "low, high", [(0, 1), (31.2, 34.9), (0.9991, 0.9993), (-3, 700), (1e-6, 2e-6)]
)
def test_ticks_are_round_and_inside(low, high):
    ticks = chart.ticks(low, high, 5)
    assert 2 <= len(ticks) <= 6 and all(low - 1e-9 <= t <= high + 1e-9 for t in ticks)
    step = ticks[1] - ticks[0]
    lead = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert round(lead, 6) in (1, 2, 5)


def test_a_gap_in_a_chart_lifts_the_pen():
    values = np.array([1.0, 2, np.nan, 4, 5])
    drawn = chart.svg([thin(np.arange(5.0), values, 10)], 4.0, "x")
    path = re.search(r'<g class="s0"><path d="([^"]*)"', drawn)[1]
    assert path.count("M") == 2 and path.count("L") == 2


def test_more_sections_stand_below_the_charts(tmp_path):
    picture = io.BytesIO()
    Image.new("RGB", (4, 3)).save(picture, "png")
    sections = {"Rates & <curves>": picture.getvalue(), "BD-rates": "a  <b>\nc  1 %"}
    html = page.write(three(), [], tmp_path / "page.html", sections=sections).read_text()
    assert "<h2>Rates &amp; &lt;curves&gt;</h2>" in html and "data:image/png;base64," in html
    assert "<pre>a  &lt;b&gt;\nc  1 %</pre>" in html
