"""Nearest items by an index: exact and approximate, against faiss, usearch, hnswlib, annoy, on vectors that cluster.

    pip install '.[bench]'                           # and usearch, hnswlib, annoy where they can be installed
    python benchmarks/retrieval.py                   # 1.86 million items of 32 numbers, k = 20
    python benchmarks/retrieval.py --items 100000    # single queries
    python benchmarks/retrieval.py --clusters 1      # nothing to prune

Every index is built once; queries then go round all of them, batch by batch. Recall is that of the exact lists of
``top_k``, to which those of ``ExactIndex`` must be equal. Ratios are to the exact index.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from _measure import interleaved, print_header, print_row, seconds_of

import cofactor as cf
from cofactor.kernels import native, on
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    Search = Callable[[Any, int], Any]

PROBES = (8, 32, 128)  # lists of an inverted file that a query looks into
EXPANSIONS = (64, 256)  # candidates that a graph's search keeps


def vectors(n: int, factors: int, clusters: int, spread: float) -> Any:
    """Clusters of normal vectors around normal centres, their sizes falling as rank ** -0.7."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((clusters, factors), np.float32)
    sizes = np.arange(1, clusters + 1) ** -0.7
    of = rng.choice(clusters, n, p=sizes / sizes.sum())
    return centres[of] + np.float32(spread) * rng.standard_normal((n, factors), np.float32)


def with_exact(items: Any, threads: int) -> dict[str, Search]:
    index = cf.retrieval.ExactIndex(items, threads=threads)
    return {"cofactor exact": lambda queries, k: index.search(queries, k).rows}


def with_approximate(items: Any, threads: int) -> dict[str, Search]:
    index = cf.retrieval.ApproximateIndex(items, threads=threads)
    return {f"cofactor approximate, {index.effort} % of the bounds": lambda queries, k: index.search(queries, k).rows}


def with_top_k(items: Any, threads: int) -> dict[str, Search]:
    return {"cofactor top_k": lambda queries, k: on("cpu").top_k(queries, items, k, threads=threads).rows}


def with_flat(items: Any, threads: int) -> dict[str, Search]:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    return {"faiss flat": lambda queries, k: index.search(queries, k)[1]}


