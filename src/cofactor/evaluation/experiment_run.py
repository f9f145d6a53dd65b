"""Running an experiment file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cofactor.checks import check_at_least, check_flag, check_path, in_line, shown
from cofactor.data.tables import pairs_of
from cofactor.errors import ParameterError
from cofactor.evaluation.experiment import Experiment
from cofactor.evaluation.experiment_kept import KeptRecords
from cofactor.evaluation.experiment_results import ExperimentResult, Published, Record, facts_of
from cofactor.evaluation.experiment_tune import tuned
from cofactor.evaluation.kept_readings import readings_kept
from cofactor.evaluation.leaks import check_leaks
from cofactor.evaluation.measure import measure, warn_of_seen
from cofactor.evaluation.readings import note_choice
from cofactor.metrics import parse_all
from cofactor.metrics.kinds import needs_of
from cofactor.models.base.epochs import part_of_more
from cofactor.models.base.fitting import options_of_fit
from cofactor.models.base.parameters import with_parameters
from cofactor.system.files import check_output, write_table
from cofactor.system.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl

    from cofactor.data.user_items import UserItems
    from cofactor.evaluation.experiment_data import Fold
    from cofactor.evaluation.experiment_models import ModelSpec
    from cofactor.evaluation.measure import Measurement
    from cofactor.models import Recommender

__all__ = ["run_experiment"]


def run_experiment(
    path: str | Path | Experiment,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    models: Sequence[str] | None = None,
    seed: int | None = None,
    progress: bool | None = None,
) -> ExperimentResult:
    """Run an experiment file: read, split, tune, fit, measure and write the results.

    Parameters
    ----------
    path : path, or Experiment
        A TOML file; the page on experiments has all of its keys.
    data : path, optional
        What the paths of the file are relative to; the folder of the file unless given.
    out : path, optional
        Folder for the results: ``results.parquet`` (one row per model; versions, seed, threads and the sha256 of the
        data in its metadata), ``results.md`` and ``experiment.toml``, written anew after every model, and
        ``recommendations.parquet`` and ``model/`` where ``[output]`` asks for them. A run that was stopped goes on from
        what it left there, if all is as it was. By default the ``folder`` of
        ``[output]`` beside the file, or ``<name of the file>-results``.
    models : list of str, optional
        Some of the models; all unless given.
    seed : int, optional
        In place of the file's.
    progress : bool, optional
        Show a bar; by default where stderr is a terminal.

    Returns
    -------
    ExperimentResult
        ``table``, ``facts``, ``failed``, ``markdown()``. A model that fails is a row with its error.

    Raises
    ------
    ParameterError
        Something in the file is none of the possible ones; names the line.
    DataError
        The file or the data cannot be read.
    """
    _check(data, out, models, seed, progress)
    experiment = path if isinstance(path, Experiment) else Experiment.read(path)
    seed = experiment.seed if seed is None else seed
    specs, target, folder = experiment.chosen(models), experiment.folder(out), experiment.data_folder(data)
    check_output(target / "results.parquet")
    folds = experiment.data.folds(folder, seed)
    files = experiment.data.fingerprint(folder, folds[0].train)
    facts = facts_of(experiment.file.file.text, seed, experiment.threads, files)
    result = _empty(experiment, facts, target)
    run = _Run(experiment, seed, progress, experiment.data.features(folder))
    kept = KeptRecords(target, run.depends_on(facts))
    with progress_bar("run", progress, total=len(folds) * len(specs)) as bar:
        for number, fold in enumerate(folds, 1):
            result.fold = fold
            if fold.histories is None:  # what is asked of histories is no pair of a user and an item of training
                facts[f"fold {number}"] = {"leaks": check_leaks(fold.train, fold.test).summary}
            for spec in specs:
                bar.set_postfix(fold=number, model=spec.name, refresh=True)
                record = kept.read(spec, number)
                if record is None:
                    record = run.record(spec, fold, target, kept.study(spec, number))
                    kept.write(spec, number, record)
                result.add(record)
                facts[f"fold {number}"] = _sizes(fold, facts.get(f"fold {number}", {}), result.records[-1].found)
                if kept.n_taken:
                    facts["taken over"] = f"{kept.n_taken} results of a run that was stopped"
                result.write()
                bar.update()
    run.outputs(result, folds[-1])
    kept.remove()
    return result


def _empty(experiment: Experiment, facts: dict[str, Any], target: Path) -> ExperimentResult:
    """The results before there are any."""
    file = experiment.file
    return ExperimentResult(
        name=experiment.name,
        description=file.table.get("description", ""),
        metrics=experiment.metrics,
        published=[_published(one.table) for one in file.sections("published")],
        facts=facts,
        text=file.file.text,
        folder=target,
        intervals=file.section("evaluate").table.get("intervals", True),
    )


@dataclass(frozen=True)
class _Run:
    """What is the same for all models and folds."""

    experiment: Experiment
    seed: int
    progress: bool | None
    features: Mapping[str, pl.DataFrame]

    def depends_on(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What results depend on beside the model and the fold."""
        shared = {key: facts[key] for key in ("cofactor", "kernels", "seed", "threads", "data sha256")}
        sections = {key: self.experiment.file.table.get(key) for key in ("data", "split", "evaluate")}
        return shared | sections

    @property
    def _exclude_seen(self) -> bool:
        """Whether lists leave out what a user had; next items of sessions may come again."""
        given = self.experiment.file.section("evaluate").table
        return bool(given.get("exclude_seen", self.experiment.data.reader != "next_item"))

    def record(self, spec: ModelSpec, fold: Fold, folder: Path, trials: Path) -> Record:
        """Tune, fit and measure; an error becomes a part of the record.

        ``folder``: of the results, where readings are kept; ``trials``: that of the search.
        """
        made = Record(spec.name, spec.chosen, spec.test_reads, spec.parameters)
        try:
            model = self._made(spec, made)
            if "tune" in spec.section.table:
                start = time.perf_counter()
                options: Any = {"seed": self.seed, "exclude_seen": self._exclude_seen, "progress": self.progress}
                options |= {"folder": trials, "fit_options": self._features_of(spec, model), **self._of_metrics}
                made.study = tuned(spec.section.section("tune"), model, fold, **options)
                made.tuned, made.trials = made.study.best_params, made.study.trials
                made.tune_seconds = time.perf_counter() - start
                made.parameters = made.parameters | made.tuned
                n = len(made.study.records)
                made.chosen = f"{n} trials, {made.study.metric} on a part of training: {made.study.validation}"
                model = self._made(spec, made)
            x: Any = fold.of(model)
            start = time.perf_counter()
            with part_of_more():
                self._fit(spec, model, x)
            made.fit_seconds, made.fitted, made.made = time.perf_counter() - start, model, repr(model)
            note_choice(model, made.chosen)
            with readings_kept(folder, spec.name) as kept:
                made.found = self._measured(model, fold, x)
            made.reads = 0 if kept is None else kept.of_model
        except Exception as error:
            made.error = in_line(error)
        return made

    def _made(self, spec: ModelSpec, record: Record) -> Recommender:
        """A model that is not fitted, with what tuning found."""
        model = spec.make(seed=self.seed, threads=self.experiment.threads)
        return model if record.tuned is None else with_parameters(model, record.tuned)

    def _fit(self, spec: ModelSpec, model: Any, x: UserItems) -> None:  # noqa: ANN401
        """Fit on a train side, with the features where the model is to have them."""
        model.fit(x, progress=self.progress, **self._features_of(spec, model))

    def _features_of(self, spec: ModelSpec, model: Any) -> dict[str, Any]:  # noqa: ANN401
        """The tables of features that the model is to have, as its ``fit`` takes them."""
        known = options_of_fit(model) if spec.features else []
        return {f"{of}_features": table for of, table in self.features.items() if f"{of}_features" in known}

    @property
    def _of_metrics(self) -> dict[str, Any]:
        """What metrics are told of items."""
        category = self.experiment.file.section("evaluate").table.get("category")
        return {"item_features": self.features.get("item"), "category": category}

    def _measured(self, model: Recommender, fold: Fold, x: UserItems) -> Measurement:
        evaluate = self.experiment.file.section("evaluate").table
        names = self.experiment.metrics
        shared: Any = {"unknown_users": evaluate.get("unknown_users", "exclude"), "progress": self.progress}
        shared |= self._of_metrics
        new_only = self._exclude_seen
        if fold.histories is None:
            return measure(model, fold.test, names, exclude_seen=new_only, candidates=fold.candidates, **shared)
        needs = needs_of(parse_all(names))
        if needs.complete:
            raise ParameterError(f"{', '.join(names)}: lists made of histories are not complete; take metrics with @k")
        start = time.perf_counter()
        lists = model.recommend_for(fold.histories, k=needs.places, exclude_seen=new_only)
        seconds = time.perf_counter() - start
        test, histories = pairs_of(fold.test).unique(maintain_order=True), pairs_of(fold.histories)
        wanted = (
            test.join(histories, on=["user_id", "item_id"], how="anti", maintain_order="left") if new_only else test
        )
        found = measure(lists, wanted, names, n_items=x.n_items, **shared)
        return replace(found, n_seen=len(test) - len(wanted), n_pairs=len(test), recommend_seconds=seconds)

    def outputs(self, result: ExperimentResult, fold: Fold) -> None:
        """Write the best model and its lists, where they are asked for."""
        asked = self.experiment.file.section("output").table
        if not asked.get("model") and "recommendations" not in asked:
            return
        if (best := result.best) is None:
            return
        model = best.fitted
        if model is None or asked.get("refit"):
            model = self._made(self.experiment.models[best.model], best)
            whole = fold.whole if asked.get("refit") else None
            x: Any = (fold if whole is None else replace(fold, train=whole)).of(model)
            self._fit(self.experiment.models[best.model], model, x)
        if asked.get("model"):
            model.save(result.folder / "model")
        if "recommendations" in asked:
            lists = model.recommend(k=asked["recommendations"], exclude_seen=self._exclude_seen)
            write_table(lists, result.folder / "recommendations.parquet")


