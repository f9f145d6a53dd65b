"""From a log to a fitted model: the families in the order of ``docs/choosing-a-model.md``, the promising ones tuned."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from cofactor.checks import check_at_least, check_flag, warn
from cofactor.errors import CofactorError, ParameterError
from cofactor.evaluation.default_spaces import default_space
from cofactor.evaluation.fit_options import as_fit_options, check_fit_options
from cofactor.evaluation.holdout import hold_out
from cofactor.evaluation.readings import note_choice
from cofactor.evaluation.search import Trial, search_by
from cofactor.evaluation.spaces import parse_space
from cofactor.evaluation.study import best_of
from cofactor.evaluation.training import Training
from cofactor.evaluation.trials import Bench, run_trials
from cofactor.evaluation.tune import seconds_of
from cofactor.evaluation.unseen import unseen
from cofactor.metrics import parse
from cofactor.metrics.errors import RatingError
from cofactor.models import (
    EASE,
    SLIM,
    BayesianMF,
    BiasedMF,
    BiasOnly,
    FactorizationMachine,
    Fallback,
    GraphFilter,
    ImplicitALS,
    ItemKNN,
    NextBasket,
    PersonalPopular,
    Popular,
    Repurchase,
    SampledMF,
)
from cofactor.models.base.parameters import value_of, with_parameters
from cofactor.system.progress import progress_bar
from cofactor.system.views import Row, View, Viewed, ViewTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from cofactor.data.aggregate import Weight
    from cofactor.data.events import Events
    from cofactor.data.interactions import Interactions
    from cofactor.data.ratings import Ratings
    from cofactor.evaluation.holdout import Holdout, Valid
    from cofactor.evaluation.spaces import Point
    from cofactor.metrics import Metric
    from cofactor.models import Recommender

__all__ = ["BestModel", "best_model"]

_REPEATS = 0.1  # of the held-out pairs: from here on lists may repeat what a user had
_MODERATE = 50_000  # items, or users, up to which a matrix of all pairs of them is at hand
_FIRST_PART = 0.4  # of the time, for trying every family once
_TUNED = 3  # of the families
_FOR_THE_END = 1.5  # times the seconds of a trial, for fitting the winner on everything


@dataclass(frozen=True, eq=False, repr=False)
class BestModel(Viewed):
    """What was best, and what else was tried.

    Parameters
    ----------
    model : fitted model
        On everything.
    name : str
        Of its family in the leaderboard.
    leaderboard : DataFrame
        A row per family, the best on top: ``model``, the metric (the best value of its trials), ``trials``,
        ``seconds`` of all of them, ``parameters`` (of the best) and ``error`` (why there is no value).
    metric, validation : str
        What was measured, and on what.
    exclude_seen : bool
        Whether lists without what a user had were asked for.
    """

    model: Recommender
    name: str
    leaderboard: pl.DataFrame
    metric: str
    validation: str
    exclude_seen: bool

    def _view(self) -> View:
        value, best = self.leaderboard[self.metric], repr(self.model)
        facts = {"validation": self.validation, "lists": "new items only" if self.exclude_seen else "may repeat"}
        rows = [
            Row((name, "" if one is None else f"{one:.4f}", str(trials)), strong=name == self.name)
            for name, one, trials in zip(self.leaderboard["model"], value, self.leaderboard["trials"], strict=True)
        ]
        table = ViewTable("families", ("model", self.metric, "trials"), rows)
        return View("BestModel", f"{self.metric} {value[0]:.4f}", {"model": best, **facts}, [table])

    def __repr__(self) -> str:
        value = self.leaderboard[self.metric][0]
        repeats = "" if self.exclude_seen else ", repeats allowed"
        return f"BestModel({self.model!r}; {self.metric} {value:.4f}{repeats}; validation: {self.validation})"


def best_model(
    events: Events | Interactions | Ratings,
    budget: str | float | timedelta = "10m",
    *,
    metric: str = "ndcg@10",
    valid: Valid = None,
    weight: Weight = None,
    fit_options: Mapping[str, Any] | None = None,
    exclude_seen: bool | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> BestModel:
    """Try what suits a log, tune the promising models, and fit the best one on everything.

    The families, and their order, are those of ``docs/choosing-a-model.md``. All are measured on the same part of the
    log, held out once. Two fifths of the time are for trying each as it comes, the rest, but for the last fit, for the
    parameters of the best three.

    Parameters
    ----------
    events : Events, Interactions or Ratings
        Without what the result is to be tested on.
    budget : str, number or timedelta
        Such as "10m", or in seconds. A fit that tells no steps is not stopped in the middle. Ctrl-C ends the search
        too, where a model was measured; the best so far is fitted.
    metric : str
        As in ``evaluate``; with ``rmse`` and other errors of ratings, models of ratings are tried.
    valid, weight : as in ``tune``
    fit_options : dict, optional
        What ``fit`` takes besides, as ``{"item_features": table}``: with it a family that learns from it is tried,
        ``SampledMF``, or of ratings ``FactorizationMachine``.
    exclude_seen : bool, optional
        As in ``evaluate``; by default False where more than a tenth of the held-out pairs were there before.
    seed : int
        Of what is held out at random, and of the search.
    progress : bool, optional

    Raises
    ------
    ParameterError
        A parameter is not understood.
    CofactorError
        No model could be measured.

    Examples
    --------
    >>> import cofactor as cf
    >>> x = cf.datasets.synthetic(n_users=200, n_items=50, n_interactions=2000, factors=4, seed=0)
    >>> lists = cf.best_model(x, budget="1s").model.recommend(k=5)
    """
    started, seconds = time.perf_counter(), seconds_of("budget", budget)
    measured = _metric(metric)
    check_at_least("seed", seed, 0, whole=True)
    for name, flag in (("exclude_seen", exclude_seen), ("progress", progress)):
        if flag is not None:
            check_flag(name, flag)
    rated = isinstance(measured.kind, RatingError)
    featured = _featured(fit_options, rated=rated)
    data = hold_out(events, valid, weight=weight, rated=rated, seed=seed, name="events")
    new_only = _asks_for_new(data, rated=rated) if exclude_seen is None else exclude_seen
    contest = _Contest(data, measured, new_only, started + _FIRST_PART * seconds, seed=seed, featured=featured)
    families = _families(data, {name: model for name, (model, _) in featured.items()}, rated=rated, new_only=new_only)
    with progress_bar("best_model", progress, total=len(families) + _TUNED) as bar:
        try:
            contest.try_each(families, bar)
            contest.tune(started + seconds, bar)
        except KeyboardInterrupt:
            if not contest.has_result:
                raise
            warn("best_model: stopped by Ctrl-C; the best so far is fitted on everything")
    name, model = contest.winner()
    whole = Training(events, weight)
    given: Any = whole.of(model)
    note_choice(model, f"{data.told}: the best {measured.name} of {len(families)} families")
    model.fit(given, progress=False, **contest.fit_options(name))
    return BestModel(model, name, contest.leaderboard(), measured.name, data.told, new_only)


def _metric(name: str) -> Metric:
    """The metric of a name, one that needs no features."""
    metric = parse(name)
    if metric.needs.categories:
        raise ParameterError(
            f"metric: {metric.name} needs item_features=, which best_model does not take; choose by ndcg@10 or "
            "another of what is found, and measure this one afterwards"
        )
    return metric


def _asks_for_new(data: Holdout, *, rated: bool) -> bool:
    """Whether hardly any held-out pair was there before."""
    if rated:
        return True
    pairs = data.valid.select("user_id", "item_id")
    return unseen(pairs, data.training.any).height >= (1 - _REPEATS) * pairs.height


def _families(
    data: Holdout, featured: Mapping[str, Recommender], *, rated: bool, new_only: bool
) -> dict[str, Recommender]:
    """What suits the data, the quick ones first, and before the others what learns from features that were given."""
    x, log = data.training.any, data.training.events
    timed = log is not None and log.time is not None
    if rated:
        return {"biases": BiasOnly(), **featured, "BiasedMF": BiasedMF(), "BayesianMF": BayesianMF()}
    moderate = min(x.n_users, x.n_items) <= _MODERATE
    recent = {"popular of late": Popular(window="7d")} if timed else {}
    collaborative: dict[str, Recommender] = {
        "ItemKNN": ItemKNN(),
        **({"EASE": EASE()} if moderate else {}),
        "ImplicitALS": ImplicitALS(),
        **({"GraphFilter": GraphFilter()} if moderate else {}),
        **({"SLIM": SLIM(neighbours=50)} if x.n_items <= _MODERATE else {}),
    }
    if new_only:
        return {"popular": Popular(), **recent, **featured, **collaborative}
    history: dict[str, Recommender] = {"history": Fallback(PersonalPopular(), Popular())}
    slow: dict[str, Recommender] = {}
    if timed:
        history["history of late"] = Fallback(PersonalPopular(half_life="90d"), Popular(window="7d"))
        history["NextBasket"] = Fallback(NextBasket(), Popular(window="7d"))
        slow["Repurchase"] = Fallback(Repurchase(), Popular(window="7d"))  # whose fit tells no steps to stop at
    del collaborative["ItemKNN"]  # which never scores an item by itself, and is out of place where items come again
    return {"popular": Popular(), **history, **featured, **collaborative, **slow}


def _featured(given: Mapping[str, Any] | None, *, rated: bool) -> dict[str, tuple[Recommender, dict[str, Any]]]:
    """The family that is fitted with what is given besides, where there is anything."""
    options = as_fit_options(given)
    model: Recommender = FactorizationMachine() if rated else SampledMF()
    check_fit_options(model, options)
    return {f"{type(model).__name__} with features": (model, options)} if options else {}


class _Contest:
    """Families, and their trials on the same data."""

    def __init__(
        self,
        data: Holdout,
        metric: Metric,
        exclude_seen: bool,
        first_deadline: float,
        *,
        seed: int,
        featured: Mapping[str, tuple[Recommender, dict[str, Any]]],
    ) -> None:
        self._data, self._metric, self._exclude_seen = data, metric, exclude_seen
        self._first_deadline, self._seed, self._featured = first_deadline, seed, featured
        self._models: dict[str, Recommender] = {}
        self._trials: dict[str, list[Trial]] = {}

    def try_each(self, families: dict[str, Recommender], bar: Any) -> None:  # noqa: ANN401
        """Measure every family once, as far as the time reaches."""
        bench: Bench | None = None
        for name, model in families.items():
            every = [trial for trials in self._trials.values() for trial in trials]
            self._models[name] = model
            if best_of(every, self._metric) is not None and time.perf_counter() > self._first_deadline:
                self._trials[name] = [Trial(0, {}, "stopped", error="the budget was used up before")]
                continue
            space = self._space(name)
            bench = self._bench(name, self._first_deadline)
            without_curves = [Trial(0, {}, one.state, one.value) for one in every]
            self._trials[name] = [bench.run(0, {key: value_of(model, key) for key in space}, without_curves)]
            bench.tell()
            self._show(bar)

    def tune(self, end: float, bar: Any) -> None:  # noqa: ANN401
        """Search for the parameters of the best families, each in its share of the time that is left."""
        names = [name for name in self._ranked() if self._space(name)][:_TUNED]
        for at, name in enumerate(names):
            space, trials = parse_space(self._space(name)), self._trials[name]
            slowest = max(self._trials[one][0].seconds for one in names[: at + 1])
            now = time.perf_counter()
            deadline = now + (end - _FOR_THE_END * slowest - now) / (len(names) - at)
            bench = self._bench(name, deadline)
            search = search_by(
                _method(), space, trials=None, seed=self._seed, maximize=self._metric.kind.higher_is_better
            )
            for _ in run_trials(bench, search, trials, most=math.inf):
                self._show(bar, step=0)
            bench.tell()
            bar.update()

    @property
    def has_result(self) -> bool:
        """Whether a family was measured."""
        return bool(self._ranked())

    def fit_options(self, name: str) -> dict[str, Any]:
        """What a family is fitted with besides."""
        return self._featured[name][1] if name in self._featured else {}

    def winner(self) -> tuple[str, Recommender]:
        """The best family, and its model with the best parameters, not fitted."""
        ranked = self._ranked()
        if not ranked:
            first = next(trials[0].error for trials in self._trials.values())
            raise CofactorError(f"none of {', '.join(self._trials)} could be measured, the first: {first}")
        best = best_of(self._trials[ranked[0]], self._metric)
        assert best is not None
        return ranked[0], with_parameters(self._models[ranked[0]], best.params)

    def leaderboard(self) -> pl.DataFrame:
        """A row per family."""
        ranked = self._ranked()
        rows = []
        for name in [*ranked, *(name for name in self._trials if name not in ranked)]:
            trials, best = self._trials[name], best_of(self._trials[name], self._metric)
            model = self._models[name] if best is None else with_parameters(self._models[name], best.params)
            n_run = sum(trial.state != "stopped" for trial in trials)
            row = {"model": name, self._metric.name: None if best is None else best.value, "trials": n_run}
            seconds = sum(trial.seconds for trial in trials)
            error = trials[0].error if best is None else None
            rows.append({**row, "seconds": seconds, "parameters": repr(model), "error": error})
        types = {"error": pl.String, self._metric.name: pl.Float64, "trials": pl.Int64}
        return pl.DataFrame(rows, schema_overrides=types)

    def _ranked(self) -> list[str]:
        best = {name: best_of(trials, self._metric) for name, trials in self._trials.items()}
        sign = -1 if self._metric.kind.higher_is_better else 1
        values = {name: sign * one.value for name, one in best.items() if one is not None and one.value is not None}
        return sorted(values, key=lambda name: values[name])

    def _space(self, name: str) -> dict[str, Any]:
        try:
            return default_space(self._models[name])
        except ParameterError:
            return {}

    def _bench(self, name: str, deadline: float) -> Bench:
        return Bench(
            _builder(self._models[name]),
            self._data,
            self._metric,
            {"exclude_seen": self._exclude_seen},
            fit_options=self.fit_options(name),
            deadline=deadline,
        )

    def _show(self, bar: Any, *, step: int = 1) -> None:  # noqa: ANN401
        if ranked := self._ranked():
            best = best_of(self._trials[ranked[0]], self._metric)
            assert best is not None
            bar.set_postfix(best=f"{best.value:.4f}", model=ranked[0], refresh=False)
        bar.update(step)


def _builder(model: Recommender) -> Callable[[Point], Recommender]:
    return lambda params: with_parameters(model, params)


def _method() -> str:
    """TPE where Optuna is installed."""
    from importlib.util import find_spec

    return "random" if find_spec("optuna") is None else "tpe"
