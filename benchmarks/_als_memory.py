"""Peak memory of whole fits, each in a fresh process: ``python benchmarks/als.py memory`` and ``scale``."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _als_libraries import ALPHA, OWN, REGULARIZATION, SOLVERS
from _measure import in_fresh_process, peak_memory, print_header, print_row

import cofactor as cf
from cofactor.kernels.csr import CSR

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def run(args: argparse.Namespace) -> None:
    """Print the table: peaks as such, and over the sparse matrix in both directions and the vectors."""
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        made = in_fresh_process(__file__, "generate", folder, args.users, args.items, args.interactions)
        print(f"{made['text']}, generated in {made['seconds']:.0f} s with {made['peak'] / 1e9:.2f} GB\n")
        print_header(
            ["factors", "library", "solver", "s per iteration", "peak GB", "imports GB", "needed GB", "peak / needed"]
        )
        for factors, name, solver in itertools.product(args.factors, ["cofactor", *args.peers], args.solvers):
            if solver in SOLVERS[name]:
                report(factors, name, solver, folder, args)


def report(factors: int, name: str, solver: str, folder: str, args: argparse.Namespace) -> None:
    result = in_fresh_process(__file__, "fit", folder, name, solver, factors, args.iterations, args.threads)
    n_vectors = args.users + args.items
    needed = 2 * 8 * args.interactions + 8 * (n_vectors + 2) + 4 * factors * n_vectors
    seconds = f"{result['seconds']:.2f}" if result["seconds"] else "-"
    gigabytes = [f"{n / 1e9:.2f}" for n in (result["peak"], result["imports"], needed)]
    print_row(factors, name, solver, seconds, *gigabytes, f"{(result['peak'] - result['imports']) / needed:.2f}")


def generate(folder: str, users: str, items: str, interactions: str) -> dict[str, Any]:
    begin = time.perf_counter()
    x = cf.datasets.synthetic(int(users), int(items), int(interactions), seed=0)
    for part in ("indptr", "indices", "values"):
        np.save(Path(folder) / part, getattr(x.user_items, part))
    (Path(folder) / "n_items").write_text(items)
    return {"text": repr(x), "seconds": time.perf_counter() - begin, "peak": peak_memory()}


def read(folder: str) -> CSR:
    parts = [np.load(Path(folder) / f"{part}.npy") for part in ("indptr", "indices", "values")]
    return CSR(*parts, int((Path(folder) / "n_items").read_text()))


def fit(folder: str, name: str, solver: str, factors: str, iterations: str, threads: str) -> dict[str, Any]:
    """Read the matrix and train with the library's public class; seconds are the median iteration's, if it tells."""
    train = {"cofactor": fit_cofactor, "implicit": fit_implicit, "irspack": fit_irspack}[name](
        solver, int(factors), int(iterations), int(threads)
    )
    imports = peak_memory()
    seconds = train(read(folder))
    return {"imports": imports, "peak": peak_memory(), "seconds": float(np.median(seconds)) if seconds else None}


def fit_cofactor(solver: str, factors: int, iterations: int, threads: int) -> Callable[[CSR], list[float]]:
    model = cf.ImplicitALS(
        factors,
        alpha=ALPHA,
        unobserved_weight=1.0,
        regularization=REGULARIZATION,
        regularization_exponent=0.0,
        iterations=iterations,
        **{"gather": "float32", "solver": solver} | OWN.get(solver, {}),
        threads=threads,
    )

    def train(csr: CSR) -> list[float]:
        ends: list[float] = []
        model.fit(
            cf.Interactions.from_csr(csr), progress=False, on_iteration=lambda *_: ends.append(time.perf_counter())
        )
        return [after - before for before, after in itertools.pairwise(ends[:-1])]  # the last sweep folds in exactly

    return train


def fit_implicit(solver: str, factors: int, iterations: int, threads: int) -> Callable[[CSR], list[float]]:
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors,
        regularization=REGULARIZATION,
        alpha=ALPHA + 1,
        use_cg=solver == "cg",
        iterations=iterations,
        num_threads=threads,
    )

    def train(csr: CSR) -> list[float]:
        seconds: list[float] = []
        model.fit(csr.to_scipy(), show_progress=False, callback=lambda _, spent, __: seconds.append(spent))
        return seconds

    return train


def fit_irspack(solver: str, factors: int, iterations: int, threads: int) -> Callable[[CSR], list[float]]:
    from irspack.recommenders.ials import IALSRecommender

    def train(csr: CSR) -> list[float]:
        model = IALSRecommender(
            csr.to_scipy(),
            n_components=factors,
            alpha0=1 / ALPHA,
            reg=REGULARIZATION / ALPHA,
            nu=0.0,
            solver_type={"cg": "CG", "cholesky": "CHOLESKY", "subspace": "IALSPP"}[solver],
            n_threads=threads,
            train_epochs=iterations,
        )
        with contextlib.redirect_stdout(io.StringIO()):  # it draws a progress bar
            model.learn()
        return []

    return train


if __name__ == "__main__":
    print(json.dumps({"generate": generate, "fit": fit}[sys.argv[1]](*sys.argv[2:])))
