"""What the command line says: tables on stdout, one line for each error on stderr."""

import json
import sys
from collections.abc import Callable

from jaxvsr.errors import DAMAGED, JaxvsrError, StoppedError
from jaxvsr.inference.settings import Result
from jaxvsr.video.names import shown


def aligned(rows: list[dict]) -> str:
    """Rows of equal keys as a table of aligned columns."""
    cells = [list(rows[0]), *([str(v) for v in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def complain(error: BaseException | str) -> None:
    """One line on stderr, whatever names are in it."""
    print(f"jaxvsr: {shown(str(error))}", file=sys.stderr)


def tell_passed(found, show: str) -> None:
    """What was passed over and why, by name: lines on stderr, or events of JSON on stdout."""
    for why, names in found.passed.items():
        if show == "json":
            print(json.dumps({"event": "passed over", "why": why, "names": names}), flush=True)
    if show == "text":
        for line in found.told():
            complain(line)


def answer(work: Callable[[], object]) -> int:
    """Does the work and returns its exit status; what a user can act on is one line on stderr."""
    try:
        status = work()
    except JaxvsrError as error:
        complain(error)
        return error.status
    except KeyboardInterrupt:
        complain("stopped")
        return StoppedError.status
    return status if isinstance(status, int) else 0


def finish(
    results: list[Result], errors: list[JaxvsrError], *, silent: bool, to_stderr: bool = False
) -> int:
    """A line for each result unless `silent`; the exit status of all that was done.

    Lines go to stdout, or `to_stderr` where the result itself went there.
    """
    for result in results:
        if not silent:
            rate = f", {result.frames} frames in {result.seconds:.1f} s" * (result.frames > 1)
            print(f"{shown(str(result.output))}{rate}", file=sys.stderr if to_stderr else None)
    if errors:
        return errors[0].status
    return DAMAGED if any(result.damaged for result in results) else 0


class Complaints(list):
    """Errors of a folder's files: each is told when it comes, and kept."""

    def __call__(self, error: JaxvsrError) -> None:
        self.append(error)
        complain(error)
