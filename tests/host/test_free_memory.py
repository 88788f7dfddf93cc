"""How much memory is free is read from what the system says, whichever control groups it has."""

import pytest

from jaxvsr.host import memory

GB = 1 << 30


def system(root, files: dict[str, object]):
    """A file tree like that of Linux."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


MACHINE = {"proc/meminfo": f"MemTotal: 99 kB\nMemFree: 5 kB\nMemAvailable: {8 * GB >> 10} kB"}
SECOND = {"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/memory.max": "max"}
SECOND |= {"sys/fs/cgroup/a/b/memory.current": GB, "sys/fs/cgroup/a/memory.max": 3 * GB}
SECOND |= {"sys/fs/cgroup/a/memory.current": 2 * GB}
FIRST = {"proc/self/cgroup": "7:blkio:/x\n4:cpu,memory:/box\n0::/"}
FIRST |= {"sys/fs/cgroup/memory/memory.limit_in_bytes": 1 << 63}
FIRST |= {"sys/fs/cgroup/memory/memory.usage_in_bytes": GB}
FIRST |= {"sys/fs/cgroup/memory/box/memory.limit_in_bytes": 2 * GB}
FIRST |= {"sys/fs/cgroup/memory/box/memory.usage_in_bytes": GB}
CACHE = {"sys/fs/cgroup/memory/box/memory.stat": f"cache 1\ntotal_inactive_file {GB // 2}"}


@pytest.mark.parametrize(
    "files, left",
    [
        (MACHINE, 8 * GB),
        (MACHINE | SECOND, GB),  # the group above has the limit
        (MACHINE | SECOND | {"sys/fs/cgroup/a/memory.stat": f"inactive_file {GB}"}, 2 * GB),
        (MACHINE | FIRST, GB),
        (MACHINE | FIRST | CACHE, GB + GB // 2),
        (FIRST, GB),
        (MACHINE | SECOND | {"sys/fs/cgroup/a/memory.current": 4 * GB}, 0),
        ({}, None),
        ({"proc/meminfo": "nonsense", "proc/self/cgroup": "0::/"}, None),
    ],
)
def test_the_least_that_any_limit_leaves(files, left, tmp_path):
    assert memory.free(system(tmp_path, files)) == left
