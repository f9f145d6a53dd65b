"""SLIM beside irspack and scikit-learn: same matrix, same loss, same run.

    pip install '.[bench]' scikit-learn
    python benchmarks/slim.py                              # synthetic, as large as MovieLens 1M
    python benchmarks/slim.py --data FOLDER                # the training part of FOLDER/ncf_ml-1m
    python benchmarks/slim.py --l1 1 --l2 100 --peers irspack --rounds 3

The loss of all is ``|X - X W|^2 / 2 + l2 |W|^2 / 2 + l1 |W|_1`` with W >= 0 and a zero diagonal, computed from the
weights by one function in float64; every library stops by its own rule, at the tolerance given here. scikit-learn is
the loop over items of ``ElasticNet(positive=True, precompute=...)`` that published evaluations of SLIM use, in one
process; it takes so long that only some columns are solved and the time is scaled up to all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from _measure import print_header, print_row

import cofactor as cf
from cofactor.kernels import native
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    Weights = sp.csc_matrix
    Fit = Callable[[cf.Interactions, argparse.Namespace], tuple[float, Weights, int]]


def with_cofactor(x: cf.Interactions, args: argparse.Namespace) -> tuple[float, Weights, int]:
    model = cf.SLIM(args.l1, args.l2, tolerance=args.tolerance, threads=args.threads)
    begin = time.perf_counter()
    model.fit(x, progress=False)
    return time.perf_counter() - begin, model.item_weights_.to_scipy().tocsc(), x.n_items


def with_irspack(x: cf.Interactions, args: argparse.Namespace) -> tuple[float, Weights, int]:
    from irspack.recommenders import SLIMRecommender

    alpha, ratio = (args.l1 + args.l2) / x.n_users, args.l1 / (args.l1 + args.l2)
    peer = SLIMRecommender(
        x.user_items.to_scipy().astype(np.float64),
        alpha=alpha,
        l1_ratio=ratio,
        n_iter=1000,
        tol=args.irspack_tolerance,
        n_threads=args.threads,
    )
    begin = time.perf_counter()
    peer.learn()
    return time.perf_counter() - begin, sp.csc_matrix(peer.W), x.n_items


def with_sklearn(x: cf.Interactions, args: argparse.Namespace) -> tuple[float, Weights, int]:
    """A sample of columns; the time is scaled up by the caller."""
    from sklearn.linear_model import ElasticNet

    n = min(args.columns, x.n_items)
    wanted = np.random.default_rng(0).choice(x.n_items, n, replace=False)
    by_item = x.user_items.to_scipy().tocsc().astype(np.float64)
    net = ElasticNet(
        alpha=(args.l1 + args.l2) / x.n_users,
        l1_ratio=args.l1 / (args.l1 + args.l2),
        positive=True,
        fit_intercept=False,
        copy_X=False,
        selection="cyclic",
        max_iter=1000,
        tol=1e-4,
    )
    weights = sp.lil_matrix((x.n_items, x.n_items))
    begin = time.perf_counter()
    for j in wanted:
        at = slice(by_item.indptr[j], by_item.indptr[j + 1])
        target, kept = by_item[:, [j]].toarray().ravel(), by_item.data[at].copy()
        by_item.data[at] = 0
        weights[:, [j]] = net.fit(by_item, target).sparse_coef_.T
        by_item.data[at] = kept
    return (time.perf_counter() - begin) * x.n_items / n, weights.tocsc(), n


LIBRARIES: dict[str, Fit] = {"cofactor": with_cofactor, "irspack": with_irspack, "sklearn": with_sklearn}


def losses(x: cf.Interactions, weights: Weights, l1: float, l2: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Loss of every column, in float64; negative weights and diagonals would be a mistake."""
    assert weights.data.min(initial=0) >= 0
    assert not weights.diagonal().any()
    by_user = x.user_items.to_scipy().tocsr().astype(np.float64)
    out = np.empty(x.n_items)
    for begin in range(0, x.n_items, 1024):
        w = weights[:, begin : begin + 1024].astype(np.float64)
        rest = by_user[:, begin : begin + 1024].toarray() - (by_user @ w).toarray()
        penalty = l2 / 2 * w.power(2).sum(axis=0) + l1 * w.sum(axis=0)
        out[begin : begin + 1024] = np.einsum("ij,ij->j", rest, rest) / 2 + np.asarray(penalty).ravel()
    return out


def matrix(args: argparse.Namespace) -> cf.Interactions:
    if args.data is None:
        return cf.datasets.synthetic(6_040, 3_706, 1_000_000, seed=0)
    train, _, _ = cf.datasets.leave_one_out_with_negatives(
        *(args.data / "ncf_ml-1m" / file for file in ("train.parquet", "ml-1m.test.rating", "ml-1m.test.negative"))
    )
    return train.interactions()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--l1", type=float, default=1.0)
    parser.add_argument("--l2", type=float, default=100.0)
    parser.add_argument("--tolerance", type=float, default=1e-3, help="of cofactor")
    parser.add_argument("--irspack-tolerance", type=float, default=1e-4, help="of irspack: its default")
    parser.add_argument("--peers", nargs="*", choices=("irspack", "sklearn"), default=["irspack"])
    parser.add_argument("--columns", type=int, default=20, help="that scikit-learn solves")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=available_threads())
    args = parser.parse_args()
    x, names = matrix(args), ["cofactor", *args.peers]
    print(f"{x}, l1 {args.l1:g}, l2 {args.l2:g}, {args.threads} threads, CPU level {native.level}")
    print(", ".join(f"{name} {version('scikit-learn' if name == 'sklearn' else name)}" for name in args.peers) + "\n")
    runs: dict[str, list[tuple[float, Weights, int]]] = {name: [] for name in names}
    for _ in range(args.rounds):
        for name in names:
            runs[name].append(LIBRARIES[name](x, args))
    ours = losses(x, runs["cofactor"][0][1], args.l1, args.l2)
    median = {name: statistics.median(seconds for seconds, _, _ in runs[name]) for name in names}
    print_header(["library", "s", "times cofactor's", "columns", "weights", "loss", "loss of cofactor there"], 1)
    for name in names:
        _, weights, n = runs[name][0]
        solved = np.ones(x.n_items, bool) if n == x.n_items else np.diff(weights.indptr) > 0
        loss = losses(x, weights, args.l1, args.l2)[solved].sum()
        ratio = median[name] / median["cofactor"]
        print_row(
            name, f"{median[name]:.2f}", f"{ratio:.1f}", f"{solved.sum():,}", f"{weights.nnz:,}", f"{loss:.3f}",
            f"{ours[solved].sum():.3f}",
        )  # fmt: skip


if __name__ == "__main__":
    main()
