"""Columns of a table of items: what they hold for people, and where a comparison holds."""

from __future__ import annotations

import datetime as dt
import math
from abc import ABC, abstractmethod
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl

from cofactor.checks import shown
from cofactor.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cofactor.serve.filter_language import Comparison, Value

__all__ = ["ORDERED", "Attribute", "attribute", "plain"]

Mask: TypeAlias = "NDArray[np.bool_]"

ORDERED = ("=", "!=", "<", "<=", ">", ">=", "in", "not in")
_EQUALITY = ("=", "!=", "in", "not in")
_EPOCH, _MICROSECOND = dt.datetime(1970, 1, 1), dt.timedelta(microseconds=1)
_STEPS = 41  # every 2.5 % of the items
_LISTED = 200  # values of a text column that are told


class Attribute(ABC):
    """One column over the items of a model, as comparisons need it.

    Parameters
    ----------
    name : str
    present : (n_items,) bool
        Where there is a value. What is missing fulfils no comparison but ``= null``.
    """

    type: str
    """What it holds, for people: number, text, flag, date, time or list."""
    operators: tuple[str, ...] = ORDERED

    def __init__(self, name: str, present: Mask) -> None:
        self.name = name
        self._present = present

    def where(self, comparison: Comparison) -> Mask:
        """Where a comparison of this column holds, (n_items,) bool.

        Raises
        ------
        ParameterError
            The column has no such comparison, or a value is of another type.
        """
        operator, values = comparison.operator, comparison.values
        nulls = [value for value in values if value.text is None]
        if nulls and operator not in ("=", "!="):
            raise ParameterError(
                f"filter: position {nulls[0].position}: null stands after = or != only; "
                f"write {self.name} = null or {self.name} {operator} ..."
            )
        if nulls:
            return ~self._present if operator == "=" else self._present.copy()
        if operator not in self.operators:
            raise ParameterError(
                f"filter: position {comparison.position}: column {self.name} holds {self._told} and has no order; "
                f"compare it by {', '.join(self.operators)}"
            )
        if operator in _EQUALITY:
            equal = self.equal(values)
            return self._present & (equal if operator in ("=", "in") else ~equal)
        below, above = self._beside(values[0])
        return self._present & {"<": below, ">": above, "<=": ~above, ">=": ~below}[operator]

    @property
    @abstractmethod
    def _told(self) -> str: ...

    @abstractmethod
    def equal(self, values: Sequence[Value]) -> Mask:
        """Where the column is equal to one of some values; anything where nothing is present."""

    def _beside(self, value: Value) -> tuple[Mask, Mask]:
        """Where the column is below a value, and where above; for columns that have an order."""
        raise NotImplementedError

    def _wrong(self, value: Value, example: str) -> ParameterError:
        return ParameterError(
            f"filter: position {value.position}: column {self.name} holds {self._told}, got {shown(value.text)}; "
            f"write it as {example}"
        )

    @property
    def values(self) -> list[str] | None:
        """The values that there are, where they are few enough to choose from."""
        return None

    @property
    def range(self) -> tuple[Any, Any] | None:
        """The least and the greatest value of a column that has an order and is no text."""
        return None

    @property
    def quantiles(self) -> list[float] | None:
        """Of numbers, the values that cut the items into equal parts, from the least to the greatest."""
        return None


class _Number(Attribute):
    type = "number"
    _told = "numbers"

    def __init__(self, column: pl.Series) -> None:
        whole = column.dtype.is_integer() and column.dtype not in (pl.UInt64, pl.Int128)
        column = column.cast(pl.Int64) if whole else column.cast(pl.Float64).fill_nan(None)
        super().__init__(column.name, column.is_not_null().to_numpy())
        self._numbers = column.fill_null(0).to_numpy()

    def equal(self, values: Sequence[Value]) -> Mask:
        numbers = [self._read(value) for value in values]
        if self._numbers.dtype.kind in "iu":  # whole numbers beyond 2^53 stay what they are
            numbers = [int(number) for number in numbers if math.isfinite(number) and number == int(number)]
        return _among(self._numbers, np.array(sorted(numbers), self._numbers.dtype))

    def _beside(self, value: Value) -> tuple[Mask, Mask]:
        number = self._read(value)
        return self._numbers < number, self._numbers > number

    def _read(self, value: Value) -> float:
        text = str(value.text)
        try:
            number: float = int(text)  # exact for whole numbers of any size
        except ValueError:
            try:
                number = float(text)
            except ValueError:
                raise self._wrong(value, "5 or 4.99") from None
        if not math.isfinite(number):
            raise self._wrong(value, "5 or 4.99")
        return number if abs(number) < 2**63 else math.copysign(math.inf, number)

    @property
    def range(self) -> tuple[Any, Any] | None:
        there = self._numbers[self._present]
        return (there.min().item(), there.max().item()) if len(there) else None

    @property
    def quantiles(self) -> list[float] | None:
        there = self._numbers[self._present]
        if not len(there):
            return None
        steps: list[float] = np.unique(np.quantile(there, np.linspace(0, 1, _STEPS), method="inverted_cdf")).tolist()
        return steps


