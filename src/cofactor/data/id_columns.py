"""Columns of ids: what may be one, what is missing, and whether text is better read as integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl

from cofactor.data.ids import exact_bits, is_id_dtype
from cofactor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Bounds", "IdColumn", "first_rows"]

Bounds: TypeAlias = tuple[int, int]

_SAMPLE = 1000  # rows that tell whether text might be numbers


@dataclass(frozen=True)
class IdColumn:
    """A column of ids.

    Parameters
    ----------
    name : str
    dtype : pl.DataType
    inferred : pl.DataType, optional
        Of text that a file holds: the type that inference would give it.
    tried : bool
        Whether to find out if all of the text is whole numbers.
    """

    name: str
    dtype: pl.DataType
    inferred: pl.DataType | None = None
    tried: bool = False

    def __post_init__(self) -> None:
        if not (is_id_dtype(self.dtype) or self.dtype.is_float() or self.dtype == pl.Null):
            raise DataError(
                f"column {self.name!r} has type {self.dtype}; ids are integer, text, categorical, enum, binary "
                "or whole-number float. Cast the column first"
            )

    @classmethod
    def of(cls, frame: pl.LazyFrame, name: str, inferred: pl.DataType | None) -> IdColumn:
        """Look at the type of a column, and at its first values where text might be numbers."""
        column = cls(name, frame.collect_schema()[name], inferred)
        if inferred is None:
            return column
        tried = inferred.is_numeric()
        if inferred == pl.String:  # a quoted empty text among numbers is enough to make it text
            head = frame.select(name).head(_SAMPLE).filter(~column.missing)
            counts = head.select(n=pl.len(), changed=column._changed.sum()).collect(engine="streaming").row(0)
            tried = counts[0] > 0 and counts[1] == 0
        return cls(name, column.dtype, inferred, tried)

    @property
    def _is_text(self) -> bool:
        return self.dtype in (pl.String, pl.Categorical, pl.Enum)

    @property
    def _empty(self) -> pl.Expr:
        column = pl.col(self.name)
        if self._is_text:
            return column == ""
        return column.bin.size() == 0 if self.dtype == pl.Binary else pl.lit(value=False)

    @property
    def missing(self) -> pl.Expr:
        """Where there is no id: null, NaN, empty text."""
        column = pl.col(self.name)
        if self._is_text or self.dtype == pl.Binary:
            return column.is_null() | self._empty.fill_null(value=False)
        return column.is_null() | column.is_nan() if self.dtype.is_float() else column.is_null()

    @property
    def fault(self) -> str:
        """What a missing id is."""
        if self.dtype.is_float():
            return "null or NaN"
        return "null or empty" if self._is_text or self.dtype == pl.Binary else "null"

    @property
    def fractional(self) -> pl.Expr:
        """Floats that stand for no integer, or for one that they may not hold exactly; null where missing."""
        column = pl.col(self.name).fill_nan(None)
        return (column != column.round()) | (column.abs() >= 2.0 ** exact_bits(self.dtype))

    @property
    def value(self) -> pl.Expr:
        """The ids in their final form, null where missing."""
        column = pl.col(self.name)
        return column.cast(pl.Int64, strict=False) if self.dtype.is_float() else column

    @property
    def present(self) -> pl.Expr:
        """As ``value``, with null in place of empty ids."""
        return pl.when(~self.missing).then(self.value).alias(self.name)

    @property
    def text(self) -> pl.Expr:
        """The ids as text."""
        if self.dtype == pl.Binary:
            return pl.col(self.name).bin.encode("hex")
        return self.value.cast(pl.String)

    @property
    def _number(self) -> str:
        return f"cofactor:number:{self.name}"

    def with_number(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """Put the whole numbers of text beside it, so that they are read once for all facts."""
        if not self.tried:
            return frame
        return frame.with_columns(pl.col(self.name).cast(pl.Int64, strict=False).alias(self._number))

    @property
    def _changed(self) -> pl.Expr:
        """Text that is not what Int64 writes for its number."""
        written = pl.col(self.name).cast(pl.Int64, strict=False).cast(pl.String)
        return written.ne_missing(pl.col(self.name))

    def facts(self) -> list[pl.Expr]:
        """What one pass must tell."""
        exprs = [self.missing.sum().alias(f"missing:{self.name}")]
        if self._is_text or self.dtype == pl.Binary:
            exprs.append(self._empty.sum().alias(f"empty:{self.name}"))
        if self.dtype.is_float():
            exprs.append(self.fractional.sum().alias(f"fractional:{self.name}"))
        if self.tried:
            exprs.append(pl.col(self._number).null_count().alias(f"no number:{self.name}"))
            # Only texts that begin with a zero, a sign or the like can be read as a number and be written otherwise.
            column = pl.col(self.name)
            exprs.append(((column < "1") & (column != "0") & (column != "")).sum().alias(f"odd:{self.name}"))
        if self.dtype.is_numeric() or self.tried:
            value = pl.col(self._number) if self.tried else self.value
            exprs.append(value.min().alias(f"low:{self.name}"))
            exprs.append(value.max().alias(f"high:{self.name}"))
        return exprs

    def is_whole(self, frame: pl.LazyFrame, row: Mapping[str, Any]) -> bool:
        """Whether all ids are whole numbers, each written as Int64 writes it."""
        if not self.tried or row[f"no number:{self.name}"] != row[f"missing:{self.name}"]:
            return False
        if not row[f"odd:{self.name}"]:
            return True
        bad = frame.select((self._changed & ~self.missing).any()).collect(engine="streaming")
        return not bad.item()

    def text_notes(self, frame: pl.LazyFrame) -> list[str]:
        """Tell why ids stay text that inference would change."""
        if self.inferred is None or (self.inferred == pl.String and not self.tried):
            return []
        first = frame.select(self.name).filter(self._changed & ~self.missing).head(1).collect(engine="streaming")
        return [f"{self.name}: ids stay text, as {first.item()!r} is not how a whole number is written"]

    def empty_notes(self, row: Mapping[str, Any]) -> list[str]:
        """Tell how many ids are empty."""
        n = row.get(f"empty:{self.name}")
        return [f"{self.name}: {n:,} empty ids count as missing"] if n else []

    def bounds(self, row: Mapping[str, Any]) -> Bounds | None:
        """What integer ids lie between."""
        low = row.get(f"low:{self.name}")
        return None if low is None else (low, row[f"high:{self.name}"])

    def refuse_fractions(self, frame: pl.LazyFrame, row: Mapping[str, Any]) -> None:
        """Raise ``DataError`` where a float is no id."""
        if count := row.get(f"fractional:{self.name}"):
            raise DataError(
                f"column {self.name!r} holds float ids, and {count:,} of {row['n']:,} are no whole numbers below "
                f"2^{exact_bits(self.dtype)}; the first rows (from 0): {first_rows(frame, self.fractional)}. "
                "Export the ids as integers or text"
            )


def first_rows(frame: pl.LazyFrame, bad: pl.Expr) -> str:
    """The first rows of a log that are bad, for messages."""
    rows = frame.select(bad.alias("bad")).with_row_index("row").filter("bad").select("row").head(3)
    return ", ".join(str(r) for r in rows.collect(engine="streaming")["row"])
