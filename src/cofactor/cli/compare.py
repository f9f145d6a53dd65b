"""``cofactor evaluate`` and ``cofactor compare``: how good models are."""

from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from cofactor.cli.features import FeatureFiles
from cofactor.cli.leaks import leaks_of_saved
from cofactor.cli.models import build_models, model_names
from cofactor.cli.options import Columns, EventFiles, Json, Metrics, ModelFolder, Params, Repeats, Weighing
from cofactor.cli.output import complain, note, print_json, print_leaderboard, print_table, say
from cofactor.data import split
from cofactor.data.events import Events
from cofactor.errors import ParameterError
from cofactor.evaluation.compare import compare as compare_models
from cofactor.evaluation.evaluate import evaluate as evaluate_model
from cofactor.evaluation.leaks import check_leaks
from cofactor.evaluation.unseen import unseen
from cofactor.metrics import parse_all
from cofactor.models.base.recommender import load
from cofactor.report.page import HTML_ENDINGS
from cofactor.report.results import make_report
from cofactor.system.files import check_output

__all__ = ["compare", "evaluate", "held_out"]

_METRICS = "recall@10,ndcg@10,map@10"


def evaluate(
    *,
    model: ModelFolder,
    test: EventFiles,
    columns: Columns,
    metrics: Metrics = _METRICS,
    repeats: Repeats = False,
    as_json: Json = False,
) -> None:
    """Measure a saved model against events that happened after its training.

    Without --repeats, lists hold new items only, and so does the test: what a user had in training is left out.
    """
    names = _names(metrics)
    fitted = load(model)
    later = columns.read(test)
    pairs = later.pairs()
    note(leaks_of_saved(fitted, model, later))
    if not repeats:
        pairs = _told(pairs, unseen(pairs, fitted.interactions_))
    found = evaluate_model(fitted, pairs, names, exclude_seen=not repeats)
    if as_json:
        print_json({"model": repr(fitted), "repeats": repeats, "metrics": found})
    else:
        print_table(found, repr(fitted))


def compare(
    *,
    events: EventFiles,
    columns: Columns,
    weighing: Weighing,
    features: FeatureFiles,
    test: Annotated[
        str,
        typer.Option(
            "--test",
            help="What is held out: 28d (the last days), a date, last:1 (events a user), 10% (at random), or a file.",
        ),
    ] = "28d",
    models: Annotated[
        str,
        typer.Option(
            "--models",
            help=f"Separated by commas; a+b fills what a leaves empty from b. There are {', '.join(model_names())}.",
        ),
    ] = "random,popular,personal-popular+popular,als",
    param: Params = None,
    metrics: Metrics = _METRICS,
    repeats: Repeats = False,
    significance: Annotated[
        bool,
        typer.Option("--significance", help="Add the p-value of each model's difference from the best, user by user."),
    ] = False,
    report: Annotated[Path | None, typer.Option("--report", help="HTML file to write, with charts.")] = None,
    as_json: Json = False,
) -> None:
    """Fit several models on one part of an event log, and measure them on the other.

    Without --repeats, lists hold new items only, and so does the test: what a user had in training is left out. A star
    marks the models that no other beats in as little time. Exits 1 where a model failed; the others are told.
    """
    names = _names(metrics)
    made = build_models(_listed(models), param or [])
    weight, tables = weighing.expression(), features.by_model(made)
    if report is not None:
        check_output(report, HTML_ENDINGS)
    train, later = held_out(columns, columns.read(events), test)
    note(check_leaks(train, later).summary)
    x, pairs = train.interactions(weight), later.pairs()
    if not repeats:
        pairs = _told(pairs, unseen(pairs, x))
    options: Any = {"exclude_seen": not repeats, "intervals": True, "significance": significance, "fit_options": tables}
    board = compare_models(made, x, pairs, names, **options)
    failed = board.filter(pl.col("error").is_not_null())
    measured = board.filter(pl.col("error").is_null())
    if report is not None:
        data = f"{x.n_users:,} users, {x.n_items:,} items and {x.nnz:,} interactions to learn from; "
        lead = f"{data}{pairs.height:,} to find ({test}, {'repeats allowed' if repeats else 'new items only'})."
        about: dict[str, Any] = {"title": "Leaderboard", "lead": lead, "exclude_seen": not repeats}
        made = {name: made[name] for name in measured["model"]}
        make_report(board, models=made, train=train, test=pairs, **about).write(report)
    if as_json:
        written = None if report is None else str(report)
        print_json({"leaderboard": board, "models": {name: repr(m) for name, m in made.items()}, "report": written})
    else:
        print_leaderboard(measured, "Leaderboard (95 % intervals)")
        if report is not None:
            say(f"Report written to {report}")
    for error in failed["error"]:
        complain(error)
    if failed.height:
        raise typer.Exit(1)


def _told(pairs: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    if n := pairs.height - kept.height:
        note(f"{n:,} of {pairs.height:,} test pairs were in the training data and are left out; --repeats keeps them")
    return kept


def held_out(columns: Columns, events: Events, test: str) -> split.Split:
    """The split that ``--test`` describes."""
    kind, _, rest = test.partition(":")
    if kind == "last" and rest.isdigit():
        return split.leave_last(events, int(rest))
    if test.endswith("%") and test[:-1].replace(".", "", 1).isdigit():
        return split.random(events, float(test[:-1]) / 100)
    if Path(test).expanduser().exists():
        return split.Split(events, columns.read(test))
    try:
        return split.by_time(events, test)
    except ParameterError as error:
        raise ParameterError(f"{error}; or last:1, or 10%, or a file, and there is none of this name") from error


def _names(metrics: str) -> list[str]:
    """Read names of metrics, before any work."""
    return [metric.name for metric in parse_all(_listed(metrics))]


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
