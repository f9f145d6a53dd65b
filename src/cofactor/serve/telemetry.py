"""What the service tells of itself: counters for Prometheus, shared by all workers, and a log line for each request."""

from __future__ import annotations

import json
import logging
import mmap
import os
import sys
import time
from bisect import bisect_left
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cofactor.serve.answers import Listed

__all__ = ["ROUTES", "Telemetry", "request_id", "set_up_logs"]

ROUTES = (
    "/",
    "/about",
    "/availability",
    "/docs",
    "/events",
    "/explain",
    "/health/live",
    "/health/ready",
    "/items",
    "/metrics",
    "/openapi.json",
    "/predict",
    "/recommend",
    "/reload",
    "/rollback",
    "/search",
    "/similar",
    "/user",
    "/users",
    "other",
)
_CLASSES = ("2xx", "3xx", "4xx", "5xx")
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_COUNTERS = {
    "cofactor_lists_total": "Lists made, by where they come from.",
    "cofactor_unknown_ids_total": "Ids of requests that the model does not know.",
    "cofactor_model_switches_total": "Times that another model took over in this worker.",
}
_SOURCES = ("model", "fold_in", "popular")
_WORKERS = 256

_log = logging.getLogger("cofactor.serve")


class Telemetry:
    """Counters of this worker, in memory that all workers of the service share.

    Every worker writes its own row and a scrape adds up all rows: it does not matter which worker answers it. A worker
    that died leaves its row to the one that takes its place, so that counters never go back.

    Parameters
    ----------
    folder : path, optional
        Where the workers of one service meet; none for a single process.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._at: dict[tuple[str, ...], int] = {}
        self._begins: dict[tuple[str, str], int] = {}  # where histograms begin
        for route, group in product(ROUTES, _CLASSES):
            self._add("requests", route, group)
        for route in ROUTES:
            self._add_histogram("seconds", route, _SECONDS)
        self._add_histogram("batch", "", _SIZES)
        for source in _SOURCES:
            self._add("lists", source)
        self._add("unknown")
        self._add("switches")
        size = len(self._at)
        self._all, self._own = _shared(folder, size)

    def _add(self, *key: str) -> None:
        self._at[key] = len(self._at)

    def _add_histogram(self, name: str, label: str, bounds: tuple[float, ...]) -> None:
        for bound in (*bounds, "+Inf"):
            self._add(name, label, str(bound))
        self._add(name, label, "sum")
        self._begins[name, label] = self._at[name, label, "+Inf"] - len(bounds)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        own = self._own
        own[self._at["requests", route, _CLASSES[min(max(status // 100, 2), 5) - 2]]] += 1
        begin = self._begins["seconds", route]
        own[begin + bisect_left(_SECONDS, seconds)] += 1
        own[begin + len(_SECONDS) + 1] += seconds

    def batch(self, size: int) -> None:
        """Count questions that were answered by one call."""
        begin = self._begins["batch", ""]
        self._own[begin + bisect_left(_SIZES, size)] += 1
        self._own[begin + len(_SIZES) + 1] += size

    def listed(self, answers: Iterable[Listed]) -> None:
        """Count lists, and the ids of their requests that the model does not know."""
        own, at = self._own, self._at
        for answer in answers:
            own[at["lists", answer.source]] += 1
            if answer.unknown:
                own[at["unknown",]] += len(answer.unknown)

    def switched(self) -> None:
        """Count that another model took over."""
        self._own[self._at["switches",]] += 1

    def text(self, models: Iterable[tuple[str, str, bool]], more: Iterable[tuple[str, str, str, float]] = ()) -> str:
        """Everything, as Prometheus reads it.

        Parameters
        ----------
        models : pairs of name and version
            That this worker answers with.
        more : (name, type, help, value)
            Of other parts of the service.
        """
        total = self._all.sum(axis=0)
        lines: list[str] = []

        def head(name: str, kind: str, text: str) -> None:
            lines.extend((f"# HELP {name} {text}", f"# TYPE {name} {kind}"))

        def value(*key: str) -> float:
            return float(total[self._at[key]])

        name = "cofactor_requests_total"
        head(name, "counter", "Requests answered, by route and class of status.")
        for route, group in product(ROUTES, _CLASSES):
            if n := value("requests", route, group):
                lines.append(f'{name}{{route="{route}",status="{group}"}} {n:.0f}')
        head("cofactor_request_seconds", "histogram", "Time from the first byte of a request to its answer.")
        for route in ROUTES:
            lines += self._histogram("cofactor_request_seconds", "seconds", route, _SECONDS, total)
        head("cofactor_batch_questions", "histogram", "Questions that were answered by one call of the model.")
        lines += self._histogram("cofactor_batch_questions", "batch", "", _SIZES, total)
        name = "cofactor_lists_total"
        head(name, "counter", _COUNTERS[name])
        lines += [f'{name}{{source="{source}"}} {value("lists", source):.0f}' for source in _SOURCES]
        for name, key in (("cofactor_unknown_ids_total", "unknown"), ("cofactor_model_switches_total", "switches")):
            head(name, "counter", _COUNTERS[name])
            lines.append(f"{name} {value(key):.0f}")
        head("cofactor_model_info", "gauge", "Models that answer, by name and version.")
        told = list(models)
        lines += [f'cofactor_model_info{{name="{_label(n)}",version="{_label(v)}"}} 1' for n, v, _ in told]
        head("cofactor_model_refused", "gauge", "Whether the newest model of a name was refused; /about tells why.")
        lines += [f'cofactor_model_refused{{name="{_label(n)}"}} {int(refused)}' for n, _, refused in told]
        for name, kind, text, number in more:
            head(name, kind, text)
            lines.append(f"{name} {number:g}")
        return "\n".join([*lines, ""])

    def _histogram(
        self, name: str, key: str, route: str, bounds: tuple[float, ...], total: np.ndarray[Any, Any]
    ) -> list[str]:
        begin = self._begins[key, route]
        counts = np.cumsum(total[begin : begin + len(bounds) + 1])
        if not counts[-1]:
            return []
        label = f'route="{route}",' if route else ""
        plain = f'{{route="{route}"}}' if route else ""
        lines = [
            f'{name}_bucket{{{label}le="{bound}"}} {n:.0f}' for bound, n in zip((*bounds, "+Inf"), counts, strict=True)
        ]
        return [
            *lines,
            f"{name}_sum{plain} {total[begin + len(bounds) + 1]:g}",
            f"{name}_count{plain} {counts[-1]:.0f}",
        ]


def _shared(folder: str | Path | None, size: int) -> tuple[np.ndarray[Any, Any], Any]:
    """Rows of all workers, and a view of a row that no other living process writes."""
    if folder is None:
        rows = np.zeros((1, size))
        return rows, memoryview(rows[0])
    import fcntl  # several workers share a listening socket, which Windows has not

    path = Path(folder) / "counters"
    n_bytes = _WORKERS * size * 8
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(file, n_bytes)
    rows = np.frombuffer(mmap.mmap(file, n_bytes), np.float64).reshape(_WORKERS, size)
    for worker in range(_WORKERS):
        try:  # held as long as the process lives, however it ends
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, worker)
        except OSError:
            continue
        return rows, memoryview(rows[worker])
    raise RuntimeError(f"more than {_WORKERS} workers")


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


_run, _count = os.urandom(6).hex(), 0


def request_id(given: bytes | None) -> str:
    """The client's id of a request where it is a short plain word, else a new one."""
    global _count  # noqa: PLW0603
    if given and len(given) <= 64 and given.replace(b"-", b"").replace(b"_", b"").isalnum():
        return given.decode()
    _count += 1
    return f"{_run}-{_count:x}"


class _Json(logging.Formatter):
    """A log line as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)


def set_up_logs(level: str = "info") -> None:
    """Log as JSON lines to the standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    for name in ("cofactor", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())