def _check(data: Any, out: Any, models: Any, seed: Any, progress: Any) -> None:  # noqa: ANN401
    """Raise ParameterError where one of these is none of the possible ones, before any file is read."""
    for name, folder in (("data", data), ("out", out)):
        if folder is not None:
            check_path(name, folder)
    if models is not None and (isinstance(models, str) or not isinstance(models, Sequence)):
        raise ParameterError(f"models must be a list of names, got {shown(models)}")
    if seed is not None:
        check_at_least("seed", seed, 0, whole=True)
    if progress is not None:
        check_flag("progress", progress)


def _published(table: Mapping[str, Any]) -> Published:
    values = table["values"]
    told = {key: table[key] for key in ("tuned_on_test", "source") if key in table}
    return Published(table["name"], values if isinstance(values, list) else [values], **told)


def _sizes(fold: Fold, told: dict[str, Any], found: Measurement | None) -> dict[str, Any]:
    """How much there is to learn from, and to find; what was told of an earlier model stays."""
    for kind in ("interactions", "ratings"):
        if (x := fold.__dict__.get(kind)) is not None:
            told = {kind: f"{x.n_users:,} users, {x.n_items:,} items, {x.nnz:,} pairs to learn from", **told}
    if found is not None and "test" not in told:
        left_out = f", {found.n_seen:,} of them left out as they were in training" if found.n_seen else ""
        unknown = f", {found.n_unknown_users:,} more are unknown" if found.n_unknown_users else ""
        told["test"] = f"{found.n_pairs:,} pairs{left_out}; {len(found.users):,} users are measured{unknown}"
        warn_of_seen(found)
    return told
