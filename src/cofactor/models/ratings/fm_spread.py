"""How far users and items that nobody knows may be from the mean ones, by the samples of a factorization machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cofactor.kernels.arguments import FmSamples
    from cofactor.kernels.arrays import Float, Rows

__all__ = ["Spread", "around", "strangers"]

_PIECE = 1 << 14  # pairs at once


def strangers(rows: Float, rated: NDArray[np.bool_], n_samples: int) -> tuple[Float, Float]:
    """Mean, (n_samples x c,), and covariances, (n_samples, c, c), of the rows that have ratings, in every sample."""
    c = rows.shape[1] // n_samples
    means, covariances = np.empty((n_samples, c), np.float32), np.empty((n_samples, c, c), np.float32)
    for at in range(n_samples):  # one after the other: in float64 all of them would take twice the samples' memory
        own = rows[rated, at * c : at * c + c].astype(np.float64)
        mean = own.mean(axis=0)
        own -= mean
        means[at], covariances[at] = mean, own.T @ own / len(own)
    return means.ravel(), covariances


def around(
    away: NDArray[np.float64], cuts: NDArray[np.float64], z: NDArray[np.float64], added: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Means of ``away``, (n, n_levels), over the levels, where hidden numbers are normal around ``z``, (n,).

    Their variances are 1, that of the noise, and ``added``, (n,).
    """
    below = scipy.special.ndtr((cuts - z[:, None]) / np.sqrt(1 + added[:, None]))
    means: NDArray[np.float64] = np.einsum("ij,ij->i", np.diff(below, axis=1, prepend=0.0, append=1.0), away)
    return means


class Spread(NamedTuple):
    """What variance an unknown side adds, given the other one."""

    samples: FmSamples
    users: Float  # (n_samples, c, c), covariances of biases and vectors
    items: Float

    def widen(self, variances: NDArray[np.float64], users: Rows, items: Rows, predicted: Float) -> None:
        """Make the variances of pairs right, in place, where one side is -1 at least.

        Given are those over the samples, with -1 for the mean user or item. Of an ordered probit, what comes out is the
        mean squared distance of the rating from the predicted one, which stays that of the mean user or item.
        """
        at = np.flatnonzero((users < 0) | (items < 0))
        if self.samples.levels is None:
            variances[at] += self._added(users[at], items[at])
        else:
            variances[at] = self._around(self.samples.levels, users[at], items[at], predicted[at])

    def _added(self, users: Rows, items: Rows) -> NDArray[np.float64]:
        """The mean over samples of the variance by who is unknown."""
        out = np.zeros(len(users))
        for piece in _pieces(len(users)):
            for _, added in self._by_sample(users[piece], items[piece]):
                out[piece] += added / len(self.users)
        return out

    def _around(self, levels: NDArray[np.float64], users: Rows, items: Rows, predicted: Float) -> NDArray[np.float64]:
        """Mean squared distances of ratings: hidden numbers are as wide as the noise, 1, and who is unknown."""
        cutpoints = np.empty((len(self.users), 0)) if self.samples.cutpoints is None else self.samples.cutpoints
        out = np.zeros(len(users))
        for piece in _pieces(len(users)):
            away = (levels - predicted[piece, None]) ** 2
            for (z, added), cuts in zip(self._by_sample(users[piece], items[piece]), cutpoints, strict=True):
                out[piece] += around(away, cuts, z, added) / len(self.users)
        return out

    def _by_sample(self, users: Rows, items: Rows) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Of each sample what pairs are predicted, and the variance of that by who is unknown."""
        known, n_samples = self.samples, len(self.users)
        c = self.users.shape[1]
        for at in range(n_samples):
            here = slice(at * c, at * c + c)
            p = _rows(known.users[:, here], known.unknown_user[here], users)
            q = _rows(known.items[:, here], known.unknown_item[here], items)
            z = known.offsets[at] + p[:, 0] + q[:, 0] + np.einsum("ij,ij->i", p[:, 1:], q[:, 1:])
            p[:, 0] = q[:, 0] = 1  # what the other side's bias is multiplied by
            of_user, of_item = self.users[at].astype(np.float64), self.items[at].astype(np.float64)
            added = np.where(users < 0, _forms(q, of_user), 0) + np.where(items < 0, _forms(p, of_item), 0)
            added += ((users < 0) & (items < 0)) * np.sum(of_user[1:, 1:] * of_item[1:, 1:])
            yield z, added


def _pieces(n: int) -> Iterator[slice]:
    return (slice(at, at + _PIECE) for at in range(0, n, _PIECE))


def _rows(of_known: Float, of_unknown: Float, rows: Rows) -> NDArray[np.float64]:
    return np.where(rows[:, None] < 0, of_unknown, of_known[rows]).astype(np.float64)


def _forms(vectors: NDArray[np.float64], covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each vector w the number w' C w, in rows."""
    forms: NDArray[np.float64] = np.einsum("ij,ij->i", vectors @ covariance, vectors)
    return forms
