"""Nothing that encodes leaves a thread at real-time priority, as SVT-AV1 does by itself."""

import os

import numpy as np
import pytest

from jaxvsr.degradation import Recipe, coding
from jaxvsr.degradation.downscale import COLOURS
from jaxvsr.video import encode, priority
from jaxvsr.video.colour import from_rgb

FRAMES = np.zeros((2, 64, 64, 3), np.float32)
FIFO = os.sched_param(1)


def turn(policy, param):
    try:
        os.sched_setscheduler(0, policy, param)
    except (AttributeError, PermissionError):
        pytest.skip("this user or system knows no real-time priority")


def test_what_was_raised_within_is_lowered():
    with priority.ordinary():
        turn(os.SCHED_FIFO, FIFO)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_what_was_raised_before_stays():
    turn(os.SCHED_FIFO, FIFO)
    try:
        with priority.ordinary():
            pass
        assert os.sched_getscheduler(0) == os.SCHED_FIFO
    finally:
        turn(os.SCHED_OTHER, os.sched_param(0))


def test_coding_a_clip_leaves_threads_ordinary():
    coding.encode(FRAMES, (64, 64), Recipe(codec="libsvtav1", crf=40, preset="12", gop=1))
    assert priority._real_time() == set()


def test_writing_a_film_leaves_threads_ordinary(tmp_path):
    encoding = encode.Encoding("libsvtav1", 50, "12")
    colour = COLOURS["bt709"]
    with encode.SegmentWriter(tmp_path / "a.mkv", encoding, 64, 64, 25, None, colour) as writer:
        for frame in FRAMES:
            writer.write(from_rgb(frame, colour))
            assert priority._real_time() == set()
