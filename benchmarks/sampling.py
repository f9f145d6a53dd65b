"""Negative samples a second, and the same with NumPy: draw, look up, draw again what was seen.

python benchmarks/sampling.py                  # 100 M negatives for 17.4 M interactions of 138,000 x 27,000
python benchmarks/sampling.py --each 1 --threads 1
"""

from __future__ import annotations

import argparse
import statistics
from typing import TYPE_CHECKING

import numpy as np
from _measure import interleaved, print_header, print_row

import cofactor as cf
from cofactor.kernels import native, on
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from cofactor.kernels.arrays import Rows
    from cofactor.kernels.csr import CSR


def with_numpy(x: CSR, users: Rows, n: int, rng: np.random.Generator, weights: np.ndarray | None = None) -> Rows:
    """What a training loop writes: one sorted array of all pairs, and rejection."""
    seen = x.row_index().astype(np.int64) * x.n_columns + x.indices
    cumulated = None if weights is None else np.cumsum(weights / weights.sum())

    def draw(size: int) -> Rows:
        if cumulated is None:
            return rng.integers(0, x.n_columns, size, dtype=np.int32)
        return np.minimum(np.searchsorted(cumulated, rng.random(size)), x.n_columns - 1).astype(np.int32)

    of = np.repeat(users, n)
    out = draw(len(of))
    left = np.arange(len(of))
    while len(left):
        key = of[left].astype(np.int64) * x.n_columns + out[left]
        left = left[seen[np.minimum(np.searchsorted(seen, key), len(seen) - 1)] == key]
        out[left] = draw(len(left))
    return out.reshape(len(users), n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=138_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--interactions", type=int, default=17_400_000)
    parser.add_argument("--each", type=int, default=6, help="negatives for every interaction")
    parser.add_argument("--numpy", type=int, default=2_000_000, help="that NumPy draws; the time is scaled up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=available_threads())
    args = parser.parse_args()
    x = cf.datasets.synthetic(args.users, args.items, args.interactions, seed=0).user_items
    users, kernels, rng = x.row_index(), on("cpu"), np.random.default_rng(0)
    weights = np.bincount(x.indices, minlength=x.n_columns) ** 0.75
    alias = kernels.alias_table(weights)
    n, some = len(users) * args.each, rng.choice(users, max(args.numpy // args.each, 1))
    print(f"{n:,} negatives, {args.threads} threads, CPU level {native.level}\n")
    options = {"n": args.each, "shape": x.shape, "threads": args.threads}
    steps = {
        "exact": lambda: kernels.sample_negatives(users, seen=x, **options),
        "exact, by popularity": lambda: kernels.sample_negatives(users, seen=x, alias=alias, **options),
        "uniform": lambda: kernels.sample_negatives(users, **options),
        "popularity": lambda: kernels.sample_negatives(users, alias=alias, **options),
        "NumPy, exact": lambda: with_numpy(x, some, args.each, rng),
        "NumPy, exact, by popularity": lambda: with_numpy(x, some, args.each, rng, weights),
    }
    seconds, _ = interleaved(steps, args.rounds)
    print_header(["sampler", "s", "ns each"], 1)
    for name, s in seconds.items():
        drawn = len(some) * args.each if name.startswith("NumPy") else n
        each = statistics.median(s) / drawn
        print_row(name, f"{each * n:.2f}", f"{each * 1e9:.1f}")


if __name__ == "__main__":
    main()
