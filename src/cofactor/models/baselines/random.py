"""Random: the floor that every other model must clear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.checks import check_at_least, check_choice
from cofactor.kernels.arrays import TopK
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.recommender import Recommender

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.filters import Filters

__all__ = ["Random"]

_BLOCK = 1 << 16  # scores held at once: they stay in cache
_NOBODY = 1e-30  # the popularity of items without users: possible, but after all others


class Random(Recommender):
    """Rank items at random, uniformly or by popularity.

    Every (user, item) has a number u in (0, 1), a hash of ``seed`` and both row numbers, so that lists do not depend on
    who else is asked for. The score is u; with ``weighted=True`` it is ``log(popularity) - log(-log(u))``: of such
    Gumbel keys the k best are a draw of k items without replacement, each next one with a probability proportional to
    its popularity (Efraimidis & Spirakis 2006). Items that nobody has come after all others.
    Users of :meth:`recommend_for` count from 0 in the order given. O(users x items).

    Parameters
    ----------
    seed : int
    weighted : bool
        Draw items in proportion to the number of users that have them.

    Attributes
    ----------
    log_popularity_ : (n_items,) float32
        Logarithm of the number of users per item; not read unless weighted.
    """

    log_popularity_: NDArray[np.float32]

    def __init__(self, seed: int = 0, *, weighted: bool = False) -> None:
        self.seed = seed
        self.weighted = weighted

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Count the users of every item; ``progress`` changes nothing."""
        self._check()
        x = interactions.user_items
        counts = np.bincount(x.indices, minlength=x.n_columns)
        self.log_popularity_ = np.log(np.maximum(counts, _NOBODY)).astype(np.float32)
        return self

    def _learned(self) -> dict[str, str]:
        return {"log_popularity_": "float32 items"}

    def _check(self) -> None:
        check_at_least("seed", self.seed, 0, whole=True)
        check_choice("weighted", self.weighted, (True, False))

    def _top_k(self, users: NDArray[np.int32], k: int, filters: Filters) -> TopK:
        items = np.arange(self.interactions_.n_items, dtype=np.int32)
        k, kernels = min(k, filters.n_choices(len(items))), self._kernels()
        top = TopK.empty(len(users), k)
        step = max(1, _BLOCK // max(len(items), 1))
        for at in range(0, len(users), step):
            piece = np.arange(at, min(at + step, len(users)))
            scores = self._scores(users[piece, None], items[None, :])
            lists = kernels.select_top_k(scores, k, filters=filters.take(piece), threads=1)
            top.rows[piece], top.scores[piece] = lists
        return top

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        return self._top_k(np.arange(histories.n_rows, dtype=np.int32), k, filters)

    def _scores(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        seed = np.random.SeedSequence(self.seed).generate_state(1, np.uint64)[0]
        key = users.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + seed
        key = _mix(_mix(key) + items.astype(np.uint64))
        if not self.weighted:
            return ((key >> np.uint64(40)).astype(np.float32)) * np.float32(2.0**-24)
        u = ((key >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52  # never 0 nor 1
        return self.log_popularity_[items] - np.log(-np.log(u)).astype(np.float32)


def _mix(key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele, Lea & Flood 2014)."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))
