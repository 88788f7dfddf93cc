"""The command line: python -m jaxvsr enhance | compare | degrade | models."""

import os
import signal
import sys
from collections.abc import Sequence

from jaxvsr.commands.dispatch import parse
from jaxvsr.commands.speech import answer


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status; errors become one line on stderr."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # arrows in tables, whatever the console can show
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    argv = sys.argv[1:] if argv is None else argv
    try:
        return answer(lambda: parse(argv).run())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
