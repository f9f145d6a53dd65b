"""The trials of a search: fitted, measured, given up where they are hopeless, and kept."""

from __future__ import annotations

import inspect
import math
import time
import warnings
from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.checks import in_line, warn
from cofactor.errors import CofactorError, CofactorWarning
from cofactor.evaluation.measure import measure
from cofactor.evaluation.search import ITERATIONS, Trial
from cofactor.models.base.epochs import watched
from cofactor.models.base.parameters import with_parameters
from cofactor.models.factors.als import ImplicitALS
from cofactor.models.factors.als_defaults import EXACT_UP_TO
from cofactor.system.progress import at_every_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cofactor.evaluation.holdout import Holdout
    from cofactor.evaluation.search import Search
    from cofactor.evaluation.spaces import Point
    from cofactor.metrics import Metric

    Running = Callable[..., Iterator[Trial]]

__all__ = ["Bench", "run_trials", "trials_run_by"]

_MOST_FAILURES = 20  # one after the other, after which there is nothing to be hoped for
_FEW_CURVES, _FIRST_EPOCHS = 4, 2  # before which no trial is hopeless
_SCORED_USERS = 5000  # whose held-out pairs a model stops by
_RUN: ContextVar[Running | None] = ContextVar("trials_run_by", default=None)


class _GivenUpError(Exception):
    """Ends a fit."""


class _HopelessError(_GivenUpError):
    pass


class _OutOfTimeError(_GivenUpError):
    pass


