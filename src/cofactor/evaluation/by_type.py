"""Recall by type of event, and the mean that session competitions weigh it to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from cofactor.checks import check_at_least, shown
from cofactor.data.tables import TableLike, cast_ids, check_lists, read_table
from cofactor.errors import DataError, ParameterError
from cofactor.evaluation.readings import note_reading
from cofactor.metrics.pooled import pooled_recall

if TYPE_CHECKING:
    from typing import Any

__all__ = ["OTTO_WEIGHTS", "evaluate_by_type", "tables_of"]

OTTO_WEIGHTS = {"clicks": 0.1, "carts": 0.3, "orders": 0.6}
_KEYS = ["user_id", "event_type", "item_id"]


def evaluate_by_type(
    lists: TableLike | Iterable[TableLike],
    labels: TableLike,
    k: int | Sequence[int] = 20,
    *,
    weights: Mapping[str, float] | None = None,
) -> pl.DataFrame:
    """Recall of sessions by event type, as the OTTO competition counts it, and its weighted mean.

    For each type, over all sessions: the labels found among the first k places, by the labels there were to find, at
    most k a session. A session without a list has found nothing. With several k, such as (20, 50, 100, 200), this
    tells how much of the truth candidates hold.

    Parameters
    ----------
    lists : table, or several
        ``user_id`` (the session), ``item_id``, ``rank``, as ``recommend_for`` gives them, and perhaps ``event_type``
        for lists of their own for each type; without it a list is for all types. Several tables are read one after the
        other: all that has to fit into memory is one of them and the labels. Each holds whole lists.
    labels : table
        ``user_id``, ``item_id``, ``event_type``, as ``split.cut_sessions`` makes them. Repeats count once.
    k : int, or several
    weights : mapping, optional
        What the recall of each type counts in the total, such as {"clicks": 0.1, "carts": 0.3, "orders": 0.6}, the
        competition's, which are the default.

    Returns
    -------
    DataFrame
        For each k a row for every type, in the order of ``weights``, and one called ``total``: ``k``, ``event_type``,
        ``recall`` (null for a type without labels, and then for the total), ``found``, ``possible``, ``n_sessions``
        (with labels of the type).

    Raises
    ------
    DataError
        A table lacks a column, a label or a list is of a type without a weight, there are no labels, an item or a rank
        comes twice in a list, or a list is in two of the tables.
    ParameterError
        ``k`` is no number of at least 1, or several; ``weights`` are not positive numbers by type.

    Examples
    --------
    >>> import polars as pl
    >>> lists = pl.DataFrame({"user_id": [1, 1], "item_id": [7, 8], "rank": [1, 2]})
    >>> labels = pl.DataFrame({"user_id": [1, 1], "item_id": [8, 5], "event_type": ["clicks", "carts"]})
    >>> evaluate_by_type(lists, labels, 2, weights={"clicks": 0.4, "carts": 0.6})["recall"].to_list()
    [1.0, 0.0, 0.4]
    """
    ks = _places(k)
    weights = _checked(weights)
    truth = _truth(labels, weights)
    hits = pl.concat([_hits(table, truth, max(ks), list(weights)) for table in tables_of(lists, "lists")])
    if hits.select(_KEYS).is_duplicated().any():
        user = hits.filter(hits.select(_KEYS).is_duplicated())["user_id"][0]
        raise DataError(f"lists: those of session {user!r} are in two of the tables; put whole lists into each")
    relevant = truth.group_by("event_type", "user_id").len()
    rows: list[tuple[int, str, float, int, int, int]] = []
    for places in ks:
        found = hits.filter(pl.col("rank") <= places)
        total, of_all = 0.0, [0, 0]
        for name, weight in weights.items():
            n_relevant = relevant.filter(event_type=name)["len"].to_numpy()
            counts = found.filter(event_type=name).height, int(n_relevant.clip(max=places).sum())
            recall = pooled_recall(counts[0], n_relevant, places)
            rows.append((places, name, recall, *counts, len(n_relevant)))
            total, of_all = total + weight * recall, [a + b for a, b in zip(of_all, counts, strict=True)]
        rows.append((places, "total", total, of_all[0], of_all[1], truth["user_id"].n_unique()))
    note_reading(truth)
    names = ["k", "event_type", "recall", "found", "possible", "n_sessions"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("recall").fill_nan(None))


def tables_of(lists: TableLike | Iterable[TableLike], what: str, *, none: bool = False) -> Iterator[TableLike]:
    """One table after the other, of one or several; or of none, where that is said to be right.

    Raises
    ------
    DataError
        There is none.
    """
    several = isinstance(lists, list | tuple | Iterator) and not isinstance(lists, pl.DataFrame | pl.LazyFrame)
    n = 0
    for table in lists if several else [lists]:
        n += 1
        yield table
    if not n and not none:
        raise DataError(f"{what}: a table with user_id, item_id, rank is expected, or several; got none")


def _truth(labels: TableLike, weights: Mapping[str, float]) -> pl.DataFrame:
    truth = read_table(labels, _KEYS, "labels").select("user_id", "item_id", pl.col("event_type").cast(pl.String))
    truth = truth.unique(maintain_order=True)
    _check_types(truth, weights, "labels")
    if truth.is_empty():
        raise DataError("labels: there are no rows, so there is nothing to measure")
    return truth


def _hits(given: TableLike, truth: pl.DataFrame, k: int, types: list[str]) -> pl.DataFrame:
    """The labels that lists hold among their first k places, with their ranks."""
    table = read_table(given, ["user_id", "item_id", "rank"], "lists")
    keys = ["user_id", "item_id"]
    if "event_type" in table.columns:
        table = read_table(table, ["event_type"], "lists").with_columns(pl.col("event_type").cast(pl.String))
        _check_types(table, types, "lists")
        for name in table["event_type"].unique():
            check_lists(table.filter(event_type=name))
        keys.append("event_type")
    else:
        check_lists(table)
    table = table.filter(pl.col("rank") <= k).select(*keys, pl.col("rank").cast(pl.Int64))
    ids = [cast_ids(truth[name], table.schema[name], "lists") for name in ("user_id", "item_id")]
    hits = truth.with_columns(ids).join(table, on=keys).select(*_KEYS, "rank")
    return hits.with_columns(hits[name].cast(truth.schema[name]) for name in ("user_id", "item_id"))


def _check_types(table: pl.DataFrame, types: Iterable[str], what: str) -> None:
    unknown = table.filter(~pl.col("event_type").is_in(list(types)))["event_type"].unique().sort()
    if len(unknown):
        raise DataError(
            f"{what}: there are rows of type {', '.join(unknown)}, and weights only of {', '.join(types)}; add it to "
            "weights=, or filter such rows out"
        )


def _places(k: Any) -> list[int]:  # noqa: ANN401
    several = list(k) if isinstance(k, Sequence) and not isinstance(k, str) else [k]
    if not several:
        raise ParameterError(f"k must be a number of places, or several, got {shown(k)}")
    for one in several:
        check_at_least("k", one, 1, whole=True)
    return sorted({int(one) for one in several})


def _checked(weights: Any) -> dict[str, float]:  # noqa: ANN401
    if weights is None:
        return OTTO_WEIGHTS
    if not isinstance(weights, Mapping) or not weights or not all(isinstance(name, str) for name in weights):
        raise ParameterError(f"weights={shown(weights)}; it must be a mapping such as {{'clicks': 0.1, 'carts': 0.3}}")
    for name, weight in weights.items():
        check_at_least(f"weights[{name!r}]", weight, 0, above=True)
    return {name: float(weight) for name, weight in weights.items()}
