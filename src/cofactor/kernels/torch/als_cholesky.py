"""The exact solver of ALS: the system of every row, or for short histories that of their entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cofactor.kernels.torch.als_chunks import chunks
from cofactor.kernels.torch.cholesky import solve_systems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cofactor.kernels.torch.als_chunks import Chunk, Sweep
    from cofactor.kernels.torch.place import Tensor

__all__ = ["exactly", "has_few", "solved_by_entries"]


def exactly(sweep: Sweep) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Solve the rows chunk by chunk; their loss, and which of them have no unique solution."""
    for chunk in chunks(sweep, sweep.rows.lengths, 2 * sweep.fixed.shape[1]):
        yield *(solved_by_entries if has_few(chunk) else _solved)(sweep, chunk), chunk.rows


def has_few(chunk: Chunk) -> bool:
    """Whether the systems of entries are the quicker ones, and can be had."""
    sweep = chunk.sweep
    few = sweep.axes is not None and sweep.unobserved_weight > 0 and chunk.length <= sweep.fixed.shape[1] * 3 // 4
    return few and chunk.length <= chunk.piece


def _solved(sweep: Sweep, chunk: Chunk) -> tuple[Tensor, Tensor]:
    import torch

    factors = sweep.fixed.shape[1]
    system = sweep.place.room("systems", (len(chunk.rows), factors, factors)).copy_(sweep.gramian)
    side: Tensor = 0
    weight: Tensor = 0
    for z, roots in chunk.pieces():
        system.baddbmm_(z.mT, z)
        side = side + torch.bmm(roots[:, None, :], z)[:, 0]
        weight = weight + roots.square().sum(dtype=torch.float64)
    system.diagonal(dim1=1, dim2=2).add_(chunk.penalty)
    x, failed = solve_systems(system, side[:, :, None])
    x = x[:, :, 0]
    sweep.solved[chunk.rows] = x
    loss = weight - (side.double() * x).sum()  # at the minimum
    return loss, failed | ~x.isfinite().all(1)


def solved_by_entries(sweep: Sweep, chunk: Chunk) -> tuple[Tensor, Tensor]:
    """Solve by the systems of the entries: (I + T T') a = s and x = M^-1/2 T' a with T = Z M^-1/2."""
    import torch

    m = sweep.axes + chunk.penalty
    root = m.rsqrt()[:, None, :]
    ((z, roots),) = chunk.pieces()
    scale, t = roots[:, :, None], z.mul_(root)
    system = torch.bmm(t, t.mT, out=sweep.place.room("systems", (len(t), chunk.length, chunk.length)))
    system.diagonal(dim1=1, dim2=2).add_(1)
    a, failed = solve_systems(system, scale)
    x = torch.bmm(a.mT, t)[:, 0] * root[:, 0]
    sweep.solved[chunk.rows] = x
    loss = (scale.double() * a).sum()
    return loss, failed | ~((m > 0) & m.isfinite()).all(1) | ~x.isfinite().all(1)
