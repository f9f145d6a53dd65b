"""Times of an event log: from datetimes, dates, text and numbers to Datetime("us") in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import polars as pl

from cofactor.checks import check_choice
from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ImplausibleTimes", "TimeColumn", "TimeOptions", "TimeUnit", "moment"]

TimeUnit: TypeAlias = Literal["s", "ms", "us", "ns"]
ImplausibleTimes: TypeAlias = Literal["error", "allow"]

_PER_UNIT: dict[TimeUnit, tuple[int, int]] = {"s": (10**6, 1), "ms": (1000, 1), "us": (1, 1), "ns": (1, 1000)}
# Epochs below 1e11 are read as seconds (to the year 5138), below 1e14 as milliseconds (from 1973), and so on.
_LIMITS: tuple[tuple[TimeUnit, float], ...] = (("s", 1e11), ("ms", 1e14), ("us", 1e17), ("ns", float("inf")))
_EPOCH = datetime(1970, 1, 1)
_FIRST_MICROSECOND = -62_135_596_800_000_000  # of the year 1
_LAST_MICROSECOND = 253_402_300_799_999_999  # of the year 9999
_EARLIEST = datetime(1990, 1, 1)
# How people write times that are not ISO 8601; of dates with a slash nobody can tell the day from the month.
_KNOWN_FORMS = (
    (r"\d{8}", "'%Y%m%d'"),
    (r"\d{12}", "'%Y%m%d%H%M'"),
    (r"\d{14}", "'%Y%m%d%H%M%S'"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "'%Y-%m-%d %H:%M:%S UTC'"),
    (r"\d{1,2}/\d{1,2}/\d{4}", "'%m/%d/%Y' or '%d/%m/%Y'"),
    (r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d", "'%m/%d/%Y %H:%M' or '%d/%m/%Y %H:%M'"),
    (r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d:\d\d", "'%m/%d/%Y %H:%M:%S' or '%d/%m/%Y %H:%M:%S'"),
    (r"\d{1,2}\.\d{1,2}\.\d{4}", "'%d.%m.%Y'"),
    (r"\d{1,2}\.\d{1,2}\.\d{4} \d{1,2}:\d\d", "'%d.%m.%Y %H:%M'"),
)


@dataclass(frozen=True)
class TimeOptions:
    """How times are written; see ``read_events``.

    Raises
    ------
    ParameterError
        A value is none of the possible ones.
    """

    unit: TimeUnit | None = None
    format: str | None = None
    implausible: ImplausibleTimes = "error"

    def __post_init__(self) -> None:
        check_choice("time_unit", self.unit, (None, *get_args(TimeUnit)))
        check_choice("implausible_times", self.implausible, get_args(ImplausibleTimes))
        if self.format is not None and (not isinstance(self.format, str) or "%" not in self.format):
            raise ParameterError(f"time_format={self.format!r}; it must be a strptime format, such as '%Y-%m-%d %H:%M'")
        if self.format is not None and self.unit is not None:
            raise ParameterError(f"time_format={self.format!r} and time_unit={self.unit!r}: give one of them")


@dataclass(frozen=True)
class TimeColumn:
    """The column of times, and how it is read."""

    name: str
    dtype: pl.DataType
    options: TimeOptions = TimeOptions()

    def __post_init__(self) -> None:
        is_number = self.dtype.is_integer() or self.dtype.is_float()
        if not (is_number or self.dtype in (pl.Datetime, pl.Date, pl.String, pl.Null)):
            raise DataError(
                f"time={self.name!r} has type {self.dtype}; times are datetime, date, ISO 8601 text, or numbers "
                "that count s, ms, us or ns since 1970"
            )
        if self.options.format is not None and self.dtype in (pl.Datetime, pl.Date):
            raise ParameterError(
                f"time_format={self.options.format!r} is for text and numbers, but time={self.name!r} has type "
                f"{self.dtype}; leave it out"
            )

    @property
    def _is_text(self) -> bool:
        return self.dtype == pl.String or self.options.format is not None

    @property
    def _scale(self) -> tuple[int, int]:
        """Microseconds in one of the numbers that ``_counted`` gives, as a fraction; of numbers it is told later."""
        if isinstance(self.dtype, pl.Datetime) and not self._is_text:
            return _PER_UNIT[self.dtype.time_unit]
        return (86_400 * 10**6, 1) if self.dtype == pl.Date else (1, 1)

    @property
    def _parsed(self) -> pl.Expr:
        """Text as Datetime("us") in UTC, null where it is not of the form; other columns as they are."""
        column = pl.col(self.name)
        if not self._is_text:
            return column
        if self.options.format is None:
            iso = pl.when(column.str.contains(r"^\d{4}-\d{2}-\d{2}")).then(column)
            column = iso.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
            return column.dt.replace_time_zone(None)
        if self.dtype.is_float():
            column = pl.when(column == column.round()).then(column).cast(pl.Int64, strict=False)
        column = column.cast(pl.String)
        with_zone = any(zone in self.options.format for zone in ("%z", "%:z", "%#z", "%+"))
        column = column.str.to_datetime(self.options.format, time_unit="us", strict=False)
        return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if with_zone else column

    @property
    def utc(self) -> pl.Expr:
        """Times as Datetime("us") in UTC; numbers as they are."""
        if self.dtype.is_numeric() and not self._is_text:
            return pl.col(self.name)
        with_zone = isinstance(self.dtype, pl.Datetime) and self.dtype.time_zone is not None
        times = self._parsed.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if with_zone else self._parsed
        return times.cast(pl.Datetime("us"))

    @property
    def _counted(self) -> pl.Expr:
        """Times as the numbers that the column holds; a Datetime that is out of range is no Python datetime."""
        if self.dtype.is_numeric() and not self._is_text:
            return pl.col(self.name)
        return self._parsed.to_physical().cast(pl.Int64)

    @property
    def missing(self) -> pl.Expr:
        """Where there is no time."""
        missing = self._parsed.is_null()
        return missing | ~pl.col(self.name).is_finite() if self.dtype.is_float() else missing

    def facts(self) -> list[pl.Expr]:
        """What one pass must tell for ``finish``."""
        return [
            self.missing.sum().alias(f"missing:{self.name}"),
            self._counted.min().alias(f"low:{self.name}"),
            self._counted.max().alias(f"high:{self.name}"),
        ]

    @property
    def fault(self) -> str:
        """What a missing value is."""
        if self.options.format is not None:
            return f"null or not of time_format={self.options.format!r}"
        if self.dtype == pl.String:
            return "null or not ISO 8601 (2024-05-31T12:00:00)"
        return "null, NaN or infinite" if self.dtype.is_float() else "null"

    def hint(self, frame: pl.LazyFrame, row: Mapping[str, Any]) -> str:
        """The first value that is not of the form, and the ``time_format`` that people mean by such values."""
        if not self._is_text or not row[f"missing:{self.name}"]:
            return ""
        bad = frame.filter(self.missing & pl.col(self.name).is_not_null()).select(pl.col(self.name).cast(pl.String))
        first = bad.head(1).collect(engine="streaming").to_series().to_list()
        if not first:
            return ""
        way = _suggested(first[0])
        return f" The first is {first[0]!r}{'; ' if way else ''}{way}."

    def finish(self, row: Mapping[str, Any]) -> tuple[pl.Expr, tuple[datetime, datetime], list[str]]:
        """Give the final column, its range, and what to tell about it.

        Raises
        ------
        DataError
            The unit cannot be told, or times are implausible.
        """
        low, high = row[f"low:{self.name}"], row[f"high:{self.name}"]
        if not self.dtype.is_numeric() or self._is_text:
            ends = self._ends(low, high, self._scale, f"{self.dtype}")
            zone = getattr(self.dtype, "time_zone", None)
            notes = [] if zone in (None, "UTC") else [f"{self.name}: times converted from {zone} to UTC"]
            return self.utc, ends, notes
        unit = self.options.unit or self._inferred(low, high)
        oldest, newest = ends = self._ends(low, high, _PER_UNIT[unit], f"{unit} since 1970")
        how = "given" if self.options.unit else "inferred; time_unit= overrides it"
        note = f"{self.name}: read as {unit} since 1970 ({how}), {oldest} to {newest}"
        return _from_epoch(pl.col(self.name), self.dtype, unit), ends, [note]

    def _ends(self, low: float, high: float, scale: tuple[int, int], what: str) -> tuple[datetime, datetime]:
        """The oldest and the newest time, if they are plausible."""
        ends = [moment(value, scale) for value in (low, high)]
        latest = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
        for value, at in zip((low, high), ends, strict=True):
            if at is None:
                numbers = f"pl.col({self.name!r}).to_physical()" if self.dtype == pl.Datetime else "the column"
                raise DataError(
                    f"time={self.name!r}: {low} to {high}, read as {what}, is beyond the year 9999 or before the year "
                    f"1. If the numbers count another unit, pass {numbers} with time_unit="
                )
            if self.options.implausible == "error" and not _EARLIEST <= at <= latest:
                side = "before 1990" if at < _EARLIEST else "after tomorrow"
                shown = "" if self._is_text or not self.dtype.is_numeric() else f"{value}, read as {what}, is "
                form = _suggested(str(value)) if shown and isinstance(value, int) else ""
                ways = form or "pass time_unit= or time_format= if it is written otherwise, or repair the column"
                raise DataError(
                    f"time={self.name!r}: {shown}{at}, {side}; {ways}. If such times are meant, pass "
                    "implausible_times='allow'"
                )
        oldest, newest = ends
        assert oldest is not None
        assert newest is not None
        return oldest, newest

    def _inferred(self, low: float, high: float) -> TimeUnit:
        """Take the unit that the size of both ends suggests."""
        newest, oldest = (next(unit for unit, limit in _LIMITS if abs(t) < limit) for t in (high, low))
        if newest != oldest:
            raise DataError(
                f"time={self.name!r}: the smallest value {low} looks like {oldest} since 1970, the largest {high} "
                f"like {newest}; pass time_unit= if they are of one unit, or repair the column"
            )
        return newest


def moment(value: float, scale: tuple[int, int] = (1, 1)) -> datetime | None:
    """The datetime that a number since 1970 stands for, or None beyond the years 1 to 9999."""
    up, down = scale
    micros = value * up // down if isinstance(value, int) else round(value * up / down)
    return _EPOCH + timedelta(microseconds=micros) if _FIRST_MICROSECOND <= micros <= _LAST_MICROSECOND else None


def _suggested(value: str) -> str:
    """Which time_format to pass for a value, if its form is known."""
    for pattern, formats in _KNOWN_FORMS:
        if re.fullmatch(pattern, value) and _could_be_date(value):
            return f"it looks like time_format={formats}: pass it"
    return "" if value.lstrip("-").isdigit() else "pass time_format=, a strptime format"


def _could_be_date(value: str) -> bool:
    """Whether digits without separators begin with a year, a month and a day."""
    if not value.isdigit():
        return True
    return 1900 <= int(value[:4]) <= 2100 and 1 <= int(value[4:6]) <= 12 and 1 <= int(value[6:8]) <= 31


def _from_epoch(column: pl.Expr, dtype: pl.DataType, unit: TimeUnit) -> pl.Expr:
    up, down = _PER_UNIT[unit]
    if dtype.is_float():
        micros = (column * up / down).round().cast(pl.Int64)
    elif down > 1:
        micros = column.cast(pl.Int64) // down
    else:
        micros = column.cast(pl.Int64) * up
    return micros.cast(pl.Datetime("us"))
