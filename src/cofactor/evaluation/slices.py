"""Metrics by slices, ``cofactor.evaluate(..., by=)``.

- ``"activity"``: evaluated users by how many items they have in the training data, in four buckets that hold about as
  many users of the training data each; those without any are a slice of their own.
- ``"new users"``: those who are in the training data, and those who are not. A model leaves the latter out, unless
  ``unknown_users="zero"``.
- ``"popularity"``: test items by how many users have them in the training data, in four buckets with about as many of
  its interactions each; those that nobody has are a slice of their own.
- any column of ``user_features`` or of ``item_features``: its values, or, if it has more than 12 different numbers,
  four buckets of about as many rows each; users or items without a value are the slice ``missing``.

A slice of items is measured as if nothing else were relevant: of the users who have one of them in the test.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl

from cofactor.checks import nearest, shown
from cofactor.data.tables import cast_ids
from cofactor.errors import ParameterError
from cofactor.metrics.kinds import Readings
from cofactor.metrics.numbered import rows_among
from cofactor.metrics.of_lists import BeyondAccuracy, HitsReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from cofactor.data.user_items import UserItems
    from cofactor.evaluation.measure import Measurement
    from cofactor.metrics.hits import Hits, Relevance

__all__ = ["Slices", "by_activity", "by_popularity", "check_by", "sliced", "slices_of"]

Features: TypeAlias = "Mapping[str, pl.DataFrame | None]"
"""Tables of features, as ``features_of`` reads them, of ``"user"`` and of ``"item"``."""

OF_TRAIN = ("activity", "popularity", "new users")
_BUCKETS = 4
_FEW = 12  # distinct numbers of a column that are slices of their own; more are put into buckets


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """Which slice each evaluated user, or each item that is relevant to anybody, belongs to.

    Parameters
    ----------
    names : list of str
        In the order in which they are told.
    of : (n_users,) or (n_items,) int64
        Position in ``names``.
    of_items : bool
    """

    names: list[str]
    of: NDArray[np.int64]
    of_items: bool = False


def check_by(by: object, wanted: Any, features: Features, *, has_train: bool) -> None:  # noqa: ANN401
    """Raise ParameterError unless metrics can be told by these slices; before any list is made."""
    if not isinstance(by, str):
        raise ParameterError(f"by must be {_choices()}, or the name of a column, got {shown(by)}")
    if by in OF_TRAIN and not has_train:
        raise ParameterError(f"by={by!r} needs the training data: a fitted model has them, for a table give train=")
    of_items = by == "popularity" or (by not in OF_TRAIN and _table_with(by, features)[0] == "item")
    if names := [metric.name for metric in wanted if metric.kind.reader is not HitsReader]:
        raise ParameterError(f"by={by!r}: {', '.join(names)} cannot be sliced; leave it out")
    if of_items and (names := [metric.name for metric in wanted if isinstance(metric.kind, BeyondAccuracy)]):
        raise ParameterError(
            f"by={by!r} slices the test items, and {', '.join(names)} is of lists, whatever is relevant; leave it out"
        )


def slices_of(by: str, relevance: Relevance, train: UserItems | None, features: Features) -> Slices:
    """Slice the evaluated users, or the test items."""
    if by not in OF_TRAIN:
        of, table = _table_with(by, features)
        return _of_column(table, by, relevance.users if of == "user" else relevance.items, of)
    assert train is not None, "check_by has seen to it"
    if by == "popularity":
        found, unit = by_popularity(cast_ids(relevance.items, train.items.ids.dtype, "train"), train), "users"
    elif by == "activity":
        found, unit = by_activity(relevance.users, train), "items"
    else:
        return Slices(["known", "new"], (train.users.rows(relevance.users) < 0).astype(np.int64))
    return replace(found, names=[f"{name} {unit}" for name in ["no", *found.names[1:]]])


def by_activity(users: pl.Series, train: UserItems) -> Slices:
    """Users by how many items they have in the training data, named ``0``, ``1 to 4`` ...; unknown ones have 0."""
    counts = np.diff(train.user_items.indptr)
    return _by_counts(counts, train.users.rows(users), _edges(counts[counts > 0]), of_items=False)


def by_popularity(items: pl.Series, train: UserItems) -> Slices:
    """Items by how many users have them in the training data, named ``0``, ``1 to 4`` ...; unknown ones have 0."""
    counts = np.bincount(train.user_items.indices, minlength=train.n_items)
    edges = _edges(np.repeat(counts, counts))  # buckets with about equal shares of all interactions
    return _by_counts(counts, train.items.rows(items), edges, of_items=True)


def sliced(found: Measurement, slices: Slices, **options: Any) -> pl.DataFrame:  # noqa: ANN401
    """One row per slice and metric: ``slice``, the columns of ``Measurement.summary``, and ``n_pairs``."""
    assert found.readings is not None
    hits = found.hits
    tables = []
    for at, name in enumerate(slices.names):
        mask = slices.of == at
        part = _part(hits, mask, of_items=slices.of_items)
        if not part.n_users:
            continue
        values = Readings(found.readings.metrics, {HitsReader: part}).values()
        of_part = replace(found, users=part.relevance.users, values=values)
        table = of_part.summary(**options).drop("n_unknown_users", "n_untested_users")
        tables.append(
            table.select(
                pl.lit(name).alias("slice"), pl.all(), pl.lit(part.relevance.n_pairs, pl.Int64).alias("n_pairs")
            )
        )
    return pl.concat(tables)


def _part(hits: Hits, mask: NDArray[np.bool_], *, of_items: bool) -> Hits:
    return hits.of_pairs(mask[hits.relevance.item]) if of_items else hits.of_users(mask)


def _choices() -> str:
    return ", ".join(map(repr, OF_TRAIN))


def _table_with(by: str, features: Features) -> tuple[str, pl.DataFrame]:
    """The table of features that has a column, and whose it is."""
    tables = {of: table for of, table in features.items() if table is not None}
    having = [of for of, table in tables.items() if by in table.columns and by != f"{of}_id"]
    if len(having) == 1:
        return having[0], tables[having[0]]
    if having:
        raise ParameterError(f"by={by!r} is a column of user_features and of item_features; rename it in one of them")
    columns = [name for of, table in tables.items() for name in table.columns if name != f"{of}_id"]
    known = f", or a column of the features: {', '.join(columns)}" if columns else ", or a column of user_features="
    hint = nearest(by, [*OF_TRAIN, *columns])
    raise ParameterError(f"by={by!r} is none of {_choices()}{known}{'' if columns else ' or item_features='}{hint}")


def _of_column(table: pl.DataFrame, by: str, ids: pl.Series, of: str) -> Slices:
    """Values of a column as slices, and one more for what the table does not have."""
    name = f"{of}_id"
    rows = rows_among(table[name], cast_ids(ids.alias(name), table.schema[name], f"{of}_features"))
    column = table[by]
    if isinstance(column.dtype, pl.List | pl.Struct | pl.Object):
        raise ParameterError(f"by={by!r}: a column of {column.dtype} has no single value for {of}s; give one that has")
    if column.dtype.is_numeric() and column.n_unique() > _FEW:
        values = column.cast(pl.Float64).to_numpy()
        edges = np.unique(np.nanquantile(values, np.arange(1, _BUCKETS) / _BUCKETS))
        code = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right"))
        present = np.unique(code[code >= 0])
        names = [_range(column.filter(pl.Series(code == c))) for c in present]
        code = np.where(code < 0, -1, np.searchsorted(present, code))
    else:
        distinct = column.drop_nulls().unique().sort()
        names = distinct.cast(pl.String).to_list()
        code = rows_among(distinct, column).astype(np.int64)
    slices = np.where(rows >= 0, code[rows], -1)
    slices[slices < 0] = len(names)
    return Slices([*names, "missing"], slices, of == "item")


def _range(values: pl.Series) -> str:
    numbers = values.cast(pl.Float64).to_numpy()
    low, high = numbers.min(), numbers.max()
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _edges(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """The least counts of all buckets but the first: each holds about as many of the counts."""
    if not len(counts):
        return np.empty(0, np.int64)
    edges = np.quantile(counts, np.arange(1, _BUCKETS) / _BUCKETS, method="higher")
    return np.unique(edges[edges > counts.min()]).astype(np.int64)


def _by_counts(
    counts: NDArray[np.integer], rows: NDArray[np.int32], edges: NDArray[np.int64], *, of_items: bool
) -> Slices:
    """Slices by how many items (users) somebody (something) has in the training data, those without any first."""
    known = counts[counts > 0]
    starts = [int(known.min(initial=1)), *edges.tolist()]
    ends = [*(edge - 1 for edge in edges.tolist()), int(known.max(initial=1))]
    names = [f"{a}" if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True)]
    own = np.where(rows >= 0, counts[rows], 0)
    slices = np.where(own > 0, 1 + np.searchsorted(edges, own, side="right"), 0)
    return Slices(["0", *names], slices, of_items)
