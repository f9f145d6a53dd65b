"""What models share whose scores are histories times a matrix of item-to-item weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from cofactor.models.base.batches import scores_in_batches
from cofactor.models.base.recommender import Recommender

if TYPE_CHECKING:
    from cofactor.kernels.arrays import Float, Rows, TopK

__all__ = ["ItemWeightModel"]

_ENTRIES = 1 << 22  # (history item, scored item) pairs looked up at once
_LOOKUP = 64  # additions of a sparse product in the time of one look-up in a sparse matrix


class ItemWeightModel(Recommender):
    """A model that scores item i for a user by ``sum_h weight(user, h) W[h, i]`` over the items h of the history.

    A subclass's ``fit`` sets ``item_weights_``, (n_items, n_items): sparse, where only items that the history reaches
    are ranked (lists may be shorter than k, never filled up), or dense float32.
    """

    item_weights_: CSR | Float

    def _learned(self) -> dict[str, str]:
        return {"item_weights_": "csr items items or float32 items items"}

    def _weighed(self, histories: CSR) -> CSR:
        """Histories with the weights that scores are made of; as they are, unless a subclass says otherwise."""
        return histories

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        return self._top_k_for(self.interactions_.user_items.take(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        return self._kernels().linear_top_k(
            self._weighed(histories), self.item_weights_, k, filters=filters, threads=self.threads
        )

    def _scores(self, users: Rows, items: Rows) -> Float:
        histories = self._weighed(self.interactions_.user_items)
        weights = self.item_weights_
        if isinstance(weights, CSR) and self._many_of_each(users, histories, weights):
            kernels = self._kernels()

            def rows_of(some: Rows) -> Float:
                return kernels.fetch(kernels.sparse_product(histories.take(some), weights, threads=self.threads))

            return scores_in_batches(rows_of, users, items, weights.n_columns)
        scores = np.empty(len(users), np.float32)
        ends = np.cumsum(np.diff(histories.indptr)[users])
        begin = 0
        while begin < len(users):
            done = ends[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(ends, done + _ENTRIES)))
            history = histories.take(users[begin:end])
            row = history.row_index()
            wanted = items[begin:end][row]
            found = (
                weights.lookup(history.indices, wanted)
                if isinstance(weights, CSR)
                else weights[history.indices, wanted]
            )
            scores[begin:end] = np.bincount(row, history.values * found, minlength=end - begin)
            begin = end
        return scores

    @staticmethod
    def _many_of_each(users: Rows, histories: CSR, weights: CSR) -> bool:
        """Whether all scores of the users that pairs ask for cost less than looking up the pairs' own weights."""
        asked = np.unique(users)
        reached = np.diff(weights.indptr)[histories.take(asked).indices].sum() + len(asked) * weights.n_columns
        return bool(reached < _LOOKUP * np.diff(histories.indptr)[users].sum())

    def _similar_items(self, items: Rows, k: int) -> TopK:
        itself = CSR.one_each(items, self.interactions_.n_items)
        return self._kernels().linear_top_k(
            itself, self.item_weights_, k, filters=Filters(exclude=itself), threads=self.threads
        )
