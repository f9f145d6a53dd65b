"""The two sides of a factorization machine: what besides its id is known of each user, and of each item."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy

from cofactor.data.features import Features
from cofactor.data.widened import widened
from cofactor.kernels.arguments import FmRelations, FmSide
from cofactor.kernels.arrays import width_of
from cofactor.kernels.csr import CSR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from cofactor.data.features import Of
    from cofactor.data.ratings import Ratings
    from cofactor.data.tables import TableLike
    from cofactor.kernels.arrays import Float, Rows

__all__ = ["SideFeatures", "described", "rated", "related", "rows_of_features"]


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


def related(sides: Sequence[SideFeatures], codes: Sequence[Rows], sizes: Sequence[int], nnz: int) -> FmRelations:
    """What gradient descent learns of besides ids: features of users and items, and ``codes`` of context.

    ``codes`` are, for each column of context, the category of every one of ``nnz`` ratings, of which there are
    ``sizes``.
    """
    categories = np.zeros((len(codes), nnz), np.int32)
    for row, own, first in zip(categories, codes, np.cumsum([0, *sizes]), strict=False):
        row[:] = own + np.int32(first)
    rates = np.ones(sum(sizes) + sides[0].features.n_columns + sides[1].features.n_columns, np.float32)
    return FmRelations(sides[0].features, sides[1].features, categories, sum(sizes), rates)


def rows_of_features(features: CSR, parts: Float, means: Float) -> Float:
    """Rows of ids, (n, n_samples x c), beside what their features tell.

    Parameters
    ----------
    features : CSR (n, n_features)
    parts : (n_features, n_samples x c)
        What each feature adds.
    means : (n_samples, c), or (n, n_samples, c)
        What an id adds, as far as anybody knows; or what each of them does.
    """
    x, (n_samples, c) = features.to_scipy(), means.shape[-2:]
    sums = (x @ parts).reshape(-1, n_samples, c)
    squares = (x.power(2) @ parts**2).reshape(-1, n_samples, c)
    vectors, of_ids = sums[:, :, 1:], np.broadcast_to(means, sums.shape)[:, :, 1:]
    among = np.einsum("nsj,nsj->ns", vectors, of_ids)  # features and id with each other, and features with each other
    among += (np.einsum("nsj,nsj->ns", vectors, vectors) - squares[:, :, 1:].sum(axis=2)) / 2
    rows = sums + means
    rows[:, :, 0] += among
    return np.asarray(rows.reshape(len(rows), -1), np.float32)


def _no_rows() -> Rows:
    return np.empty(0, np.int32)
