"""What a report consists of, as facts: the templates decide how it looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from cofactor.report.tables import is_numeric, readable

if TYPE_CHECKING:
    import polars as pl

    from cofactor.report.charts import Chart

__all__ = ["Cell", "Charts", "Facts", "Figures", "Heading", "Image", "Piece", "Table", "Text", "table_piece"]


@dataclass(frozen=True)
class Heading:
    """A heading of level 2 (a section) or 3 (a part of it); ``anchor`` is what links to it."""

    macro: ClassVar = "heading"
    level: int
    text: str
    anchor: str


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    macro: ClassVar = "text"
    text: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what is read first, and what stands in brackets after a number, such as an interval."""

    text: str
    aside: str = ""


@dataclass(frozen=True)
class Table:
    """A table as texts.

    Attributes
    ----------
    names : list of str
        Names of the columns.
    numeric : list of bool
        Whether each column is aligned to the right.
    rows : list of list of Cell
    best_first : bool
        Whether the first row stands out.
    folded : str
        What a click opens the table by; "" for one that is open.
    """

    macro: ClassVar = "table"
    names: list[str]
    numeric: list[bool]
    rows: list[list[Cell]]
    best_first: bool
    folded: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    macro: ClassVar = "facts"
    facts: dict[str, str]


@dataclass(frozen=True)
class Image:
    """An SVG image in base64, and what it shows in words."""

    data: str
    description: str


@dataclass(frozen=True)
class Figures:
    """Images that follow each other: side by side where there is room, else one below the other."""

    macro: ClassVar = "figures"
    images: list[Image] = field(default_factory=list)


@dataclass(frozen=True)
class Charts:
    """Charts that follow each other: side by side where there is room, else one below the other."""

    macro: ClassVar = "charts"
    charts: list[Chart] = field(default_factory=list)


Piece: TypeAlias = Heading | Text | Table | Facts | Figures | Charts


def table_piece(frame: pl.DataFrame, *, best_first: bool, folded: str = "") -> Table:
    """Read a frame for a table; of numeric columns, what stands in brackets becomes the aside of its cell."""
    numeric = [is_numeric(column) for column in frame.iter_columns()]
    rows = [[_cell(value, split=n) for value, n in zip(row, numeric, strict=True)] for row in frame.iter_rows()]
    return Table(frame.columns, numeric, rows, best_first, folded)


def _cell(value: object, *, split: bool) -> Cell:
    text = readable(value)
    number, bracket, rest = text.partition(" (")
    return Cell(number, f"({rest}") if split and bracket else Cell(text)
