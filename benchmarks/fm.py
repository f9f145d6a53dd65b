"""Seconds of a sweep over all parameters of a factorization machine, and the same with features on every rating.

python benchmarks/fm.py                        # ratings in the shape of MovieLens 1M, 32 factors
python benchmarks/fm.py --ratings 100000 --users 943 --items 1682 --factors 8 --threads 1

The peer is what a program does that sees a table of features with a row for every rating, written with SciPy: one
coordinate after the other, each a pass over the ratings that have the feature. It runs on some of the factors, and its
time is scaled up. "sets" adds the items that a user rated and the users who rated an item: as many features for each
rating as both have ratings, which the peer cannot hold.
"""

from __future__ import annotations

import argparse
import statistics
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from _measure import interleaved, print_header, print_row

import cofactor as cf
from cofactor.kernels import native, on
from cofactor.models.ratings.fm_chain import Chain
from cofactor.models.ratings.fm_sides import Side, rated
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from cofactor.kernels.csr import CSR


class RowByRow:
    """Sampling with a table of one-hot rows, some coordinates of a sweep; the equations of libFM."""

    def __init__(self, x: CSR, factors: int, seed: int = 0) -> None:
        n = x.nnz
        columns = np.concatenate([x.row_index(), x.n_rows + x.indices])
        rows = np.tile(np.arange(n), 2)
        self._table = sp.csc_matrix((np.ones(2 * n, np.float32), (rows, columns)), (n, x.n_rows + x.n_columns))
        self._rng = np.random.default_rng(seed)
        self._vectors = self._rng.normal(0, 0.1, (factors, self._table.shape[1])).astype(np.float32)
        self._errors = x.values.copy()

    def sweep(self) -> None:
        ends, rows = self._table.indptr, self._table.indices
        for vector in self._vectors:
            sums = self._table @ vector
            for j in range(len(vector)):
                at = rows[ends[j] : ends[j + 1]]
                h, e = sums[at] - vector[j], self._errors[at]
                precision = h @ h + 1.0
                new = (h @ (e + vector[j] * h)) / precision + self._rng.normal() / np.sqrt(precision)
                change = new - vector[j]
                self._errors[at] = e - change * h
                sums[at] += change
                vector[j] = new


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=6040)
    parser.add_argument("--items", type=int, default=3706)
    parser.add_argument("--ratings", type=int, default=900_000)
    parser.add_argument("--factors", type=int, default=32)
    parser.add_argument("--peer-factors", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_threads())
    args = parser.parse_args()
    drawn = cf.datasets.synthetic(args.users, args.items, args.ratings, seed=0).user_items
    x = drawn.with_values(np.random.default_rng(0).normal(size=drawn.nnz))
    print(f"{x.nnz:,} ratings, {args.factors} factors, {args.threads} threads, CPU level {native.level}\n")
    none: tuple[Side, Side] = (Side.of(x.n_rows, []), Side.of(x.n_columns, []))
    sets = [Side.of(m.n_rows, [(rated(m), np.zeros(m.n_columns, np.int32))]) for m in (x, x.transposed())]
    steps = {
        name: Chain(on("cpu"), x, sides, args.factors + 1, threads=args.threads).sweep
        for name, sides in {"ids": none, "ids and sets": (sets[0], sets[1])}.items()
    }
    peer = RowByRow(x, args.peer_factors)
    seconds, _ = interleaved(steps | {"SciPy, ids": peer.sweep}, args.rounds)
    times = {name: statistics.median(of) for name, of in seconds.items()}
    times["SciPy, ids"] *= args.factors / args.peer_factors
    print_header(["sweep", "seconds", "of SciPy's"], n_texts=1)
    for name, time in times.items():
        print_row(name, f"{time:.3f}", f"{times['SciPy, ids'] / time:.1f}x")


if __name__ == "__main__":
    main()