def with_ivf(items: Any, threads: int) -> dict[str, Search]:
    import faiss

    faiss.omp_set_num_threads(threads)
    n_lists = max(1, min(4096, len(items) // 39))
    index = faiss.index_factory(items.shape[1], f"IVF{n_lists},Flat", faiss.METRIC_INNER_PRODUCT)
    rng = np.random.default_rng(0)
    index.train(items[rng.permutation(len(items))[: 64 * n_lists]])
    index.add(items)

    def search(probes: int, queries: Any, k: int) -> Any:
        index.nprobe = probes
        return index.search(queries, k)[1]

    return {f"faiss IVF, {probes} lists": partial(search, probes) for probes in PROBES if probes <= n_lists}


def with_usearch(items: Any, threads: int) -> dict[str, Search]:
    from usearch.index import Index

    index = Index(ndim=items.shape[1], metric="ip", dtype="f32")
    index.add(np.arange(len(items)), items, threads=threads)

    def search(expansion: int, queries: Any, k: int) -> Any:
        index.expansion_search = expansion
        return index.search(queries, k, threads=threads).keys.astype(np.int64).reshape(len(queries), -1)

    return {f"usearch, {n} candidates": partial(search, n) for n in EXPANSIONS}


def with_hnswlib(items: Any, threads: int) -> dict[str, Search]:
    import hnswlib

    index = hnswlib.Index("ip", items.shape[1])
    index.init_index(len(items), ef_construction=100, M=16)
    index.set_num_threads(threads)
    index.add_items(items)

    def search(expansion: int, queries: Any, k: int) -> Any:
        index.set_ef(expansion)
        return index.knn_query(queries, k)[0]

    return {f"hnswlib, {n} candidates": partial(search, n) for n in EXPANSIONS}


def with_annoy(items: Any, threads: int) -> dict[str, Search]:
    from annoy import AnnoyIndex

    index = AnnoyIndex(items.shape[1], "dot")
    index.set_seed(0)
    for row, vector in enumerate(items):
        index.add_item(row, vector)
    index.build(10, n_jobs=threads)

    def search(queries: Any, k: int) -> Any:  # it takes one query at a time
        found = (index.get_nns_by_vector(query, k) for query in queries)
        return np.array([rows + [-1] * (k - len(rows)) for rows in found])

    return {"annoy, 10 trees": search}


# What is built, and the package that it needs.
LIBRARIES: dict[str, tuple[Callable[[Any, int], dict[str, Search]], str]] = {
    "exact": (with_exact, "cofactor"),
    "approximate": (with_approximate, "cofactor"),
    "top_k": (with_top_k, "cofactor"),
    "flat": (with_flat, "faiss"),
    "ivf": (with_ivf, "faiss"),
    "usearch": (with_usearch, "usearch"),
    "hnswlib": (with_hnswlib, "hnswlib"),
    "annoy": (with_annoy, "annoy"),
}


def recall(rows: Any, wanted: Any) -> float:
    """Which share of the wanted items came back."""
    hits = [len(np.intersect1d(a, b)) for a, b in zip(rows, wanted, strict=True)]
    return sum(hits) / wanted.size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_860_000)
    parser.add_argument("--factors", type=int, default=32)
    parser.add_argument("--clusters", type=int, default=2000)
    parser.add_argument("--spread", type=float, default=0.3)
    parser.add_argument("--queries", type=int, default=4000, help="in a batch; they are items, drawn evenly")
    parser.add_argument("--singles", type=int, default=200)
    parser.add_argument("-k", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    installed = [name for name, (_, package) in LIBRARIES.items() if find_spec(package)]
    parser.add_argument("--libraries", nargs="+", choices=installed, default=installed)
    parser.add_argument("--threads", type=int, default=available_threads())
    args = parser.parse_args()

    items = vectors(args.items, args.factors, args.clusters, args.spread)
    queries = items[np.random.default_rng(1).integers(0, args.items, args.queries)]
    print(f"{args.items:,} items of {args.factors}, {args.clusters:,} clusters of spread {args.spread}, k = {args.k}, "
          f"{args.threads} threads, CPU level {native.level}\n")  # fmt: skip
    wanted = on("cpu").top_k(queries, items, args.k, threads=args.threads).rows
    searches: dict[str, Search] = {}
    built: dict[str, float] = {}
    for name in args.libraries:
        made: dict[str, Search] = {}
        seconds = seconds_of(lambda name=name, made=made: made.update(LIBRARIES[name][0](items, args.threads)))
        searches |= made
        built |= dict.fromkeys(made, seconds)
    found = {name: recall(search(queries, args.k), wanted) for name, search in searches.items()}
    if found.get("cofactor exact", 1) != 1:
        raise SystemExit("the exact index and top_k differ")
    batch = interleaved({n: partial(s, queries, args.k) for n, s in searches.items()}, args.repeats)[0]
    ones = [queries[i : i + 1] for i in range(min(args.singles, args.queries))]
    single = {name: [seconds_of(partial(search, one, args.k)) for one in ones] for name, search in searches.items()}
    rate = {name: args.queries / statistics.median(seconds) for name, seconds in batch.items()}
    base = rate.get("cofactor exact", float("nan"))
    print_header(["index", "built, s", f"recall@{args.k}", "queries/s", "/ exact", "one, p50 ms", "one, p95 ms"], 1)
    for name in searches:
        low, high = np.quantile(single[name], [0.5, 0.95]) * 1e3
        times = f"{low:.3f}", f"{high:.3f}"
        print_row(
            name, f"{built[name]:.1f}", f"{found[name]:.4f}", f"{rate[name]:,.0f}", f"{rate[name] / base:.2f}", *times
        )


if __name__ == "__main__":
    main()
