"""What metrics are told beside lists and test pairs: training data, features of items, and how relevant a pair is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from cofactor.data.log import Log
from cofactor.data.ratings import rated_table
from cofactor.data.tables import TableLike, pairs_of, read_table
from cofactor.data.user_items import UserItems
from cofactor.errors import DataError, ParameterError
from cofactor.metrics.context import Context
from cofactor.metrics.diversity import category_column
from cofactor.metrics.errors import RatingError
from cofactor.models.base.fitting import as_interactions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cofactor.metrics.kinds import Metric

__all__ = ["GAIN", "check_test", "context_of", "features_of", "graded_pairs", "held_out", "told_of_items", "train_of"]

GAIN = "gain"
_WEIGHTS = ("weight", "rating")


def context_of(
    subject: Any,  # noqa: ANN401
    wanted: Sequence[Metric],
    *,
    train: Any = None,  # noqa: ANN401
    item_features: TableLike = None,
    category: str | None = None,
    exclude_seen: bool = True,
) -> Context:
    """Gather what is known, and check that the wanted metrics have what they need.

    Raises
    ------
    ParameterError
        Something is missing; the message names the metrics that need it.
    """
    known = train_of(subject, train)
    features, category = told_of_items(wanted, item_features, category)
    vectors, own = getattr(subject, "item_factors_", None), train_of(subject)
    vector_items = None if vectors is None or own is None else own.items.ids
    _require(wanted, "train", known is not None, "the training data: a fitted model has them, for a table give train=")
    has_vectors = features is not None or vector_items is not None
    _require(wanted, "vectors", has_vectors, "vectors of items: give item_features=, or a model that has item_factors_")
    return Context(known, None, features, category, vectors, vector_items, exclude_seen)


def told_of_items(
    wanted: Sequence[Metric], item_features: TableLike, category: str | None
) -> tuple[pl.DataFrame | None, str | None]:
    """The features of items, and the column of their categories, where the wanted metrics need one.

    Raises
    ------
    ParameterError
        Something is missing; or there is no such column.
    DataError
        The features cannot be used.
    """
    features = None if item_features is None else features_of(item_features, "item")
    if category is not None and features is None:
        raise ParameterError(f"category={category!r} is a column of item_features, and these are not given")
    _require(wanted, "categories", features is not None, "categories of items: give item_features=")
    if features is not None and any(metric.needs.categories for metric in wanted):
        category = category_column(features, category)
    return features, category


def check_test(test: Any, wanted: Sequence[Metric]) -> None:  # noqa: ANN401
    """Raise an error, before anything is fitted, where a test side lacks what the wanted metrics read of it.

    Raises
    ------
    ParameterError
        There is none.
    DataError
        Its pairs, their gains or their ratings are missing, or cannot be used.
    """
    if test is None:
        raise ParameterError("test: it is missing; pass what was held out, or a Split, which holds both sides")
    if any(metric.needs.gains for metric in wanted):
        graded_pairs(test)
    if any(isinstance(metric.kind, RatingError) for metric in wanted):
        rated_table(test, "test")
    if pairs_of(test).is_empty():
        raise DataError("test: there are no rows, so there is nothing to measure")


def _require(wanted: Sequence[Metric], need: str, there: bool, told: str) -> None:
    names = [metric.name for metric in wanted if getattr(metric.needs, need)]
    if names and not there:
        raise ParameterError(f"{', '.join(names)} needs {told}")


def train_of(subject: Any, train: Any = None) -> UserItems | None:  # noqa: ANN401
    """The training data that were given, or else those that a model holds; None if there are none."""
    if train is None:
        found: UserItems | None = getattr(subject, "interactions_", None)
        return found
    return train if isinstance(train, UserItems) else as_interactions(train, "train")


def features_of(table: TableLike, of: str) -> pl.DataFrame:
    """A table with one row for each item, or user, and further columns.

    Raises
    ------
    DataError
        There is no column of ids, or one of them is null or repeated, or there is nothing but ids.
    """
    what, name = f"{of}_features", f"{of}_id"
    frame = read_table(table, [name], what)
    if (twice := frame[name].is_duplicated()).any():
        first = frame[name].filter(twice)[0]
        raise DataError(f"{what}: {int(twice.sum()):,} rows share their {name} with others, the first is {first!r}")
    if frame.width < 2:
        raise DataError(f"{what}: there is no column beside {name}")
    return frame


def graded_pairs(test: TableLike) -> pl.DataFrame:
    """The pairs of a test and how relevant each is: ``user_id``, ``item_id``, ``gain``.

    The gain is the weight of Interactions, the rating of Ratings and Events, and of a table the column ``weight``, or
    ``rating`` where there is no other.

    Raises
    ------
    DataError
        The test says nothing of the kind, or a gain is not above 0.
    """
    if isinstance(test, Log):
        frame = rated_table(test, "test")
    else:
        frame = read_table(test.to_frame() if isinstance(test, UserItems) else test, ("user_id", "item_id"), "test")
    column = next((name for name in _WEIGHTS if name in frame.columns), None)
    if column is None:
        raise DataError(
            "test: ndcg_graded needs to know how relevant a pair is: a column weight or rating, "
            f"and the columns are {', '.join(frame.columns)}"
        )
    gain = read_table(frame, (column,), "test")[column]
    if not (gain.dtype.is_numeric() or gain.dtype == pl.Boolean):
        raise DataError(f"test: {column} must be a column of numbers for ndcg_graded, got {gain.dtype}; cast it first")
    gain = gain.cast(pl.Float64)
    if (bad := ~((gain > 0) & gain.is_finite())).any():
        row = frame.row(int(bad.arg_max() or 0), named=True)
        raise DataError(
            f"test: {int(bad.sum()):,} of {len(gain):,} pairs have a {column} that is not above 0, the first: user "
            f"{row['user_id']!r} item {row['item_id']!r}: {row[column]!r}; leave out what is not relevant"
        )
    return pairs_of(frame).with_columns(gain.alias(GAIN))


def held_out(test: TableLike) -> pl.DataFrame:
    """What models are measured by: distinct pairs, and how much each counts, where the test says so."""
    pairs = pairs_of(test)
    if isinstance(test, Log):
        roles = {"user_id": test.user, "item_id": test.item, "rating": test.rating}
        rated = test.frame.select(pl.col(column).alias(role) for role, column in roles.items() if column is not None)
        return pairs if test.rating is None else rated.unique().collect()
    table = test.to_frame() if isinstance(test, UserItems) else read_table(test, ("user_id", "item_id"), "test")
    return table.select(*pairs.columns, *(name for name in _WEIGHTS if name in table.columns)).unique()
