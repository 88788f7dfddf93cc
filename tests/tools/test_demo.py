"""The demonstration runs from film to picture, and on a clip that has no truth."""

import av
import numpy as np
from PIL import Image

from tools import demo


def test_film_and_clip(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(demo, "SIZE", (96, 160))
    film, clip = tmp_path / "film", tmp_path / "clip"
    assert demo.main(demo.Args(model="bicubic", seconds=0.4, folder=film)) == 0
    lines = {line[:8].strip(): line for line in capfd.readouterr().out.splitlines()}
    score = lambda name: float(lines[name].split()[1])
    assert abs(score("bicubic") - score("enhanced")) < 0.3  # only the encoder lies between them
    with av.open(str(film / "enhanced.mp4")) as result:
        assert (result.streams.video[0].height, len(result.streams.audio)) == (96, 1)
        assert abs(result.streams.video[0].frames - 10) == 0

    clip.mkdir()
    for left in ("truth.mp4", "enhanced.webm", "notes.txt"):  # of a demonstration before
        (clip / left).write_text("old")
    assert demo.main(demo.Args(clip=film / "input.mp4", model="bicubic", folder=clip)) == 0
    made = {"enhanced.mp4", "side_by_side.png", "notes.txt"}
    assert {path.name for path in clip.iterdir()} == made
    assert "no scores" in capfd.readouterr().out
    assert np.asarray(Image.open(clip / "side_by_side.png")).std() > 10


def test_the_clip_is_never_taken_away(tmp_path):
    for name in ("input.mp4", "truth.mp4"):
        (tmp_path / name).write_text("a film")
    demo.clear(tmp_path, tmp_path / "input.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["input.mp4"]
