"""EASE beside RecTools and irspack: same matrix, same regularization, every fit in a fresh process.

    pip install '.[bench]' rectools
    python benchmarks/products.py                                                   # 10,261 x 16,451, 1 M pairs
    python benchmarks/products.py --users 2000 --items 3000 --interactions 100_000  # a quick try

Seconds are those of ``fit`` alone, medians of ``--rounds``; memory is the process's peak above what it held before.
The matrix is synthetic, long-tailed and without weights. A peer that is not installed is left out and named.

The share is that of this machine's float32 matrix products, measured before and after every fit: n^3 operations (a
third for the Cholesky factor, two for the inverse from it, a multiply-add being two) over the seconds of the inverse, n
being items or, in the dual form, users.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ceiling
import scipy.sparse as sp
from _measure import in_fresh_process, peak_memory, print_header, print_row, seconds_of

import cofactor as cf
from cofactor.kernels import blas
from cofactor.kernels.csr import CSR
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

FORMS = ("cofactor dual", "cofactor primal")
PACKAGES = {"RecTools": "rectools", "irspack": "irspack"}


def with_cofactor(x: sp.csr_matrix, form: str, args: argparse.Namespace, inverse: list[float]) -> Callable[[], object]:
    data = cf.Interactions.from_csr(CSR.from_scipy(x))
    invert = blas.invert

    def timed(a: Any, **options: Any) -> bool:
        done: list[bool] = []
        inverse.append(seconds_of(lambda: done.append(invert(a, **options))))
        return done[0]

    blas.invert = timed  # type: ignore[assignment]
    return lambda: cf.EASE(args.regularization, form=form, threads=args.threads).fit(data)  # type: ignore[arg-type]


def with_rectools(x: sp.csr_matrix, args: argparse.Namespace) -> Callable[[], object]:
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import EASEModel

    pairs = x.tocoo()
    table = pd.DataFrame({Columns.User: pairs.row, Columns.Item: pairs.col, Columns.Weight: pairs.data})
    data = Dataset.construct(table.assign(**{Columns.Datetime: "2020-01-01"}))
    return lambda: EASEModel(regularization=args.regularization).fit(data)


def with_irspack(x: sp.csr_matrix, args: argparse.Namespace) -> Callable[[], object]:
    from irspack import DenseSLIMRecommender

    return lambda: DenseSLIMRecommender(x, reg=args.regularization).learn()


def fit_once(args: argparse.Namespace) -> None:
    """In a fresh process: one fit, and what it took."""
    x, inverse = sp.load_npz(args.matrix), []
    if args.child in FORMS:
        fit = with_cofactor(x, args.child.split()[1], args, inverse)
    else:
        fit = {"RecTools": with_rectools, "irspack": with_irspack}[args.child](x, args)
    before, start = ceiling.sgemm(args.threads), peak_memory()
    seconds = seconds_of(fit)
    peak = peak_memory() - start
    figure = statistics.mean([before, ceiling.sgemm(args.threads)])
    print(json.dumps({"seconds": seconds, "peak": peak, "inverse": sum(inverse), "sgemm": figure}))


def compare(args: argparse.Namespace) -> None:
    x = cf.datasets.synthetic(args.users, args.items, args.interactions, seed=0)
    print(f"{x}, regularization {args.regularization:g}, {args.threads} threads\n")
    names = [*FORMS, *(name for name in PACKAGES if importlib.util.find_spec(PACKAGES[name]))]
    if left_out := set(PACKAGES) - set(names):
        print(f"not installed, left out: {', '.join(sorted(left_out))}\n")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        matrix = Path(folder) / "matrix.npz"
        binary = x.user_items.to_scipy()
        binary.data[:] = 1
        sp.save_npz(matrix, binary)
        options = ["--regularization", args.regularization, "--threads", args.threads, "--matrix", matrix]
        for _ in range(args.rounds):
            for name in names:
                runs[name].append(in_fresh_process(__file__, "--child", name, *options))
    median = {name: {key: statistics.median(run[key] for run in of) for key in of[0]} for name, of in runs.items()}
    print_header(["", "fit s", "peak GB", *(f"{p} / it" for p in names[2:]), "inverse s", "share", "of sgemm"], 1)
    for name in names:
        figures = median[name]
        ratios = [f"{median[peer]['seconds'] / figures['seconds']:.1f}" for peer in names[2:]]
        own = ["-", "-", "-"]
        if name in FORMS:
            n = args.users if "dual" in name else args.items
            share = n**3 / figures["inverse"] / figures["sgemm"] / 1e9
            own = [f"{figures['inverse']:.1f}", f"{share:.0%}", f"{figures['sgemm']:.0f} GFLOP/s"]
        print_row(name, f"{figures['seconds']:.1f}", f"{figures['peak'] / 1e9:.2f}", *ratios, *own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=10_261)
    parser.add_argument("--items", type=int, default=16_451)
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--regularization", type=float, default=500.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--matrix", help=argparse.SUPPRESS)
    args = parser.parse_args()
    (fit_once if args.child else compare)(args)


if __name__ == "__main__":
    main()
