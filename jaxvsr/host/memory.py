"""How much memory a process may still take, by what its system says; no killer is waited for."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PAGE_CACHE = ("inactive_file", "total_inactive_file")  # counted as used, given back on demand


def free(root: Path = Path("/")) -> int | None:
    """Bytes that are free: the least of what the machine and every control group leave.

    None where the system does not say. `root` is where /proc and /sys lie.
    """
    room = [bytes_ for bytes_ in (_of_machine(root), *_of_groups(root)) if bytes_ is not None]
    return max(min(room), 0) if room else None


def _of_machine(root: Path) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        facts = dict(line.split(":", 1) for line in lines if ":" in line)
        return int(facts.get("MemAvailable", facts.get("MemFree", "")).split()[0]) << 10
    return None


def _of_groups(root: Path) -> Iterator[int | None]:
    """What the process's control groups leave, versions 1 and 2, from its own to the outermost."""
    groups = ""
    with suppress(OSError):
        groups = (root / "proc/self/cgroup").read_text()
    for line in groups.splitlines():
        _, kinds, name = line.split(":", 2)
        if kinds == "":
            files = "memory.max", "memory.current"
            yield from _upwards(root / "sys/fs/cgroup", name, files)
        elif "memory" in kinds.split(","):
            files = "memory.limit_in_bytes", "memory.usage_in_bytes"
            yield from _upwards(root / "sys/fs/cgroup/memory", name, files)


def _upwards(mount: Path, name: str, files: tuple[str, str]) -> Iterator[int | None]:
    inside = Path(name.lstrip("/"))
    for group in (inside, *inside.parents):
        yield _left(mount / group, *files)


def _left(group: Path, limit: str, usage: str) -> int | None:
    """A group's limit less its usage; None where it has no limit."""
    with suppress(OSError, ValueError):
        most, used = (int((group / name).read_text()) for name in (limit, usage))
        return most - used + _reclaimable(group)
    return None


def _reclaimable(group: Path) -> int:
    """Bytes of files that the system keeps only as long as nobody asks for memory."""
    with suppress(OSError, ValueError):
        rows = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        facts = {row[0]: int(row[1]) for row in rows if len(row) == 2}
        return next((facts[name] for name in reversed(PAGE_CACHE) if name in facts), 0)
    return 0
