"""What is said before the first frame, and what counts for the time that is left."""

import json

import av
import media
import numpy as np
import pytest
import toys

from jaxvsr import weights
from jaxvsr.host.progress import Progress, amount
from jaxvsr.inference.film import enhance_film
from jaxvsr.inference.forecast import Forecast, lighter
from jaxvsr.inference.settings import Settings
from jaxvsr.video.reader import VideoReader


@pytest.mark.parametrize("name, within", [("a.mkv", 3), ("a.y4m", 1.01), ("%03d.png", 1.5)])
def test_the_size_is_foretold(name, within, tmp_path, capsys):
    source = media.film(tmp_path / "in.mp4", media.Picture(frames=60), sounds=1)
    (tmp_path / "out").mkdir()
    more = Settings(drop=True)
    enhance_film(toys.still(), source, tmp_path / "out" / name, more, "json")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = next(event for event in events if event["event"] == "forecast")
    assert events.index(told) < min(i for i, e in enumerate(events) if "frames" in e)
    size = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert size / within <= told["bytes"] <= size * within
    assert (told["width"], told["height"]) == (128, 96) and told["seconds"] > 0
    assert "60 frames of 128x96" in told["text"]


def test_the_size_of_a_transparent_film_is_foretold(tmp_path, capsys):
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    with av.open(str(source), "w") as file:
        video = file.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "bgra"
        for i in range(4):
            rgba = np.dstack([media.drawing(i, 64, 48), np.full((48, 64), 128, np.uint8)])
            file.mux(video.encode(av.VideoFrame.from_ndarray(rgba, "rgba")))
        file.mux(video.encode(None))
    enhance_film(toys.still(), source, out, Settings(), "json")
    assert '"forecast"' in capsys.readouterr().out
    with VideoReader(out) as reader:
        assert all(abs(frame.alpha.mean() - 128 * 257) < 800 for frame in reader)


def test_a_line_for_people_on_stderr_and_none_where_nobody_looks(tmp_path, capsys):
    source = media.film(tmp_path / "in.mp4", media.Picture(frames=3))
    enhance_film(toys.still(), source, tmp_path / "a.mkv", Settings(), "none")
    assert capsys.readouterr() == ("", "")
    result = enhance_film(toys.still(), source, tmp_path / "b.mkv", Settings(), "text")
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "the output will take about" in err
    assert result.notices == ()
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


def test_words():
    known = Forecast(3723, 3.5e9, 1200, (1080, 1920))
    assert str(known) == (
        "about 1:02:03 for 1200 frames of 1920x1080; the output will take about 3.5 GB"
    )
    assert "for each frame of 4x2" in str(Forecast(0.5, 2e4, None, (2, 4)))
    assert [amount(size) for size in (50, 2.5e4, 3.21e7)] == ["0.1 kB", "25 kB", "32.1 MB"]


def test_something_lighter_is_proposed_where_there_is_something():
    heavy = weights.load("sr_unet_x2")
    assert lighter(heavy, Settings()) == "--model sr_unet_light_x2 is about 3 times lighter"
    assert "--scale 3 is about" in lighter(heavy, Settings(scale=3.0))
    assert "no packaged network is lighter" in lighter(weights.load("bicubic"), Settings())


def test_a_wait_of_hours_is_answered(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("jaxvsr.inference.film.LONG", 0.0)
    source = media.film(tmp_path / "in.mp4", media.Picture(frames=3))
    enhance_film(weights.load("bicubic"), source, tmp_path / "b.mkv", Settings(), "text")
    assert "no packaged network is lighter" in capsys.readouterr().err


def test_the_first_estimate_leaves_compiling_out():
    progress = Progress("a.mp4", 102, 25.0)
    progress.begin -= 100  # compiled for long
    progress.start(2)
    progress.add(2)
    assert progress.facts(progress.began + 5)["eta_seconds"] == pytest.approx(5250, rel=0.1)
    progress.add(10)
    facts = progress.facts(progress.began + 5)
    assert facts["fps"] == 2.0 and facts["eta_seconds"] == 45.0 and facts["seconds"] > 100
