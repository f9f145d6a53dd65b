"""Implicit ALS beside implicit and irspack: same matrix, same loss, same run, and the share of what the machine can do.

    pip install '.[bench]'
    python benchmarks/als.py                              # seconds per iteration, every solver, 32 to 512 factors
    python benchmarks/als.py convergence --plot loss.svg  # seconds to the loss that a peer ends with
    python benchmarks/als.py threads                      # speed-up with threads, beside that of sgemm
    python benchmarks/als.py growth                       # seconds against interactions and against factors
    python benchmarks/als.py gathers                      # a pair in 32 and 16 bits, from a cache and from memory
    python benchmarks/als.py memory                       # peak of whole fits, each in a fresh process
    python benchmarks/als.py scale                        # 5 M users, 1 M items, 200 M pairs, 64 factors

Every option works with every table: ``--users 5000 --items 2000 --interactions 200_000 --factors 64`` is a quick try.
The runs of all libraries are interleaved and medians compared, since machines drift. The matrix is synthetic and
long-tailed; an iteration is one sweep over the users and one over the items. "cg2" is cofactor's conjugate gradient
with two steps instead of three, which with its preconditioner come to much the same loss; "cg16" reads the vectors that
are held fixed from a copy in 16 bits.

implicit and irspack run as they do best: one BLAS thread, as implicit asks for, and no threads that spin in one
library while another works. implicit's exact solver makes one BLAS call per interaction and factor, 15 to 30 ns each,
with every release of SciPy since 1.13. irspack's wheels are compiled for AVX without fused multiply-add; built from
source with ``CFLAGS=-march=native``, as its documentation says, it is faster. The first line of output tells which.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import _als_convergence
import _als_gathers
import _als_memory
import ceiling
import numpy as np
from _als_libraries import ALL_SOLVERS, BLOCK, LIBRARIES, SOLVERS, check, versions, with_cofactor
from _measure import interleaved, print_header, print_row

import cofactor as cf
from cofactor.kernels import native
from cofactor.system.threads import available_threads

SIZES = {
    "scale": {"users": 5_000_000, "items": 1_000_000, "interactions": 200_000_000, "factors": [64]},
    "sweep": {"factors": [32, 64, 128, 256, 512]},
    "growth": {"factors": [32, 64, 128, 256, 512]},
}
OTHERWISE = {"users": 138_000, "items": 27_000, "interactions": 17_000_000, "factors": [64, 128]}


def matrix(args: argparse.Namespace) -> cf.Interactions:
    x = cf.datasets.synthetic(args.users, args.items, args.interactions, seed=0)
    print(f"{x}\n", flush=True)
    return x


def share_of_ceiling(x: cf.Interactions, factors: int, solver: str, seconds: float, figures: dict[str, float]) -> float:
    """Needed operations of an iteration, over what the machine does in that time.

    A multiply-add counts two operations. Gramians and rotations are left out.

    - cholesky: per interaction and side ``factors^2`` (the lower triangle of an outer product), per row
      ``factors^3 / 3``; short rows, which take fewer, count the same, so that a share may be above 1.
    - subspace, blocks of b factors: per interaction and side ``factors (b + 6)`` (the lower triangles of the blocks,
      the score, and its correction and gradient in every block), per row ``factors b^2 / 3``.
    - cg: every interaction's row gathered once per side, in pieces of 128 bytes.
    """
    nnz = 2 * x.nnz
    rows = sum(int(np.count_nonzero(np.diff(side.indptr))) for side in (x.user_items, x.item_users))
    if solver.startswith("cg"):
        per_piece = 64 if solver == "cg16" else 32
        return nnz * factors / per_piece / seconds / (figures["gathers"] * 1e6)
    flops = nnz * factors**2 + rows * factors**3 / 3
    if solver == "subspace":
        b = min(BLOCK, factors)
        flops = nnz * factors * (b + 6) + rows * factors * b**2 / 3
    return flops / seconds / (figures["sgemm"] * 1e9)


def sweep(args: argparse.Namespace) -> None:
    """The main table."""
    x, names = matrix(args), ["cofactor", *args.peers]
    ratios = [f"{p} / cofactor" for p in args.peers]
    print_header(["factors", "solver", *(f"{n} s" for n in names), *ratios, "share", "of the ceiling"])
    slow: set[tuple[str, str]] = set()
    for factors in args.factors:
        for solver in args.solvers:
            running = [n for n in names if solver in SOLVERS[n] and (n, solver) not in slow]
            steps = {n: LIBRARIES[n](x, factors, solver, args.threads).step for n in running}
            kind = "gathers" if solver.startswith("cg") else "sgemm"
            ceilings = {kind: lambda kind=kind: getattr(ceiling, kind)(args.threads, 1)}
            seconds, figures = interleaved(steps, args.iterations, ceilings)
            median = {n: statistics.median(s) for n, s in seconds.items()}
            figure = statistics.median(figures[kind])
            share = share_of_ceiling(x, factors, solver, median["cofactor"], {kind: figure})
            unit = f"{figure:.0f} {'M gathers/s' if kind == 'gathers' else 'GFLOP/s'}"
            slow |= {(n, solver) for n in median if n != "cofactor" and median[n] > args.patience}
            cells = [f"{median[n]:.2f}" if n in median else "-" for n in names]
            faster = [f"{median[p] / median['cofactor']:.1f}" if p in median else "-" for p in args.peers]
            print_row(factors, solver, *cells, *faster, f"{share:.0%}", unit)


def threads(args: argparse.Namespace) -> None:
    """Speed-up over one thread, and that of the machine's ceilings."""
    x, counts = matrix(args), range(1, args.threads + 1)
    print_header(["factors", "", *(f"threads: {t}" for t in counts), *(f"{t} / 1" for t in counts[1:])])
    for factors in args.factors:
        for solver in args.solvers:
            steps = {str(t): with_cofactor(x, factors, solver, t).step for t in counts}
            seconds, _ = interleaved(steps, args.iterations)
            median = [statistics.median(s) for s in seconds.values()]
            print_row(factors, solver, *(f"{s:.2f} s" for s in median), *(f"{median[0] / s:.2f}" for s in median[1:]))
    for name, unit in (("sgemm", "GFLOP/s"), ("gathers", "M/s"), ("copies", "GB/s")):
        measure = getattr(ceiling, name)
        rounds = [[measure(t, 1) for t in counts] for _ in range(args.iterations)]
        median = [statistics.median(figures) for figures in zip(*rounds, strict=True)]
        print_row("", name, *(f"{f:.1f} {unit}" for f in median), *(f"{f / median[0]:.2f}" for f in median[1:]))


