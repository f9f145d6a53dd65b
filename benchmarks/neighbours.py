"""ItemKNN beside implicit and irspack: nearest items by cosine, TF-IDF and BM25 on the same matrix in the same run.

    pip install '.[bench]'
    python benchmarks/neighbours.py                                                   # 138 k users x 27 k items, 17 M
    python benchmarks/neighbours.py --users 5000 --items 2000 --interactions 200_000  # a quick try

All multiply the same sparse matrices; the runs are interleaved and medians compared. Every library keeps the same
number of neighbours, and the overlap is the share of cofactor's that a peer has, too: not all of them, as equal
similarities at the end of a list may be cut differently. irspack's other similarities are defined differently, so that
only its cosine is the same model.
"""

from __future__ import annotations

import argparse
import statistics
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from _measure import interleaved, print_header, print_row

import cofactor as cf
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

PEERS = ("implicit", "irspack")


def cofactor_neighbours(x: cf.Interactions, kind: str, args: argparse.Namespace) -> sp.csr_matrix:
    """Row: an item; columns: its nearest."""
    model = cf.ItemKNN(kind, args.neighbours, threads=args.threads).fit(x)  # type: ignore[arg-type]
    return sp.csr_matrix(model.item_weights_.to_scipy())


def implicit_neighbours(matrix: sp.csr_matrix, kind: str, args: argparse.Namespace) -> sp.csr_matrix:
    from implicit import nearest_neighbours

    name = {"cosine": "Cosine", "tfidf": "TFIDF", "bm25": "BM25"}[kind]
    model = getattr(nearest_neighbours, f"{name}Recommender")(K=args.neighbours + 1, num_threads=args.threads)
    model.fit(matrix, show_progress=False)  # it counts the item itself as one of K
    return sp.csr_matrix(model.similarity)


def irspack_neighbours(matrix: sp.csr_matrix, args: argparse.Namespace) -> sp.csr_matrix:
    from irspack import CosineKNNRecommender

    options: dict[str, Any] = {"shrinkage": 0.0, "normalize": True, "top_k": args.neighbours, "n_threads": args.threads}
    return sp.csr_matrix(CosineKNNRecommender(matrix, **options).learn().W)


def overlap(ours: sp.csr_matrix, theirs: sp.csr_matrix) -> float:
    """Share of our neighbours that they have; a matrix and its transpose are the better of the two."""
    own = ours.copy()
    own.setdiag(0)
    own.eliminate_zeros()
    own.data[:] = 1
    other = theirs.copy()
    other.data[:] = 1
    return max(own.multiply(m).sum() for m in (other, other.T)) / own.nnz


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=138_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--interactions", type=int, default=17_000_000)
    parser.add_argument("--neighbours", type=int, default=50)
    parser.add_argument("--kinds", nargs="+", choices=("cosine", "tfidf", "bm25"), default=("cosine", "tfidf", "bm25"))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=available_threads())
    args = parser.parse_args()
    x = cf.datasets.synthetic(args.users, args.items, args.interactions, seed=0)
    matrix = sp.csr_matrix(x.user_items.to_scipy(), dtype=np.float64)
    print(f"{x}, {args.neighbours} neighbours, {args.threads} threads\n")
    print_header(["similarity", "cofactor s", *(f"{p} s" for p in args.peers), *(f"{p} / cofactor" for p in args.peers)]
                 + [f"overlap with {p}" for p in args.peers], 1)  # fmt: skip
    found: dict[str, sp.csr_matrix] = {}
    for kind in args.kinds:
        fits: dict[str, Callable[[], object]] = {
            "cofactor": lambda kind=kind: found.update(cofactor=cofactor_neighbours(x, kind, args)),
            "implicit": lambda kind=kind: found.update(implicit=implicit_neighbours(matrix, kind, args)),
            "irspack": lambda: found.update(irspack=irspack_neighbours(matrix, args)),
        }
        names = [n for n in ("cofactor", *args.peers) if n != "irspack" or kind == "cosine"]
        seconds, _ = interleaved({n: fits[n] for n in names}, args.rounds)
        median = {n: statistics.median(s) for n, s in seconds.items()}
        print_row(
            kind,
            *(f"{median[n]:.1f}" if n in median else "-" for n in ("cofactor", *args.peers)),
            *(f"{median[p] / median['cofactor']:.1f}" if p in median else "-" for p in args.peers),
            *(f"{overlap(found['cofactor'], found[p]):.2%}" if p in names else "-" for p in args.peers),
        )


if __name__ == "__main__":
    main()
