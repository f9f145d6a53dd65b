"""Fit several models on one split, or on several, and rank them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from cofactor.checks import check_choice, check_flag, check_path, in_line, shown, warn
from cofactor.data.log import Log
from cofactor.data.split import Split
from cofactor.data.tables import pairs_of
from cofactor.errors import CofactorError, DataError, ParameterError
from cofactor.evaluation.entries import Entry, Result, entries_of, run_entry
from cofactor.evaluation.fingerprint import fingerprint
from cofactor.evaluation.kept_readings import readings_kept
from cofactor.evaluation.kept_results import KeptResults
from cofactor.evaluation.known import check_test, held_out, told_of_items
from cofactor.evaluation.leaks import check_leaks
from cofactor.evaluation.measure import DEFAULT_METRICS, warn_of_empty, warn_of_seen
from cofactor.evaluation.paired import paired_tests
from cofactor.evaluation.sampled import labelled
from cofactor.evaluation.training import Training
from cofactor.metrics import parse_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cofactor.data.aggregate import Weight
    from cofactor.data.events import Events
    from cofactor.data.interactions import Interactions
    from cofactor.data.ratings import Ratings
    from cofactor.data.tables import TableLike
    from cofactor.data.user_items import UserItems
    from cofactor.evaluation.measure import Measurement
    from cofactor.metrics import Metric

__all__ = ["compare"]


def compare(
    models: Mapping[str, Any],
    train: Events | Interactions | Ratings | Split | Sequence[Split] | None,
    test: TableLike = None,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    weight: Weight = None,
    fit_options: Mapping[str, Mapping[str, Any]] | None = None,
    exclude_seen: bool = True,
    candidates: TableLike | None = None,
    item_features: TableLike | None = None,
    category: str | None = None,
    intervals: bool = False,
    significance: bool = False,
    leaks: bool = True,
    errors: Literal["row", "raise"] = "row",
    folder: str | Path | None = None,
    progress: bool | None = None,
) -> pl.DataFrame:
    """Fit every model on the same data, measure it, and give a leaderboard; ``docs/comparing.md`` says more.

    Parameters
    ----------
    models : dict
        By name: models, which are left fitted on ``train``; functions without arguments that make one; or tables of
        recommendations, which are measured on the pairs that models are measured on.
    train : Events, Interactions, Ratings, Split, several Splits, or None
        Made once for all models. Of several splits copies are fitted, and means are told. None measures models as they
        were fitted before, for a second leaderboard of the same models.
    test : Events, Interactions, Ratings, or table with ``user_id`` and ``item_id``
        Not where ``train`` are splits, which hold theirs.
    metrics : str or sequence of str
        As in ``evaluate``; the first decides the order.
    weight : as in ``Events.interactions``
    fit_options : dict, optional
        By the name of a model what its ``fit`` takes besides: ``{"warp": {"item_features": table}}``.
    exclude_seen, candidates, item_features, category : as in ``evaluate``
    intervals : bool
        Whether every metric is followed by ``<metric>_low`` and ``<metric>_high``, its 95 % interval.
    significance : bool
        Whether ``p_vs_best`` is added: that a model differs from the best as much by chance, in the first metric, user
        by user, corrected for the number of models (``paired_tests``).
    leaks : bool
        Whether training data is looked at for what it must not know of the test (``check_leaks``); a leak is a warning.
    errors : {"row", "raise"}
        Whether a model that fails is a row with its ``error``, or ends the comparison. If all fail the first is raised.
    folder : path, optional
        Keeps every result as it comes; a comparison that was stopped goes on from there, without fitting these again.
    progress : bool, optional
        Passed on to ``fit`` and ``evaluate``; their own defaults if left out.

    Returns
    -------
    DataFrame
        A row per model, the best in the first metric on top, those that failed at the end: ``model``, the metrics (of
        several splits the mean, and ``<metric>_std``), ``fit_seconds`` (not where ``train`` is None),
        ``recommend_seconds``, ``peak_mb`` (growth of the process in megabytes, a lower bound; only on Linux),
        ``pareto`` (no other is as good in as little time), ``reading`` (which reading of the test it was, as far as was
        seen), ``chosen_on`` (what the parameters were chosen on, where ``tune`` chose them) and ``error``.

    Raises
    ------
    ParameterError
        What is given is not understood, such as the name of a metric.
    ArtifactError
        The folder holds a comparison of something else.
    """
    told: Any = {"item_features": item_features, "category": category, "fit_options": fit_options}
    task = _Task.of(models, metrics, train, test, weight, candidates, told)
    check_choice("errors", errors, ("row", "raise"))
    flags = {"exclude_seen": exclude_seen, "intervals": intervals, "significance": significance, "leaks": leaks}
    task.check(**flags, progress=progress)
    kept = None if folder is None else KeptResults(check_path("folder", folder), task.facts(exclude_seen, intervals))
    if leaks:
        task.warn_of_leaks()
    found = task.run(kept, exclude_seen=exclude_seen, intervals=intervals, errors=errors, progress=progress)
    return _board(task, found, significance=significance)


@dataclass(frozen=True)
class _Task:
    """What is compared on what, checked."""

    entries: list[Entry]
    metrics: list[Metric]
    folds: list[tuple[Training, TableLike]]
    candidates: TableLike | None
    features: pl.DataFrame | None
    category: str | None
    several: bool

    @classmethod
    def of(
        cls,
        models: Mapping[str, Any],
        metrics: str | Sequence[str],
        train: Any,  # noqa: ANN401
        *rest: Any,  # noqa: ANN401
    ) -> _Task:
        test, weight, candidates, told = rest
        wanted, entries = parse_all(metrics), entries_of(models, told["fit_options"])
        if train is None and told["fit_options"]:
            raise ParameterError(
                "fit_options: without train nothing is fitted; leave it out, or pass the training data"
            )
        several = isinstance(train, list | tuple)
        if several and not (train and all(isinstance(one, Split) for one in train)):
            raise ParameterError(f"train: of several splits all are Split, as of split.by_time, got {shown(train)}")
        splits = list(train) if several else [train] if isinstance(train, Split) else []
        if splits and test is not None:
            raise ParameterError("test: the splits hold theirs; leave it out, or pass the train side of one")
        folds = [(Training(one.train, weight), one.test) for one in splits] or [(Training(train, weight), test)]
        if several and (tables := [entry.name for entry in entries if entry.kind == "table"]):
            raise ParameterError(f"models: {tables[0]!r} is a table, which is of one split; compare it on that one")
        features, _ = told_of_items(wanted, told["item_features"], told["category"])
        for _, one in folds:
            check_test(one, wanted)
        return cls(entries, wanted, folds, candidates, features, told["category"], several)

    def check(self, *, progress: bool | None, **flags: bool) -> None:
        for name, value in {**flags, "progress": False if progress is None else progress}.items():
            check_flag(name, value)
        if self.several and flags["intervals"]:
            raise ParameterError("intervals: of several splits there is <metric>_std; leave intervals out")
        if self.several and flags["significance"]:
            raise ParameterError("significance: users of several splits are not paired; compare on one split")
        if flags["significance"] and not self.metrics[0].per_user:
            raise ParameterError(f"significance: {self.metrics[0].name} has no value of single users; name one first")

    def warn_of_leaks(self) -> None:
        """Tell what training data knows of the test that it must not."""
        for training, test in self.folds:
            if not isinstance(training.events, Log):
                continue  # without a log there are no times to tell a leak by
            try:
                found = check_leaks(training.events, test)
            except CofactorError as error:
                warn(f"leaks could not be looked for: {error}; leaks=False leaves the look out")
                continue
            if found.has_leaks:
                warn(f"{found.summary}; leaks=False leaves this out, where it is meant so")

    def facts(self, exclude_seen: bool, intervals: bool) -> dict[str, Any]:
        """What a comparison must share with the one whose results it takes over."""
        tables = [
            [
                held_out(test),
                *([] if self.candidates is None else [pairs_of(self.candidates)]),
                *([] if self.features is None else [self.features]),
            ]
            for _, test in self.folds
        ]
        data = [
            fingerprint(None if of.is_empty else of.any, more, of.events)
            for (of, _), more in zip(self.folds, tables, strict=True)
        ]
        names = [metric.name for metric in self.metrics]
        return {"metrics": names, "exclude_seen": exclude_seen, "intervals": intervals, "data": data}

    def run(
        self, kept: KeptResults | None, *, exclude_seen: bool, intervals: bool, errors: str, progress: bool | None
    ) -> list[Result]:
        """Every entry on every split; an entry that failed on one is not tried on the next."""
        names = [metric.name for metric in self.metrics]
        results: list[Result] = []
        told, empty = False, dict[str, None]()
        for fold, (training, test) in enumerate(self.folds):
            seen = _seen_by_others(self.entries) if training.is_empty else []
            options: Any = {"exclude_seen": exclude_seen, "candidates": self.candidates, "also_seen": seen}
            options |= {"item_features": self.features, "category": self.category}
            for entry in self.entries:
                if any(one.error is not None and one.entry is entry for one in results):
                    continue
                # What a model was fitted on before nobody tells; to measure it again costs little.
                result = None if kept is None or training.is_empty else kept.read(entry, fold)
                if result is None:
                    with readings_kept(None if kept is None else kept.folder, entry.name):
                        result = run_entry(
                            entry, fold, training, test, names, fresh=self.several, progress=progress, **options
                        )
                    if result.error is not None and errors == "raise":
                        raise result.error
                    if intervals and result.found is not None:
                        result.values = _values(result.found)
                    if kept is not None:
                        kept.write(result)
                results.append(result)
                if result.found is not None:
                    told = told or warn_of_seen(result.found)
                    if entry.kind == "table":
                        _warn_of_missing(result.found, entry.name)
                    empty |= {entry.name: None} if result.found.empty else {}
                result.found = None  # what is summed up need not stay
        if empty:
            warn_of_empty(list(empty), exclude_seen=exclude_seen)
        return results


def _warn_of_missing(found: Measurement, name: str) -> None:
    """Tell of test users who have no list in a table."""
    if found.n_unknown_users:
        n, of = found.n_unknown_users, len(found.users)
        warn(f"{name!r} has no list for {n:,} of {of:,} test users, whose items count as misses")


def _board(task: _Task, results: list[Result], *, significance: bool) -> pl.DataFrame:
    """The leaderboard."""
    failures = [result for result in results if result.error is not None]
    if {failure.entry.name for failure in failures} == {entry.name for entry in task.entries}:
        assert failures[0].error is not None
        raise failures[0].error
    columns = list(next(result.values for result in results if result.error is None))
    seconds = [*([] if task.folds[0][0].is_empty else ["fit_seconds"]), "recommend_seconds"]
    rows = []
    for entry in task.entries:
        mine = [result for result in results if result.entry is entry]
        error = next((result.error for result in mine if result.error is not None), None)
        row: dict[str, Any] = {"model": entry.name}
        for name in columns:
            values = [result.values[name] for result in mine] if error is None else []
            row[name] = _mean(values)
            if task.several:
                row[f"{name}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None  # type: ignore[arg-type]
        row |= {name: _mean([result.seconds.get(name) for result in mine]) for name in seconds}
        peaks = [result.peak_mb for result in mine if result.peak_mb is not None]
        row |= {"peak_mb": max(peaks, default=None), "reading": max((r.reading or 0 for r in mine), default=0) or None}
        row["chosen_on"] = next((result.chosen_on for result in mine), None)
        rows.append({**row, "error": None if error is None else _line(error)})
    kinds = {**dict.fromkeys(("model", "chosen_on", "error"), pl.String), "reading": pl.Int64}
    schema = {column: kinds.get(column, pl.Float64) for column in rows[0]}
    first = labelled(task.metrics[0], task.candidates)
    board = pl.DataFrame(rows, schema=schema).sort(
        first.name, descending=first.kind.higher_is_better, nulls_last=True, maintain_order=True
    )
    if significance:
        users = {result.entry.name: result.users for result in results if result.error is None}
        board = board.with_columns(p_vs_best=_p_values(board, users, first.name))
    last = ("reading", "chosen_on", "error")
    return board.with_columns(pareto=_pareto(board, first, seconds)).select(pl.exclude(last), *last)


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean; None where a value is missing, or there is none."""
    return float(np.mean(values)) if values and None not in values else None  # type: ignore[arg-type]


