"""An epoch of item-item factorization on pairs: the native kernel beside PyTorch's SparseAdam.

    python benchmarks/item_pairs.py                                  # 20 M pairs of 1.86 M items, 32 factors
    python benchmarks/item_pairs.py --pairs 209_000_000 --part 0.05  # at full size, PyTorch on a twentieth

Pairs are of the same planted cluster of about twenty items, whose sizes have a long tail. Both train one shared
embedding from the same start with Adam (--rate where every pair has a step, --torch-rate where a batch of 65,536 has
one) on the logistic loss of each pair and of its first item with another pair's next item, which are shuffled. Accuracy
is the share of 100,000 held-out pairs that score above a shuffled one. The gather ceiling is how many pairs' rows and
state NumPy could copy in order, by the time of copying so many random rows. How well it finds next items is in
``benchmarks/published``.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np
from _measure import print_header, print_row, seconds_of

import cofactor as cf
from cofactor.kernels import on
from cofactor.kernels.arguments import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pairs = tuple[NDArray[np.int32], NDArray[np.int32]]

CLUSTER, HELD_OUT, BATCH = 20, 100_000, 65_536


def planted(n_pairs: int, n_items: int, seed: int = 0) -> Pairs:
    """Pairs of items of one cluster, clusters by a power law."""
    rng = np.random.default_rng(seed)
    n_clusters = max(1, n_items // CLUSTER)
    cluster = (n_clusters * rng.random(n_pairs) ** 2.0).astype(np.int64)
    names = np.random.default_rng(1).permutation(n_items).astype(np.int32)
    first, second = (names[np.minimum(cluster * CLUSTER + rng.integers(0, CLUSTER, n_pairs), n_items - 1)]
                     for _ in range(2))  # fmt: skip
    return first, second


def start(n_items: int, factors: int) -> NDArray[np.float32]:
    values = np.random.default_rng(2).standard_normal((n_items, factors), np.float32)
    values *= np.float32(1 / np.sqrt(factors))
    return values


def accuracy(values: NDArray[np.float32], pairs: Pairs) -> float:
    first, second = (values[rows] for rows in pairs)
    other = np.random.default_rng(3).permutation(len(second))
    return float(((first * second).sum(1) > (first * second[other]).sum(1)).mean())


def with_cofactor(pairs: Pairs, held_out: Pairs, args: argparse.Namespace) -> tuple[float, list[float]]:
    values = np.zeros((args.items, -(-args.factors // 16) * 16), np.float32)
    values[:, : args.factors] = start(args.items, args.factors)
    table, seconds, found = Table.new(values, "adam", args.rate), [], []
    for epoch in range(args.epochs):
        begin = time.perf_counter()
        on("cpu").item_pairs_epoch(*pairs, None, table, n_items=args.items, epoch=epoch, threads=args.threads)
        seconds.append(time.perf_counter() - begin)
        found.append(accuracy(values, held_out))
    return float(np.median(seconds)), found


def with_torch(pairs: Pairs, held_out: Pairs, args: argparse.Namespace) -> tuple[float, list[float]]:
    import torch
    from torch.nn.functional import softplus

    if args.threads:
        torch.set_num_threads(args.threads)
    embedding = torch.nn.Embedding(args.items, args.factors, sparse=True)
    embedding.weight.data.copy_(torch.from_numpy(start(args.items, args.factors)))
    optimizer = torch.optim.SparseAdam(embedding.parameters(), lr=args.torch_rate)
    seconds, found = [], []
    for _ in range(args.epochs):
        begin = time.perf_counter()
        for first, second in cf.PairLoader(pairs, BATCH, tensors=True):
            optimizer.zero_grad()
            a, b = embedding(first.long()), embedding(second.long())
            other = b[torch.randperm(len(b))]
            loss = (softplus(-(a * b).sum(1)) + softplus((a * other).sum(1))).mean()
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - begin)
        found.append(accuracy(embedding.weight.detach().numpy(), held_out))
    return float(np.median(seconds)), found


def gather_ceiling(args: argparse.Namespace) -> float:
    """Pairs a second whose two rows, with both states, could be copied from random places."""
    values = start(args.items, args.factors)
    rows = np.random.default_rng(4).integers(0, args.items, 1 << 22)
    out = np.empty((len(rows), args.factors), np.float32)
    seconds = min(seconds_of(lambda: np.take(values, rows, axis=0, out=out, mode="clip")) for _ in range(3))
    return len(rows) / seconds / 6


def epochs(args: argparse.Namespace) -> None:
    pairs, held_out = planted(args.pairs, args.items), planted(HELD_OUT, args.items, seed=9)
    few = tuple(column[: int(args.pairs * args.part)] for column in pairs)
    print(f"{args.pairs:,} pairs of {args.items:,} items, {args.factors} factors, {args.epochs} epochs\n")
    print_header(["", "pairs", "s an epoch", "M pairs/s", "accuracy after each epoch"], 1)
    speeds = {}
    runs = [("cofactor", with_cofactor, pairs)]
    if args.part < 1:
        runs.append(("cofactor, the part", with_cofactor, few))
    if args.torch:
        runs.append(("PyTorch SparseAdam", with_torch, few))
    for name, run, some in runs:
        seconds, found = run(some, held_out, args)
        speeds[name] = len(some[0]) / seconds
        told = ", ".join(f"{value:.3f}" for value in found)
        print_row(name, f"{len(some[0]):,}", f"{seconds:.2f}", f"{speeds[name] / 1e6:.2f}", told)
    if args.torch:
        print(f"\n{speeds['cofactor'] / speeds['PyTorch SparseAdam']:.1f} times PyTorch")
    print(f"{speeds['cofactor'] / gather_ceiling(args):.0%} of the pairs whose rows one thread of NumPy could gather")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20_000_000)
    parser.add_argument("--items", type=int, default=1_855_603)
    parser.add_argument("--factors", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--torch-rate", type=float, default=0.1)
    parser.add_argument("--part", type=float, default=1.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--torch", action=argparse.BooleanOptionalAction, default=True)
    epochs(parser.parse_args())


if __name__ == "__main__":
    main()
