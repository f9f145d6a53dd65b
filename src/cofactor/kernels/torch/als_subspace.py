"""The subspace solver of ALS (iALS++): for blocks of coordinates of a row one after the other, an exact step each."""

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
    for chunk in chunks(sweep, sweep.rows.lengths, sweep.block_size + 4):
        short = has_few(chunk) and chunk.length <= sweep.block_size
        yield *(solved_by_entries if short else _improved)(sweep, chunk), chunk.rows


def _improved(sweep: Sweep, chunk: Chunk) -> tuple[Tensor, Tensor]:
    import torch

    assert sweep.axes is not None
    x, own = sweep.solved[chunk.rows], sweep.axes + chunk.penalty
    residual = torch.cat([roots - torch.bmm(z, x[:, :, None])[:, :, 0] for z, roots in chunk.pieces()], 1)
    failed = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    held = list(chunk.pieces()) if chunk.length <= chunk.piece else None  # else gathered again each time

    def parts(block: slice) -> Iterator[tuple[Tensor, Tensor]]:
        """Those columns of the history and the residuals, piece by piece; products of parts of rows are slow."""
        for (z, _), r in zip(held or chunk.pieces(), torch.split(residual, chunk.piece, 1), strict=True):
            yield z[:, :, block].contiguous(), r

    for begin in range(0, x.shape[1], sweep.block_size):
        block = slice(begin, min(begin + sweep.block_size, x.shape[1]))
        system = torch.diag_embed(own[:, block])
        gradient = -(own[:, block] * x[:, block])[:, :, None]
        once = None if held is None else list(parts(block))
        for z, r in once or parts(block):
            system.baddbmm_(z.mT, z)
            gradient.baddbmm_(z.mT, r[:, :, None])
        step, wrong = solve_systems(system, gradient)
        failed |= wrong
        x[:, block] += step[:, :, 0]
        for z, r in once or parts(block):
            r.sub_(torch.bmm(z, step)[:, :, 0])
    sweep.solved[chunk.rows] = x
    loss = (own.double() * x.double().square()).sum() + residual.double().square().sum()
    return loss, failed | ~x.isfinite().all(1)
