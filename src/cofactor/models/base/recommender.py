"""What every model is and does: the contract between algorithms and everything built on top of them."""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_choice
from cofactor.data.histories import read_histories
from cofactor.data.ids import IdMap
from cofactor.data.tables import TableLike, read_table
from cofactor.errors import CofactorWarning, NotFittedError, ParameterError
from cofactor.kernels import cpu
from cofactor.kernels.csr import CSR

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions

    Rows = NDArray[np.int32]
    Float = NDArray[np.float32]
    Ids = pl.Series | NDArray[Any] | Iterable[Any]

__all__ = ["FactorModel", "Recommender", "TopK"]

Unknown = Literal["error", "skip"]
_PAIR = ("user_id", "item_id")


class TopK(NamedTuple):
    """Ranked lists of row numbers (n, k) int32, best first, -1 where a list ends, and their scores (n, k) float32."""

    rows: NDArray[np.int32]
    scores: NDArray[np.float32]

    @classmethod
    def empty(cls, n: int, k: int) -> Self:
        """Lists of ``n`` with ``k`` places, none of them filled."""
        return cls(np.full((n, k), -1, np.int32), np.full((n, k), -np.inf, np.float32))


class Recommender(ABC):
    """A model that ranks items for users.

    A subclass stores its constructor's parameters unchanged under their own names, fits in :meth:`fit` (where it sets
    ``interactions_`` and learned attributes that end in ``_``) and answers four questions on row numbers:
    :meth:`_top_k`, :meth:`_top_k_for`, :meth:`_scores` and, where it has the notion, :meth:`_similar_items`.
    Ids, filters, tables, errors and saving are done here once for all models.
    """

    registry: ClassVar[dict[str, type[Recommender]]] = {}
    interactions_: Interactions
    threads: int | None = None

    @property
    def ordered(self) -> bool:
        """Whether the order of a history matters."""
        return False

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init_subclass__(**kwargs)
        if not inspect.isabstract(cls):
            Recommender.registry[cls.__name__] = cls

    # What a subclass provides.

    @abstractmethod
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Learn from interactions; ``progress`` shows a bar (default: when stderr is a terminal)."""

    @abstractmethod
    def _top_k(self, users: Rows, k: int, exclude: CSR | None, allowed: Rows | None) -> TopK:
        """Lists for users of the training data. ``exclude`` has one row per user; ``allowed`` is ascending."""

    @abstractmethod
    def _top_k_for(self, histories: CSR, k: int, exclude: CSR | None, allowed: Rows | None) -> TopK:
        """Lists for users known only by their history (a row each, over the training data's items).

        Where the model is ``ordered`` these are :class:`~cofactor.data.histories.Histories`, with positions.
        """

    @abstractmethod
    def _scores(self, users: Rows, items: Rows) -> Float:
        """Score of each (user, item) pair."""

    def _read_histories(self, histories: TableLike | Interactions) -> tuple[pl.Series, CSR]:
        """Users in order of appearance and what :meth:`_top_k_for` is asked with, a row each."""
        return read_histories(histories, self.interactions_.items, ordered=self.ordered)

    def _similar_items(self, items: Rows, k: int) -> TopK:
        raise ParameterError(f"{type(self).__name__} has no notion of similar items")

    # What every model does.

    def recommend(
        self,
        users: Ids | None = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        items: Ids | None = None,
        exclude: TableLike | None = None,
        unknown: Unknown = "error",
    ) -> pl.DataFrame:
        """Rank items for users of the training data.

        Parameters
        ----------
        users : ids, optional
            Who to recommend to, in this order; by default everyone in the training data.
        k : int
            Length of the lists. A list is shorter, never filled up, where fewer items are left.
        exclude_seen : bool
            Leave out what the user has in the training data.
        items : ids, optional
            The only items to choose from.
        exclude : DataFrame with user_id and item_id, optional
            Pairs to leave out as well.
        unknown : {"error", "skip"}
            What to do with users or items that the training data does not hold.

        Returns
        -------
        DataFrame
            ``user_id``, ``item_id``, ``score`` (Float32), ``rank`` (UInt32, from 1). Ties go to the lower item row.

        Raises
        ------
        UnknownIdError
            A user or item is not in the training data and ``unknown="error"``.
        """
        x = self._fitted()
        check_at_least("k", k, 1, whole=True)
        rows = np.arange(x.n_users, dtype=np.int32) if users is None else _known(x.users, users, "user", unknown)
        excluded = None
        if exclude_seen:
            excluded = x.user_items if users is None else x.user_items.take(rows)
        if exclude is not None:
            pairs = _excluded_pairs(exclude, rows, x)
            excluded = pairs if excluded is None else excluded.union(pairs)
        top = self._top_k(rows, int(k), excluded, self._allowed(items, unknown))
        return _table(x.users.take(rows), "user_id", x.items, "item_id", top)

    def recommend_for(
        self,
        histories: TableLike | Interactions,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        items: Ids | None = None,
        unknown: Unknown = "error",
    ) -> pl.DataFrame:
        """Rank items for users that ``fit`` never saw, from their histories.

        Parameters
        ----------
        histories : DataFrame with user_id, item_id and (optional) weight and time, or Interactions
            Weights mean what they meant in training. Models of sequences (``SessionKNN``) take the rows of a user in
            the order of ``time`` where there is such a column, else as they stand, the oldest first, each for one
            event whatever its weight; ``Repurchase`` reads how long ago they were from it; others do not look at it.
            Items that the training data does not hold are left out and counted in a :class:`CofactorWarning`.
        k, exclude_seen, items, unknown
            As in :meth:`recommend`.

        Returns
        -------
        DataFrame
            As :meth:`recommend`, users in order of their first appearance.
        """
        x = self._fitted()
        check_at_least("k", k, 1, whole=True)
        users, csr = self._read_histories(histories)
        top = self._top_k_for(csr, int(k), csr if exclude_seen else None, self._allowed(items, unknown))
        return _table(users, "user_id", x.items, "item_id", top)

    def similar_items(self, items: Ids | None = None, k: int = 10, *, unknown: Unknown = "error") -> pl.DataFrame:
        """The k most similar items of each given item (default: of every item), itself left out.

        Returns
        -------
        DataFrame
            ``item_id``, ``similar_item_id``, ``score`` (Float32), ``rank`` (UInt32, from 1).
        """
        x = self._fitted()
        check_at_least("k", k, 1, whole=True)
        rows = np.arange(x.n_items, dtype=np.int32) if items is None else _known(x.items, items, "item", unknown)
        return _table(x.items.take(rows), "item_id", x.items, "similar_item_id", self._similar_items(rows, int(k)))

    def predict(self, pairs: TableLike, *, unknown: Unknown = "error") -> pl.DataFrame:
        """Score given (user_id, item_id) rows, in their order; with ``unknown="skip"`` unknown ones get a null score.

        Returns
        -------
        DataFrame
            ``user_id``, ``item_id``, ``score`` (Float32).
        """
        x = self._fitted()
        table = read_table(pairs, _PAIR, "pairs").select(_PAIR)
        check_choice("unknown", unknown, ("error", "skip"))
        find = IdMap.require if unknown == "error" else lambda ids, values, _: ids.rows(values)
        users, items = find(x.users, table["user_id"], "user"), find(x.items, table["item_id"], "item")
        known = (users >= 0) & (items >= 0)
        scores = np.full(len(table), np.nan, np.float32)
        scores[known] = self._scores(users[known], items[known])
        score = pl.Series("score", scores).set(pl.Series(~known), None)
        return table.with_columns(score)

    def params(self) -> dict[str, Any]:
        """The constructor's parameters and their values."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def save(self, folder: str | Path) -> None:
        """Write the model to a folder; see :mod:`cofactor.models.base.saved`."""
        from cofactor.models.base.saved import save

        save(self, folder)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.params().items())
        return f"{type(self).__name__}({given})"

    # Shared by the above.

    def _fitted(self) -> Interactions:
        if not hasattr(self, "interactions_"):
            raise NotFittedError(f"this {type(self).__name__} has not been fitted; call fit(interactions) first")
        return self.interactions_

    def _allowed(self, items: Ids | None, unknown: Unknown) -> Rows | None:
        if items is None:
            return None
        allowed = np.unique(_known(self.interactions_.items, items, "item", unknown, stacklevel=4))
        if not len(allowed):
            raise ParameterError("items leaves nothing to recommend; give at least one item of the training data")
        return allowed


