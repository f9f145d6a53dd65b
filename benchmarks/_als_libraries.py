"""Implicit ALS of cofactor, implicit and irspack on equal terms: same loss, same start, same order of sweeps.

All weights being 1, the three minimise the same loss (see ``loss``) once these conventions are bridged:

- implicit pulls the score of an observed pair to 1 with confidence c, cofactor to 1 with ``ALPHA`` and to 0 with 1:
  equal for c = ALPHA + 1 with scores that are c / ALPHA times as large, so that vectors are scaled by the root of that
  and the regularization by c / ALPHA;
- irspack's loss is divided by ``2 ALPHA``.

``check`` holds them to that. An iteration is a sweep over the users, then one over the items.
"""

from __future__ import annotations

import importlib.metadata
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import cofactor as cf
from cofactor.kernels import on

if TYPE_CHECKING:
    from collections.abc import Callable

ALPHA, REGULARIZATION, CG_STEPS = 10.0, 0.01, 3
BLOCK, BLOCK_OF_IRSPACK = 32, 64  # what each takes by default
OPTIONS: dict[str, Any] = {
    "alpha": ALPHA,
    "unobserved_weight": 1.0,
    "regularization": REGULARIZATION,
    "regularization_exponent": 0.0,
    "cg_steps": CG_STEPS,
    "block_size": BLOCK,
}
_CHUNK_BYTES = 1 << 27


class Run(NamedTuple):
    """One library's training: ``step`` is an iteration, ``vectors`` the users' and items' in cofactor's scale."""

    step: Callable[[], None]
    vectors: Callable[[], tuple[Any, Any]]


def start(x: cf.Interactions, factors: int) -> tuple[Any, Any]:
    rng, scale = np.random.default_rng(0), np.float32(0.1 / np.sqrt(factors))
    users, items = (scale * rng.standard_normal((n, factors), np.float32) for n in (x.n_users, x.n_items))
    return users, items


def with_cofactor(x: cf.Interactions, factors: int, solver: str, threads: int) -> Run:
    kernels = on("cpu")
    users, items = (kernels.vectors(*v.shape, partial(np.copyto, src=v)) for v in start(x, factors))

    options = OPTIONS | OWN.get(solver, {"solver": solver})

    def step() -> None:
        for history, solved, fixed in ((x.user_items, users, items), (x.item_users, items, users)):
            gramian = kernels.to_principal_axes(fixed, *(() if solver == "cholesky" else (solved,)), threads=threads)
            _, failed = kernels.als_sweep(history, solved, fixed, gramian, threads=threads, **options)
            assert failed < 0, failed

    return Run(step, lambda: (users, items))


def with_implicit(x: cf.Interactions, factors: int, solver: str, threads: int) -> Run:
    from implicit.cpu import _als
    from threadpoolctl import threadpool_limits

    gamma = np.float32((ALPHA + 1) / ALPHA)
    users, items = (np.sqrt(gamma) * v for v in start(x, factors))
    confidence = x.user_items.to_scipy() * np.float32(ALPHA + 1)
    sides = ((confidence, users, items), (confidence.T.tocsr(), items, users))
    solve = _als.least_squares_cg if solver == "cg" else _als.least_squares
    options = {"num_threads": threads} | ({"cg_steps": CG_STEPS} if solver == "cg" else {})

    def step() -> None:
        with threadpool_limits(1, "blas"):
            for history, solved, fixed in sides:
                solve(history, solved, fixed, REGULARIZATION * float(gamma), **options)

    return Run(step, lambda: (users / np.sqrt(gamma), items / np.sqrt(gamma)))


def with_irspack(x: cf.Interactions, factors: int, solver: str, threads: int) -> Run:
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
        .set_max_cg_steps(CG_STEPS)
        .set_ialspp_subspace_dimension(BLOCK_OF_IRSPACK)
        .set_ialspp_iteration(1)
        .build()
    )
    trainer = ials.CoreTrainer(config, x.user_items.to_scipy())
    trainer.user, trainer.item = start(x, factors)
    return Run(lambda: trainer.step(sweep), lambda: (trainer.user, trainer.item))


