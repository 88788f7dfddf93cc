"""Errors that a user can act on: one line with the cause and the remedy, and an exit status."""

import errno
from difflib import get_close_matches

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)  # codes of an OSError


class JaxvsrError(Exception):
    """Root of every error that the command line prints as one line; `status` is its exit status."""

    status = 1


class UsageError(JaxvsrError):
    """An option or a combination of options that cannot be done."""

    status = 2


class InputError(JaxvsrError):
    """The input cannot be read as what it should be."""

    status = 3


class OutputError(JaxvsrError):
    """The output must not or cannot be written."""

    status = 4


class WeightsError(JaxvsrError):
    """A checkpoint is missing, is not one, or does not fit a known network."""

    status = 5


class SpaceError(JaxvsrError):
    """The disk is full, or will be."""

    status = 7


class StoppedError(JaxvsrError):
    """A person or the system stopped the run; what was finished is kept."""

    status = 130  # as a shell gives after Ctrl-C


DAMAGED = 6  # exit status of a finished run whose input was damaged


def nearest(value, names) -> str:
    """ "; did you mean X?" where one of the names is like the value, else nothing."""
    found = get_close_matches(str(value).lower(), [str(name) for name in names], 1)
    return f"; did you mean {found[0]}?" if found else ""


def choices(value, names) -> str:
    """What to choose from instead of a value that is none of the names, and the nearest of them."""
    return f"choose from {', '.join(map(str, names))}{nearest(value, names)}"


def unknown(what: str, value, names) -> str:
    """One line about a name that nothing has: what there is instead."""
    return f"no {what} {value or repr(value)}; {choices(value, names)}"
