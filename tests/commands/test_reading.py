"""Options are read off dataclasses, and refused in one line that says what they may be."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest

from jaxvsr.commands.reading import HIDDEN, Positional, options_of, read
from jaxvsr.errors import UsageError
from jaxvsr.host.options import Range, Time, check


@dataclass(frozen=True)
class Inner:
    """What is nested shows as options of its own."""

    scale: Annotated[float | None, Range(0.01, 100)] = None
    """How many times, 50 % and so on."""
    start: Annotated[float | str | None, Time()] = None
    pix_fmt: str | None = None


@dataclass(frozen=True)
class Outer:
    """A command."""

    source: Annotated[Path, Positional("INPUT")]
    """What is read."""
    target: Annotated[Path | None, Positional("OUTPUT")] = None
    inner: Inner = field(default_factory=Inner)
    kind: Literal["auto", "gpu"] = "auto"
    """Where."""
    crfs: Annotated[tuple[int, ...], Range(0, 51)] = (18, 23)
    pair: tuple[int, int] = (1, 2)
    offset: float = 0.0
    fast: bool = False
    memory: bool = True
    net: Annotated[object, HIDDEN] = None


def asked(text: str) -> Outer:
    return read(Outer, text.split(), prog="run")


@pytest.mark.quick
def test_options_and_places_come_in_any_order():
    plain = Outer(Path("in.mp4"), Path("out.mp4"), Inner(scale=2.0), fast=True)
    for text in (
        "in.mp4 out.mp4 --scale 2 --fast",
        "--fast in.mp4 --scale 2 out.mp4",
        "--scale=2 --fast in.mp4 -- out.mp4",
    ):
        assert asked(text) == plain
    assert asked("in.mp4") == Outer(Path("in.mp4"))
    assert asked("-- -in.mp4 -o.mp4") == Outer(Path("-in.mp4"), Path("-o.mp4"))
    assert asked("-") == Outer(Path("-"))


def test_every_kind_of_value_is_read():
    got = asked("a --crfs 20 30 40 --pair 3 -4 --offset -1e3 --kind gpu --no-memory --pix_fmt gray")
    assert (got.crfs, got.pair, got.offset) == ((20, 30, 40), (3, -4), -1000.0)
    assert (got.kind, got.memory, got.inner.pix_fmt) == ("gpu", False, "gray")
    assert asked("a --crfs").crfs == () and asked("a").crfs == (18, 23)


@pytest.mark.parametrize(
    "text, seconds",
    [("5", 5), ("0.25", 0.25), ("1:02", 62), ("00:01:02.5", 62.5), ("90:00", 5400), (".5", 0.5)],
)
def test_times_are_seconds_or_clocks(text, seconds):
    assert asked(f"a --start {text}").inner.start == seconds
    assert Time().read("start", text) == seconds


@pytest.mark.quick
@pytest.mark.parametrize(
    "text, words",
    [
        ("", "required: INPUT; run --help tells more"),
        ("a b c", "unrecognized arguments: c"),
        ("a --scale nan", "--scale nan: is no such number; give a number from 0.01 to 100"),
        ("a --scale inf", "from 0.01 to 100"),
        ("a --scale -inf", "from 0.01 to 100"),
        ("a --scale 1e400", "from 0.01 to 100"),
        ("a --scale 0", "--scale 0: is out of range"),
        ("a --scale -2", "--scale -2: is out of range"),
        ("a --scale 2,5", "--scale 2,5: is no such number"),
        ("a --scale", "--scale: expected one argument"),
        ("a --scale=", "--scale '': is empty"),
        ("a --start 1:75", "give seconds (62.5) or a time (00:01:02.5)"),
        ("a --start -1", "from 0"),
        ("a --offset nan", "--offset nan: is no such number; give a finite number"),
        ("a --crfs 20 52", "--crfs 52: is out of range; give a whole number from 0 to 51"),
        ("a --crfs 20.5", "--crfs 20.5: is no such number; give a whole number"),
        ("a --pair 1", "--pair: expected 2 arguments"),
        ("a --kind gpus", "--kind gpus: is not known; choose from auto, gpu; did you mean gpu?"),
        ("a --sclae 2", "no option --sclae; did you mean --scale?"),
        ("a --net 1", "no option --net; "),
        ("-in.mp4", "a file of that name is written ./-in.mp4"),
        ("a --fast=1", "ignored explicit argument"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(text, words):
    with pytest.raises(UsageError) as refused:
        asked(text)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_an_empty_name_is_no_folder():
    with pytest.raises(UsageError, match="INPUT '': is empty"):
        read(Outer, [""], prog="run")


def test_help_tells_choices_and_defaults(capsys):
    with pytest.raises(SystemExit) as ended:
        asked("--help")
    said = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0 and "A command." in said
    assert "How many times, 50 % and so on." in said and "None" not in said
    assert "--crfs [N ...] (default: 18 23)" in said and "{auto,gpu} Where. (default: auto)" in said
    assert "--start TIME" in said and "--net" not in said
    assert [option.name for option in options_of(Outer)][:3] == ["INPUT", "OUTPUT", "--scale"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, True, "much", [1]])
def test_the_library_refuses_with_the_same_words(value):
    with pytest.raises(UsageError, match=r"^scale .*; give a number from 0.01 to 100$"):
        Range(0.01, 100).read("scale", value)


def test_texts_of_numbers_become_numbers_and_numbers_stay():
    settings = Inner(scale=2)
    check(settings)
    assert settings.scale == 2 and isinstance(settings.scale, int)
    assert Range(1, 8).read("batch", "4", int) == 4 and Range(1, 8).read("batch", 4.0, int) == 4
