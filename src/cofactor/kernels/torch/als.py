r"""Implicit alternating least squares in PyTorch: Gramians, principal axes and sweeps.

With the scaled rows Z of a history (:math:`z_k = \sqrt{w_k} y_k`) and :math:`M = a_0 D + l I`, the exact solver takes
the system ``Z'Z + a0 G + l I``, or for short histories that of their entries (Woodbury), as
``native/als/cholesky.hpp`` does. The other solvers are those of ``native/als/cg.hpp`` and ``native/als/subspace.hpp``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels.blas import limited
from cofactor.kernels.torch.als_cg import by_steps
from cofactor.kernels.torch.als_cholesky import exactly
from cofactor.kernels.torch.als_chunks import Sweep
from cofactor.kernels.torch.als_subspace import by_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.kernels.arrays import Float
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.torch.place import HeldRows, Place, Tensor

__all__ = ["als_bytes", "als_sweep", "gramian", "squared_norms", "to_principal_axes", "vectors"]

_SOLVERS = {"cholesky": exactly, "cg": by_steps, "subspace": by_blocks}


def gramian(place: Place, y: Tensor, *, threads: int | None = None) -> Tensor:
    """``y.T @ y``."""
    y = place.tensor(y)
    if y.shape[1] < 1:
        raise ValueError("y must have at least one factor")
    square = y.T @ y
    return (square + square.T) / 2  # products of BLAS need not be symmetric to the last bit


def squared_norms(place: Place, vectors: Tensor) -> Tensor:
    """Squared length of every row."""
    return place.tensor(vectors).square().sum(1)


def vectors(place: Place, n: int, factors: int, fill: Callable[[Float], object] | None = None) -> Tensor:
    """New vectors: zeros, or what ``fill`` writes into an array of NumPy, the same on every device."""
    import torch

    if fill is None:
        return torch.zeros((n, factors), dtype=torch.float32, device=place.device)
    first = np.zeros((n, factors), np.float32)
    fill(first)
    return place.tensor(first)


def to_principal_axes(place: Place, fixed: Tensor, *others: Tensor, threads: int | None = None) -> Tensor:
    """Rotate all in place so that ``fixed.T @ fixed`` is diagonal; the diagonal matrix, of NaN where that fails."""
    import torch

    square = gramian(place, fixed).double().cpu()
    n = len(square)
    if not square.isfinite().all():
        return torch.full((n,), torch.nan, device=place.device).diag()
    with limited(1):
        values, axes = np.linalg.eigh(square.numpy())  # the host's float64 on every device: their axes agree
    rotation = place.tensor(axes[:, ::-1].astype(np.float32))
    rows = max(place.chunk_floats // n, 1)
    for rotated in (fixed, *others):
        for part in rotated.split(rows):
            part.copy_(part @ rotation)
    return place.tensor(np.maximum(values[::-1], 1e-7 * values[-1]).astype(np.float32)).diag()


def als_bytes(place: Place, n_rows: int, factors: int, *, gather: str = "float32", threads: int | None = None) -> int:
    """Memory that sweeps over sides of at most ``n_rows`` take beside vectors and histories."""
    chunk = max(place.chunk_floats, 4 * factors**2)
    return 4 * 4 * chunk + (2 * n_rows * factors if gather == "bfloat16" else 0)


def als_sweep(
    place: Place,
    history: CSR | HeldRows,
    solved: Tensor,
    fixed: Tensor,
    fixed_gramian: Tensor,
    *,
    alpha: float,
    unobserved_weight: float,
    regularization: float,
    regularization_exponent: float,
    solver: str,
    cg_steps: int = 3,
    cg_tolerance: float = 1e-7,
    block_size: int = 32,
    gather: str = "float32",
    threads: int | None = None,
) -> tuple[float, int]:
    """Improve every row of ``solved`` in place with ``fixed`` held; the loss, and a row that failed or -1."""
    import torch

    rows, fixed, g = place.rows(history), place.tensor(fixed), place.tensor(fixed_gramian)
    _check(rows, solved, fixed, g, solver=solver, gather=gather)
    lengths = rows.lengths
    diagonal = g.diagonal()
    along_axes = not torch.count_nonzero(g.masked_fill(torch.eye(len(g), dtype=torch.bool, device=g.device), 0))
    if solver != "cholesky" and not along_axes:
        raise ValueError("solvers cg and subspace want a diagonal gramian: rotate both sides by to_principal_axes")
    frequency = lengths.astype(np.float32) + np.float32(unobserved_weight) * np.float32(len(fixed))
    penalties = np.float32(regularization) * frequency ** np.float32(regularization_exponent)
    sweep = Sweep(
        place=place,
        rows=rows,
        solved=solved,
        fixed=fixed.bfloat16().float() if gather == "bfloat16" and solver == "cg" else fixed,
        gramian=unobserved_weight * g,
        diagonal=diagonal,
        axes=unobserved_weight * diagonal if along_axes else None,
        unobserved_weight=unobserved_weight,
        alpha=alpha,
        penalties=place.tensor(penalties.astype(np.float32)),
        cg_steps=cg_steps,
        cg_tolerance=cg_tolerance,
        block_size=-(-block_size // 16) * 16,
    )
    solved[place.tensor(lengths == 0)] = 0
    losses = [torch.zeros((), dtype=torch.float64, device=place.device)]
    failed = torch.full((), -1, dtype=torch.int64, device=place.device)
    for loss, bad, numbers in _SOLVERS[solver](sweep):
        losses.append(loss)
        failed = torch.where(bad.any(), numbers[bad.to(torch.int8).argmax()], failed)
    row = int(failed)
    return (float("nan") if row >= 0 else float(torch.stack(losses).sum())), row


def _check(rows: HeldRows, solved: Tensor, fixed: Tensor, g: Tensor, *, solver: str, gather: str) -> None:
    n, factors = fixed.shape
    if solver not in _SOLVERS:
        raise ValueError("solver must be cholesky, cg or subspace")
    if gather not in ("float32", "bfloat16"):
        raise ValueError("gather must be float32 or bfloat16")
    if len(solved) != rows.shape[0]:
        raise ValueError("solved must have one row per history")
    if solved.shape[1] != factors or factors < 1:
        raise ValueError("solved and fixed must have the same number of factors")
    if tuple(g.shape) != (factors, factors):
        raise ValueError("gramian must be factors x factors")
    if rows.shape[1] > n:
        raise ValueError("columns must be ascending and in range")