def _table(ids: pl.Series, name: str, others: IdMap, other_name: str, top: TopK) -> pl.DataFrame:
    """Ranked lists as a public table: one row per (id, other id)."""
    at, column = np.nonzero(top.rows >= 0)
    return pl.DataFrame(
        [
            ids.gather(at).alias(name),
            others.take(top.rows[at, column]).alias(other_name),
            pl.Series("score", top.scores[at, column]),
            pl.Series("rank", (column + 1).astype(np.uint32)),
        ]
    )


class FactorModel(Recommender):
    """A model whose scores are inner products of user and item vectors.

    A subclass's ``fit`` sets ``user_factors_`` (n_users, factors) and ``item_factors_`` (n_items, factors), float32.
    """

    user_factors_: Float
    item_factors_: Float

    @abstractmethod
    def _fold_in(self, histories: CSR) -> Float:
        """Vectors (n, factors) of users known only by their history."""

    def _top_k(self, users: Rows, k: int, exclude: CSR | None, allowed: Rows | None) -> TopK:
        vectors = (
            self.user_factors_
            if len(users) == len(self.user_factors_) and _is_range(users)
            else self.user_factors_[users]
        )
        lengths = np.diff(self.interactions_.user_items.indptr)[users]
        return self._nearest(vectors, lengths, k, exclude, allowed)

    def _top_k_for(self, histories: CSR, k: int, exclude: CSR | None, allowed: Rows | None) -> TopK:
        return self._nearest(self._fold_in(histories), np.diff(histories.indptr), k, exclude, allowed)

    def _nearest(
        self, vectors: Float, history_lengths: NDArray[np.int64], k: int, exclude: CSR | None, allowed: Rows | None
    ) -> TopK:
        top = cpu.top_k(vectors, self.item_factors_, k, exclude=exclude, allowed=allowed, threads=self.threads)
        top[0][history_lengths == 0] = -1  # nothing known, nothing recommended
        return TopK(*top)

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
        return _most_similar(self.item_factors_, items, k, self.threads)

    def similar_users(self, users: Ids | None = None, k: int = 10, *, unknown: Unknown = "error") -> pl.DataFrame:
        """The k most similar users (cosine of their vectors) of each given user, itself left out.

        Returns
        -------
        DataFrame
            ``user_id``, ``similar_user_id``, ``score`` (Float32), ``rank`` (UInt32, from 1).
        """
        x = self._fitted()
        check_at_least("k", k, 1, whole=True)
        rows = np.arange(x.n_users, dtype=np.int32) if users is None else _known(x.users, users, "user", unknown)
        top = _most_similar(self.user_factors_, rows, int(k), self.threads)
        return _table(x.users.take(rows), "user_id", x.users, "similar_user_id", top)


