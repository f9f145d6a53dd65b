"""How much memory there is, asked before work that may not fit."""

from __future__ import annotations

import os
from pathlib import Path

from cofactor.errors import ParameterError

__all__ = ["available_memory", "require_memory"]


def available_memory() -> int | None:
    """Bytes that this process can still get, by the machine and by its container's limit; None where unknown."""
    limits: list[int] = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        limits.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")))
    except (OSError, StopIteration):
        try:
            limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        except (AttributeError, ValueError, OSError):
            pass
    group = Path("/sys/fs/cgroup")
    try:
        limits.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return min(limits, default=None)


def require_memory(needed: int, what: str, way_out: str) -> None:
    """Raise before the work starts when it cannot fit.

    Raises
    ------
    ParameterError
        ``needed`` bytes exceed what is available; says how much and what to do.
    """
    available = available_memory()
    if available is not None and needed > available:
        raise ParameterError(
            f"{what} needs {needed / 2**30:,.1f} GiB of memory, {available / 2**30:,.1f} GiB are available; use {way_out}"
        )
