"""The values of metrics for every user, before they are summed up."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_choice, check_flag, warn
from cofactor.data.tables import TableLike, pairs_of
from cofactor.errors import DataError, ParameterError
from cofactor.evaluation.known import GAIN, context_of, graded_pairs
from cofactor.evaluation.lists import Recommending, hits_of, lists_of, ranks_suffice, seen_in
from cofactor.evaluation.readings import choice_of, note_reading, times
from cofactor.evaluation.sampled import SampledCandidates, labelled
from cofactor.metrics import parse_all
from cofactor.metrics.hits import Relevance
from cofactor.metrics.intervals import mean_interval
from cofactor.metrics.kinds import Trial, needs_of, read_all
from cofactor.metrics.of_lists import HitsReader
from cofactor.system.views import Row, View, Viewed, ViewTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from cofactor.data.user_items import UserItems
    from cofactor.metrics.hits import Hits
    from cofactor.metrics.kinds import Metric, Readings, Values

__all__ = [
    "DEFAULT_METRICS",
    "Measurement",
    "check_intervals",
    "measure",
    "warn_of_empty",
    "warn_of_seen",
    "warn_of_short",
]

DEFAULT_METRICS = ("recall@10", "ndcg@10", "map@10")


@dataclass(frozen=True, slots=True, eq=False)
class Measurement(Viewed):
    """What one evaluation found.

    Parameters
    ----------
    users : (n_users,) Series
        The evaluated users, ascending.
    values : dict
        For every metric its value per user, (n_users,) float64, or for all together, float. NaN for a user of whom a
        metric beyond accuracy says nothing: who has no list, or a list of one item, or no training data.
    n_unknown_users : int
        Test users for whom there are no lists.
    n_untested_users : int
        Users with lists, or known to the model, who have no test items and are left out.
    n_pairs : int
        Distinct test pairs, those of unknown users as well.
    n_seen : int
        Those among them that are left out because they are in the training data, as lists leave that out.
    empty : bool
        Whether lists were asked for and all are empty.
    recommend_seconds : float
        Time spent in the model on lists or ranks, or on scoring the candidates.
    readings : Readings, optional
        What the values were computed from.
    reading : int
        Which reading of this test side this was, from 1, as far as it was seen; 0 of rows without ids.
    chosen_on : str, optional
        On what the parameters of the model were chosen, where ``tune`` chose them.
    """

    users: pl.Series
    values: dict[str, Values]
    n_unknown_users: int
    n_untested_users: int
    n_pairs: int
    n_seen: int
    empty: bool
    recommend_seconds: float
    readings: Readings | None = field(default=None, repr=False)
    reading: int = 0
    chosen_on: str | None = None

    @property
    def hits(self) -> Hits:
        """What metrics of lists were computed from."""
        assert self.readings is not None, "a measurement by measure has them"
        found: Hits = self.readings.of[HitsReader]
        return found

    @property
    def of_users(self) -> pl.DataFrame:
        """One row per user: ``user_id`` and a column for every metric that has a value of single users."""
        single = {name: values for name, values in self.values.items() if isinstance(values, np.ndarray)}
        return pl.DataFrame({"user_id": self.users, **single})

    def summary(self, *, confidence: float = 0.95, n_bootstrap: int = 1000, seed: int = 0) -> pl.DataFrame:
        """One row per metric; parameters, checked by ``check_intervals``, and columns as in ``evaluate``."""
        intervals: dict[str, tuple[float, float]] = {}
        for names, columns in self._complete_columns() if n_bootstrap else ():
            low, high = mean_interval(columns, confidence=confidence, n_resamples=n_bootstrap, seed=seed)
            intervals |= dict(zip(names, zip(low.tolist(), high.tolist(), strict=True), strict=True))
        rows = [
            (
                name,
                *_mean(value, len(self.users)),
                *intervals.get(name, (None, None)),
                self.n_unknown_users,
                self.n_untested_users,
            )
            for name, value in self.values.items()
        ]
        schema = {
            "metric": pl.String,
            "value": pl.Float64,
            "n_users": pl.Int64,
            "low": pl.Float64,
            "high": pl.Float64,
            "n_unknown_users": pl.Int64,
            "n_untested_users": pl.Int64,
        }
        table = pl.DataFrame(rows, schema=schema, orient="row")
        return table.select("metric", "value", "low", "high", pl.col("^n_.*$"))

    def _complete_columns(self) -> Iterator[tuple[list[str], NDArray[np.float64]]]:
        """Names and values, (n_users, n_metrics), of metrics that say something of the same users, of these users."""
        groups: dict[bytes, list[str]] = {}
        per_user = {name: values for name, values in self.values.items() if isinstance(values, np.ndarray)}
        for name, values in per_user.items():
            missing = np.isnan(values)
            groups.setdefault(np.packbits(missing).tobytes() if missing.any() else b"", []).append(name)
        for names in groups.values():
            columns = np.array([per_user[name] for name in names])
            if (there := ~np.isnan(columns[0])).any():
                yield names, (columns if there.all() else columns[:, there]).T

    def _view(self) -> View:
        """Means with their standard errors: the intervals of ``summary`` cost a thousand resamples."""
        rows = [Row((name, *_shown(values))) for name, values in self.values.items()]
        n_left = {"unknown to the model": self.n_unknown_users, "without test items": self.n_untested_users}
        facts = {f"users {kind}": f"{n:,}" for kind, n in n_left.items() if n}
        facts["test pairs"] = f"{self.n_pairs:,}"
        if self.n_seen:
            facts["test pairs"] += f", of which {self.n_seen:,} were in the training data and are left out"
        if self.reading:
            facts["test"] = f"read {times(self.reading)}, as far as it was seen"
        if self.chosen_on is not None:
            facts["parameters chosen on"] = self.chosen_on
        facts["time for lists"] = f"{self.recommend_seconds:.2f} s"
        table = ViewTable("metrics", ("metric", "value", "standard error"), rows)
        return View("Measurement", f"{len(self.users):,} user{'s' * (len(self.users) != 1)}", facts, [table])

    def per_user(self) -> pl.DataFrame:
        """One row per user: ``user_id`` and a column for every metric.

        Raises
        ------
        ParameterError
            A metric has no value of single users.
        """
        if overall := [name for name, values in self.values.items() if not isinstance(values, np.ndarray)]:
            raise ParameterError(f"per_user: {', '.join(overall)} has no value of single users; leave it out")
        return self.of_users


def measure(
    model_or_table: Recommending | TableLike,
    test: TableLike,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    exclude_seen: bool = True,
    candidates: TableLike | SampledCandidates | None = None,
    n_items: int | None = None,
    unknown_users: str = "exclude",
    progress: bool | None = None,
    train: TableLike = None,
    item_features: TableLike = None,
    category: str | None = None,
    also_seen: Sequence[UserItems] = (),
) -> Measurement:
    """Find the values behind ``evaluate``, with the same parameters, before they are summed up.

    ``also_seen``: training data of other models that are measured on the same test, or of those behind a table.
    """
    wanted = parse_all(metrics)
    check_flag("exclude_seen", exclude_seen)
    check_choice("unknown_users", unknown_users, ("exclude", "zero"))
    if n_items is not None:
        check_at_least("n_items", n_items, 1, whole=True)
    if progress is not None:
        check_flag("progress", progress)
    needs = needs_of(wanted)
    known: Any = {"train": train, "item_features": item_features, "category": category}
    context = context_of(model_or_table, wanted, **known, exclude_seen=exclude_seen and candidates is None)
    given = (graded_pairs(test), GAIN) if needs.gains else (pairs_of(test),)
    whole = relevance = Relevance.from_pairs(*given)
    n_pairs = relevance.n_pairs
    own = getattr(model_or_table, "interactions_", None)
    trains = [*([] if own is None else [own]), *also_seen]
    if trains and exclude_seen and candidates is None and needs.lists:
        relevance = _unseen(relevance, trains)
    n_seen = n_pairs - relevance.n_pairs
    by_ranks = candidates is None and ranks_suffice(model_or_table, wanted)
    of_lists = needs_of(wanted, ranked=by_ranks)
    options: Any = {"exclude_seen": exclude_seen, "progress": progress}
    pairs = candidates.pairs() if isinstance(candidates, SampledCandidates) else candidates
    lists = lists_of(model_or_table, relevance, of_lists, candidates=pairs, n_items=n_items, **options)
    if lists.n_items is None and (names := [metric.name for metric in wanted if metric.needs.n_items]):
        of = ", ".join(names)
        raise ParameterError(
            f"{of} of a table needs the size of the catalogue: give the number of its items as n_items="
        )
    n_unknown = int((~lists.known).sum())
    if n_unknown == len(relevance.users) and needs.lists:
        raise DataError(
            f"none of the {n_unknown} test users has a list or is known to the model, the first is "
            f"{relevance.users[0]!r}; were the ids of training and test made in the same way?"
        )
    n_complete = lists.n_complete
    if unknown_users == "exclude" and hasattr(model_or_table, "recommend") and needs.lists:
        relevance = relevance.only(lists.known)
        n_complete = None if n_complete is None else n_complete[lists.known]
    start = time.perf_counter()
    hits = hits_of(model_or_table, relevance, **options) if by_ranks else None
    seconds = time.perf_counter() - start
    trial = Trial(relevance, test, model_or_table, lists.n_items, n_complete, hits, context)
    clock = _Clock(lists.tables)
    readings = read_all(wanted, trial, clock)
    readings = replace(readings, metrics=[labelled(metric, candidates) for metric in wanted])
    if lists.longest is not None:
        warn_of_short(wanted, lists.longest)
    n_listed = clock.n_rows if hits is None else hits.n_listed.any()
    return Measurement(
        users=relevance.users,
        values=readings.values(),
        n_unknown_users=n_unknown,
        n_untested_users=lists.n_untested_users,
        n_pairs=n_pairs,
        n_seen=n_seen,
        empty=needs.lists and not n_listed,
        recommend_seconds=seconds + clock.seconds,
        readings=readings,
        reading=note_reading(whole, chosen_on=(chosen_on := choice_of(model_or_table))),
        chosen_on=chosen_on,
    )


def _mean(value: Values, n_users: int) -> tuple[float, int]:
    """The mean of those users of whom there is a value, and how many these are."""
    if not isinstance(value, np.ndarray):
        return float(value), n_users
    if (missing := np.isnan(value)).any():
        value = value[~missing]
    return float(value.mean()) if len(value) else float("nan"), len(value)


def _unseen(relevance: Relevance, trains: Sequence[UserItems]) -> Relevance:
    """What lists of new items can hold."""
    seen = np.zeros(relevance.n_pairs, np.bool_)
    for train in trains:
        seen |= seen_in(train, relevance)
    if seen.all():
        raise DataError(
            f"all {len(seen):,} test pairs were in the training data, so that lists of new items can hold none; pass "
            "exclude_seen=False, or a test of new pairs"
        )
    return relevance.without(seen) if seen.any() else relevance


def check_intervals(confidence: float, n_bootstrap: int, seed: int) -> None:
    """Check the parameters of ``Measurement.summary``, apart from it: before the lists are made."""
    check_at_least("confidence", confidence, 0, above=True)
    if confidence >= 1:
        raise ParameterError(f"confidence must be below 1, got {confidence!r}; give 0.95 for 95 %")
    check_at_least("n_bootstrap", n_bootstrap, 0, whole=True)
    check_at_least("seed", seed, 0, whole=True)


def warn_of_seen(found: Measurement) -> bool:
    """Tell of test pairs that were left out because no list could hold them; True if there are any."""
    if found.n_seen:
        warn(
            f"{found.n_seen:,} of {found.n_pairs:,} test pairs were in the training data and are left out, as lists "
            "leave them out; exclude_seen=False keeps them"
        )
    return found.n_seen > 0


def warn_of_empty(models: Sequence[str], *, exclude_seen: bool) -> None:
    """Tell of models, by name, that list nothing at all, so that all their metrics are 0."""
    new = " that is new to the user; pass exclude_seen=False, or fill the lists by Fallback" if exclude_seen else ""
    warn(f"{', '.join(models)} listed no item for any test user{new}")


def warn_of_short(wanted: Sequence[Metric], longest: int) -> None:
    """Tell of metrics that look at more places than any list has."""
    if names := [metric.name for metric in wanted if metric.k is not None and metric.k > longest]:
        warn(
            f"{', '.join(names)}: no list has more than {longest} places, so that the others count as misses; make "
            "longer lists, or ask for a smaller k"
        )


def _shown(values: Values) -> tuple[str, str]:
    """The mean over users of whom there is a value, and its standard error where there are single users."""
    mean, n = _mean(values, 0)
    error = f"{np.nanstd(values) / np.sqrt(n):.4f}" if n else ""
    return f"{mean:.4f}", error


class _Clock:
    """Passes tables on, counts their rows and adds up the seconds that making them took."""

    def __init__(self, tables: Iterable[pl.DataFrame]) -> None:
        self.tables = tables
        self.seconds = 0.0
        self.n_rows = 0

    def __iter__(self) -> Iterator[pl.DataFrame]:
        tables = iter(self.tables)
        while True:
            start = time.perf_counter()
            table = next(tables, None)
            self.seconds += time.perf_counter() - start
            if table is None:
                return
            self.n_rows += table.height
            yield table
