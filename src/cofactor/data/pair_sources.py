"""Where a loader's pairs come from: arrays in memory, or Parquet files of any size, a part of them at a time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofactor.checks import shown
from cofactor.data.interactions import Interactions
from cofactor.data.session_pairs import Pairs
from cofactor.data.sources import READ_ERRORS, Source, open_source
from cofactor.errors import DataError, ParameterError
from cofactor.system.forks import require_living_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

__all__ = ["BLOCK", "Column", "Columns", "Group", "PairSource", "open_pairs"]

Column: TypeAlias = NDArray[Any]  # row numbers of 32 or 64 bits, or weights as float32
Columns: TypeAlias = tuple[Column, ...]
Number: TypeAlias = np.dtype[Any]

BLOCK = 1 << 18
"""Rows of a file that are read together: a row group as polars writes it, a quarter of one of Arrow's."""

Block: TypeAlias = tuple[str, int, int]  # a file, its first row, and how many

_INT32: Number = np.dtype(np.int32)
_INT64: Number = np.dtype(np.int64)
_FLOAT32: Number = np.dtype(np.float32)
_SMALL = (pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16)
_LARGE = (pl.Int64, pl.UInt32)
_WEIGHT = "weight"  # the one column that may hold float32


class Group(NamedTuple):
    """Pairs that are in memory together."""

    size: int
    load: Callable[[], Columns]


class PairSource(Protocol):
    """Pairs of row numbers by column."""

    names: tuple[str, ...]
    types: tuple[Number, ...]
    n: int

    def groups(self, order: Callable[[int], NDArray[np.int64]]) -> list[Group]:
        """The groups of a pass; ``order`` gives an order of so many things."""


