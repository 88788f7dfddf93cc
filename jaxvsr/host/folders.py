"""Lists, patterns and folders of videos and pictures, one file after the other."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from jaxvsr.errors import InputError, JaxvsrError, OutputError, StoppedError, UsageError
from jaxvsr.host.pipes import is_stream
from jaxvsr.video.images import SUFFIXES as PICTURES
from jaxvsr.video.names import beside, is_glob, matches, of_system
from jaxvsr.video.sequence import is_pattern, members
from jaxvsr.video.streams import SUFFIXES as VIDEOS
from jaxvsr.video.streams import check_there

Failed = Callable[[JaxvsrError], None]
Done = TypeVar("Done")
UNKNOWN = "no video or picture by its name"
HIDDEN = "hidden, or a system's own"


@dataclass
class Found:
    """Files, each with its place below an output folder.

    `single` tells that one file was named, and `folder` which one folder. `passed` maps a reason to
    the names of what was passed over for it.
    """

    files: list[tuple[Path, Path]] = field(default_factory=list)
    passed: dict[str, list[str]] = field(default_factory=dict)
    single: bool = False
    folder: Path | None = None

    def pass_over(self, path: Path, why: str) -> None:
        """Notes what is left alone."""
        self.passed.setdefault(why, []).append(str(path))

    def told(self) -> list[str]:
        """What was passed over, a line for each reason."""
        return [f"passed over, {why}: {', '.join(names)}" for why, names in self.passed.items()]


def divided(given: Sequence[str], output: str | None) -> tuple[list[Path], Path | None, bool]:
    """(inputs, output, whether that is a folder) of a command line's paths.

    They are INPUT, INPUT OUTPUT, or many inputs and a folder; with `output` all of them are inputs.
    Raises UsageError where many have no folder to go to.
    """
    if not given:
        raise UsageError("no INPUT; name a video, a picture or a folder (--help tells more)")
    paths = [*given] if output is None else [*given, output]
    if len(paths) == 1:
        return [Path(paths[0])], None, False
    *inputs, last = paths
    is_folder = last.endswith(("/", os.sep)) or os.path.isdir(last)
    if len(inputs) > 1 and not (is_folder or output is not None):
        raise UsageError(
            f"{len(paths)} paths, and {last} is no folder; name the folder of the results by "
            "--output FOLDER, or end with one that is there"
        )
    return [Path(path) for path in inputs], Path(last), is_folder


def gather(inputs: Sequence[Path], output: Path | None = None, *, recursive=False) -> Found:
    """The files that paths stand for: files, folders (with `recursive` all below), patterns.

    What `output` holds is no input. Raises InputError for a path where nothing is.
    """
    found = Found()
    if len(inputs) > 1 and any(map(is_stream, inputs)):
        raise UsageError("a pipe is read alone; give the other inputs to a command of their own")
    for path in inputs:
        named = [path] if is_stream(path) or _exists(path) else _expanded(path)
        listed = named != [path]
        for one in named:
            if one.is_dir():
                found.folder = one if len(inputs) == 1 and not listed else None
                below = Path() if len(inputs) == len(named) == 1 else Path(one.resolve().name)
                _walk(one, below, found, _real(output), recursive)
            elif listed and one.suffix.lower() not in VIDEOS.union(PICTURES):
                found.pass_over(one, UNKNOWN)
            else:
                found.files.append((one, Path(one.name)))
                found.single = len(inputs) == 1 and not listed
    if not found.files:
        passed = "; ".join(found.told()) or "no video or picture in this folder"
        raise InputError(f"{', '.join(map(str, inputs))}: {passed}; check the path")
    return found


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _expanded(path: Path) -> list[Path]:
    """What a pattern that no shell expanded stands for."""
    found = members(path) if is_pattern(path) else matches(path) if is_glob(path) else None
    if found is None:
        check_there(path)
    if not found:
        raise InputError(f"{path}: no file is named like that; check the pattern")
    return found


def _real(path: Path | None) -> Path | None:
    return None if path is None else path.resolve()


def _walk(folder: Path, below: Path, found: Found, output: Path | None, recursive: bool) -> None:
    """Adds what a folder holds, in the order of names; `below` is its place in the results."""
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; change its rights") from None
    for path in inside:
        if of_system(path):
            found.pass_over(path, HIDDEN)
        elif path.is_dir():
            _enter(path, below / path.name, found, output, recursive)
        elif path.suffix.lower() not in VIDEOS.union(PICTURES):
            found.pass_over(path, UNKNOWN)
        elif not path.is_file():
            found.pass_over(path, "no file that can be read")
        else:
            found.files.append((path, below / path.name))


def _enter(path: Path, below: Path, found: Found, output: Path | None, recursive: bool) -> None:
    if path.name.endswith(".part") or path.resolve() == output:
        found.pass_over(path, "results")
    elif not recursive:
        found.pass_over(path, "a folder (--recursive goes into it)")
    elif path.is_symlink():
        found.pass_over(path, "a link to a folder")
    else:
        _walk(path, below, found, output, recursive)


def every(
    found: Found,
    output: Path | None,
    suffix: Callable[[Path], str],
    work: Callable[[Path, Path | None], Done],
    *,
    overwrite: bool = False,
    failed: Failed | None = None,
) -> list[Done]:
    """The results of `work(path, target)` for all files that are not finished yet.

    A target keeps its file's place and name below `output`, with `suffix(path)` behind it where
    that is another one; without `output` it is None, which puts it beside its file. `failed` hears
    of files that cannot be done; without it the first one raises.
    """
    results, taken = [], {}
    if output is not None:
        _make(output)
    for path, place in found.files:
        try:
            target = None if output is None else _target(path, output / place, suffix(path))
            if target is not None and _same(target, path):
                raise OutputError(f"{target}: is the input itself; choose another output")
            if target is not None and target in taken:
                raise OutputError(f"{path}: its result {target} is that of {taken[target]}, too")
            if target is not None and target.exists() and not overwrite:
                found.pass_over(path, "finished before (--overwrite begins anew)")
                continue
            if target is not None:
                taken[target] = path
                _make(target.parent)
            results.append(work(path, target))
        except StoppedError:
            raise
        except JaxvsrError as error:
            if failed is None:
                raise
            failed(error)
    return results


def _target(path: Path, place: Path, ending: str) -> Path:
    same = ending == path.suffix.lower()
    return place if same else beside(place, "", place.name, ending)


def _same(target: Path, path: Path) -> bool:
    return target.exists() and target.samefile(path)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}; choose another output") from error
