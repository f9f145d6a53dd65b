"""Personal popularity: what the user had most, again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels.arrays import TopK
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.recency import check_duration, recency
from cofactor.models.base.recommender import Recommender

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.filters import Filters

__all__ = ["PersonalPopular"]


class PersonalPopular(Recommender):
    """Rank the items of a user's own history by their weight; ties by how many users have the item.

    Only items of the history come back, so ``recommend(exclude_seen=True)`` gives empty lists: this model is for
    repeat consumption (``exclude_seen=False``), and :class:`Fallback` fills what it leaves. Histories given to
    :meth:`recommend_for` are ranked by the weights they come with: decay them as the training was.

    Parameters
    ----------
    half_life : str, optional
        Such as ``"60d"``: the weight of a pair is shared out equally to its events, and a share that old counts half
        (so that a weight that counts events becomes the decayed count). Needs interactions made of events with times.

    Attributes
    ----------
    popularity_ : (n_items,) float32
        Users per item.
    weights_ : (nnz,) float32
        The weight of every interaction, after decay.
    """

    popularity_: NDArray[np.float32]
    weights_: NDArray[np.float32]

    def __init__(self, half_life: str | None = None) -> None:
        self.half_life = half_life

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Keep the histories; ``progress`` changes nothing.

        Raises
        ------
        DataError
            ``half_life`` is given and the interactions were not made of events with times.
        """
        self._check()
        x = interactions.user_items
        self.weights_ = x.values if self.half_life is None else x.values * recency(interactions, self.half_life)
        self.popularity_ = np.bincount(x.indices, minlength=x.n_columns).astype(np.float32)
        return self

    def _learned(self) -> dict[str, str]:
        return {"popularity_": "float32 items", "weights_": "float32 entries"}

    def _check(self) -> None:
        check_duration("half_life", self.half_life)

    @property
    def _histories(self) -> CSR:
        x = self.interactions_.user_items
        return x.with_values(self.weights_)

    def _top_k(self, users: NDArray[np.int32], k: int, filters: Filters) -> TopK:
        return self._top_k_for(self._histories.take(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        rows, items, weights = histories.row_index(), histories.indices, histories.values
        keep = np.ones(len(items), bool)
        if filters.allowed is not None:
            keep &= np.isin(items, filters.allowed)
        if filters.exclude is not None:
            keep &= filters.exclude.lookup(rows, items) == 0
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
        return self._histories.lookup(users, items)
