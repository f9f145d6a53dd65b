"""Exact top-10 of many users with seen items left out, and the share of what the machine can do.

    pip install '.[bench]'
    python benchmarks/topk.py                       # 20,000 users, 27,000 items, 64 and 128 factors, trained vectors
    python benchmarks/topk.py --vectors random      # normal ones, of which no norm tells anything
    python benchmarks/topk.py memory                # extra memory against users x items

All libraries run interleaved on the same vectors; medians are compared. faiss cannot leave out what each user has seen:
its lists are checked against unfiltered ones. The share is that of one matrix product's operations, 2 users items
factors, at the speed of sgemm measured in the same run; above 100 % means that most products were never made.

Each library has the threads that it does best with: implicit multiplies in threads of its own, so that BLAS has one;
the others leave threads to BLAS.
"""

from __future__ import annotations

import argparse
import json
import statistics
from functools import partial
from typing import TYPE_CHECKING, Any

import ceiling
import numpy as np
from _measure import in_fresh_process, interleaved, peak_memory, print_header, print_row
from threadpoolctl import threadpool_limits

import cofactor as cf
from cofactor.kernels import native, on
from cofactor.kernels.filters import Filters
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.kernels.csr import CSR

BATCH = 1000  # users whose scores NumPy and irspack hold at once


def with_cofactor(users: Any, items: Any, seen: CSR, k: int, threads: int) -> Any:
    return on("cpu").top_k(users, items, k, filters=Filters(seen), threads=threads).rows


def with_implicit(users: Any, items: Any, seen: CSR, k: int, threads: int) -> Any:
    from implicit.cpu.topk import topk

    with threadpool_limits(1, "blas"):
        return topk(items, users, k, filter_query_items=seen.to_scipy(), num_threads=threads)[0]


def with_faiss(users: Any, items: Any, seen: CSR, k: int, threads: int) -> Any:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    with threadpool_limits(threads, "blas"):
        return index.search(users, k)[1]


def with_numpy(users: Any, items: Any, seen: CSR, k: int, threads: int) -> Any:
    out = np.empty((len(users), k), np.int32)
    for at in range(0, len(users), BATCH):
        scores = unseen_scores(users, items, seen, at, threads)
        best = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        out[at : at + BATCH] = np.take_along_axis(best, order, axis=1)
    return out


def with_irspack(users: Any, items: Any, seen: CSR, k: int, threads: int) -> Any:
    from irspack.utils._util_cpp import retrieve_recommend_from_score_f32

    lists = []
    for at in range(0, len(users), BATCH):
        scores = unseen_scores(users, items, seen, at, threads)
        lists.extend(retrieve_recommend_from_score_f32(scores, [], k, n_threads=threads))
    return np.array([[item for item, _ in row] for row in lists])


def unseen_scores(users: Any, items: Any, seen: CSR, at: int, threads: int) -> Any:
    piece = seen.take(np.arange(at, min(at + BATCH, len(users))))
    with threadpool_limits(threads, "blas"):
        scores = users[at : at + BATCH] @ items.T
    scores[piece.row_index(), piece.indices] = -np.inf
    return scores


LIBRARIES: dict[str, Callable[[Any, Any, CSR, int, int], Any]] = {
    "cofactor": with_cofactor,
    "implicit": with_implicit,
    "faiss": with_faiss,
    "irspack": with_irspack,
    "numpy": with_numpy,
}
LABELS = {"faiss": "faiss, unfiltered"}


def vectors(x: cf.Interactions, factors: int, kind: str, threads: int) -> tuple[Any, Any]:
    """Users' and items' vectors: of a short training on the matrix, or random."""
    if kind == "trained":
        model = cf.ImplicitALS(factors, iterations=5, solver="cg", threads=threads).fit(x, progress=False)
        return model.user_factors_, model.item_factors_
    rng = np.random.default_rng(0)
    return rng.standard_normal((x.n_users, factors), np.float32), rng.standard_normal((x.n_items, factors), np.float32)


