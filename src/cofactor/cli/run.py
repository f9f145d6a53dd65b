"""``cofactor run``: an experiment from one file."""

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from cofactor.cli.options import Json
from cofactor.cli.output import complain, note, print_facts, print_json, print_leaderboard, say
from cofactor.evaluation.experiment import Experiment
from cofactor.evaluation.experiment_results import ExperimentResult
from cofactor.evaluation.experiment_run import run_experiment
from cofactor.report.page import Report
from cofactor.report.results import make_report

__all__ = ["run"]


def run(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Experiment: a TOML file.")],
    check: Annotated[bool, typer.Option("--check", help="Look at the file and its data files; run nothing.")] = False,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder that paths are relative to; that of the file by default.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the results; by default as the file says.")
    ] = None,
    models: Annotated[str | None, typer.Option("--models", help="Some of its models, separated by commas.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="In place of the file's.")] = None,
    as_json: Json = False,
) -> None:
    """Run an experiment from one file: data, split, models, tuning, metrics and outputs.

    Exits 1 where a model failed; the results of the others are written.
    """
    experiment = Experiment.read(file)
    names = None if models is None else [name.strip() for name in models.split(",") if name.strip()]
    specs = experiment.chosen(names)
    if check:
        files = experiment.data.files(experiment.data_folder(data))
        made = {
            spec.name: repr(spec.make(seed=experiment.seed if seed is None else seed, threads=experiment.threads))
            for spec in specs
        }
        facts = {"metrics": ", ".join(experiment.metrics), "files": len(files), "results": experiment.folder(output)}
        if as_json:
            print_json({"experiment": experiment.name, **facts, "models": made})
        else:
            print_facts({"experiment": experiment.name, **facts, **made})
        return
    result = run_experiment(experiment, data=data, out=output, models=names, seed=seed)
    for fold, told in result.leaks.items():
        note(told if len(result.leaks) == 1 else f"{fold}: {told}")
    if experiment.file.section("output").table.get("report") and result.best is not None:
        _report(result).write(result.folder / "report.html")
    if as_json:
        print_json({"results": result.table, "facts": result.facts, "folder": str(result.folder)})
    else:
        print_leaderboard(_board(result), result.name)
        say(f"Results written to {result.folder}")
    for name, why in result.failed.items():
        complain(f"model {name!r} failed: {why}")
    if result.failed:
        raise typer.Exit(1)


def _board(result: ExperimentResult) -> pl.DataFrame:
    """The leaderboard of the models that were measured."""
    ends = (f"{metric}_{end}" for metric in result.metrics for end in ("low", "high"))
    columns = ["model", *result.metrics, *ends, "fit_seconds", "recommend_seconds"]
    measured = result.table.filter(pl.col("error").is_null())
    return measured.select(name for name in columns if name in measured.columns)


def _report(result: ExperimentResult) -> Report:
    """All that is known on one page; of histories and of several folds the leaderboard, of one fold all of it."""
    lead = " ".join([*([result.description] if result.description else []), *result.leaks.values()])
    fold, best = result.fold, result.best
    several = len({one.model for one in result.records}) < len(result.records)
    if fold is None or fold.histories is not None or several or best is None:
        return make_report(_board(result), title=result.name, lead=lead)
    return make_report(
        _board(result),
        models={} if best.fitted is None else {best.model: best.fitted},
        train=fold.train,
        test=fold.test,
        measured={one.model: one.found for one in result.records if one.found is not None},
        tests=result.significance,
        trials=best.study,
        title=result.name,
        lead=lead,
    )
