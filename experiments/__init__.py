"""One file a paper: its losses, its phases, and its numbers beside ours."""

import os
import sys
from pathlib import Path

DATA = Path(os.environ.get("JAXVSR_DATA", Path(__file__).parents[2] / "shared/data"))


def tell_library() -> None:
    """Lets the library find the weights of its metrics in DATA, too."""
    if DATA.is_dir():
        os.environ.setdefault("JAXVSR_DATA", str(DATA))


def say(*lines: str) -> None:
    """To people, on stderr."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)