class HeldPairs:
    """Arrays in memory: one group, and nothing is copied."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self.names = tuple(columns)
        self.arrays = tuple(_integers(name, array) for name, array in columns.items())
        lengths = {name: len(array) for name, array in zip(self.names, self.arrays, strict=True)}
        if len(set(lengths.values())) != 1:
            told = ", ".join(f"{name} has {n:,}" for name, n in lengths.items())
            raise DataError(f"source: columns must be of one length, but {told}")
        self.n = len(self.arrays[0])
        self.types: tuple[Number, ...] = tuple(array.dtype for array in self.arrays)
        for name, array in zip(self.names, self.arrays, strict=True):
            _check_rows(array, f"source: column {name}")

    def groups(self, order: Callable[[int], NDArray[np.int64]]) -> list[Group]:
        """All of it."""
        return [Group(self.n, lambda: self.arrays)]


class FilePairs:
    """Columns of Parquet files, read in blocks: each group is blocks from anywhere."""

    def __init__(self, source: Source, columns: Sequence[str] | None, buffer_size: int) -> None:
        self.source = source
        self.names, self.types = _typed(source, columns)
        self.blocks = [
            (file, begin, min(BLOCK, rows - begin))
            for file in source.files
            for rows in [_n_rows(source, file, self.names)]
            for begin in range(0, rows, BLOCK)
        ]
        self.n = _size(self.blocks)
        self.buffer_size = buffer_size

    def groups(self, order: Callable[[int], NDArray[np.int64]]) -> list[Group]:
        """Blocks in the given order, as many together as the buffer holds."""
        parts: list[list[Block]] = []
        free = 0
        for block in (self.blocks[at] for at in order(len(self.blocks))):
            if block[2] > free or not parts:
                parts.append([])
                free = self.buffer_size
            parts[-1].append(block)
            free -= block[2]
        return [Group(_size(part), partial(self._read, part)) for part in parts]

    def _read(self, blocks: list[Block]) -> Columns:
        require_living_threads()
        self.source.check_unchanged()
        out = tuple(np.empty(_size(blocks), of) for of in self.types)
        at = 0
        for file, begin, rows in blocks:
            try:
                table = pl.scan_parquet(file, glob=False).slice(begin, rows).select(self.names).collect()
            except READ_ERRORS as error:
                self.source.check_unchanged()
                raise self.source.explain(error, self.names) from error
            if table.height != rows:
                raise DataError(f"{file}: rows {begin:,} to {begin + rows:,} are not there any more; read it again")
            for array, column in zip(out, table, strict=True):
                if column.null_count():
                    row = begin + int(column.is_null().arg_max() or 0)
                    raise DataError(f"{file}: column {column.name} is null in row {row:,}; drop such rows first")
                array[at : at + rows] = column.to_numpy()
                _check_rows(array[at : at + rows], f"{file}: column {column.name}", begin)
            at += rows
        return out


def open_pairs(source: Any, columns: Sequence[str] | None, buffer_size: int) -> PairSource:  # noqa: ANN401
    """Take a source as :class:`cofactor.PairLoader` does; files that fit into the buffer are read once.

    Raises
    ------
    ParameterError
        The source is of no known kind.
    DataError
        See the loader.
    """
    pairs = _open(source, columns, buffer_size)
    if not pairs.n:
        raise DataError("source: there are no pairs")
    if isinstance(pairs, FilePairs) and pairs.n <= buffer_size:
        (group,) = pairs.groups(np.arange)
        return HeldPairs(dict(zip(pairs.names, group.load(), strict=True)))
    return pairs


def _open(source: Any, columns: Sequence[str] | None, buffer_size: int) -> PairSource:  # noqa: ANN401
    if _is_path(source) or (isinstance(source, list | tuple) and source and all(map(_is_path, source))):
        return FilePairs(open_source(source, "parquet"), columns, buffer_size)
    if isinstance(source, Interactions):
        matrix = source.user_items
        return HeldPairs(_chosen({"user": matrix.row_index(), "item": matrix.indices}, columns))
    if isinstance(source, Pairs):
        return HeldPairs(_chosen(source.columns(), columns))
    if isinstance(source, pl.DataFrame):
        return HeldPairs({name: column.to_numpy() for name, column in _chosen(source.to_dict(), columns).items()})
    if isinstance(source, Mapping) and source:
        return HeldPairs(_chosen(source, columns))
    if isinstance(source, np.ndarray) and source.ndim == 2 and source.shape[1]:
        source = tuple(source.T)
    if isinstance(source, list | tuple) and source and all(isinstance(a, np.ndarray) for a in source):
        names = [str(at) for at in range(len(source))] if columns is None else list(columns)
        if len(names) != len(source):
            raise ParameterError(f"columns={shown(columns)}: source has {len(source)} arrays; name each of them")
        return HeldPairs(dict(zip(names, source, strict=True)))
    raise ParameterError(
        "source must be arrays of one length, an (n, 2) array, a mapping or a polars table of columns, Interactions, "
        f"or Parquet files, got {shown(source)}"
    )


def _size(blocks: list[Block]) -> int:
    return sum(rows for *_, rows in blocks)


def _is_path(source: object) -> bool:
    return isinstance(source, str | Path)


def _chosen(columns: Mapping[str, Any], names: Sequence[str] | None) -> Mapping[str, Any]:
    _require(columns, names or (), "source")
    return columns if names is None else {name: columns[name] for name in names}


def _require(there: Collection[str], names: Collection[str], where: str) -> None:
    if missing := [name for name in names if name not in there]:
        raise DataError(f"{where}: no column {', '.join(missing)}; the columns are {', '.join(there)}")


def _integers(name: str, array: Any) -> Column:  # noqa: ANN401
    if not isinstance(array, np.ndarray) or array.ndim != 1:
        raise DataError(f"source: column {name} must be an array of one dimension, got {shown(array)}")
    if array.dtype not in (np.int32, np.int64) and (name, array.dtype) != (_WEIGHT, _FLOAT32):
        raise DataError(
            f"source: column {name} is {array.dtype}; row numbers are int32 or int64, without nulls: convert it by "
            "astype(np.int32), or leave it out by columns="
        )
    return array


def _check_rows(array: Column, where: str, begin: int = 0) -> None:
    if len(array) and not array.min() >= 0:
        row = int(np.argmin(array >= 0))
        raise DataError(f"{where} is {array[row]} in row {begin + row:,}; row numbers and weights are 0 or more")


def _typed(source: Source, columns: Sequence[str] | None) -> tuple[tuple[str, ...], tuple[Number, ...]]:
    """The columns and their types: 64 bits where some file needs them."""
    names: tuple[str, ...] | None = None if columns is None else tuple(columns)
    large: set[str] = set()
    exact: set[str] = set()  # weights
    for file in source.files:
        try:
            schema = pl.scan_parquet(file, glob=False).collect_schema()
        except READ_ERRORS as error:
            raise source.explain(error, ()) from error
        names = names or tuple(schema)
        _require(schema.names(), names, file)
        for name in names:
            if schema[name] not in (*_SMALL, *_LARGE) and not (name == _WEIGHT and schema[name] == pl.Float32):
                raise DataError(
                    f"{file}: column {name} is {schema[name]}; row numbers are integers of up to 64 bits with a sign: "
                    "cast it, or leave it out by columns="
                )
        large |= {name for name in names if schema[name] in _LARGE}
        exact |= {name for name in names if schema[name] == pl.Float32}
    names = names or ()
    return names, tuple(_FLOAT32 if name in exact else _INT64 if name in large else _INT32 for name in names)


def _n_rows(source: Source, file: str, names: Sequence[str]) -> int:
    try:
        return int(pl.scan_parquet(file, glob=False).select(pl.len()).collect().item())
    except READ_ERRORS as error:
        raise source.explain(error, names) from error
