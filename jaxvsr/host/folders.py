"""Every video and picture of a folder, one after the other, into another folder."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from jaxvsr.errors import InputError, JaxvsrError, OutputError
from jaxvsr.video.images import SUFFIXES as PICTURES
from jaxvsr.video.streams import SUFFIXES as VIDEOS

Failed = Callable[[JaxvsrError], None]
Done = TypeVar("Done")


def every(
    source: Path,
    output: Path,
    suffix: Callable[[Path], str],
    work: Callable[[Path, Path], Done],
    *,
    overwrite: bool = False,
    failed: Failed | None = None,
) -> list[Done]:
    """The results of `work(path, target)` for all files that are not finished yet.

    A target keeps its file's name, with `suffix(path)` behind it where that is another one.
    `failed` hears of files that cannot be done; without it the first one raises.
    """
    files = sorted(p for p in source.iterdir() if p.suffix.lower() in VIDEOS.union(PICTURES))
    if not files:
        raise InputError(f"{source}: no video or picture in this folder; check the path")
    if output.resolve() == source.resolve():
        raise OutputError(f"{output}: is the input itself; choose another output")
    try:
        output.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: {error.strerror}; choose another output") from error
    results = []
    for path in files:
        try:
            ending = suffix(path)
            same = ending == path.suffix.lower()
            target = output / (path.name if same else path.name + ending)
            if overwrite or not target.exists():
                results.append(work(path, target))
        except JaxvsrError as error:
            if failed is None:
                raise
            failed(error)
    return results
