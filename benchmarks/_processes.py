"""Processes that come from this one: what they hold of their own, and what they take of the processors."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def private(pid: int) -> int:
    """Bytes of a process that no other shares; pages of the object store (in /dev/shm) are its node's."""
    total, counts = 0, True
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            first = line.partition(" ")[0]
            if first.startswith("Private_"):
                total += 1024 * int(line.split()[1]) if counts else 0
            elif not first.endswith(":"):
                counts = "/dev/shm" not in line
    return total


def cpu_seconds(pid: int) -> float:
    """Seconds of the processors that a process has had."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def named(name: str) -> list[int]:
    """The processes that call themselves so and come from this one: others may have clusters here."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            pid = int(path.parent.name)
            if path.read_bytes().startswith(name.encode()) and _comes_from(pid, os.getpid()):
                found.append(pid)
    return sorted(found)


def _comes_from(pid: int, ancestor: int) -> bool:
    while pid > 1 and pid != ancestor:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid == ancestor


@contextlib.contextmanager
def peaks(pids: Callable[[], list[int]], of: Callable[[int], float] = private) -> Iterator[dict[int, float]]:
    """The most that each of some processes holds of its own, or what else is asked for, while the block runs."""
    most: dict[int, float] = {}
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            for pid in pids():
                most[pid] = max(most.get(pid, 0), of(pid))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield most
    finally:
        done.set()
        looker.join()
