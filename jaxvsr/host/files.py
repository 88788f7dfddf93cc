"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxvsr.video.failing import failing
from jaxvsr.video.names import beside


@contextmanager
def whole(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A draft beside `path` that takes its name when the block ends well, and else is gone.

    What was at `path` before stays until then. `durable` waits until the bytes are on the disk, for
    files that tell what is finished. OutputError or SpaceError where the system does not let it.
    """
    draft = beside(path, ".", path.stem, f".part{path.suffix}")
    with failing(path):
        try:
            yield draft
            if durable:
                with draft.open("rb+") as file:
                    os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
