"""What the command line says: tables on stdout, one line for each error on stderr."""

import sys


def aligned(rows: list[dict]) -> str:
    """Rows of equal keys as a table of aligned columns."""
    cells = [list(rows[0]), *([str(v) for v in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def complain(error: BaseException) -> None:
    """One line on stderr."""
    print(f"jaxvsr: {error}", file=sys.stderr)
