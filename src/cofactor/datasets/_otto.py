"""The OTTO session log (Normann et al. 2023), as published: one JSON object per session and line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from cofactor.checks import check_type
from cofactor.data.events import Events, read_events
from cofactor.data.paths import refuse_twice
from cofactor.data.sources import Source
from cofactor.datasets._files import existing, open_text
from cofactor.errors import DataError, ParameterError

__all__ = ["otto"]

_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "session": pl.Int32,
    "events": pl.List(pl.Struct({"aid": pl.Int32, "ts": pl.Int64, "type": pl.String})),
}
_EXPECTED = '{"session": ..., "events": [{"aid": ..., "ts": ..., "type": ...}, ...]}'


def otto(path: str | Path | Iterable[str | Path]) -> Events:
    """Scan sessions with nested events, flattened to one row per event. Lazy: the log need not fit in memory.

    Parameters
    ----------
    path : str, Path or several
        Files of JSON lines, also compressed (``.gz``). Where several are given they are read in that order.

    Returns
    -------
    Events
        ``session`` (int32; the user as well), ``aid`` (int32), ``time`` (from milliseconds), ``type``
        (``clicks``, ``carts``, ``orders``). Sessions without events have no row.

    Raises
    ------
    DataError
        A file is missing or named twice, or a line is of another form; names the file and the line.
    """
    check_type("path", path, str | Path | Iterable, "a path, or several")
    given = [path] if isinstance(path, str | Path) else list(path)
    if not given:
        raise ParameterError("path is empty; give at least one file")
    paths = [existing(p, "a file of OTTO sessions as JSON lines") for p in given]
    refuse_twice([str(p) for p in paths])
    frame = (
        pl.scan_ndjson(paths, schema=_SCHEMA)
        .filter(pl.col("events").list.len().ne_missing(0))
        .explode("events")
        .unnest("events")
        .select("session", "aid", "type", time=pl.from_epoch("ts", "ms").cast(pl.Datetime("us")))
    )
    source = Source.of(frame, paths, "jsonl")
    try:
        return read_events(source, user=None, item="aid", time="time", session="session", event_type="type")
    except DataError as error:
        raise _bad_session(paths) or error from error


def _bad_session(paths: Iterable[Path]) -> DataError | None:
    """Find the first line that is no session."""
    for path in paths:
        with open_text(path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip() and not _is_session(line):
                    return DataError(f"{path}, line {number}: expected {_EXPECTED}, got {line.rstrip()[:80]!r}")
    return None


def _is_session(line: str) -> bool:
    try:
        session = json.loads(line)
        numbers = [session["session"], *(event[key] for event in session["events"] for key in ("aid", "ts"))]
    except (ValueError, KeyError, TypeError):
        return False
    return all(isinstance(number, int) for number in numbers)
