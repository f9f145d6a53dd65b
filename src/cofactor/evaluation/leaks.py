"""Whether a test side tells models what they could not know: times, repeats, unknown ids, features of the future."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl

from cofactor.checks import shown
from cofactor.data.cuts import cut_of
from cofactor.data.log import Log
from cofactor.data.tables import TableLike, cast_ids, read_table
from cofactor.data.user_items import UserItems
from cofactor.errors import DataError, ParameterError
from cofactor.evaluation.leak_counts import LeakCounts
from cofactor.evaluation.unseen import unseen
from cofactor.system import views

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LeakCheck", "check_leaks"]

_IDS = ["user_id", "item_id"]

Row: TypeAlias = tuple[str, str, int | None, int | None, str]
"""Of the table: check, kind, found, of, meaning."""


@dataclass(frozen=True, repr=False)
class LeakCheck(views.Viewed):
    """What ``check_leaks`` found; printed, it is its one line.

    Parameters
    ----------
    table : DataFrame
        One row per check: ``check`` (its name), ``kind`` (``leak``: models learn from what they are asked for;
        ``notice``: worth knowing), ``found``, ``of`` (how many there are), and ``meaning``, in words. ``found`` is null
        where it could not be checked, for want of times.
    """

    table: pl.DataFrame

    @property
    def has_leaks(self) -> bool:
        """Whether any check of kind ``leak`` found something."""
        return not self.table.filter((pl.col("kind") == "leak") & (pl.col("found") > 0)).is_empty()

    @property
    def summary(self) -> str:
        """All of it in one line."""
        told: dict[str, list[str]] = {"leak": [], "notice": []}
        for row in self.table.filter(pl.col("found") > 0).iter_rows(named=True):
            told[row["kind"]].append(f"{row['found']:,} of {row['of']:,} {row['meaning']}")
        unchecked = self.table.filter(pl.col("found").is_null())["check"].to_list()
        parts = [f"leaks: {'; '.join(told['leak'])}" if told["leak"] else "no leaks found"]
        if told["notice"]:
            parts.append(f"to know: {'; '.join(told['notice'])}")
        if unchecked:
            parts.append(f"not checked for want of times: {', '.join(unchecked)}")
        return ". ".join(parts)

    def _view(self) -> views.View:
        rows = [
            views.Row((check, kind, "" if found is None else f"{found:,}", "" if of is None else f"{of:,}", meaning))
            for check, kind, found, of, meaning in self.table.iter_rows()
        ]
        table = views.ViewTable("checks", self.table.columns, rows, folded=True)
        return views.View("Leaks" if self.has_leaks else "No leaks found", "", {"told": self.summary}, [table])

    def __str__(self) -> str:
        return self.summary

    def __repr__(self) -> str:
        return self.summary


def check_leaks(
    train: Any,  # noqa: ANN401
    test: TableLike,
    *,
    features: TableLike | Mapping[str, TableLike] | None = None,
    cut: str | date | datetime | None = None,
) -> LeakCheck:
    """Check that training data tells nothing of the test.

    Parameters
    ----------
    train : Events, Interactions, Ratings, or table with ``user_id`` and ``item_id``
        Times are those of the events, or of the log that interactions were made of; or a column ``time``.
    test : Events, Interactions, Ratings, or table with ``user_id`` and ``item_id``
    features : table with ``time``, or mapping of such by name, optional
        Rows from the cut on look ahead. Events count by their time.
    cut : date, datetime or ISO text, optional
        Where training ends and the test begins; by default at the first test event.

    Returns
    -------
    LeakCheck
        ``.summary``, one line, and ``.table``. Its checks:

        ``user_order``
            Test events before the same user's last training event: a leak.
        ``same_events``
            Test events that training holds too, at the same time: a leak.
        ``before_cut``, ``after_cut``
            Test events before the cut, training events from it on. Leaks if a cut is given; else a notice, since in a
            split by user, such as ``leave_last``, others go on while the test has begun.
        ``features``, or the name of each
            Rows of features from the cut on: a leak.
        ``same_pairs``
            Distinct test pairs of user and item that training holds too, which lists of new items leave out: a notice.
        ``new_users``, ``new_items``
            Users and items that only the test has: a notice.

    Raises
    ------
    DataError
        A table lacks a column or holds null, there is no test row, or ids or times are of another type in train.
    ParameterError
        The cut is no point in time, or features have no times.

    Examples
    --------
    >>> train = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 8, 7], "time": [1, 5, 2]})
    >>> test = pl.DataFrame({"user_id": [1, 2], "item_id": [9, 8], "time": [3, 6]})
    >>> print(check_leaks(train, test).summary)
    leaks: 1 of 2 test events are before the same user's last training event. to know: 1 of 3 training events are not \
before the first test event; 1 of 2 test items are unknown to training
    """
    log, matrix = _log_of(train, "train"), train if isinstance(train, UserItems) else None
    held = _log_of(test, "test").collect(engine="streaming")
    if held.is_empty():
        raise DataError("test: there are no rows, so there is nothing to check")
    begin = _begin(cut, held)
    rows = [*_of_events(log, matrix, held, begin, given=cut is not None)]
    rows += [_of_features(name, table, begin) for name, table in _named(features).items()]
    schema = {"check": pl.String, "kind": pl.String, "found": pl.Int64, "of": pl.Int64, "meaning": pl.String}
    return LeakCheck(pl.DataFrame(rows, schema, orient="row"))


def _log_of(given: Any, name: str) -> pl.LazyFrame:  # noqa: ANN401
    """``user_id``, ``item_id`` and perhaps ``time`` of every event, or of every pair where no events are known."""
    is_matrix = isinstance(given, UserItems)
    log = getattr(given, "events", None) if is_matrix else given
    if isinstance(log, Log):
        roles = {"user_id": log.user, "item_id": log.item, "time": log.time}
        return log.frame.select(pl.col(c).alias(role) for role, c in roles.items() if c is not None)
    table = given.to_frame().select(_IDS) if is_matrix else read_table(given, _IDS, name)
    if objects := [column for column in _IDS if table.schema[column] == pl.Object]:
        raise DataError(f"{name}: {objects[0]} holds objects of Python; make the ids text or whole numbers first")
    return table.lazy().select(*_IDS, *(["time"] if "time" in table.columns else []))


def _begin(cut: str | date | datetime | None, held: pl.DataFrame) -> Any:  # noqa: ANN401
    """Where the test begins; None if there are no times."""
    if cut is None:
        return held["time"].min() if "time" in held.columns else None
    try:
        point = datetime.fromisoformat(cut.strip()) if isinstance(cut, str) else cut
        if not isinstance(point, date):  # a length of time has no end to be counted from here
            raise ParameterError("no point in time")
        return cut_of(point, datetime.min, datetime.max)
    except (ValueError, DataError) as error:
        raise ParameterError(f"cut={shown(cut)}: give a date, a datetime or text such as '2024-03-01'") from error


def _of_events(
    log: pl.LazyFrame,
    matrix: UserItems | None,
    held: pl.DataFrame,
    begin: Any,  # noqa: ANN401
    *,
    given: bool,
) -> Iterator[Row]:
    """The checks of a test, collected, against training; one pass over the log."""
    schema = log.collect_schema()
    timed = "time" in schema
    if timed and "time" in held.columns and held.schema["time"] != schema["time"]:
        ours, theirs = held.schema["time"], schema["time"]
        raise DataError(f"time is {ours} in test and {theirs} in train; cast one to the other's type")
    alike = held.with_columns(cast_ids(held[c], schema[c], "train") for c in _IDS)
    found = LeakCounts(alike if timed else alike.select(_IDS))
    found.count(log, begin if timed else None)
    n, late = held.height, found.n_late if timed and begin is not None else None
    yield "user_order", "leak", found.n_early, n, "test events are before the same user's last training event"
    yield "same_events", "leak", found.n_same, n, "test events are in training too, at the same time"
    if given:
        before = int((held["time"] < begin).sum()) if "time" in held.columns else None
        yield "before_cut", "leak", before, n, "test events are before the cut"
    told = "training events are not before " + ("the cut" if given else "the first test event")
    yield "after_cut", "leak" if given else "notice", late, found.n_events, told
    outside = {name: held.filter(alike[name].is_null()) for name in _IDS}  # of what the ids of training can be
    beyond = held.filter(pl.any_horizontal(alike[name].is_null() for name in _IDS)).select(_IDS).unique().height
    (n_both, n_pairs), known = found.n_met("pair"), {name: found.n_met(name) for name in _IDS}
    if matrix is not None:  # whose log may hold what it left out
        pairs = alike.select(_IDS).unique().drop_nulls()
        n_both = pairs.height - unseen(pairs, matrix).height
        for name, ids in zip(_IDS, (matrix.users, matrix.items), strict=True):
            known[name] = int((ids.rows(alike[name].unique()) >= 0).sum()), known[name][1]
    yield "same_pairs", "notice", n_both, n_pairs + beyond, "test pairs are in training too"
    for name in _IDS:
        (n_known, of), told = known[name], name.replace("_id", "s")
        of += outside[name][name].n_unique()
        yield f"new_{told}", "notice", of - n_known, of, f"test {told} are unknown to training"


def _named(features: TableLike | Mapping[str, TableLike] | None) -> dict[str, TableLike]:
    if features is None:
        return {}
    if not isinstance(features, Mapping):
        return {"features": features}
    if not features:
        raise ParameterError("features: the mapping is empty; pass tables by name, or None where there are none")
    return dict(features)


def _of_features(name: str, table: TableLike, begin: Any) -> Row:  # noqa: ANN401
    if isinstance(table, Log):
        if table.time is None:
            raise ParameterError(f"{name}: the events have no times; read them with time=, or leave them out")
        table = table.frame.select(time=pl.col(table.time))
    elif isinstance(table, pl.LazyFrame):
        table = table.select("time") if "time" in table.collect_schema() else table
    times = read_table(table, ["time"], name)["time"]
    if begin is None:
        raise ParameterError(
            f"{name}: where the test begins is not known, as its events have no times; give it as cut="
        )
    if isinstance(times.dtype, pl.Date | pl.Datetime) != isinstance(begin, datetime):
        raise DataError(f"{name}: time is {times.dtype}, which cannot be held against {shown(begin)}; cast it first")
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is not None:  # logs hold their times in UTC
        times = times.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return name, "leak", int((times >= begin).sum()), len(times), f"rows of {name} are not before the test begins"
