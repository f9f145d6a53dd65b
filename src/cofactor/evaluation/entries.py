"""What is compared: models, functions that make them, and tables of recommendations; and how one of them did."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from cofactor.checks import shown
from cofactor.errors import CofactorError, ParameterError
from cofactor.evaluation.fit_options import check_fit_options, options_by_name, told_of
from cofactor.evaluation.known import held_out
from cofactor.evaluation.measure import Measurement, measure
from cofactor.models.base.epochs import part_of_more
from cofactor.system.memory import peak_growth

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cofactor.data.tables import TableLike
    from cofactor.data.user_items import UserItems
    from cofactor.evaluation.training import Training

__all__ = ["Entry", "Result", "check_models", "entries_of", "named", "run_entry"]


@dataclass(frozen=True)
class Entry:
    """One row of a leaderboard before it is known.

    Parameters
    ----------
    name : str
    kind : {"model", "factory", "table"}
    given : object
    fit_options : mapping
        What ``fit`` takes beside the training data.
    """

    name: str
    kind: Literal["model", "factory", "table"]
    given: Any
    fit_options: Mapping[str, Any] = field(default_factory=dict)

    def model(self, *, fresh: bool) -> Any:  # noqa: ANN401
        """What is fitted; ``fresh``: a copy of a model, which itself stays as it is."""
        if self.kind == "factory":
            made = self.given()
            if not _is_model(made):
                raise ParameterError(f"what was given for it makes no model but {shown(made)}")
            return made
        return deepcopy(self.given) if fresh else self.given

    def described(self) -> str:
        """What tells it from another one of its name."""
        return self._described() + (f", fitted with {told_of(self.fit_options)}" if self.fit_options else "")

    def _described(self) -> str:
        if self.kind == "factory":
            name = f"{getattr(self.given, '__module__', '')}.{getattr(self.given, '__qualname__', repr(self.given))}"
            try:
                return f"{name}: {self.given()!r}"
            except Exception as error:  # which is told when it is to be fitted
                return f"{name}: {error!r}"
        return "a table of recommendations" if self.kind == "table" else repr(self.given)


@dataclass
class Result:
    """How an entry did on one split.

    Parameters
    ----------
    entry : Entry
    fold : int
        From 0.
    values : dict
        By metric.
    seconds : dict
        ``fit_seconds`` (not of tables and of models fitted before) and ``recommend_seconds``.
    peak_mb : float, optional
        Megabytes by which the process grew at most.
    users : DataFrame, optional
        ``user_id`` and the values per user of the metrics that have any.
    error : Exception, optional
    found : Measurement, optional
    reading : int, optional
        Which reading of the test it was, as far as that was seen.
    chosen_on : str, optional
        On what the parameters were chosen, where that is known.
    """

    entry: Entry
    fold: int
    values: dict[str, float | None] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_mb: float | None = None
    users: pl.DataFrame | None = None
    error: Exception | None = None
    found: Measurement | None = None
    reading: int | None = None
    chosen_on: str | None = None


def entries_of(models: Mapping[str, Any], fit_options: Mapping[str, Mapping[str, Any]] | None = None) -> list[Entry]:
    """Read what is to be compared, and with what it is fitted beside the training data, by the names of the models.

    Raises
    ------
    ParameterError
        There is none, a name is no text, something is neither a model nor makes one nor is a table, one object is
        there twice, or there are options of what is not there, or of a model whose ``fit`` takes none such.
    """
    _check_names(models)
    options = options_by_name(fit_options, models)
    entries = [Entry(name, _kind(name, given), given, options.get(name, {})) for name, given in models.items()]
    for entry in entries:
        if entry.kind == "table" and entry.fit_options:
            raise ParameterError(f"fit_options: {entry.name!r} is a table, which is not fitted; leave it out")
        if entry.kind == "model":
            check_fit_options(entry.given, entry.fit_options, f"fit_options of {entry.name!r}")
    _check_apart([entry.given for entry in entries if entry.kind == "model"])
    return entries


def check_models(models: Mapping[str, Any]) -> None:
    """Raise ParameterError unless there are models, each an object of its own with a name."""
    _check_names(models)
    for name, model in models.items():
        if isinstance(model, type):
            raise ParameterError(f"models: {model.__name__} is a class; make a model of it, {model.__name__}()")
        if not _is_model(model):
            raise ParameterError(f"models: {name!r} is not a model but {shown(model)}")
    _check_apart(list(models.values()))


def _check_names(models: Mapping[str, Any]) -> None:
    if not isinstance(models, Mapping):
        raise ParameterError(f"models: a dict of models by name is expected, got {type(models).__name__}")
    if not models:
        raise ParameterError("models: there is none; pass at least one, such as {'popular': Popular()}")
    for name in models:
        if not (isinstance(name, str) and name):
            raise ParameterError(f"models: names are texts that are not empty, got {name!r}")


def _check_apart(models: Sequence[Any]) -> None:
    if len({id(model) for model in models}) < len(models):
        raise ParameterError("models: one object is there under two names; make a second one")


def _kind(name: str, given: Any) -> Literal["model", "factory", "table"]:  # noqa: ANN401
    if _is_model(given):
        return "model"
    if isinstance(given, pl.DataFrame | pl.LazyFrame) or hasattr(given, "__arrow_c_stream__"):
        return "table"
    if callable(given):
        return "factory"
    raise ParameterError(
        f"models: {name!r} is not a model but {given!r}; give a model, a function without arguments that makes one, or "
        "a table of recommendations"
    )


def _is_model(given: object) -> bool:
    return not isinstance(given, type) and hasattr(given, "fit") and hasattr(given, "recommend")


def run_entry(
    entry: Entry,
    fold: int,
    training: Training,
    test: TableLike,
    metrics: Sequence[str],
    *,
    fresh: bool,
    progress: bool | None,
    **options: Any,  # noqa: ANN401
) -> Result:
    """Fit and measure; an error of either is in the result, with the name of the model in its text.

    Parameters
    ----------
    entry : Entry
    fold : int
    training : Training
        Empty where models are measured as they were fitted before.
    test : TableLike
    metrics : sequence of str
    fresh : bool
        Whether to fit a copy.
    progress : bool, optional
    **options
        Of ``measure``.
    """
    result, task = Result(entry, fold), "fit"
    try:
        with peak_growth() as grown:
            subject = entry.given if entry.kind == "table" else entry.model(fresh=fresh)
            if entry.kind != "table" and not training.is_empty:
                data = training.of(subject)
                check_fit_options(subject, entry.fit_options)
                given = {**entry.fit_options, **({} if progress is None else {"progress": progress})}
                start = time.perf_counter()
                with part_of_more():
                    subject.fit(data, **given)
                result.seconds["fit_seconds"] = time.perf_counter() - start
            task = "evaluate"
            if entry.kind == "table":
                test, options = _for_tables(training, test, options)
            result.found = measure(subject, test, metrics, progress=progress, **options)
        result.peak_mb = grown[0] / 1e6 if grown else None
        result.reading, result.chosen_on = result.found.reading, result.found.chosen_on
        result.seconds["recommend_seconds"] = result.found.recommend_seconds
    except Exception as error:  # the others shall not be lost; the caller may raise it
        result.error = _named(entry.name, task, error)
        return result
    result.users = result.found.of_users
    result.values = dict(result.found.summary(n_bootstrap=0).select("metric", "value").iter_rows())
    return result


def _for_tables(training: Training, test: TableLike, options: dict[str, Any]) -> tuple[TableLike, dict[str, Any]]:
    """The test as models have it, so that tables are measured on the same pairs: known users, and new items only."""
    if training.is_empty or options.get("candidates") is not None:
        return test, options
    x: UserItems = training.any
    pairs = held_out(test)
    pairs = pairs.filter(pl.Series(x.users.rows(pairs["user_id"], "test: user_id") >= 0))
    return pairs, options | {"n_items": x.n_items, "train": x, "also_seen": [x]}


@contextmanager
def named(name: str, task: str) -> Iterator[None]:
    """Name the model in the errors of a task."""
    try:
        yield
    except Exception as error:
        raise _named(name, task, error)  # noqa: B904 - its cause is set, where it is another error


def _named(name: str, task: str, error: Exception) -> Exception:
    """The error with the model in its text, of the library's own kinds, or in a note."""
    if isinstance(error, CofactorError):
        named = type(error)(f"model {name!r} failed to {task}: {error}")
        named.__cause__ = error
        return named
    error.add_note(f"this happened when model {name!r} was to {task}")
    return error
