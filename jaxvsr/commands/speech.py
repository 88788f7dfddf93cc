"""What the command line says: tables on stdout, one line for each error on stderr."""

import sys

from jaxvsr.errors import DAMAGED, JaxvsrError
from jaxvsr.inference.settings import Result


def aligned(rows: list[dict]) -> str:
    """Rows of equal keys as a table of aligned columns."""
    cells = [list(rows[0]), *([str(v) for v in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def complain(error: BaseException | str) -> None:
    """One line on stderr."""
    print(f"jaxvsr: {error}", file=sys.stderr)


def finish(results: list[Result], errors: list[JaxvsrError], *, silent: bool) -> int:
    """A line for each result unless `silent`; the exit status of all that was done."""
    for result in results:
        if not silent:
            rate = f", {result.frames} frames in {result.seconds:.1f} s" * (result.frames > 1)
            print(f"{result.output}{rate}")
    if errors:
        return errors[0].status
    return DAMAGED if any(result.damaged for result in results) else 0


class Complaints(list):
    """Errors of a folder's files: each is told when it comes, and kept."""

    def __call__(self, error: JaxvsrError) -> None:
        self.append(error)
        complain(error)
