"""Which of several models are better, user by user: pairs of models on the same test."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_flag, check_fraction, nearest, shown, warn
from cofactor.data.tables import TableLike, read_table
from cofactor.errors import CofactorError, DataError, ParameterError
from cofactor.evaluation.measure import DEFAULT_METRICS, Measurement, measure
from cofactor.evaluation.paired_statistics import holm, paired_means, wilcoxon_pratt
from cofactor.metrics import parse_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["measured_alike", "paired_tests", "significance"]

_RESAMPLES = 5000
_RESOLUTION = 10  # resamples beyond what the smallest corrected level needs

Named = tuple[str, str]


def paired_tests(
    results: Mapping[str, Any],
    test: TableLike = None,
    metrics: str | Sequence[str] | None = None,
    *,
    baseline: str | None = None,
    confidence: float = 0.95,
    n_resamples: int | None = None,
    exclude_seen: bool = True,
    seed: int = 0,
    progress: bool | None = None,
) -> pl.DataFrame:
    """Test whether models differ, by the differences of single users.

    Two models that are measured on the same users err on the same ones, so that their intervals may overlap although
    one is surely better. What decides is the mean difference in its own bootstrapped errors; the signed-rank test of
    Wilcoxon, which asks for the middle instead of the mean, stands beside.

    Parameters
    ----------
    results : mapping by name
        With ``test``: fitted models, or tables of recommendations. Without it: what was measured before, tables of
        ``evaluate(..., per_user=True)``.
    test : Events, Interactions, Ratings, or table with ``user_id`` and ``item_id``, optional
        Every user counts for every model; a user without a list has 0. With ``exclude_seen`` pairs that any of the
        models was trained on are left out for all.
    metrics : str or sequence of str, optional
        With a value per user. By default those of ``evaluate``, or all that the tables share.
    baseline : str, optional
        Compare the others with this one only; by default every two.
    confidence : float
        ``different`` are those with a ``p_holm`` of at most 1 - confidence; also the probability of the interval.
    n_resamples : int, optional
        By default 5,000, or what so many pairs need.
    exclude_seen, progress
        As in ``evaluate``.
    seed : int
        Of the resamples.

    Returns
    -------
    DataFrame
        One row for each metric and pair: ``model_a``, ``model_b`` (the baseline, if there is one), ``metric``,
        ``difference`` (mean of a - b over users), ``low`` and ``high`` (its interval, for this pair alone),
        ``p_value``, ``p_holm`` (corrected for all pairs of the metric), ``p_wilcoxon`` (not corrected), ``users``,
        ``different``.

    Raises
    ------
    ParameterError
        Fewer than two results, an unknown baseline or metric, or a metric without a value per user.
    DataError
        A table repeats a user or lacks a column, or two results share fewer than two users.

    Warns
    -----
    CofactorWarning
        Users are in one of two results only, or have no value there: their number, and that they are left out.

    Examples
    --------
    >>> import polars as pl
    >>> users = pl.Series("user_id", range(40))
    >>> good = pl.DataFrame({"user_id": users, "ndcg@10": [0.3, 0.5] * 20})
    >>> poor = pl.DataFrame({"user_id": users, "ndcg@10": [0.3, 0.1, 0.2, 0.4] * 10})
    >>> paired_tests({"good": good, "poor": poor}).select("difference", "users", "different").row(0)
    (0.15, 40, True)
    """
    check_flag("exclude_seen", exclude_seen)
    pairs = _pairs(results, baseline)
    n = _n_resamples(n_resamples, len(pairs), confidence, seed)
    if test is None:
        measured, names = _as_measured(results, metrics)
    else:
        names = _names(DEFAULT_METRICS if metrics is None else metrics)
        found = measured_alike(results, test, names, exclude_seen=exclude_seen, progress=progress)
        measured = {name: one.per_user() for name, one in found.items()}
    resampling: Any = {"confidence": confidence, "n_resamples": n, "seed": seed}
    return pl.concat([_tested(measured, pairs, name, resampling) for name in names])


def significance(
    measurements: Mapping[str, Measurement], metric: str, baseline: str | None = None, *, confidence: float = 0.95
) -> pl.DataFrame:
    """``paired_tests`` of measurements that are at hand; the same table, without rows where there is one model."""
    if len(measurements) > 1:
        return paired_tests(measurements, metrics=metric, baseline=baseline, confidence=confidence)
    return _table([], metric, [], 1 - confidence)


def _n_resamples(given: int | None, n_pairs: int, confidence: float, seed: int) -> int:
    """How many resamples to draw, after a check of all that says how."""
    check_fraction("confidence", confidence)
    check_at_least("seed", seed, 0, whole=True)
    if given is not None:
        # the smallest p-value is 1 / (n + 1), and corrected it must be able to reach the level
        check_at_least("n_resamples", given, max(100, math.ceil(n_pairs / (1 - confidence))), whole=True)
        return given
    return max(_RESAMPLES, round(_RESOLUTION * n_pairs / (1 - confidence)))


def _names(metrics: str | Sequence[str]) -> list[str]:
    wanted = parse_all(metrics)
    if overall := [metric.name for metric in wanted if not metric.per_user]:
        raise ParameterError(f"metrics: {', '.join(overall)} has no value of single users; leave it out")
    return [metric.name for metric in wanted]


def _pairs(results: Mapping[str, Any], baseline: str | None) -> list[Named]:
    if not isinstance(results, Mapping) or len(results) < 2:
        raise ParameterError(f"results must be a mapping with at least two models by name, got {shown(results)}")
    names = list(results)
    if not all(isinstance(name, str) and name for name in names):
        raise ParameterError(f"results: names are texts that are not empty, got {shown(names)}")
    if baseline is None:
        return list(combinations(names, 2))
    if not (isinstance(baseline, str) and baseline in names):
        raise ParameterError(f"baseline: {shown(baseline)} is not among the results{_suggested(baseline, names)}")
    return [(name, baseline) for name in names if name != baseline]


def _suggested(name: object, known: Iterable[str]) -> str:
    known = list(known)
    return nearest(name, known) or f"; there are: {', '.join(known)}"


def measured_alike(
    results: Mapping[str, Any], test: TableLike, names: list[str], *, exclude_seen: bool, progress: bool | None
) -> dict[str, Measurement]:
    """Measure models and tables on the same pairs of one test, and on all of its users."""
    trains = {id(x): x for x in (getattr(one, "interactions_", None) for one in results.values()) if x is not None}
    options: Any = {"exclude_seen": exclude_seen, "also_seen": list(trains.values()), "progress": progress}
    found: dict[str, Measurement] = {}
    for name, result in results.items():
        try:
            found[name] = measure(result, test, names, unknown_users="zero", **options)
        except CofactorError as error:
            raise type(error)(f"{name!r} could not be measured: {error}") from error
    if n_seen := max(one.n_seen for one in found.values()):
        n_pairs = next(iter(found.values())).n_pairs
        warn(
            f"{n_seen:,} of {n_pairs:,} test pairs were in the training data of a model and are left out for all; "
            "exclude_seen=False keeps them"
        )
    return found


def _as_measured(
    results: Mapping[str, Any], metrics: str | Sequence[str] | None
) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """Values per user that were measured before, and the metrics to test."""
    tables = {}
    for name, result in results.items():
        if hasattr(result, "recommend"):
            raise ParameterError(f"results: {name!r} is a model; pass test= to measure it")
        tables[name] = result.of_users if isinstance(result, Measurement) else _checked(name, result)
    shared = [c for c in next(iter(tables.values())).columns if all(c in table.columns for table in tables.values())]
    shared = [c for c in shared if c != "user_id" and all(t.schema[c].is_numeric() for t in tables.values())]
    wanted = shared if metrics is None else [metrics] if isinstance(metrics, str) else list(metrics)
    for metric in wanted:
        if metric not in shared:
            raise ParameterError(
                f"metrics: {shown(metric)} has no value of single users in all results{_suggested(metric, shared)}"
            )
    if not wanted:
        raise ParameterError("metrics: the results share no metric with a value of single users")
    return tables, list(dict.fromkeys(wanted))


def _checked(name: str, result: TableLike) -> pl.DataFrame:
    what = f"results[{name!r}]"
    table = read_table(result, ["user_id"], what)
    if "rank" in table.columns and "item_id" in table.columns:
        raise ParameterError(f"{what} is a table of recommendations; pass test= to measure it")
    if (n := table.height - table["user_id"].n_unique()) > 0:
        first = table.filter(table["user_id"].is_duplicated())["user_id"][0]
        raise DataError(f"{what}: {n} row(s) repeat a user, the first: {first!r}; one row a user is expected")
    return table


def _tested(
    tables: Mapping[str, pl.DataFrame], pairs: Sequence[Named], metric: str, resampling: Mapping[str, Any]
) -> pl.DataFrame:
    """The rows of one metric."""
    values = {name: table.select("user_id", value=pl.col(metric).cast(pl.Float64)) for name, table in tables.items()}
    first = next(iter(values.values()))["user_id"]
    if all(first.equals(table["user_id"]) for table in values.values()):
        columns = {name: table["value"].fill_null(np.nan).to_numpy() for name, table in values.items()}
        aligned = [columns[a] - columns[b] for a, b in pairs]
        n_users = [len(first)] * len(pairs)
    else:
        aligned, n_users = [], []
        for a, b in pairs:
            both = _joined(values, a, b)
            aligned.append(both)
            in_both = len(both)
            n_users.append(values[a].height + values[b].height - in_both)
    differences = [_valid(d) for d in aligned]
    _tell_left_out(pairs, differences, n_users, metric)
    statistics: list[tuple[float, ...]] = [()] * len(pairs)
    for length in sorted({len(d) for d in differences}):
        at = [i for i, d in enumerate(differences) if len(d) == length]
        means = paired_means(np.stack([differences[i] for i in at], axis=1), **resampling)
        for i, *row in zip(at, means.mean, means.low, means.high, means.p_value, strict=True):
            statistics[i] = (*map(float, row), wilcoxon_pratt(differences[i]), length)
    return _table(pairs, metric, statistics, 1 - resampling["confidence"])


def _joined(values: Mapping[str, pl.DataFrame], a: str, b: str) -> NDArray[np.float64]:
    """Differences of the users whom two results share, ascending by user."""
    try:
        both = values[a].join(values[b], on="user_id", suffix="_b").sort("user_id")
    except pl.exceptions.PolarsError:
        types = ", ".join(f"{values[name].schema['user_id']} in {name!r}" for name in (a, b))
        raise DataError(f"results: user_id is {types}; cast one to the other's type") from None
    difference: NDArray[np.float64] = (both["value"] - both["value_b"]).fill_null(np.nan).to_numpy()
    return difference


def _valid(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    valid = np.isfinite(differences)
    return differences if valid.all() else differences[valid]


def _tell_left_out(
    pairs: Sequence[Named], differences: Sequence[NDArray[np.float64]], n_users: Sequence[int], metric: str
) -> None:
    most, worst = 0, 0
    for i, ((a, b), d, of) in enumerate(zip(pairs, differences, n_users, strict=True)):
        if len(d) < 2:
            raise DataError(
                f"results: {a!r} and {b!r} share {len(d)} user(s) with a value of {metric}, and at least 2 are needed; "
                "were both measured on the same test?"
            )
        if of - len(d) > most:
            most, worst = of - len(d), i
    if most:
        a, b = pairs[worst]
        warn(
            f"{most:,} of {n_users[worst]:,} users have no value of {metric} in {a!r} or in {b!r} and are left "
            "out of their comparison" + (", as some are of other pairs" if len(pairs) > 1 else "")
        )


def _table(pairs: Sequence[Named], metric: str, statistics: Sequence[tuple[float, ...]], level: float) -> pl.DataFrame:
    schema = {"difference": pl.Float64, "low": pl.Float64, "high": pl.Float64, "p_value": pl.Float64}
    table = pl.DataFrame(statistics, {**schema, "p_wilcoxon": pl.Float64, "users": pl.Int64}, orient="row")
    corrected = pl.Series("p_holm", holm(table["p_value"].to_numpy()), pl.Float64)
    return table.select(
        pl.Series("model_a", [a for a, _ in pairs], pl.String),
        pl.Series("model_b", [b for _, b in pairs], pl.String),
        pl.Series("metric", [metric] * len(pairs), pl.String),
        *schema,
        corrected,
        "p_wilcoxon",
        "users",
        different=corrected <= level,
    )
