"""How alike two rows of a sparse matrix are: what ItemKNN says of items and UserKNN of users.

With x the values of two rows i and j over shared columns u, N rows, n_u the rows that have column u:

- cosine: ``sum x_iu x_ju / (|x_i| |x_j| + shrinkage)``
- asymmetric cosine (Aiolli 2013, eq. 2, here with values): ``sum x_iu x_ju / (|x_i|^2(1-a) |x_j|^2a + shrinkage)``, j
  being the row that is scored
- Jaccard: ``n_ij / (n_i + n_j - n_ij + shrinkage)``, n counting columns and no values
- tf-idf: the cosine of ``sqrt(x_iu) idf_u``, ``idf_u = log(N / (1 + n_u))``, or 0 where that is negative
- BM25: ``sum w_iu w_ju`` of ``w_iu = idf_u x_iu (k1 + 1) / (x_iu + k1 (1 - b + b |x_i|_1 / average))``

The last two are those of the library *implicit*, which says of every column that it tells the less the more rows have
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from cofactor.checks import check_at_least, check_choice
from cofactor.errors import ParameterError
from cofactor.kernels.arguments import Similarity
from cofactor.kernels.csr import CSR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float


__all__ = ["KINDS", "Columns", "Compared", "Kind", "Measure", "formula"]

Kind = Literal["cosine", "asymmetric", "jaccard", "tfidf", "bm25"]
KINDS = ("cosine", "asymmetric", "jaccard", "tfidf", "bm25")


@dataclass(frozen=True)
class Measure:
    """A similarity and its parameters."""

    kind: Kind
    shrinkage: float
    alpha: float
    k1: float
    b: float

    def check(self) -> None:
        """Raise ParameterError for what makes no similarity."""
        check_choice("similarity", self.kind, KINDS)
        check_at_least("shrinkage", self.shrinkage, 0)
        check_at_least("k1", self.k1, 0)
        for name, value in (("alpha", self.alpha), ("b", self.b)):
            check_at_least(name, value, 0)
            if value > 1:
                raise ParameterError(f"{name} must be at most 1, got {value!r}")
        if self.kind == "bm25" and self.shrinkage:
            raise ParameterError(
                f"shrinkage={self.shrinkage!r}, but bm25 divides by nothing that could be shrunk; use another "
                "similarity, or shrinkage=0"
            )


@dataclass(frozen=True)
class Columns:
    """What a similarity must know of the columns of all rows: of new rows, it is that of the rows fitted on.

    Parameters
    ----------
    weights : (m,) float32
        What a shared column counts: the square of its idf, or 1.
    average : float
        Mean sum of a row.
    """

    weights: Float
    average: float

    @classmethod
    def of(cls, rows: CSR, kind: Kind) -> Self:
        """Count the columns."""
        weights = np.ones(rows.n_columns, np.float32)
        if kind in ("tfidf", "bm25"):
            count = np.bincount(rows.indices, minlength=rows.n_columns)
            idf = np.log(max(rows.n_rows, 1)) - np.log1p(count)
            weights = np.maximum(idf, 0).astype(np.float32) ** 2
        return cls(weights, float(rows.values.sum(dtype=np.float64)) / max(rows.n_rows, 1))


@dataclass(frozen=True)
class Compared:
    """Compared ready to be compared: similarity is ``sum weights_u x_iu x_ju`` over a denominator of ``own`` of both.

    Parameters
    ----------
    matrix : CSR
    binary : bool
        All values count as 1.
    own : (n,) float64
        Norm, or count, or (without values) the inverse of what all of a row's values are.
    """

    matrix: CSR
    binary: bool
    own: NDArray[np.float64]

    @classmethod
    def of(cls, matrix: CSR, columns: Columns, measure: Measure) -> Self:
        """Weigh the values; where they are all 1, none are needed."""
        kind, x = measure.kind, matrix.values
        binary = kind == "jaccard" or bool((x == 1).all())
        if kind == "bm25":
            return cls._bm25(matrix, columns, measure, binary=binary)
        if kind == "tfidf" and not binary:
            matrix = matrix.with_values(np.sqrt(x))
        if binary and kind != "tfidf":
            squares = np.diff(matrix.indptr).astype(np.float64)
        else:
            products = columns.weights[matrix.indices].astype(np.float64)  # float32 has no squares below 1e-19
            if not binary:
                products *= matrix.values
                products *= matrix.values
            squares = matrix.row_sums(products)
        return cls(matrix, binary, squares if kind == "jaccard" else np.sqrt(squares))

    @classmethod
    def _bm25(cls, matrix: CSR, columns: Columns, measure: Measure, *, binary: bool) -> Self:
        x, k1, b = matrix.values, measure.k1, measure.b
        length = k1 * (1 - b + b * matrix.row_sums() / max(columns.average, 1e-300))
        if binary:
            return cls(matrix, True, (1 + length) / (k1 + 1))
        weighed = (x * (k1 + 1) / (x + length[matrix.row_index()])).astype(np.float32)
        return cls(CSR(matrix.indptr, matrix.indices, weighed, matrix.n_columns), False, np.ones(matrix.n_rows))


def formula(
    measure: Measure, choosing: Compared, chosen: Compared, *, scored: Literal["choosing", "chosen"]
) -> Similarity:
    """The denominator between rows that choose neighbours and those they choose of; one of them is the scored side."""
    if measure.kind == "jaccard":
        add = (choosing.own.astype(np.float32), chosen.own.astype(np.float32))
        return Similarity(row_add=add[0], column_add=add[1], overlap=1.0, shrink=measure.shrinkage)
    powers = (1.0, 1.0)
    if measure.kind == "asymmetric":
        powers = (2 - 2 * measure.alpha, 2 * measure.alpha)
        powers = powers[::-1] if scored == "choosing" else powers
    scales = [(side.own**power).astype(np.float32) for side, power in zip((choosing, chosen), powers, strict=True)]
    return Similarity(scales[0], scales[1], shrink=measure.shrinkage)
