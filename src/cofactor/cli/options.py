"""Arguments and options that several commands share, declared once."""

import warnings
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from cofactor.cli.output import note
from cofactor.cli.wording import in_options
from cofactor.data import weights
from cofactor.data.aggregate import Weight
from cofactor.data.events import Events, read_events
from cofactor.datasets import otto
from cofactor.errors import CofactorWarning

__all__ = [
    "Columns",
    "EventFiles",
    "Json",
    "Metrics",
    "ModelFolder",
    "OnUnknown",
    "Output",
    "Params",
    "Places",
    "Repeats",
    "Weighing",
    "by_name",
]


class _Anonymous(StrEnum):
    ERROR = "error"
    DROP = "drop"
    SESSION = "session"


class _TimeUnit(StrEnum):
    S = "s"
    MS = "ms"
    US = "us"
    NS = "ns"


class _ImplausibleTimes(StrEnum):
    ERROR = "error"
    ALLOW = "allow"


class _Format(StrEnum):
    PARQUET = "parquet"
    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    ARROW = "arrow"
    OTTO = "otto"


class OnUnknown(StrEnum):
    """What to do with ids that the model does not know."""

    ERROR = "error"
    SKIP = "skip"


EventFiles = Annotated[
    list[str],
    typer.Argument(
        metavar="EVENTS",
        help="Event log: Parquet, CSV, JSON lines or Arrow; files, a folder, a glob or - (stdin); last, if there is "
        "one, a server's store: PATH.db or postgresql://...",
    ),
]
ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="File to write: .parquet, .csv, .jsonl or .arrow. Without it, the first rows are shown."
    ),
]
Places = Annotated[int, typer.Option("-k", help="Length of the lists.")]
Repeats = Annotated[bool, typer.Option("--repeats", help="Items that the user had before may come again.")]
Metrics = Annotated[str, typer.Option("--metrics", help="Names separated by commas; the first decides the order.")]
Params = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="NAME=VALUE",
        help="Parameter of a model, as factors=128 or als.factors=128; repeatable.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@dataclass(frozen=True)
class Columns:
    """The columns of an event log, by role; the options of ``read_events``."""

    user: Annotated[str, typer.Option("--user", help="Column of user ids.")] = "user_id"
    item: Annotated[str, typer.Option("--item", help="Column of item ids.")] = "item_id"
    time: Annotated[str | None, typer.Option("--time", help="Column of times.")] = None
    session: Annotated[str | None, typer.Option("--session", help="Column of session ids.")] = None
    event_type: Annotated[str | None, typer.Option("--event-type", help="Column of event types.")] = None
    rating: Annotated[str | None, typer.Option("--rating", help="Column of ratings.")] = None
    anonymous: Annotated[
        _Anonymous,
        typer.Option(
            "--anonymous", help="Events without a user: stop, leave them out, or let the session be the user."
        ),
    ] = _Anonymous.ERROR
    time_unit: Annotated[
        _TimeUnit | None, typer.Option("--time-unit", help="What numeric times count; inferred unless given.")
    ] = None
    time_format: Annotated[
        str | None, typer.Option("--time-format", help="How times are written, as %Y%m%d for 20230101.")
    ] = None
    implausible_times: Annotated[
        _ImplausibleTimes,
        typer.Option("--implausible-times", help="Times before 1990 or after tomorrow: stop, or allow them."),
    ] = _ImplausibleTimes.ERROR
    null_values: Annotated[
        list[str] | None,
        typer.Option("--null-value", help="Text that stands for a missing value, as NA; repeatable."),
    ] = None
    separator: Annotated[
        str | None, typer.Option("--separator", help="Between the fields of CSV; told by the header unless given.")
    ] = None
    encoding: Annotated[str, typer.Option("--encoding", help="Of CSV and JSON lines, as latin-1.")] = "utf8"
    format: Annotated[
        _Format | None, typer.Option("--format", help="Of the files, where their names do not tell it.")
    ] = None

    def options(self) -> dict[str, Any]:
        """The options of ``read_events``."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value.value if isinstance(value, StrEnum) else value for name, value in given.items()}

    def read(self, source: Any) -> Events:  # noqa: ANN401
        """Read an event log and tell what was inferred or left out."""
        if self.format is _Format.OTTO:
            more = [f.name for f in fields(self) if f.name != "format" and getattr(self, f.name) != f.default]
            if more:
                raise typer.BadParameter(
                    f"--format otto has columns of its own; leave out {', '.join(map(_option, more))}"
                )
            return otto(source)
        plain = self.options()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CofactorWarning)  # the notes say the same
            events = read_events(source, **plain)
        for line in events.notes:
            note(in_options(line, [f"--{name.replace('_', '-')}" for name in plain]))
        return events


def _option(name: str) -> str:
    return "--null-value" if name == "null_values" else f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class Weighing:
    """How the events of a (user, item) become one weight."""

    weight: Annotated[
        str,
        typer.Option(
            "--weight", help="count: number of events; one; sum:COLUMN; type:clicks=1,carts=3: by type of event."
        ),
    ] = "count"
    half_life: Annotated[
        str | None, typer.Option("--half-life", help="An event loses half its weight in this time, as 30d.")
    ] = None
    cap: Annotated[float | None, typer.Option("--cap", help="Largest weight of a (user, item).")] = None

    def expression(self) -> Weight:
        """The polars aggregation that the options describe."""
        kind, _, rest = self.weight.partition(":")
        age = None if self.half_life is None else weights.half_life(self.half_life)
        pair: pl.Expr
        if self.weight == "count":
            pair = pl.len() if age is None else age.sum()
        elif self.weight == "one":
            pair = pl.lit(1.0) if age is None else age.max()
        elif kind in ("type", "sum") and rest:
            event = weights.by_type(by_name("--weight", rest, "type:")) if kind == "type" else pl.col(rest)
            pair = (event if age is None else event * age).sum()
        else:
            raise typer.BadParameter(f"--weight {self.weight}: give count, one, sum:COLUMN or type:NAME=NUMBER,...")
        return pair if self.cap is None else weights.capped(pair, self.cap)


def by_name(option: str, text: str, before: str = "") -> dict[Any, float]:
    """Read ``clicks=1,carts=3``, which follows ``before`` in the value of an option."""
    try:
        return {name.strip(): float(number) for name, number in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise typer.BadParameter(
            f"{option} {before}{text}: give a number for every type, as {before}clicks=1,carts=3"
        ) from None
