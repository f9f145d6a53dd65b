"""Submissions of session competitions: ``session_type,labels``, a row for each session and type of event."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from cofactor.checks import check_at_least, check_type, shown
from cofactor.data.log import Log
from cofactor.data.sources import first_line
from cofactor.data.tables import TableLike, check_lists, read_table
from cofactor.errors import DataError, ParameterError
from cofactor.evaluation.by_type import tables_of
from cofactor.system.files import check_output, replacing

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["lists_for", "read", "write"]

_TYPES = ("clicks", "carts", "orders")
_COLUMNS = ("session_type", "labels")
_ROWS = 500_000  # of a file that are taken apart together


class _Continuing(Protocol):
    """What is asked of a model."""

    def recommend_for(self, histories: pl.DataFrame, k: int, *, exclude_seen: bool) -> pl.DataFrame:
        """List the best k items of each history: ``user_id``, ``item_id``, ``score``, ``rank``."""


def lists_for(
    model: _Continuing, sessions: Log | TableLike, k: int = 20, *, part: int = 50_000
) -> Iterator[pl.DataFrame]:
    """Lists for sessions, what they hold already among it, part by part.

    Parameters
    ----------
    model : fitted model
    sessions : Events, or table with ``user_id`` and ``item_id``
        As ``recommend_for`` takes them; of Events the session, or else the user, and times and types where known.
    k : int
    part : int
        Sessions that are asked for at a time.

    Yields
    ------
    DataFrame
        As ``recommend_for``, whole sessions in the order of their ids; nothing where there are no sessions.
    """
    check_at_least("k", k, 1, whole=True)
    check_at_least("part", part, 1, whole=True)
    if not hasattr(model, "recommend_for"):
        raise ParameterError(f"model must be a fitted model, got {shown(model)}")
    return _lists_for(model, _as_table(sessions), int(k), int(part))


def _lists_for(model: _Continuing, table: pl.DataFrame, k: int, part: int) -> Iterator[pl.DataFrame]:
    table = table.sort("user_id", maintain_order=True)
    starts = table.select((pl.col("user_id").rle_id().diff().fill_null(1) > 0).arg_true()).to_series()[::part].to_list()
    if table.is_empty():
        return
    for begin, end in zip(starts, [*starts[1:], len(table)], strict=True):
        yield model.recommend_for(table[begin:end], k, exclude_seen=False)


def _as_table(sessions: Log | TableLike) -> pl.DataFrame:
    if not isinstance(sessions, Log):
        return read_table(sessions, ["user_id", "item_id"], "sessions")
    owner = sessions.session if sessions.session is not None else sessions.user
    roles = {"time": sessions.time, "event_type": sessions.event_type}
    columns = {name: pl.col(column) for name, column in roles.items() if column is not None}
    return sessions.with_frame(sessions.frame).frame.select(user_id=owner, item_id=sessions.item, **columns).collect()


def write(
    lists: TableLike | Iterable[TableLike],
    path: str | Path,
    *,
    k: int = 20,
    types: Sequence[str] = _TYPES,
    sessions: pl.Series | Sequence[Any] | None = None,
    fill: pl.Series | Sequence[Any] | None = None,
) -> int:
    """Write a submission, table after table, and put it in its place when all of it is there.

    Parameters
    ----------
    lists : table, or several
        ``user_id`` (the session), ``item_id``, ``rank``, and perhaps ``event_type``; without it a list is written for
        every type. Several, such as ``lists_for`` gives them, are written one after the other: one at a time has to fit
        into memory. Each holds whole sessions.
    path : path
        A name that ends in .csv.
    k : int
        How many labels each row has, all different. Longer lists are cut by rank.
    types : sequence of str
        The rows of a session.
    sessions : ids, optional
        Sessions that must be there, such as test sessions without events; those without a list have ``fill`` alone.
    fill : ids of items, optional
        What completes lists that are shorter, in that order: popular items.

    Returns
    -------
    int
        Sessions that were written.

    Raises
    ------
    DataError
        A list is shorter than k and ``fill`` does not complete it, a session comes twice, an item comes twice in a
        list, an id holds a space, a comma or a quote, or an event type is none of ``types``.
    ParameterError
        A parameter is out of its range, or the file cannot be written (the disk is full ...): what was there stays.
    """
    check_at_least("k", k, 1, whole=True)
    names = _names(types)
    check_type("path", path, str | Path, "a path")
    target = check_output(path, (".csv",))
    fillers, wanted = _ids(fill, "fill"), _ids(sessions, "sessions")
    if fillers is not None:
        fillers = fillers.unique(maintain_order=True).head(2 * int(k))  # a list holds less than k of them
        _check_plain(fillers, "of fill=")
    with replacing(target) as beside, beside.open("wb") as file:
        file.write(",".join(_COLUMNS).encode() + b"\n")
        tables = tables_of(lists, "lists", none=wanted is not None)
        parts = [_write_part(file, given, int(k), names, fillers) for given in tables]
        done = pl.concat(parts) if wanted is None or parts else wanted.clear()
        if done.is_duplicated().any():
            raise DataError(f"lists: session {done.filter(done.is_duplicated())[0]!r} is in two of the tables")
        if wanted is not None:
            missing = _as_written(wanted, done).unique(maintain_order=True)
            missing = missing.filter(~missing.is_in(done.implode()))
            _write_rows(file, _texts(missing.to_frame("user_id"), None, int(k), names, fillers), names)
            done = pl.concat([done, missing])
    return len(done)


def _write_part(file: BinaryIO, given: TableLike, k: int, types: list[str], fill: pl.Series | None) -> pl.Series:
    table = read_table(given, ["user_id", "item_id", "rank"], "lists")
    sessions = table.select(pl.col("user_id").unique(maintain_order=True))
    if "event_type" in table.columns:
        table = read_table(table, ["event_type"], "lists").with_columns(pl.col("event_type").cast(pl.String))
        unknown = table.filter(~pl.col("event_type").is_in(types))["event_type"].unique().sort()
        if len(unknown):
            raise DataError(f"lists: there are rows of type {', '.join(unknown)}; types={types} are written")
        texts = pl.DataFrame(sessions)
        for name in types:
            of_type = table.filter(event_type=name)
            check_lists(of_type)
            texts = texts.with_columns(_texts(sessions, of_type, k, [name], fill)[name])
    else:
        check_lists(table)
        texts = _texts(sessions, table, k, types, fill)
    _write_rows(file, texts, types)
    return sessions["user_id"]


def _texts(
    sessions: pl.DataFrame, table: pl.DataFrame | None, k: int, types: list[str], fill: pl.Series | None
) -> pl.DataFrame:
    """The sessions with their labels, for all types the same; k different ones each."""
    if table is None:
        labels = sessions.with_columns(labels=pl.lit([], pl.List(pl.String)))
    else:
        _check_plain(table["item_id"], "item_id")
        rows = table.sort("user_id", "rank").with_columns(pl.col("item_id").cast(pl.String))
        lists = rows.group_by("user_id", maintain_order=True).agg(labels=pl.col("item_id").head(k))
        empty = pl.lit([], pl.List(pl.String))
        labels = sessions.join(lists, on="user_id", how="left", maintain_order="left").with_columns(
            pl.col("labels").fill_null(empty)
        )
    if fill is not None:
        more = pl.lit(fill.cast(pl.String).implode())
        both = pl.col("labels").list.concat(more).list.unique(maintain_order=True).list.head(k)
        labels = labels.with_row_index("at")
        short = pl.col("labels").list.len() < k
        filled = labels.filter(short).with_columns(labels=both)
        labels = pl.concat([labels.filter(~short), filled]).sort("at").drop("at")
    short_of = labels.filter(pl.col("labels").list.len() < k)
    if short_of.height:
        user, has = short_of.row(0)
        raise DataError(
            f"lists: {short_of.height:,} sessions have fewer than k={k} different labels, the first is {user!r} with "
            f"{len(has)}; give popular items as fill=, enough of them"
        )
    _check_plain(labels["user_id"], "user_id")
    joined = pl.col("labels").list.join(" ")
    return labels.select("user_id", *(joined.alias(name) for name in types))


def _write_rows(file: BinaryIO, texts: pl.DataFrame, types: list[str]) -> None:
    session = pl.col("user_id").cast(pl.String)
    rows = texts.with_row_index("at").unpivot(types, index=["at", "user_id"], variable_name="type", value_name="labels")
    order = pl.col("type").replace_strict(types, list(range(len(types))), return_dtype=pl.Int32)
    rows = rows.sort("at", order).select(session_type=session + "_" + pl.col("type"), labels="labels")
    rows.write_csv(file, include_header=False)


def read(path: str | Path, *, dtype: pl.DataType | type[pl.DataType] = pl.Int64) -> Iterator[pl.DataFrame]:
    """Read a submission back, part by part, as ``evaluate_by_type`` takes it.

    Parameters
    ----------
    path : path
    dtype : polars type
        Of the ids of sessions and items.

    Yields
    ------
    DataFrame
        ``user_id``, ``event_type``, ``item_id``, ``rank`` (from 1).

    Raises
    ------
    DataError
        The file is missing, has other columns, a row names no session and type, or an id is not of the type.
    """
    check_type("path", path, str | Path, "a path")
    if not (isinstance(dtype, pl.DataType | type(pl.Int64)) and (dtype.is_integer() or dtype == pl.String)):
        raise ParameterError(f"dtype must be pl.String or a type of whole numbers, got {shown(dtype)}")
    try:
        table = pl.read_csv(path, schema_overrides=dict.fromkeys(_COLUMNS, pl.String), infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read as a submission: {first_line(error)}") from error
    if tuple(table.columns) != _COLUMNS:
        raise DataError(f"{path}: the columns are {', '.join(table.columns)}, and should be {', '.join(_COLUMNS)}")
    return _parts(table, path, dtype)


def _parts(table: pl.DataFrame, path: str | Path, dtype: Any) -> Iterator[pl.DataFrame]:  # noqa: ANN401
    for part in table.iter_slices(_ROWS):
        named = pl.col("session_type").str.extract_groups(r"^(?<user_id>.+)_(?<event_type>[^_]+)$")
        rows = part.with_columns(named).unnest("session_type").with_columns(pl.col("labels").str.split(" "))
        if (n := rows["user_id"].null_count()) > 0:
            first = part["session_type"][rows["user_id"].is_null().arg_max() or 0]
            raise DataError(f"{path}: {n} rows name no session and type, such as 12_clicks; the first is {first!r}")
        rank = pl.int_ranges(1, pl.col("labels").list.len() + 1, dtype=pl.Int32)
        rows = rows.filter(pl.col("labels").is_not_null()).with_columns(rank=rank)
        rows = rows.explode("labels", "rank").filter(pl.col("labels") != "")
        try:
            ids = {"user_id": pl.col("user_id").cast(dtype), "item_id": pl.col("labels").cast(dtype)}
            yield rows.select(**ids, event_type="event_type", rank="rank")
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"{path}: ids are not of type {dtype} ({first_line(error)}); give their type as dtype="
            ) from error


def _names(types: Any) -> list[str]:  # noqa: ANN401
    names = list(types) if isinstance(types, Sequence) and not isinstance(types, str) else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ParameterError(f"types={shown(types)}; it must be a list of event types, such as ['clicks', 'carts']")
    for name in names:
        if re.search(r'[\s,"_]', name):
            raise ParameterError(
                f"types: {name!r} holds a space, a comma, a quote or a _, which separate it in the file; rename it"
            )
    if len(set(names)) < len(names):
        raise ParameterError(f"types={shown(types)}; each has rows of its own: name it once")
    return names


def _ids(values: Any, what: str) -> pl.Series | None:  # noqa: ANN401
    if values is None:
        return None
    if isinstance(values, str | bytes | Mapping):
        raise ParameterError(f"{what} must be ids, got {shown(values)}; write one as a list, [{shown(values)}]")
    try:
        ids = values if isinstance(values, pl.Series) else pl.Series(list(values))
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{what} must be ids, got {shown(values)}") from error
    if n := ids.null_count():
        first = ids.is_null().arg_max()
        raise ParameterError(f"{what} holds {n:,} null(s), the first at place {first}; leave them out")
    if not (ids.dtype.is_integer() or ids.dtype in (pl.String, pl.Categorical, pl.Enum)):
        raise ParameterError(f"{what} must be ids, whole numbers or texts, got {ids.dtype}")
    return ids


def _as_written(sessions: pl.Series, done: pl.Series) -> pl.Series:
    """The ids of sessions in the type that the lists have them in."""
    try:
        return sessions.cast(done.dtype).rename(done.name)
    except pl.exceptions.PolarsError as error:
        raise ParameterError(f"sessions are {sessions.dtype}, and {done.dtype} in lists; cast them first") from error


def _check_plain(ids: pl.Series, column: str) -> None:
    """Raise DataError for ids that the file would not tell apart."""
    if ids.dtype.is_integer():
        return
    bad = ids.cast(pl.String).str.contains(r'[\s,"]')
    if bad.any():
        raise DataError(f"lists: {column} {ids.filter(bad)[0]!r} holds a space, a comma or a quote, which separate ids")
