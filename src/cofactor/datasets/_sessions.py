"""Sessions and the tests of next items: what comes after the first events of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from cofactor.checks import check_type
from cofactor.data.events import Events, read_events
from cofactor.data.sources import Source
from cofactor.datasets._files import existing
from cofactor.errors import DataError
from cofactor.kernels.csr import offsets

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NextItem", "next_item", "next_item_tests"]


class NextItem(NamedTuple):
    """A split whose tests ask for the next item after the first events of a session.

    ``cf.evaluate(model.recommend_for(prefixes, k=20, exclude_seen=False), targets, ["hit_rate@20", "mrr@20"])``
    gives what papers call P@20 (or Recall@20) and MRR@20.

    Parameters
    ----------
    train : Events
    prefixes : polars.DataFrame
        ``user_id`` (number of the test, from 0), ``item_id``, ``position`` (from 1, the oldest); ascending.
    targets : polars.DataFrame
        ``user_id``, ``item_id``: the next item of each test.
    """

    train: Events
    prefixes: pl.DataFrame
    targets: pl.DataFrame


def next_item(train: str | Path, test: str | Path) -> NextItem:
    """Read a next-item split with whole training sessions, such as those of SR-GNN (Wu et al. 2019), from Parquet.

    The published files are pickles, which cofactor does not open, and hold every training session once for each of its
    prefixes. Here each is there once, whole.

    Parameters
    ----------
    train : str or Path
        One row per session, in the order of time, with a list column ``items``, the oldest first.
    test : str or Path
        One row per test: a list column ``prefix``, the oldest first, and ``target``.

    Returns
    -------
    NextItem
        ``train`` has ``session`` (the number of the row, from 0; the user as well) and ``item_id``, and no times:
        models take the sessions in the order of their numbers.

    Raises
    ------
    DataError
        A file is missing or has other columns, or an item is null.
    """
    train_path = existing(train, "the train file of a next-item split", "train")
    test_path = existing(test, "the test file of a next-item split", "test")
    sessions = _scan(train_path, {"items": True})
    tests = _scan(test_path, {"prefix": True, "target": False}).collect().with_row_index("user_id")
    tests = tests.cast({"user_id": pl.Int64})
    frame = (
        sessions.select("items")
        .with_row_index("session")
        .cast({"session": pl.Int64})
        .filter(pl.col("items").list.len() > 0)
        .explode("items")
        .rename({"items": "item_id"})
    )
    targets = tests.select("user_id", item_id="target")
    prefixes = tests.select("user_id", item_id="prefix").filter(pl.col("item_id").list.len() > 0).explode("item_id")
    for name, table in (("prefix", prefixes), ("target", targets)):
        if n := table["item_id"].null_count():
            raise DataError(f"{test}: {n} null(s) in {name}")
    place = pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("user_id")
    return NextItem(
        read_events(Source.of(frame, [train], "parquet"), user=None, session="session", item="item_id"),
        prefixes.with_columns(position=place),
        targets,
    )


def next_item_tests(events: Events) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Turn every session into tests: what comes after its first event, after its first two, and so on.

    Parameters
    ----------
    events : Events
        For example the later part of ``split.by_time``. Sessions are the ``session`` role, else the users; their events
        in the order of time (equal times, and logs without times, in the order of the log). A session of n events gives
        n - 1 tests, whose prefixes have n (n - 1) / 2 rows: leave robots out first.

    Returns
    -------
    prefixes, targets : polars.DataFrame
        As in `NextItem`, sessions in the order of their ids.

    Raises
    ------
    DataError
        No session has two events.
    """
    check_type("events", events, Events, "Events")
    session = events.session if events.session is not None else events.user
    columns = [pl.col(session).alias("session"), pl.col(events.item).alias("item_id")]
    table = events.frame.select(*columns, *([pl.col(events.time).alias("time")] if events.time else [])).collect()
    table = table.with_columns(at=pl.col("session").rank("dense"))
    table = table.sort(["at", "time"] if events.time else ["at"], maintain_order=True)
    lengths = table.group_by("at", maintain_order=True).len()["len"].to_numpy().astype(np.int64)
    n_tests = np.maximum(lengths - 1, 0)
    if not n_tests.sum():
        raise DataError("no session has two events, so that there is no next item to ask for")
    first = np.repeat(offsets(lengths)[:-1], n_tests)
    size = np.arange(1, n_tests.sum() + 1) - np.repeat(offsets(n_tests)[:-1], n_tests)
    position = np.arange(size.sum()) - np.repeat(offsets(size)[:-1], size)
    tests = np.arange(len(size), dtype=np.int64)
    items = table["item_id"]
    prefixes = pl.DataFrame(
        {
            "user_id": np.repeat(tests, size),
            "item_id": items.gather(np.repeat(first, size) + position),
            "position": (position + 1).astype(np.int32),
        }
    )
    return prefixes, pl.DataFrame({"user_id": tests, "item_id": items.gather(first + size)})


def _scan(path: Path, columns: dict[str, bool]) -> pl.LazyFrame:
    """A Parquet file with the given columns, which hold lists where True."""
    try:
        frame = pl.scan_parquet(path)
        schema = frame.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error})") from error
    for name, is_list in columns.items():
        if name not in schema or isinstance(schema[name], pl.List) != is_list:
            kind = "a column of lists" if is_list else "a column of ids"
            found = ", ".join(f"{c} ({t})" for c, t in schema.items())
            raise DataError(f"{path}: expected {kind} {name}, the columns are {found}")
    return frame.select(*columns)
