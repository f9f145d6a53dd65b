"""Search for the parameters of a model, on a part held out of its training data."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cofactor.checks import check_at_least, check_choice, check_flag, check_path, is_number, nearest, shown, warn
from cofactor.data.weights import duration
from cofactor.errors import ParameterError
from cofactor.evaluation.default_spaces import default_space
from cofactor.evaluation.fingerprint import fingerprint
from cofactor.evaluation.fit_options import as_fit_options, check_fit_options, told_of
from cofactor.evaluation.holdout import hold_out
from cofactor.evaluation.known import told_of_items
from cofactor.evaluation.search import METHODS, search_by
from cofactor.evaluation.spaces import Space, check_space, parse_space, sample
from cofactor.evaluation.study import Ledger, Study
from cofactor.evaluation.training import Training
from cofactor.evaluation.trials import Bench, run_trials
from cofactor.metrics import parse
from cofactor.metrics.errors import RatingError
from cofactor.models.base.model import Model
from cofactor.models.base.parameters import value_of, with_parameters
from cofactor.models.base.rating import RatingModel
from cofactor.system.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta
    from pathlib import Path

    from cofactor.data.aggregate import Weight
    from cofactor.data.events import Events
    from cofactor.data.interactions import Interactions
    from cofactor.data.ratings import Ratings
    from cofactor.data.tables import TableLike
    from cofactor.evaluation.holdout import Holdout, Valid
    from cofactor.evaluation.search import Search
    from cofactor.evaluation.spaces import Point
    from cofactor.metrics import Metric

__all__ = ["seconds_of", "tune"]

_TRIALS = 30  # where neither a number nor a time is given


def tune(
    model: Any,  # noqa: ANN401
    train: Events | Interactions | Ratings,
    *,
    metric: str | None = None,
    space: Mapping[str, Any] | None = None,
    method: str = "tpe",
    trials: int | None = None,
    budget: str | float | timedelta | None = None,
    valid: Valid = None,
    weight: Weight = None,
    fit_options: Mapping[str, Any] | None = None,
    exclude_seen: bool = True,
    item_features: TableLike | None = None,
    category: str | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Study:
    """Search for the parameters with which a model is best on a part held out of its training data.

    A trial that fails is kept with its error, and the search goes on. Ctrl-C ends it and keeps what it found.

    Parameters
    ----------
    model : model, its class, or a function of the parameters that makes one
    train : Events, Interactions or Ratings
    metric : str, optional
        As in ``evaluate``; by default ``rmse`` for models of ratings, else ``ndcg@10``.
    space : dict, optional
        By the name of a parameter (``Popular.by``: of a model inside another) a list of values, ``(lowest, highest)``
        (orders of magnitude from ten times the lowest on), or ``{"low": ..., "high": ..., "log": ...}``. By default
        what is worth trying of the model.
    method : {"tpe", "random", "grid"}
        "tpe" learns where good parameters lie, by Optuna (the extra ``tune``); its first trial, and that of "random",
        is the model as it was given. "grid" takes every combination, of ranges the ends and the middle.
    trials : int, optional
        At most, with those in the folder; by default all of a grid, or 30, or what the budget allows.
    budget : str, number or timedelta, optional
        Time for the search, such as "10m", or in seconds. No trial begins later, and where there is a result already,
        one that runs then is stopped at its next iteration.
    valid : optional
        What is held out: a time ("28d", a date) as in ``split.by_time``; a share of every user's items, such as 0.1; a
        Split of ``train``; or events or a table which are not in ``train``. By default the last tenth of the events
        where there are times, else a tenth of every user's items at random. At most 20,000 users are measured.
    weight, exclude_seen, item_features, category : as in ``Events.interactions``, as in ``evaluate``
    fit_options : dict, optional, of what ``fit`` takes besides: ``{"item_features": table}``
    folder : path, optional
        Keeps every trial as it ends. A search that was stopped, or killed, goes on from there.
    seed : int
        Of what is held out at random, and of the search; models have their own.
    progress : bool, optional

    Returns
    -------
    Study

    Raises
    ------
    ParameterError, ArtifactError, CofactorError
        Something is not understood, or not allowed by the model; the folder holds another study; no trial was measured.

    Examples
    --------
    >>> from cofactor import EASE, datasets
    >>> x = datasets.synthetic(n_users=200, n_items=50, n_interactions=2000, factors=4, seed=0)
    >>> model = tune(EASE, x, space={"regularization": [1.0, 10.0, 100.0]}, method="grid").refit()
    """
    deadline = math.inf if budget is None else time.perf_counter() + seconds_of("budget", budget)
    task = _Task.of(model, space, metric, seed, progress=progress, fit_options=as_fit_options(fit_options))
    options = task.options(exclude_seen, item_features, category)
    search, most = task.search(method, trials, budget, seed)
    data = hold_out(train, valid, weight=weight, rated=task.rated, seed=seed)
    study = Study(task.metric, task.space, data.told, task.build, Training(train, weight), options=options)
    study.fit_options = task.fit_options
    if folder is not None:
        study.keep_in(Ledger(check_path("folder", folder), task.facts(data, options)))
    bench = Bench(task.build, data, task.metric, options, fit_options=task.fit_options, deadline=deadline)
    _search(study, bench, search, first=None if method == "grid" else task.first, most=most, progress=progress)
    return study


def _search(
    study: Study, bench: Bench, search: Search, *, first: Point | None, most: float, progress: bool | None
) -> None:
    """Fill a study with trials."""
    before = list(study.records)
    total = None if most == math.inf else int(most)
    with progress_bar("tune", progress, total=total, initial=len(before)) as bar:
        try:
            for trial in run_trials(bench, search, before, first=first, most=most):
                study.add(trial)
                if study.best is not None:
                    bar.set_postfix(best=f"{study.best_value:.4f}", trial=study.best.number, refresh=False)
                bar.update()
        except KeyboardInterrupt:
            if study.best is None:
                raise
            study.interrupted = True
            warn(f"tune: stopped by Ctrl-C after {len(study.records)} trials; what they found is kept")
        finally:
            bench.tell()


@dataclass(frozen=True)
class _Task:
    """What is searched, checked."""

    name: str
    told: str
    build: Callable[[Point], Any]
    space: Space
    metric: Metric
    rated: bool
    first: Point | None  # the parameters that the model has itself
    fit_options: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        model: Any,  # noqa: ANN401
        space: Mapping[str, Any] | None,
        metric: str | None,
        seed: int,
        *,
        progress: bool | None,
        fit_options: Mapping[str, Any],
    ) -> _Task:
        check_at_least("seed", seed, 0, whole=True)
        if progress is not None:
            check_flag("progress", progress)
        base = _model_of(model)
        if space is None:
            if base is None:
                raise ParameterError("space: a function that makes models has none by default; name what to try")
            space = default_space(base)
        wanted = parse_space(space)
        build = _made_by(model) if base is None else lambda params: with_parameters(base, params)
        check_space(wanted, build, seed)
        probe = build(sample(wanted, [0.5] * len(wanted))) if base is None else base
        if not hasattr(probe, "fit"):
            raise ParameterError(f"model: the function must make a model, and makes {shown(probe)}")
        check_fit_options(probe, fit_options)
        rated = isinstance(probe, RatingModel)
        measured = parse(("rmse" if rated else "ndcg@10") if metric is None else metric)
        if isinstance(measured.kind, RatingError) and hasattr(probe, "predict") and not hasattr(probe, "rate"):
            raise ParameterError(
                f"metric: {measured.name} needs a model that predicts ratings; {type(probe).__name__} gives scores to "
                "rank by. Search by a metric of lists, such as ndcg@10"
            )
        name, told = type(probe).__name__, repr(base)
        if base is None:
            name = getattr(model, "__qualname__", type(model).__name__)
            told = f"{getattr(model, '__module__', '')}.{name}"
            if isinstance(probe, Model):  # whose parameters stand in its text
                told += f", such as {probe!r}"
        first = None if base is None else {name: value_of(base, name) for name in wanted}
        return cls(name, told, build, wanted, measured, rated, first, fit_options)

    def search(self, method: str, trials: int | None, budget: object, seed: int) -> tuple[Search, float]:
        """The search, and how many trials there will be at most."""
        check_choice("method", method, METHODS)
        if trials is not None:
            check_at_least("trials", trials, 1, whole=True)
        most: float = math.inf if trials is None else trials
        if method == "grid":
            most = min(most, math.prod(len(of.points()) for of in self.space.values()))
        elif trials is None and budget is None:
            most = _TRIALS
        known = None if most == math.inf else int(most)
        higher = self.metric.kind.higher_is_better
        return search_by(method, self.space, trials=known, seed=seed, maximize=higher), most

    def options(self, exclude_seen: bool, item_features: TableLike, category: str | None) -> dict[str, Any]:
        """How trials are measured, as ``evaluate`` takes it."""
        check_flag("exclude_seen", exclude_seen)
        features, _ = told_of_items([self.metric], item_features, category)
        return {"exclude_seen": exclude_seen, "item_features": features, "category": category}

    def facts(self, data: Holdout, options: Mapping[str, Any]) -> dict[str, Any]:
        """What two searches must share, so that one can go on with the trials of the other."""
        features, category = options["item_features"], options["category"]
        told: dict[str, Any] = {}
        if features is not None:
            told = {"features": fingerprint(None, [features]), "category": category}
        if self.fit_options:
            told["fit_options"] = told_of(self.fit_options)
        x = data.training.of(self.build(self.first or sample(self.space, [0.5] * len(self.space))))
        return {
            "model": self.told,
            "data": repr(x),
            "validation": data.told,
            "sha256 of both": data.fingerprint(x),
            "space": {name: of.described() for name, of in self.space.items()},
            "metric": self.metric.name,
            "exclude_seen": bool(options["exclude_seen"]),
            **told,
        }


def _model_of(model: Any) -> Model | None:  # noqa: ANN401
    """The model whose parameters are searched; None of a function that makes models."""
    if isinstance(model, Model):
        return model
    if isinstance(model, type) and issubclass(model, Model):
        try:
            return model()
        except TypeError as error:
            raise ParameterError(
                f"model: a {model.__name__} needs arguments ({error}); pass one made with them"
            ) from error
    if isinstance(model, str):
        hint = f"; pass cofactor.{model}" if model in Model.registry else nearest(model, Model.registry) or "."
        raise ParameterError(f"model must be a model or its class, not a name, got {model!r}{hint}")
    if not callable(model):
        raise ParameterError(f"model must be a model, its class, or a function that makes one, got {shown(model)}")
    return None


def _made_by(make: Any) -> Callable[[Point], Any]:  # noqa: ANN401
    def build(params: Point) -> Any:  # noqa: ANN401
        try:
            made = make(**params)
        except TypeError as error:
            raise ParameterError(f"model: it takes no such arguments: {error}") from error
        return with_parameters(made, {}) if isinstance(made, Model) else made

    return build


def seconds_of(name: str, budget: str | float | timedelta) -> float:
    """Read a length of time: a number of seconds, text such as "10m", or a timedelta.

    Raises
    ------
    ParameterError
        It is none of these, or not positive.
    """
    if is_number(budget):
        check_at_least(name, budget, 0, above=True)
        return float(budget)  # type: ignore[arg-type]
    return duration(name, budget).total_seconds()  # type: ignore[arg-type]
