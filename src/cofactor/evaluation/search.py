"""What to try next: every point of a grid, points at random, or where what was tried promises most (TPE)."""

from __future__ import annotations

import json
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from cofactor.errors import MissingExtraError
from cofactor.evaluation.spaces import Choice, Point, Range, Space, grid_of, plain, sample, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ITERATIONS", "METHODS", "Search", "State", "Trial", "key_of", "search_by"]

State = Literal["complete", "pruned", "failed", "stopped"]
"""Measured; given up because others did better at the same epoch; ended by an error; ended by the time budget."""

ITERATIONS = "iterations"
"""The parameter of models whose fit can be continued, where there is such a parameter."""

_DRAWS, _ASKED = 200, 20  # until one is new: drawn, and asked of TPE, which takes longer
_STARTUP, _LEAST_STARTUP = 8, 3
_CANDIDATES = 400  # of TPE, of which the most promising is taken: few trials leave no room for less promising ones


@dataclass(frozen=True)
class Trial:
    """One set of parameters, and what came of it.

    Parameters
    ----------
    number : int
        From 0.
    params : dict
    state : {"complete", "pruned", "failed", "stopped"}
    value : float, optional
        Of the metric, if complete.
    seconds : float
        Of the fit and of measuring.
    error : str, optional
        Why there is no value.
    scores : tuple of float
        After every epoch, of models that tell.
    used : dict
        What the model took for parameters that it chooses itself, where these are in the space.
    """

    number: int
    params: Point
    state: State
    value: float | None = None
    seconds: float = 0.0
    error: str | None = None
    scores: tuple[float, ...] = ()
    used: Point = field(default_factory=dict)


class Search(Protocol):
    """A way through a space."""

    def propose(self, number: int, trials: Sequence[Trial]) -> Point | None:
        """The parameters of the trial with this number, of all before it; None where nothing is left to try.

        Depends on nothing else, so that a search that goes on after a stop finds what it would have found without.
        """


class _Grid:
    def __init__(self, space: Space) -> None:
        # Iterations last and ascending: what one more of them needs is there already, where a fit can be continued.
        self._space = {name: of for name, of in space.items() if name != ITERATIONS}
        if (iterations := space.get(ITERATIONS)) is not None:
            self._space[ITERATIONS] = iterations.ascending()

    def propose(self, number: int, trials: Sequence[Trial]) -> Point | None:
        tried = {key_of(trial.params) for trial in trials if trial.state != "stopped"}
        return next((point for point in grid_of(self._space) if key_of(point) not in tried), None)


class _Random:
    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed

    def propose(self, number: int, trials: Sequence[Trial]) -> Point | None:
        rng = np.random.default_rng([self._seed, number])
        return _new((rng.random(len(self._space)) for _ in range(_DRAWS)), self._space, trials)


