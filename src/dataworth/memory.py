"""Host memory: what this process holds, and what the machine and the cgroup still have."""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
LIMITS = {  # file of the limit -> file of the usage; cgroup v2, cgroup v1
    "memory.max": "memory.current",
    "memory.limit_in_bytes": "memory.usage_in_bytes",
}
CACHED = [  # pages of files, which are given back when memory is short; v1 counts subgroups apart
    re.compile(rf"^{prefix}(?:in)?active_file (\d+)$", re.MULTILINE) for prefix in ("total_", "")
]


def private_bytes() -> int:
    """Memory of this process alone, in bytes; its peak where the system does not tell."""
    with suppress(OSError):
        resident, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def available_bytes() -> int:
    """Memory that processes can take without swapping or exceeding a limit, in bytes."""
    with suppress(OSError, TypeError):
        match = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
        return min([int(match[1]) * 1024, *_left_in_cgroups()])  # type: ignore[index]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _left_in_cgroups() -> Iterator[int]:
    """Yield what each cgroup with a limit that this process belongs to has left."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = CGROUPS / "memory" if controllers else CGROUPS
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                yield from _left(folder)


def _left(folder: Path) -> Iterator[int]:
    for limit_file, usage_file in LIMITS.items():
        with suppress(OSError, ValueError):  # no such file, or "max"
            limit = int((folder / limit_file).read_text())
            usage = int((folder / usage_file).read_text())
            stat = (folder / "memory.stat").read_text()
            cached = next(filter(None, (pattern.findall(stat) for pattern in CACHED)), [])
            yield limit - usage + sum(map(int, cached))
