"""A worker that has rows of the matrix and of the transposed one; what models do with them derives from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.cluster.pool import Worker
from cofactor.cluster.shards import Description, shard
from cofactor.cluster.sketch import Block, sketched
from cofactor.system.memory import give_back

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.csr import CSR

__all__ = ["MatrixWorker"]


class MatrixWorker(Worker):
    """Rows ``blocks[side][0]`` to ``blocks[side][-1]`` of both sides.

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

    def bounds(self, side: int) -> tuple[int, int]:
        """The first row of a side that is this worker's, and the first one after them."""
        return int(self.blocks[side][0]), int(self.blocks[side][-1])

    def load(self) -> bool:
        """Make this worker's rows, unless they are there."""
        if not self.sides:
            sides = []
            for side in (0, 1):
                sides.append(shard(self.described, side, *self.bounds(side)))
                give_back()  # reading leaves tens of MiB behind
            self.sides = sides
        return True

    def facts(self) -> tuple[int, float, float]:
        """Number of entries, their sum, and the largest."""
        values = self.sides[0].values
        return len(values), self.sides[0].total(), float(values.max(initial=0))

    def sketched(self) -> list[Block]:
        """What tells this worker's users' rows from others."""
        return sketched(self.sides[0], self.blocks[0] - self.blocks[0][0])

    def take(self, rows: NDArray[np.int64]) -> CSR:
        """Those of the given users who are this worker's."""
        begin, end = self.bounds(0)
        return self.sides[0].take(rows[(rows >= begin) & (rows < end)] - begin)

    def piece(self, name: str, begin: int, end: int | None) -> NDArray[Any]:
        """A piece of an array of this worker's users' rows."""
        array: NDArray[Any] = getattr(self.sides[0], name)
        return array[begin:end]
