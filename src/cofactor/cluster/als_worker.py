"""A worker of ImplicitALS: its rows of users and of items, and what is done with them in a half of an iteration.

A half solves the rows of one side with the vectors of the other held fixed. What comes in is not changed, and what it
finds is kept, so that it can be asked for again when another worker has died.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cofactor.cluster.matrix_worker import MatrixWorker
from cofactor.cluster.storage import read_array, write_rows
from cofactor.cluster.wire import Sent, received, sent
from cofactor.kernels.cpu.als import als_sweep, gramian, rotate, squared_norms, vectors
from cofactor.models.factors.als_loss import penalties

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float

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


class AlsWorker(MatrixWorker):
    """A worker of a matrix that solves its rows of both sides."""

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments)
        self.done: tuple[int, Solved | None] = (-1, None)
        self.published = -1
        self.rows: Float = vectors(0, 1)
        self.held: dict[int, tuple[Float, ...]] = {}

    def solve(self, half: Half, before: Float | None, *fixed: Float) -> Solved:
        """Solve this worker's rows of a side.

        Parameters
        ----------
        half : Half
        before : (n, factors) float32, optional
            Rows of this side as they were last: this worker's, or all.
        *fixed : (n, factors) float32
            The other side, along its principal axes, in parts in the order of their rows.
        """
        if self.done[0] == half.number and self.done[1] is not None:
            return self.done[1]
        history, blocks = self.sides[half.side], self.blocks[half.side]
        begin, end = int(blocks[0]), int(blocks[-1])
        self.rows, self.published = vectors(0, 1), -1  # first, what the last half has found goes
        self.rows = vectors(end - begin, len(half.gramian))
        if half.start is not None and before is not None:
            np.copyto(self.rows, before if len(before) == end - begin else before[begin:end])
            rotate(self.rows, half.start, threads=self.threads)
        loss, failed = als_sweep(history, self.rows, fixed, half.gramian, **half.options, threads=self.threads)
        pieces = [slice(a - begin, b - begin) for a, b in pairwise(blocks)]
        squares = np.array([gramian(self.rows[one], threads=self.threads) for one in pieces])
        each = penalties(np.diff(history.indptr), sum(map(len, fixed)), half.options)
        norms = squared_norms(self.rows)
        told = np.array([float(each[one] @ norms[one]) for one in pieces])
        self.done = half.number, Solved(loss, failed + begin if failed >= 0 else -1, squares, told)
        assert self.done[1] is not None
        return self.done[1]

    def publish(self, number: int, rotation: Float | None, wire: str) -> Float | Sent:
        """What half ``number`` has found, rotated for the next, in the form it travels in; asked again, the same."""
        assert self.done[0] == number, "publish comes after solve, of another worker's heir too"
        if self.published != number and rotation is not None:
            rotate(self.rows, rotation, threads=self.threads)
        self.published = number
        return self.rows if wire == "float32" else sent(self.rows)

    def hold(self, number: int, *parts: Float) -> bool:
        """Hold what half ``number`` has found, and the half before it, in this node's object store."""
        self.held = {older: held for older, held in self.held.items() if older == number - 1} | {number: parts}
        return True

    def widened(self, *parts: Sent) -> Iterator[Float]:
        """What came in 16 bits, part by part, into this node's object store."""
        for part in parts:
            yield received(part)

    def keep(self, path: str, *parts: Float) -> bool:
        """Write rows of this node's object store for a checkpoint."""
        write_rows(path, parts)
        return True

    def read(self, path: str) -> tuple[Float, bool]:
        """Read what a checkpoint has into this node's object store."""
        return read_array(path), True

    def solved(self, begin: int, end: int) -> Float:
        """Some of the rows that this worker has solved last."""
        return self.rows[begin:end]
