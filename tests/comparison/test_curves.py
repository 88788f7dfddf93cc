"""Pictures of scores: curves of any length, the worst frames, rate-distortion curves."""

import sys

import numpy as np
import pytest
from PIL import Image
from scored import film, looking_at, scored, three

from jaxvsr.comparison import curves, rates, strip, wording, worst
from jaxvsr.comparison.thinning import thin
from jaxvsr.errors import OutputError, UsageError

QUIET = ("psnr", "ssim")


def opened(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def pixels_of(picture: np.ndarray, colour: str) -> int:
    """Pixels of exactly this colour."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((picture == wanted).all(axis=-1).sum())


def test_a_curve_of_few_frames_is_itself():
    times, values = np.arange(5) / 25, np.array([1.0, np.nan, np.inf, 4, 5])
    curve = thin(times, values, 100)
    np.testing.assert_array_equal(curve.mean, [1, np.nan, np.nan, 4, 5])
    np.testing.assert_array_equal(curve.low, curve.high)
    assert curve.infinite.tolist() == [False, False, True, False, False]
    assert curve.alone.tolist() == [True, False, False, False, False] and not curve.thinned


def test_a_thinned_curve_keeps_extremes_and_the_mean():
    values = np.random.default_rng(0).standard_normal(100_000)
    values[77_777] = 99
    curve = thin(np.arange(100_000) / 25, values, 600)
    assert len(curve.mean) == 600 and curve.thinned
    assert curve.high.max() == 99 and curve.low.min() == values.min()
    counts = curve.last - curve.first + 1
    assert counts.sum() == 100_000
    assert np.average(curve.mean, weights=counts) == pytest.approx(values.mean())


def test_a_stretch_with_an_infinite_value_is_marked_and_its_mean_is_of_the_rest():
    values = np.ones(1000)
    values[500] = np.inf
    curve = thin(np.arange(1000.0), values, 10)
    assert curve.infinite.sum() == 1 and (curve.mean == 1).all()


def test_curves_of_every_metric(tmp_path):
    picture = opened(curves.plot_frames(three(), tmp_path / "curves.png"))
    height, width = picture.shape[:2]
    assert 1000 < width < 2500 and 1000 < height < 2500
    assert all(pixels_of(picture, colour) > 500 for colour in ("#0072b2", "#d55e00", "#009e73"))


def test_one_frame_is_a_dot(tmp_path):
    score = scored(frames=1, metrics=QUIET)
    assert pixels_of(opened(curves.plot_frames([score], tmp_path / "one.png")), "#0072b2") > 20


def test_a_film_of_equal_frames_is_triangles(tmp_path):
    score = scored(metrics=("psnr",), equal=range(200))
    assert pixels_of(opened(curves.plot_frames([score], tmp_path / "c.png")), "#0072b2") > 200


def test_a_long_film_is_drawn_and_so_is_nothing(tmp_path):
    many = [scored(str(i), frames=100_000, metrics=("psnr",), equal=(5,)) for i in range(9)]
    assert opened(curves.plot_frames(many, tmp_path / "long.png")).shape[1] > 800
    none = scored(metrics=("vmaf",), missing=("vmaf",))
    assert opened(curves.plot_frames([none], tmp_path / "none.png")).any()


def test_without_matplotlib_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match="pip install matplotlib"):
        curves.plot_frames([scored(metrics=QUIET)], tmp_path / "c.png")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OutputError, match="nowhere"):
        curves.plot_frames([scored(metrics=QUIET)], tmp_path / "nowhere" / "c.png")


def test_worst_frames_lie_apart():
    score = scored(metrics=QUIET)
    score.frames["psnr"][[100, 101, 102, 10, 180]] = 5, 6, 7, 8, 9
    assert worst.worst_frames([score], "psnr", 3) == [100, 10, 180]
    gaps = np.diff(sorted(worst.worst_frames([score], "ssim", 4)))
    assert gaps.min() >= 25  # a second


@pytest.mark.parametrize("frames", [1, 3, 4, 12])
def test_a_short_film_still_gives_as_many_as_it_can(frames):
    chosen = worst.worst_frames([scored(frames=frames, metrics=QUIET)], "psnr", 4)
    assert len(set(chosen)) == min(frames, 4)


def test_the_worst_of_several_candidates_is_found():
    scores = [scored("a", metrics=("lpips",)), scored("b", seed=1, metrics=("lpips",))]
    scores[1].frames["lpips"][66] = 0.9
    assert worst.worst_frames(scores, "lpips", 1) == [66]


def test_a_metric_that_nobody_has_is_refused():
    with pytest.raises(UsageError, match="VMAF; choose one of psnr, ssim"):
        worst.worst_frames([scored(metrics=QUIET)], "vmaf", 1)


def test_the_spot_is_where_the_pictures_differ():
    real, fake = film(1, 1)[:, 0]
    assert worst.differing_spot(real, [fake], (16, 20)) == (40, 70)
    assert worst.differing_spot(real, [real], (16, 20)) == (40, 54)  # the middle
    assert worst.differing_spot(real, [fake], real.shape[:2]) == (0, 0)


def test_the_strip_shows_both_and_the_difference_enlarged(tmp_path):
    films = film(40, 2)
    score = scored("b", frames=40, metrics=QUIET)
    path = strip.worst_frames(
        score, looking_at(films), tmp_path / "s.png", "psnr", count=2, candidate=1
    )
    picture = opened(path)
    assert 600 < picture.shape[1] < 2000 and 400 < picture.shape[0] < 1000


@pytest.mark.parametrize("size", [(8, 8), (300, 20), (20, 700), (33, 47)])
def test_a_strip_of_frames_of_any_shape(tmp_path, size):
    films = np.random.default_rng(0).integers(0, 256, (2, 3, *size, 3), np.uint8)
    score = scored("a name that is much longer than a picture" * 3, frames=3, metrics=QUIET)
    picture = opened(strip.worst_frames(score, looking_at(films), tmp_path / "s.png", "ssim"))
    assert max(picture.shape) < 3000


def test_rate_distortion_curves(tmp_path):
    rate = (100, 400, 1500, 6000)
    scores = [
        scored(f"{name}{i}", gain=i, metrics=("psnr", "lpips"), kbps=rate[i] * f, series=name)
        for name, f in (("x", 1.0), ("y", 0.6))
        for i in range(4)
    ]
    picture = opened(rates.plot(scores, tmp_path / "rd.png"))
    assert all(pixels_of(picture, colour) > 200 for colour in ("#0072b2", "#d55e00"))
    with pytest.raises(UsageError, match="bitrate"):
        rates.plot([scored()], tmp_path / "none.png")


def test_long_names_are_shortened_in_the_middle():
    assert wording.shortened("abcdefghij", 5) == "ab…ij"
    assert wording.shortened("abc", 3) == "abc"
