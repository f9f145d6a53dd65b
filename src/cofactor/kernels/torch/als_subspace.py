"""The subspace solver of ALS (iALS++): for blocks of coordinates of a row one after the other, an exact step each.

The CPU passes over a history for every block. Here all products of a history are made at once, ``Z'Z``, of which blocks
then take parts: more operations, but in one large product and one pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cofactor.kernels.torch.als_cholesky import has_few, solved_by_entries
from cofactor.kernels.torch.als_chunks import chunks
from cofactor.kernels.torch.cholesky import solve_systems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cofactor.kernels.torch.als_chunks import Chunk, Sweep
    from cofactor.kernels.torch.place import Tensor

__all__ = ["by_blocks"]


def by_blocks(sweep: Sweep) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Improve the rows chunk by chunk; their loss, and for which of them a block has no unique solution.

    A chunk of histories no longer than a block is solved exactly: their systems are no larger.
    """
    for chunk in chunks(sweep, sweep.rows.lengths, sweep.fixed.shape[1] + sweep.block_size):
        short = has_few(chunk) and chunk.length <= sweep.block_size
        yield *(solved_by_entries if short else _improved)(sweep, chunk), chunk.rows


def _improved(sweep: Sweep, chunk: Chunk) -> tuple[Tensor, Tensor]:
    import torch

    assert sweep.axes is not None
    x, own = sweep.solved[chunk.rows], sweep.axes + chunk.penalty
    n, factors = x.shape
    system = sweep.place.room("systems", (n, factors, factors)).zero_()
    side, weight = torch.zeros_like(x), torch.zeros((), dtype=torch.float64, device=x.device)
    for z, roots in chunk.pieces():
        system.baddbmm_(z.mT, z)
        side += torch.bmm(roots[:, None], z)[:, 0]
        weight += roots.square().sum(dtype=torch.float64)
    system.diagonal(dim1=1, dim2=2).add_(own)
    gradient = side - torch.bmm(x[:, None], system)[:, 0]
    failed = torch.zeros(n, dtype=torch.bool, device=x.device)
    for begin in range(0, factors, sweep.block_size):
        block, rest = slice(begin, begin + sweep.block_size), slice(begin + sweep.block_size, factors)
        step, wrong = solve_systems(system[:, block, block], gradient[:, block, None])
        failed |= wrong
        x[:, block] += step[:, :, 0]
        gradient[:, rest] -= torch.bmm(step.mT, system[:, block, rest])[:, 0]
    sweep.solved[chunk.rows] = x
    loss = weight - (x.double() * (2 * side - torch.bmm(x[:, None], system)[:, 0])).sum()
    return loss, failed | ~x.isfinite().all(1)
