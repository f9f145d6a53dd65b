"""Text formats in which papers publish their splits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from cofactor.checks import warn
from cofactor.data.events import Events, read_events
from cofactor.data.sources import Source
from cofactor.datasets._files import TAB, bad_line, existing, open_text, rated, read_ratings
from cofactor.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LeaveOneOut", "leave_one_out_with_negatives", "user_item_lists"]


class LeaveOneOut(NamedTuple):
    """A leave-one-out split with the candidates to rank.

    Parameters
    ----------
    train : Events
    test : polars.DataFrame
        ``user_id``, ``item_id``: the held-out item of each user.
    candidates : polars.DataFrame
        ``user_id``, ``item_id``: the held-out item and the negatives of each user, distinct.
    """

    train: Events
    test: pl.DataFrame
    candidates: pl.DataFrame


def leave_one_out_with_negatives(train: str | Path, test_rating: str | Path, test_negative: str | Path) -> LeaveOneOut:
    """Read a split in the format of neural collaborative filtering (He et al. 2017).

    A negative that equals the held-out item or another negative of the same user is left out; how many are is
    reported by a `CofactorWarning`.

    Parameters
    ----------
    train : str or Path
        ``.train.rating``: lines of user, item, rating and epoch seconds between tabs. Or a Parquet file with
        columns ``user`` and ``item`` (or ``user_id`` and ``item_id``), and others that are not read.
    test_rating : str or Path
        ``.test.rating``: one such line per user.
    test_negative : str or Path
        ``.test.negative``: ``(user,item)`` of the test line, then the negative items, between tabs.

    Returns
    -------
    LeaveOneOut

    Raises
    ------
    DataError
        A file is missing, a line is of another form, or the two test files hold out different pairs.
    """
    train, test_rating, test_negative = (
        existing(path, f"the {what.replace('_', ' ')} file of a leave-one-out split", what)
        for path, what in ((train, "train"), (test_rating, "test_rating"), (test_negative, "test_negative"))
    )
    test = read_ratings(test_rating, (TAB,)).select("user_id", "item_id")
    if (twice := test.filter(pl.col("user_id").is_duplicated())).height:
        raise DataError(f"{test_rating}: user {twice['user_id'][0]} has more than one held-out item")
    held_out, negatives = _negatives(test_negative)
    if (other := held_out.join(test, on=["user_id", "item_id"], how="anti")).height or len(held_out) != len(test):
        example = f", for example {other.row(0)}" if other.height else ""
        raise DataError(
            f"{test_negative} holds out {len(held_out)} pairs, {test_rating} {len(test)}; "
            f"{other.height} of the former are not in the latter{example}"
        )
    candidates = pl.concat([test, negatives]).unique(maintain_order=True)
    if repeats := len(test) + len(negatives) - len(candidates):
        _warn(f"{test_negative}: left out {repeats} negatives that repeat the held-out item or another negative")
    return LeaveOneOut(_train(train), test, candidates.sort("user_id", maintain_order=True))


def user_item_lists(path: str | Path) -> Events:
    """Read lines of ``user item item ...``, the format of NGCF and LightGCN.

    Parameters
    ----------
    path : str or Path
        Whole numbers between blanks, one user per line; ``.gz`` is read too.

    Returns
    -------
    Events
        ``user_id`` (int32), ``item_id`` (int32), in file order. Users without an item have no row; how
        many they are is reported by a `CofactorWarning`.

    Raises
    ------
    DataError
        The file is missing, or a line holds something else than whole numbers.
    """
    path = existing(path, "a file of lines 'user item item ...'")
    with open_text(path) as file:
        lines = pl.Series("line", file.read().splitlines(), dtype=pl.String).str.strip_chars()
    tokens = lines.filter(lines != "").str.split(" ")
    table = pl.DataFrame({"user_id": tokens.list.first(), "item_id": tokens.list.slice(1)})
    n_items = table["item_id"].list.len()
    try:
        table = table.cast({"user_id": pl.Int32}).filter(n_items > 0).explode("item_id").cast({"item_id": pl.Int32})
    except pl.exceptions.PolarsError as error:
        raise bad_line(path, re.compile(r"\s*(-?\d+( -?\d+)*)?\s*$"), "user item item ...") from error
    if empty := int((n_items == 0).sum()):
        _warn(f"{path}: {empty} users have no item and are left out")
    return read_events(table, user="user_id", item="item_id")


def _train(path: Path) -> Events:
    if path.suffix != ".parquet":
        return rated(read_ratings(path, (TAB,)))
    columns = pl.scan_parquet(path).collect_schema().names()
    for user, item in (("user", "item"), ("user_id", "item_id")):
        if {user, item} <= set(columns):
            table = pl.scan_parquet(path).select(
                user_id=pl.col(user).cast(pl.Int32), item_id=pl.col(item).cast(pl.Int32)
            )
            return read_events(Source.of(table, [path], "parquet"), user="user_id", item="item_id")
    raise DataError(f"{path}: expected columns user and item (or user_id and item_id), got {', '.join(columns)}")


def _negatives(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Held-out pairs and negative pairs of a ``.test.negative`` file."""
    with open_text(path) as file:
        lines = pl.Series("line", file.read().splitlines(), dtype=pl.String)
    parts = (
        pl.DataFrame(lines)
        .select(pl.col("line").str.extract_groups(r"^\((?<user_id>\d+),\s*(?<item_id>\d+)\)\t(?<negative>[\d\t]+)$"))
        .unnest("line")
    )
    try:
        if parts["user_id"].null_count():
            raise pl.exceptions.ComputeError("a line is of another form")
        parts = parts.with_columns(pl.col("user_id", "item_id").cast(pl.Int32), pl.col("negative").str.split("\t"))
        negatives = parts.select("user_id", item_id="negative").explode("item_id").cast(pl.Int32)
    except pl.exceptions.PolarsError as error:
        pattern = re.compile(r"\(\d+,\s*\d+\)(\t\d+)+\s*$")
        raise bad_line(path, pattern, "(user,item)<TAB>negative<TAB>negative...") from error
    return parts.select("user_id", "item_id"), negatives


def _warn(message: str) -> None:
    warn(message)
