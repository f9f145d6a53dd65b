"""Histories in chunks of nearly equal length (inside a power of two), padded with entries of weight zero.

Everything is a batched product then. A history longer than a chunk is passed over piece by piece.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cofactor.kernels.torch.place import HeldRows, Place, Tensor

__all__ = ["Chunk", "Sweep", "chunks"]


class Sweep(NamedTuple):
    """What every chunk needs."""

    place: Place
    rows: HeldRows
    solved: Tensor
    fixed: Tensor
    gramian: Tensor  # a0 G
    diagonal: Tensor  # of G
    axes: Tensor | None  # the diagonal of a0 G, where it is all of it
    unobserved_weight: float
    alpha: float
    penalties: Tensor  # of every row
    cg_steps: int
    cg_tolerance: float
    block_size: int


class Chunk:
    """Some rows of about the same length, and the vectors of their histories, piece by piece."""

    def __init__(self, sweep: Sweep, rows: Tensor, length: int) -> None:
        self.rows, self.length, self.sweep = rows, length, sweep
        self.piece = max(sweep.place.chunk_floats // (len(rows) * sweep.fixed.shape[1]), 1)
        self.begin = sweep.rows.indptr[rows]
        self.end = sweep.rows.indptr[rows + 1]
        self.penalty = sweep.penalties[rows][:, None]

    def pieces(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Vectors (n_rows, n, factors) times the roots of their weights, and these (n_rows, n), 0 past a row's end."""
        for first in range(0, self.length, self.piece):
            yield self._gathered(first, min(self.length, first + self.piece))

    def _gathered(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        import torch

        held, n = self.sweep.rows, len(self.rows)
        at = self.begin[:, None] + torch.arange(first, last, device=self.begin.device)
        inside = at < self.end[:, None]
        at = torch.minimum(at, self.end[:, None] - 1).view(-1)
        room = self.sweep.place.room("gathered", (len(at), self.sweep.fixed.shape[1]))
        fixed = torch.index_select(self.sweep.fixed, 0, held.indices.index_select(0, at), out=room)
        roots = (held.values.index_select(0, at).view(n, -1) * inside * self.sweep.alpha).sqrt()
        return fixed.view(n, last - first, -1).mul_(roots[:, :, None]), roots


def chunks(sweep: Sweep, lengths: np.ndarray, square: int) -> Iterator[Chunk]:
    """All rows that are not empty, the shortest first; ``square``: what each factor of a row needs besides."""
    factors, most = sweep.fixed.shape[1], sweep.place.chunk_floats
    order = np.argsort(lengths, kind="stable")
    at = int(np.searchsorted(lengths[order], 1))
    while at < len(order):
        bound = 1 << int(lengths[order[at]] - 1).bit_length()  # of this power of two
        n = max(most // ((bound + square) * factors), 1)
        end = min(at + n, int(np.searchsorted(lengths, bound, side="right", sorter=order)))
        yield Chunk(sweep, sweep.place.tensor(order[at:end]), int(lengths[order[end - 1]]))
        at = end
