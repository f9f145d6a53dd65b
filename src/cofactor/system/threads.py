"""How many threads to use: what the process may really have, not what the machine owns."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from cofactor.checks import check_at_least
from cofactor.errors import ParameterError
from cofactor.system.cgroup import groups

__all__ = ["affinity", "available_threads", "cgroup_quota", "resolve_threads"]

_MOST = 1024  # threads that any machine can start, and that a model may bring along from a larger one


def cgroup_quota() -> float:
    """CPUs that the control group (a container's limit) grants; infinity without a limit."""
    limits = [_quota((group / "cpu.max").read_text().split()) for group in groups() if (group / "cpu.max").exists()]
    v1 = Path("/sys/fs/cgroup/cpu")
    if not limits and v1.exists():
        limits = [_quota([_text(v1 / f"cpu.cfs_{name}_us") for name in ("quota", "period")])]
    return min(limits, default=math.inf)


def _quota(words: list[str]) -> float:
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0].isdecimal() else math.inf


def _text(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def affinity() -> int:
    """CPUs that this process may run on; all of the machine where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def available_threads() -> int:
    """Threads used by default: CPU affinity and container limit, at least 1."""
    quota = cgroup_quota()
    return max(1, min(affinity(), math.ceil(quota) if math.isfinite(quota) else affinity()))


def resolve_threads(threads: int | None) -> int:
    """The given number, else ``COFACTOR_NUM_THREADS``, else :func:`available_threads`.

    Raises
    ------
    ParameterError
        Not a positive whole number, or so large that the system could not start them: above 1,024 and 64 for each of
        the machine's CPUs.
    """
    if threads is not None:
        return _positive("threads", threads)
    text = os.environ.get("COFACTOR_NUM_THREADS", "")
    if not text:
        return available_threads()
    return _positive("COFACTOR_NUM_THREADS", int(text) if text.isdecimal() else text)


def _positive(name: str, value: Any) -> int:  # noqa: ANN401
    check_at_least(name, value, 1, whole=True)
    if value > _MOST and value > (most := max(_MOST, 64 * (os.cpu_count() or 1))):  # asked last: it reads files
        raise ParameterError(
            f"{name} must be at most {most}, got {value}; {available_threads()} are available to this process, and "
            "more than that are no faster"
        )
    return int(value)
