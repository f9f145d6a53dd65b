"""Histories of requests as the matrices that models are asked with, without tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.data.histories import Histories
from cofactor.kernels.csr import CSR, offsets
from cofactor.models.base.fitting import LARGEST_WEIGHT, LEAST_LARGEST
from cofactor.models.base.rating import RatingModel
from cofactor.models.base.recommender import Recommender
from cofactor.serve.events import now, read_time
from cofactor.serve.questions import Entries
from cofactor.serve.request_error import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cofactor.serve.events import Event as Stored
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
    """Of models to which the order does not matter: the weights of an item add up.

    Attributes
    ----------
    usual : float
        A value that the model can compute with.
    """

    usual = 1.0

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
        times: list[int] = []
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
                times.append(read_time(event.time, now(), f"history[{at}].time"))
            if event.event_type is not None:
                typed += 1
                types.append(event.event_type)
        if found.values:
            self._check_sum(found.values)
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

    def _check_sum(self, weights: list[float]) -> None:
        """Refuse weights that are out of the model's range together, though each is in it."""
        if sum(weights) > LARGEST_WEIGHT or max(weights) < LEAST_LARGEST:
            told = f"weights of a history are at most {LARGEST_WEIGHT:g} together, one is at least {LEAST_LARGEST:g}"
            raise RequestError(422, "weight", told, "history")

    def after(self, stored: Sequence[Stored], entries: Entries | None, items: JsonIds) -> Entries:
        """What the store has of somebody, and then the events of the request; what says nothing is left out."""
        kept = [(event, items.row(event.item)) for event in stored if type(event.item) is items.kind]
        kept = [(event, row) for event, row in kept if row >= 0 and self._stored_value(event) is not None]
        if entries is None:
            entries = Entries(times=[] if kept else None, types=[] if kept else None)
        timed = entries.times is not None
        typed = entries.types is not None and all(event.event_type is not None for event, _ in kept)
        rows = [row for _, row in kept] + entries.rows
        values = [self._stored_value(event) or 0.0 for event, _ in kept] + entries.values
        times = [event.time for event, _ in kept] + (entries.times or []) if timed else None
        types = [event.event_type or "" for event, _ in kept] + (entries.types or []) if typed else None
        if times is None:
            return Entries(rows, values, None, types)
        order = sorted(range(len(rows)), key=times.__getitem__)
        in_order = [rows[at] for at in order], [values[at] for at in order], [times[at] for at in order]
        return Entries(*in_order, None if types is None else [types[at] for at in order])

    def _stored_value(self, event: Stored) -> float | None:
        """What an event of the store counts, None where it says nothing to this model."""
        return 1.0 if event.weight is None else event.weight

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
        self.usual = self._high

    def _check_sum(self, weights: list[float]) -> None:
        """Ratings do not add up."""

    def _stored_value(self, event: Stored) -> float | None:
        return event.rating if event.rating is not None and self._low <= event.rating <= self._high else None

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
    """Of models that read tables in their own way, such as those that look at times and types of events."""

    def matrix(self, asked: Sequence[Question]) -> CSR:
        """By the model's own reading of a table, the known users' pairs first, in their order.

        Raises
        ------
        RequestError
            422: the model wants times, and of what it knows itself it has none any more.
        """
        ids = self._model.interactions_.items.ids
        tables, filled = [], []
        for at, q in enumerate(asked):
            assert q.history is not None
            told = q.history
            known = _in_order(self._model, self._own, q.user)
            rows = [row for row, _ in known] + told.rows
            if not rows:
                continue
            filled.append(at)
            columns = {
                "user_id": pl.Series([at] * len(rows), dtype=pl.Int64),
                "item_id": ids.gather(rows),
                "weight": pl.Series([value for _, value in known] + told.values, dtype=pl.Float64),
            }
            if told.times is not None and not known:  # else they stand in their order already
                columns["time"] = pl.Series(told.times, dtype=pl.Int64).cast(pl.Datetime("us"))
            if told.types is not None and not known:
                columns["event_type"] = pl.Series(told.types, dtype=pl.String)
            tables.append(pl.DataFrame(columns))
        return _placed([self._read_table(table) for table in tables], filled, len(asked), self._own.n_columns)

    def _read_table(self, table: pl.DataFrame) -> CSR:
        return self._model._read_histories(table)[1]


def _placed(parts: list[CSR], rows: list[int], n: int, n_columns: int) -> CSR:
    """Matrices of one row each as rows of one of the same class, of n rows; the others are empty."""
    lengths = np.zeros(n, np.int64)
    lengths[rows] = [part.nnz for part in parts]
    kind = type(parts[0]) if parts else CSR
    indices = np.concatenate([np.zeros(0, np.int32), *(part.indices for part in parts)])
    values = np.concatenate([np.zeros(0, np.float32), *(part.values for part in parts)])
    if not all(isinstance(part, Histories) for part in parts) or not parts:
        return CSR(offsets(lengths), indices, values, n_columns)
    positions = np.concatenate([part.positions for part in parts if isinstance(part, Histories)])
    return kind(offsets(lengths), indices, values, n_columns, positions)  # type: ignore[call-arg]


def _in_order(model: Recommender, own: CSR, user: int) -> list[tuple[int, float]]:
    """The items that a model knows of a user and their weights, the oldest first where it knows that."""
    if user < 0:
        return []
    begin, end = own.indptr[user : user + 2].tolist()
    pairs = list(zip(own.indices[begin:end].tolist(), own.values[begin:end].tolist(), strict=True))
    places: Any = getattr(model, "positions_", None)
    if places is not None and len(places) == own.nnz:
        pairs = [pairs[at] for at in np.argsort(places[begin:end], kind="stable").tolist()]
    return pairs
