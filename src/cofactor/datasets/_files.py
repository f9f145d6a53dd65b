"""What the readers share: rating lines in three layouts, and errors that name the file and the line."""

from __future__ import annotations

import gzip
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

import polars as pl

from cofactor.checks import check_type
from cofactor.data.events import Events, read_events
from cofactor.data.sources import READ_ERRORS
from cofactor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["COMMA", "DOUBLE_COLON", "TAB", "Layout", "bad_line", "existing", "open_text", "rated", "read_ratings"]


@dataclass(frozen=True, slots=True)
class Layout:
    """One rating per line: user, item, rating, epoch seconds.

    Parameters
    ----------
    separator : str
        Between the four fields.
    header : str or None
        The first line, where there is one.
    """

    separator: str
    header: str | None = None

    @property
    def expected(self) -> str:
        """A line of this layout, for error messages."""
        return self.separator.join(["user", "item", "rating", "timestamp"]).replace("\t", "<TAB>")

    @property
    def pattern(self) -> re.Pattern[str]:
        """What every line but the header matches."""
        return re.compile(self.separator.join([r"\d+", r"\d+", r"\d+(\.\d+)?", r"\d+"]) + r"\s*$")

    def matches(self, first_line: str) -> bool:
        """Whether a file that begins with this line has this layout."""
        return first_line.strip() == self.header if self.header else bool(self.pattern.match(first_line))


TAB = Layout("\t")
DOUBLE_COLON = Layout("::")
COMMA = Layout(",", header="userId,movieId,rating,timestamp")


def existing(path: str | Path, what: str, name: str = "path") -> Path:
    """Return the path of a file or folder that must exist; ``name`` is the parameter's.

    Raises
    ------
    DataError
        Nothing is there.
    ParameterError
        It is no path.
    """
    check_type(name, path, str | Path, f"the path of {what}")
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist; expected {what}")
    return path


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file, compressed (``.gz``) or not; a byte that is not UTF-8 reads as U+FFFD.

    Raises
    ------
    DataError
        It cannot be read to where it is read in the block: it was cut, or is not what its name says.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", errors="replace") as lines:
            yield cast("TextIO", lines)
    except READ_ERRORS as error:
        raise DataError(f"{path} cannot be read ({error}); is it complete?") from error


def bad_line(path: Path, pattern: re.Pattern[str], expected: str, skip: int = 0) -> DataError:
    """Build the error that names the first line which does not match ``pattern``."""
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if number > skip and not pattern.match(line):
                return DataError(f"{path}, line {number}: expected {expected!r}, got {line.rstrip()[:80]!r}")
    return DataError(f"{path}: cannot be read as lines of {expected!r}; is it empty, or a number out of range?")


def read_ratings(path: Path, layouts: Sequence[Layout] = (TAB, DOUBLE_COLON, COMMA)) -> pl.DataFrame:
    """Read rating lines of the first layout that fits the file's first line.

    Returns
    -------
    polars.DataFrame
        ``user_id`` (int32), ``item_id`` (int32), ``rating`` (float32), ``time`` (datetime), in file order.

    Raises
    ------
    DataError
        No layout fits, or a line is of another form.
    """
    with open_text(path) as lines:
        first = lines.readline()
    layout = next((layout for layout in layouts if layout.matches(first)), None)
    if layout is None:
        expected = " or ".join(repr(layout.header or layout.expected) for layout in layouts)
        raise DataError(f"{path}, line 1: expected {expected}, got {first.rstrip()[:80]!r}")
    skip = int(layout.header is not None)
    fields = {"user_id": pl.Int32, "item_id": pl.Int32, "rating": pl.Float32, "time": pl.Int64}
    schema: dict[str, type[pl.DataType]] = {}
    for name, dtype in fields.items():  # polars splits at one character: "::" has an empty field in between
        schema |= {f"before_{name}": pl.String} if schema and len(layout.separator) == 2 else {}
        schema[name] = dtype
    try:
        table = pl.read_csv(
            path,
            has_header=False,
            skip_rows=skip,
            separator=layout.separator[0],
            quote_char=None,
            schema=schema,
        )
    except READ_ERRORS as error:
        raise bad_line(path, layout.pattern, layout.expected, skip) from error
    between = table.drop(*fields)
    table = table.select(*fields)
    if sum(table.null_count().row(0)) or any(between[c].count() for c in between.columns):
        raise bad_line(path, layout.pattern, layout.expected, skip)
    return table.with_columns(pl.from_epoch("time", "s").cast(pl.Datetime("us")))


def rated(table: pl.DataFrame) -> Events:
    """Give the columns of ``read_ratings`` their roles. Times are seconds by definition, those of 1970 included.

    Some papers number the events of a user in place of times.
    """
    return read_events(table, user="user_id", item="item_id", time="time", rating="rating", implausible_times="allow")
