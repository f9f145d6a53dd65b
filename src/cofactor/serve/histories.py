"""Histories of requests as the matrices that models are asked with, without tables."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.data.histories import Histories
from cofactor.kernels.csr import CSR
from cofactor.models.base.fitting import LARGEST_WEIGHT
from cofactor.models.base.rating import RatingModel
from cofactor.models.base.recommender import Recommender
from cofactor.serve.questions import Entries
from cofactor.serve.request_error import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cofactor.serve.ids import Id, JsonIds
    from cofactor.serve.messages import Event
    from cofactor.serve.questions import Question

__all__ = ["Reader", "reader_of"]


def reader_of(model: Recommender) -> Reader:
    """The way in which a model reads histories."""
    if isinstance(model, RatingModel):
        return RatingReader(model)
    if type(model)._read_histories is not Recommender._read_histories:
        return TableReader(model)
    return OrderedReader(model) if model.ordered else Reader(model)


class Reader:
    """Of models to which the order does not matter: the weights of an item add up."""

    def __init__(self, model: Recommender) -> None:
        self._model = model
        self._own = model._fitted().user_items

    def entries(self, history: Sequence[Event], items: JsonIds, unknown: list[Id]) -> Entries:
        """Read the events of a request, in their order of time; ids that are not known go to ``unknown``.

        Raises
        ------
        RequestError
            422: the model cannot compute with an event.
        """
        found = Entries()
        timed = typed = 0
        times: list[float] = []
        types: list[str] = []
        for at, event in enumerate(history):
            row = items.row(event.item)
            if row < 0:
                unknown.append(event.item)
                continue
            found.rows.append(row)
            found.values.append(self._value(event, at))
            if event.time is not None:
                timed += 1
                times.append(_instant(event.time, at))
            if event.event_type is not None:
                typed += 1
                types.append(event.event_type)
        for name, n in (("time", timed), ("event_type", typed)):
            if n not in (0, len(found.rows)):
                raise RequestError(
                    422,
                    "history",
                    f"{name} is given for {n} of {len(found.rows)} events; give it for all or none",
                    f"history.{name}",
                )
        if timed:
            order = sorted(range(timed), key=times.__getitem__)
            found.rows, found.values = [found.rows[i] for i in order], [found.values[i] for i in order]
            found.times = [times[i] for i in order]
            types = [types[i] for i in order] if typed else types
        found.types = types if typed else None
        return found

    def _value(self, event: Event, at: int) -> float:
        if event.rating is not None:
            raise RequestError(
                422, "history", f"{type(self._model).__name__} takes weights, not ratings", f"history[{at}].rating"
            )
        weight = 1.0 if event.weight is None else event.weight
        if not 0 < weight <= LARGEST_WEIGHT:
            raise RequestError(
                422,
                "weight",
                f"a weight is above 0 and at most {LARGEST_WEIGHT:g}, got {weight:g}",
                f"history[{at}].weight",
            )
        return weight

    def matrix(self, asked: Sequence[Question]) -> CSR:
        """Histories of some questions, a row each: what the model knows of the user, and what was told besides."""
        indptr, indices, values = [0], [], []
        for q in asked:
            assert q.history is not None
            summed = self._start(q.user)
            for row, value in zip(q.history.rows, q.history.values, strict=True):
                self._add(summed, row, value)
            rows = sorted(summed)
            indices += rows
            values += [summed[row] for row in rows]
            indptr.append(len(indices))
        n_items = self._own.n_columns
        return CSR(np.array(indptr, np.int64), np.array(indices, np.int32), np.array(values, np.float32), n_items)

    def _start(self, user: int) -> dict[int, float]:
        if user < 0:
            return {}
        rows, values = self._own.row(user)
        return dict(zip(rows.tolist(), values.tolist(), strict=True))

    @staticmethod
    def _add(summed: dict[int, float], row: int, value: float) -> None:
        summed[row] = summed.get(row, 0.0) + value


class RatingReader(Reader):
    """Of models of ratings: the last rating of an item counts."""

    def __init__(self, model: RatingModel) -> None:
        super().__init__(model)
        self._low, self._high = model.interactions_.scale

    def _value(self, event: Event, at: int) -> float:
        if event.rating is None:
            raise RequestError(
                422, "rating", f"{type(self._model).__name__} needs a rating of every item", f"history[{at}].rating"
            )
        if not self._low <= event.rating <= self._high:
            raise RequestError(
                422,
                "rating",
                f"a rating is from {self._low:g} to {self._high:g}, got {event.rating:g}",
                f"history[{at}].rating",
            )
        return event.rating

    @staticmethod
    def _add(summed: dict[int, float], row: int, value: float) -> None:
        summed[row] = value


class OrderedReader(Reader):
    """Of models to which the order matters: weights add up, and the last event of an item gives its place."""

    def matrix(self, asked: Sequence[Question]) -> Histories:
        """As the unordered one, with positions."""
        indptr, indices, values, positions = [0], [], [], []
        for q in asked:
            assert q.history is not None
            summed = self._start(q.user)
            place = self._places(q.user)
            n_known = max(place.values(), default=0)
            for at, (row, value) in enumerate(zip(q.history.rows, q.history.values, strict=True), 1):
                self._add(summed, row, value)
                place[row] = n_known + at
            rows = sorted(summed)
            indices += rows
            values += [summed[row] for row in rows]
            positions += [place[row] for row in rows]
            indptr.append(len(indices))
        own = self._own.n_columns
        arrays = np.array(indptr, np.int64), np.array(indices, np.int32), np.array(values, np.float32)
        return Histories(*arrays, own, np.array(positions, np.int32))

    def _places(self, user: int) -> dict[int, int]:
        """Where the items that a user has stand: as the model knows it, else in the order of their rows."""
        if user < 0:
            return {}
        begin, end = self._own.indptr[user : user + 2].tolist()
        rows = self._own.indices[begin:end].tolist()
        known: Any = getattr(self._model, "positions_", None)
        if known is not None and len(known) == self._own.nnz:
            return dict(zip(rows, known[begin:end].tolist(), strict=True))
        return dict(zip(rows, range(1, len(rows) + 1), strict=True))


class TableReader(Reader):
    """Of models that read tables in their own way."""

    def matrix(self, asked: Sequence[Question]) -> CSR:
        """By the model's own reading of a table; histories without a known item have empty rows."""
        raise NotImplementedError


def _instant(time: str | float, at: int) -> float:
    """Seconds since 1970 of a time of JSON; one without a zone is UTC."""
    if isinstance(time, str):
        try:
            when = datetime.fromisoformat(time)
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise RequestError(
                422,
                "time",
                f"a time is ISO 8601 such as 2026-01-31T12:00:00Z or a number of seconds, got {time[:40]!r}",
                f"history[{at}].time",
            ) from None
    if not isfinite(time):
        raise RequestError(422, "time", "a time is finite", f"history[{at}].time")
    return float(time)
