"""Cuts are found where they are, and nowhere else."""

import media
import numpy as np
import pytest

from jaxvsr.video.scene import CutDetector


def cuts(frames):
    detector = CutDetector()
    return [i for i, frame in enumerate(frames) if detector.is_cut(frame)]


def texture(seed, height=96, width=128):
    """A picture of soft blobs that fills the range, twice as wide as it is shown."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 8))
    return np.kron(coarse, np.ones((16, 16))).astype(np.uint8)


def pan(seed, frames, speed=2):
    wide = texture(seed)
    return [wide[:, speed * i : speed * i + 128] for i in range(frames)]


@pytest.mark.parametrize("speed", [0, 1, 4])
def test_a_cut_between_two_moving_scenes(speed):
    assert cuts(pan(0, 12, speed) + pan(1, 9, speed) + pan(2, 6, speed)) == [12, 21]


def test_ten_bits_as_eight():
    deep = [frame.astype(np.uint16) << 2 for frame in pan(0, 8) + pan(1, 8)]
    assert cuts(deep) == [8]


def test_a_drawing_with_a_moving_square_has_no_cut():
    assert cuts([media.drawing(i, 64, 48)[..., 0] for i in range(40)]) == []


def test_fades_and_flashes_are_not_cuts():
    still = texture(0)[:, :128] // 2
    assert cuts([still + i * 4 for i in range(20)]) == []
    assert cuts([still, still, still + 60, still, still]) == []


def test_tiny_pictures():
    assert cuts([np.zeros((1, 1), np.uint8)] * 3) == []


def test_real_clips_joined(shared):
    """Two clips one after the other: one cut, at the seam."""
    from jaxvsr.video.reader import VideoReader

    frames = []
    for name in ("bigbuckbunny_720p.mp4", "driving_720p.mp4"):
        with VideoReader(shared / "clips" / name, duration=1.0) as reader:
            frames.append([frame.planes[0] for frame in reader])
    assert cuts(frames[0] + frames[1]) == [len(frames[0])]
