"""Similar users: what those had who had what a user had.

Scores are ``sum_v s(user, v) weight(v, i)`` over the nearest users v of the training data (Herlocker et al. 1999,
without means: weights are no ratings), s being one of the similarities of :mod:`cofactor.models.neighbours.similarity`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.checks import check_at_least
from cofactor.kernels.arrays import Float, Rows, TopK
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.recommender import Recommender
from cofactor.models.neighbours.similarity import Columns, Compared, Kind, Measure, formula
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.filters import Filters


__all__ = ["UserKNN"]

_LISTS = 1 << 23  # neighbours that are held at once, of however many users
_ENTRIES = 1 << 22  # (neighbour, item) pairs looked up at once


class UserKNN(Recommender):
    """Rank items by the users that have them and resemble the user.

    Neighbours are looked for when they are needed, for users of the training data and others alike: ``fit`` is quick,
    and lists take ``sum_i n_i`` multiply-adds a user, over the items i of the history, n_i being the item's users. A
    user whose history is exactly the same is no neighbour: it says nothing about other items, and a user of the
    training data gets the list that ``recommend_for`` gives to its history. Only items that a neighbour has come back:
    lists may be shorter than k.

    Parameters
    ----------
    similarity : {"cosine", "asymmetric", "jaccard", "tfidf", "bm25"}
        Between the users' rows of weights by item; see :mod:`cofactor.models.neighbours.similarity`.
    neighbours : int
        How many users an item is scored by; all that are similar where there are fewer.
    shrinkage : float
        Added to the denominator, so that similarities that rest on few items count less; not for "bm25".
    alpha : float
        Of "asymmetric", 0 to 1: how much the length of the neighbour's history divides; 0.5 is the cosine.
    k1, b : float
        Of "bm25": how much of large weights counts, and how far long histories are marked down (0 to 1).
    threads : int, optional
    device : {"cpu", "torch", "cuda"}

    Attributes
    ----------
    item_profiles_ : CSR (n_items, n_users)
        Weights of the users, in columns, that similarities are summed of.
    lengths_ : (n_users,) float64
        What a similarity is divided by: a norm or a count.
    column_weights_ : (n_items,) float32
        What a shared item counts.
    average_ : float
        Mean sum of a history.
    signatures_ : (n_users,) int64
        Equal for equal histories.
    """

    item_profiles_: CSR
    lengths_: NDArray[np.float64]
    column_weights_: Float
    average_: float
    signatures_: NDArray[np.int64]

    def __init__(
        self,
        similarity: Kind = "cosine",
        neighbours: int = 100,
        *,
        shrinkage: float = 0.0,
        alpha: float = 0.5,
        k1: float = 1.2,
        b: float = 0.75,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.similarity = similarity
        self.neighbours = neighbours
        self.shrinkage = shrinkage
        self.alpha = alpha
        self.k1 = k1
        self.b = b
        self.threads = threads
        self.device = device

    def _measure(self) -> Measure:
        return Measure(self.similarity, self.shrinkage, self.alpha, self.k1, self.b)

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Weigh the histories; ``progress`` changes nothing.

        Raises
        ------
        ParameterError
            A parameter is out of range.
        """
        self._check()
        measure = self._measure()
        x = interactions.user_items
        columns = Columns.of(x, measure.kind)
        rows = Compared.of(x, columns, measure)
        self.item_profiles_ = _values(rows).transposed()
        self.lengths_ = rows.own
        self.column_weights_, self.average_ = columns.weights, columns.average
        self.signatures_ = _signatures(x)
        return self

    def _learned(self) -> dict[str, str]:
        return {
            "item_profiles_": "csr items users",
            "lengths_": "float64 users",
            "column_weights_": "float32 items",
            "average_": "number",
            "signatures_": "int64 users",
        }

    def _check(self) -> None:
        self._measure().check()
        check_at_least("neighbours", self.neighbours, 1, whole=True)
        resolve_threads(self.threads)
        self._kernels()  # nothing is computed yet, but a device that is not there is told now

    def _nearest(self, histories: CSR) -> CSR:
        """The nearest users of each history, (n, n_users)."""
        measure = self._measure()
        rows = Compared.of(histories, Columns(self.column_weights_, self.average_), measure)
        ours = Compared(self.interactions_.user_items, rows.binary, self.lengths_)
        values = _values(rows)
        known, group = np.unique(self.signatures_, return_inverse=True)
        asked = _signatures(histories)
        at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        same = np.where(known[at] == asked, at, -1) if len(known) else np.full(len(asked), -1)
        kernels = self._kernels()
        return kernels.product_neighbours(
            values.scaled(columns=self.column_weights_), self.item_profiles_, self.neighbours,
            formula(measure, rows, ours, scored="chosen"),
            groups=(same.astype(np.int32), group.astype(np.int32)), threads=self.threads,
        )  # fmt: skip

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        return self._top_k_for(self.interactions_.user_items.take(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        x, n = self.interactions_, histories.n_rows
        some = max(1, _LISTS // min(self.neighbours, max(x.n_users, 1)))
        kernels, threads = self._kernels(), self.threads

        def lists(rows: NDArray[np.int64]) -> TopK:
            nearest = self._nearest(histories.take(rows))
            return kernels.linear_top_k(nearest, x.user_items, k, filters=filters.take(rows), threads=threads)

        return TopK.stacked([lists(rows) for rows in np.split(np.arange(n), range(some, n, some))])

    def _scores(self, users: Rows, items: Rows) -> Float:
        x = self.interactions_.user_items
        scores = np.empty(len(users), np.float32)
        some = max(1, _ENTRIES // self.neighbours)
        order = np.argsort(users, kind="stable")  # so that a user's neighbours are looked for once or twice
        for at in range(0, len(users), some):
            pairs = order[at : at + some]
            asked, which = np.unique(users[pairs], return_inverse=True)
            nearest = self._nearest(x.take(asked)).take(which)
            row = nearest.row_index()
            found = x.lookup(nearest.indices, items[pairs][row])
            scores[pairs] = np.bincount(row, nearest.values * found, minlength=len(pairs))
        return scores


def _values(rows: Compared) -> CSR:
    """The matrix with the values that are compared."""
    m = rows.matrix
    return m.binary() if rows.binary else m


def _signatures(histories: CSR) -> NDArray[np.int64]:
    """A number for each row, equal for equal rows and, but for one chance in 2^64, for no others."""
    entry = histories.indices.astype(np.uint64) << np.uint64(32) | histories.values.view(np.uint32)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # the mixing steps of splitmix64
        entry = (entry ^ (entry >> np.uint64(shift))) * np.uint64(factor)
    entry ^= entry >> np.uint64(31)
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(entry, dtype=np.uint64)])
    signatures: NDArray[np.int64] = (total[histories.indptr[1:]] - total[histories.indptr[:-1]]).view(np.int64)
    return signatures
