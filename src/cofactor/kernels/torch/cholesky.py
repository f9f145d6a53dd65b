"""Many small symmetric systems at once, by Cholesky factors of their blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cofactor.kernels.torch.place import Tensor

__all__ = ["solve_systems"]

# LAPACK takes a multiple of the time for anything larger; the products between blocks run at full speed.
_CPU_BLOCK = 32


def solve_systems(systems: Tensor, sides: Tensor) -> tuple[Tensor, Tensor]:
    """Solve ``systems[i] @ x[i] = sides[i]``, and say which are not positive definite.

    Block elimination (Golub and Van Loan, Matrix Computations, 4.2.9), never more than a block of the factor at a time:
    with ``A = [[B, C.T], [C, D]]``, ``B = L L'`` and ``W = L^-1 C.T`` what is left is ``D - W'W``. On a GPU all is one
    block.

    Parameters
    ----------
    systems : (n, size, size) float32, symmetric
    sides : (n, size, 1) float32

    Returns
    -------
    x : (n, size, 1) float32
    failed : (n,) bool
    """
    import torch

    done, failed = [], torch.zeros(len(systems), dtype=torch.bool, device=systems.device)
    block = _CPU_BLOCK if systems.device.type == "cpu" else systems.shape[1]
    while systems.shape[1] > block:
        root, info = torch.linalg.cholesky_ex(systems[:, :block, :block])
        failed |= info != 0
        w = torch.linalg.solve_triangular(root, systems[:, :block, block:], upper=False)
        y = torch.linalg.solve_triangular(root, sides[:, :block], upper=False)
        done.append((root, w, y))
        systems = torch.baddbmm(systems[:, block:, block:], w.mT, w, alpha=-1)
        sides = torch.baddbmm(sides[:, block:], w.mT, y, alpha=-1)
    root, info = torch.linalg.cholesky_ex(systems)
    failed |= info != 0
    x = torch.cholesky_solve(sides, root)
    for root, w, y in reversed(done):
        first = torch.linalg.solve_triangular(root.mT, torch.baddbmm(y, w, x, alpha=-1), upper=True)
        x = torch.cat([first, x], 1)
    return x, failed
