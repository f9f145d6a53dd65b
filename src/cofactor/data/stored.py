"""Events that a server has stored, in SQLite or PostgreSQL, as a table to train on."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cofactor.data.sources import Source
from cofactor.errors import DataError, MissingExtraError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["COLUMNS", "POSTGRES", "SQLITE", "divided", "is_store", "open_stored", "postgres_driver"]

COLUMNS = ("user_id", "item_id", "time", "event_type", "weight", "rating")
_QUERY = f"SELECT id, {', '.join(COLUMNS)} FROM cofactor_events ORDER BY id"

_ENDINGS = (".db", ".sqlite", ".sqlite3")
SQLITE, POSTGRES = "sqlite:///", ("postgresql://", "postgres://")  # what addresses of stores begin with
_CHUNK = 100_000  # events at a time
_TYPES: dict[str, Any] = {
    "time": pl.Datetime("us"), "event_type": pl.String, "weight": pl.Float64, "rating": pl.Float64,
}  # fmt: skip


def is_store(name: object) -> bool:
    """Whether a source is named as a store is: ``sqlite:///PATH``, ``PATH.db``, or ``postgresql://...``."""
    text = str(name) if isinstance(name, str | Path) else ""
    return text.startswith((SQLITE, *POSTGRES)) or text.lower().endswith(_ENDINGS)


def divided(source: Any) -> tuple[str | None, Any]:  # noqa: ANN401
    """The store among the sources, and the others; None where there is no such thing.

    Raises
    ------
    ParameterError
        There are two.
    """
    given = source if isinstance(source, list | tuple) else [source]
    stores = [str(one) for one in given if is_store(one)]
    if len(stores) > 1:
        raise ParameterError(f"{stores[1]}: one store can be read at a time, and {stores[0]} is one already")
    if not stores:
        return None, source
    return stores[0], [one for one in given if not is_store(one)] or None


def open_stored(name: str) -> Source:
    """All events of a store, in the order in which they came: ``user_id``, ``item_id``, ``time`` and so on.

    Raises
    ------
    DataError
        There is no such store, it cannot be read, or its ids are numbers and texts at once.
    MissingExtraError
        The driver is not installed.
    """
    told = "the store" if name.startswith(POSTGRES) else name  # whose address may hold a password
    chunks: list[pl.DataFrame] = []
    last = 0
    for rows in _rows(name, told):
        columns = dict(zip(("id", *COLUMNS), zip(*rows, strict=True), strict=True))
        last = columns.pop("id")[-1]
        series = [_ids(c, columns[c], told) for c in ("user_id", "item_id")]
        series += [pl.Series(c, columns[c], dtype=pl.Int64 if c == "time" else t) for c, t in _TYPES.items()]
        chunks.append(pl.DataFrame(series))
    if not chunks:
        raise DataError(f"{told}: the store holds no events")
    for column in ("user_id", "item_id"):
        kinds = {chunk[column].dtype for chunk in chunks}
        if len(kinds) > 1:
            raise _mixed(column, told, chunks[0][column][0])
    return Source(pl.concat(chunks).with_columns(pl.col("time").cast(_TYPES["time"])).lazy(), stored=last)


def _ids(column: str, values: Iterable[Any], told: str) -> pl.Series:
    values = list(values)
    if len({type(value) for value in values}) > 1:
        raise _mixed(column, told, next(v for v in values if isinstance(v, str)))
    return pl.Series(column, values, dtype=pl.Int64 if isinstance(values[0], int) else pl.String)


def _mixed(column: str, told: str, example: object) -> DataError:
    return DataError(
        f"{told}: {column} holds numbers and texts such as {example!r}, which are different ids. A server refuses ids "
        "that are not of its model's type; remove the others from the table cofactor_events"
    )


def _rows(name: str, told: str) -> Iterator[list[tuple[Any, ...]]]:
    """The events, some at a time."""
    if name.startswith(POSTGRES):
        yield from _of_postgres(name, told)
        return
    path = Path(name.removeprefix(SQLITE)).expanduser()
    if not path.is_file():
        raise DataError(f"{told}: no such file")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            cursor = connection.execute(_QUERY)
            while rows := cursor.fetchmany(_CHUNK):
                yield rows
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise DataError(f"{told} cannot be read as a store of events: {error}") from error


def _of_postgres(url: str, told: str) -> Iterator[list[tuple[Any, ...]]]:
    psycopg = postgres_driver()
    try:
        with psycopg.connect(url) as connection, connection.cursor(name="cofactor_events") as cursor:
            cursor.itersize = _CHUNK
            cursor.execute(_QUERY)
            while rows := cursor.fetchmany(_CHUNK):
                yield rows
    except psycopg.Error as error:
        raise DataError(f"{told} cannot be read as a store of events: {str(error).splitlines()[0]}") from error


def postgres_driver() -> Any:  # noqa: ANN401
    """The module psycopg; a MissingExtraError where it is not installed."""
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtraError(
            "a store in PostgreSQL needs psycopg, which is not installed; run: pip install 'cofactor[postgres]'"
        ) from error
    return psycopg
