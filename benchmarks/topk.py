"""Top-10 of many users with seen items left out: cofactor beside implicit and NumPy, same run.

pip install '.[bench]'
python benchmarks/topk.py                       # 20,000 users, 27,000 items, 64 and 128 factors
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import cofactor as cf
from cofactor.kernels import cpu
from cofactor.kernels.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.csr import CSR


def with_cofactor(users: Any, items: Any, seen: CSR, k: int, threads: int) -> Any:
    return cpu.top_k(users, items, k, exclude=seen, threads=threads)[0]


def with_implicit(users: Any, items: Any, seen: CSR, k: int, threads: int) -> Any:
    from implicit.cpu.topk import topk

    return topk(items, users, k, filter_query_items=seen.to_scipy(), num_threads=threads)[0]


def with_numpy(users: Any, items: Any, seen: CSR, k: int, threads: int) -> Any:
    out = np.empty((len(users), k), np.int32)
    for at in range(0, len(users), 1000):
        piece = seen.take(np.arange(at, min(at + 1000, len(users))))
        scores = users[at : at + 1000] @ items.T
        scores[piece.row_index(), piece.indices] = -np.inf
        best = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        out[at : at + 1000] = np.take_along_axis(best, order, axis=1)
    return out


LIBRARIES: dict[str, Callable[[Any, Any, CSR, int, int], Any]] = {
    "cofactor": with_cofactor,
    "implicit": with_implicit,
    "numpy": with_numpy,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--factors", type=int, nargs="+", default=[64, 128])
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=["implicit", "numpy"])
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()
    threads = args.threads or available_threads()
    x = cf.datasets.synthetic(args.users, args.items, args.users * 100, seed=0)
    print(f"{x}, top {args.k}, {threads} threads, CPU level {cpu.level}\n")
    names = ["cofactor", *args.peers]
    print(f"| factors | {' | '.join(f'{n} s' for n in names)} | {' | '.join(f'{p} / cofactor' for p in args.peers)} |")
    print("|---:|" + "---:|" * (2 * len(names) - 1))
    for factors in args.factors:
        rng = np.random.default_rng(0)
        users, items = (rng.normal(size=(n, factors)).astype(np.float32) for n in (x.n_users, x.n_items))
        seconds: dict[str, list[float]] = {n: [] for n in names}
        lists = {}
        for _ in range(args.repeats):
            for name in names:
                begin = time.perf_counter()
                lists[name] = LIBRARIES[name](users, items, x.user_items, args.k, threads)
                seconds[name].append(time.perf_counter() - begin)
        for name in args.peers:
            same = np.mean(lists[name] == lists["cofactor"])
            if same < 0.9999:
                raise SystemExit(f"{name} and cofactor agree on {same:.4%} of the places only")
        median = {n: statistics.median(s) for n, s in seconds.items()}
        ratios = " | ".join(f"{median[p] / median['cofactor']:.1f}" for p in args.peers)
        print(f"| {factors} | {' | '.join(f'{median[n]:.2f}' for n in names)} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
