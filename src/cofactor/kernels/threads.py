"""How many threads to use: what the process may really have, not what the machine owns."""

from __future__ import annotations

import math
import os
from pathlib import Path

from cofactor.errors import ParameterError

__all__ = ["available_threads", "resolve_threads"]


def _cgroup_quota() -> float:
    """CPUs that the cgroup (a container's limit) grants; infinity without a limit."""
    v2, v1 = Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu")
    try:
        if v2.exists():
            quota, period = v2.read_text().split()
        else:
            quota, period = ((v1 / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return math.inf if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf


def available_threads() -> int:
    """Threads used by default: CPU affinity and container limit, at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, min(cpus, math.ceil(_cgroup_quota()) if math.isfinite(_cgroup_quota()) else cpus))


def resolve_threads(threads: int | None) -> int:
    """The given number, else ``COFACTOR_NUM_THREADS``, else :func:`available_threads`.

    Raises
    ------
    ParameterError
        Not a positive whole number.
    """
    asked = os.environ.get("COFACTOR_NUM_THREADS") if threads is None else threads
    if asked is None or asked == "":
        return available_threads()
    try:
        n = int(asked)
    except ValueError:
        n = 0
    if n < 1:
        raise ParameterError(f"threads must be a whole number of at least 1, got {asked!r}")
    return n
