"""A few users as people see them: what they had, what they were to find, and what models recommend, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.data.tables import TableLike, read_table
from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cofactor.data.log import Log
    from cofactor.data.user_items import UserItems

__all__ = ["HIT", "Person", "check_users", "named", "people", "typical_users"]

HIT = "✓"
_MOST = 12  # names in a line


@dataclass(frozen=True)
class Person:
    """One user.

    Attributes
    ----------
    user : str
    history, held_out : str
        Names, and how many there are.
    lists : DataFrame
        ``rank`` and a column of names for every model; hits begin with a tick.
    """

    user: str
    history: str
    held_out: str
    lists: pl.DataFrame


def named(names: Mapping[Any, str] | TableLike | None) -> dict[Any, str]:
    """Names by item id.

    Parameters
    ----------
    names : mapping of id to name, or table with ``item_id``, optional
        Of a table the column ``name`` or ``title``, else the first one of text beside the id.

    Raises
    ------
    DataError
        The table has no such column.
    """
    if names is None:
        return {}
    if isinstance(names, dict) and "item_id" not in names:
        return names
    table = read_table(names, ["item_id"], "names")
    texts = [name for name, dtype in table.schema.items() if dtype == pl.String and name != "item_id"]
    column = next((name for name in ("name", "title", *texts) if name in table.columns), None)
    if column is None:
        raise DataError(f"names: a column of names is needed beside item_id; the columns are {table.columns}")
    return dict(zip(table["item_id"], table[column].cast(pl.String), strict=True))


def typical_users(pairs: pl.DataFrame, train: UserItems, n: int) -> list[Any]:
    """Users with test pairs and a history, from the less active to the more active ones: chosen without their hits."""
    users = pairs["user_id"].unique().sort()
    rows = train.users.rows(users)
    counts = np.diff(train.user_items.indptr)[rows[rows >= 0]]
    users = users.filter(pl.Series(rows >= 0))
    if not len(users) or not n:
        return []
    order = np.argsort(counts, kind="stable")
    places = np.unique(((np.arange(n) + 0.5) / n * len(users)).astype(np.int64))
    return users.gather(order[places]).to_list()


def check_users(users: Sequence[Any], train: UserItems) -> None:
    """Raise ParameterError unless all are in the training data."""
    if not users:
        return
    for user, row in zip(users, train.users.rows(pl.Series(list(users))), strict=True):
        if row < 0:
            raise ParameterError(f"users: {user!r} is not in the training data")


def people(
    users: Sequence[Any],
    lists: Mapping[str, pl.DataFrame],
    pairs: pl.DataFrame | None,
    train: UserItems,
    *,
    log: Log | None = None,
    names: Mapping[Any, str] | None = None,
) -> list[Person]:
    """Look at some users.

    Parameters
    ----------
    users : sequence of ids
    lists : mapping of model to DataFrame
        ``user_id``, ``item_id``, ``rank``.
    pairs : DataFrame, optional
        ``user_id`` and ``item_id`` that were held out.
    train : Interactions or Ratings
    log : Events, optional
        Of the training data; with times, histories are told from the newest item on, else by weight.
    names : mapping of item id to name

    """
    names, found = names or {}, []
    for user, row in zip(users, train.users.rows(pl.Series(list(users))).tolist(), strict=True):
        test = [] if pairs is None else pairs.filter(pl.col("user_id") == user)["item_id"].to_list()
        columns = {name: _listed(table, user, set(test), names) for name, table in lists.items()}
        longest = max((len(column) for column in columns.values()), default=0)
        padded = {name: column + [""] * (longest - len(column)) for name, column in columns.items()}
        table = pl.DataFrame({"rank": list(range(1, longest + 1)), **padded})
        history = _history(user, row, train, log)
        found.append(Person(str(user), _told(history, names), _told(test, names), table))
    return found


def _listed(table: pl.DataFrame, user: object, test: set[Any], names: Mapping[Any, str]) -> list[str]:
    items = table.filter(pl.col("user_id") == user).sort("rank")["item_id"].to_list()
    return [
        f"{HIT}\N{NO-BREAK SPACE}{names.get(item, item)}" if item in test else str(names.get(item, item))
        for item in items
    ]


def _history(user: object, row: int, train: UserItems, log: Log | None) -> list[Any]:
    if log is not None and log.time is not None:
        mine = log.frame.filter(pl.col(log.user) == user).select(log.item, log.time).collect()
        return mine.sort(log.time, descending=True)[log.item].unique(maintain_order=True).to_list()
    matrix = train.user_items
    span = slice(matrix.indptr[row], matrix.indptr[row + 1])
    order = np.argsort(-matrix.values[span], kind="stable")
    return train.items.take(matrix.indices[span][order]).to_list()


def _told(items: Sequence[Any], names: Mapping[Any, str]) -> str:
    if not items:
        return "nothing"
    shown = "; ".join(str(names.get(item, item)) for item in items[:_MOST])
    return shown if len(items) <= _MOST else f"{shown}; … ({len(items):,} in all)"