def _most_similar(vectors: Float, rows: Rows, k: int, threads: int | None) -> TopK:
    """Cosine neighbours of some rows of ``vectors``, themselves left out; zero vectors are similar to nothing."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32, copy=False)
    itself = CSR(np.arange(len(rows) + 1, dtype=np.int64), rows, np.ones(len(rows), np.float32), len(vectors))
    allowed = None if (norms > 0).all() else np.flatnonzero(norms > 0).astype(np.int32)
    if allowed is not None and not len(allowed):
        return TopK.empty(len(rows), 1)
    top = TopK(*cpu.top_k(unit[rows], unit, k, exclude=itself, allowed=allowed, threads=threads))
    top.rows[norms[rows, 0] == 0] = -1
    return top


def _is_range(rows: Rows) -> bool:
    return bool((rows == np.arange(len(rows), dtype=np.int32)).all())


def _known(ids: IdMap, values: Ids, what: str, unknown: Unknown, stacklevel: int = 3) -> Rows:
    """Row numbers of ids; unknown ones raise, or are left out and counted."""
    check_choice("unknown", unknown, ("error", "skip"))
    if unknown == "error":
        return ids.require(values, what)
    rows = ids.rows(values)
    if n := int((rows < 0).sum()):
        warnings.warn(
            f"{n} of {len(rows)} {what} ids are not in the training data; skipped",
            CofactorWarning,
            stacklevel=stacklevel,
        )
    return rows[rows >= 0]


def _excluded_pairs(exclude: TableLike, users: Rows, x: Interactions) -> CSR:
    """Pairs to leave out as rows of the users asked for; pairs of other users or unknown items say nothing here."""
    table = read_table(exclude, _PAIR, "exclude")
    named = pl.DataFrame({"user": x.users.rows(table["user_id"]), "item": x.items.rows(table["item_id"])})
    named = named.filter(pl.col("item") >= 0).unique()
    pairs = pl.DataFrame({"user": users}).with_row_index("at").join(named, on="user")
    return CSR.from_pairs(pairs["at"], pairs["item"], np.ones(len(pairs), np.float32), (len(users), x.n_items))