class _Flag(Attribute):
    type = "flag"
    _told = "true or false"
    operators = _EQUALITY

    def __init__(self, column: pl.Series) -> None:
        super().__init__(column.name, column.is_not_null().to_numpy())
        self._flags = column.fill_null(value=False).to_numpy()

    def equal(self, values: Sequence[Value]) -> Mask:
        for value in values:
            if str(value.text).lower() not in ("true", "false"):
                raise self._wrong(value, "true or false")
        return reduce(np.logical_or, (self._flags == (str(value.text).lower() == "true") for value in values))

    @property
    def values(self) -> list[str] | None:
        return ["true", "false"]


class _Text(Attribute):
    type = "text"
    _told = "text"

    def __init__(self, column: pl.Series) -> None:
        column = column.cast(pl.String)
        super().__init__(column.name, column.is_not_null().to_numpy())
        self._texts = column.fill_null("")

    def equal(self, values: Sequence[Value]) -> Mask:
        return self._texts.is_in([str(value.text) for value in values]).to_numpy()

    def _beside(self, value: Value) -> tuple[Mask, Mask]:
        return (self._texts < str(value.text)).to_numpy(), (self._texts > str(value.text)).to_numpy()

    @property
    def values(self) -> list[str] | None:
        present = self._texts.filter(pl.Series(self._present))
        return present.unique().sort().to_list() if present.n_unique() <= _LISTED else None


class _Moment(Attribute):
    """Days and times; a day compared with times is all of its times."""

    def __init__(self, column: pl.Series) -> None:
        self.type = "date" if column.dtype == pl.Date else "time"
        zone = getattr(column.dtype, "time_zone", None)
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else column
        column = column.cast(pl.Datetime("us"))
        super().__init__(column.name, column.is_not_null().to_numpy())
        self._micros = column.cast(pl.Int64).fill_null(0).to_numpy()

    @property
    def _told(self) -> str:
        return f"{self.type}s"

    def equal(self, values: Sequence[Value]) -> Mask:
        spans = sorted(map(self._span, values))
        first, last = np.array([one for one, _ in spans]), np.maximum.accumulate([one for _, one in spans])
        at = np.searchsorted(first, self._micros, "right") - 1
        return (at >= 0) & (self._micros < last[at])

    def _beside(self, value: Value) -> tuple[Mask, Mask]:
        first, last = self._span(value)
        return self._micros < first, self._micros >= last

    def _span(self, value: Value) -> tuple[int, int]:
        """The microseconds since 1970 that a day or a moment has, the last one not among them."""
        text = str(value.text)
        example = "2024-05-31" if self.type == "date" else "2024-05-31 or '2024-05-31 18:30'"
        try:
            day = dt.date.fromisoformat(text) if len(text) == len("2024-05-31") else None
            moment = dt.datetime.fromisoformat(text)
        except ValueError:
            raise self._wrong(value, example) from None
        if moment.tzinfo is not None:
            moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
        if self.type == "date" and day is None:
            raise self._wrong(value, example)
        first = (moment - _EPOCH) // _MICROSECOND
        return first, first + (86_400_000_000 if day is not None else 1)

    @property
    def range(self) -> tuple[Any, Any] | None:
        there = self._micros[self._present]
        if not len(there):
            return None
        ends = [_EPOCH + int(end) * _MICROSECOND for end in (there.min(), there.max())]
        first, last = (plain(end.date() if self.type == "date" else end) for end in ends)
        return first, last


class _List(Attribute):
    """Lists of text or whole numbers; a list is equal to each of its values."""

    type = "list"
    _told = "lists"
    operators = _EQUALITY

    def __init__(self, column: pl.Series) -> None:
        super().__init__(column.name, column.is_not_null().to_numpy())
        entries = column.to_frame("value").with_row_index("row").explode("value").drop_nulls()
        self._entries = _Text(entries["value"].cast(pl.String).rename(column.name))
        self._rows = entries["row"].to_numpy()

    def equal(self, values: Sequence[Value]) -> Mask:
        found = np.zeros(len(self._present), bool)
        found[self._rows[self._entries.equal(values)]] = True
        return found

    @property
    def values(self) -> list[str] | None:
        return self._entries.values


def attribute(column: pl.Series) -> Attribute | None:
    """A column as comparisons need it; None for types that have no comparison."""
    dtype = column.dtype
    inner = getattr(dtype, "inner", None)
    if dtype.is_numeric():
        return _Number(column)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return _Text(column)
    if dtype == pl.Boolean:
        return _Flag(column)
    if dtype in (pl.Date, pl.Datetime):
        return _Moment(column)
    if dtype == pl.List and inner is not None and (inner.is_integer() or inner in (pl.String, pl.Categorical, pl.Enum)):
        return _List(column)
    return None


def _among(numbers: NDArray[Any], wanted: NDArray[Any]) -> Mask:
    """Where numbers are among some, which ascend."""
    if not len(wanted):
        return np.zeros(len(numbers), bool)
    at = np.searchsorted(wanted, numbers).clip(max=len(wanted) - 1)
    found: Mask = wanted[at] == numbers
    return found


def plain(value: Any) -> Any:  # noqa: ANN401
    """A value of a cell as JSON has it: dates and times by ISO 8601, what is no number or text as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case list():
            return [plain(one) for one in value]
        case dict():
            return {str(key): plain(one) for key, one in value.items()}
    return str(value)
