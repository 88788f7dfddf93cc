"""Names of files: as FFmpeg must be told them, as people read them, as file systems take them."""

import glob
import hashlib
import os
import re
import unicodedata
from contextlib import suppress
from pathlib import Path

LONGEST = 255  # bytes of a name, where the system does not say
UNSEEN = ("Cc", "Cs", "Zl", "Zp")  # control characters, bytes that are no text, line ends
OF_SYSTEMS = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin", "lost+found"}
OF_SYSTEMS |= {"system volume information", "__macosx", "@eadir"}


def url(path) -> str:
    """A path as FFmpeg takes it for a file, whatever is in it: "Re: film.mp4" is no protocol."""
    return f"file:{os.fspath(path)}"


def of_system(path: Path) -> bool:
    """Whether a file or folder is hidden or a system's own: ._x, .DS_Store, Thumbs.db."""
    name = path.name.lower()
    return name.startswith((".", "~$")) or name in OF_SYSTEMS


def visible(folder: Path) -> list[Path]:
    """Every file and folder below `folder` that is not a system's own, nor in such a folder."""
    hidden = lambda path: any(of_system(Path(part)) for part in path.relative_to(folder).parts)
    return sorted(path for path in folder.rglob("*") if not hidden(path))


def is_glob(path: Path) -> bool:
    """Whether a path has marks that a shell would expand."""
    return any(mark in str(path) for mark in "*?[")


def matches(pattern: Path) -> list[Path]:
    """What a pattern with *, ?, [ab] or ** names, but for hidden files, in natural order."""
    found = map(Path, glob.glob(os.path.expanduser(pattern), recursive=True))
    return sorted((path for path in found if not of_system(path)), key=natural)


def natural(path: Path) -> list:
    """A key by which frame 10 comes after frame 9, however the numbers are written."""
    parts = re.split(r"(\d+)", str(path))
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def shown(text: str) -> str:
    """A text in one line: what would break the line, or a terminal, is written with a backslash."""
    return "".join(_escaped(c) if unicodedata.category(c) in UNSEEN else c for c in text)


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]


def beside(path: Path, head: str, core: str, tail: str) -> Path:
    """The file `head + core + tail` in the folder of `path`.

    Where that is longer than names may be there, the end of `core` gives way to a digest of it.
    """
    name = head + core + tail
    spare = _longest(path.parent) - len(os.fsencode(name))
    if spare < 0:
        encoded = os.fsencode(core)
        digest = f"~{hashlib.sha256(encoded).hexdigest()[:8]}"
        kept = encoded[: max(len(encoded) + spare - len(digest), 0)].decode("utf-8", "ignore")
        name = head + kept + digest + tail
    return path.with_name(name)


def _longest(folder: Path) -> int:
    with suppress(OSError, ValueError, AttributeError):
        return os.pathconf(folder, "PC_NAME_MAX")
    return LONGEST
