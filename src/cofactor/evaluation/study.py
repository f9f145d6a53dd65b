"""What a search found, in memory and in a folder that a stopped search goes on from.

The folder holds ``study.json`` (what is searched: model, data, space, metric) and ``trials.jsonl``, a line for every
trial that ended, which has reached the disk before the next one begins.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import polars as pl

from cofactor.checks import shown, warn
from cofactor.errors import ArtifactError, CofactorError, ParameterError
from cofactor.evaluation.evaluate import evaluate
from cofactor.evaluation.kept_readings import readings_kept
from cofactor.evaluation.readings import note_choice
from cofactor.evaluation.search import Trial
from cofactor.evaluation.spaces import Choice, plain
from cofactor.system.files import replacing
from cofactor.system.views import Row, View, Viewed, ViewTable, brief
from cofactor.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cofactor.data.tables import TableLike
    from cofactor.evaluation.spaces import Point, Space
    from cofactor.evaluation.training import Training
    from cofactor.metrics import Metric

__all__ = ["Ledger", "Study", "best_of", "check_facts"]

_HEADER, _TRIALS, _FORMAT = "study.json", "trials.jsonl", 1


def best_of(trials: Sequence[Trial], metric: Metric) -> Trial | None:
    """The best of those that were measured, of equal ones the first; None where none was."""
    sign = 1 if metric.kind.higher_is_better else -1
    measured = [trial for trial in trials if trial.state == "complete"]
    return max(measured, key=lambda trial: sign * (trial.value or 0.0), default=None)


class Study(Viewed):
    """What a search found: the best parameters, every trial, and the way to the final model.

    Parameters
    ----------
    metric : Metric
    space : dict
    validation : str
        How the part was held out that trials are measured on.
    build : callable
        Makes a model of parameters.
    training : Training
        What the final model is fitted on.
    options : mapping
        ``exclude_seen`` and others, as in ``evaluate``.

    Attributes
    ----------
    metric : str
        What was measured on the held-out part of the training data.
    space : dict
        What was tried.
    validation : str
    folder : Path or None
        Where the trials are kept.
    records : list of Trial
    fit_options : mapping
        What every fit takes beside the training data.
    interrupted : bool
        Whether Ctrl-C ended the search.
    model_ : fitted model
        That of :meth:`refit`.
    """

    model_: Any

    def __init__(
        self,
        metric: Metric,
        space: Space,
        validation: str,
        build: Callable[[Point], Any],
        training: Training,
        *,
        options: Mapping[str, Any],
    ) -> None:
        self.metric, self.space, self.validation = metric.name, space, validation
        self.folder: Path | None = None
        self.records: list[Trial] = []
        self.interrupted = False
        self.fit_options: Mapping[str, Any] = {}
        self._metric, self._build, self._training = metric, build, training
        self._options = options
        self._ledger: Ledger | None = None

    def keep_in(self, ledger: Ledger) -> None:
        """Take over the trials of a folder, and keep others there."""
        self._ledger, self.folder = ledger, ledger.folder
        self.records = ledger.read(self.space)

    def add(self, trial: Trial) -> None:
        """Take a trial that ended; one that the time budget stopped is not kept in the folder, to be tried again."""
        if self._ledger is not None and trial.state != "stopped":
            self._ledger.write(trial)
        self.records.append(trial)

    @property
    def higher_is_better(self) -> bool:
        """Whether the best value of the metric is the highest."""
        return self._metric.kind.higher_is_better

    @property
    def best(self) -> Trial | None:
        """The best trial, of equal ones the first; None where none was measured."""
        return best_of(self.records, self._metric)

    @property
    def best_params(self) -> Point:
        """The parameters with the best value."""
        return dict(self._found().params)

    @property
    def best_value(self) -> float:
        """The best value of the metric, on the held-out part of the training data."""
        value = self._found().value
        assert value is not None
        return value

    @property
    def trials(self) -> pl.DataFrame:
        """A row per trial in the order of time.

        ``number``, a column for every parameter of the space, ``value`` (null unless complete), ``seconds``, ``state``
        ("complete"; "pruned": others did better at the same epoch; "failed"; "stopped" by the time budget) and
        ``error``.
        """
        columns = [pl.Series("number", [trial.number for trial in self.records], pl.Int64)]
        columns += [_column(name, [trial.params[name] for trial in self.records]) for name in self.space]
        columns += [
            pl.Series("value", [trial.value for trial in self.records], pl.Float64),
            pl.Series("seconds", [trial.seconds for trial in self.records], pl.Float64),
            pl.Series("state", [trial.state for trial in self.records], pl.String),
            pl.Series("error", [trial.error for trial in self.records], pl.String),
        ]
        return pl.DataFrame(columns)

    def refit(self, train: Any = None, *, progress: bool | None = None) -> Any:  # noqa: ANN401
        """Fit the model with the best parameters on all of the training data, with what was held out.

        Parameters
        ----------
        train : Events, Interactions or Ratings, optional
            By default what the search was given.
        progress : bool, optional

        Returns
        -------
        fitted model
            Also as ``model_``.
        """
        model = self._build(self.best_params)
        data = self._training.of(model) if train is None else train
        model.fit(data, **{**self.fit_options, **({} if progress is None else {"progress": progress})})
        note_choice(model, f"{self.validation}: the best {self.metric} of {len(self.records)} trials")
        self.model_ = model
        return model

    def score(self, test: TableLike, metrics: str | Sequence[str] | None = None, **options: Any) -> pl.DataFrame:  # noqa: ANN401
        """Measure the final model on a test that had no part in the search: once, at the end.

        Parameters
        ----------
        test : Events, Interactions, Ratings, or table with ``user_id`` and ``item_id``
        metrics : str or sequence of str, optional
            By default that of the search.
        **options
            As of :func:`cofactor.evaluate`.

        Returns
        -------
        DataFrame
            As of :func:`cofactor.evaluate`. The model is refitted first, unless it was.
        """
        if not hasattr(self, "model_"):
            self.refit(progress=False)
        wanted = self.metric if metrics is None else metrics
        with readings_kept(self.folder, type(self.model_).__name__):
            return evaluate(self.model_, test, wanted, **{**self._options, **options})

    def _found(self) -> Trial:
        if (best := self.best) is None:
            raise CofactorError(f"none of the {len(self.records)} trials was measured, so that there is no best one")
        return best

    def _view(self) -> View:
        states = [trial.state for trial in self.records]
        facts = {"trials": ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none"}
        facts["validation"] = self.validation
        if self.best is None:
            return View("Study", self.metric, facts)
        rows = [Row((name, brief(value))) for name, value in self.best_params.items()]
        best = ViewTable("best parameters", ("name", "value"), rows)
        return View("Study", f"best {self.metric} {self.best_value:.4f}", facts, [best])

    def __repr__(self) -> str:
        states = [trial.state for trial in self.records]
        counts = ", ".join(f"{states.count(s)} {s}" for s in ("complete", "pruned", "failed", "stopped") if s in states)
        best = "" if self.best is None else f"; best {self.metric} {self.best_value:.4f} with {shown(self.best_params)}"
        return f"Study({len(states)} trials: {counts or 'none'}{best}; validation: {self.validation})"


def _column(name: str, values: list[Any]) -> pl.Series:
    """Values of a parameter; as text where they are of several types."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) <= 1 <= len(kinds & {bool, str, int, float}):
        return pl.Series(name, values, strict=False)
    return pl.Series(name, [None if value is None else str(plain(value)) for value in values], pl.String)


