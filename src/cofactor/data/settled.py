"""Queries that may give other rows, or the same in another order, each time they are run."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from cofactor.checks import check_type
from cofactor.data.log import Log

if TYPE_CHECKING:
    import polars as pl

__all__ = ["gives_the_same_events", "gives_the_same_order", "settled"]

L = TypeVar("L", bound=Log)

# Lines of a plan, as polars shows it, that keep the order of what is read; whatever is not known here does not.
_IN_ORDER = re.compile(
    r"(Parquet|Csv|NDJson|Ipc) SCAN |DF \[|PROJECT |ESTIMATED ROWS: |ROW_INDEX: |ROW INDEX |SELECTION: |SLICE(\[|: )"
    r"|FILTER |FROM$|SELECT \[|WITH_COLUMNS:$|\[.*\]$|simple π |CACHE\[|EXPLODE \[|UNNEST |hint\.sorted"
    r"|HCONCAT$|UNION\[maintain_order: true\]|PLAN \d+:$|END (HCONCAT|UNION\[maintain_order: true\])$"
    r"|SORT BY \[maintain_order: true\]|UNIQUE\[maintain_order: true, |AGGREGATE\[maintain_order: true\]"
)
# Lines that give the same rows in any order; sources that are functions of Python are taken at their word.
_IN_ANY_ORDER = re.compile(
    r"(INNER|LEFT|RIGHT|FULL|SEMI|ANTI|CROSS) JOIN:?|(LEFT|RIGHT) PLAN|END |UNION\[|SORT BY |PYTHON SCAN"
    r"|UNIQUE\[maintain_order: false, keep_strategy: Any\] BY None"
)
_BY_CHANCE = re.compile(r"\.(shuffle|sample|python_udf|unique|mode|value_counts|rank|sort_by|top_k\w*|bottom_k\w*)\(")
_BY_PLACE = re.compile(
    r"SLICE|ROW.INDEX|maintain_order: true.*BY Some|AGGREGATE"
    r"|\.(over|shift|diff|cum_\w+|first|last|head|tail|slice|gather\w*|get|int_range|reverse|arg_\w+|\w+_fill|rle\w*)\("
)


def gives_the_same_order(frame: pl.LazyFrame) -> bool:
    """Whether a query gives the same rows in the same order at every run: tables and files that are filtered and so."""
    lines = _plan(frame)
    return all(map(_IN_ORDER.match, lines)) and not any(map(_BY_CHANCE.search, lines))


def gives_the_same_events(frame: pl.LazyFrame) -> bool:
    """Whether a query gives the same rows at every run, in whatever order."""
    lines = _plan(frame)
    if all(map(_IN_ORDER.match, lines)):
        return not any(map(_BY_CHANCE.search, lines))
    known = all(_IN_ORDER.match(line) or _IN_ANY_ORDER.match(line) for line in lines)
    return known and not any(_BY_CHANCE.search(line) or _BY_PLACE.search(line) for line in lines)


def settled(events: L, *, in_order: bool) -> L:
    """Events that are the same at every run, and with ``in_order`` come in the same order.

    Files and tables are, filtered or with columns added. Other queries (``unique``, joins, samples ...) are run once;
    the events are then held in memory, and a note says so.

    Raises
    ------
    ParameterError
        ``events`` are no Events.
    """
    check_type("events", events, Log, "Events, as read_events gives them")
    if (gives_the_same_order if in_order else gives_the_same_events)(events.frame):
        return events
    table = events.collect()
    note = (
        f"the query behind these events may give them in another order, or others, each time; it was run once and its "
        f"{table.height:,} rows are held in memory (to avoid it, write them to a file with sink_parquet and read that)"
    )
    return replace(events, frame=table.lazy(), notes=(*events.notes, note))


def _plan(frame: pl.LazyFrame) -> list[str]:
    return [line for text in frame.explain(optimized=False).splitlines() if (line := text.strip())]
