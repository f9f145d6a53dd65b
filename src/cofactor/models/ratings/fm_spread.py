"""How far users and items that nobody knows may be from the mean ones, by the samples of a factorization machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy

from cofactor.models.base.batches import pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cofactor.kernels.arguments import FmSamples
    from cofactor.kernels.arrays import Float, Rows

__all__ = ["Described", "Spread", "around", "strangers"]

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


class Described(NamedTuple):
    """Who is known by features alone: what an id adds to them has its prior, a normal for each coordinate."""

    rows: NDArray[np.bool_]  # (n,)
    means: Float  # (n_samples, c)
    precisions: Float


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
    described_users: Described | None = None
    described_items: Described | None = None

    def widen(self, variances: NDArray[np.float64], users: Rows, items: Rows, predicted: Float) -> None:
        """Make the variances of pairs right, in place, where one side at least is -1 or known by features alone.

        Given are those over the samples, with -1 for the mean user or item. Of an ordered probit, what comes out is the
        mean squared distance of the rating from the predicted one, which stays that of the mean user or item.
        """
        told = _described(users, self.described_users) | _described(items, self.described_items)
        at = np.flatnonzero((users < 0) | (items < 0) | told)
        if self.samples.levels is None:
            variances[at] += self._added(users[at], items[at])
        else:
            variances[at] = self._around(self.samples.levels, users[at], items[at], predicted[at])

    def _added(self, users: Rows, items: Rows) -> NDArray[np.float64]:
        """The mean over samples of the variance by who is unknown."""
        out = np.zeros(len(users))
        for piece in pieces(len(users), _PIECE):
            for _, added in self._by_sample(users[piece], items[piece]):
                out[piece] += added / len(self.users)
        return out

    def _around(self, levels: NDArray[np.float64], users: Rows, items: Rows, predicted: Float) -> NDArray[np.float64]:
        """Mean squared distances of ratings: hidden numbers are as wide as the noise, 1, and who is unknown."""
        cutpoints = np.empty((len(self.users), 0)) if self.samples.cutpoints is None else self.samples.cutpoints
        out = np.zeros(len(users))
        for piece in pieces(len(users), _PIECE):
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
            of_users = _uncertain(users, self.users[at], self.described_users, at)
            of_items = _uncertain(items, self.items[at], self.described_items, at)
            added = np.zeros(len(users))
            for own, there, mean in of_users:
                added += there * _forms(q if mean is None else _with_own(q, p, mean), own)
            for own, there, mean in of_items:
                added += there * _forms(p if mean is None else _with_own(p, q, mean), own)
            for of_user, unknown_user, _ in of_users:
                for of_item, unknown_item, _ in of_items:
                    added += (unknown_user & unknown_item) * np.sum(of_user[1:, 1:] * of_item[1:, 1:])
            yield z, added


def _described(rows: Rows, described: Described | None) -> NDArray[np.bool_]:
    return np.zeros(len(rows), np.bool_) if described is None else (rows >= 0) & described.rows[rows]


def _uncertain(
    rows: Rows, unknown: Float, described: Described | None, at: int
) -> list[tuple[NDArray[np.float64], NDArray[np.bool_], Float | None]]:
    """The covariances that a side may have in a sample, who has them, and the mean that is part of their rows."""
    found: list[tuple[NDArray[np.float64], NDArray[np.bool_], Float | None]]
    found = [(unknown.astype(np.float64), rows < 0, None)]
    if described is not None:
        of_ids = np.diag(1 / described.precisions[at].astype(np.float64))
        found.append((of_ids, _described(rows, described), described.means[at]))
    return found


def _with_own(others: NDArray[np.float64], own: NDArray[np.float64], mean: Float) -> NDArray[np.float64]:
    """What the coordinates of an id are multiplied by: the other side's row, and the features' sum beside the id."""
    by = others + own - mean
    by[:, 0] = 1
    return by


def _rows(of_known: Float, of_unknown: Float, rows: Rows) -> NDArray[np.float64]:
    return np.where(rows[:, None] < 0, of_unknown, of_known[rows]).astype(np.float64)


def _forms(vectors: NDArray[np.float64], covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each vector w the number w' C w, in rows."""
    forms: NDArray[np.float64] = np.einsum("ij,ij->i", vectors @ covariance, vectors)
    return forms
