"""A worker of ImplicitALS: its rows of users and of items, and what is done with them in a half of an iteration.

A half solves the rows of one side with the vectors of the other held fixed. What comes in is not changed, and what it
finds is kept, so that it can be asked for again when another worker has died.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cofactor.cluster.pool import Worker
from cofactor.cluster.shards import Description, shard
from cofactor.cluster.storage import read_array, write_array
from cofactor.kernels.cpu.als import als_sweep, gramian, rotate, squared_norms, vectors
from cofactor.models.factors.als_loss import penalties

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float
    from cofactor.kernels.csr import CSR

__all__ = ["AlsWorker", "Half", "Solved"]


class Half(NamedTuple):
    """What half of an iteration is to do.

    Attributes
    ----------
    number : int
        Of the half, from 0; even ones solve users.
    gramian : (factors, factors) float32
        Of the fixed vectors, diagonal.
    start : (factors, factors) float32, or None
        The rotation of what the solved side had before; None where a solution needs no start.
    options : mapping
        Of ``als_sweep``.
    """

    number: int
    gramian: Float
    start: Float | None
    options: Mapping[str, Any]

    @property
    def side(self) -> int:
        """0 for users, 1 for items."""
        return self.number % 2


class Solved(NamedTuple):
    """What a worker tells of its half: the loss, a row that failed or -1, and by block Gramians and penalties."""

    loss: float
    failed: int
    gramians: Float
    penalties: NDArray[np.float64]


class AlsWorker(Worker):
    """Rows ``bounds[side][blocks[side][0]]`` and so on of both sides.

    Parameters
    ----------
    described : Description
    blocks : two arrays of int64
        Where this worker's blocks of users and of items begin and end.
    threads : int
    """

    def __init__(
        self, described: Description, blocks: tuple[NDArray[np.int64], NDArray[np.int64]], threads: int
    ) -> None:
        super().__init__(threads)
        self.described, self.blocks = described, [np.array(one) for one in blocks]
        self.sides: list[CSR] = []
        self.done: tuple[int, Solved | None] = (-1, None)
        self.published = -1
        self.rows: Float = vectors(0, 1)

    def load(self) -> bool:
        """Make this worker's rows, unless they are there."""
        if not self.sides:
            ends = [(int(cut[0]), int(cut[-1])) for cut in self.blocks]
            self.sides = [shard(self.described, side, *rows) for side, rows in enumerate(ends)]
        return True

    def facts(self) -> tuple[int, float, float]:
        """Number of entries, their sum, and the largest."""
        values = self.sides[0].values
        return len(values), self.sides[0].total(), float(values.max(initial=0))

    def take(self, rows: NDArray[np.int64]) -> CSR:
        """Those of the given users who are this worker's."""
        begin, end = self.blocks[0][0], self.blocks[0][-1]
        return self.sides[0].take(rows[(rows >= begin) & (rows < end)] - begin)

    def solve(self, half: Half, fixed: Float, before: Float | None) -> Solved:
        """Solve this worker's rows of a side.

        Parameters
        ----------
        half : Half
        fixed : (n_fixed, factors) float32
            The other side, along its principal axes.
        before : (n, factors) float32, optional
            All rows of this side as they were last.
        """
        if self.done[0] == half.number and self.done[1] is not None:
            return self.done[1]
        history, blocks = self.sides[half.side], self.blocks[half.side]
        begin, end = int(blocks[0]), int(blocks[-1])
        self.rows, self.published = vectors(end - begin, fixed.shape[1]), -1
        if half.start is not None and before is not None:
            np.copyto(self.rows, before[begin:end])
            rotate(self.rows, half.start, threads=self.threads)
        loss, failed = als_sweep(history, self.rows, fixed, half.gramian, **half.options, threads=self.threads)
        pieces = [slice(a - begin, b - begin) for a, b in pairwise(blocks)]
        squares = np.array([gramian(self.rows[one], threads=self.threads) for one in pieces])
        each = penalties(np.diff(history.indptr), len(fixed), half.options)
        norms = squared_norms(self.rows)
        told = np.array([float(each[one] @ norms[one]) for one in pieces])
        self.done = half.number, Solved(loss, failed + begin if failed >= 0 else -1, squares, told)
        assert self.done[1] is not None
        return self.done[1]

    def publish(self, number: int, rotation: Float | None) -> Float:
        """What half ``number`` has found, rotated for the next; asked again it is the same."""
        assert self.done[0] == number, "publish comes after solve, of another worker's heir too"
        if self.published != number and rotation is not None:
            rotate(self.rows, rotation, threads=self.threads)
        self.published = number
        return self.rows

    def gathered(self, *parts: Float) -> tuple[Float, bool]:
        """The rows of all workers as one array, in this node's object store; and that it is there."""
        return (parts[0] if len(parts) == 1 else np.concatenate(parts)), True

    def keep(self, path: str, array: Float) -> bool:
        """Write an array of this node's object store for a checkpoint."""
        write_array(path, array)
        return True

    def read(self, path: str) -> tuple[Float, bool]:
        """Read what a checkpoint has into this node's object store."""
        return read_array(path), True

    def piece(self, side: int, name: str, begin: int, end: int) -> NDArray[Any]:
        """A piece of an array of this worker's matrix, or of the ``rows`` that it has solved."""
        array: NDArray[Any] = self.rows if name == "rows" else getattr(self.sides[side], name)
        return array[begin:end]