class Ledger:
    """The folder of a study.

    Parameters
    ----------
    folder : Path
    facts : mapping
        What is searched, in the types of JSON: another study is refused that differs in one of them.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder, self._path = folder, folder / _TRIALS
        self._size = 0
        check_facts(folder, _HEADER, facts, "a study")

    def read(self, space: Space) -> list[Trial]:
        """The trials that ended; a line that a crash cut off is dropped."""
        if not self._path.exists():
            return []
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
            warn(f"{self._path}: its last line was not written to the end, as after a crash; that trial is tried again")
        self._size = len(whole)
        trials = []
        for number, line in enumerate(whole.splitlines()):
            try:
                row = json.loads(line)
                params = {name: _given(space, name, value) for name, value in row["params"].items()}
                trials.append(Trial(**row | {"params": params, "scores": tuple(row["scores"])}))
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                raise ArtifactError(f"{self._path}: line {number + 1} is no trial of this study: {error}") from error
        return trials

    def write(self, trial: Trial) -> None:
        """Add a trial, and return when it has reached the disk."""
        row = {name: plain(getattr(trial, name)) for name in Trial.__dataclass_fields__}
        line = json.dumps(row, default=repr).encode() + b"\n"
        with self._path.open("ab") as file:
            if file.tell() != self._size:
                raise ArtifactError(f"{self._path}: somebody else writes to this study; two searches need two folders")
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._size += len(line)


def _given(space: Space, name: str, value: Any) -> Any:  # noqa: ANN401
    """A value of the space that was written as JSON."""
    of = space[name]
    if isinstance(of, Choice):
        return next((one for one in of.values if plain(one) == value), value)
    return value


def check_facts(folder: Path, name: str, facts: Mapping[str, Any], what: str) -> None:
    """Let a folder hold what its header says: write that in a new folder, or compare it in one that has it.

    Parameters
    ----------
    folder : Path
    name : str
        Of the header.
    facts : mapping
        In the types of JSON.
    what : str
        What the folder holds, in words.

    Raises
    ------
    ParameterError
        The facts are none that JSON holds.
    ArtifactError
        The folder holds something else, or the same of other facts.
    """
    header = folder / name
    try:
        text = json.dumps({"cofactor": __version__, "format": _FORMAT, **facts}, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"folder: {what} of this cannot be written as JSON: {error}; leave folder out") from error
    if folder.exists() and not folder.is_dir():
        raise ArtifactError(f"folder: {folder} is a file, where the folder of {what} is expected; give a new folder")
    if not header.exists():
        if folder.exists() and any(folder.iterdir()):
            raise ArtifactError(f"{folder} holds something else than {what}; give a new folder")
        with replacing(header) as beside:
            beside.write_text(text + "\n", encoding="utf-8")
        return
    try:
        kept, wanted = json.loads(header.read_text(encoding="utf-8")), json.loads(text)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{header} cannot be read: {error}") from error
    if not isinstance(kept, dict) or "format" not in kept:
        raise ArtifactError(f"{header} is none of {what}; give a new folder")
    if kept["format"] != _FORMAT:
        raise ArtifactError(f"{header} is of format {kept['format']!r}; this version of cofactor writes {_FORMAT}")
    differ = [key for key in wanted if key != "cofactor" and kept.get(key) != wanted[key]]
    if differ:
        told = "; ".join(f"{key} was {_told(kept.get(key))} and is {_told(wanted[key])}" for key in differ)
        raise ArtifactError(
            f"{folder} holds {what} of something else: {told}. Give a new folder, or go on with what it was made of"
        )


def _told(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + "..."
