"""Timelines: every event of every user, in the order of time, with weights and types; and what they sum up to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from cofactor.checks import warn
from cofactor.data.histories import Histories, event_times, event_weights
from cofactor.data.interactions import Interactions
from cofactor.data.sequences import read_sequences
from cofactor.data.sessions import Sessions
from cofactor.data.tables import TableLike, read_table
from cofactor.errors import DataError
from cofactor.kernels.csr import offsets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cofactor.data.ids import IdMap

__all__ = ["Timelines", "histories_of", "read_timelines", "timelines_of"]

_MAX_TYPES = 256
_PIECE = 1 << 20  # events that are in hand together
_KEY_BITS = 63


class Timelines(NamedTuple):
    """The events of users over the items of a model; equal times in the order of the log."""

    users: pl.Series  # ids
    indptr: NDArray[np.int64]  # (n_users + 1,)
    items: NDArray[np.int32]  # (n_events,), of a user the oldest first
    weights: NDArray[np.floating]  # (n_events,)
    types: NDArray[np.uint8] | None  # (n_events,), positions in type_names
    type_names: tuple[str, ...]

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of every event its place in its timeline, from 0, and how many events that has."""
        lengths = np.diff(self.indptr)
        return np.arange(len(self.items)) - np.repeat(self.indptr[:-1], lengths), np.repeat(lengths, lengths)

    def pieces(self, n_events: int = _PIECE) -> Iterator[Timelines]:
        """Some users after the other, with about so many events; one piece at least."""
        last, n_users = 0, len(self.indptr) - 1
        while last < n_users or not n_users:
            first = last
            last = int(np.searchsorted(self.indptr, self.indptr[first] + n_events, side="right")) - 1
            last = min(max(last, first + 1), n_users)
            yield self.some(first, last)
            if not n_users:
                return

    def some(self, first: int, last: int) -> Timelines:
        """The users from one row to another; views."""
        at = slice(int(self.indptr[first]), int(self.indptr[last]))
        indptr, types = self.indptr[first : last + 1] - self.indptr[first], self.types
        types = None if types is None else types[at]
        return Timelines(self.users[first:last], indptr, self.items[at], self.weights[at], types, self.type_names)


def timelines_of(interactions: Interactions, items: IdMap) -> Timelines:
    """The events that interactions were made of, each of weight 1, for their users by row.

    Interactions without events have their pairs in the order of the item rows, with their weights. Events of items that
    are not in ``items`` take no place; they are not counted here.

    Raises
    ------
    DataError
        There are more than 256 types of events, or the log cannot be read.
    """
    x = interactions
    log, rows = x.events, items.rows(x.items.ids)
    if log is None or not (rows >= 0).any():
        matrix = x.user_items
        if items == x.items:
            return Timelines(x.users.ids, matrix.indptr, matrix.indices, matrix.values, None, ())
        at = rows[matrix.indices]
        known = at >= 0
        counts = np.bincount(matrix.row_index()[known], minlength=x.n_users)
        of, weights = at[known].astype(np.int32), matrix.values[known].astype(np.float64)
        return Timelines(x.users.ids, offsets(counts), of, weights, None, ())
    whole = log.session in (None, log.user) and items == x.items
    read = Sessions.of(x) if whole else read_sequences(replace(log, session=None), items, x.users)
    assert read.session_ids is not None
    counts = np.zeros(x.n_users, np.int64)
    counts[x.users.rows(read.session_ids)] = np.diff(read.indptr)
    ones = np.broadcast_to(1.0, len(read.items))  # takes no memory
    return Timelines(x.users.ids, offsets(counts), read.items, ones, read.types, read.type_names)


