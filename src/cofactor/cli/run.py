"""``cofactor run``: an experiment from one file."""

from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from cofactor.cli.options import Json
from cofactor.cli.output import complain, note, print_facts, print_json, print_leaderboard, say
from cofactor.evaluation.experiment import Experiment
from cofactor.evaluation.experiment_results import ExperimentResult
from cofactor.evaluation.experiment_run import run_experiment
from cofactor.report.page import HTML_ENDINGS, Report
from cofactor.report.results import make_report
from cofactor.system.files import check_output

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
    report: Annotated[Path | None, typer.Option("--report", help="HTML file to write, with charts.")] = None,
    as_json: Json = False,
) -> None:
    """Run an experiment from one file: data, split, models, tuning, metrics and outputs.

    Exits 1 where a model failed; the results of the others are written.
    """
    if report is not None:
        check_output(report, HTML_ENDINGS)
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
    if report is None and experiment.file.section("output").table.get("report"):
        report = result.folder / "report.html"
    if result.best is None:
        report = None  # there is nothing to show
    if report is not None:
        _page(result).write(report)
    if as_json:
        print_json({"results": result.table, "facts": result.facts, "folder": str(result.folder)})
    else:
        print_leaderboard(_board(result), result.name)
        say(f"Results written to {result.folder}" + ("" if report is None else f", report to {report}"))
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


def _page(result: ExperimentResult) -> Report:
    """The results on a page; of several folds, and of histories, there are no users that all models share."""
    board = result.table.drop("parameters", "made")
    if board["error"].null_count() == board.height:
        board = board.drop("error")
    lead = " ".join([*([result.description] if result.description else []), *result.leaks.values()])
    fold = result.fold
    of_users: dict[str, Any] = {}
    if fold is not None and fold.histories is None and len(result.records) == board.height:
        of_users = {
            "models": {one.model: one.fitted for one in result.records if one.fitted is not None},
            "train": fold.train,
            "test": fold.test,
            "measured": {one.model: one.found for one in result.records if one.found is not None},
            "tests": result.significance,
        }
    searches = {one.model: one.trials if one.study is None else one.study for one in result.records}
    trials = {name: one for name, one in searches.items() if one is not None}
    page = make_report(board, trials=trials, title=result.name, lead=lead, **of_users)
    return page.section("Run").facts(result.facts)
