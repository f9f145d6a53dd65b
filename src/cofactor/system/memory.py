"""How much memory there is, asked before work that may not fit, and what is given back after it."""

from __future__ import annotations

import ctypes
import gc
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cofactor.errors import ParameterError
from cofactor.system.cgroup import groups

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["available_memory", "give_back", "give_back_arrays", "parse_bytes", "peak_growth", "require_memory"]

_MMAP_THRESHOLD, _LARGE = -3, 1 << 20  # of mallopt, and bytes


def available_memory() -> int | None:
    """Bytes that this process can still get, by the machine and by its container's limit; None where unknown."""
    return min((limit for limit in (_machine(), _container()) if limit is not None), default=None)


def _machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None


@contextmanager
def peak_growth() -> Iterator[list[int]]:
    """Find how many bytes the process held at most beyond what it holds at the beginning of the block.

    The list that it gives has the number in it after the block; it stays empty where the system does not tell (only
    Linux does). What the process had freed and not given back to the system counts as held before, so that the number
    is a lower bound of what the block needs.
    """
    found: list[int] = []
    before: int | None = None
    with suppress(OSError, StopIteration, ValueError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _status("VmRSS")
    try:
        yield found
    finally:
        with suppress(OSError, StopIteration, ValueError):
            if before is not None:
                found.append(max(0, _status("VmHWM") - before))


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _container() -> int | None:
    return min((free for group in groups() if (free := _free(group)) is not None), default=None)


def _free(group: Path) -> int | None:
    try:
        free = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
        lines = (group / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no cgroup v2, or no limit ("max")
        return None
    # Cached files count as used, but the kernel gives them back when asked.
    cached = (line.split() for line in lines if line.startswith(("inactive_file ", "active_file ")))
    return free + sum(int(size) for _, size in cached)


def give_back() -> None:
    """Give the system what this process has freed but keeps for itself, where the C library can: after large work."""
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):  # of glibc alone
        ctypes.CDLL(None).malloc_trim(0)


def give_back_arrays() -> None:
    """Let the system have every large array as soon as it is freed, where the C library can.

    glibc does so at first, but keeps those of up to 32 MiB once it has seen one go.
    """
    with suppress(OSError, AttributeError, TypeError):  # of glibc alone
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)


def require_memory(needed: int, what: str, way_out: str, available: int | None = None) -> None:
    """Raise before the work starts when it cannot fit into what is available, by default of the machine's memory.

    Raises
    ------
    ParameterError
        ``needed`` bytes exceed what is available; says how much and what to do.
    """
    available = available_memory() if available is None else available
    if available is not None and needed > available:
        raise ParameterError(
            f"{what} needs {needed / 2**30:,.1f} GiB of memory, "
            f"{available / 2**30:,.1f} GiB are available; use {way_out}"
        )


def parse_bytes(name: str, value: int | str) -> int:
    """Read an amount of memory: bytes, or text with a unit such as ``"4GB"`` (10^9) or ``"4GiB"`` (2^30).

    Raises
    ------
    ParameterError
        ``name`` is neither, or not positive.
    """
    number = value
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?))?B?\s*", value, re.IGNORECASE)
        power = "KMGT".index(match[2].upper()) + 1 if match and match[2] else 0
        number = int(float(match[1]) * (1024 if match[3] else 1000) ** power) if match else 0
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ParameterError(
            f"{name}={value!r}; it must be a positive number of bytes, or text such as '4GB' or '4GiB'"
        )
    return number
