"""What several models say of the neighbours of items, asked once for each item."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from cofactor.kernels.csr import CSR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cofactor.kernels.arrays import Rows
    from cofactor.models.base.recommender import Recommender

__all__ = ["Votes"]

_FIRST_RANKS = 60  # damps the difference between the first ranks (Cormack et al.)


class Votes:
    """Points of the neighbours of items: the sum of ``weight / (60 + rank)`` over the models.

    Those of items that were asked about are kept: 8 bytes each, at most ``depth`` an item and model. Threads may ask
    at the same time. Copies and pickles begin with nothing kept.

    Parameters
    ----------
    models : sequence of Recommender
        All of the same items.
    weights : sequence of numbers
    depth : int
        Neighbours of each item by each model.
    """

    def __init__(self, models: Sequence[Recommender], weights: Sequence[float], depth: int, n_items: int) -> None:
        self.models, self.weights, self.depth, self.n_items = tuple(models), tuple(weights), depth, n_items
        self._states = [state for model in self.models for state in _states(model)]
        self._lock = Lock()
        self._row_of = np.full(n_items, -1, np.int32)  # in the table, of items that were asked about
        self._indptr = np.zeros(1, np.int64)
        self._indices, self._values = np.empty(0, np.int32), np.empty(0, np.float32)

    def __reduce__(self) -> tuple[type[Votes], tuple[Any, ...]]:
        """Without what is kept, and the lock."""
        return Votes, (self.models, self.weights, self.depth, self.n_items)

    def are(self, other: Votes) -> bool:
        """Whether both would say the same."""
        mine, theirs = (
            (v.weights, v.depth, v.n_items, [id(state) for state in v._states]) for v in (self, other)
        )  # the states are held, so that no other can have such an id
        return mine == theirs

    def of(self, items: Rows) -> CSR:
        """The points of all items by each of some items, (len(items), n_items)."""
        with self._lock:
            new = np.unique(items[self._row_of[items] < 0])
            if len(new):
                self._keep(new, self._ask(new))
            nnz = int(self._indptr[-1])
            table = CSR(self._indptr, self._indices[:nnz], self._values[:nnz], self.n_items)
            return table.take(self._row_of[items])

    def _keep(self, items: Rows, found: CSR) -> None:
        begin, end = int(self._indptr[-1]), int(self._indptr[-1]) + found.nnz
        if end > len(self._indices):  # twice as long each time, so that nothing is copied often
            size = max(end, 2 * len(self._indices))
            for name in ("_indices", "_values"):
                longer = np.empty(size, getattr(self, name).dtype)
                longer[:begin] = getattr(self, name)[:begin]
                setattr(self, name, longer)
        self._indices[begin:end], self._values[begin:end] = found.indices, found.values
        first = len(self._indptr) - 1
        self._indptr = np.append(self._indptr, found.indptr[1:] + begin)
        self._row_of[items] = first + np.arange(len(items))  # last: what ends this early leaves nothing half known

    def _ask(self, items: Rows) -> CSR:
        votes: Any = scipy.sparse.csr_matrix((len(items), self.n_items))
        for model, weight in zip(self.models, self.weights, strict=True):
            top = model._similar_items(items, min(self.depth, self.n_items))
            filled = top.rows >= 0
            points = np.broadcast_to(weight / (_FIRST_RANKS + 1.0 + np.arange(filled.shape[1])), filled.shape)
            indptr = np.append(0, np.cumsum(filled.sum(axis=1)))
            votes = votes + scipy.sparse.csr_matrix((points[filled], top.rows[filled], indptr), votes.shape)
        return CSR.from_scipy(votes)


def _states(model: Recommender) -> list[dict[str, Any]]:
    """What the model, and those that it is made of, have learned: ``fit`` replaces it and leaves the model the same."""
    return [vars(model), *(state for part in getattr(model, "models", ()) for state in _states(part))]
