"""Errors that a user can act on: one line with the cause and the remedy, and an exit status."""

import errno

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
