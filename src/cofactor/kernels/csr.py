"""A sparse matrix in compressed rows, with the index types that every kernel expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from cofactor.checks import shown
from cofactor.errors import DataError, ParameterError
from cofactor.kernels import native

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    SparseMatrix = scipy.sparse.spmatrix[Any] | scipy.sparse.sparray[Any, Any]

__all__ = ["CSR", "offsets"]

_MAX_ROWS = 2**31 - 1  # what int32 can number


@dataclass(frozen=True, slots=True, eq=False)
class CSR:
    """Compressed sparse rows.

    SciPy insists on one type for offsets and columns; here offsets are always int64 (more than 2^31 entries
    work) and columns always int32 (half the memory of the entries).

    Parameters
    ----------
    indptr : (n_rows + 1,) int64
        Where each row starts in ``indices`` and ``values``; ``indptr[0] == 0``.
    indices : (nnz,) int32
        Column of every entry, ascending and without repeats inside a row.
    values : (nnz,) float32
    n_columns : int
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]
    n_columns: int

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    @property
    def nnz(self) -> int:
        """Number of entries."""
        return len(self.indices)

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_rows, n_columns)``."""
        return self.n_rows, self.n_columns

    def row(self, i: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Columns and values of row ``i`` (views)."""
        at = slice(self.indptr[i], self.indptr[i + 1])
        return self.indices[at], self.values[at]

    def row_index(self) -> NDArray[np.int32]:
        """Row number of every entry, (nnz,) int32."""
        return np.repeat(np.arange(self.n_rows, dtype=np.int32), np.diff(self.indptr))

    def row_sums(self, values: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
        """Sum of every row's values, or of others with one for each entry; (n_rows,) float64."""
        sums = np.zeros(self.n_rows)
        filled = np.flatnonzero(np.diff(self.indptr))
        if len(filled):
            of = self.values if values is None else values
            sums[filled] = np.add.reduceat(of, self.indptr[filled], dtype=np.float64)
        return sums

    def total(self) -> float:
        """Sum of all values, in float64."""
        return float(self.values.sum(dtype=np.float64))

    def with_values(self, values: NDArray[np.floating]) -> CSR:
        """The same entries with other values, (nnz,), stored as float32."""
        return CSR(self.indptr, self.indices, values.astype(np.float32, copy=False), self.n_columns)

    def binary(self) -> CSR:
        """The same entries, all values 1."""
        return self.with_values(np.ones(self.nnz, np.float32))

    def scaled(self, *, rows: NDArray[np.floating] | None = None, columns: NDArray[np.floating] | None = None) -> CSR:
        """Values times a factor of their row, (n_rows,), or of their column, (n_columns,), or both, in float32."""
        values = self.values
        if rows is not None:
            values = values * np.repeat(rows, np.diff(self.indptr)).astype(np.float32)
        if columns is not None:
            values = values * columns.astype(np.float32, copy=False)[self.indices]
        return self.with_values(values)

    def take(self, rows: ArrayLike) -> CSR:
        """The given rows, in the given order, as a new matrix."""
        rows = np.asarray(rows, dtype=np.int64)
        starts = self.indptr[rows]
        lengths = self.indptr[rows + 1] - starts
        indptr = offsets(lengths)
        at = np.arange(indptr[-1], dtype=np.int64) + np.repeat(starts - indptr[:-1], lengths)
        return CSR(indptr, self.indices[at], self.values[at], self.n_columns)

    def transposed(self) -> CSR:
        """Columns as rows, in O(nnz)."""
        return CSR(*native.transpose(self.indptr, self.indices, self.values, self.n_columns), self.n_rows)

    def lookup(self, rows: ArrayLike, columns: ArrayLike) -> NDArray[np.float32]:
        """Value of each (row, column), 0 where the matrix has no entry; O(len(rows) log n_columns)."""
        at = self._entries(rows, columns)
        out = np.zeros(len(at), np.float32)
        out[at >= 0] = self.values[at[at >= 0]]
        return out

    def contains(self, rows: ArrayLike, columns: ArrayLike) -> NDArray[np.bool_]:
        """Whether the matrix has an entry at each (row, column), be it 0; O(len(rows) log n_columns)."""
        return self._entries(rows, columns) >= 0

    def _entries(self, rows: ArrayLike, columns: ArrayLike) -> NDArray[np.int64]:
        """Which entry each (row, column) is, -1 where there is none."""
        rows, columns = np.asarray(rows, np.int64), np.asarray(columns, np.int32)
        if not self.nnz:
            return np.full(len(rows), -1, np.int64)
        at, end = self.indptr[rows], self.indptr[rows + 1]  # the first entry that is not before the column lies between
        last = end.copy()
        for _ in range(int(np.diff(self.indptr).max()).bit_length()):
            middle = (at + end) >> 1
            before = (middle < end) & (self.indices[np.minimum(middle, self.nnz - 1)] < columns)
            at, end = np.where(before, middle + 1, at), np.where(before, end, middle)
        hit = at < last
        hit[hit] = self.indices[at[hit]] == columns[hit]
        return np.where(hit, at, -1)

    def union(self, other: CSR) -> CSR:
        """The pattern of both matrices (same shape), all values 1."""
        rows = np.concatenate([self.row_index(), other.row_index()]).astype(np.int64)
        key = np.sort(rows * max(self.n_columns, 1) + np.concatenate([self.indices, other.indices]))
        rows, columns = np.divmod(key[np.diff(key, prepend=-1) > 0], max(self.n_columns, 1))
        return CSR.from_pairs(rows, columns, np.ones(len(rows), np.float32), self.shape)

    def to_scipy(self) -> scipy.sparse.csr_matrix:
        """A ``scipy.sparse.csr_matrix`` with the same entries."""
        return scipy.sparse.csr_matrix((self.values, self.indices, self.indptr), shape=self.shape)

    @classmethod
    def one_each(cls, columns: NDArray[np.int32], n_columns: int) -> CSR:
        """A row for every given column, which holds a 1 there and nothing else: (len(columns), n_columns)."""
        return cls(np.arange(len(columns) + 1, dtype=np.int64), columns, np.ones(len(columns), np.float32), n_columns)

    @classmethod
    def from_scipy(cls, matrix: SparseMatrix) -> CSR:
        """Take over a SciPy matrix of any format; repeated entries are added up, in float64.

        What the matrix says about itself (sorted, without repeats) is not believed but looked at.

        Raises
        ------
        ParameterError
            It is no sparse matrix of two dimensions.
        DataError
            Its values are no real numbers, it is too large, or its indices lie outside.
        """
        given: Any = matrix
        is_matrix = scipy.sparse.issparse(matrix) and given.ndim == 2
        if not is_matrix:
            raise ParameterError(f"the matrix must be a sparse one of SciPy with two dimensions, got {shown(given)}")
        if given.dtype.kind not in "biuf":
            raise DataError(f"the values of the matrix are {given.dtype}; weights are real numbers; cast them first")
        if max(given.shape) > _MAX_ROWS:
            raise DataError(f"the matrix has shape {given.shape}; there may be up to {_MAX_ROWS} rows and columns")
        if given.format == "csr":
            csr = cls(given.indptr, given.indices, given.data, given.shape[1])
            csr.check_bounds()
            if not csr.is_ascending():
                parts = (given.data.astype(np.float64), given.indices.copy(), given.indptr)
                given = scipy.sparse.csr_matrix(parts, shape=given.shape)  # knows nothing yet of its order
                given.sum_duplicates()
        else:
            coo = given.tocoo()
            for at, size in zip((coo.row, coo.col), given.shape, strict=True):
                _check_range("index", at, size, given.shape)
            points = coo.data.astype(np.float64), (coo.row, coo.col)
            given = scipy.sparse.coo_matrix(points, shape=given.shape).tocsr()
            given.sum_duplicates()
        indptr, columns, values = given.indptr, given.indices, given.data
        return cls(indptr.astype(np.int64), columns.astype(np.int32), values.astype(np.float32), given.shape[1])

    def check(self) -> None:
        """Raise DataError unless the parts fit together as the class says; O(nnz)."""
        kinds = ", ".join(str(np.asarray(part).dtype) for part in (self.indptr, self.indices, self.values))
        if kinds != "int64, int32, float32":
            raise DataError(f"indptr, indices and values must be int64, int32 and float32, got {kinds}")
        self.check_bounds()
        if not self.is_ascending():
            raise DataError("the indices of each row must be ascending and without repeats")

    def check_bounds(self) -> None:
        """Raise DataError unless every row and index lies inside; O(nnz)."""
        if not self.indptr.ndim == self.indices.ndim == self.values.ndim == 1 or not len(self.indptr):
            raise DataError("indptr, indices and values must have one dimension, and indptr an entry more than rows")
        n = len(self.indices)
        if self.indptr[0] != 0 or self.indptr[-1] != n or (self.indptr[1:] < self.indptr[:-1]).any():
            raise DataError(f"indptr must ascend from 0 to the number of indices, {n}")
        if len(self.values) != n:
            raise DataError(f"there are {len(self.values)} values for {n} indices")
        _check_range("index", self.indices, self.n_columns, self.shape)

    def is_ascending(self) -> bool:
        """Whether the indices of every row ascend without repeats; O(nnz)."""
        ascends = self.indices[1:] > self.indices[:-1]
        starts = self.indptr[1:-1]
        ascends[starts[(starts > 0) & (starts < self.nnz)] - 1] = True  # from one row to the next anything goes
        return bool(ascends.all())

    def permuted(self, rows: NDArray[np.int64] | None = None, columns: NDArray[np.int64] | None = None) -> CSR:
        """Rows and columns in another order: the i-th is the one that was ``rows[i]``, ``columns[i]``; O(nnz)."""
        csr = self if rows is None else self.take(rows)
        return csr if columns is None else csr.transposed().take(columns).transposed()

    @classmethod
    def from_pairs(cls, rows: ArrayLike, columns: ArrayLike, values: ArrayLike, shape: tuple[int, int]) -> CSR:
        """Build from one (row, column, value) per entry, in any order.

        Raises
        ------
        DataError
            A (row, column) occurs twice or lies outside the shape.
        """
        rows, columns = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
        for name, at, size in (("row", rows, shape[0]), ("column", columns, shape[1])):
            _check_range(name, at, size, shape)
        key = rows * max(shape[1], 1) + columns
        order = np.argsort(key, kind="stable")
        key = key[order]
        if (twice := np.flatnonzero(key[1:] == key[:-1])).size:
            r, c = divmod(int(key[twice[0]]), shape[1])
            raise DataError(
                f"{twice.size} (row, column) pairs are repeated, the first is ({r}, {c}); aggregate them first"
            )
        indptr = offsets(np.bincount(rows, minlength=shape[0]))
        return cls(indptr, columns[order].astype(np.int32), np.asarray(values, np.float32)[order], shape[1])


def offsets(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where each row starts, given its number of entries: (n_rows,) integer to (n_rows + 1,) int64."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def _check_range(name: str, at: NDArray[np.integer], size: int, shape: tuple[int, ...]) -> None:
    if len(at) and not (at.min() >= 0 and at.max() < size):
        first = at[(at < 0) | (at >= size)][0]
        raise DataError(f"{name} {first} lies outside the shape {shape}")
