"""Nothing that encodes makes a thread real-time, as SVT-AV1 does by itself."""

import os

import numpy as np
import pytest

from jaxvsr.degradation import Recipe, coding
from jaxvsr.degradation.downscale import COLOURS
from jaxvsr.video import encode, priority
from jaxvsr.video.colour import from_rgb

FRAMES = np.zeros((2, 64, 64, 3), np.float32)
FIFO = os.sched_param(1)


def turn(policy, param=FIFO):
    """Skips where the test may not do what an encoder could not do either."""
    try:
        os.sched_setscheduler(0, policy, param)
    except (AttributeError, PermissionError):
        pytest.skip("this user or system knows no real-time priority")


@pytest.fixture(autouse=True)
def afterwards_ordinary():
    yield
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def test_nothing_within_can_be_raised():
    turn(os.SCHED_FIFO)
    turn(os.SCHED_OTHER, os.sched_param(0))
    with priority.ordinary(), pytest.raises(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, FIFO)
    turn(os.SCHED_FIFO)  # it may again
    assert os.sched_getscheduler(0) == os.SCHED_FIFO


def test_what_is_raised_all_the_same_is_lowered(monkeypatch):
    """As where a limit of the system's allows it to everybody."""
    monkeypatch.setattr(priority, "_privilege", lambda *, held: False)
    with priority.ordinary():
        turn(os.SCHED_FIFO)
    assert priority._real_time() == set()


def test_what_was_raised_before_stays():
    turn(os.SCHED_FIFO)
    with priority.ordinary():
        pass
    assert os.sched_getscheduler(0) == os.SCHED_FIFO


def test_a_thread_without_the_privilege_is_left_alone():
    with priority.ordinary(), priority.ordinary():
        pass
    assert not priority._privilege(held=True)  # it has it again, or may not have it


@pytest.fixture
def unmended(monkeypatch):
    """f(): the threads that are real-time, where nothing takes it back."""
    look = priority._real_time
    monkeypatch.setattr(priority, "_real_time", set)
    return look


def test_coding_a_clip_makes_no_thread_real_time(unmended):
    coding.encode(FRAMES, (64, 64), Recipe(codec="libsvtav1", crf=40, preset="12", gop=1))
    assert unmended() == set()


def test_writing_a_film_makes_no_thread_real_time(tmp_path, unmended):
    encoding = encode.Encoding("libsvtav1", 50, "12")
    colour = COLOURS["bt709"]
    with encode.SegmentWriter(tmp_path / "a.mkv", encoding, 64, 64, 25, None, colour) as writer:
        for frame in FRAMES:
            writer.write(from_rgb(frame, colour))
            assert unmended() == set()
    assert unmended() == set()