def growth(args: argparse.Namespace) -> None:
    """Seconds of an iteration against interactions, then against factors.

    Users and items grow with the interactions, so that histories stay as long as they are.
    """
    print(f"{args.factors[0]} factors, users and items in proportion to the interactions\n")
    columns = [text for s in args.solvers for text in (f"{s} s", "s per M")]
    print_header(["interactions", "users", "items", *columns])
    for n in args.grow:
        part = n / args.interactions
        x = cf.datasets.synthetic(int(args.users * part), int(args.items * part), n, seed=0)
        median = _medians(x, args.factors[0], args)
        print_row(
            f"{n:,}", f"{x.n_users:,}", f"{x.n_items:,}",
            *(text for s in median for text in (f"{s:.2f}", f"{s / n * 1e6:.3f}")),
        )  # fmt: skip
    print()
    x = matrix(args)
    print_header(["factors", *columns])
    for factors in args.factors:
        median = _medians(x, factors, args)
        print_row(factors, *(text for s in median for text in (f"{s:.2f}", f"{s / x.nnz * 1e6:.3f}")))


def _medians(x: cf.Interactions, factors: int, args: argparse.Namespace) -> list[float]:
    steps = {s: with_cofactor(x, factors, s, args.threads).step for s in args.solvers}
    return [statistics.median(s) for s in interleaved(steps, args.iterations)[0].values()]


def convergence(args: argparse.Namespace) -> None:
    """Seconds to the loss that every peer ends with."""
    check(["cofactor", *args.peers])
    _als_convergence.run(matrix(args), args)


WAYS: dict[str, Any] = {
    "sweep": sweep,
    "convergence": convergence,
    "threads": threads,
    "growth": growth,
    "gathers": _als_gathers.run,
    "memory": _als_memory.run,
    "scale": _als_memory.run,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=WAYS, default="sweep")
    parser.add_argument("--users", type=int)
    parser.add_argument("--items", type=int)
    parser.add_argument("--interactions", type=int)
    parser.add_argument("--factors", type=int, nargs="+")
    parser.add_argument("--solvers", nargs="+", choices=ALL_SOLVERS, default=ALL_SOLVERS)
    parser.add_argument("--peers", nargs="*", choices=("implicit", "irspack"), help="default: both, none for scale")
    parser.add_argument("--iterations", type=int, help="default: 3, 15 for convergence")
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--patience", type=float, default=120, help="seconds; a peer slower than that is left out")
    parser.add_argument("--grow", type=int, nargs="+", default=[10**6, 4 * 10**6, 16 * 10**6, 64 * 10**6])
    parser.add_argument("--plot", type=Path, help="where convergence draws the losses")
    parser.add_argument("--folder", type=Path, help="where memory and scale put their matrix for a while")
    args = parser.parse_args()
    for name, value in (OTHERWISE | SIZES.get(args.what, {})).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.peers is None:
        args.peers = [] if args.what in ("scale", "threads", "growth") else ["implicit", "irspack"]
    args.iterations = args.iterations or (15 if args.what == "convergence" else 3)
    return args


def main() -> None:
    args = arguments()
    names = ["cofactor", *args.peers]
    print(f"{versions(names)}; NumPy {np.__version__}, {args.threads} threads, CPU level {native.level}")
    WAYS[args.what](args)


if __name__ == "__main__":
    main()
