"""A model made ready to answer: by external ids, for requests that are under way together."""

from __future__ import annotations

from contextlib import suppress
from time import thread_time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cofactor.errors import CofactorError, DataError, ParameterError
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from cofactor.models.base.recommender import Recommender, load
from cofactor.retrieval.models import has_factors, indexed, is_indexed
from cofactor.serve.explanations import contributions
from cofactor.serve.histories import reader_of
from cofactor.serve.ids import Id, JsonIds
from cofactor.serve.questions import Entries, Question
from cofactor.serve.request_error import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Rows, TopK
    from cofactor.serve.catalogue import Catalogue
    from cofactor.serve.events import Event as Stored
    from cofactor.serve.messages import Event, Pair

__all__ = ["Index", "Listed"]

_QUICK = 0.002  # seconds for a question
_TRIES = 5


class Listed(NamedTuple):
    """A ranked list of item rows."""

    rows: list[int]
    scores: list[float]
    source: str  # "model", "fold_in" or "popular"
    unknown: list[Id]  # ids of the request that the model does not know


class Index:
    """A fitted model made ready to answer.

    Everything that does not depend on the question is made once, here: ids as they stand in JSON, their rows, the order
    of popular items. Answers are those of ``recommend``, ``recommend_for``, ``similar_items`` and ``predict``.

    Parameters
    ----------
    model : Recommender
        Fitted.
    name : str
    version : str
        Which model of that name this is.

    Raises
    ------
    DataError
        Ids are binary.
    """

    def __init__(self, model: Recommender, *, name: str = "model", version: str = "0") -> None:
        x = model._fitted()
        if has_factors(model) and not is_indexed(model):
            model = indexed(model)
        model = model.answering()
        self.model, self.name, self.version = model, name, version
        self.users, self.items = JsonIds(x.users, "user"), JsonIds(x.items, "item")
        self._seen = x.user_items
        self._read = reader_of(model)
        self._places: dict[int, NDArray[np.int64]] = {}
        self.quick = True
        counts = np.bincount(self._seen.indices, minlength=x.n_items)
        self._popular = np.argsort(-counts, kind="stable").astype(np.int32)
        self._popularity = counts.astype(np.float32)
        self._popular_places = np.empty_like(self._popular)
        self._popular_places[self._popular] = np.arange(x.n_items, dtype=np.int32)

    @classmethod
    def load(cls, folder: str | Path, *, name: str = "model", version: str = "0", verify: bool = True) -> Index:
        """Read a saved model; errors as :func:`cofactor.load`."""
        return cls(load(folder, verify=verify), name=name, version=version)

    def warm(self) -> Self:
        """Ask for everything once, so that no request pays for what is made at first use; and see how long it takes.

        Returns
        -------
        Self
            ``quick`` tells whether a question is answered in less time than a thread would cost.
        """
        if len(self.users) and len(self.items):
            with suppress(CofactorError):  # what the model cannot do is said to whom asks for it
                self.similar(0, 1)
            seen = self._seen.row(0)[0][:20].tolist()
            asked = [Question(user=0), Question(history=Entries(seen, [self._read.usual] * len(seen)))]
            with suppress(CofactorError):
                self.quick = min(self._seconds(asked) for _ in range(_TRIES)) < _QUICK * len(asked)
        return self

    def _seconds(self, asked: list[Question]) -> float:
        begun = thread_time()
        for question in asked:
            self.recommend([question])
        return thread_time() - begun

    def question(
        self,
        user: Id | None,
        history: Sequence[Event] | None,
        stored: Sequence[Stored] = (),
        *,
        k: int = 10,
        exclude_seen: bool = True,
        exclude: Rows | None = None,
        allowed: Rows | None = None,
        fallback: bool = True,
    ) -> Question:
        """Turn what somebody asks by ids into what :meth:`recommend` answers.

        ``stored`` is what the user did since the training, as the store has it: it comes before ``history``.

        Raises
        ------
        RequestError
            404 ``unknown_user``: nobody knows the user, there is no history, and no fallback is wanted. 422: an id of
            the wrong type, or an event that the model cannot compute with.
        """
        row, unknown = -1, []
        if user is not None:
            row = self.users.row(user)
            if row < 0:
                unknown.append(user)
                if not history and not stored and not fallback:
                    raise RequestError(
                        404, "unknown_user", f"user {str(user)[:40]!r} is not known, and has no history", "user"
                    )
        entries = self._read.entries(history, self.items, unknown) if history else None
        if stored:
            entries = self._read.after(stored, entries, self.items)
        return Question(row, entries, k, exclude_seen, exclude, allowed, fallback, unknown)

    def recommend(self, questions: Sequence[Question]) -> list[Listed]:
        """Answer questions; those of one kind by one call of the model's."""
        answers: list[Listed | None] = [None] * len(questions)
        groups: dict[tuple[bool, int, int], list[int]] = {}
        for at, q in enumerate(questions):
            folded = q.history is not None
            if not folded and q.user < 0:
                answers[at] = self._otherwise(q)
            else:
                groups.setdefault((folded, q.k, id(q.allowed)), []).append(at)
        for (folded, k, _), places in groups.items():
            asked = [questions[at] for at in places]
            top, source = (self._folded(asked, k), "fold_in") if folded else (self._known(asked, k), "model")
            for at, listed in zip(places, self._lists(top, asked, source), strict=True):
                answers[at] = listed
        return answers  # type: ignore[return-value]

    def similar(self, item: int, k: int, allowed: Rows | None = None) -> Listed:
        """The items most similar to one, of those that are allowed.

        Raises
        ------
        RequestError
            422 ``no_similar_items``: the model has no notion of it.
        """
        asked, wanted = np.array([item], np.int32), k
        while True:
            try:
                top = self.model._similar_items(asked, wanted)
            except ParameterError as error:
                raise RequestError(422, "no_similar_items", str(error), "model") from None
            rows, scores = top.rows[0], top.scores[0]
            n_found = int((rows >= 0).sum())
            kept = np.flatnonzero(rows >= 0)
            if allowed is not None:
                kept = kept[np.isin(rows[kept], allowed)]
            if len(kept) >= k or n_found < wanted or wanted >= len(self.items):
                return Listed(rows[kept[:k]].tolist(), scores[kept[:k]].tolist(), "model", [])
            wanted = min(4 * wanted, len(self.items))

    def predict(self, pairs: Sequence[Pair]) -> list[float | None]:
        """Score of each pair, None where the user or the item is not known."""
        users = np.array([self.users.row(pair.user) for pair in pairs], np.int32)
        items = np.array([self.items.row(pair.item) for pair in pairs], np.int32)
        known = (users >= 0) & (items >= 0)
        scores = self.model._scores(users[known], items[known]).tolist()
        left = iter(scores)
        return [next(left) if there else None for there in known.tolist()]

    def explain(self, question: Question, item: int, k: int) -> tuple[float, list[tuple[int, float]]]:
        """Score of an item for a user or history, and what the k items of the history that count most add to it.

        Raises
        ------
        RequestError
            422 ``cannot_explain``: its scores are no sum over the history. 404: nothing is known of the user.
        """
        history = self._read.matrix([question]) if question.history is not None else None
        if history is None:
            if question.user < 0:
                raise RequestError(404, "unknown_user", "nothing is known of the user", "user")
            history = self._seen.take([question.user])
        parts = contributions(self.model, history, item)
        best = np.argsort(-np.abs(parts), kind="stable")[:k]
        return float(parts.sum()), list(zip(history.indices[best].tolist(), parts[best].tolist(), strict=True))

    def history(self, user: Id) -> list[dict[str, Any]] | None:
        """What the training data has of a user, items and weights; None for somebody it does not know."""
        if (row := self.users.row(user)) < 0:
            return None
        rows, values = self._seen.row(row)
        return [{"item": self.items.ids[r], "weight": v} for r, v in zip(rows.tolist(), values.tolist(), strict=True)]

    def places_in(self, catalogue: Catalogue) -> NDArray[np.int64]:
        """Row in a table of items of each item of the model, -1 where it lacks it."""
        known = self._places.get(id(catalogue))
        if known is None:
            try:
                rows = catalogue.items.rows(self.model.interactions_.items.ids)
            except DataError:  # of another type: there is no item in common
                rows = np.full(len(self.items), -1, np.int32)
            known = self._places[id(catalogue)] = rows.astype(np.int64)
        return known

    def _known(self, asked: list[Question], k: int) -> TopK:
        users = np.array([q.user for q in asked], np.int32)
        seen = _rows_of(self._seen, users) if any(q.exclude_seen for q in asked) else None
        return self.model._top_k(users, k, self._filters(asked, seen))  # what top_k checks was checked

    def _folded(self, asked: list[Question], k: int) -> TopK:
        histories = self._read.matrix(asked)
        return self.model._top_k_for(histories, k, self._filters(asked, histories))

    def _filters(self, asked: list[Question], seen: CSR | None) -> Filters:
        """What the lists may hold: a row for each question."""
        allowed = asked[0].allowed
        if seen is None and all(q.exclude is None for q in asked):
            return Filters(None, allowed)
        if seen is not None and all(q.exclude_seen and q.exclude is None for q in asked):
            return Filters(seen, allowed)
        nothing = np.zeros(0, np.int32)
        rows = []
        for at, q in enumerate(asked):
            own = seen.row(at)[0] if seen is not None and q.exclude_seen else nothing
            rows.append(own if q.exclude is None else np.union1d(own, q.exclude).astype(np.int32))
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=indptr[1:])
        indices = np.concatenate(rows)
        return Filters(CSR(indptr, indices, np.ones(len(indices), np.float32), len(self.items)), allowed)

    def _lists(self, top: TopK, asked: list[Question], source: str) -> list[Listed]:
        ends = (top.rows >= 0).sum(axis=1).tolist()
        rows, scores = top.rows.tolist(), top.scores.tolist()
        return [
            Listed(rows[at][:end], scores[at][:end], source, q.unknown) if end else self._otherwise(q, source)
            for at, (q, end) in enumerate(zip(asked, ends, strict=True))
        ]

    def _otherwise(self, q: Question, source: str = "model") -> Listed:
        """The list of somebody for whom the model has none."""
        if not q.fallback:
            return Listed([], [], source, q.unknown)
        left_out = [q.exclude] if q.exclude is not None else []
        if q.exclude_seen and q.user >= 0:
            left_out.append(self._seen.row(q.user)[0])
        if q.exclude_seen and q.history is not None:
            left_out.append(np.array(q.history.rows, np.int32))
        n = q.k + sum(map(len, left_out))  # so many are enough, whatever is left out
        choices = self._popular[:n] if q.allowed is None else self._popular_of(q.allowed, n)
        if left_out:
            choices = choices[~np.isin(choices, np.concatenate(left_out))]
        best = choices[: q.k]
        source = "popular" if len(best) else source  # else nothing is left, whoever is asked
        return Listed(best.tolist(), self._popularity[best].tolist(), source, q.unknown)

    def _popular_of(self, allowed: Rows, n: int) -> Rows:
        """The n most popular of some items."""
        places = self._popular_places[allowed]
        if n < len(places):
            places = np.partition(places, n - 1)[:n]
        return self._popular[np.sort(places)]


def _rows_of(matrix: CSR, rows: Rows) -> CSR:
    """Some rows of a matrix; a single one without a copy."""
    if len(rows) > 1:
        return matrix.take(rows)
    begin, end = matrix.indptr[rows[0] : rows[0] + 2].tolist()
    indptr = np.array((0, end - begin), np.int64)
    return CSR(indptr, matrix.indices[begin:end], matrix.values[begin:end], matrix.n_columns)