LIBRARIES = {"cofactor": with_cofactor, "implicit": with_implicit, "irspack": with_irspack}
# Conjugate gradient of two steps instead of three, and from vectors in 16 bits.
OWN: dict[str, Any] = {"cg2": {"solver": "cg", "cg_steps": 2}, "cg16": {"solver": "cg", "gather": "bfloat16"}}
ALL_SOLVERS = ("cg", *OWN, "cholesky", "subspace")
SOLVERS = {"cofactor": ALL_SOLVERS, "implicit": ("cg", "cholesky"), "irspack": ("cg", "cholesky", "subspace")}


def versions(names: list[str]) -> str:
    """Versions, and what irspack was compiled for: its wheels leave out much of what CPUs have."""
    texts = [f"{name} {importlib.metadata.version(name)}" for name in names]
    if "irspack" in names:
        from irspack.recommenders import _ials_core

        sets = _ials_core.__doc__.split("use")[-1].replace(",", " ").split()
        texts[names.index("irspack")] += f" (compiled for {sets[0]})"
    return ", ".join(texts)


def loss(x: cf.Interactions, users: Any, items: Any, threads: int) -> float:
    """Training loss in float64, chunk by chunk.

    ALPHA (1 - s)^2 of the observed pairs, s^2 of all pairs, REGULARIZATION times the squared norms.
    """
    users, items = np.asarray(users, np.float64), np.asarray(items, np.float64)
    csr, n = x.user_items, max(1, _CHUNK_BYTES // (16 * users.shape[1]))
    rows = csr.row_index()

    def observed(at: int) -> float:
        piece = slice(at, at + n)
        scores = np.einsum("ij,ij->i", users[rows[piece]], items[csr.indices[piece]])
        return float(csr.values[piece].astype(np.float64) @ (1 - scores) ** 2)

    with ThreadPoolExecutor(threads) as pool:
        total = ALPHA * sum(pool.map(observed, range(0, csr.nnz, n)))
    total += np.vdot(users.T @ users, items.T @ items)
    return float(total + REGULARIZATION * (np.vdot(users, users) + np.vdot(items, items)))


def check(names: list[str]) -> None:
    """Hold one exact iteration of every library to dense float64 solutions from the same start."""
    x = cf.datasets.synthetic(300, 200, 6000, seed=1)
    matrix, (_, fixed) = x.user_items.to_scipy().toarray().astype(np.float64), start(x, 16)
    users = _exact(matrix, fixed.astype(np.float64))
    expected = users, _exact(matrix.T, users)
    for name in names:
        run = LIBRARIES[name](x, 16, "cholesky", 1)
        run.step()
        for side, vectors, exact in zip(("user", "item"), run.vectors(), expected, strict=True):
            wanted = exact @ exact.T  # the same in whatever axes the vectors stand
            off = np.abs(vectors @ vectors.T - wanted).max() / np.abs(wanted).max()
            if not off < 1e-3:
                raise SystemExit(f"{name}'s {side} vectors after one exact iteration are off by {off:.1e}")
    tested, direct = loss(x, *expected, 1), _dense_loss(matrix, *expected)
    assert abs(tested / direct - 1) < 1e-10, (tested, direct)


def _exact(matrix: Any, fixed: Any) -> Any:
    gramian = fixed.T @ fixed + REGULARIZATION * np.eye(fixed.shape[1])
    systems = gramian + ALPHA * np.einsum("ui,if,ig->ufg", matrix, fixed, fixed, optimize=True)
    return np.linalg.solve(systems, ALPHA * (matrix @ fixed)[:, :, None])[:, :, 0] * (matrix.sum(1) > 0)[:, None]


def _dense_loss(matrix: Any, users: Any, items: Any) -> float:
    scores = users @ items.T
    squares = ALPHA * (matrix * (1 - scores) ** 2).sum() + (scores**2).sum()
    return float(squares + REGULARIZATION * ((users**2).sum() + (items**2).sum()))
