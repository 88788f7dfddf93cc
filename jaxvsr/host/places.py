"""Whether outputs can be written, found out before the work and not after it."""

import os
from collections.abc import Sequence
from pathlib import Path

from jaxvsr.errors import OutputError


def there(path: Path) -> bool:
    """Whether something is at `path`. Raises OutputError where nothing can be, by its name."""
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: {reason}; choose another output") from None


def check_place(source: Path, output: Path, *, overwrite: bool) -> None:
    """Raises OutputError where `output` is the input, or another file that may not be replaced."""
    if there(output) and source.exists() and output.samefile(source):
        raise OutputError(f"{output}: is the input itself; choose another output")
    check_replaced(output, overwrite=overwrite)


def check_replaced(path: Path, *, overwrite: bool) -> None:
    """Raises OutputError for a file that is there, without leave to replace it."""
    if there(path) and not overwrite:
        raise OutputError(f"{path}: exists; choose another output or give --overwrite")


def check_file(path: Path, inputs: Sequence[str], *, overwrite: bool) -> None:
    """Raises OutputError unless `path` can be written as a file, and is none of the inputs."""
    exists = there(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file in it")
    if exists and any(Path(name).exists() and path.samefile(name) for name in inputs):
        raise OutputError(f"{path}: is one of the inputs; choose another output")
    check_replaced(path, overwrite=overwrite)
    check_parent(path)


def check_folder(path: Path, *, overwrite: bool) -> None:
    """Raises OutputError unless `path` is, or can be made, a folder that files can go to."""
    if there(path) and not path.is_dir():
        raise OutputError(f"{path}: is a file; name a folder")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise OutputError(f"{path}: is not empty; choose another folder or give --overwrite")
    check_parent(path / "any" if path.is_dir() else path)


def check_parent(path: Path) -> None:
    """Raises OutputError unless the folder of `path` is there and can be written to."""
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent}: no such folder; make it first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path.parent}: no permission to write there; choose another output")


def make_folder(path: Path) -> None:
    """Makes a folder, in one that is there. Raises OutputError where that cannot be."""
    try:
        path.mkdir(exist_ok=True)
    except FileNotFoundError:
        raise OutputError(f"{path.parent}: no such folder; make it first") from None
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}; choose another output") from error


def cache_folder() -> Path:
    """JAXVSR_CACHE, or jaxvsr in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("JAXVSR_CACHE") or f"{home}/jaxvsr").expanduser()
