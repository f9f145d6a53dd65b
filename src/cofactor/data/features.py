"""What is known of items, or of users, besides interactions: a table of columns as a sparse matrix of features."""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
import polars as pl

from cofactor.checks import check_choice, check_type, is_number, warn
from cofactor.data.feature_columns import KINDS, Column
from cofactor.data.ids import IdMap, is_id_dtype
from cofactor.data.tables import TableLike, read_table
from cofactor.errors import DataError
from cofactor.kernels.csr import CSR, offsets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cofactor.system.arrays import Arrays

__all__ = ["Features", "Of", "new_ids", "read_features"]

Of: TypeAlias = Literal["item", "user"]
Described: TypeAlias = Literal["item", "user", "context"]
_OTHER = {"item": "user", "user": "item"}
_log = logging.getLogger(__name__)


class Features:
    """The features of items, or of users, learned from a table: which there are, and how a row is encoded.

    Texts, categories and flags are one feature a value, lists of text one feature for each of their values, and a
    column of numbers is one feature. A row's weights have squares that add up to 1 for each column (see
    :mod:`cofactor.data.feature_columns`). Made by :meth:`from_frame`.

    Parameters
    ----------
    of : {"item", "user", "context"}
        Those of the context of ratings are made by ``cofactor.data.context`` and have no ids.
    columns : sequence of Column
        What was learned of each.
    notes : sequence of str
        How they were read, for people.
    dropped : mapping of str to str
        Columns that tell nothing, and why.

    Examples
    --------
    >>> import polars as pl
    >>> movies = pl.DataFrame(
    ...     {"item_id": [7, 8, 9], "genres": [["drama"], ["drama", "war"], []], "year": [1972, 1986, 2014]}
    ... )
    >>> features = Features.from_frame(movies, of="item")
    >>> features.names
    shape: (3, 4)
    ┌──────────────┬────────┬───────┬─────┐
    │ feature      ┆ column ┆ value ┆ n   │
    │ ---          ┆ ---    ┆ ---   ┆ --- │
    │ str          ┆ str    ┆ str   ┆ i64 │
    ╞══════════════╪════════╪═══════╪═════╡
    │ genres=drama ┆ genres ┆ drama ┆ 2   │
    │ genres=war   ┆ genres ┆ war   ┆ 1   │
    │ year         ┆ year   ┆ null  ┆ 3   │
    └──────────────┴────────┴───────┴─────┘
    >>> features.encode(movies, IdMap([7, 8, 9])).to_scipy().toarray().round(2)
    array([[ 1.  ,  0.  , -1.07],
           [ 0.71,  0.71, -0.27],
           [ 0.  ,  0.  ,  1.34]], dtype=float32)
    """

    PARTS = ("text", "offsets", "counts")  # the arrays by which they are saved

    def __init__(
        self,
        of: Described,
        columns: Sequence[Column],
        notes: Sequence[str] = (),
        dropped: Mapping[str, str] | None = None,
    ) -> None:
        check_choice("of", of, (*_OTHER, "context"))
        self.of = of
        self.columns = tuple(columns)
        self.dropped = dict(dropped or {})
        self.notes = (*notes, *_told(self.dropped))

    @classmethod
    def from_frame(cls, frame: TableLike, of: Of = "item") -> Self:
        """Learn which features there are.

        Parameters
        ----------
        frame : polars, pandas or Arrow table
            A row for each item with the column ``item_id`` (for users ``user_id``), and further columns: text,
            categorical, enum and boolean ones, lists of text, and numbers. Whole numbers are numbers; those that stand
            for categories are cast to text first. A column with the same in every row is dropped with a warning.
        of : {"item", "user"}

        Raises
        ------
        DataError
            The ids are missing, null, repeated or of no type of ids; a column is of a type that is no feature, or its
            numbers are null or not finite; or no column tells the rows apart.
        """
        check_choice("of", of, _OTHER)
        what, table = f"{of}_features", read_features(frame, of)
        ids, found, notes, dropped = table[f"{of}_id"], [], [], {}
        for column in table.drop(f"{of}_id"):
            learned = Column.learned(column, ids, what)
            if isinstance(learned, str):
                dropped[column.name] = learned
            else:
                found.append(learned)
                notes += learned.notes(column)
        told = "; ".join(_told(dropped))
        if not found:
            raise DataError(
                f"{what}: no column tells one {of} from another: {told or f'there is only {of}_id'}. Add columns, or "
                f"leave {what} out"
            )
        if dropped:
            warn(f"{what}: {told}")
        for note in notes:
            _log.info("%s: %s", what, note)
        return cls(of, found, notes, dropped)

    @property
    def n_features(self) -> int:
        """Number of features: columns of the encoded matrix."""
        return sum(column.n_features for column in self.columns)

    @property
    def names(self) -> pl.DataFrame:
        """One row for each feature, in order: ``feature``, ``column``, ``value`` (null for numbers), ``n`` rows."""
        tables = [
            pl.DataFrame(
                {"column": [c.name] * c.n_features, "value": c.values.ids if len(c.values) else [None], "n": c.counts},
                schema={"column": pl.String, "value": pl.String, "n": pl.Int64},
            )
            for c in self.columns
        ]
        feature = pl.concat_str("column", pl.concat_str(pl.lit("="), "value").fill_null("")).alias("feature")
        return pl.concat(tables).select(feature, "column", "value", "n")

    def encode(self, frame: TableLike, ids: IdMap) -> CSR:
        """The features of items (or users), by their ids.

        The table may be the one that the features were learned from, or another with the same columns. What it holds
        that was not learned is counted in one warning: values, which are no feature then, and columns; and so are the
        ids that have no row.

        Parameters
        ----------
        frame : table
            As in :meth:`from_frame`.
        ids : IdMap
            Whose features are wanted. Rows of others are passed over; see :meth:`new_ids`.

        Returns
        -------
        CSR
            (len(ids), n_features), rows in the order of ``ids``; of an id without a row, an empty one.

        Raises
        ------
        DataError
            As :meth:`from_frame`; or a column is missing or of another kind, or none of the ids has a row.
        """
        check_type("ids", ids, IdMap, "an IdMap, such as interactions.items")
        what, table = self._what, read_features(frame, self.of)
        if missing := [column.name for column in self.columns if column.name not in table.columns]:
            raise DataError(
                f"{what}: no column {', '.join(missing)}, of which features were learned; the columns are "
                f"{', '.join(table.columns)}"
            )
        rows = ids.rows(table[self._id], f"{what}: {self._id}")
        if len(ids) and not (rows >= 0).any():
            first = f", whose first id is {table[self._id][0]!r}" if len(table) else ""
            raise DataError(
                f"{what}: none of the {len(ids):,} {self.of}s, such as {ids.ids[0]!r}, has a row in the table{first}; "
                "are the ids of both the same?"
            )
        table, rows = table.filter(pl.Series(rows >= 0)), rows[rows >= 0]
        parts = [column.entries(table[column.name], table[self._id], what) for column in self.columns]
        self._tell(table, [part.n_unknown for part in parts], n_without=len(ids) - len(rows))
        starts = np.cumsum([0, *(column.n_features for column in self.columns)])
        return CSR.from_pairs(
            np.concatenate([rows[part.rows] for part in parts]),
            np.concatenate([part.features + start for part, start in zip(parts, starts[:-1], strict=True)]),
            np.concatenate([part.weights for part in parts]),
            (len(ids), self.n_features),
        )

    def new_ids(self, frame: TableLike, ids: IdMap) -> IdMap:
        """The ids of a table that are not among ``ids``, in their type: items that only their features tell of.

        Raises
        ------
        DataError
            The table's ids cannot be used, or do not fit into the type of ``ids``.
        """
        check_type("ids", ids, IdMap, "an IdMap, such as interactions.items")
        return new_ids(read_features(frame, self.of)[f"{self.of}_id"], self.of, ids)

    @property
    def _what(self) -> str:
        return f"{self.of}_features"

    @property
    def _id(self) -> str:
        return f"{self.of}_id"

    def _tell(self, table: pl.DataFrame, n_unknown: list[int], *, n_without: int) -> None:
        """Warn, once for all of it, of what has no feature."""
        told = []
        if n_without:
            of_all = f"{n_without:,} of {len(table) + n_without:,} {self.of}s"
            told.append(f"{of_all} have no row in the table, and no features")
        if any(n_unknown):
            counts = [f"{n:,} of {c.name}" for c, n in zip(self.columns, n_unknown, strict=True) if n]
            told.append(f"values that were not there when features were learned are none: {', '.join(counts)}")
        ours = {self._id, *self.dropped, *(column.name for column in self.columns)}
        if others := [name for name in table.columns if name not in ours]:
            told.append(f"columns of which nothing was learned are passed over: {', '.join(others)}")
        if told:
            warn(f"{self._what}: {'; '.join(told)}")

    def description(self) -> dict[str, Any]:
        """All but what :meth:`arrays` has, in the types of JSON."""
        columns = [
            {"name": c.name, "kind": c.kind, "n_features": c.n_features, "mean": c.mean, "spread": c.spread}
            for c in self.columns
        ]
        notes = self.notes[: len(self.notes) - len(self.dropped)]
        return {"of": self.of, "columns": columns, "notes": list(notes), "dropped": self.dropped}

    def arrays(self) -> Arrays:
        """The values of all columns as UTF-8 one after the other, where each begins, and how many rows have it."""
        values = [value.encode() for column in self.columns for value in column.values.ids]
        return {
            "text": np.frombuffer(b"".join(values), np.uint8),
            "offsets": offsets(np.array([len(value) for value in values], np.int64)),
            "counts": np.concatenate([column.counts for column in self.columns]),
        }

    @classmethod
    def restored(cls, description: dict[str, Any], arrays: Arrays) -> Self:
        """Make again what :meth:`description` and :meth:`arrays` told, or raise an error of any kind."""
        values, counts = _texts(arrays), arrays["counts"]
        if counts.dtype != np.int64 or counts.ndim != 1 or (counts < 0).any():
            raise DataError("counts of features must be int64, of at least 0")
        columns, n_values, n_features = [], 0, 0
        for told in description["columns"]:
            n = _n_features(told)
            n_own = 0 if told["kind"] == "number" else n
            ids = IdMap(pl.Series(values[n_values : n_values + n_own], dtype=pl.String))
            own = counts[n_features : n_features + n]
            if len(ids) != n_own or len(own) != n:
                raise DataError(f"there are {len(ids)} values and {len(own)} counts of a column of {n} features")
            columns.append(Column(told["name"], told["kind"], ids, own, told["mean"], told["spread"]))
            n_values, n_features = n_values + n_own, n_features + n
        if n_values != len(values) or n_features != len(counts) or not columns:
            raise DataError(f"there are {len(values)} values and {len(counts)} counts of {n_features} features")
        return cls(description["of"], columns, description["notes"], description["dropped"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Features):
            return NotImplemented
        ours, theirs = self.arrays(), other.arrays()
        return self.description() == other.description() and all(np.array_equal(ours[p], theirs[p]) for p in self.PARTS)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        head = f"Features of {self.of}s: {self.n_features:,} features of {len(self.columns)} columns"
        return "\n".join([head, *(f"  note: {note}" for note in self.notes)])


def new_ids(there: pl.Series, of: str, ids: IdMap) -> IdMap:
    """Those ids of a table of features that are not among ``ids``; see :meth:`Features.new_ids`."""
    what = f"{of}_features"
    new = there.filter(pl.Series(ids.rows(there, f"{what}: {of}_id") < 0))
    try:
        return IdMap.from_values(new.cast(ids.dtype))
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{what}: ids such as {new[0]!r} do not fit into {ids.dtype}, the type of the known ids; cast these to a "
            "wider type first"
        ) from error


