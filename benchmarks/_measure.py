"""What the benchmarks share: interleaved timing, Markdown tables, peak memory of fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def seconds_of(step: Callable[[], object]) -> float:
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def interleaved(
    steps: Mapping[str, Callable[[], object]], rounds: int, ceilings: Mapping[str, Callable[[], float]] | None = None
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of every step and figures of every ceiling, taken in turn so that a drift of the machine meets all."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    figures: dict[str, list[float]] = {name: [] for name in ceilings or {}}
    for _ in range(rounds):
        for name, step in steps.items():
            seconds[name].append(seconds_of(step))
        for name, ceiling in (ceilings or {}).items():
            figures[name].append(ceiling())
    return seconds, figures


def print_header(names: Iterable[str], n_texts: int = 0) -> None:
    """Start a Markdown table; all but the first ``n_texts`` columns hold numbers."""
    names = list(names)
    print(f"| {' | '.join(names)} |")
    print("|" + "---|" * n_texts + "---:|" * (len(names) - n_texts), flush=True)


def print_row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def peak_memory() -> int:
    """Bytes that this process held at most."""
    try:  # the peak that getrusage tells starts, on Linux, from that of the parent
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def in_fresh_process(script: str, *arguments: object) -> Any:
    """Run a script; what it printed last, as JSON."""
    done = subprocess.run([sys.executable, script, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])
