"""Errors of predicted ratings, and how well a predicted spread says how large they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import polars as pl
import scipy

from cofactor.data.ratings import rated_table
from cofactor.data.tables import TableLike, cast_ids, read_table
from cofactor.errors import DataError, ParameterError
from cofactor.metrics.kinds import Needs, WithoutK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from cofactor.metrics.kinds import Metric, Trial, Values

__all__ = ["Rated", "RatedReader", "RatingError", "calibration_error", "mae", "read_rated", "rmse"]

_LEVELS = np.arange(1, 10) / 10
_PAIR = ("user_id", "item_id")


@dataclass(frozen=True, slots=True, eq=False)
class Rated:
    """Ratings of a test and what was predicted for them, in the order of the test.

    Parameters
    ----------
    truth : (n,) float64
    predicted : (n,) float64
        Of a model within the scale of its training data, as it would be shown.
    center : (n,) float64
        What was predicted, also beyond the scale.
    std : (n,) float64, or None
        The predicted standard deviation around ``center``, where there is one.
    """

    truth: NDArray[np.float64]
    predicted: NDArray[np.float64]
    center: NDArray[np.float64]
    std: NDArray[np.float64] | None = None

    @property
    def error(self) -> NDArray[np.float64]:
        """Predicted minus true rating, (n,)."""
        return self.predicted - self.truth

    def coverage(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the ratings inside the central interval of each probability, were they normal around ``center``.

        Raises
        ------
        ParameterError
            No spread was predicted.
        """
        if self.std is None:
            raise ParameterError("calibration_error needs a predicted std beside the rating, as BiasOnly gives")
        std = np.maximum(self.std, np.finfo(np.float64).tiny)
        inside = 2 * scipy.special.ndtr(np.abs(self.truth - self.center) / std) - 1
        return np.array([np.mean(inside <= level) for level in levels])


def rmse(rated: Rated) -> float:
    """Root of the mean squared error of all test ratings, those of unknown users and items included."""
    return float(np.sqrt(np.mean(rated.error**2)))


def mae(rated: Rated) -> float:
    """Mean absolute error of all test ratings, those of unknown users and items included."""
    return float(np.mean(np.abs(rated.error)))


def calibration_error(rated: Rated) -> float:
    """How far the shares of ratings inside the intervals of 10 %, 20 % ... 90 % are from these, on average.

    The intervals are the central ones of a normal distribution with the predicted mean and standard deviation. Ratings
    on a grid cannot reach 0: all of one value lie inside together.
    """
    return float(np.mean(np.abs(rated.coverage(_LEVELS) - _LEVELS)))


def read_rated(subject: Any, test: TableLike) -> Rated:  # noqa: ANN401
    """Put the ratings of a test beside those of a model, or of a table with ``user_id``, ``item_id``, ``rating``.

    Raises
    ------
    DataError
        The test has no ratings, or a table rates a pair twice or does not rate one of the test.
    ParameterError
        A model predicts no ratings.
    """
    columns = getattr(subject, "context_columns", ())
    truth = rated_table(test, "test", keep=columns)
    if not len(truth):
        raise DataError("test: there are no rows, so there is nothing to measure")
    values = truth["rating"].to_numpy()
    if hasattr(subject, "rate"):
        x = subject.interactions_
        rows = x.users.rows(truth["user_id"], "users"), x.items.rows(truth["item_id"], "items")
        context = {"context": truth.select(columns)} if columns else {}
        center, std = (_float64(part) for part in subject.rate(*rows, **context))
        assert center is not None
        return Rated(values, np.clip(center, *x.scale), center, std)
    if hasattr(subject, "predict"):
        raise ParameterError(
            f"errors of ratings need a model that predicts ratings; {type(subject).__name__} gives scores to rank by. "
            "Compare models of ratings, such as BiasOnly, or ask for metrics of lists, such as recall@10"
        )
    table = _looked_up(truth, subject)
    center = table["rating"].to_numpy()
    return Rated(values, center, center, _float64(table["std"].to_numpy() if "std" in table.columns else None))


def _float64(values: NDArray[np.floating] | None) -> NDArray[np.float64] | None:
    return None if values is None else values.astype(np.float64)


def _looked_up(truth: pl.DataFrame, given: TableLike) -> pl.DataFrame:
    """The rows of a table of predictions for every row of the test."""
    table = read_table(given, _PAIR, "predictions")
    columns = ["rating", *(["std"] if "std" in table.columns else [])]
    table = read_table(table, columns, "predictions").select(*_PAIR, pl.col(columns).cast(pl.Float64))
    if not table.select(pl.all_horizontal(pl.col(columns).is_finite()).all()).item():
        raise DataError(f"predictions: {' and '.join(columns)} must be finite numbers")
    if n_more := len(table) - len(table.unique(_PAIR)):
        raise DataError(f"predictions: {n_more:,} rows are of a user and item that another row rates; keep one of each")
    pairs = truth.select(cast_ids(truth[c], table.schema[c], "predictions") for c in _PAIR)
    found = pairs.join(table, on=_PAIR, how="left", maintain_order="left")
    missing = found["rating"].is_null()
    if missing.any():
        first = truth.row(int(missing.arg_max() or 0))[:2]
        raise DataError(
            f"predictions: {missing.sum():,} of {len(found):,} test ratings have none, the first: user {first[0]!r} "
            f"item {first[1]!r}; predict them, or leave them out of the test"
        )
    return found


@final
class RatedReader:
    """Reads the ratings of the test and of the model; looks at no lists."""

    def __init__(self, trial: Trial, metrics: Sequence[Metric]) -> None:
        self._trial = trial

    def add(self, lists: pl.DataFrame) -> None:
        """Nothing: no metric of this reader needs lists."""

    def finish(self) -> Rated:
        """All ratings of the test, whoever they are of."""
        return read_rated(self._trial.subject, self._trial.test)


@final
class RatingError(WithoutK[Rated]):
    """Of predicted ratings beside true ones, one number for all."""

    per_user = False
    reader = RatedReader
    told = "ratings, not of lists;"

    def __init__(self, function: Callable[[Rated], Values], *, higher_is_better: bool = False) -> None:
        super().__init__(function)
        self.higher_is_better = higher_is_better

    def needs(self, k: int | None) -> Needs:
        """Nothing but the test and the model."""
        return Needs()
