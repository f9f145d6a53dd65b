"""Places of held-out items among all unseen ones, for exact AUC and MRR, against complete lists and matrices of scores.

    pip install '.[bench]'
    python benchmarks/ranks.py                      # 1,000 users, 27,000 items, 10 and 64 factors
    python benchmarks/ranks.py --peers torch        # pip install torch
    python benchmarks/ranks.py evaluate             # MAP@10, MRR and AUC of 138,000 users: seconds and memory

All libraries run interleaved on the same vectors; medians are compared. NumPy sorts a matrix of scores and looks the
wanted ones up in it, PyTorch compares each of them with all scores of its user, implicit makes lists of all items for
its ``AUC_at_k``, in which seen items stand last and count as right: the same mean is computed from cofactor's ranks.
What an evaluation by complete lists would take is extrapolated from 500 users.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ceiling
import numpy as np
import polars as pl
from _measure import in_fresh_process, interleaved, peak_memory, print_header, print_row
from threadpoolctl import threadpool_limits
from topk import BATCH, unseen_scores

import cofactor as cf
from cofactor.kernels import native, on
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

METRICS = ("map@10", "mrr", "auc")


def with_cofactor(users: Any, items: Any, seen: CSR, held_out: CSR, threads: int) -> Any:
    return on("cpu").ranks(users, items, held_out, filters=Filters(seen), threads=threads).middle_rank


def with_numpy(users: Any, items: Any, seen: CSR, held_out: CSR, threads: int) -> Any:
    middle = np.empty(held_out.nnz)
    for at in range(0, len(users), BATCH):
        scores = unseen_scores(users, items, seen, at, threads)
        ordered = np.sort(scores, axis=1)
        for row in range(len(scores)):
            pairs = slice(*held_out.indptr[at + row : at + row + 2])
            wanted = scores[row, held_out.indices[pairs]]
            low, high = (np.searchsorted(ordered[row], wanted, side) for side in ("left", "right"))
            middle[pairs] = len(items) - high + (high - low + 1) / 2
    return middle


def with_torch(users: Any, items: Any, seen: CSR, held_out: CSR, threads: int) -> Any:
    import torch

    torch.set_num_threads(threads)
    middle = np.empty(held_out.nnz)
    for at in range(0, len(users), BATCH // 10):
        piece = np.arange(at, min(at + BATCH // 10, len(users)))
        some, left_out = held_out.take(piece), seen.take(piece)
        scores = torch.from_numpy(users[piece]) @ torch.from_numpy(items).T
        scores[left_out.row_index(), left_out.indices] = -torch.inf
        rows = torch.from_numpy(some.row_index())
        wanted = scores[rows, torch.from_numpy(some.indices)][:, None]
        above, equal = ((compare(scores[rows], wanted)).sum(1) for compare in (torch.gt, torch.eq))
        middle[held_out.indptr[at] : held_out.indptr[piece[-1] + 1]] = (above + (equal + 1) / 2).numpy()
    return middle


def with_implicit(users: Any, items: Any, seen: CSR, held_out: CSR, threads: int) -> float:
    from implicit.als import AlternatingLeastSquares
    from implicit.evaluation import AUC_at_k

    options = {"K": len(items), "show_progress": False, "num_threads": threads}
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(users.shape[1], use_gpu=False, num_threads=threads)
        model.user_factors, model.item_factors = users, items
        return float(AUC_at_k(model, seen.to_scipy(), held_out.to_scipy(), **options))


LIBRARIES: dict[str, Callable[[Any, Any, CSR, CSR, int], Any]] = {
    "cofactor": with_cofactor,
    "implicit": with_implicit,
    "numpy": with_numpy,
    "torch": with_torch,
}


def problem(users: int, items: int, n_held_out: int) -> tuple[CSR, CSR]:
    """About 123 seen items and n_held_out held-out ones a user."""
    pairs = cf.datasets.synthetic(users, items, users * (123 + n_held_out), seed=0).user_items
    held_out = np.random.default_rng(1).random(pairs.nnz) < n_held_out / (123 + n_held_out)
    held_out[pairs.indptr[:-1][np.diff(pairs.indptr) > 0]] = False  # everybody keeps something
    rows = pairs.row_index()
    parts = (CSR.from_pairs(rows[p], pairs.indices[p], pairs.values[p], pairs.shape) for p in (~held_out, held_out))
    return tuple(parts)  # type: ignore[return-value]


def vectors(seen: CSR, factors: int, threads: int) -> tuple[Any, Any]:
    model = cf.ImplicitALS(factors, iterations=2, regularization=0.01, unobserved_weight=0.1, threads=threads)
    model.fit(cf.Interactions.from_csr(seen), progress=False)
    return model.user_factors_, model.item_factors_


def compare(args: argparse.Namespace) -> None:
    """The main table."""
    seen, held_out = problem(args.users, args.items, args.held_out)
    print(f"{seen.nnz:,} pairs seen, {held_out.nnz:,} held out, {args.threads} threads, CPU level {native.level}\n")
    names = ["cofactor", *args.peers]
    print_header(["factors", *(f"{n} s" for n in names), *(f"{n} / cofactor" for n in args.peers), "share of sgemm"])
    for factors in args.factors:
        given = (*vectors(seen, factors, args.threads), seen, held_out)
        check(given, args)
        steps = {n: partial(LIBRARIES[n], *given, args.threads) for n in names}
        seconds, figures = interleaved(steps, args.repeats, {"sgemm": partial(ceiling.sgemm, args.threads, 1)})
        median = {n: statistics.median(s) for n, s in seconds.items()}
        least = 2 * args.users * args.items * factors / (statistics.median(figures["sgemm"]) * 1e9)
        ratios = (f"{median[p] / median['cofactor']:.1f}" for p in args.peers)
        print_row(factors, *(f"{median[n]:.2f}" for n in names), *ratios, f"{least / median['cofactor']:.0%}")


def check(given: tuple[Any, Any, CSR, CSR], args: argparse.Namespace) -> None:
    """Hold all libraries to cofactor, but for last digits of scores and the order of ties."""
    ours, held_out = with_cofactor(*given, args.threads), given[-1]
    for name in args.peers:
        theirs = LIBRARIES[name](*given, args.threads)
        if name == "implicit":
            n = np.diff(held_out.indptr).astype(np.float64)
            wrong = np.bincount(held_out.row_index(), ours, len(n)) - n * (n + 1) / 2
            auc = 1 - (wrong / np.maximum(n * (args.items - n), 1))[n > 0].mean()
            same = 1 - abs(auc - theirs)
        else:
            same = np.mean(np.abs(ours - theirs) <= 1e-3 * args.items)
        if same < 0.999:
            raise SystemExit(f"{name} and cofactor agree to {same:.3%} only")


class ListsOnly:
    """A model as one of another library, which is asked for complete lists."""

    def __init__(self, model: Any) -> None:
        self.interactions_, self.recommend, self.predict = model.interactions_, model.recommend, model.predict


def evaluate(args: argparse.Namespace) -> None:
    """``cf.evaluate`` of a model of everybody, each in a fresh process that did nothing else that takes memory."""
    texts = ["s", "processor s", "by complete lists, processor s", "peak memory, GB", "before evaluate, GB"]
    print_header(["factors", *texts])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.npz"
        seen, held_out = problem(138_000, 27_000, 7)
        np.savez(file, seen.indptr, seen.indices, held_out.row_index(), held_out.indices)
        for factors in args.factors:
            found = in_fresh_process(__file__, "--once", factors, file)
            times = (f"{found[n]:.1f}" for n in ("seconds", "processor"))
            print_row(factors, *times, f"{found['lists']:,.0f}", *(f"{found[n] / 1e9:.2f}" for n in ("peak", "before")))


def once(factors: int, file: str) -> dict[str, float]:
    indptr, indices, user, item = np.load(file).values()
    seen = cf.Interactions.from_csr(CSR(indptr, indices, np.ones(len(indices), np.float32), 27_000))
    model = cf.ImplicitALS(factors, iterations=1, regularization=0.01, unobserved_weight=0.1)
    model.fit(seen, progress=False)
    test = pl.DataFrame({"user_id": user, "item_id": item})
    before, start, processor = peak_memory(), time.perf_counter(), time.process_time()
    cf.evaluate(model, test, METRICS, progress=False)
    seconds, processor, peak = time.perf_counter() - start, time.process_time() - processor, peak_memory()
    some = test["user_id"].unique().sample(500, seed=0)
    start_lists, part = time.process_time(), test.filter(pl.col("user_id").is_in(some.implode()))
    cf.evaluate(ListsOnly(model), part, METRICS, progress=False)
    lists = (time.process_time() - start_lists) * test["user_id"].n_unique() / len(some)
    return {"seconds": seconds, "processor": processor, "lists": lists, "before": before, "peak": peak}


WAYS = {"compare": compare, "evaluate": evaluate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=WAYS, default="compare")
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--held-out", type=int, default=8)
    parser.add_argument("--factors", type=int, nargs="+", default=[10, 64])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", nargs="*", choices=list(LIBRARIES)[1:], default=["implicit", "numpy"])
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--once", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        print(json.dumps(once(int(args.once[0]), args.once[1])))
    else:
        WAYS[args.what](args)


if __name__ == "__main__":
    main()
