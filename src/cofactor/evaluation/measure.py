"""The values of metrics for every user, before they are summed up."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.data.tables import TableLike, pairs_of
from cofactor.errors import DataError, ParameterError
from cofactor.evaluation.lists import Recommending, lists_of
from cofactor.metrics import parse_all
from cofactor.metrics.hits import Relevance, find_hits
from cofactor.metrics.intervals import mean_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["DEFAULT_METRICS", "Measurement", "measure"]

DEFAULT_METRICS = ("recall@10", "ndcg@10", "map@10")


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """What one evaluation found.

    Parameters
    ----------
    users : (n_users,) Series
        The evaluated users, ascending.
    values : dict
        For every metric its value per user, (n_users,) float64, or for all together, float.
    n_unknown_users : int
        Test users for whom there are no lists.
    n_untested_users : int
        Users with lists, or known to the model, who have no test items and are left out.
    recommend_seconds : float
        Time spent in the model.
    """

    users: pl.Series
    values: dict[str, NDArray[np.float64] | float]
    n_unknown_users: int
    n_untested_users: int
    recommend_seconds: float

    def summary(self, *, confidence: float = 0.95, n_bootstrap: int = 1000, seed: int = 0) -> pl.DataFrame:
        """One row per metric; parameters and columns as in ``evaluate``."""
        if not 0 < confidence < 1:
            raise ParameterError(f"confidence: a number between 0 and 1 is expected, got {confidence!r}")
        if n_bootstrap < 0:
            raise ParameterError(f"n_bootstrap: a number >= 0 is expected, got {n_bootstrap!r}")
        per_user = {name: values for name, values in self.values.items() if isinstance(values, np.ndarray)}
        intervals: dict[str, tuple[float, float]] = {}
        if per_user and n_bootstrap:
            columns = np.column_stack(list(per_user.values()))
            low, high = mean_interval(columns, confidence=confidence, n_resamples=n_bootstrap, seed=seed)
            intervals = dict(zip(per_user, zip(low.tolist(), high.tolist(), strict=True), strict=True))
        rows = [
            (
                name,
                float(np.mean(value)),
                *intervals.get(name, (None, None)),
                len(self.users),
                self.n_unknown_users,
                self.n_untested_users,
            )
            for name, value in self.values.items()
        ]
        schema = {
            "metric": pl.String,
            "value": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
            "n_users": pl.Int64,
            "n_unknown_users": pl.Int64,
            "n_untested_users": pl.Int64,
        }
        return pl.DataFrame(rows, schema=schema, orient="row")

    def per_user(self) -> pl.DataFrame:
        """One row per user: ``user_id`` and a column for every metric.

        Raises
        ------
        ParameterError
            A metric has no value of single users.
        """
        if overall := [name for name, values in self.values.items() if not isinstance(values, np.ndarray)]:
            raise ParameterError(f"per_user: {', '.join(overall)} is of all lists together; leave it out")
        return pl.DataFrame({"user_id": self.users, **self.values})


def measure(
    model_or_table: Recommending | TableLike,
    test: TableLike,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    exclude_seen: bool = True,
    candidates: TableLike | None = None,
    n_items: int | None = None,
    unknown_users: str = "exclude",
) -> Measurement:
    """Find the values behind ``evaluate``, with the same parameters, before they are summed up."""
    wanted = parse_all(metrics)
    if unknown_users not in ("exclude", "zero"):
        raise ParameterError(f"unknown_users: 'exclude' or 'zero' is expected, got {unknown_users!r}")
    relevance = Relevance.from_pairs(pairs_of(test))
    k = None if any(metric.k is None for metric in wanted) else max(metric.k or 0 for metric in wanted)
    lists = lists_of(model_or_table, relevance, k, exclude_seen=exclude_seen, candidates=candidates, n_items=n_items)
    n_unknown = int((~lists.known).sum())
    if n_unknown == len(relevance.users):
        raise DataError(
            f"none of the {n_unknown} test users has a list or is known to the model, the first is "
            f"{relevance.users[0]!r}; were the ids of training and test made in the same way?"
        )
    n_complete = lists.n_complete
    if unknown_users == "exclude" and hasattr(model_or_table, "recommend"):
        relevance = relevance.only(lists.known)
        n_complete = None if n_complete is None else n_complete[lists.known]
    clock = _Clock(lists.tables)
    hits = find_hits(clock, relevance, k=k, ties=k is None, n_items=lists.n_items)
    if k is None and n_complete is not None:
        _check_complete(hits.n_listed, n_complete, relevance.users)
    values = {metric.name: metric.compute(hits) for metric in wanted}
    return Measurement(relevance.users, values, n_unknown, lists.n_untested_users, clock.seconds)


class _Clock:
    """Passes tables on and adds up the seconds that making them took."""

    def __init__(self, tables: Iterable[pl.DataFrame]) -> None:
        self.tables = tables
        self.seconds = 0.0

    def __iter__(self) -> Iterator[pl.DataFrame]:
        tables = iter(self.tables)
        while True:
            start = time.perf_counter()
            table = next(tables, None)
            self.seconds += time.perf_counter() - start
            if table is None:
                return
            yield table


def _check_complete(n_listed: NDArray[np.int64], n_complete: NDArray[np.int64], users: pl.Series) -> None:
    if (wrong := np.flatnonzero(n_listed != n_complete)).size:
        at = int(wrong[0])
        raise DataError(
            f"auc needs complete lists, and those of {wrong.size} of {len(users)} users are not: user "
            f"{users[at]!r} has {n_listed[at]} of {n_complete[at]} items; with candidates= they are"
        )
