"""The two-way map between external ids and row numbers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from math import isnan
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from uuid import UUID

import numpy as np
import polars as pl

from cofactor.checks import check_type, shown
from cofactor.errors import DataError, ParameterError, UnknownIdError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

__all__ = ["IdMap", "IdValues", "check_exact", "exact_bits", "is_everyone", "is_id_dtype", "row_numbers"]

IdValues: TypeAlias = "pl.Series | NDArray[Any] | Iterable[Any]"
"""What id lookups accept: a Series of polars or pandas, an array, a list or any other iterable."""

_MAX_IDS = 2**31 - 1
_EXACT_BITS: dict[Any, int] = {
    pl.Float16: 11,
    pl.Float32: 24,
    pl.Float64: 53,
}  # beyond, several integers have the same float


class IdMap:
    """External ids in ascending order; the position of an id is its row number.

    The order makes row numbers depend on the set of ids alone, never on the order in which they were met.
    Categorical and enum ids are ordered by their text.

    Parameters
    ----------
    ids : pl.Series, array, list ...
        Integer, text, categorical, enum or binary; ascending, without repeats and nulls.
        ``IdMap.from_values`` sorts ids and drops repeats; where the order means something, because a matrix has its
        rows in it, give the ids as they are to ``Interactions`` or ``Interactions.from_csr``, which move the rows too.

    Raises
    ------
    DataError
        The ids are of another type, not ascending, repeated or null.

    Examples
    --------
    >>> items = IdMap.from_values(pl.Series(["pear", "apple", "pear"]))
    >>> len(items)
    2
    >>> items.rows(["pear", "plum"])
    array([ 1, -1], dtype=int32)
    """

    __slots__ = ("_ids", "_keys")

    def __init__(self, ids: IdValues) -> None:
        ids = _checked(_as_series(ids, "ids"), "ids")
        self._ids = ids.rename("id")
        self._keys = _sortable(self._ids)
        if not (self._keys.slice(1) > self._keys.head(max(len(ids) - 1, 0))).all():
            raise DataError(
                "the ids are not ascending or not unique. Ids in the order of a matrix go as they are to "
                "Interactions(users, items, ...) or Interactions.from_csr, which move its rows along; "
                "IdMap.from_values sorts them and drops repeats"
            )

    @classmethod
    def from_values(cls, values: IdValues) -> Self:
        """Build from values that may repeat and come in any order.

        Raises
        ------
        DataError
            A value is null, or the values are not ids.
        """
        ids = _checked(_as_series(values), "values").unique()
        return cls(ids.gather(_sortable(ids).arg_sort()))

    @classmethod
    def in_order(cls, values: IdMap | IdValues, what: str) -> tuple[IdMap, NDArray[np.int64] | None]:
        """Build from the ids of the rows of a matrix, in the order of these rows.

        Parameters
        ----------
        values : IdMap, or ids without repeats in any order
        what : str
            The parameter's name, for the messages.

        Returns
        -------
        ids : IdMap
        order : (len(ids),) int64, or None
            Where row i of the map stands in the matrix; None where both have the same order.

        Raises
        ------
        DataError
            An id is null or occurs twice, or they are no ids.
        """
        check_type("what", what, str, "a word for messages")
        if isinstance(values, IdMap):
            return values, None
        if isinstance(values, set | frozenset | Mapping):
            raise ParameterError(
                f"{what} must be in the order of the rows of the matrix, which a {type(values).__name__} does not "
                "tell; give a list, an array or a Series"
            )
        ids = _checked(_as_series(values, what), what)
        keys = _sortable(ids)
        if (twice := keys.is_duplicated()).any():
            raise DataError(
                f"{what}: {int(twice.sum())} ids occur more than once, the first is {ids.filter(twice)[0]!r}; "
                "each row of the matrix needs an id of its own"
            )
        order = keys.arg_sort().to_numpy().astype(np.int64)
        return cls(ids.gather(order)), None if (order == np.arange(len(order))).all() else order

    @property
    def ids(self) -> pl.Series:
        """All ids by row number, in their original dtype."""
        return self._ids

    @property
    def dtype(self) -> pl.DataType:
        """Type of the ids."""
        return self._ids.dtype

    def __len__(self) -> int:
        return len(self._ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IdMap):
            return NotImplemented
        return self.dtype == other.dtype and self._keys.equals(other._keys)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(repr(i) for i in self._ids.head(3))
        return f"IdMap({len(self):,} ids, {self.dtype}: {shown}{', ...' if len(self) > 3 else ''})"

    def rows(self, values: IdValues, what: str = "values") -> NDArray[np.int32]:
        """Row number of every value, -1 where it is unknown or null.

        Takes O(log(len(self))) per value. Integer types of any width may be mixed, and so may text,
        categorical and enum; floats and decimals that are exact whole numbers find integers.

        Parameters
        ----------
        values : ids to look up
        what : str
            What they are called in messages.

        Returns
        -------
        (len(values),) int32

        Raises
        ------
        DataError
            The values are of a kind that cannot be among the ids, such as text where ids are integers.
        """
        check_type("what", what, str, "a word for messages")
        keys = self._comparable(_as_series(values, what), what)
        if not len(self) or not len(keys):
            return np.full(len(keys), -1, np.int32)
        # Positions are clipped into the map; a null finds row 0 and fails the comparison.
        found_at = self._keys.search_sorted(keys).to_numpy()
        at: NDArray[np.int32] = np.minimum(found_at, len(self) - 1).astype(np.int32)
        found = (self._keys.gather(at) == keys).fill_null(value=False).to_numpy()
        at[~found] = -1
        return at

    def require(self, values: IdValues, what: str = "id") -> NDArray[np.int32]:
        """Row number of every value, all of which must be known.

        Parameters
        ----------
        values : ids to look up
        what : str
            What the ids stand for (``"user"``, ``"item"``), for the message.

        Returns
        -------
        (len(values),) int32

        Raises
        ------
        UnknownIdError
            Some values are unknown; the message has their number and the first of them.
        DataError
            As for ``rows``.
        """
        check_type("what", what, str, "a word for messages")
        plural = "values" if what == "id" else f"{what}s"
        series = _as_series(values, plural)
        rows = self.rows(series, plural)
        if (unknown := np.flatnonzero(rows < 0)).size:
            first = ", ".join(repr(i) for i in islice(dict.fromkeys(series.gather(unknown[:100])), 5))
            raise UnknownIdError(
                f"{unknown.size} of {len(rows)} {what} ids are not among the {len(self)} known ones; the first: {first}"
            )
        return rows

    def take(self, rows: ArrayLike) -> pl.Series:
        """Look up the ids of row numbers, in their original dtype.

        Parameters
        ----------
        rows : (n,) integer, each in ``0 <= row < len(self)``

        Raises
        ------
        ParameterError
            The rows are no integers, or one lies outside.
        """
        return self._ids.gather(row_numbers("rows", rows, len(self)))

    def _comparable(self, values: pl.Series, what: str) -> pl.Series:
        """Cast looked-up values to the type of the keys; what does not fit becomes null."""
        keys, dtype = self._keys.dtype, values.dtype
        if dtype == pl.Null:
            return values.cast(keys)
        if dtype == pl.Object:
            values = _uuids(values, keys, what)
        elif keys.is_integer() and (dtype.is_float() or dtype.is_decimal()):
            values = values.fill_nan(None) if dtype.is_float() else values
            if (values != values.round()).any():
                raise self._mismatch(values, what)
            check_exact(values, what)
        elif not is_id_dtype(dtype) or _kind(dtype) != _kind(keys):
            raise self._mismatch(values, what)
        return values.cast(keys, strict=False)

    def _mismatch(self, values: pl.Series, what: str) -> DataError:
        kind = "pl.String" if _kind(self._keys.dtype) == "text" else f"pl.{self.dtype}"
        way_out = f"cast them first, if they are the same ids: pl.Series(ids).cast({kind})"
        if self._keys.dtype.is_integer() and (values.dtype.is_float() or values.dtype.is_decimal()):
            values = values.filter(values != values.round())
            way_out = "such numbers are no ids"
        received = values.drop_nulls()[0] if values.count() else None
        example = f" such as {self._ids[0]!r}" if len(self) else ""
        return DataError(
            f"{what}: ids of type {values.dtype} such as {received!r} were looked up where ids are "
            f"{self.dtype}{example}; {way_out}"
        )


def is_everyone(rows: NDArray[np.int32], n: int) -> bool:
    """Whether the rows are 0 ... n - 1: then nothing need be taken out of what has a row for each."""
    return len(rows) == n and bool((rows == np.arange(n, dtype=np.int32)).all())


def row_numbers(name: str, values: ArrayLike, n: int, *, least: int = 0) -> NDArray[np.int32]:
    """Row numbers as (len(values),) int32, after a check that all are in ``least <= row < n``.

    With ``least=-1`` what ``IdMap.rows`` gives for unknown ids may be among them.
    """
    rows = np.asarray(values)
    if rows.ndim != 1 or not (np.issubdtype(rows.dtype, np.integer) or not len(rows)):
        raise ParameterError(f"{name} must be an array of whole row numbers, got {rows.dtype} of shape {rows.shape}")
    if len(rows) and not (rows.min() >= least and rows.max() < n):
        bad = rows[(rows < least) | (rows >= n)][0]
        raise ParameterError(f"{name} must be row numbers from {least} to {n - 1}, got {bad}")
    return rows.astype(np.int32, copy=False)


def check_exact(ids: pl.Series, what: str) -> None:
    """Raise DataError where floats stand for ids and cannot hold them exactly: two ids may have become one."""
    if not ids.dtype.is_float():
        return
    if (inexact := ids.fill_nan(None).abs() >= 2.0 ** exact_bits(ids.dtype)).any():
        raise DataError(
            f"{what}: of type {ids.dtype}, such as {ids.filter(inexact)[0]!r}; whole numbers from "
            f"2^{exact_bits(ids.dtype)} on are not exact there and may stand for another id. Give integers or text: "
            "in pandas, read the column with dtype='Int64'"
        )


def exact_bits(dtype: pl.DataType) -> int:
    """Number of bits of a whole number that a float type holds exactly."""
    return _EXACT_BITS[dtype]


def is_id_dtype(dtype: pl.DataType) -> bool:
    """Whether values of this type can be ids: integer, text, categorical, enum, binary."""
    return dtype.is_integer() or dtype in (pl.String, pl.Binary, pl.Categorical, pl.Enum)


def _kind(dtype: pl.DataType) -> str:
    return "integer" if dtype.is_integer() else "binary" if dtype == pl.Binary else "text"


def _sortable(ids: pl.Series) -> pl.Series:
    """Ids whose comparison operators agree with the order of the map."""
    return ids.cast(pl.String) if ids.dtype in (pl.Categorical, pl.Enum) else ids


def _checked(ids: pl.Series, what: str) -> pl.Series:
    """Values that can be ids, all of them there."""
    if ids.dtype == pl.Null and not len(ids):  # an empty list
        ids = ids.cast(pl.Int64)
    if not is_id_dtype(ids.dtype):
        raise DataError(f"{what}: ids are integer, text, categorical, enum or binary; received {ids.dtype}")
    if ids.null_count():
        raise DataError(f"{what}: {ids.null_count()} id(s) are null")
    if len(ids) > _MAX_IDS:
        raise DataError(f"{what}: {len(ids)} ids are more than the {_MAX_IDS} that row numbers can count")
    return ids


def _as_series(values: IdValues, what: str = "values") -> pl.Series:
    """Any collection of ids as a Series; missing values of all kinds become null."""
    if isinstance(values, pl.Series):
        return values
    if isinstance(values, str | bytes) or not hasattr(values, "__iter__") or getattr(values, "ndim", 1) != 1:
        raise ParameterError(f"{what}: ids are a list, an array or a Series; received the single value {shown(values)}")
    is_array = isinstance(values, np.ndarray) or hasattr(values, "__arrow_c_stream__")
    if is_array and getattr(values, "dtype", None) != np.dtype(object):
        return _series(values, what)
    objects = list(values)
    if any(isinstance(v, bool | np.bool_) for v in objects):  # polars would take True for 1
        if all(isinstance(v, bool | np.bool_) for v in objects):
            return pl.Series("id", objects, dtype=pl.Boolean)
        raise DataError(f"{what}: ids are all of one type; True or False is among them")
    try:
        return _series(objects, what)
    except DataError:
        if not any(map(_is_missing, objects)):
            raise
        return _series([None if _is_missing(v) else v for v in objects], what)


def _series(values: Any, what: str) -> pl.Series:  # noqa: ANN401
    try:
        return pl.Series("id", values)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{what}: ids are all of one type: {str(error).splitlines()[0]}") from error


def _is_missing(value: object) -> bool:
    """None, NaN or the NA of pandas, which stand for missing ids in columns of objects."""
    return value is None or (isinstance(value, float) and isnan(value)) or type(value).__name__ == "NAType"


def _uuids(values: pl.Series, keys: pl.DataType, what: str) -> pl.Series:
    """``uuid.UUID`` objects as text or as their 16 bytes, whichever the ids are."""
    objects = values.to_list()
    others = [v for v in objects if not (v is None or isinstance(v, UUID))]
    if others or keys.is_integer():
        kind = type((others or objects)[0]).__name__
        raise DataError(f"{what}: ids of type {kind} were looked up where ids are {keys}; give ids of that type")
    binary = keys == pl.Binary
    return pl.Series("id", [None if v is None else v.bytes if binary else str(v) for v in objects], dtype=keys)
