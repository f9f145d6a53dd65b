"""What a sweep of conjugate gradient takes a pair, in 32 and in 16 bits, with fixed sides from a cache to memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from _measure import print_header, print_row

from cofactor.kernels import on
from cofactor.kernels.csr import CSR

if TYPE_CHECKING:
    import argparse

ROWS, LENGTH = 10_000, 100
FIXED = (200, 2_000, 27_000, 100_000)  # rows of the fixed side
OPTIONS: dict[str, Any] = {
    "alpha": 1.0,
    "unobserved_weight": 0.1,
    "regularization": 0.01,
    "regularization_exponent": 1.0,
    "solver": "cg",
    "cg_steps": 3,
}


def run(args: argparse.Namespace) -> None:
    """Processor nanoseconds a pair, the least of rounds taken in turn, and the GFLOP/s of the four passes."""
    kernels, rng = on("cpu"), np.random.default_rng(0)
    print(f"{ROWS:,} histories of {LENGTH} entries, one thread\n")
    print_header(["factors", "fixed rows", "MiB", "float32 ns", "bfloat16 ns", "ratio", "bfloat16 GFLOP/s"])
    for factors in args.factors:
        for n in FIXED:
            columns = np.concatenate([np.sort(rng.choice(n, LENGTH, replace=False)) for _ in range(ROWS)])
            indptr, ones = np.arange(ROWS + 1, dtype=np.int64) * LENGTH, np.ones(len(columns), np.float32)
            history = CSR(indptr, columns.astype(np.int32), ones, n)
            fixed, solved = 0.05 * rng.standard_normal((n, factors), np.float32), np.zeros((ROWS, factors), np.float32)
            gramian = kernels.to_principal_axes(fixed, solved, threads=1)
            least = {"float32": np.inf, "bfloat16": np.inf}
            for _ in range(args.iterations):
                for gather, before in least.items():
                    solved[:] = 0
                    begin = time.process_time()
                    kernels.als_sweep(history, solved, fixed, gramian, gather=gather, threads=1, **OPTIONS)
                    least[gather] = min(before, (time.process_time() - begin) / len(columns) * 1e9)
            wide, narrow = least.values()
            rate = 4 * 4 * factors / narrow  # a dot product and a sum in each of the passes
            mib = f"{4 * n * factors / 2**20:.1f}"
            print_row(
                factors, f"{n:,}", mib, *(f"{x:.0f}" for x in (wide, narrow)), f"{wide / narrow:.2f}", f"{rate:.0f}"
            )
