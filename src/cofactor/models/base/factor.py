"""What models share whose scores are inner products of vectors."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from cofactor.checks import check_at_least, check_choice
from cofactor.kernels.arrays import Float, Ranks, Rows, TopK
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from cofactor.models.base.recommender import UNKNOWN, Ids, Recommender, Unknown, is_everyone, known_rows, ranked_table

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from cofactor.kernels.cpu import Kernels

__all__ = ["FactorModel"]


class FactorModel(Recommender):
    """A model whose scores are inner products of user and item vectors.

    A subclass's ``fit`` sets ``user_factors_`` (n_users, factors) and ``item_factors_`` (n_items, factors), float32.
    """

    user_factors_: Float
    item_factors_: Float

    def _learned(self) -> dict[str, str]:
        return {"user_factors_": "float32 users f", "item_factors_": "float32 items f"}

    @abstractmethod
    def _fold_in(self, histories: CSR) -> Float:
        """Vectors (n, factors) of users known only by their history."""

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        return self._nearest(self._vectors(users), self._history_lengths(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        return self._nearest(self._fold_in(histories), np.diff(histories.indptr), k, filters)

    def _nearest(self, vectors: Float, history_lengths: NDArray[np.int64], k: int, filters: Filters) -> TopK:
        top = self._kernels().top_k(vectors, self.item_factors_, k, filters=filters, threads=self.threads)
        top.rows[history_lengths == 0] = -1  # nothing known, nothing recommended
        return top

    def _ranks(self, users: Rows, wanted: CSR, filters: Filters) -> Ranks:
        own = type(self)
        if own._top_k is not FactorModel._top_k or own._nearest is not FactorModel._nearest:
            return super()._ranks(users, wanted, filters)  # lists of a subclass that ranks otherwise
        found = self._kernels().ranks(
            self._vectors(users), self.item_factors_, wanted, filters=filters, threads=self.threads
        )
        nothing = self._history_lengths(users) == 0
        pairs = nothing[wanted.row_index()]
        found.rank[pairs], found.middle_rank[pairs], found.n_listed[nothing] = 0, 0, 0
        return found

    def _vectors(self, users: Rows) -> Float:
        return self.user_factors_ if is_everyone(users, len(self.user_factors_)) else self.user_factors_[users]

    def _history_lengths(self, users: Rows) -> NDArray[np.int64]:
        return np.diff(self.interactions_.user_items.indptr)[users]

    def _scores(self, users: Rows, items: Rows) -> Float:
        scores = np.empty(len(users), np.float32)
        for at in range(0, len(users), 1 << 16):
            piece = slice(at, at + (1 << 16))
            np.einsum(
                "ij,ij->i",
                self.user_factors_[users[piece]],
                self.item_factors_[items[piece]],
                out=scores[piece],
            )
        return scores

    def _similar_items(self, items: Rows, k: int) -> TopK:
        return _most_similar(self._kernels(), self.item_factors_, items, k, self.threads)

    def similar_users(self, users: Ids | None = None, k: int = 10, *, unknown: Unknown = "error") -> pl.DataFrame:
        """The k most similar users (cosine of their vectors) of each given user, itself left out.

        Returns
        -------
        DataFrame
            ``user_id``, ``similar_user_id``, ``score`` (Float32), ``rank`` (Int32, from 1).
        """
        x = self._fitted_for_tables()
        check_at_least("k", k, 1, whole=True)
        check_choice("unknown", unknown, UNKNOWN)
        rows = np.arange(x.n_users, dtype=np.int32) if users is None else known_rows(x.users, users, "user", unknown)
        top = _most_similar(self._kernels(), self.user_factors_, rows, int(k), self.threads)
        return ranked_table(x.users.take(rows), "user_id", x.users, "similar_user_id", top)


def _most_similar(kernels: Kernels, vectors: Float, rows: Rows, k: int, threads: int | None) -> TopK:
    """Cosine neighbours of some rows of ``vectors``, themselves left out; zero vectors are similar to nothing."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32, copy=False)
    allowed = None if (norms > 0).all() else np.flatnonzero(norms > 0).astype(np.int32)
    if allowed is not None and not len(allowed):
        return TopK.empty(len(rows), 1)
    filters = Filters(CSR.one_each(rows, len(vectors)), allowed)
    top = kernels.top_k(unit[rows], unit, k, filters=filters, threads=threads)
    top.rows[norms[rows, 0] == 0] = -1
    return top
