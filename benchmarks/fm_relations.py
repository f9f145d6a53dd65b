"""Seconds of a pass of gradient descent over a factorization machine with features, sets and context.

    python benchmarks/fm_relations.py                      # ratings in the shape of MovieLens 1M, 120 factors
    python benchmarks/fm_relations.py --threads 1

The peer is a program that has a row of all features for every rating, and looks each of them up: PyTorch's
``EmbeddingBag`` with sparse gradients and ``SparseAdam``, for the features of users and items; some batches of a pass.
It is left out where there is no PyTorch.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
from _measure import interleaved, print_header, print_row

import cofactor as cf
from cofactor.kernels import native, on
from cofactor.kernels.arguments import FmRelations, Table
from cofactor.kernels.arrays import aligned_zeros, width_of
from cofactor.kernels.csr import CSR
from cofactor.models.ratings.fm_sides import SideFeatures, rated, related
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 1024
STEPS = 32  # of features in a pass, where there are sets


def features(n: int, fields: tuple[int, ...], rng: np.random.Generator) -> CSR:
    """One value of each field for each of ``n`` rows."""
    starts = np.cumsum([0, *fields])
    columns = np.column_stack([start + rng.integers(size, size=n) for start, size in zip(starts, fields, strict=False)])
    return CSR.from_pairs(np.repeat(np.arange(n), len(fields)), columns.ravel(), np.ones(columns.size), (n, starts[-1]))


def one_pass(x: CSR, relations: FmRelations, factors: int, batches: int, threads: int) -> Callable[[], float]:
    """A pass of the kernel of ids where there is nothing else."""
    values = aligned_zeros(relations.n_rows, width_of(factors + 1))
    values[:, 1 : factors + 1] = np.random.default_rng(0).normal(0, 0.1 / factors**0.5, (len(values), factors))
    rows = Table.new(values, "row_adam", 0.002)
    options = {"offset": 0.0, "weight_decay": 1e-5, "batch_size": BATCH, "n_coordinates": factors + 1}
    options["threads"] = threads
    if relations.of_ids_alone:
        return lambda: on("cpu").fm_epoch(x, rows, **options)
    return lambda: on("cpu").fm_relations_epoch(x, rows, relations, batches=batches, **options)


class Bags:
    """The loop in PyTorch over ids and features of users and items."""

    def __init__(self, x: CSR, relations: FmRelations, factors: int, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        n_rows, first = relations.n_rows, x.n_rows + x.n_columns + relations.n_categories
        told = [relations.users.indices.reshape(x.n_rows, -1), relations.items.indices.reshape(x.n_columns, -1)]
        users = np.column_stack([np.arange(x.n_rows), first + told[0]])
        items = np.column_stack([x.n_rows + np.arange(x.n_columns), first + relations.users.n_columns + told[1]])
        self._all = torch.from_numpy(np.column_stack([users[x.row_index()], items[x.indices]]).astype(np.int64))
        self._targets = torch.from_numpy(x.values)
        self._weights = torch.nn.Embedding(n_rows, 1, sparse=True)
        self._vectors = torch.nn.Embedding(n_rows, factors, sparse=True)
        torch.nn.init.zeros_(self._weights.weight)
        torch.nn.init.normal_(self._vectors.weight, std=0.1 / factors**0.5)
        self._optimizer = torch.optim.SparseAdam([self._weights.weight, self._vectors.weight], lr=0.002)

    def run(self, n_batches: int) -> None:
        import torch

        for chosen in torch.randperm(len(self._targets)).split(BATCH)[:n_batches]:
            columns = self._all[chosen]
            vectors = self._vectors(columns)
            pairs = 0.5 * (vectors.sum(1).square() - vectors.square().sum(1)).sum(1)
            loss = (self._weights(columns).sum((1, 2)) + pairs - self._targets[chosen]).square().mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=6040)
    parser.add_argument("--items", type=int, default=3706)
    parser.add_argument("--ratings", type=int, default=900_000)
    parser.add_argument("--factors", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=available_threads())
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    drawn = cf.datasets.synthetic(args.users, args.items, args.ratings, seed=0).user_items
    x = drawn.with_values(rng.normal(size=drawn.nnz))
    none = [SideFeatures.of(n, []) for n in x.shape]
    of_fields = [features(x.n_rows, (2, 7, 21), rng), features(x.n_columns, (18, 18, 81), rng)]
    told = [SideFeatures.of(f.n_rows, [(f, np.zeros(f.n_columns, np.int32))]) for f in of_fields]
    sets = [SideFeatures.of(m.n_rows, [(rated(m), np.zeros(m.n_columns, np.int32))]) for m in (x, x.transposed())]
    hours = rng.integers(24, size=x.nnz).astype(np.int32)
    kinds = {
        "ids": related(none, [], [], x.nnz),
        "context": related(none, [hours], [24], x.nnz),
        "features": related(told, [], [], x.nnz),
        "features and context": related(told, [hours], [24], x.nnz),
        "sets": related(sets, [], [], x.nnz),
    }
    of_sets = math.ceil(x.nnz / BATCH / STEPS)
    steps = {
        name: one_pass(x, relations, args.factors, of_sets if name == "sets" else 1, args.threads)
        for name, relations in kinds.items()
    }
    print(f"{x.nnz:,} ratings, {args.factors} factors, {args.threads} threads, CPU level {native.level}\n")
    seconds, _ = interleaved(steps, args.rounds)
    print_header(["pass", "seconds", "CPU seconds"], n_texts=1)
    for name, step in steps.items():
        cpu = time.process_time()
        step()
        print_row(name, f"{statistics.median(seconds[name]):.2f}", f"{time.process_time() - cpu:.2f}")
    if importlib.util.find_spec("torch") is not None:
        loop, n_batches = Bags(x, kinds["features"], args.factors, args.threads), 20
        loop.run(2)
        start, cpu = time.perf_counter(), time.process_time()
        loop.run(n_batches)
        share = x.nnz / (n_batches * BATCH)
        spent = share * (time.perf_counter() - start), share * (time.process_time() - cpu)
        print_row("PyTorch, features", *(f"{one:.1f}" for one in spent))


if __name__ == "__main__":
    main()
