"""``cofactor gate``: whether a new model may take the place of an old one."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cofactor.cli.leaks import leaks_of_saved
from cofactor.cli.options import Columns, EventFiles, Json, Repeats
from cofactor.cli.output import complain, note, print_facts, print_json, say
from cofactor.cli.tables import read_file
from cofactor.cli.wording import in_options
from cofactor.errors import CofactorError
from cofactor.evaluation.gate import gate as decide
from cofactor.metrics import parse
from cofactor.models.base.recommender import load

__all__ = ["gate"]

_KIND = "A saved model, or a file of lists (user_id, item_id, rank): .parquet, .csv, .jsonl or .arrow."


def gate(
    *,
    baseline: Annotated[Path, typer.Argument(metavar="BASELINE", exists=True, help=f"What is in use. {_KIND}")],
    candidate: Annotated[Path, typer.Argument(metavar="CANDIDATE", exists=True, help="What is to take its place.")],
    events: EventFiles,
    columns: Columns,
    metric: Annotated[str, typer.Option("--metric", help="With a value for every user, as ndcg@10.")] = "ndcg@10",
    margin: Annotated[
        str,
        typer.Option("--margin", help="How much worse the candidate may be: 0.002, or 1% of what the baseline has."),
    ] = "1%",
    confidence: Annotated[float, typer.Option("--confidence", help="Of the interval that must lie above it.")] = 0.95,
    repeats: Repeats = False,
    as_json: Json = False,
) -> None:
    """Promote a candidate only if it is not worse than the baseline by more than a margin.

    Exits 0 to promote, 1 not to, and 2 where that could not be found out. The events are of a time that neither was
    trained on. Without --repeats, what a model was trained on is left out of the test for both.
    """
    try:
        parse(metric)
        old, new = (_read(path) for path in (baseline, candidate))
        test = columns.read(events)
        for path, model in ((baseline, old), (candidate, new)):
            if hasattr(model, "interactions_"):
                note(f"{type(model).__name__}: {leaks_of_saved(model, path, test)}")
        found = decide(
            old, new, test.pairs(), metric, margin=_number(margin), confidence=confidence, exclude_seen=not repeats
        )
    except CofactorError as error:
        complain(in_options(str(error), ("--repeats", "--metric", "--margin", "--confidence")))
        raise typer.Exit(2) from error
    if as_json:
        print_json(asdict(found))
    else:
        say(found.decision, "bold green" if found.promoted else "bold red")
        print_facts(found.facts)
    if not found.promoted:
        raise typer.Exit(1)


def _number(margin: str) -> float | str:
    try:
        return float(margin)
    except ValueError:
        return margin


def _read(path: Path) -> Any:  # noqa: ANN401
    return load(path) if path.is_dir() else read_file(path)