class _TPE:
    """Tree-structured Parzen estimators (Bergstra et al. 2011; multivariate, Falkner et al. 2018), by Optuna.

    The first points are spread evenly (a scrambled Halton sequence) rather than drawn: few of them cover more.
    """

    def __init__(self, space: Space, seed: int, startup: int, *, maximize: bool) -> None:
        self._space, self._seed, self._startup, self._maximize = space, seed, startup, maximize
        self._optuna = _optuna()
        make = self._optuna.distributions
        self._distributions = {
            name: make.IntDistribution(0, len(of.values) - 1)
            if isinstance(of, Choice) and of.is_ordered
            else make.CategoricalDistribution(tuple(range(len(of.values))))
            if isinstance(of, Choice)
            else (make.IntDistribution if of.is_whole else make.FloatDistribution)(of.low, of.high, log=of.log)
            for name, of in space.items()
        }

    def propose(self, number: int, trials: Sequence[Trial]) -> Point | None:
        if sum(trial.state in ("complete", "pruned") for trial in trials) < self._startup:
            from scipy.stats import qmc  # takes long to import

            spread = qmc.Halton(len(self._space), seed=self._seed).fast_forward(number)
            return _new((spread.random()[0] for _ in range(_DRAWS)), self._space, trials)
        tried = {key_of(trial.params) for trial in trials}
        with _quiet(self._optuna):
            study = self._study(number, trials)
            for _ in range(_ASKED):
                if key_of(point := self._point(study.ask(self._distributions).params)) not in tried:
                    return point
        rng = np.random.default_rng([self._seed, number])
        return _new((rng.random(len(self._space)) for _ in range(_DRAWS)), self._space, trials)

    def _point(self, told: dict[str, Any]) -> Point:
        """What Optuna chose, as parameters of the model."""
        return {
            name: of.values[told[name]] if isinstance(of, Choice) else told[name] for name, of in self._space.items()
        }

    def _study(self, number: int, trials: Sequence[Trial]) -> Any:  # noqa: ANN401
        optuna = self._optuna
        seed = int(np.random.default_rng([self._seed, number]).integers(2**31))
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, n_startup_trials=1, n_ei_candidates=_CANDIDATES
        )
        study = optuna.create_study(sampler=sampler, direction="maximize" if self._maximize else "minimize")
        for trial in trials:
            if (params := self._told(trial.params | trial.used)) is None:
                continue
            states = {"complete": "COMPLETE", "pruned": "PRUNED"}
            if trial.state in states:
                study.add_trial(
                    optuna.trial.create_trial(
                        state=optuna.trial.TrialState[states[trial.state]],
                        value=trial.value,
                        params=params,
                        distributions=self._distributions,
                        intermediate_values=dict(enumerate(trial.scores)),
                    )
                )
        return study

    def _told(self, params: Point) -> dict[str, Any] | None:
        """Parameters as Optuna knows them; None of a point that is not in the space."""
        told: dict[str, Any] = {}
        for name, of in self._space.items():
            if not of.holds(params[name]):
                return None
            if isinstance(of, Range):
                told[name] = int(params[name]) if of.is_whole else float(params[name])
            else:
                told[name] = [plain(value) for value in of.values].index(plain(params[name]))
        return told


METHODS = ("tpe", "random", "grid")


def search_by(method: str, space: Space, *, trials: int | None, seed: int, maximize: bool) -> Search:
    """The search of a name, one of ``METHODS``; ``trials`` is how many there will be, where it is known."""
    if method == "grid":
        return _Grid(space)
    if method == "random":
        return _Random(space, seed)
    startup = _STARTUP if trials is None else min(_STARTUP, max(_LEAST_STARTUP, trials // 3))
    return _TPE(space, seed, startup, maximize=maximize)


def key_of(params: Point) -> str:
    """A text that is the same for the same parameters only."""
    return json.dumps(plain(params), sort_keys=True, default=repr)


def _new(shares: Any, space: Space, trials: Sequence[Trial]) -> Point | None:  # noqa: ANN401
    """The first point that was not tried; None where all were, or nearly all."""
    tried = {key_of(trial.params) for trial in trials}
    size = size_of(space)
    if size is not None and size <= len(tried & {key_of(point) for point in _all(space)}):
        return None
    return next((point for one in shares if key_of(point := sample(space, one)) not in tried), None)


def _all(space: Space) -> Any:  # noqa: ANN401
    """All points of a space that has so many."""
    every = {
        name: of if isinstance(of, Choice) else Choice(tuple(range(int(of.low), int(of.high) + 1)))
        for name, of in space.items()
    }
    return grid_of(every)  # type: ignore[arg-type]


def _optuna() -> Any:  # noqa: ANN401
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError(
            "method='tpe' needs Optuna: pip install 'cofactor[tune]'; method='random' and 'grid' do without"
        ) from error
    return optuna


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:  # noqa: ANN401
    """Let Optuna neither log what it does nor warn of what it calls experimental; afterwards it is as it was."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
