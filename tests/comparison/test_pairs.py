"""Frames are paired by the time at which they are shown, and what has no partner is refused."""

from dataclasses import replace
from fractions import Fraction

import media
import numpy as np
import pytest

from jaxvsr.comparison.pairs import frames_at, make_plan, paired
from jaxvsr.comparison.settings import Settings
from jaxvsr.comparison.sources import open_source, picture_paths
from jaxvsr.errors import InputError, UsageError
from jaxvsr.video.images import write_image
from jaxvsr.video.reader import VideoReader

NTSC = media.Picture(frames=20, rate=Fraction(30000, 1001))
PLAIN = Settings()


def pairs_of(reference, *candidates, settings=PLAIN) -> list[tuple[int, ...]]:
    """The slots of the paired frames."""
    truth, *sources = map(open_source, (reference, *candidates))
    plan = make_plan(truth, sources, settings)
    return [slot for slot, _ in paired(truth, sources, plan)]


def pictures(folder, count=6, width=64, height=48):
    folder.mkdir()
    for i in range(count):
        write_image(folder / f"{i + 5}.png", media.drawing(i, width, height))
    return folder


@pytest.mark.parametrize("suffix, codec", [(".mkv", "libx264"), (".webm", "libvpx-vp9")])
def test_ticks_pair_with_milliseconds(tmp_path, suffix, codec):
    exact = media.film(tmp_path / "a.mp4", NTSC)
    rounded = media.film(tmp_path / f"b{suffix}", replace(NTSC, codec=codec))
    assert pairs_of(exact, rounded) == pairs_of(rounded, exact) == list(range(20))


def test_invisible_frames_of_vp8_are_no_frames(tmp_path):
    hidden = {"auto-alt-ref": "1", "lag-in-frames": "16", "arnr-maxframes": "5", "b": "50k"}
    vp8 = media.film(tmp_path / "a.webm", replace(NTSC, codec="libvpx", options=hidden))
    assert pairs_of(media.film(tmp_path / "a.mp4", NTSC), vp8) == list(range(20))


def test_paired_frames_show_the_same(tmp_path):
    sure = {"crf": "1"}
    first = media.film(tmp_path / "a.mp4", replace(NTSC, options=sure))
    second = media.film(tmp_path / "b.mkv", replace(NTSC, options=sure, start=0.5))
    for index, (real, fake) in frames_at(first, [second], [3, 17, 9], PLAIN):
        drawn = media.drawing(index, 64, 48).astype(int)
        assert np.abs(real - drawn).mean() < 6 and np.abs(real.astype(int) - fake).mean() < 1


def test_varying_frame_rates_pair(tmp_path):
    first, second = media.vfr(tmp_path / "a.mkv"), media.vfr(tmp_path / "b.mp4")
    assert pairs_of(first, second) == list(range(20))


def test_raw_streams_pair_by_order(tmp_path):
    raw = media.film(tmp_path / "a.264", NTSC)
    assert pairs_of(media.film(tmp_path / "a.mp4", NTSC), raw) == list(range(20))


def test_offset_shifts_the_candidate(tmp_path):
    long = media.film(tmp_path / "a.mp4", media.Picture(frames=20))
    short = media.film(tmp_path / "b.mp4", media.Picture(frames=15))
    shifted = Settings(offset=0.2, shortest=True)
    assert pairs_of(long, short, settings=shifted) == list(range(5, 20))
    assert pairs_of(long, short, settings=Settings(offset=0.2, start=0.2)) == list(range(5, 20))


def test_lengths_that_differ_are_refused_with_the_counts(tmp_path):
    long = media.film(tmp_path / "a.mp4", media.Picture(frames=12))
    short = media.film(tmp_path / "b.mkv", media.Picture(frames=9))
    words = r"b\.mkv: 9 frames against 12 of .*frame 9 of .*a\.mp4 at 0\.360 s.*--shortest"
    with pytest.raises(InputError, match=words):
        pairs_of(long, short)
    with pytest.raises(InputError, match=r"12 frames against 9.*frame 9 of .*a\.mp4"):
        pairs_of(short, long)
    assert pairs_of(long, short, settings=Settings(shortest=True)) == list(range(9))


def test_a_frame_that_is_missing_in_the_middle_is_named(tmp_path):
    times = tuple(40 * i for i in range(20) if i != 7)
    whole = media.film(tmp_path / "a.mp4", media.Picture(frames=20))
    holed = media.film(tmp_path / "b.mkv", media.Picture(frames=19, times=times))
    with pytest.raises(InputError, match=r"frame 7 of .*a\.mp4 at 0\.280 s"):
        pairs_of(whole, holed)
    kept = pairs_of(whole, holed, settings=Settings(shortest=True))
    assert kept == [i for i in range(20) if i != 7]


@pytest.mark.parametrize("rate", [50, 24])
def test_other_frame_rates_are_refused(tmp_path, rate):
    first = media.film(tmp_path / "a.mp4", media.Picture(frames=25))
    second = media.film(tmp_path / "b.mp4", media.Picture(frames=rate, rate=Fraction(rate)))
    for settings in (PLAIN, Settings(shortest=True)):
        with pytest.raises(InputError, match=rf"{rate} frames a second against 25.*fps=25"):
            pairs_of(first, second, settings=settings)


def test_other_sizes_are_refused_with_the_remedy(tmp_path):
    first = media.film(tmp_path / "a.mp4", media.Picture(frames=3))
    second = media.film(tmp_path / "b.mp4", media.Picture(frames=3, width=32, height=24))
    with pytest.raises(InputError, match=r"b\.mp4: 32x24 against 64x48 of .*--resize bicubic"):
        pairs_of(first, second)
    assert pairs_of(first, second, settings=Settings(resize="lanczos")) == [0, 1, 2]


