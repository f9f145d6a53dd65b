"""The two sides of a factorization machine: what besides its id is known of each user, and of each item."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy

from cofactor.data.features import Features
from cofactor.data.widened import widened
from cofactor.kernels.arguments import FmSide
from cofactor.kernels.arrays import width_of
from cofactor.kernels.csr import CSR

if TYPE_CHECKING:
    from typing import Self

    from cofactor.data.features import Of
    from cofactor.data.ratings import Ratings
    from cofactor.data.tables import TableLike
    from cofactor.kernels.arrays import Rows

__all__ = ["SideFeatures", "described", "rated"]


class SideFeatures(NamedTuple):
    """Features of every row, and to which field each of them belongs; the field of ids is 0."""

    features: CSR
    fields: Rows

    @classmethod
    def of(cls, n: int, parts: list[tuple[CSR, Rows]]) -> Self:
        """Bring parts together; the fields of each are counted from 0."""
        fields: list[Rows] = []
        first = 1
        for _, own in parts:
            fields.append(own + first)
            first += int(own.max(initial=-1)) + 1
        if not parts:
            return cls(CSR(np.zeros(n + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), 0), _no_rows())
        matrices = [matrix.to_scipy() for matrix, _ in parts]
        together = matrices[0] if len(matrices) == 1 else scipy.sparse.hstack(matrices, format="csr")
        return cls(CSR.from_scipy(together), np.concatenate(fields).astype(np.int32))

    @property
    def n_fields(self) -> int:
        """Number of fields, ids included."""
        return 1 + int(self.fields.max(initial=0))

    def parameters(self, n_coordinates: int, init_std: float, rng: np.random.Generator) -> FmSide:
        """Where a chain starts: weights of 0, vectors at random."""
        width = width_of(n_coordinates)
        n, n_features = self.features.shape
        ids, parts = np.zeros((n, width), np.float32), np.zeros((n_features, width), np.float32)
        for rows in (ids, parts):
            rows[:, 1:n_coordinates] = rng.normal(0, init_std, (len(rows), n_coordinates - 1))
        totals = ids.copy()  # what the other side is swept with first; of features nothing is known yet
        return FmSide(totals, ids, parts, self.features, self.features.transposed(), self.fields)


def described(x: Ratings, side: Of, table: TableLike | None) -> tuple[Ratings, Features | None, list[tuple[CSR, Rows]]]:
    """Ratings with the ids of a table too, its features, and those of every id: a field for each column.

    Raises
    ------
    DataError
        The table cannot be used, or tells of nobody who has ratings.
    """
    if table is None:
        return x, None, []
    features = Features.from_frame(table, side)
    x = widened(x, table, side)
    matrix = features.encode(table, x.items if side == "item" else x.users)
    fields = np.repeat(np.arange(len(features.columns)), [column.n_features for column in features.columns])
    return x, features, [(matrix, fields.astype(np.int32))]


def rated(matrix: CSR) -> CSR:
    """Which columns each row has a rating of, weighed by 1 / sqrt(n) where these are n, as in SVD++ (Koren 2008)."""
    return matrix.binary().scaled(rows=1 / np.sqrt(np.maximum(np.diff(matrix.indptr), 1)))


def _no_rows() -> Rows:
    return np.empty(0, np.int32)
