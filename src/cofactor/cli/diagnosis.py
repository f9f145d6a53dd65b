"""What cofactor finds on this machine, and what would slow it down."""

from __future__ import annotations

import math
import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cofactor.kernels import native
from cofactor.system.memory import available_memory
from cofactor.system.threads import affinity, available_threads, cgroup_quota, resolve_threads

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Diagnosis", "Fact", "examine"]

Fact: TypeAlias = "str | int | float | None"

_DEPENDENCIES = ("numpy", "scipy", "polars", "safetensors", "tqdm", "typer", "rich", "jinja2")
_LOW_MEMORY = 2 * 2**30
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


@dataclass(frozen=True)
class Diagnosis:
    """The state of an installation.

    Attributes
    ----------
    facts : dict
        Facts by name, by section: ``versions``, ``cpu``, ``threads``, ``memory``, ``blas``, ``extras``.
    warnings : tuple of str
        What would slow the user down, with the way out; empty if nothing would.
    """

    facts: dict[str, dict[str, Fact]]
    warnings: tuple[str, ...]


def examine() -> Diagnosis:
    """Collect the facts; takes milliseconds and changes nothing."""
    facts: dict[str, dict[str, Fact]] = {
        "versions": _versions(),
        "cpu": _cpu(),
        "threads": _threads(),
        "memory": {"available": available_memory()},
        "blas": _blas(),
        "extras": _extras(),
    }
    return Diagnosis(facts, tuple(_slow_level()) + tuple(_few_threads()) + tuple(_odd_variables()) + tuple(_memory()))


def _versions() -> dict[str, Fact]:
    from cofactor.version import __version__

    names = {name: _version(name) for name in _DEPENDENCIES}
    return {"cofactor": __version__, "python": platform.python_version(), "system": platform.platform(), **names}


def _cpu() -> dict[str, Fact]:
    return {
        "level": native.level,
        "supported": ", ".join(native.supported_levels()),
        "COFACTOR_CPU": os.environ.get("COFACTOR_CPU"),
        "machine": platform.machine(),
    }


def _threads() -> dict[str, Fact]:
    quota = cgroup_quota()
    return {
        "used": resolve_threads(None),
        "available": available_threads(),
        "cpus": os.cpu_count(),
        "affinity": affinity(),
        "container_limit": quota if math.isfinite(quota) else None,
        **{name: os.environ.get(name) for name in ("COFACTOR_NUM_THREADS", *_THREAD_VARIABLES)},
    }


def _blas() -> dict[str, Fact]:
    config: Any = np.show_config(mode="dicts")
    found = config.get("Build Dependencies", {}).get("blas", {})
    return {"name": found.get("name"), "version": found.get("version"), "build": found.get("openblas configuration")}


def _extras() -> dict[str, Fact]:
    """What each extra still lacks; None where everything is there."""
    try:
        lines = requires("cofactor") or []
    except PackageNotFoundError:  # run from a source tree that was never installed
        return {}
    packages: dict[str, list[str]] = {}
    for line in lines:
        if match := re.match(r"([\w.-]+)(?:\[([\w,]+)\])?.*extra == \"(\w+)\"", line):
            name, nested, extra = match.groups()
            own = nested and name == "cofactor"  # cofactor[tune], as against psycopg[binary]
            packages.setdefault(extra, []).extend((f"[{e}]" for e in nested.split(",")) if own else (name,))
    return {extra: ", ".join(_missing(names, packages)) or None for extra, names in packages.items()}


def _missing(names: Iterable[str], packages: dict[str, list[str]]) -> list[str]:
    missing: list[str] = []
    for name in names:
        if name.startswith("["):
            missing += _missing(packages[name[1:-1]], packages)
        elif _version(name) is None:
            missing.append(name)
    return missing


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _slow_level() -> Iterable[str]:
    best, asked = native.supported_levels()[-1], os.environ.get("COFACTOR_CPU")
    if native.level == "none":
        yield f"COFACTOR_CPU={asked!r} is no level of this CPU, so that no kernel can run; unset it"
    elif native.level != best:
        yield (
            f"the {native.level} kernels are used although this CPU runs {best}; unset COFACTOR_CPU (it is {asked!r})"
        )
    elif best == "baseline" and platform.machine().lower() in ("x86_64", "amd64"):
        yield "this CPU, or the virtual machine's view of it, has no AVX2; training is several times slower"


def _few_threads() -> Iterable[str]:
    used, allowed, owned, quota = resolve_threads(None), available_threads(), os.cpu_count() or 1, cgroup_quota()
    asked = os.environ.get("COFACTOR_NUM_THREADS")
    if asked and used < allowed:
        yield f"COFACTOR_NUM_THREADS={asked} leaves {allowed - used} of {allowed} available CPUs idle"
    if asked and used > allowed:
        yield f"COFACTOR_NUM_THREADS={asked} is more than the {allowed} available CPUs; threads will wait"
    if quota < affinity():
        yield f"the container's limit grants {quota:g} of {affinity()} CPUs; raise it (docker: --cpus) for more speed"
    if affinity() < owned:
        yield f"this process may run on {affinity()} of {owned} CPUs only (CPU affinity, see taskset)"
    if allowed == 1:
        yield "only one CPU is available; training is not parallel"


def _odd_variables() -> Iterable[str]:
    for name in _THREAD_VARIABLES:
        value = os.environ.get(name)
        if value is None:
            continue
        if not value.isdigit() or value == "0":
            yield f"{name}={value!r} is not a number of threads; unset it"
        elif int(value) > available_threads():
            yield f"{name}={value} is more than the {available_threads()} available CPUs; lower or unset it"
        elif name == "POLARS_MAX_THREADS" and int(value) < available_threads():
            yield f"{name}={value} slows reading and aggregating events; {available_threads()} CPUs are available"


def _memory() -> Iterable[str]:
    available = available_memory()
    if available is not None and available < _LOW_MEMORY:
        yield f"only {available / 2**30:.1f} GiB of memory are available; large logs will not fit"
