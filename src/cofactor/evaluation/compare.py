"""Fit several models on one split and rank them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl

from cofactor.checks import check_flag
from cofactor.errors import CofactorError, ParameterError
from cofactor.evaluation.measure import DEFAULT_METRICS, measure, warn_of_empty, warn_of_seen
from cofactor.evaluation.training import Training
from cofactor.metrics import parse_all

if TYPE_CHECKING:
    from cofactor.data.aggregate import Weight
    from cofactor.data.events import Events
    from cofactor.data.interactions import Interactions
    from cofactor.data.ratings import Ratings
    from cofactor.data.tables import TableLike
    from cofactor.data.user_items import UserItems
    from cofactor.evaluation.measure import Measurement

__all__ = ["check_models", "compare", "named"]


def compare(
    models: Mapping[str, Any],
    train: Events | Interactions | Ratings | None,
    test: TableLike,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    weight: Weight = None,
    exclude_seen: bool = True,
    candidates: TableLike | None = None,
    intervals: bool = False,
    progress: bool | None = None,
) -> pl.DataFrame:
    """Fit every model on the same data, measure it, and give a leaderboard.

    Parameters
    ----------
    models : dict
        Models by the name they get in the leaderboard. All are fitted, also those that were before, and are left
        fitted on ``train``.
    train : Events, Interactions, Ratings or None
        Events become interactions once, for all models, and ratings once, for models of ratings. None measures the
        models as they were fitted before, for a second leaderboard of the same models; it has no ``fit_seconds``.
    test : Events, Interactions, Ratings, or table with ``user_id`` and ``item_id``
    metrics : str or sequence of str
        As in ``evaluate``; the first decides the order.
    weight : polars expression, optional
        Weight of a (user, item) in training, as in ``Events.interactions``.
    exclude_seen, candidates : as in ``evaluate``
    intervals : bool
        Whether every metric is followed by ``<metric>_low`` and ``<metric>_high``, its 95 % interval.
    progress : bool, optional
        Passed on to ``fit`` and ``evaluate``; their own defaults if left out.

    Returns
    -------
    DataFrame
        One row per model, the best in the first metric on top: ``model``, the metrics, ``fit_seconds``, and
        ``recommend_seconds`` spent on making the lists, or on scoring the candidates.

    Raises
    ------
    ParameterError
        No model, a name that is not a non-empty text, an unknown metric, or a weight without events to weigh.
    CofactorError
        Of the type of the model's error, naming the model. Other errors pass, with a note that names it.

    Warns
    -----
    CofactorWarning
        As ``evaluate``, each once for all models: of seen pairs after the first model, of empty lists at the end.
    """
    wanted = parse_all(metrics)
    names = [metric.name for metric in wanted]
    check_models(models)
    _check_flags(exclude_seen=exclude_seen, intervals=intervals, progress=False if progress is None else progress)
    training = Training(train, weight)
    also_seen = _seen_by_others(models) if train is None else []
    options: Any = {"exclude_seen": exclude_seen, "candidates": candidates, "also_seen": also_seen}
    rows, told, empty = [], False, []
    for name, model in models.items():
        seconds: dict[str, float] = {}
        if train is not None:
            with named(name, "fit"):
                data = training.of(model)
                start = time.perf_counter()
                model.fit(data, **({} if progress is None else {"progress": progress}))
                seconds["fit_seconds"] = time.perf_counter() - start
        with named(name, "evaluate"):
            found = measure(model, test, names, progress=progress, **options)
        told = told or warn_of_seen(found)
        if found.empty:
            empty.append(name)
        values = _values(found, intervals=intervals)
        rows.append({"model": name, **values, **seconds, "recommend_seconds": found.recommend_seconds})
    if empty:
        warn_of_empty(empty, exclude_seen=exclude_seen)
    schema = {column: pl.String if column == "model" else pl.Float64 for column in rows[0]}
    return pl.DataFrame(rows, schema=schema).sort(
        names[0], descending=wanted[0].kind.higher_is_better, maintain_order=True
    )


def check_models(models: Mapping[str, Any]) -> None:
    """Raise ParameterError unless there are models, each an object of its own with a name."""
    if not isinstance(models, Mapping):
        raise ParameterError(f"models: a dict of models by name is expected, got {type(models).__name__}")
    if not models:
        raise ParameterError("models: there is none; pass at least one, such as {'popular': Popular()}")
    for name, model in models.items():
        if not (isinstance(name, str) and name):
            raise ParameterError(f"models: names are texts that are not empty, got {name!r}")
        if isinstance(model, type) or not (hasattr(model, "fit") and hasattr(model, "recommend")):
            raise ParameterError(f"models: {name!r} is not a model but {model!r}")
    if len({id(model) for model in models.values()}) < len(models):
        raise ParameterError("models: one object is there under two names; make a second one")


def _seen_by_others(models: Mapping[str, Any]) -> list[UserItems]:
    """What models that were fitted before have seen: all are measured on what is new to all of them."""
    fitted = [getattr(model, "interactions_", None) for model in models.values()]
    return list({id(x): x for x in fitted if x is not None}.values())


def _check_flags(**flags: bool) -> None:
    for name, value in flags.items():
        check_flag(name, value)


def _values(found: Measurement, *, intervals: bool) -> dict[str, float]:
    """The cells of the metrics, by column."""
    row = {}
    for metric, value, low, high, *_ in found.summary(n_bootstrap=1000 if intervals else 0).iter_rows():
        row[metric] = value
        if intervals:
            row |= {f"{metric}_low": low, f"{metric}_high": high}
    return row


@contextmanager
def named(name: str, task: str) -> Iterator[None]:
    """Name the model in the errors of a task."""
    try:
        yield
    except CofactorError as error:
        raise type(error)(f"model {name!r} failed to {task}: {error}") from error
    except Exception as error:
        error.add_note(f"this happened when compare wanted model {name!r} to {task}")
        raise
