"""``cofactor cut``, ``pairs``, ``submit`` and ``score``: session competitions, from the log to the score."""

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from cofactor.cli.options import Columns, EventFiles, Json, ModelFolder, by_name
from cofactor.cli.output import note, print_facts, print_json, print_table, say
from cofactor.data.events import Events
from cofactor.data.session_cuts import cut_sessions
from cofactor.data.sources import READ_ERRORS, open_source
from cofactor.errors import DataError, ParameterError
from cofactor.evaluation import submission
from cofactor.evaluation.by_type import OTTO_WEIGHTS, evaluate_by_type
from cofactor.models.base.recommender import load
from cofactor.retrieval.models import has_factors, indexed, is_indexed
from cofactor.system.files import check_output, replacing

__all__ = ["cut", "pairs", "score", "submit"]

_TYPES = ",".join(OTTO_WEIGHTS)
_WEIGHTS = ",".join(f"{name}={weight}" for name, weight in OTTO_WEIGHTS.items())


def cut(
    *,
    events: EventFiles,
    columns: Columns,
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for train, test and labels, as Parquet.")],
    test: Annotated[
        str, typer.Option("--test", help="Which sessions are cut: those of the last 7d, or of a date on.")
    ] = "7d",
    next_only: Annotated[
        str, typer.Option("--next-only", help="Types of which only the next event is to be found, separated by commas.")
    ] = "clicks",
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds cut equally.")] = 0,
    as_json: Json = False,
) -> None:
    """Cut the sessions of the last days at a random event, as competitions do: what follows is to be found.

    Writes train.parquet, test.parquet and labels.parquet with the columns user_id (the session), item_id, time and
    event_type.
    """
    files = {name: check_output(output / f"{name}.parquet") for name in ("train", "test", "labels")}
    parts = cut_sessions(columns.read(events), test, next_only=_listed(next_only), seed=seed)
    rows = {"labels": parts.labels.height}
    for name, part in (("train", parts.train), ("test", parts.test)):
        with replacing(files[name]) as beside:
            _by_role(part).sink_parquet(beside)
        rows[name] = part.n_events
    with replacing(files["labels"]) as beside:
        parts.labels.write_parquet(beside)
    for line in parts.test.notes:
        note(line)
    if as_json:
        print_json({"files": {name: str(path) for name, path in files.items()}, "rows": rows})
    else:
        print_facts({f"{name} rows": f"{rows[name]:,}" for name in files} | {"written to": output})


