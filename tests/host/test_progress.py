"""What a run tells of itself."""

import json

import numpy as np

from jaxvsr.host import progress
from jaxvsr.inference.preview import detailed_spot, side_by_side


def test_line_for_people():
    facts = {"frames": 30, "total": 120, "fps": 12.0, "speed": 0.5, "eta_seconds": 7.5}
    assert progress.line(facts) == "frame 30/120  25%  12.00 fps  0.50x real time  0:08 left"


def test_line_without_a_known_end():
    facts = {"frames": 30, "total": None, "fps": 12.0, "speed": None, "eta_seconds": None}
    assert progress.line(facts) == "frame 30  12.00 fps"


def test_clock():
    assert [progress.clock(s) for s in (5, 65, 3723)] == ["0:05", "1:05", "1:02:03"]


def test_json_lines_can_be_read_by_a_program(capsys):
    p = progress.Progress("a.mp4", 100, 25.0, done=50, show="json")
    p.begin, p.shown = p.begin - 10, p.shown - 10
    p.add(10)
    p.notice("interlaced")
    p.finish(output="b.mp4")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["progress", "notice", "done"]
    first = lines[0]
    assert (first["frames"], first["total"], first["input"]) == (60, 100, "a.mp4")
    assert abs(first["fps"] - 1) < 0.1  # frames of an earlier run do not count as speed
    assert abs(first["eta_seconds"] - 40) < 4


def test_nothing_is_said_where_nobody_looks(capsys):
    p = progress.Progress("a.mp4", 100, 25.0)
    p.shown -= 10
    p.add(10)
    p.notice("interlaced")
    p.finish()
    assert capsys.readouterr() == ("", "")
    assert p.notices == ["interlaced"]


def test_quiet_when_not_a_terminal(capsys):
    p = progress.Progress("a.mp4", 100, 25.0, show="text")
    p.shown -= 10
    p.add(10)
    p.finish()
    assert capsys.readouterr() == ("", "")


def test_zoom_finds_the_detail():
    frame = np.zeros((80, 120, 3), np.uint8)
    frame[50:70, 90:110] = np.random.default_rng(0).integers(0, 255, (20, 20, 3))
    y, x, side = detailed_spot(frame)
    assert y <= 50 and y + side >= 70 and x <= 90 and x + side >= 110


def test_sheet_shows_each_column_whole_and_zoomed():
    frames = {"a": np.full((90, 160, 3), 50, np.uint8), "b": np.full((90, 160, 3), 200, np.uint8)}
    sheet = side_by_side(frames, width=64)
    assert sheet.shape == (28 + 36 + 8 + 64, 2 * 64 + 8, 3)
    for row in (40, 100):
        assert (sheet[row, 10] == 50).all() and (sheet[row, 82] == 200).all()
