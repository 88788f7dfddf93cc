"""Streams that can be read once: pipes, standard input and output."""

import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image

from jaxvsr.errors import DISK_FULL, InputError, JaxvsrError, SpaceError, UsageError
from jaxvsr.host.progress import amount

STANDARD = Path("-")
BLOCK = 1 << 20
SPARE = 256 << 20  # bytes of the disk that a copied stream leaves free
PICTURES = {"JPEG": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2", "MPO": ".jpg"}


def is_stream(path: Path) -> bool:
    """Whether a path is "-", a pipe, a socket or a terminal: nothing that can be read twice."""
    if path == STANDARD:
        return True
    with suppress(OSError, ValueError):
        mode = path.stat().st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)
    return False


@contextmanager
def as_file(source: Path, near: Path | None = None, say: Callable[[str], None] = lambda text: None):
    """The source as a file that can be read again and again: itself, or a copy while it lasts.

    A stream is copied to a temporary folder, or to that of `near`, as long as the disk has room,
    and `say` is told. Errors name the source. Raises InputError, SpaceError or UsageError.
    """
    if not is_stream(source):
        yield source
    elif (path := _behind(source)) is not None:
        yield path
    else:
        place = near.parent if near is not None and near.parent.is_dir() else None
        try:
            folder = Path(tempfile.mkdtemp(prefix=".jaxvsr-", dir=place))
        except OSError as error:
            raise SpaceError(
                f"{source}: no place for a copy ({error.strerror}); set TMPDIR"
            ) from None
        try:
            with _named(folder, source):
                path = _copied(source, folder)
                say(f"{amount(path.stat().st_size)} copied from the pipe to {folder}")
                yield path
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _named(folder: Path, source: Path) -> Iterator[None]:
    """Errors about a file in the folder as errors about the source."""
    try:
        yield
    except JaxvsrError as error:
        words = str(error).split(f"{folder}{os.sep}")
        if len(words) == 1:
            raise
        told = words[0] + "".join(f"{source}{_after(word)}" for word in words[1:])
        raise type(error)(told) from error


def _after(word: str) -> str:
    """What follows the name of the copy."""
    return word[word.find(":") :] if ":" in word else ""


def _behind(source: Path) -> Path | None:
    """The file that standard input was redirected from, as by `< film.mp4`; None for a pipe."""
    if source != STANDARD or not stat.S_ISREG(os.fstat(0).st_mode):
        return None
    with suppress(OSError):
        path = Path(os.readlink("/proc/self/fd/0"))
        if os.path.samestat(path.stat(), os.fstat(0)) and os.lseek(0, 0, os.SEEK_CUR) == 0:
            return path
    return None


def _copied(source: Path, folder: Path) -> Path:
    """All that a stream gives, in a file of the folder that is named after its bytes."""
    if source == STANDARD and sys.stdin is not None and sys.stdin.isatty():
        raise InputError("-: standard input is a terminal; pipe a film or a picture into it")
    draft, digest = folder / "stream", hashlib.sha256()
    try:
        given = 0 if source == STANDARD else source
        with open(given, "rb", closefd=bool(given)) as stream, draft.open("wb") as file:
            _pour(stream, file, digest, folder)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise _full(source, folder) from None
        raise InputError(f"{source}: {error.strerror}; check the pipe") from None
    if not draft.stat().st_size:
        raise InputError(f"{source}: the pipe gave nothing; check what writes to it")
    # The same bytes are the same input, for a run that goes on.
    path = folder / f"{digest.hexdigest()[:16]}{_suffix(draft)}"
    draft.rename(path)
    os.utime(path, (0, 0))
    return path


def _pour(stream, file, digest, folder: Path) -> None:
    room = 0
    while block := stream.read(BLOCK):
        room -= len(block)
        if room < 0:
            room = shutil.disk_usage(folder).free - SPARE
            if room < len(block):
                raise OSError(DISK_FULL[0], "the disk is full")
            room = min(room, 64 * BLOCK) - len(block)
        file.write(block)
        digest.update(block)


def _full(source: Path, folder: Path) -> SpaceError:
    return SpaceError(
        f"{source}: {folder.parent} has no room for a copy of this pipe; set TMPDIR to a larger "
        "disk, or write a file first and name it"
    )


def _suffix(path: Path) -> str:
    """By which a picture is known; films are known by what is in them."""
    try:
        with Image.open(path) as image:
            return PICTURES.get(image.format, f".{image.format.lower()}")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ""


def check_beside(source: Path) -> None:
    """Raises UsageError for a pipe that has no place beside which a result could lie."""
    if source == STANDARD or source.absolute().parts[1:2] in (("dev",), ("proc",)):
        raise UsageError(f"{source}: a pipe without a name of its own; name the output, too")


@contextmanager
def to_stream(output: Path | None, suffix: str | None) -> Iterator[Path | None]:
    """The output; of a stream a temporary file that is poured into it when the block ends well.

    `suffix` (".mkv" or "mkv") tells its format, which the name of a stream does not.
    """
    if output is None or not is_stream(output):
        yield output
        return
    if not suffix:
        raise UsageError(f"{output}: a stream has no name that tells its format; add --format mkv")
    with tempfile.TemporaryDirectory(prefix="jaxvsr-") as folder:
        path = Path(folder) / f"output.{suffix.lstrip('.')}"
        yield path
        with path.open("rb") as file:
            if output == STANDARD:
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            else:
                with output.open("wb") as stream:
                    shutil.copyfileobj(file, stream)
