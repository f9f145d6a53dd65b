"""Context of ratings in a factorization machine: categories beside user and item, each with a row in every sample.

To a pair in a context the item stands for item and context together: both are rows of a bias and a vector, and what
they make between them is one more bias. So all that rates pairs needs no other way for context. Where nobody says what
the context is, or it is a category never seen, it is the mean one of the ratings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.models.base.batches import pieces
from cofactor.models.ratings.fm_entries import add_rows
from cofactor.models.ratings.fm_spread import around, strangers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.features import Features
    from cofactor.kernels.arguments import FmSamples
    from cofactor.kernels.arrays import Float, Rows

__all__ = ["ContextSamples"]

_FLOATS = 1 << 22  # of the rows of pairs that are joined at once


class ContextSamples(NamedTuple):
    """What is known of categories, in every sample."""

    rows: Float  # (n_categories, n_samples x c), column by column
    unknown: Float  # (n_columns, n_samples x c), means over ratings
    covariances: Float  # (n_columns, n_samples, c, c), of categories around these
    starts: NDArray[np.int64]  # (n_columns,), where each column begins in the rows

    @classmethod
    def of(cls, rows: Float, features: Features, n_samples: int) -> Self:
        """Summarize the rows of a chain."""
        unknown, covariances = [], []
        starts = _starts(features)
        for start, column in zip(starts, features.columns, strict=True):
            own = rows[start : start + column.n_features]
            every = np.ones(len(own), np.bool_)
            unknown.append(np.average(own, axis=0, weights=column.counts))
            covariances.append(strangers(own, every, n_samples)[1])
        return cls(rows, np.array(unknown, np.float32), np.array(covariances, np.float32), starts)

    @classmethod
    def kept(cls, rows: Float, unknown: Float, covariances: Float, features: Features) -> Self:
        """As a model holds them."""
        return cls(rows, unknown, covariances, _starts(features))

    @property
    def _shape(self) -> tuple[int, int]:
        return self.covariances.shape[1:3]

    def joined_to_mean(self, items: Float) -> Float:
        """Rows of items, (n, n_samples x c), in the mean context."""
        return self.joined(items, np.full((len(items), len(self.unknown)), -1, np.int32))

    def pieces(self, n: int) -> Iterator[slice]:
        """Pairs that are joined at once, of ``n``."""
        return pieces(n, max(1, _FLOATS // self.rows.shape[1]))

    def joined(self, items: Float, codes: Rows) -> Float:
        """Rows of items, (n, n_samples x c), one for each of the contexts (n, n_columns) in which they are."""
        out = np.array(items, np.float32).reshape(len(items), *self._shape)
        for column, start in enumerate(self.starts):
            own = codes[:, column]
            rows = np.where(own[:, None] < 0, self.unknown[column], self.rows[start + own])
            add_rows(out, rows.reshape(out.shape))
        return out.reshape(len(items), -1)

    def variance(self, users: Float, items: Float, codes: Rows) -> NDArray[np.float64]:
        """What unknown categories add to the variance of pairs, whose rows these are; the mean over samples."""
        means: NDArray[np.float64] = self._added(users, items, codes).mean(axis=1)
        return means

    def level_variance(
        self, users: Float, items: Float, codes: Rows, samples: FmSamples, predicted: Float
    ) -> NDArray[np.float64]:
        """Mean squared distances of ordinal ratings from the predicted ones, with what unknown categories may be."""
        assert samples.levels is not None
        assert samples.cutpoints is not None
        p, q = (rows.reshape(len(codes), *self._shape).astype(np.float64) for rows in (users, items))
        z = samples.offsets + p[:, :, 0] + q[:, :, 0] + np.einsum("nsj,nsj->ns", p[:, :, 1:], q[:, :, 1:])
        added, away = self._added(users, items, codes), (samples.levels - predicted[:, None]) ** 2
        of_samples = [around(away, cuts, z[:, at], added[:, at]) for at, cuts in enumerate(samples.cutpoints)]
        return np.asarray(np.mean(of_samples, axis=0), np.float64)

    def _added(self, users: Float, items: Float, codes: Rows) -> NDArray[np.float64]:
        """Variances by unknown categories in each sample, (n, n_samples)."""
        n_samples, c = self._shape
        out = np.zeros((len(codes), n_samples))
        for column in range(codes.shape[1]):
            at = np.flatnonzero(codes[:, column] < 0)
            by = (users[at] + items[at]).reshape(len(at), n_samples, c).astype(np.float64)
            by[:, :, 0] = 1  # the derivative by the bias
            covariances = self.covariances[column].astype(np.float64)
            out[at] += np.einsum("nsi,sij,nsj->ns", by, covariances, by, optimize=True)
        return out


def _starts(features: Features) -> NDArray[np.int64]:
    return np.cumsum([0, *(column.n_features for column in features.columns)])[:-1]
