"""``cofactor recommend`` and ``cofactor similar``: lists from a saved model."""

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from cofactor.cli.options import Columns, Json, ModelFolder, OnUnknown, Output, Places, Repeats, Weighing
from cofactor.cli.output import print_json, print_table, say
from cofactor.data.events import Events
from cofactor.data.ids import IdMap
from cofactor.data.sources import READ_ERRORS, open_source
from cofactor.errors import DataError
from cofactor.models.base.recommender import load
from cofactor.system.files import check_output, write_table

__all__ = ["recommend", "similar"]

_IDS = "a file (a column of that name, or the only one; .txt: one a line), or ids separated by commas"

Items = Annotated[str | None, typer.Option("--items", help=f"The only items to choose from: {_IDS}.")]
Unknown = Annotated[OnUnknown, typer.Option("--unknown", help="Ids that the model does not know: stop, or skip them.")]


def recommend(
    *,
    model: ModelFolder,
    columns: Columns,
    weighing: Weighing,
    output: Output = None,
    k: Places = 10,
    users: Annotated[str | None, typer.Option("--users", help=f"Who to recommend to: {_IDS}. Default: all.")] = None,
    items: Items = None,
    repeats: Repeats = False,
    unknown: Unknown = OnUnknown.ERROR,
    history: Annotated[
        str | None,
        typer.Option(
            "--history", help="Events of users that training never saw, whom to recommend to; weighed as in training."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank items for users: of the training data, or known by a history of events.

    The column and weight options are those of the history.
    """
    if history is not None and users is not None:
        raise typer.BadParameter("--history brings its own users; leave out --users")
    if output is not None:
        check_output(output)
    fitted = load(model)
    ids = fitted.interactions_
    allowed = None if items is None else _ids(items, ids.items, "item")
    if history is None:
        asked = None if users is None else _ids(users, ids.users, "user")
        lists = fitted.recommend(asked, k, exclude_seen=not repeats, items=allowed, unknown=unknown.value)
    else:
        events = _with_items_of(columns.read(history), ids.items)
        x = events.interactions(weighing.expression())
        lists = fitted.recommend_for(x, k, exclude_seen=not repeats, items=allowed, unknown=unknown.value)
    _deliver(lists, "user_id", output, as_json)


def similar(
    *,
    model: ModelFolder,
    output: Output = None,
    k: Places = 10,
    items: Annotated[str | None, typer.Option("--items", help=f"Of which items: {_IDS}. Default: all.")] = None,
    unknown: Unknown = OnUnknown.ERROR,
    as_json: Json = False,
) -> None:
    """Find the items most similar to items."""
    if output is not None:
        check_output(output)
    fitted = load(model)
    asked = None if items is None else _ids(items, fitted.interactions_.items, "item")
    _deliver(fitted.similar_items(asked, k, unknown=unknown.value), "item_id", output, as_json)


def _deliver(lists: pl.DataFrame, subject: str, output: Path | None, as_json: bool) -> None:
    """Write the lists, or show them."""
    if output is not None:
        write_table(lists, output)
        summary = {"output": str(output), "rows": lists.height, "lists": lists[subject].n_unique()}
        if as_json:
            print_json(summary)
        else:
            say(f"{summary['lists']:,} lists, {lists.height:,} rows, written to {output}")
    elif as_json:
        print_json({"rows": lists})
    else:
        print_table(lists)


def _ids(text: str, known: IdMap, what: str) -> pl.Series:
    """Read ids from a file or from the text itself, in the type that the model's ids have."""
    path = Path(text).expanduser()
    if _is_file(path):
        values = _lines(path) if path.suffix == ".txt" else _column(path, what, known)
        if not len(values):
            raise DataError(f"{path}: there are no {what} ids in it")
    else:
        values = pl.Series([part.strip() for part in text.split(",") if part.strip()], dtype=pl.String)
        if not len(values):
            raise typer.BadParameter(f"--{what}s {text!r} holds no ids; leave the option out for all {what}s")
    return _in_kind_of(known, values, what)


def _in_kind_of(known: IdMap, values: pl.Series, what: str) -> pl.Series:
    """Numbers as text where the model's ids are text, text as numbers where they are numbers.

    Files and command lines do not say which of both an id made of digits is; the model does.
    """
    if known.dtype.is_integer() and values.dtype == pl.String:
        numbers = values.cast(pl.Int128, strict=False)
        if (bad := values.filter(numbers.is_null() & values.is_not_null())).len():
            raise DataError(f"--{what}s: {bad[0]!r} is neither a file nor a whole number as the model's {what} ids are")
        if (bad := values.filter(numbers.cast(pl.String) != values)).len():
            raise DataError(
                f"--{what}s: {bad[0]!r} is not how a whole number is written, as the model's {what} ids are; "
                f"write {int(bad[0])} if that is the id"
            )
        return numbers
    if not known.dtype.is_integer() and values.dtype.is_integer():
        values = values.cast(pl.String)
    return values.cast(pl.Binary) if known.dtype == pl.Binary and values.dtype == pl.String else values


def _with_items_of(events: Events, known: IdMap) -> Events:
    """Events whose items are of the kind that the model's are."""
    column = pl.col(events.item)
    dtype = events.frame.collect_schema()[events.item]
    if known.dtype.is_integer() and dtype == pl.String:
        written = column.cast(pl.Int128, strict=False).cast(pl.String)
        bad = events.frame.filter(written.ne_missing(column)).select(column).head(1).collect()
        if len(bad):
            raise DataError(
                f"--history: item {bad.item()!r} is no whole number in its usual form, as the model's item ids are"
            )
        return events.with_frame(events.frame.with_columns(column.cast(pl.Int128)))
    if not known.dtype.is_integer() and dtype.is_integer():
        return events.with_frame(events.frame.with_columns(column.cast(pl.String)))
    return events


def _lines(path: Path) -> pl.Series:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); write the file as UTF-8") from error
    return pl.Series([line.strip() for line in lines if line.strip()], dtype=pl.String)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a list of ids that is too long for the name of a file
        return False


def _column(path: Path, what: str, known: IdMap) -> pl.Series:
    """The ids of a table, as they are written: 007 is not 7."""
    names, wanted = open_source(path).frame.collect_schema().names(), f"{what}_id"
    if wanted not in names and len(names) > 1:
        raise DataError(f"{path}: there is no column {wanted!r}, and more than one to choose from: {', '.join(names)}")
    name = wanted if wanted in names else names[0]
    if name != wanted and name in known.ids.cast(pl.String, strict=False):
        raise DataError(
            f"{path}: the first line is taken for the name of the column, but {name!r} is a {what} id; write {wanted} "
            "above the ids, or give them in a file that ends in .txt"
        )
    source = open_source(path, roles=(name,), texts=(name,))
    try:
        with source.rows_checked() as check:
            values = source.frame.select(name).collect().to_series()
            check(len(values))
    except READ_ERRORS as error:
        raise source.explain(error, (name,)) from error
    return values