def compare(args: argparse.Namespace) -> None:
    """The main table."""
    x = cf.datasets.synthetic(args.users, args.items, args.users * 100, seed=0)
    print(f"{x}, top {args.k}, {args.vectors} vectors, {args.threads} threads, CPU level {native.level}\n")
    names = ["cofactor", *args.peers]
    labels = [LABELS.get(n, n) for n in names]
    print_header(["factors", *(f"{n} s" for n in labels), *(f"{n} / cofactor" for n in labels[1:]), "share of sgemm"])
    for factors in args.factors:
        pair = vectors(x, factors, args.vectors, args.threads)
        check(pair, x.user_items, args)
        steps = {n: partial(LIBRARIES[n], *pair, x.user_items, args.k, args.threads) for n in names}
        seconds, figures = interleaved(steps, args.repeats, {"sgemm": partial(ceiling.sgemm, args.threads, 1)})
        median = {n: statistics.median(s) for n, s in seconds.items()}
        least = 2 * x.n_users * x.n_items * factors / (statistics.median(figures["sgemm"]) * 1e9)
        ratios = (f"{median[p] / median['cofactor']:.1f}" for p in args.peers)
        print_row(factors, *(f"{median[n]:.2f}" for n in names), *ratios, f"{least / median['cofactor']:.0%}")


def check(pair: tuple[Any, Any], seen: CSR, args: argparse.Namespace) -> None:
    """Hold the lists of all libraries to those of cofactor; this warms them up as well."""
    filtered = with_cofactor(*pair, seen, args.k, args.threads)
    unfiltered = on("cpu").top_k(*pair, args.k, threads=args.threads).rows
    for name in args.peers:
        same = np.mean(
            LIBRARIES[name](*pair, seen, args.k, args.threads) == (unfiltered if name == "faiss" else filtered)
        )
        if same < 0.9999:
            raise SystemExit(f"{name} and cofactor agree on {same:.4%} of the places only")


def memory(args: argparse.Namespace) -> None:
    """Memory that top-k takes beyond its inputs and its result, while users x items grow; fresh processes."""
    print_header(["users", "items", "scores, GB", "inputs, MB", "result, MB", "extra, MB"])
    for part in (0.25, 1, 4):
        users, items = int(args.users * part), int(args.items * part)
        result = in_fresh_process(__file__, "--extra", users, items, args.factors[0], args.k, args.threads)
        sizes = (f"{result[n] / 1e6:.1f}" for n in ("inputs", "result", "extra"))
        print_row(f"{users:,}", f"{items:,}", f"{4e-9 * users * items:.1f}", *sizes)


def extra(users: int, items: int, factors: int, k: int, threads: int) -> dict[str, int]:
    rng = np.random.default_rng(0)
    pair = tuple(rng.standard_normal((n, factors), np.float32) for n in (users, items))
    seen = cf.csr.CSR(
        np.arange(users + 1, dtype=np.int64) * 100,
        np.tile(np.arange(100, dtype=np.int32) * (items // 100), users),
        np.ones(users * 100, np.float32),
        items,
    )
    before = peak_memory()
    rows, scores = on("cpu").top_k(*pair, k, filters=Filters(seen), threads=threads)
    inputs = sum(a.nbytes for a in (*pair, seen.indptr, seen.indices))
    result = rows.nbytes + scores.nbytes
    return {"inputs": inputs, "result": result, "extra": peak_memory() - before - result}


WAYS = {"compare": compare, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=WAYS, default="compare")
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--factors", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--vectors", choices=("trained", "random"), default="trained")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers", nargs="*", choices=list(LIBRARIES)[1:], default=list(LIBRARIES)[1:])
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--extra", type=int, nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.extra:
        print(json.dumps(extra(*args.extra)))
    else:
        WAYS[args.what](args)


if __name__ == "__main__":
    main()
