"""Dataclasses read off a command line: every field an option, what is written below it the help.

An option is refused in one line, before anything else is done: what it may be, or what it is like.
"""

import argparse
import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import EllipsisType
from typing import TypeVar, get_args, get_origin

from jaxvsr.errors import UsageError, nearest
from jaxvsr.host.options import Asked, Time, asked_by, asked_of

T = TypeVar("T")
VALUE = re.compile(r"-(\d|\.\d|inf|nan)", re.IGNORECASE)  # begins as an option, but is a number
METAVARS = {int: "N", float: "NUMBER", Path: "PATH", str: "TEXT"}


@dataclass(frozen=True)
class Positional:
    """Marks a field that is given by its place; `metavar` is what help calls it."""

    metavar: str


SHORT = {"-o": "--output"}
HIDDEN = "no option"  # marks a field that the command line leaves at its default


@dataclass(frozen=True)
class Option:
    """A field as the command line shows it; `path` are the fields that lead to it."""

    path: tuple[str, ...]
    asked: Asked  # of one value, where the field is a tuple of many
    count: int | str | None  # values, as argparse's `nargs`
    default: object
    text: str

    @property
    def place(self) -> Positional | None:
        """The mark of a positional."""
        return self.asked.mark(Positional)

    @property
    def name(self) -> str:
        """As it is typed, or what help calls a positional."""
        return self.place.metavar if self.place else "--" + self.path[-1].replace("_", "-")

    @property
    def flag(self) -> bool:
        """Whether it takes no value."""
        return self.asked.kinds == (bool,)

    def read(self, text: str):
        """One value from its text. Raises UsageError that says what it may be."""
        if not text.strip():
            raise UsageError(f"{self.name} {text!r}: is empty; give a value, or leave it away")
        texts = {str(choice): choice for choice in self.asked.choices}
        value = self.asked.read(self.name, texts.get(text, text))
        return Path(value) if Path in self.asked.kinds else value

    @property
    def metavar(self) -> str:
        """What help calls a value."""
        if self.place or self.asked.choices:
            return self.name if self.place else "{" + ",".join(map(str, self.asked.choices)) + "}"
        return "TIME" if self.asked.mark(Time) else METAVARS[self.asked.kinds[0]]

    @property
    def help(self) -> str:
        """What it does, and its default where the text cannot know it."""
        shown = self.default
        if shown is MISSING or shown is None or shown is False or shown == ():
            return self.text.replace("%", "%%")
        shown = " ".join(map(str, shown)) if isinstance(shown, tuple) else shown
        shown = {True: "yes"}.get(shown, shown) if isinstance(shown, bool) else shown
        return f"{self.text} (default: {shown})".strip().replace("%", "%%")


def options_of(kind: type, path: tuple[str, ...] = ()) -> Iterator[Option]:
    """The options of a dataclass, and of the dataclasses in it."""
    texts = _texts(kind)
    for field, asked in zip(_shown(kind), asked_of(kind).values(), strict=True):
        here = (*path, field.name)
        if HIDDEN in asked.marks:
            continue
        if is_dataclass(asked.kinds[0]):
            yield from options_of(asked.kinds[0], here)
            continue
        has_default = field.default is not MISSING
        count = "?" if asked.mark(Positional) and has_default else None
        if get_origin(asked.kinds[0]) is tuple:
            member, *rest = get_args(asked.kinds[0])
            any_number = isinstance(rest[-1], EllipsisType)
            count = ("*" if has_default else "+") if any_number else 1 + len(rest)
            asked = asked_by(member, asked.marks)
        yield Option(here, asked, count, field.default, texts.get(field.name, ""))


def _shown(kind: type) -> list:
    return [field for field in fields(kind) if field.init]


@cache
def _texts(kind: type) -> dict[str, str]:
    """What is written below each field of a dataclass, its bases' included, as one line."""
    found: dict[str, str] = {}
    for base in (base for base in reversed(kind.__mro__) if is_dataclass(base)):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body
        for field, note in pairwise(body):
            if not isinstance(field, ast.AnnAssign) or not isinstance(note, ast.Expr):
                continue
            if isinstance(note.value, ast.Constant) and isinstance(note.value.value, str):
                found[field.target.id] = " ".join(note.value.value.split())
    return found