def _told(dropped: Mapping[str, str]) -> list[str]:
    return [f"{name}: dropped, {why}" for name, why in dropped.items()]


def _texts(arrays: Arrays) -> list[str]:
    """Values that lie one after the other."""
    text, ends = arrays["text"], arrays["offsets"]
    if text.dtype != np.uint8 or ends.dtype != np.int64 or text.ndim != 1 or ends.ndim != 1:
        raise DataError("text and offsets of features must be uint8 and int64, of one dimension")
    if not len(ends) or ends[0] != 0 or ends[-1] != len(text) or (ends[1:] < ends[:-1]).any():
        raise DataError("offsets of features must ascend from 0 to the length of their text")
    whole = text.tobytes()
    return [whole[begin:end].decode() for begin, end in pairwise(ends.tolist())]


def _n_features(told: dict[str, Any]) -> int:
    """The number of features of a described column, after a look at all that is said of it."""
    n, kind = told["n_features"], told["kind"]
    if kind not in KINDS or not isinstance(n, int) or isinstance(n, bool) or n < 1 or (kind == "number" and n != 1):
        raise DataError(f"there is a column of kind {kind!r} with {n!r} features")
    if not (isinstance(told["name"], str) and is_number(told["mean"]) and is_number(told["spread"])):
        raise DataError(f"there is a column {told['name']!r} of mean {told['mean']!r} and spread {told['spread']!r}")
    if told["spread"] <= 0:
        raise DataError(f"column {told['name']!r} has spread {told['spread']!r}, which must be above 0")
    return n


