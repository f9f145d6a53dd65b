"""What models share whose scores are inner products of vectors."""

from __future__ import annotations

from abc import abstractmethod
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.checks import check_at_least, check_choice
from cofactor.data.ids import is_everyone
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from cofactor.models.base.indexes import Indexes
from cofactor.models.base.model import Model
from cofactor.models.base.nearest import most_similar
from cofactor.models.base.recommender import UNKNOWN, Ids, Recommender, Unknown, known_rows, ranked_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    import polars as pl
    from numpy.typing import ArrayLike, NDArray

    from cofactor.data.ids import IdMap
    from cofactor.data.interactions import Interactions
    from cofactor.data.tables import TableLike
    from cofactor.kernels.arrays import Float, Ranks, Rows, TopK
    from cofactor.models.base.indexes import Index
    from cofactor.system.arrays import Arrays

__all__ = ["FactorModel"]


class FactorModel(Recommender):
    """A model whose scores are inner products of user and item vectors.

    A subclass's ``fit`` sets ``user_factors_`` (n_users, factors) and ``item_factors_`` (n_items, factors), float32.
    """

    user_factors_: Float
    item_factors_: Float
    _indexes: Indexes | None = None

    @staticmethod
    def from_vectors(
        users: ArrayLike,
        items: ArrayLike,
        interactions: TableLike | Interactions | None = None,
        *,
        user_ids: IdMap | Ids | None = None,
        item_ids: IdMap | Ids | None = None,
        item_bias: ArrayLike | None = None,
        regularization: float = 1.0,
        threads: int | None = None,
    ) -> FactorModel:
        """Make a model of vectors that were trained elsewhere: it recommends, predicts, is saved and measured.

        Parameters
        ----------
        users, items : (n_users, factors), (n_items, factors) floating
            Arrays, or tensors that NumPy can read; copied, as float32.
        interactions : Interactions, or what a model is fitted on, optional
            What users have seen, which lists leave out.
        user_ids, item_ids : IdMap, or a list, an array or a Series of ids, optional
            Whose vectors these are, in their order. Without them the order is that of ``interactions.users`` and
            ``interactions.items``, and without these as well the ids are 0, 1, 2, ... With ids there may be vectors of
            items and users that have no interactions, and users of ``interactions`` without a vector are folded in.
        item_bias : (n_items,) floating, optional
            Added to every score of an item.
        regularization : float
            Of the fold-in of new users; see :class:`~cofactor.models.factors.fixed.FixedFactors`.
        threads : int, optional

        Returns
        -------
        FixedFactors

        Raises
        ------
        DataError
            Shapes do not fit, an item of ``interactions`` has no vector, or a number is not finite in float32.
        ParameterError
            Something is no array, or ``regularization`` is negative.

        Examples
        --------
        >>> import cofactor as cf
        >>> seen = {"user_id": ["ann"], "item_id": ["tea"]}
        >>> model = cf.FactorModel.from_vectors(
        ...     [[1.0, 0.0], [0.6, 0.8]], [[1.0, 0.1], [0.9, 0.0], [0.0, 1.0]], seen,
        ...     user_ids=["ann", "bo"], item_ids=["tea", "mug", "hat"],
        ... )
        >>> model.recommend(k=1).rows()
        [('ann', 'mug', 0.8999999761581421, 1), ('bo', 'hat', 0.800000011920929, 1)]
        """
        made: Any = Model.registry["FixedFactors"]  # by name, as a saved one is: a base imports no family
        model: FactorModel = made(regularization=regularization, threads=threads).place(
            users, items, interactions, user_ids=user_ids, item_ids=item_ids, item_bias=item_bias
        )
        return model

    def _learned(self) -> dict[str, str]:
        return {"user_factors_": "float32 users f", "item_factors_": "float32 items f"}

    @abstractmethod
    def _fold_in(self, histories: CSR) -> Float:
        """Vectors (n, factors) of users known only by their history."""

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        return self._nearest(self._vectors(users), self._evidence(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        return self._nearest(self._fold_in(histories), np.diff(histories.indptr), k, filters)

    def ranking_by(self, make: Callable[..., Index]) -> Self:
        """Give the same model, ranking by indexes that ``make(vectors, metric=)`` makes.

        :func:`cofactor.retrieval.indexed` is the way to ask for it.
        """
        self._fitted()
        other = copy(self)
        other._indexes = Indexes(self.item_factors_, make)
        return other

    @property
    def ranks_by_index(self) -> bool:
        """Whether lists come from an index; False again once the model was fitted again."""
        return self._indexes is not None and self._indexes.are_of(self.item_factors_)

    def _index(self) -> tuple[dict[str, Any], Arrays]:
        if self._indexes is None or not self.ranks_by_index:
            return {}, {}
        return self._indexes.saved(self._vectors_by_metric())

    def _take_index(self, facts: dict[str, Any], arrays: Arrays, *, every_entry: bool) -> None:
        vectors = self._vectors_by_metric()
        self._indexes = Indexes.restored(vectors, facts, arrays, threads=self.threads, every_entry=every_entry)

    def _vectors_by_metric(self) -> dict[str, Float]:
        """What indexes are made of: for lists, and for similar items."""
        return {"inner_product": self.item_factors_, "cosine": self._compared(self.item_factors_)}

    def _nearest(self, vectors: Float, evidence: NDArray[np.int64], k: int, filters: Filters) -> TopK:
        items = self.item_factors_
        if self._indexes is not None and self.ranks_by_index:
            top = self._indexes.get(items, "inner_product").search(vectors, k, filters=filters)
        else:
            top = self._kernels().top_k(vectors, items, k, filters=filters, threads=self.threads)
        top.rows[evidence == 0] = -1  # nothing known, nothing recommended
        return top

    def _ranks(self, users: Rows, wanted: CSR, filters: Filters) -> Ranks:
        own = type(self)
        if own._top_k is not FactorModel._top_k or own._nearest is not FactorModel._nearest:
            return super()._ranks(users, wanted, filters)  # lists of a subclass that ranks otherwise
        found = self._kernels().ranks(
            self._vectors(users), self.item_factors_, wanted, filters=filters, threads=self.threads
        )
        nothing = self._evidence(users) == 0
        pairs = nothing[wanted.row_index()]
        found.rank[pairs], found.middle_rank[pairs], found.n_listed[nothing] = 0, 0, 0
        return found

    def _vectors(self, users: Rows) -> Float:
        return self.user_factors_ if is_everyone(users, len(self.user_factors_)) else self.user_factors_[users]

    def _evidence(self, users: Rows) -> NDArray[np.int64]:
        """How much is known of users; those of whom it is nothing get no list."""
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
        compared = self._compared(self.item_factors_)
        if self._indexes is not None and self.ranks_by_index:
            themselves = Filters(CSR.one_each(items, len(compared)))
            return self._indexes.get(compared, "cosine").search(compared[items], k, filters=themselves)
        return most_similar(self._kernels(), compared, items, k, self.threads)

    def _compared(self, vectors: Float) -> Float:
        """What of the vectors tells how similar two are."""
        return vectors

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
        top = most_similar(self._kernels(), self._compared(self.user_factors_), rows, int(k), self.threads)
        return ranked_table(x.users.take(rows), "user_id", x.users, "similar_user_id", top)
