"""A frame's work is asked of its program before it runs, and cut until it fits what is free."""

import numpy as np
import pytest
import toys

from jaxvsr.errors import UsageError
from jaxvsr.host import memory as host
from jaxvsr.inference import memory
from jaxvsr.inference.engine import Engine
from jaxvsr.inference.network import Network

MB = 1e6


@pytest.fixture(scope="module")
def frame():
    return np.random.default_rng(0).integers(0, 256, (1, 256, 320, 3), np.uint8)


@pytest.fixture(scope="module")
def whole(frame):
    return Network(toys.still())(frame)


def limited(monkeypatch, left: float):
    """A host that says so many bytes are free."""
    monkeypatch.setattr(host, "free", lambda: int(left))


def test_plenty_runs_whole_and_says_nothing(frame, whole, monkeypatch):
    said = []
    limited(monkeypatch, 1e12)
    np.testing.assert_array_equal(Network(toys.still(), notice=said.append)(frame), whole)
    assert said == []


def test_less_memory_gives_smaller_tiles_one_line_and_the_same_frame(frame, whole, monkeypatch):
    sides = []
    for left in (6 * MB, 4 * MB, 3 * MB):
        said = []
        limited(monkeypatch, left)
        net = Network(toys.still(), notice=said.append)
        got = net(frame)
        assert np.abs(got.astype(int) - whole).max() <= 1  # a rounding may fall the other way
        (engine,) = net._engines.values()
        sides.append(engine.cores[0] * engine.cores[1])
        (line,) = said
        assert line.startswith(
            f"in tiles of {engine.cores[1]}x{engine.cores[0]} pixels, which take"
        )
        assert "instead of" in line and "are free" in line
        assert net(frame).shape == whole.shape and len(said) == 1
    assert sides[0] > sides[1] > sides[2]


def test_a_cpu_works_in_little_though_more_be_free(frame, whole, monkeypatch):
    said = []
    limited(monkeypatch, 1e12)
    monkeypatch.setattr(memory, "CPU_WORK", int(MB))
    net = Network(toys.still(), notice=said.append)
    assert np.abs(net(frame).astype(int) - whole).max() <= 1
    assert len(said) == 1 and net._engines[256, 320, "uint8"].tile < 256


def test_what_cannot_fit_is_refused_in_one_line(frame, monkeypatch):
    limited(monkeypatch, 1 * MB)
    ran = []
    head = lambda x: ran.append(x) or x.astype(np.float32)
    with pytest.raises(
        UsageError, match=r"too little memory for a frame of 320x256: .* 900 kB"
    ) as said:
        Engine(toys.still(), head, lambda y: y)(frame)
    assert "\n" not in str(said.value)
    with pytest.raises(UsageError, match="for a frame of 32x32"):  # a network that cannot be cut
        limited(monkeypatch, 1000)
        Network(toys.echo())(np.zeros((1, 32, 32, 3), np.float32))


def test_tiles_that_were_asked_for_give_way_too(frame, monkeypatch):
    limited(monkeypatch, 3 * MB)
    said = []
    net = Network(toys.still(), tile=512, notice=said.append)
    net(frame)
    assert net._engines[256, 320, "uint8"].tile < 512 and len(said) == 1


def test_frames_are_cut_where_least_is_computed_twice():
    assert memory.cut((256, 320), 1e9, 32, 2, 1) == (256, 320)
    rows, cols = memory.cut((3000, 4000), 2.2e6, 32, 53, 8)
    assert (rows + 112) * (cols + 112) <= 2.2e6 and rows % 8 == cols % 8 == 0
    assert memory.cut((256, 320), 100, 32, 2, 1) is None
    assert memory.cut((16, 16), 400, 32, 2, 1) == (16, 16)


def test_sixteen_bits_stay_sixteen(frame):
    deep = frame.astype(np.uint16) * 257
    got = Network(toys.still(), tile=64)(deep)
    expected = Network(toys.still())(deep / np.float32(65535))
    assert got.dtype == np.uint16
    np.testing.assert_allclose(got, np.round(expected * 65535), atol=2)
