"""What this machine can do at most: matrix products, random gathers and copies on 1 ... n threads.

    pip install '.[bench]'
    python benchmarks/ceiling.py                # a Markdown table, a few seconds

The other benchmarks import these functions and print their share of the figures, measured between their own runs since
machines drift. Every figure is a median.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from _measure import print_header, print_row
from threadpoolctl import threadpool_limits

from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

_SIDE = 2048  # of the square matrices: 17 GFLOP a product
_TABLE_ROWS = 1 << 22  # of 128 bytes: 512 MB, more than a last-level cache
_GATHERED = 1 << 20  # rows a thread
_PIECE = 4096  # rows gathered at once, so that what is written stays in the cache
_COPIED = 1 << 26  # floats a thread: 256 MB


def sgemm(threads: int, repeats: int = 3) -> float:
    """GFLOP/s of float32 matrix products, a product for every thread at the same time."""
    left = np.ones((_SIDE, _SIDE), np.float32)
    products = [np.empty_like(left) for _ in range(threads)]
    with threadpool_limits(1, "blas"):
        seconds = _together(lambda thread: np.matmul(left, left, out=products[thread]), threads, repeats)
    return 2 * threads * _SIDE**3 / seconds / 1e9


def gathers(threads: int, repeats: int = 3) -> float:
    """Million random rows of 128 bytes read per second, from a table that no cache holds."""
    table, rows = _gather_table()
    targets = [np.empty((_PIECE, table.shape[1]), np.float32) for _ in range(threads)]

    def gather(thread: int) -> None:
        for piece in rows[thread % len(rows)]:
            np.take(table, piece, axis=0, out=targets[thread], mode="clip")

    return threads * _GATHERED / _together(gather, threads, repeats) / 1e6


def copies(threads: int, repeats: int = 3) -> float:
    """GB copied per second: as much is read, and as much written."""
    arrays = [(np.ones(_COPIED, np.float32), np.zeros(_COPIED, np.float32)) for _ in range(threads)]
    seconds = _together(lambda thread: np.copyto(arrays[thread][1], arrays[thread][0]), threads, repeats)
    return threads * _COPIED * 4 / seconds / 1e9


@cache
def _gather_table() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    table = np.ones((_TABLE_ROWS, 32), np.float32)
    return table, rng.integers(0, _TABLE_ROWS, (8, _GATHERED // _PIECE, _PIECE))


def _together(work: Callable[[int], object], threads: int, repeats: int) -> float:
    """Median seconds until all threads have done their work, started at one moment; one round warms up."""
    barrier = threading.Barrier(threads + 1)

    def start(thread: int) -> None:
        barrier.wait()
        work(thread)

    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats + 1):
            running = [pool.submit(start, thread) for thread in range(threads)]
            barrier.wait()
            begin = time.perf_counter()
            for future in running:
                future.result()
            seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=available_threads(), help="the most threads tried")
    args = parser.parse_args()
    print_header(["threads", "sgemm GFLOP/s", "128-byte rows gathered, M/s", "copied GB/s"])
    for threads in range(1, args.threads + 1):
        figures = sgemm(threads, 5), gathers(threads, 5), copies(threads, 5)
        print_row(threads, f"{figures[0]:.0f}", f"{figures[1]:.1f}", f"{figures[2]:.1f}")


if __name__ == "__main__":
    main()