def read_timelines(histories: TableLike | Interactions, items: IdMap) -> Timelines:
    """The events of users in the order of their first appearance, over the items of a model.

    A table has a row for each event, in the order of its column ``time`` where there is one, else as they stand, and
    perhaps a ``weight`` and an ``event_type``. Rows of items that are not in ``items`` are left out and counted in a
    warning.

    Raises
    ------
    DataError
        As ``read_histories``; or a type is null.
    """
    if isinstance(histories, Interactions):
        unknown = items.rows(histories.items.ids) < 0
        if n := int(unknown[histories.user_items.indices].sum()):
            warn(f"histories: {n} of {histories.nnz} rows have items that are not in the training data; left out")
        return timelines_of(histories, items)
    table = read_table(histories, ("user_id", "item_id"), "histories")
    if not len(table):
        raise DataError("histories is empty; give at least one (user_id, item_id) row")
    columns = {"weight": event_weights(table), "time": event_times(table), "type": _types(table)}
    table = table.select("user_id", row=pl.Series(items.rows(table["item_id"], "histories: item_id")), **columns)
    users = table["user_id"].unique(maintain_order=True)
    table = table.join(pl.DataFrame({"user_id": users}).with_row_index("at"), on="user_id", maintain_order="left")
    known = table.filter(pl.col("row") >= 0).sort("at", "time", maintain_order=True)
    if n := len(table) - len(known):
        warn(f"histories: {n} of {len(table)} rows have items that are not in the training data; left out")
    names = known["type"].unique().drop_nulls().sort()
    if len(names) > _MAX_TYPES:
        raise DataError(
            f"histories: event_type has {len(names):,} types, at most {_MAX_TYPES} can be told apart; the first: "
            f"{', '.join(names[:3])}. Is it the right column?"
        )
    types = None if table["type"].dtype == pl.Null else names.search_sorted(known["type"]).to_numpy().astype(np.uint8)
    return Timelines(
        users,
        offsets(np.bincount(known["at"], minlength=len(users))),
        known["row"].to_numpy().astype(np.int32),
        known["weight"].to_numpy(),
        types,
        tuple(names.to_list()) if types is not None else (),
    )


def histories_of(events: Timelines, weights: NDArray[np.floating], n_items: int) -> Histories:
    """What events that weigh ``weights`` (n_events,) sum up to: an entry for each user and item.

    User, item and place are packed into one number of 64 bits, which sorts many times quicker than an order is found.
    """
    lengths = np.diff(events.indptr)
    n_users, longest = len(lengths), int(lengths.max(initial=0))
    place_bits, item_bits = max(longest - 1, 1).bit_length(), max(n_items - 1, 1).bit_length()
    if max(n_users - 1, 1).bit_length() + place_bits + item_bits > _KEY_BITS:
        weighed, half = events._replace(weights=weights), n_users // 2
        parts = [weighed.some(0, half), weighed.some(half, n_users)]
        found = (histories_of(part, part.weights, n_items) for part in parts)
        return Histories.stacked(found, n_items, len(events.items))
    of = np.repeat(np.arange(n_users), lengths)
    keys = (of << item_bits | events.items) << place_bits | (np.arange(len(of)) - events.indptr[of])
    keys.sort()
    pairs = keys >> place_bits
    new = np.flatnonzero(np.diff(pairs, prepend=-1))
    rows, items = pairs[new] >> item_bits, (pairs[new] & (2**item_bits - 1)).astype(np.int32)
    places = keys & (2**place_bits - 1)
    values = weights[events.indptr[pairs >> item_bits] + places]
    summed = np.add.reduceat(values, new, dtype=np.float64) if len(new) else np.empty(0)
    positions = places[np.append(new[1:], len(keys)) - 1] + 1 if len(new) else np.empty(0)  # of several, the last
    indptr = offsets(np.bincount(rows, minlength=n_users))
    return Histories(indptr, items, summed.astype(np.float32), n_items, positions.astype(np.int32))


def _types(table: pl.DataFrame) -> pl.Series | pl.Expr:
    """Types as text, null without a column ``event_type``."""
    if "event_type" not in table.columns:
        return pl.lit(None)
    if n := table["event_type"].null_count():
        first = table["event_type"].is_null().arg_max()
        raise DataError(f"histories: {n} null(s) in event_type, the first in row {first}; fill them or leave them out")
    return table["event_type"].cast(pl.String)
