"""``cofactor auto``: from a log to a fitted model."""

from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from cofactor.cli.compare import held_out
from cofactor.cli.features import FeatureFiles
from cofactor.cli.options import Columns, EventFiles, Json, Weighing
from cofactor.cli.output import note, print_facts, print_json, print_table, say
from cofactor.evaluation.best_model import BestModel, best_model
from cofactor.evaluation.evaluate import evaluate
from cofactor.evaluation.leaks import check_leaks
from cofactor.models.base.saved import check_writable
from cofactor.report.page import HTML_ENDINGS, Report
from cofactor.report.plots import leaderboard
from cofactor.system.files import check_output

__all__ = ["auto"]


def auto(
    *,
    events: EventFiles,
    columns: Columns,
    weighing: Weighing,
    features: FeatureFiles,
    budget: Annotated[str, typer.Option("--budget", help="Time for all of it, as 90s or 10m.")] = "10m",
    metric: Annotated[str, typer.Option("--metric", help="What to choose by; rmse for ratings.")] = "ndcg@10",
    test: Annotated[
        str | None, typer.Option("--test", help="What is kept apart, for one score at the end: as of compare.")
    ] = None,
    repeats: Annotated[
        bool | None,
        typer.Option(
            "--repeats/--new", help="Whether items that the user had may come again; told by the log unless given."
        ),
    ] = None,
    save: Annotated[Path | None, typer.Option("--save", help="Folder for the model.")] = None,
    report: Annotated[Path | None, typer.Option("--report", help="HTML file to write.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the search.")] = 0,
    as_json: Json = False,
) -> None:
    """Try the models that suit a log, tune the promising ones, and fit the best on everything."""
    if save is not None:
        check_writable(save)
    if report is not None:
        check_output(report, HTML_ENDINGS)
    options: dict[str, Any] = {"weight": weighing.expression(), "fit_options": features.read()}
    log = columns.read(events)
    train, later = (log, None) if test is None else held_out(columns, log, test)
    if later is not None:
        note(check_leaks(train, later).summary)
    new_only = None if repeats is None else not repeats
    found = best_model(train, budget, metric=metric, exclude_seen=new_only, seed=seed, **options)
    scored = None
    if later is not None:
        pairs = later if metric == "rmse" or later.rating else later.pairs()
        scored = evaluate(found.model, pairs, metric, exclude_seen=found.exclude_seen)
    if save is not None:
        found.model.save(save)
    facts = {"model": repr(found.model), "validation": found.validation, "repeats": not found.exclude_seen}
    if report is not None:
        _page(found, facts, scored, test).write(report)
    if as_json:
        print_json({**facts, "leaderboard": found.leaderboard, "test": scored, "output": save and str(save)})
        return
    print_table(_short(found.leaderboard), "Leaderboard (validation)")
    print_facts(facts)
    if scored is not None:
        print_table(scored, f"On the test ({test}), fitted on all that is not in it")
    if save is not None:
        say(f"Model written to {save}")
    if report is not None:
        say(f"Report written to {report}")


def _page(found: BestModel, facts: dict[str, object], scored: pl.DataFrame | None, test: str | None) -> Report:
    """The leaderboard, as a table and as bars; the score on the test; and what each family was at its best."""
    board = found.leaderboard
    page = Report("The best model", f"Chosen by {found.metric} on {found.validation}.")
    page.table(_short(board), best_first=True).chart(leaderboard(board, found.metric))
    page.text("The best of many values on one sample is too good by itself.")
    if scored is not None:
        page.section("On the test").text(f"{test}, fitted on all that is not in it.").table(scored)
    page.section("Chosen").facts(facts)
    return page.section("Parameters").facts(dict(board.select("model", "parameters").iter_rows()))


def _short(board: pl.DataFrame) -> pl.DataFrame:
    """A leaderboard without the parameters, and without errors where there are none."""
    return board.drop("parameters", *(["error"] if board["error"].is_null().all() else []))
