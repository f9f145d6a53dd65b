"""Fit and measure models on every fold of a log."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.checks import check_flag, shown
from cofactor.data.split import Split, k_fold
from cofactor.errors import ParameterError
from cofactor.evaluation.entries import check_models, named
from cofactor.evaluation.fit_options import as_fit_options, check_fit_options, of_fold, options_by_name
from cofactor.evaluation.measure import DEFAULT_METRICS, measure
from cofactor.evaluation.training import Training
from cofactor.metrics import parse_all
from cofactor.models.base.epochs import part_of_more
from cofactor.models.base.rating import RatingModel
from cofactor.system.progress import progress_bar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.data.events import Events

__all__ = ["cross_validate"]

RATING_METRICS = ("rmse", "mae")


def cross_validate(
    models: Any,  # noqa: ANN401
    events: Events | None,
    folds: int | Sequence[Split] = 5,
    metrics: str | Sequence[str] | None = None,
    *,
    fit_options: Mapping[str, Any] | None = None,
    exclude_seen: bool = True,
    seed: int = 0,
    progress: bool | None = None,
) -> pl.DataFrame:
    """Fit models on all folds but one and measure them on that one, for each fold.

    Parameters
    ----------
    models : model, or dict of models by name
        Copies are fitted; these stay as they are.
    events : Events, or None where ``folds`` are splits
        Models of ratings are fitted on the ratings of a train side, others on its interactions.
    folds : int, or sequence of Split
        How many folds ``split.k_fold`` deals the events into, or splits that were made before.
    metrics : str or sequence of str, optional
        As in ``evaluate``. By default ``rmse`` and ``mae`` where all models are of ratings.
    fit_options : dict, optional
        What ``fit`` takes besides, of a single model as in ``tune``, of a dict of models by their names as in
        ``compare``. In the place of a table a function may stand, which is given the train side of each fold and makes
        one: for features that tell of events, and must not tell of those held out.
    exclude_seen : bool
        As in ``evaluate``.
    seed : int
        Of the folds.
    progress : bool, optional
        Show one bar over all models and folds; by default in a terminal and in a notebook.

    Returns
    -------
    DataFrame
        One row per model and metric: ``model``, ``metric``, ``mean`` and ``std`` over the folds (the standard deviation
        of single folds, null of one), ``fold_1`` and so on, and ``fit_seconds``, the mean time of a fit.

    Raises
    ------
    ParameterError
        There is no model, no fold, no such metric or no such option of ``fit``; or events are given and folds too, or
        neither.
    CofactorError
        Of the type of the model's error, naming the model.

    Examples
    --------
    >>> import cofactor as cf
    >>> rated = pl.DataFrame({"u": [1, 1, 2, 2, 3, 3], "i": [1, 2, 1, 2, 1, 2], "r": [1, 5, 2, 4, 1, 3]})
    >>> events = cf.read_events(rated, user="u", item="i", rating="r")
    >>> cross_validate(cf.GlobalMean(), events, folds=3).columns
    ['model', 'metric', 'mean', 'std', 'fold_1', 'fold_2', 'fold_3', 'fit_seconds']
    """
    several = isinstance(models, Mapping)
    named_models = models if several else {type(models).__name__: models}
    check_models(named_models)
    options = _options(fit_options, named_models, several=several)
    check_flag("exclude_seen", exclude_seen)
    if progress is not None:
        check_flag("progress", progress)
    of_ratings = all(isinstance(model, RatingModel) for model in named_models.values())
    wanted = (RATING_METRICS if of_ratings else DEFAULT_METRICS) if metrics is None else metrics
    names = [metric.name for metric in parse_all(wanted)]
    splits = _splits(events, folds, seed)
    values, seconds = _measured(
        named_models, splits, names, options=options, exclude_seen=exclude_seen, progress=progress
    )
    return _table(list(named_models), names, values, seconds)


def _measured(
    models: Mapping[str, Any],
    splits: list[Split],
    metrics: list[str],
    *,
    options: Mapping[str, Mapping[str, Any]],
    exclude_seen: bool,
    progress: bool | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values, (n_models, n_metrics, n_folds), and seconds of the fits, (n_models, n_folds)."""
    values = np.zeros((len(models), len(metrics), len(splits)))
    seconds = np.zeros((len(models), len(splits)))
    with progress_bar("cross_validate", progress, total=seconds.size) as bar:
        for fold, split in enumerate(splits):
            training = Training(split.train)
            for row, (name, model) in enumerate(models.items()):
                bar.set_postfix(fold=fold + 1, model=name, refresh=True)
                fitted = deepcopy(model)
                with named(name, "fit"), part_of_more():
                    data, given = training.of(fitted), of_fold(options.get(name, {}), split.train)
                    start = time.perf_counter()
                    fitted.fit(data, progress=False, **given)
                    seconds[row, fold] = time.perf_counter() - start
                with named(name, "evaluate"):
                    found = measure(fitted, split.test, metrics, exclude_seen=exclude_seen, progress=False)
                values[row, :, fold] = found.summary(n_bootstrap=0)["value"].to_numpy()
                bar.update()
    return values, seconds


def _options(given: Any, models: Mapping[str, Any], *, several: bool) -> dict[str, dict[str, Any]]:  # noqa: ANN401
    """What each model is fitted with besides, checked."""
    if several:
        options = options_by_name(given, models, made=True)
    else:
        options = {name: as_fit_options(given, made=True) for name in models}
    for name, of in options.items():
        check_fit_options(models[name], of, f"fit_options of {name!r}" if several else "fit_options")
    return options


def _splits(events: Events | None, folds: int | Sequence[Split], seed: int) -> list[Split]:
    if isinstance(folds, Sequence):
        if not folds or not all(isinstance(one, Split) for one in folds):
            raise ParameterError(f"folds must be a number, or splits as of split.k_fold, got {shown(folds)}")
        if events is not None:
            raise ParameterError("events: the folds hold theirs; pass events=None, or a number of folds")
        return list(folds)
    if not hasattr(events, "interactions"):
        raise ParameterError(f"events must be Events, or None where folds are splits, got {shown(events)}")
    try:
        return k_fold(events, folds, seed)  # type: ignore[arg-type]
    except ParameterError as error:
        raise ParameterError(f"folds: {error}") from error


def _table(models: list[str], metrics: list[str], values: Any, seconds: Any) -> pl.DataFrame:  # noqa: ANN401
    several = values.shape[2] > 1
    rows = [
        {
            "model": model,
            "metric": metric,
            "mean": of.mean(),
            "std": of.std(ddof=1) if several else None,
            **{f"fold_{n}": value for n, value in enumerate(of, 1)},
            "fit_seconds": times.mean(),
        }
        for model, table, times in zip(models, values, seconds, strict=True)
        for metric, of in zip(metrics, table, strict=True)
    ]
    return pl.DataFrame(rows, schema_overrides={"std": pl.Float64})
