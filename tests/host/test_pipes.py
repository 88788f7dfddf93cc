"""Streams that can be read once: copied while they are needed, in no more room than there is."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace

import media
import numpy as np
import pytest
from PIL import Image

from jaxvsr.errors import InputError, SpaceError, UsageError
from jaxvsr.host import pipes


@pytest.fixture
def fifo(tmp_path):
    """A function from bytes to a named pipe that gives them."""
    writers = []

    def make(data: bytes, name="p.y4m") -> Path:
        path = tmp_path / name
        os.mkfifo(path)
        writers.append(threading.Thread(target=path.write_bytes, args=(data,), daemon=True))
        writers[-1].start()
        return path

    yield make
    for writer in writers:
        writer.join(timeout=5)


def test_a_file_is_itself(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    with pipes.as_file(path) as same:
        assert same == path and not pipes.is_stream(path)


def test_a_pipe_is_copied_and_the_copy_is_gone_afterwards(fifo, tmp_path):
    said, data = [], bytes(range(256)) * 9000
    path = fifo(data)
    assert pipes.is_stream(path)
    with pipes.as_file(path, tmp_path / "out.mkv", said.append) as copy:
        assert copy.read_bytes() == data and copy.suffix == "" and copy.stat().st_mtime == 0
        assert copy.parent.parent == tmp_path  # on the disk of the output
        again = copy.name
    assert not copy.exists() and "2.3 MB copied from the pipe" in said[0]
    with pipes.as_file(fifo(data, "q"), tmp_path / "out.mkv") as copy:
        assert copy.name == again  # the same input, for a run that goes on


def test_a_picture_is_known_by_what_it_is(fifo, tmp_path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.jpg")
    with pipes.as_file(fifo((tmp_path / "a.jpg").read_bytes(), "p")) as copy:
        assert copy.suffix == ".jpg"


def test_errors_name_the_pipe(fifo):
    path = fifo(b"")
    with pytest.raises(InputError, match=r"p\.y4m: the pipe gave nothing"), pipes.as_file(path):
        pass
    path = fifo(b"x", "q")
    with pytest.raises(InputError, match=r"/q: broken; get"), pipes.as_file(path) as copy:
        raise InputError(f"{copy}: broken; get it again")


def test_a_pipe_that_the_disk_cannot_hold_is_refused(fifo, monkeypatch):
    full = SimpleNamespace(free=pipes.SPARE + 1000)
    monkeypatch.setattr(pipes.shutil, "disk_usage", lambda path: full)
    with pytest.raises(SpaceError, match="set TMPDIR"), pipes.as_file(fifo(bytes(5000))):
        pass


def test_standard_input(monkeypatch, tmp_path):
    """Redirected from a file it is that file; piped, it is copied; a result has no place by it."""
    film = media.film(tmp_path / "a.mkv", media.Picture(frames=2))
    saved, file = os.dup(0), os.open(film, os.O_RDONLY)
    try:
        os.dup2(file, 0)
        with pipes.as_file(pipes.STANDARD) as path:
            assert path.samefile(film)
        read, write = os.pipe()
        os.write(write, film.read_bytes())
        os.close(write)
        os.dup2(read, 0)
        with pipes.as_file(pipes.STANDARD) as path:
            assert path.read_bytes() == film.read_bytes() and not path.samefile(film)
        os.close(read)
    finally:
        os.dup2(saved, 0)
        os.close(saved), os.close(file)
    with pytest.raises(UsageError, match="name the output"):
        pipes.check_beside(pipes.STANDARD)


def test_a_result_goes_to_a_stream_when_it_is_whole(tmp_path, capfdbinary):
    with pipes.to_stream(Path("-"), "mkv") as path:
        assert path.suffix == ".mkv"
        path.write_bytes(b"all of it")
    assert capfdbinary.readouterr().out == b"all of it"
    with pytest.raises(UsageError, match="--format"), pipes.to_stream(Path("-"), None):
        pass
    with pytest.raises(InputError), pipes.to_stream(Path("-"), "mkv") as path:
        path.write_bytes(b"half")
        raise InputError("broken")
    assert capfdbinary.readouterr().out == b""
    with pipes.to_stream(tmp_path / "a.mkv", None) as path:
        assert path == tmp_path / "a.mkv"
