"""Seconds per iteration of implicit ALS: cofactor beside implicit and irspack, same matrix, same run.

    pip install '.[bench]'
    python benchmarks/als.py                                  # 138 k users x 27 k items, 17 M pairs, long-tailed
    python benchmarks/als.py --factors 64 --interactions 1_000_000

Iterations of all libraries are interleaved and medians compared, since machines drift. An iteration is one sweep over
the users and one over the items; conjugate gradient takes 3 steps everywhere.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # what implicit asks for: its threads are its own
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads of one library must not spin while another one works

import numpy as np

import cofactor as cf
from cofactor.kernels import cpu
from cofactor.kernels.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    import scipy.sparse as sp

ALPHA, REGULARIZATION = 10.0, 0.01


def start(n: int, factors: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal(0, 0.1 / np.sqrt(factors), (n, factors)).astype(np.float32)


def cofactor_iteration(x: cf.Interactions, factors: int, solver: str, threads: int) -> Callable[[], None]:
    users, items = start(x.n_users, factors, 0), start(x.n_items, factors, 1)
    options = {
        "alpha": ALPHA,
        "unobserved_weight": 1.0,
        "regularization": REGULARIZATION,
        "regularization_exponent": 0.0,
    }

    def iterate() -> None:
        for history, solved, fixed in ((x.user_items, users, items), (x.item_users, items, users)):
            gramian = cpu.gramian(fixed, threads=threads)
            cpu.als_sweep(history, solved, fixed, gramian, solver=solver, threads=threads, **options)

    return iterate


def implicit_iteration(x: cf.Interactions, factors: int, solver: str, threads: int) -> Callable[[], None]:
    from implicit.cpu import _als
    from threadpoolctl import threadpool_limits

    users, items = start(x.n_users, factors, 0), start(x.n_items, factors, 1)
    confidence: sp.csr_matrix = x.user_items.to_scipy() * np.float32(1 + ALPHA)
    sides = ((confidence, users, items), (confidence.T.tocsr(), items, users))

    def iterate() -> None:
        with threadpool_limits(1, "blas"):
            for history, solved, fixed in sides:
                if solver == "cg":
                    _als.least_squares_cg(history, solved, fixed, REGULARIZATION, num_threads=threads, cg_steps=3)
                else:
                    _als.least_squares(history, solved, fixed, REGULARIZATION, num_threads=threads)

    return iterate


def irspack_iteration(x: cf.Interactions, factors: int, solver: str, threads: int) -> Callable[[], None]:
    from irspack.recommenders import ials

    config = (
        ials.IALSModelConfigBuilder()
        .set_K(factors)
        .set_alpha0(1.0 / ALPHA)
        .set_reg(REGULARIZATION / ALPHA)
        .set_nu(0.0)
        .set_init_stdev(0.1)
        .set_loss_type(ials.LossType.IALSPP)
        .build()
    )
    kind = {"cholesky": ials.SolverType.CHOLESKY, "cg": ials.SolverType.CG, "subspace": ials.SolverType.IALSPP}[solver]
    sweep = (
        ials.IALSSolverConfigBuilder()
        .set_n_threads(threads)
        .set_solver_type(kind)
        .set_max_cg_steps(3)
        .set_ialspp_subspace_dimension(64)
        .build()
    )
    trainer = ials.CoreTrainer(config, x.user_items.to_scipy())
    return lambda: trainer.step(sweep)


LIBRARIES = {"cofactor": cofactor_iteration, "implicit": implicit_iteration, "irspack": irspack_iteration}
SOLVERS = {"implicit": ("cg", "cholesky")}  # the others have all three


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=138_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--interactions", type=int, default=17_000_000)
    parser.add_argument("--factors", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--solvers", nargs="+", default=["cg", "cholesky", "subspace"])
    parser.add_argument("--peers", nargs="*", default=["implicit", "irspack"])
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()
    threads = args.threads or available_threads()
    x = cf.datasets.synthetic(args.users, args.items, args.interactions, seed=0)
    print(f"{x}, {threads} threads, CPU level {cpu.level}\n", flush=True)
    names = ["cofactor", *args.peers]
    ratio_names = " | ".join(f"{p} / cofactor" for p in args.peers)
    print(f"| factors | solver | {' | '.join(f'{n} s' for n in names)} | {ratio_names} |")
    print("|---:|---|" + "---:|" * (len(names) + len(args.peers)))
    for factors in args.factors:
        for solver in args.solvers:
            running = [n for n in names if solver in SOLVERS.get(n, (solver,))]
            steps = {n: LIBRARIES[n](x, factors, solver, threads) for n in running}
            seconds: dict[str, list[float]] = {n: [] for n in running}
            for _ in range(args.iterations):
                for name, step in steps.items():
                    begin = time.perf_counter()
                    step()
                    seconds[name].append(time.perf_counter() - begin)
            median = {n: statistics.median(s) for n, s in seconds.items()}
            cells = [f"{median[n]:.2f}" if n in median else "-" for n in names]
            ratios = [f"{median[p] / median['cofactor']:.1f}" if p in median else "-" for p in args.peers]
            print(f"| {factors} | {solver} | {' | '.join(cells)} | {' | '.join(ratios)} |", flush=True)


if __name__ == "__main__":
    main()
