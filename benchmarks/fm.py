"""Seconds of a sweep over all parameters of a factorization machine, and the same with features on every rating.

python benchmarks/fm.py                        # ratings in the shape of MovieLens 1M, 32 factors
python benchmarks/fm.py --ratings 100000 --users 943 --items 1682 --factors 8 --threads 1

The peer is what a program does that sees a table of features with a row for every rating, written with SciPy: one
coordinate after the other, each a pass over the ratings that have the feature. It runs on some of the factors, and its
time is scaled up. "sets" adds the items that a user rated and the users who rated an item: as many features for each
rating as both have ratings, which the peer cannot hold.

Where PyTorch is installed a pass by batches of 1,024 follows (120 factors, Adam), beside a loop over two embeddings;
the loop runs for some of the batches and its time is scaled up. Its Adam moves every row in every step, the kernel's
those that the batch touches.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from _measure import interleaved, print_header, print_row

import cofactor as cf
from cofactor.kernels import native, on
from cofactor.kernels.arguments import Table
from cofactor.models.ratings.fm_chain import Chain
from cofactor.models.ratings.fm_entries import Entries
from cofactor.models.ratings.fm_sides import SideFeatures, rated
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

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


def kernel_pass(x: CSR, factors: int, batch: int, threads: int) -> Callable[[], object]:
    rows = np.zeros((x.n_rows + x.n_columns, -(-(factors + 1) // 16) * 16), np.float32)
    rows[:, 1 : factors + 1] = np.random.default_rng(0).normal(0, 0.01, (len(rows), factors))
    table = Table.new(rows, "adam", 1e-3)
    return lambda: on("cpu").fm_epoch(x, table, offset=0.0, weight_decay=1e-5, batch_size=batch, threads=threads)


def torch_pass(x: CSR, factors: int, batch: int, threads: int, n_batches: int) -> Callable[[], object]:
    import torch

    torch.set_num_threads(threads)
    sizes = (x.n_rows, factors), (x.n_columns, factors), (x.n_rows, 1), (x.n_columns, 1)
    users, items, user_biases, item_biases = tables = [torch.nn.Embedding(*size) for size in sizes]
    optimizer = torch.optim.Adam([t.weight for t in tables], lr=1e-3, weight_decay=1e-5)
    rows, columns = (torch.from_numpy(of.astype(np.int64)) for of in (x.row_index(), x.indices))
    values, order = torch.from_numpy(x.values), torch.randperm(x.nnz)

    def some() -> None:
        for at in range(n_batches):
            chosen = order[at * batch : (at + 1) * batch]
            u, i = rows[chosen], columns[chosen]
            predicted = (users(u) * items(i)).sum(1) + user_biases(u)[:, 0] + item_biases(i)[:, 0]
            loss = ((predicted - values[chosen]) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return some


def by_batches(
    x: CSR, rounds: int, threads: int, *, factors: int = 120, batch: int = 1024, n_batches: int = 40
) -> None:
    steps = {"by batches": kernel_pass(x, factors, batch, threads)}
    steps["PyTorch"] = torch_pass(x, factors, batch, threads, n_batches)
    seconds, _ = interleaved(steps, rounds)
    times = {name: statistics.median(of) for name, of in seconds.items()}
    times["PyTorch"] *= x.nnz / (batch * n_batches)
    print(f"\nA pass over the ratings, {factors} factors\n")
    print_header(["pass", "seconds", "of PyTorch's"], n_texts=1)
    for name, time in times.items():
        print_row(name, f"{time:.2f}", f"{times['PyTorch'] / time:.0f}x")


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
    none: tuple[SideFeatures, SideFeatures] = (SideFeatures.of(x.n_rows, []), SideFeatures.of(x.n_columns, []))
    sets = [SideFeatures.of(m.n_rows, [(rated(m), np.zeros(m.n_columns, np.int32))]) for m in (x, x.transposed())]
    steps = {
        name: Chain(on("cpu"), Entries(x), sides, args.factors + 1, threads=args.threads).sweep
        for name, sides in {"ids": none, "ids and sets": (sets[0], sets[1])}.items()
    }
    peer = RowByRow(x, args.peer_factors)
    seconds, _ = interleaved(steps | {"SciPy, ids": peer.sweep}, args.rounds)
    times = {name: statistics.median(of) for name, of in seconds.items()}
    times["SciPy, ids"] *= args.factors / args.peer_factors
    print_header(["sweep", "seconds", "of SciPy's"], n_texts=1)
    for name, time in times.items():
        print_row(name, f"{time:.3f}", f"{times['SciPy, ids'] / time:.1f}x")
    if importlib.util.find_spec("torch") is not None:
        by_batches(x, args.rounds, args.threads)


if __name__ == "__main__":
    main()
