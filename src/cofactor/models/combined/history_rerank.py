"""Sessions go on with what they had, then with what is near it, then with what is popular.

With the events e = 0 ... n - 1 of a history, the oldest first, and ``w(e)`` the weight of an event's type::

    recency(e, n) = 2 ** (0.1 + 0.9 * e / (n - 1)) - 1                      logspace(0.1, 1, n, base=2) - 1
    own(i)        = sum of recency(e, n) * w(e) over the events e of item i
    near(j)       = sum over the r newest distinct items i, and the models m, of recency(i, r) * weight(m) / (60 + rank
                    of j among the most similar items of i)

Items of the history come first, by ``own``; then others that are near, by ``near``; then the rest by the number of
their users. A history of k distinct items or more is re-ranked and nothing else.

Source: the public baselines of the OTTO competition (Kaggle 2022), which re-rank histories of 20 items by recency and
type, and fill up shorter ones from the neighbours of the most recent item in an item-item factorization or from
co-visitation matrices. Departures: shorter histories are ordered by ``own`` too; neighbours of several recent items, by
reciprocal ranks (Cormack, Clarke & Büttcher, SIGIR 2009), so that scores of different models can be added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from cofactor.checks import check_at_least
from cofactor.data.histories import Histories
from cofactor.data.timelines import Timelines, histories_of, read_timelines, timelines_of
from cofactor.errors import DataError, ParameterError
from cofactor.kernels.arrays import TopK
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from cofactor.models.base.learned import check_range
from cofactor.models.base.recommender import Recommender
from cofactor.models.combined._votes import Votes
from cofactor.models.combined.combination import Combination, check_weights_of
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    import polars as pl
    from numpy.typing import ArrayLike, NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.data.tables import TableLike
    from cofactor.data.user_items import UserItems
    from cofactor.kernels.arrays import Float, Rows

__all__ = ["HistoryRerank"]

_USUAL = {"clicks": 1.0, "carts": 6.0, "orders": 3.0}
_ROWS = 1 << 15  # histories that are looked at together
_CELLS = 1 << 24  # of tables of histories and popular items
_OWN, _NEAR, _REST = 2.0, 1.0, 0.0  # what scores begin with


@dataclass(frozen=True, slots=True, eq=False)
class _Scored(Histories):
    """Histories whose values are ``own``, relative to the largest of the row."""

    def take(self, rows: ArrayLike) -> _Scored:
        """The given rows, in the given order."""
        h = Histories.take(self, rows)
        return _Scored(h.indptr, h.indices, h.values, h.n_columns, h.positions)


class HistoryRerank(Combination):
    """Rank what a session had by recency and type, fill up from neighbours of its newest items, then popular items.

    Lists are always as long as they can be. Scores are 2 to 3 for items of the history, 1 to 2 for neighbours, below 1
    for popular items, and relative to the best of their kind in the list: compare them within a list only. Made for
    ``recommend_for(sessions, exclude_seen=False)``; without what was seen lists begin with the neighbours. No loop over
    sessions in Python.

    Histories are tables with a row for each event, the oldest first or with a ``time``, and perhaps ``event_type`` and
    ``weight``, or Events, or Interactions made of them. Interactions without events have one event a pair, in the order
    of the item rows, with the weight of the pair. An event counts its weight times that of its type; the same event
    twice counts twice.

    Parameters
    ----------
    *models : Recommender
        At least one with similar items: an item-item factorization, co-visitation, several. All are fitted on the same
        interactions; fitted again, the whole has new ones in ``models``, and those given stay as they were.
    weights : sequence of numbers, optional
        One positive weight for each model; equal ones unless given.
    type_weights : mapping, optional
        Weight of every event type that occurs. Unless given, clicks 1, carts 6, orders 3, and any other type 1. Says
        nothing where events have no types.
    recent : int
        How many of the newest distinct items give neighbours.
    neighbours : int
        How many neighbours of each of them.
    threads : int, optional

    Attributes
    ----------
    histories_ : CSR (n_users, n_items)
        ``own`` of the training data, relative to each user's largest.
    positions_ : (n_histories_entries,) int32
        Of every entry of it: the place of the item's last event in the history, from 1, the oldest.
    popular_ : (n_items,) int32
        Item rows by the number of their users, most first.
    popularity_ : (n_items,) float32
        What popular items score.

    Examples
    --------
    >>> import cofactor as cf
    >>> model = cf.HistoryRerank(cf.CoVisitation.type_weighted(), cf.ItemKNN(), weights=[2, 1])
    """

    histories_: CSR
    positions_: Rows
    popular_: Rows
    popularity_: Float
    _known_votes: Votes | None = None

    def __init__(
        self,
        *models: Recommender,
        weights: Sequence[float] | None = None,
        type_weights: Mapping[str, float] | None = None,
        recent: int = 5,
        neighbours: int = 50,
        threads: int | None = None,
    ) -> None:
        self.models = models
        self.weights = weights
        self.type_weights = type_weights
        self.recent = recent
        self.neighbours = neighbours
        self.threads = threads

    def params(self) -> dict[str, Any]:
        """The models and how their neighbours are put together."""
        weights = list(self.weights) if isinstance(self.weights, list | tuple | np.ndarray) else self.weights
        names = ("type_weights", "recent", "neighbours", "threads")
        return {"models": self.models, "weights": weights} | {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.params().items() if name != "models")
        return f"HistoryRerank({''.join(f'{model!r}, ' for model in self.models)}{given})"

    @property
    def ordered(self) -> bool:
        """Whether the order of a history matters: it does."""
        return True

    @classmethod
    def fitted(
        cls,
        *models: Recommender,
        weights: Sequence[float] | None = None,
        type_weights: Mapping[str, float] | None = None,
        recent: int = 5,
        neighbours: int = 50,
        threads: int | None = None,
    ) -> Self:
        """Take models that are fitted already, with an index perhaps, for sessions that ``recommend_for`` is given.

        A fitted model keeps nothing of the log: ``recommend`` knows the pairs of the first model's training data, in
        the order of the item rows.

        Raises
        ------
        ParameterError
            The models were trained on different items, or as the constructor.
        NotFittedError
            One has not been fitted.
        """
        given = {"weights": weights, "type_weights": type_weights, "recent": recent, "neighbours": neighbours}
        whole = cls(*models, threads=threads, **given)  # type: ignore[arg-type]
        whole._check()
        x = models[0]._fitted()
        for other in models[1:]:
            if (theirs := other._fitted().items) != x.items:
                raise ParameterError(
                    f"HistoryRerank needs models trained on the same items: {models[0]!r} knows {x.n_items:,}, "
                    f"{other!r} {len(theirs):,}, and they are not the same; fit both on the same interactions"
                )
        matrix = x.user_items
        whole._learn(x, Timelines(x.users.ids, matrix.indptr, matrix.indices, matrix.values, None, ()))
        whole.interactions_ = x
        return whole

    def _learn_of(self, x: Interactions) -> None:
        self._learn(x, timelines_of(x, x.items))

    def _learn(self, x: UserItems, events: Timelines) -> None:
        scored = (self._scored(piece, x.n_items) for piece in events.pieces())
        own = Histories.stacked(scored, x.n_items, len(events.items))
        self.histories_, self.positions_ = CSR(own.indptr, own.indices, own.values, own.n_columns), own.positions
        counts = np.zeros(x.n_items, np.int64)
        for begin in range(0, x.nnz, _CELLS):  # the counts of NumPy want 8 bytes an entry
            counts += np.bincount(x.user_items.indices[begin : begin + _CELLS], minlength=x.n_items)
        self.popularity_ = _tier(_REST, (counts + 1) / (counts.max(initial=0) + 1)).astype(np.float32)
        self.popular_ = np.argsort(-self.popularity_, kind="stable").astype(np.int32)

    def _read_histories(self, histories: TableLike | Interactions) -> tuple[pl.Series, CSR]:
        read = read_timelines(histories, self.interactions_.items)
        return read.users, self._scored(read, self.interactions_.n_items)

    def _scored(self, events: Timelines, n_items: int) -> _Scored:
        weights = events.weights * _recency(*events.places())
        if events.types is not None:
            weights *= self._type_table(events.type_names)[events.types]
        h = histories_of(events, weights, n_items)
        return _Scored(h.indptr, h.indices, _relative(h, h.values), n_items, h.positions)

    def _type_table(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        """Weight of every type."""
        if self.type_weights is None:
            return np.array([_USUAL.get(name, 1.0) for name in names])
        if missing := [name for name in names if name not in self.type_weights]:
            raise DataError(
                f"type_weights={dict(self.type_weights)!r} has no weight for events of {', '.join(missing)}; add it, "
                "or filter such events out first"
            )
        return np.array([float(self.type_weights[name]) for name in names])

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        return self._lists(self._own().take(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        assert isinstance(histories, Histories)
        if not isinstance(histories, _Scored):  # inside another model: weights of pairs, and where each item stood last
            h, row = histories, histories.row_index()
            weights = h.values * _recency(h.positions - 1.0, _last(h)[row])
            own = _relative(h, weights)
            histories = _Scored(h.indptr, h.indices, own, h.n_columns, h.positions)
        return self._lists(histories, k, filters)

    def _own(self) -> _Scored:
        h = self.histories_
        return _Scored(h.indptr, h.indices, h.values, h.n_columns, self.positions_)

    def _lists(self, histories: _Scored, k: int, filters: Filters) -> TopK:
        parts = []
        for begin in range(0, max(histories.n_rows, 1), _ROWS):
            rows = np.arange(begin, min(histories.n_rows, begin + _ROWS), dtype=np.int32)
            known, left = self._known(histories.take(rows)), filters.take(rows)
            itself = CSR.one_each(np.arange(len(rows), dtype=np.int32), len(rows))
            top = self._kernels().linear_top_k(itself, known, k, filters=left, threads=self.threads)
            self._fill(top, known, left)
            parts.append(top)
        return TopK.stacked(parts)

    def _known(self, histories: _Scored) -> CSR:
        """Scores of what the histories hold and of what is near it, (n, n_items)."""
        shape, row = histories.shape, histories.row_index()
        own = scipy.sparse.csr_matrix((_tier(_OWN, histories.values), histories.indices, histories.indptr), shape)
        newest = np.lexsort((-histories.positions, row))
        nth = np.arange(len(row)) - histories.indptr[row]
        newest = newest[nth < self.recent]
        n_of = np.minimum(np.diff(histories.indptr), self.recent)[row[newest]]
        items, at = np.unique(histories.indices[newest], return_inverse=True)
        say = _recency(n_of - 1 - nth[nth < self.recent], n_of)
        asked = scipy.sparse.csr_matrix((say, (row[newest], at)), (shape[0], len(items)))
        near = CSR.from_scipy(asked @ self._votes(self.neighbours).of(items.astype(np.int32)).to_scipy())
        near = near.with_values(_tier(_NEAR, _relative(near, near.values)))
        return CSR.from_scipy(own.maximum(near.to_scipy()))

    def _votes(self, depth: int) -> Votes:
        """What all models together say of the neighbours of items; asked again, it knows what it was asked before."""
        weights = [1.0] * len(self.models) if self.weights is None else [float(weight) for weight in self.weights]
        votes = Votes(self.models, weights, depth, self.interactions_.n_items)
        if (known := self._known_votes) is not None and known.are(votes):
            return known
        self._known_votes = votes
        return votes

    def _fill(self, top: TopK, known: CSR, filters: Filters) -> None:
        """Put popular items into the places that are left, in place."""
        k, length = top.rows.shape[1], (top.rows >= 0).sum(axis=1)
        choices = self.popular_
        if filters.allowed is not None:
            choices = choices[np.isin(choices, filters.allowed)]
        short, size = np.flatnonzero(length < k), min(2 * k, len(choices))
        place_of = np.full(known.n_columns, -1, np.int64)
        while len(short) and size:
            some = choices[:size]
            place_of[some] = np.arange(size)
            still = [np.empty(0, np.int64)]
            for begin in range(0, len(short), max(1, _CELLS // size)):
                rows = short[begin : begin + max(1, _CELLS // size)]
                free = ~_holds(known.take(rows), place_of, size)
                if filters.exclude is not None:
                    free &= ~_holds(filters.exclude.take(rows), place_of, size)
                place = length[rows][:, None] + np.cumsum(free, axis=1) - 1
                row, column = np.nonzero(free & (place < k))
                to = rows[row], place[row, column]
                top.rows[to], top.scores[to] = some[column], self.popularity_[some[column]]
                still.append(rows[place[:, -1] < k - 1])
            short = np.concatenate(still) if size < len(choices) else still[0]
            size = min(8 * size, len(choices))

    def _scores(self, users: Rows, items: Rows) -> Float:
        asked, at = np.unique(users, return_inverse=True)
        scores = self._known(self._own().take(asked)).lookup(at, items)
        return np.where(scores > 0, scores, self.popularity_[items])

    def _similar_items(self, items: Rows, k: int) -> TopK:
        votes = self._votes(max(self.neighbours, k)).of(items)
        itself = CSR.one_each(np.arange(len(items), dtype=np.int32), len(items))
        others = Filters(exclude=CSR.one_each(items, self.interactions_.n_items))
        return self._kernels().linear_top_k(itself, votes, k, filters=others, threads=self.threads)

    def _learned(self) -> dict[str, str]:
        return {
            "histories_": "csr users items",
            "positions_": "int32 places",
            "popular_": "int32 items",
            "popularity_": "float32 items",
        }

    def _check_state(self) -> None:
        if len(self.positions_) != self.histories_.nnz:
            raise DataError(f"positions_ holds {len(self.positions_)} places of {self.histories_.nnz} entries")
        check_range("popular_", self.popular_, self.interactions_.n_items)

    def _check(self) -> None:
        for name in ("recent", "neighbours"):
            check_at_least(name, getattr(self, name), 1, whole=True)
        resolve_threads(self.threads)
        if self.type_weights is not None:
            given = self.type_weights
            if not isinstance(given, Mapping) or not given or not all(isinstance(name, str) for name in given):
                raise ParameterError(
                    f"type_weights={self.type_weights!r}; it must be a mapping such as {{'clicks': 1, 'carts': 6}}"
                )
            for name, weight in self.type_weights.items():
                check_at_least(f"type_weights[{name!r}]", weight, 0, above=True)
        check_weights_of(self.models, self.weights)
        if not self.models or not all(isinstance(m, Recommender) for m in self.models):
            raise ParameterError(f"HistoryRerank needs models that have similar items, got {self.models!r}")
        for model in self.models:
            if type(model)._similar_items is Recommender._similar_items:
                raise ParameterError(f"HistoryRerank needs models that have similar items; {model!r} has none")


def _recency(place: NDArray[Any], n: NDArray[np.integer]) -> NDArray[np.float64]:
    """``logspace(0.1, 1, n, base=2) - 1`` at places from 0."""
    weights: NDArray[np.float64] = 2 ** (0.1 + 0.9 * place / np.maximum(n - 1, 1)) - 1
    return weights


def _last(histories: Histories) -> NDArray[np.int64]:
    """The last place that any item of each row has."""
    last = np.zeros(histories.n_rows, np.int64)
    np.maximum.at(last, histories.row_index(), histories.positions)
    return last


def _relative(rows: CSR, values: NDArray[Any]) -> Float:
    """A value for each entry, all positive, by the largest of its row."""
    lengths = np.diff(rows.indptr)
    filled = lengths > 0
    largest = np.maximum.reduceat(values, rows.indptr[:-1][filled]) if filled.any() else values[:0]
    relative: Float = (values / np.repeat(largest, lengths[filled])).astype(np.float32)
    return relative


def _tier(begin: float, relative: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scores between a number and the next, which no rounding brings to either."""
    return begin + 0.05 + 0.9 * relative.astype(np.float64)


def _holds(matrix: CSR, place_of: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Which of some columns each row has, (n_rows, size); ``place_of`` tells which of them a column is, or -1."""
    held = np.zeros((matrix.n_rows, size), np.bool_)
    at = place_of[matrix.indices]
    held[matrix.row_index()[at >= 0], at[at >= 0]] = True
    return held