def test_pictures_pair_with_a_film_by_order(tmp_path):
    folder = pictures(tmp_path / "frames")  # 5.png ... 10.png: by number, not by letter
    film = media.film(tmp_path / "a.mp4", media.Picture(frames=6, options={"crf": "1"}))
    assert pairs_of(film, folder) == list(range(6))
    pattern = tmp_path / "frames" / "%d.png"
    for _, (real, fake) in frames_at(film, [pattern], [0, 5], PLAIN):
        assert np.abs(real.astype(int) - fake).mean() < 6


def test_a_folder_of_another_length_is_refused(tmp_path):
    folder = pictures(tmp_path / "frames", 4)
    film = media.film(tmp_path / "a.mp4", media.Picture(frames=6))
    with pytest.raises(InputError, match="4 frames against 6"):
        pairs_of(film, folder)


def test_pictures_of_two_sizes_are_no_sequence(tmp_path):
    folder = pictures(tmp_path / "frames", 3)
    write_image(folder / "4.png", media.drawing(0, 32, 24))
    with pytest.raises(InputError, match=r"64x48 among pictures of 32x24"):
        open_source(folder)


def test_patterns_choose_pictures(tmp_path):
    folder = pictures(tmp_path / "frames")
    (folder / "notes.txt").write_text("not a picture")
    names = lambda text: [path.name for path in picture_paths(folder / text)]
    assert names("%d.png") == names("*.png") == names("") == [f"{i}.png" for i in range(5, 11)]
    with pytest.raises(InputError, match="no picture there"):
        picture_paths(folder / "%d.jpg")


def test_a_film_of_one_frame_pairs_with_a_picture(tmp_path):
    film = media.film(tmp_path / "a.mp4", media.Picture(frames=1))
    write_image(tmp_path / "a.png", media.drawing(0, 64, 48))
    assert pairs_of(film, tmp_path / "a.png") == pairs_of(tmp_path / "a.png", film) == [0]


def test_all_candidates_must_have_a_frame(tmp_path):
    lengths = {"a": 12, "b": 9, "c": 7}
    films = [media.film(tmp_path / f"{n}.mp4", media.Picture(frames=f)) for n, f in lengths.items()]
    assert pairs_of(*films, settings=Settings(shortest=True)) == list(range(7))


def test_a_stretch_is_compared_from_where_it_begins(tmp_path):
    first, second = (media.film(tmp_path / n, media.Picture(frames=50)) for n in ("a.mp4", "b.mkv"))
    settings = Settings(start=1.0, duration=0.4)
    assert pairs_of(first, second, settings=settings) == list(range(25, 35))
    with pytest.raises(UsageError, match=r"no frame from 9 s on, it ends at 1\.960 s"):
        pairs_of(first, second, settings=Settings(start=9.0))


def test_what_decodes_of_a_damaged_film_is_paired_with_its_own_time(tmp_path):
    whole = media.film(tmp_path / "a.mp4", media.Picture(frames=50, options={"g": "10"}))
    broken = open_source(media.truncated(tmp_path / "b.mp4"))
    truth = open_source(whole)
    plan = make_plan(truth, [broken], PLAIN)
    shown = [slot for slot, _ in paired(truth, [broken], plan)]
    assert 10 < len(shown) < 50 and shown == list(range(len(shown)))
    assert broken.lost > 20 and broken.damaged + len(shown) > 10


def test_a_matroska_that_was_cut_off_is_damaged_and_not_of_another_rate(tmp_path):
    picture = media.Picture(frames=50, options={"g": "50", "bf": "3"})
    whole = media.film(tmp_path / "a.mp4", picture)
    cut = media.film(tmp_path / "b.mkv", picture)
    cut.write_bytes(cut.read_bytes()[: int(cut.stat().st_size * 0.6)])
    assert open_source(cut).broken and not open_source(whole).broken
    shown = pairs_of(whole, cut)
    assert 5 < len(shown) < 50 and shown[:5] == list(range(5))


def test_a_long_last_frame_is_no_damage(tmp_path):
    times = (0, 40, 80, 120, 160, 2000)
    slow = media.film(tmp_path / "a.mkv", media.Picture(frames=6, times=times))
    assert not open_source(slow).broken and not open_source(media.vfr(tmp_path / "b.mp4")).broken


def test_frames_far_apart_are_found_by_seeking(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxvsr.comparison.pairs.FAR", 10)
    options = {"g": "8", "bf": "2"}
    films = [
        media.film(tmp_path / name, media.Picture(frames=50, options=options))
        for name in ("a.mp4", "b.mkv")
    ]
    found = dict(frames_at(films[0], [films[1]], [2, 30, 31, 49], PLAIN))
    whole = dict(frames_at(films[0], [films[1]], range(50), PLAIN))
    assert list(found) == [2, 30, 31, 49] and len(whole) == 50
    for index, frames in found.items():
        np.testing.assert_array_equal(frames, whole[index])


def test_few_frames_are_held_however_long_the_film(tmp_path, monkeypatch):
    film = media.film(tmp_path / "a.mp4", media.Picture(frames=60))
    alive, most = 0, 0
    read = VideoReader.__iter__

    class Counted(tuple):
        def __new__(cls, planes):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)
            return super().__new__(cls, planes)

        def __del__(self):
            nonlocal alive
            alive -= 1

    def counting(self):
        for frame in read(self):
            yield replace(frame, planes=Counted(frame.planes))

    monkeypatch.setattr(VideoReader, "__iter__", counting)
    assert len(pairs_of(film, film, film)) == 60
    assert most < 3 * 10
