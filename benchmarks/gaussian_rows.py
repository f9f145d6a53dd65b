"""Rows of normal distributions, solved and drawn: a sweep over both sides, and NumPy's LAPACK on a part of it.

    python benchmarks/gaussian_rows.py                     # 10 M ratings of 60,000 users and 20,000 items, 64 factors
    python benchmarks/gaussian_rows.py --factors 32 --threads 1

NumPy gathers, multiplies (BLAS) and solves (LAPACK) row by row with as many threads as it likes; it is run on
``--part`` of the users (a fiftieth) and multiplied.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from _measure import print_header, print_row, seconds_of

from cofactor.kernels import on
from cofactor.kernels.csr import CSR


def synthetic(n: int, n_users: int, n_items: int) -> CSR:
    rng = np.random.default_rng(0)
    keys = np.unique(
        (rng.random(int(1.1 * n)) ** 1.5 * n_users).astype(np.int64) * n_items
        + (rng.random(int(1.1 * n)) ** 1.5 * n_items).astype(np.int64)
    )
    keys = np.sort(rng.permutation(keys)[:n])
    indptr = np.searchsorted(keys, np.arange(n_users + 1) * n_items)
    return CSR(indptr, (keys % n_items).astype(np.int32), rng.standard_normal(len(keys), np.float32), n_items)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=60_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", type=float, default=0.02)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    kernels, f = on("cpu"), args.factors
    by_user = synthetic(args.ratings, args.users, args.items)
    by_item, rng = by_user.transposed(), np.random.default_rng(1)
    width = -(-f // 16) * 16
    users, items = (kernels.vectors(n, width) for n in (args.users, args.items))
    items[:, :f] = rng.normal(0, 0.3, (args.items, f))
    prior, side = np.eye(f, dtype=np.float32), np.zeros(f, np.float32)

    def sweep(deviation: float) -> None:
        for x, solved, fixed in ((by_user, users, items), (by_item, items, users)):
            offsets = np.zeros(len(fixed), np.float32)
            kernels.gaussian_rows(
                x, solved, fixed, offsets=offsets, prior=prior, side=side, deviation=deviation, threads=args.threads
            )

    def with_numpy() -> None:
        for row in range(int(args.users * args.part)):
            columns, values = by_user.row(row)
            y = items[columns, :f]
            users[row, :f] = np.linalg.solve(prior + y.T @ y, y.T @ values)

    print(f"{by_user.nnz:,} ratings of {args.users:,} users and {args.items:,} items, {f} factors\n")
    print_header(["", "s", "CPU s"], 1)
    for name, deviation in (("a sweep, solved", 0.0), ("a sweep, drawn", 1.0)):
        taken = []
        for _ in range(args.rounds):
            cpu = time.process_time()
            taken.append((seconds_of(lambda d=deviation: sweep(d)), time.process_time() - cpu))
        print_row(name, *(f"{s:.2f}" for s in min(taken)))
    users_only = min(seconds_of(lambda: kernels.gaussian_rows(
        by_user, users, items, offsets=np.zeros(args.items, np.float32), prior=prior, side=side, threads=args.threads
    )) for _ in range(args.rounds))  # fmt: skip
    share = by_user.indptr[int(args.users * args.part)] / by_user.nnz
    print_row("the users, solved", f"{users_only:.2f}", "")
    print_row("the users, NumPy", f"{seconds_of(with_numpy) / share:.2f}", "")


if __name__ == "__main__":
    main()