class Bench:
    """Fits and measures models on the same data.

    Parameters
    ----------
    build : callable
        Makes a model of parameters.
    data : Holdout
    metric : Metric
    options : mapping
        ``exclude_seen`` and others, as in ``evaluate``.
    fit_options : mapping, optional
        What ``fit`` takes beside the training data.
    deadline : float
        As ``time.perf_counter`` tells time.

    Attributes
    ----------
    warnings : Counter
        What the trials warned of, and in how many of them, until it is told.
    """

    def __init__(
        self,
        build: Callable[[Point], Any],
        data: Holdout,
        metric: Metric,
        options: Mapping[str, Any],
        *,
        fit_options: Mapping[str, Any] | None = None,
        deadline: float = math.inf,
    ) -> None:
        self._build, self._data, self._metric = build, data, metric
        self._options, self._fit_options = options, fit_options or {}
        self.deadline = deadline
        self.warnings: Counter[str] = Counter()
        self._to_stop_by: pl.DataFrame | None = None
        self._last: tuple[ImplicitALS, int] | None = None  # and how many iterations it has had

    def run(self, number: int, params: Point, before: list[Trial]) -> Trial:
        """Fit and measure once, whatever comes of it.

        Parameters
        ----------
        number : int
        params : dict
        before : list of Trial
            Of the same search: what a hopeless trial is told by. Where one is complete the deadline counts.
        """
        started, scores = time.perf_counter(), []
        curves = [trial.scores for trial in before if trial.state == "complete" and trial.scores]
        measured = any(trial.state == "complete" for trial in before)

        def watch(epoch: int, score: float) -> None:
            scores.append(score)
            if epoch > _FIRST_EPOCHS and len(curves) >= _FEW_CURVES:
                usual = float(np.median([max(curve[:epoch]) for curve in curves]))
                if max(scores) < usual:
                    raise _HopelessError(
                        f"its score after epoch {epoch} is {max(scores):.4g}, the usual one {usual:.4g}"
                    )

        def check_time() -> None:
            if measured and time.perf_counter() > self.deadline:
                raise _OutOfTimeError("the budget is used up")

        def ended(state: Any, error: str | None, value: float | None = None, used: Point | None = None) -> Trial:  # noqa: ANN401
            seconds = time.perf_counter() - started
            return Trial(number, params, state, value, seconds, error, tuple(scores), used or {})

        try:
            with self._collected(), at_every_step(check_time), watched(watch):
                model = self._fitted(params)
                found = measure(model, self._data.valid, self._metric.name, progress=False, **self._options)
            value = found.summary(n_bootstrap=0)["value"].item()
        except _HopelessError as reason:
            return ended("pruned", str(reason))
        except _OutOfTimeError as reason:
            return ended("stopped", str(reason))
        except Exception as error:  # whatever it is, the search goes on
            return ended("failed", in_line(error))
        if value is None or not math.isfinite(value):
            return ended("failed", f"{self._metric.name} is {value}")
        return ended("complete", None, value, _used(model, params))

    def tell(self) -> None:
        """Give the warnings of all trials, each once."""
        for text, n in self.warnings.items():
            warn(f"{text} (in {n} trials)" if n > 1 else text)
        self.warnings.clear()

    def _fitted(self, params: Point) -> Any:  # noqa: ANN401
        model = self._build(params)
        data = self._data.training.of(model)
        options: dict[str, Any] = {**self._fit_options, "progress": False}
        names = inspect.signature(model.fit).parameters
        if "held_out" in names and self._options["exclude_seen"] and getattr(model, "epochs", None) is None:
            if self._to_stop_by is None:
                self._to_stop_by = _new_pairs(self._data.valid, data)
            if self._to_stop_by.height:
                options["held_out"] = self._to_stop_by
        if type(model) is not ImplicitALS:
            model.fit(data, **options)
            return model
        done, wanted, total = self._last, model, model.iterations
        self._last = None  # nothing is kept of a fit that fails
        if done is not None and _goes_on(*done, wanted):
            model = with_parameters(wanted, {ITERATIONS: total - done[1]})
            options["warm_start"] = done[0]
        model.fit(data, **options)
        self._last = (model, total) if _is_exact(model) else None
        return model

    @contextmanager
    def _collected(self) -> Iterator[None]:
        """Count the library's warnings instead of giving them at once, once for every trial."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CofactorWarning)
            yield
        for one in caught:
            if issubclass(one.category, CofactorWarning):
                self.warnings[str(one.message)] += 1
            else:
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def run_trials(
    bench: Bench,
    search: Search,
    trials: list[Trial],
    *,
    first: Point | None = None,
    most: float = math.inf,
) -> Iterator[Trial]:
    """Run trials until the search, their number or the time is at its end; each is appended to ``trials``, and given.

    Parameters
    ----------
    bench : Bench
    search : Search
    trials : list of Trial
        Those that were run before.
    first : dict, optional
        The parameters of the first one.
    most : float
        How many at most, with those before.

    Raises
    ------
    CofactorError
        Many failed one after the other and none was measured.
    """
    run = _RUN.get() or _one_by_one
    for trial in run(bench, search, trials, first=first, most=most):
        trials.append(trial)
        yield trial
        if trial.state == "stopped":
            return
        if len(trials) >= _MOST_FAILURES and all(one.state == "failed" for one in trials[-_MOST_FAILURES:]):
            break
    if trials and all(trial.state == "failed" for trial in trials):
        raise CofactorError(f"all {len(trials)} trials failed, the first with {trials[0].error}")


def _one_by_one(
    bench: Bench, search: Search, trials: list[Trial], *, first: Point | None, most: float
) -> Iterator[Trial]:
    while len(trials) < most and not (trials and time.perf_counter() > bench.deadline):
        number = len(trials)
        params = first if number == 0 and first is not None else search.propose(number, trials)
        if params is None:
            return
        yield bench.run(number, params, trials)


@contextmanager
def trials_run_by(run: Running) -> Iterator[None]:
    """Let a function run the trials of every search in the block, in the place of one after the other here.

    It takes what :func:`run_trials` takes and gives the trials in the order of their numbers; each is in ``trials``
    when the next one is asked for.
    """
    token = _RUN.set(run)
    try:
        yield
    finally:
        _RUN.reset(token)


def _goes_on(before: ImplicitALS, iterations: int, wanted: ImplicitALS) -> bool:
    """Whether an exact fit, of so many iterations, is the beginning of another one: all else is the same."""
    exact = before.solver == "cholesky" or (before.solver == "auto" and before.factors_ <= EXACT_UP_TO)
    old, new = before.params(), wanted.params()
    return (
        exact and iterations < wanted.iterations and all(old[name] == new[name] for name in new if name != ITERATIONS)
    )


def _is_exact(model: ImplicitALS) -> bool:
    """Whether a fit that is continued ends where one fit would have."""
    return model.solver == "cholesky" or (model.solver == "auto" and model.factors_ <= EXACT_UP_TO)


def _used(model: object, params: Point) -> Point:
    """What a model took in the place of None."""
    return {
        name: getattr(model, f"{name}_")
        for name, value in params.items()
        if value is None and isinstance(getattr(model, f"{name}_", None), int | float | np.number)
    }


def _new_pairs(valid: pl.DataFrame, data: Any) -> pl.DataFrame:  # noqa: ANN401
    """Held-out pairs of known users and items that are not trained on, of some of the users."""
    users, items = data.users.rows(valid["user_id"]), data.items.rows(valid["item_id"])
    known = (users >= 0) & (items >= 0)
    known[known] = ~data.user_items.contains(users[known], items[known])
    pairs = valid.select("user_id", "item_id").filter(pl.Series(known))
    ids = pairs["user_id"].unique().sort()
    if len(ids) > _SCORED_USERS:
        some = np.sort(np.random.default_rng(0).choice(len(ids), _SCORED_USERS, replace=False))
        pairs = pairs.filter(pl.col("user_id").is_in(ids.gather(some).implode()))
    return pairs