def _line(error: Exception) -> str:
    """An error in a cell."""
    return " ".join(str(error).split()) if isinstance(error, CofactorError) else in_line(error)


def _p_values(board: pl.DataFrame, users: dict[str, pl.DataFrame | None], metric: str) -> pl.Series:
    """That a model differs from the best as much by chance; null of the best, and of models that failed."""
    best = board["model"][0]
    try:
        tests = paired_tests(users, metrics=metric, baseline=best) if len(users) > 1 else None
    except DataError as error:  # as of a single user; what was measured is worth having
        warn(f"p_vs_best is missing: {error}")
        tests = None
    found = {} if tests is None else dict(tests.select("model_a", "p_holm").iter_rows())
    return pl.Series([found.get(name) for name in board["model"]], dtype=pl.Float64)


def _pareto(board: pl.DataFrame, metric: Metric, seconds: list[str]) -> pl.Series:
    """Whether no other model is as good in the metric in as little time, and better in one; null where it failed.

    Tables cost no time here.
    """
    values = board[metric.name].to_list()
    times = board.select(pl.sum_horizontal(pl.col(seconds).fill_null(0))).to_series().to_list()
    sign = 1 if metric.kind.higher_is_better else -1
    points = [None if value is None else (sign * value, -time) for value, time in zip(values, times, strict=True)]

    def beaten(point: tuple[float, float]) -> bool:
        return any(one is not None and one != point and one[0] >= point[0] and one[1] >= point[1] for one in points)

    return pl.Series([None if point is None else not beaten(point) for point in points], dtype=pl.Boolean)


def _seen_by_others(entries: Sequence[Entry]) -> list[UserItems]:
    """What models that were fitted before have seen: all are measured on what is new to all of them."""
    fitted = [getattr(entry.given, "interactions_", None) for entry in entries]
    return list({id(x): x for x in fitted if x is not None}.values())


def _values(found: Measurement) -> dict[str, float | None]:
    """The values of the metrics with their intervals, by column."""
    row: dict[str, float | None] = {}
    for metric, value, low, high, *_ in found.summary(n_bootstrap=1000).iter_rows():
        row |= {metric: value, f"{metric}_low": low, f"{metric}_high": high}
    return row