def pairs(
    *,
    events: EventFiles,
    columns: Columns,
    output: Annotated[Path, typer.Option("--out", "-o", help="Parquet file: item, next_item, and perhaps weight.")],
    window: Annotated[int, typer.Option(help="The second event is one of so many after the first.")] = 1,
    max_gap: Annotated[str | None, typer.Option(help="And at most so much later, as 1h.")] = None,
    both: Annotated[bool, typer.Option("--both", help="The reverse of every pair is a pair, too.")] = False,
    types: Annotated[
        str | None, typer.Option("--types", help="Types of events that take part, separated by commas.")
    ] = None,
    type_weights: Annotated[
        str | None, typer.Option(help="What a pair weighs by the type of its second event, as clicks=1,carts=6.")
    ] = None,
    repeats: Annotated[bool, typer.Option("--repeats", help="Pairs of an item with itself as well.")] = False,
    last_events: Annotated[int | None, typer.Option(help="Most events of a session, its last ones.")] = None,
    memory_limit: Annotated[
        str | None, typer.Option(help="Sort the events out of core, in so much memory, as 2GB.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the pairs of items that follow each other in sessions, by row; the ids of the rows lie beside them.

    What PairLoader trains from. OUT.items.parquet has the item_id of every row.
    """
    target = check_output(output, (".parquet",))
    ids = target.with_suffix(".items.parquet")
    found = (
        columns.read(events)
        .sessions(memory_limit=memory_limit)
        .pairs(
            window,
            max_gap=max_gap,
            direction="both" if both else "forward",
            types=None if types is None else _listed(types),
            type_weights=None if type_weights is None else by_name("--type-weights", type_weights),
            repeats=repeats,
            last_events=last_events,
        )
    )
    found.to_parquet(target)
    if found.item_ids is not None:
        with replacing(ids) as beside:
            pl.DataFrame({"item_id": found.item_ids.ids}).write_parquet(beside)
    facts = {"pairs": found.n_pairs, "items": found.n_items, "sessions without a pair": found.n_lone}
    if as_json:
        print_json(facts | {"output": str(target), "items_output": str(ids)})
    else:
        print_facts({name: f"{n:,}" for name, n in facts.items()} | {"written to": target, "items": ids})


def submit(
    *,
    model: ModelFolder,
    sessions: Annotated[list[str], typer.Argument(metavar="SESSIONS", help="Events of the sessions to go on with.")],
    columns: Columns,
    output: Annotated[Path, typer.Option("--out", "-o", help="CSV file: session_type,labels.")],
    k: Annotated[int, typer.Option("-k", help="Labels of a session.")] = 20,
    types: Annotated[str, typer.Option("--types", help="The rows of a session, separated by commas.")] = _TYPES,
    part: Annotated[int, typer.Option("--part", help="Sessions in hand at a time.")] = 50_000,
    as_json: Json = False,
) -> None:
    """Write a saved model's answers to sessions as a submission: session_type,labels.

    Items of the session may come again. Shorter lists are completed by the items of the most users in training. Models
    of factors rank by an index.
    """
    target = check_output(output, (".csv",))
    fitted = load(model)
    x = fitted.interactions_
    if k > x.n_items:
        raise ParameterError(f"-k {k}: the model knows {x.n_items:,} items; take a smaller -k")
    if has_factors(fitted) and not is_indexed(fitted):
        fitted = indexed(fitted)
    events = columns.read(sessions)
    owner = events.session if events.session is not None else events.user
    if nobodys := events.frame.select(pl.col(owner).null_count()).collect().item():
        note(f"{nobodys:,} events have no session, null in {owner}; left out")
        events = events.filter(pl.col(owner).is_not_null())
    counts = x.user_items.binary().transposed().row_sums()
    fill = x.items.take((-counts).argsort(kind="stable")[: 2 * max(k, 1)])
    lists = submission.lists_for(fitted, events, k, part=part)
    asked = events.frame.select(pl.col(owner).unique().sort()).collect()[owner]
    n = submission.write(lists, target, k=k, types=_listed(types), sessions=asked, fill=fill)
    if as_json:
        print_json({"output": str(target), "sessions": n, "rows": n * len(_listed(types))})
    else:
        say(f"{n:,} sessions, {n * len(_listed(types)):,} rows, written to {target}")


def score(
    *,
    lists: Annotated[
        Path, typer.Argument(metavar="LISTS", help="A submission (.csv), or a table with user_id, item_id and rank.")
    ],
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="Table with user_id, item_id and event_type.")],
    k: Annotated[str, typer.Option("-k", help="Places that count; several separated by commas.")] = "20",
    weights: Annotated[
        str, typer.Option("--weights", help="What the recall of each type counts in the total.")
    ] = _WEIGHTS,
    as_json: Json = False,
) -> None:
    """Measure lists or a submission against what sessions went on with: recall by type, and its weighted mean."""
    truth = _table(labels)
    if "user_id" not in truth.columns:
        raise DataError(f"{labels}: there is no column user_id; the columns are {', '.join(truth.columns)}")
    given = _lists(lists, truth.schema["user_id"])
    board = evaluate_by_type(given, truth, _places(k), weights=by_name("--weights", weights))
    if as_json:
        print_json({"scores": board})
    else:
        print_table(board)


def _by_role(events: Events) -> pl.LazyFrame:
    """The columns that sessions need, by the names that commands expect."""
    owner = events.session if events.session is not None else events.user
    return events.frame.select(
        user_id=owner, item_id=events.item, time=events.time, event_type=pl.col(str(events.event_type)).cast(pl.String)
    )


def _lists(path: Path, dtype: pl.DataType) -> object:
    """Tables of a submission, or a table."""
    if path.suffix.lower() == ".csv" and _is_submission(path.expanduser()):
        return submission.read(path.expanduser(), dtype=dtype)
    return _table(path)


def _is_submission(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.readline(1000).strip() == b"session_type,labels"
    except OSError:
        return False  # a table that cannot be read, as will be told


def _table(path: Path) -> pl.DataFrame:
    source = open_source(path)
    try:
        return source.frame.collect()
    except READ_ERRORS as error:
        raise source.explain(error, ()) from error


def _places(text: str) -> list[int]:
    try:
        return [int(part) for part in _listed(text)]
    except ValueError:
        raise ParameterError(f"-k {text}: give a number of places, or several as 20,50,100") from None


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
