"""What the container (control group) that this process runs in may use, on Linux."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["groups"]

_ROOT = Path("/sys/fs/cgroup")


def groups() -> Iterator[Path]:
    """Folders of this process's group and of those around it (cgroup v2): the tightest limit of them all holds."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    name = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    group = _ROOT / name
    yield group
    while group != _ROOT:
        group = group.parent
        yield group
