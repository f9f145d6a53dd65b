r"""Columns of a table of features: what each kind becomes, learned from one table and applied to any.

Every column weighs the same in a row, so that none dominates by its form: the squares of its weights add up to 1. A
category or a flag is one feature of weight 1. A list of k values is k features of weight :math:`1/\sqrt{k}`: a sum of k
vectors that know nothing of each other is :math:`\sqrt{k}` times as long as one of them, so that this keeps its length
whatever k is, where 1/k would let long lists fade (as SVD++ weighs the items of a history, Koren 2008). A number is one
feature whose weight is standardized, so that its square is 1 on average.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import polars as pl

from cofactor.data.ids import IdMap
from cofactor.errors import DataError

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float, Rows

__all__ = ["KINDS", "Column", "Entries", "Kind"]

Kind: TypeAlias = Literal["category", "flag", "list", "number"]
KINDS: tuple[str, ...] = get_args(Kind)
_TOLD = {"category": "text", "flag": "true or false", "list": "lists of text", "number": "numbers"}
_TEXT = (pl.String, pl.Categorical, pl.Enum)
_WAYS: dict[type[pl.DataType], str] = {
    pl.Date: "take what matters of it as a number or as text, such as pl.col({0!r}).dt.year() or .dt.epoch('d')",
    pl.Datetime: "take what matters of it as a number or as text, such as pl.col({0!r}).dt.year() or .dt.epoch('s')",
    pl.Duration: "take it as a number: pl.col({0!r}).dt.total_seconds()",
    pl.Time: "take what matters of it as a number or as text, such as pl.col({0!r}).dt.hour()",
    pl.Struct: "make a column of each field: table.unnest({0!r})",
}


@dataclass(frozen=True, slots=True)
class Entries:
    """What the rows of a column have: one (row, feature, weight) each, features counted from 0 inside the column."""

    rows: NDArray[np.int64]
    features: Rows
    weights: Float
    n_unknown: int
    """Values that were not there when the column was learned, and so are no feature."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column as it was learned.

    Parameters
    ----------
    name : str
    kind : {"category", "flag", "list", "number"}
    values : IdMap of text
        One feature each; empty for numbers, which are one feature.
    counts : (n_features,) int64
        How many rows of the table that it was learned from have each feature.
    mean, spread : float
        Of numbers: what is subtracted, and what the rest is divided by (the standard deviation).
    """

    name: str
    kind: Kind
    values: IdMap
    counts: NDArray[np.int64]
    mean: float = 0.0
    spread: float = 1.0

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.counts)

    @classmethod
    def learned(cls, column: pl.Series, ids: pl.Series, what: str) -> Self | str:
        """Learn a column; or say why it tells nothing.

        Parameters
        ----------
        column : Series
        ids : Series
            Whose rows they are, for messages.
        what : str
            What the table is called in an error.

        Raises
        ------
        DataError
            Of a type that is no feature; or numbers that are missing, infinite or beyond standardizing.
        """
        kind = _kind(column, what)
        if kind == "number":
            return cls._of_numbers(column.name, _numbers(column, ids, what), what)
        given = _values(column, kind)
        values = IdMap.from_values(given["value"])
        if not len(values):
            return "no row has a value"
        counts = np.bincount(_found(given, values)[1], minlength=len(values)).astype(np.int64)
        if counts.min() == len(column):
            return f"every row has {', '.join(map(repr, values.ids.head(3)))}"
        return cls(column.name, kind, values, counts)

    @classmethod
    def _of_numbers(cls, name: str, numbers: NDArray[np.float64], what: str) -> Self | str:
        if not len(numbers) or numbers.min() == numbers.max():
            return f"every row has {numbers[0]:g}" if len(numbers) else "no row has a value"
        with np.errstate(all="ignore"):
            mean, spread = float(numbers.mean()), float(numbers.std())
        if not (np.isfinite(mean) and np.isfinite(spread) and spread >= np.finfo(np.float64).tiny):
            raise DataError(
                f"{what}: the numbers of column {name!r} go from {numbers.min():g} to {numbers.max():g} and cannot be "
                "standardized; give them in other units, or their logarithms"
            )
        return cls(name, "number", _nothing(), np.array([len(numbers)]), mean, spread)

    def notes(self, column: pl.Series) -> list[str]:
        """What a person should know of how the column was read."""
        if self.kind == "number":
            text = f"{self.name}: numbers, standardized as ({self.name} - {self.mean:.6g}) / {self.spread:.6g}"
            ways = "; if they stand for categories, cast them to pl.String"
            return [text + (ways if column.dtype.is_integer() else "")]
        notes = [f"{self.name}: {_TOLD[self.kind]}, {self.n_features:,} features"]
        if n_null := column.null_count():
            notes.append(f"{self.name}: null in {n_null:,} of {len(column):,} rows, which have none of its features")
        if self.counts.max() == 1:
            notes.append(
                f"{self.name}: no value occurs in two rows, so that it tells no more than the id; drop the column, or "
                "make lists of what the values have in common"
            )
        return notes

    def entries(self, column: pl.Series, ids: pl.Series, what: str) -> Entries:
        """Encode rows, of the table that the column was learned from or of another one.

        Raises
        ------
        DataError
            The column is of another kind, or numbers are missing, infinite, or too far from those learned.
        """
        kind = _kind(column, what)
        if kind != self.kind and column.dtype not in (pl.Null, pl.List(pl.Null)):
            raise DataError(
                f"{what}: column {self.name!r} holds {_TOLD[kind]} ({column.dtype}), and held {_TOLD[self.kind]} when "
                "its features were learned; cast it to what it was"
            )
        if self.kind == "number":
            return self._encoded(_numbers(column, ids, what), ids, what)
        given = _values(column, self.kind)
        rows, features, n_unknown = _found(given, self.values)
        weights = 1 / np.sqrt(np.bincount(rows, minlength=len(column)))[rows] if len(rows) else np.empty(0)
        return Entries(rows, features, weights.astype(np.float32), n_unknown)

    def _encoded(self, numbers: NDArray[np.float64], ids: pl.Series, what: str) -> Entries:
        with np.errstate(all="ignore"):
            weights = ((numbers - self.mean) / self.spread).astype(np.float32)
        if not (fine := np.isfinite(weights)).all():
            at = int((~fine).argmax())
            raise DataError(
                f"{what}: column {self.name!r} is {numbers[at]:g} in the row of {ids[at]!r}, beyond all measure of "
                f"those that were learned (mean {self.mean:g}, spread {self.spread:g}); is it in the same unit?"
            )
        n = len(numbers)
        return Entries(np.arange(n), np.zeros(n, np.int32), weights, 0)


def _kind(column: pl.Series, what: str) -> Kind:
    dtype = column.dtype
    if dtype == pl.Boolean:
        return "flag"
    if dtype in (*_TEXT, pl.Null):
        return "category"
    if dtype.is_numeric():
        return "number"
    inner = getattr(dtype, "inner", None)
    if inner is not None and inner in (*_TEXT, pl.Null):
        return "list"
    way = _WAYS.get(dtype.base_type(), "cast it to text, or leave it out: table.drop({0!r})")
    if inner is not None:
        way = "of categories make lists of text, pl.col({0!r}).cast(pl.List(pl.String)); of a vector a column a number"
    raise DataError(
        f"{what}: column {column.name!r} is {dtype}; features are text, categories, true or false, lists of text or "
        f"numbers: {way.format(column.name)}"
    )


def _values(column: pl.Series, kind: Kind) -> pl.DataFrame:
    """``row`` and ``value``, as text, of every value that is not null."""
    text = pl.List(pl.String) if kind == "list" else pl.String
    given = pl.DataFrame({"row": pl.int_range(len(column), eager=True), "value": column.cast(text)})
    return (given.explode("value") if kind == "list" else given).drop_nulls()


def _found(given: pl.DataFrame, values: IdMap) -> tuple[NDArray[np.int64], Rows, int]:
    """Row and feature of the known values, once each, and how many are unknown.

    By a cast to these categories, which takes a tenth of the time of a search for each value.
    """
    codes = given["value"].cast(pl.Enum(values.ids), strict=False).to_physical()
    known = codes.is_not_null()
    keys = given["row"].filter(known) * len(values) + codes.filter(known).cast(pl.Int64)
    rows, features = np.divmod(keys.unique().to_numpy(), len(values))
    return rows, features.astype(np.int32), int((~known).sum())


def _numbers(column: pl.Series, ids: pl.Series, what: str) -> NDArray[np.float64]:
    if n_null := column.null_count():
        first, c = ids[int(column.is_null().arg_max() or 0)], f"pl.col({column.name!r})"
        raise DataError(
            f"{what}: column {column.name!r} is null in {n_null:,} of {len(column):,} rows, the first is that of "
            f"{first!r}; fill it, such as table.with_columns({c}.fill_null({c}.median())), or leave the column out"
        )
    numbers: NDArray[np.float64] = column.cast(pl.Float64).to_numpy()
    if not (fine := np.isfinite(numbers)).all():
        at = int((~fine).argmax())
        raise DataError(
            f"{what}: column {column.name!r} is not a finite number in {int((~fine).sum()):,} of {len(column):,} rows, "
            f"the first is {numbers[at]:g} in that of {ids[at]!r}; replace such values, or leave the rows out"
        )
    return numbers


def _nothing() -> IdMap:
    return IdMap(pl.Series([], dtype=pl.String))
