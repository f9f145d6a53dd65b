"""Personal popularity: what the user had most, again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.models.base import Recommender, TopK

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.csr import CSR
    from cofactor.interactions import Interactions

__all__ = ["PersonalPopular"]


class PersonalPopular(Recommender):
    """Rank the items of a user's own history by their weight; ties by how many users have the item.

    Only items of the history come back, so ``recommend(exclude_seen=True)`` gives empty lists: this model is for
    repeat consumption (``exclude_seen=False``), and :class:`Fallback` fills what it leaves.

    Attributes
    ----------
    popularity_ : (n_items,) float32
        Users per item.
    """

    popularity_: NDArray[np.float32]

    def __init__(self) -> None:
        pass

    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Keep the histories; ``progress`` changes nothing."""
        x = interactions.user_items
        self.popularity_ = np.bincount(x.indices, minlength=x.n_columns).astype(np.float32)
        self.interactions_ = interactions
        return self

    def _top_k(self, users: NDArray[np.int32], k: int, exclude: CSR | None, allowed: NDArray[np.int32] | None) -> TopK:
        return self._top_k_for(self.interactions_.user_items.take(users), k, exclude, allowed)

    def _top_k_for(self, histories: CSR, k: int, exclude: CSR | None, allowed: NDArray[np.int32] | None) -> TopK:
        rows, items, weights = histories.row_index(), histories.indices, histories.values
        keep = np.ones(len(items), bool)
        if allowed is not None:
            keep &= np.isin(items, allowed)
        if exclude is not None:
            keep &= exclude.lookup(rows, items) == 0
        rows, items, weights = rows[keep], items[keep], weights[keep]
        order = np.lexsort((items, -self.popularity_[items], -weights, rows))
        rows, items, weights = rows[order], items[order], weights[order]
        starts = np.searchsorted(rows, np.arange(histories.n_rows))
        rank = np.arange(len(rows)) - starts[rows]
        k = min(k, int(rank.max(initial=0)) + 1)  # the longest list that anyone can get
        best = rank < k
        top = TopK.empty(histories.n_rows, k)
        top.rows[rows[best], rank[best]] = items[best]
        top.scores[rows[best], rank[best]] = weights[best]
        return top

    def _scores(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        return self.interactions_.user_items.lookup(users, items)
