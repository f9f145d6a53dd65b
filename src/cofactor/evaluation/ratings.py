"""Where predicted ratings are wrong, and whether a model knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import scipy

from cofactor.checks import is_number, shown
from cofactor.data.tables import TableLike, read_table
from cofactor.errors import DataError, NotFittedError, ParameterError
from cofactor.evaluation.readings import note_reading
from cofactor.metrics.errors import Rated, read_rated

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["calibration", "errors_by_rating"]

_MOST_LEVELS, _BINS = 20, 10


def errors_by_rating(model_or_table: Any, test: TableLike) -> pl.DataFrame:  # noqa: ANN401
    """Measure predictions of every true rating apart: models that shrink do worst on the rare ones.

    Parameters
    ----------
    model_or_table : fitted model of ratings, or table with ``user_id``, ``item_id`` and ``rating``
    test : Events with ratings, Ratings, or table with ``user_id``, ``item_id`` and ``rating``

    Returns
    -------
    DataFrame
        One row for each true rating, ascending: ``rating``, ``n``, ``predicted`` (its mean), ``rmse``, ``mae``, and
        ``accuracy``, the share of predictions to which no other rating of the test is nearer. Of more than 20 different
        ratings ten bins of about equal numbers take the place, with their mean as ``rating`` and no accuracy.

    Raises
    ------
    DataError
        The test has no ratings, or the table lacks one of the test.
    ParameterError, NotFittedError
        It is no model of ratings, or was not fitted.

    Examples
    --------
    >>> test = pl.DataFrame({"user_id": [1, 2, 3], "item_id": [7, 7, 8], "rating": [5.0, 1.0, 5.0]})
    >>> table = test.with_columns(rating=pl.Series([4.0, 2.0, 2.5]))
    >>> errors_by_rating(table, test)["accuracy"].to_list()
    [1.0, 0.5]
    """
    rated = _rated(model_or_table, test)
    levels = np.unique(rated.truth)
    few = len(levels) <= _MOST_LEVELS
    if few:
        bins = np.searchsorted(levels, rated.truth)
        nearest = np.searchsorted((levels[1:] + levels[:-1]) / 2, rated.predicted)
    else:
        bins = np.searchsorted(np.unique(np.quantile(rated.truth, np.arange(1, _BINS) / _BINS)), rated.truth)
        nearest = bins
    table = pl.DataFrame({"bin": bins, "true": rated.truth, "guess": rated.predicted, "right": nearest == bins})
    error = pl.col("guess") - pl.col("true")
    return (
        table.group_by("bin")
        .agg(
            rating=pl.col("true").mean(),
            n=pl.len().cast(pl.Int64),
            predicted=pl.col("guess").mean(),
            rmse=(error**2).mean().sqrt(),
            mae=error.abs().mean(),
            accuracy=pl.col("right").mean() if few else pl.lit(None, pl.Float64),
        )
        .sort("bin")
        .drop("bin")
    )


def calibration(
    model_or_table: Any,  # noqa: ANN401
    test: TableLike,
    levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95, 0.99),
) -> pl.DataFrame:
    """Compare a predicted spread with the errors: of 90 % intervals, nine in ten should hold the true rating.

    Parameters
    ----------
    model_or_table : fitted model of ratings that gives ``std``, or table
        As ``errors_by_rating`` takes them, with ``std``.
    test : Events with ratings, Ratings, or table with ``user_id``, ``item_id`` and ``rating``
    levels : sequence of float
        Probabilities, each above 0 and below 1.

    Returns
    -------
    DataFrame
        One row per level: ``level``, ``share`` of the true ratings inside the central normal interval of that
        probability, and ``half_width`` of the interval, its mean over the ratings.

    Raises
    ------
    ParameterError
        There is no ``std``, or a level is no probability.
    DataError, NotFittedError
        As ``errors_by_rating``.
    """
    try:
        wanted = [float(level) for level in levels if is_number(level) and 0 < level < 1]
        if not wanted or len(wanted) < len(levels):
            raise TypeError
    except TypeError:
        raise ParameterError(
            f"levels must be numbers above 0 and below 1, such as [0.9], got {shown(levels)}"
        ) from None
    rated = _rated(model_or_table, test)
    at = np.array(wanted)
    shares = rated.coverage(at)
    assert rated.std is not None  # or else there is no coverage
    half_width = scipy.special.ndtri((1 + at) / 2) * rated.std.mean()
    return pl.DataFrame({"level": at, "share": shares, "half_width": half_width})


def _rated(model_or_table: Any, test: TableLike) -> Rated:  # noqa: ANN401
    told = "model_or_table must be a fitted model of ratings, or a table with user_id, item_id and rating, got"
    if isinstance(model_or_table, type):
        raise ParameterError(f"{told} the class {model_or_table.__name__}")
    if not hasattr(model_or_table, "predict"):
        try:
            table = read_table(model_or_table, (), "predictions")
        except DataError as error:
            raise ParameterError(f"{told} {shown(model_or_table)}") from error
        model_or_table = table
    elif getattr(model_or_table, "interactions_", None) is None:
        raise NotFittedError(f"{type(model_or_table).__name__} is not fitted: call fit first")
    rated = read_rated(model_or_table, test)
    note_reading(test)
    return rated
