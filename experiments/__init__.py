"""One file a paper: its losses, its phases, and its numbers beside ours."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

DATA = Path(os.environ.get("JAXVSR_DATA", Path(__file__).parents[2] / "shared/data"))
EVERY = 10  # seconds between two lines of a long work


def tell_library() -> None:
    """Lets the library find the weights of its metrics in DATA, too."""
    if DATA.is_dir():
        os.environ.setdefault("JAXVSR_DATA", str(DATA))


def say(*lines: str) -> None:
    """To people, on stderr."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def counted(work: str) -> Callable[[int, int], None]:
    """show(done, all), which says now and then how far a work is; a short one is silent."""
    spoken = time.monotonic()

    def show(done: int, every: int) -> None:
        nonlocal spoken
        if time.monotonic() - spoken >= EVERY:
            spoken = time.monotonic()
            say(f"{work}: {done} of {every}")

    return show