def read_features(frame: TableLike, of: str) -> pl.DataFrame:
    """A table with one row for each id, whatever its other columns are.

    Raises
    ------
    DataError
        The ids are missing, null, repeated, of no type of ids, or those of the other side.
    """
    what, name, other = f"{of}_features", f"{of}_id", f"{_OTHER[of]}_id"
    table = read_table(frame, (), what)
    if other in table.columns and name in table.columns:
        raise DataError(
            f"{what}: the table has {name} and {other}, as interactions have; features are a table with a row for each "
            f"{of}: leave {other} out, or give another table"
        )
    if other in table.columns:
        raise DataError(
            f"{what}: no column {name}, but {other}: a table of {_OTHER[of]}s is given as {_OTHER[of]}_features"
        )
    table = read_table(table, (name,), what)
    ids = table[name]
    if ids.dtype.is_float() and (ids == ids.round()).all():  # of pandas; exact, as read_table has seen to
        table = table.with_columns(ids.cast(pl.Int64))
    elif not is_id_dtype(ids.dtype):
        raise DataError(
            f"{what}: {name} is a column of {ids.dtype}; ids are integer, text, categorical, enum or binary"
        )
    if (twice := ids.is_duplicated()).any():
        raise DataError(
            f"{what}: {int(twice.sum()):,} rows share their {name} with others, the first is "
            f"{ids.filter(twice)[0]!r}; each {of} has one row: bring its values together, "
            f"table.group_by({name!r}).agg(...), into lists for example, or choose one"
        )
    return table
