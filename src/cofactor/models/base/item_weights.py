"""What models share whose scores are histories times a matrix of item-to-item weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels.arguments import Similarity
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from cofactor.models.base.batches import scores_in_batches
from cofactor.models.base.recommender import Recommender

if TYPE_CHECKING:
    from cofactor.kernels.arrays import Float, Rows, TopK
    from cofactor.kernels.cpu import Kernels

__all__ = ["ItemWeightModel", "most_similar_items"]

_ENTRIES = 1 << 22  # (history item, scored item) pairs looked up at once
_LOOKUP = 64  # additions of a sparse product in the time of one look-up in a sparse matrix


class ItemWeightModel(Recommender):
    """A model that scores item i for a user by ``sum_h weight(user, h) W[h, i]`` over the items h of the history.

    A subclass's ``fit`` sets ``item_weights_``, (n_items, n_items), sparse or dense float32. Lists are in the order of
    these scores. A history reaches an item where it holds one with a weight for it; of sparse weights an item that is
    not reached has a score of 0, and only items with a score above that are listed: lists may be shorter than k, never
    filled up. Of dense weights every item is reached and listed, those with negative scores last.
    """

    item_weights_: CSR | Float

    def _learned(self) -> dict[str, str]:
        return {"item_weights_": "csr items items or float32 items items"}

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        return self._top_k_for(self.interactions_.user_items.take(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        top = self._kernels().linear_top_k(
            self._weighed(histories), self.item_weights_, k, filters=filters, threads=self.threads
        )
        if isinstance(self.item_weights_, CSR):
            no_better = top.scores <= 0  # than items that are not reached, which the kernel does not know
            top.rows[no_better], top.scores[no_better] = -1, -np.inf
        return top

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
        """By the cosine of the items' weights over users: what models learn is pruned, and answers another question."""
        rows = self._weighed(self.interactions_.user_items).transposed()
        norms = np.sqrt(rows.row_sums(rows.values.astype(np.float64) ** 2)).astype(np.float32)
        cosine = Similarity(norms[items], norms)
        return most_similar_items(self._kernels(), items, rows.take(items), rows, cosine, k=k, threads=self.threads)

    def _heaviest(self, items: Rows, k: int) -> TopK:
        """The largest weights of the items' rows, for models whose rows hold whole neighbourhoods."""
        itself = CSR.one_each(items, self.interactions_.n_items)
        return self._kernels().linear_top_k(
            itself, self.item_weights_, k, filters=Filters(exclude=itself), threads=self.threads
        )


def most_similar_items(
    kernels: Kernels, items: Rows, asked: CSR, rows: CSR, similarity: Similarity, *, k: int, threads: int | None
) -> TopK:
    """The k items most similar to each of some, themselves left out, among all that share a user with them.

    Parameters
    ----------
    kernels : Kernels
    items : (n,) int32
        The items asked about.
    asked : CSR (n, n_users)
        Their values, times whatever a shared user counts.
    rows : CSR (n_items, n_users)
        The values of all items.
    similarity : Similarity
        Of the rows of ``asked`` with those of ``rows``.
    k : int
    threads : int, optional

    Returns
    -------
    TopK
        Only positive similarities; ties to the lower row.
    """
    groups = items, np.arange(rows.n_rows, dtype=np.int32)
    near = kernels.product_neighbours(asked, rows.transposed(), k, similarity, groups=groups, threads=threads)
    each = CSR.one_each(np.arange(len(items), dtype=np.int32), len(items))
    return kernels.linear_top_k(each, near, k, threads=threads)
