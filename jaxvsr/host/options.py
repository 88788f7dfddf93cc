"""What callers ask for by name: settings whose fields say what they may be, and the refusals.

A dataclass marks its numbers, as in `scale: Annotated[float | None, Range(0.01, 100)]`, and calls
`check` when it is made; the command line reads the same marks, so both refuse with the same words.
"""

import math
import re
from dataclasses import dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from jaxvsr.errors import UsageError, choices, unknown

CLOCK = re.compile(r"(?:(\d+):(?=[0-5]?\d:))?(\d+):([0-5]?\d(?:\.\d*)?)")


@dataclass(frozen=True)
class Range:
    """A number from `least` to `most`, whose unit is `what`; `above` leaves `least` itself out."""

    least: float = -math.inf
    most: float = math.inf
    what: str = ""
    above: bool = False

    def __str__(self) -> str:
        if self.least == -math.inf:
            return f"up to {self.most:.12g}" * (self.most < math.inf)
        if self.above:
            return f"above {self.least:.12g}" + f", up to {self.most:.12g}" * (self.most < math.inf)
        return f"from {self.least:.12g}" + f" to {self.most:.12g}" * (self.most < math.inf)

    def read(self, name: str, value, kind: type = float) -> float | int:
        """A number, or the text of one, as `kind`. Raises UsageError that says the range."""
        number = _number(value, kind)
        low = number is None or number < self.least or (self.above and number == self.least)
        if low or number > self.most:
            finite = "a number" if str(self) else "a finite number"
            what = self.what or ("a whole number" if kind is int else finite)
            cause = "is no such number" if number is None else "is out of range"
            raise UsageError(f"{name} {value}: {cause}; give {what} {self}".rstrip())
        return number


@dataclass(frozen=True)
class Time(Range):
    """Seconds as a number or as a clock shows them: 62.5, 1:02.5 or 00:01:02.5."""

    least: float = 0.0
    most: float = 1e9
    what: str = "seconds (62.5) or a time (00:01:02.5)"

    def read(self, name: str, value, kind: type = float) -> float:
        """The seconds of a number, or of a text."""
        match = CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            return super().read(name, value, float)
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return super().read(name, 3600 * hours + 60 * minutes + seconds, float)


FINITE = Range()
SIDE = Range(1, 16384, "a whole number of pixels")


def _number(value, kind: type) -> float | int | None:
    """The finite number that a value or its text is; None where it is none."""
    if isinstance(value, bool):
        return None
    try:
        number = kind(value)
        if not math.isfinite(number) or not (isinstance(value, str) or number == value):
            return None
        return value if isinstance(value, kind | int) else number
    except (TypeError, ValueError, OverflowError):
        return None


class Asked(NamedTuple):
    """What the hint of a field says: its types without None, the choices, its marks."""

    kinds: tuple
    optional: bool
    choices: tuple
    marks: tuple

    def mark(self, kind: type):
        """The mark of a kind, or None."""
        return next((mark for mark in self.marks if isinstance(mark, kind)), None)

    @property
    def number(self) -> type | None:
        """int or float where such a number is asked for."""
        return next((kind for kind in (float, int) if kind in self.kinds), None)

    def read(self, name: str, value):
        """A value as the field may hold it. Raises UsageError that says what it may be."""
        if value is None and self.optional:
            return None
        if self.choices and value not in self.choices:
            raise UsageError(f"{name} {value}: is not known; {choices(value, self.choices)}")
        if self.number and not self.choices:
            return (self.mark(Range) or FINITE).read(name, value, self.number)
        if self.kinds == (str,) and not isinstance(value, str):
            raise UsageError(f"{name} {value!r}: is no text; give one")
        return value


@cache
def asked_of(kind: type) -> dict[str, Asked]:
    """{field: what it may hold} of a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: asked_by(hints[field.name]) for field in fields(kind) if field.init}


def asked_by(hint, marks: tuple = ()) -> Asked:
    """What a hint says, with more marks than its own."""
    if get_origin(hint) is Annotated:
        hint, *own = get_args(hint)
        marks = (*own, *marks)
    union = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds, literals = [], []
    for part in union:
        literal = get_origin(part) is Literal
        literals += get_args(part) if literal else ()
        kinds += [type(get_args(part)[0])] if literal else [part]
    optional = NoneType in kinds
    return Asked(tuple(k for k in kinds if k is not NoneType), optional, tuple(literals), marks)


def check(settings) -> None:
    """Refuses what a field cannot hold, for `__post_init__`; texts of numbers become numbers.

    Raises UsageError that names the field and says what it may be.
    """
    for name, asked in asked_of(type(settings)).items():
        value = getattr(settings, name)
        read = asked.read(name, value)
        if read is not value:
            object.__setattr__(settings, name, read)


def chosen(kind: type, given: dict):
    """`kind(**given)`; UsageError that names the choices for what is not one of its fields."""
    names = [field.name for field in fields(kind)]
    for name in given.keys() - set(names):
        raise UsageError(unknown("setting", name, sorted(names)))
    return kind(**given)
