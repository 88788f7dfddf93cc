"""Whatever a file system takes as a name is one: of films, pictures, weights, of what comes out."""

import os
import shutil
import threading
from importlib import resources
from pathlib import Path

import media
import numpy as np
import pytest
from PIL import Image

from jaxvsr import weights
from jaxvsr.__main__ import main
from jaxvsr.comparison.sources import open_source
from jaxvsr.data import sources
from jaxvsr.degradation.film import record_path
from jaxvsr.video.names import shown
from jaxvsr.video.reader import VideoReader

NAMES = [
    "Re: film",
    "\udcff line\nbreak 'quotes\" \\",  # and a byte that is no UTF-8
    "100%d %05d%",
    "-dash #1?",
    "concat:a|b",
    "http:",
    "\U0001f3ac é",
    "n" * 250,
]
PLAIN = ("--model", "bicubic", "--scale", "2")


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return media.film(
        tmp_path_factory.mktemp("f") / "a.mp4", media.Picture(width=32, height=24, frames=2), 1
    )


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", NAMES)
def test_films_and_pictures_of_any_name(name, film, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source, picture = f"{name}.mp4", f"{name}.png"
    shutil.copy(film, source)
    Image.fromarray(media.drawing(0, 32, 24)).save(picture)
    assert main(["enhance", *PLAIN, "--", source]) == 0
    assert main(["enhance", *PLAIN, "--", picture]) == 0
    assert main(["enhance", *PLAIN, "--overwrite", "--", str(film), source]) == 0
    err = capsys.readouterr().err
    assert all(line.startswith(("/", "-", shown(name)[:2])) for line in err.splitlines())
    made = sorted(p for p in Path().iterdir() if "_x2" in p.name)
    assert [p.suffix for p in made] == [".mp4", ".png"]
    assert all(p.name.startswith(name[:30]) and not p.name.startswith(".") for p in made)
    with VideoReader(source) as reader, VideoReader(made[0]) as other:
        assert (reader.info.width, other.info.width) == (64, 64)
        assert [s.type for s in other.info.streams] == ["audio"]  # copied from the strange name
    assert open_source(Path(picture)).size == (24, 32)
    assert not [p for p in Path().iterdir() if p.name.endswith(".part")]


def test_a_comparison_and_a_degradation_of_strange_names(film, tmp_path, capsys):
    strange = tmp_path / "a: \udcff%d.mp4"
    shutil.copy(film, strange)
    csv, page = tmp_path / "c.csv", tmp_path / "p.html"
    ask = ["--metrics", "psnr", "--csv", str(csv), "--report", str(page)]
    assert main(["compare", str(film), str(strange), *ask]) == 0
    assert "\\udcff%d" in csv.read_text() and page.is_file()
    out = tmp_path / ("d" * 251 + ".mp4")
    assert main(["degrade", str(strange), str(out), "--factor", "1"]) == 0
    assert record_path(out).is_file() and len(os.fsencode(record_path(out).name)) <= 255


def test_weights_of_strange_names(tmp_path, monkeypatch):
    packaged = resources.files("jaxvsr") / "weights_data" / "sr_unet_light_x2.safetensors"
    monkeypatch.chdir(tmp_path)
    Path("http:/x").mkdir(parents=True)
    for name in ("http://x/w.safetensors", "~nobody.safetensors", "a:%d\udcff.safetensors"):
        shutil.copy(str(packaged), name)
        assert weights.load(name).name == "sr_unet"


def test_names_that_nothing_can_have_are_one_line(film, tmp_path, capsys):
    long = str(tmp_path / ("x" * 300)) + ".mp4"
    assert main(["enhance", long]) == 3
    assert main(["enhance", str(film), long, *PLAIN]) == 4
    assert main(["compare", str(film), long]) == 3
    assert capsys.readouterr().err.count("\n") == 3


def test_a_systems_files_are_passed_over_everywhere(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(media.drawing(i, 32, 24)).save(folder / f"{i:04d}.png")
    for name in ("._0000.png", "Thumbs.db", ".x.png"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder / "a.mp4").mkdir()  # a folder is no film, whatever its name
    assert main(["enhance", str(folder), str(tmp_path / "o"), *PLAIN]) == 0
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == [f"{i:04d}.png" for i in range(3)]
    assert len(open_source(folder).times) == 3
    (clip,) = sources.find(folder).clips
    assert clip.frames == 3


def test_a_list_goes_to_a_folder_and_its_bad_file_is_told(film, tmp_path, capsys):
    bad = tmp_path / "bad.mkv"
    bad.write_bytes(b"nonsense")
    asked = [str(film), str(bad), "--output", str(tmp_path / "o" / "p"), *PLAIN]
    assert main(["enhance", *asked]) == 3
    assert [p.name for p in (tmp_path / "o" / "p").iterdir()] == ["a.mp4"]
    assert "bad.mkv: not a video" in capsys.readouterr().err
    assert main(["enhance", *asked]) == 3
    assert "finished before" in capsys.readouterr().err


def test_standard_input_to_standard_output(film, tmp_path, capfdbinary):
    read = os.open(film, os.O_RDONLY)
    saved = os.dup(0)
    os.dup2(read, 0)
    try:
        assert main(["enhance", "-", "-", "--format", "mkv", *PLAIN]) == 0
        assert main(["enhance", "-", "-", "--format", "mkv", "--json", *PLAIN]) == 2
        assert main(["enhance", "-", "-", *PLAIN]) == 2
    finally:
        os.dup2(saved, 0)
        os.close(saved), os.close(read)
    out, err = capfdbinary.readouterr()
    (tmp_path / "got.mkv").write_bytes(out)
    with VideoReader(tmp_path / "got.mkv") as reader:
        assert len(list(reader)) == 2 and reader.info.width == 64
    assert b"-, 2 frames" in err and b"--format mkv" in err


def test_a_pipe_is_enhanced_like_its_file(film, tmp_path):
    pipe = tmp_path / "p.mp4"
    os.mkfifo(pipe)
    data = film.read_bytes()  # mp4 with its index at the end: it cannot be read in one go
    writer = threading.Thread(target=pipe.write_bytes, args=(data,), daemon=True)
    writer.start()
    assert main(["enhance", str(pipe), *PLAIN]) == 0
    writer.join(timeout=10)
    assert main(["enhance", str(film), str(tmp_path / "f.mp4"), *PLAIN]) == 0
    assert (tmp_path / "p_x2.mp4").read_bytes() == (tmp_path / "f.mp4").read_bytes()
    assert np.all([not p.name.startswith(".jaxvsr") for p in tmp_path.iterdir()])