class _Parser(argparse.ArgumentParser):
    """argparse whose complaints are errors of one line."""

    def error(self, message: str):
        message = re.sub(r"^argument (\S+): ", r"\1: ", message)
        raise UsageError(f"{message}; {self.prog} --help tells more")


def parser_of(kind: type, prog: str, about: str) -> argparse.ArgumentParser:
    """The parser of a dataclass; what is not given stays away from its namespace."""
    parser = _Parser(
        prog=prog,
        description=about or inspect.getdoc(kind),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option in options_of(kind):
        dest = ".".join(option.path)
        if option.flag:
            pair = argparse.BooleanOptionalAction if option.default else "store_true"
            parser.add_argument(option.name, dest=dest, action=pair, help=option.help)
            continue
        facts = {"type": option.read, "nargs": option.count, "help": option.help}
        facts["metavar"] = option.metavar
        if option.place:
            parser.add_argument(dest, default=None, **facts)
        else:
            needed = option.default is MISSING
            parser.add_argument(option.name, dest=dest, required=needed, **facts)
    return parser


def read(kind: type[T], args: Sequence[str] | None = None, *, prog: str, about: str = "") -> T:
    """The dataclass `kind` as `args` (by default the process's own) ask for it.

    `--help` ends the process. Raises UsageError, in one line, for what cannot be.
    """
    args = sys.argv[1:] if args is None else list(args)
    parser, options = parser_of(kind, prog, about), list(options_of(kind))
    given = vars(parser.parse_args(_sorted(args, options, prog)))
    places = {option.path for option in options if option.place}
    paths = {tuple(dest.split(".")): value for dest, value in given.items()}
    left = {path for path, value in paths.items() if path in places and value in (None, [])}
    return _made(kind, {path: value for path, value in paths.items() if path not in left})


def _sorted(args: list[str], options: list[Option], prog: str) -> list[str]:
    """Options first, then positionals behind `--`, so that both may come in any order.

    An option's name may have underscores; its value may begin with a minus where it is a number.
    """
    known = {option.name: option for option in options if not option.place}
    known |= {f"--no-{name[2:]}": o for name, o in known.items() if o.flag and o.default}
    front, places, left = [], [], list(args)
    while left:
        word = left.pop(0)
        word = SHORT[word] if SHORT.get(word) in known else word
        if word == "--":
            places, left = places + left, []
        elif word in ("-h", "--help"):
            front.append(word)
        elif word[:1] != "-" or word == "-" or VALUE.match(word):
            places.append(word)
        else:
            front += _taken(word, left, known, prog)
    return [*front, "--", *places] if places else front


def _taken(word: str, left: list[str], known: Mapping[str, Option], prog: str) -> list[str]:
    """An option with its values, which are taken from what is `left`."""
    name, equals, value = word.partition("=")
    name = "--" + name[2:].replace("_", "-") if name[:2] == "--" else name
    if name not in known:
        file = f"; a file of that name is written ./{word}" * (name[:2] != "--")
        meant = nearest(name, known) or f"; {prog} --help lists them"
        raise UsageError(f"no option {name}{meant}{file}")
    option = known[name]
    if equals:
        return [f"{name}={value}"]
    if option.flag:
        return [name]
    most = option.count if isinstance(option.count, int) else 1
    values = []
    while left and (option.count in ("*", "+") or len(values) < most):
        if left[0][:1] == "-" and left[0] != "-" and not VALUE.match(left[0]):
            break
        values.append(left.pop(0))
    return [name, *values] if option.count or not values else [f"{name}={values[0]}"]


def _made(kind: type[T], given: Mapping[tuple[str, ...], object]) -> T:
    """The dataclass of what was given, by the paths of its fields."""
    values = {}
    for name, asked in asked_of(kind).items():
        inner = {path[1:]: value for path, value in given.items() if path[0] == name}
        if () in inner:
            value = inner[()]
            values[name] = tuple(value) if isinstance(value, list) else value
        elif inner:
            values[name] = _made(asked.kinds[0], inner)
    return kind(**values)
