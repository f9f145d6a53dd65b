"""Statistics of differences between two models on the same users: how sure their mean is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy

from cofactor.kernels.blas import limited

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PairedMeans", "holm", "paired_means", "wilcoxon_pratt"]

GROUPS = 2048
"""Most units that are resampled: more users are dealt at random into as many groups."""

_CHUNK = 256  # resamples drawn at a time: 4 MB of counts
_NOISE = 1e-9  # a share that is rounding: of the squares, a variance that is none; of a distance, a tie


@dataclass(frozen=True, slots=True, eq=False)
class PairedMeans:
    """Mean differences of several pairs of models, each (n_pairs,) float64.

    Parameters
    ----------
    mean : float64
    low, high : float64
        Interval of the mean.
    p_value : float64
        Two-sided, of a mean of 0.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    p_value: NDArray[np.float64]


def paired_means(differences: NDArray[np.float64], *, confidence: float, n_resamples: int, seed: int) -> PairedMeans:
    """Studentized bootstrap of the mean of every column, symmetric about it.

    Users are resampled; every resample gives ``|t*|``, its distance from the mean in its own standard errors, and the
    mean is held against the quantiles of these: Efron and Tibshirani, An Introduction to the Bootstrap, sections 12.5
    and 16.4; Hall (1988) for the symmetric form, whose error of level falls with the square of the number of users.
    The same resamples serve all columns.

    Departures: more than ``GROUPS`` users are dealt at random into as many groups, whose sums are resampled in their
    place; a resample without spread counts as farther away than anything; and no p-value is below ``2^(1 - n)``, n the
    users who differ, the least that a test of signs could give.

    Parameters
    ----------
    differences : (n_users, n_pairs) float64
        At least two users.
    confidence : float
    n_resamples : int
    seed : int

    Notes
    -----
    O(n_users * n_pairs + n_resamples * min(n_users, GROUPS) * n_pairs) time.
    """
    n_users = len(differences)
    mean = differences.mean(axis=0)
    error = differences.std(axis=0, ddof=1) / np.sqrt(n_users)
    constant = np.ptp(differences, axis=0) == 0
    error[constant] = 0.0
    distances = _distances(_centered_sums(differences - mean, seed), n_resamples, seed)
    quantile = np.quantile(distances, confidence, axis=0, method="higher")
    with np.errstate(divide="ignore", invalid="ignore"):
        distance, half = np.abs(mean) / error, quantile * error
    half[constant] = 0.0
    farther = np.where(constant, 0, (distances >= distance * (1 - _NOISE)).sum(axis=0))
    least = 2.0 ** (1 - np.maximum((differences != 0).sum(axis=0), 1))
    p_value = np.maximum((1 + farther) / (n_resamples + 1), least)
    return PairedMeans(mean, mean - half, mean + half, p_value)


def _centered_sums(centered: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """What is resampled: (at most GROUPS, n_pairs), the users or the sums of groups of them."""
    n_users = len(centered)
    if n_users <= GROUPS:
        return centered
    order = np.random.default_rng([seed, n_users]).permutation(n_users)
    begins = np.arange(GROUPS) * n_users // GROUPS
    return np.stack([np.add.reduceat(column[order], begins) for column in centered.T], axis=1)


def _distances(units: NDArray[np.float64], n_resamples: int, seed: int) -> NDArray[np.float64]:
    """``|t*|`` of every resample and pair, (n_resamples, n_pairs); infinite where a resample has no spread."""
    n, n_pairs = units.shape
    rng = np.random.default_rng(seed)
    squares = units**2
    both = np.concatenate([units, squares], axis=1)
    noise = _NOISE * squares.mean(axis=0)
    distances = np.empty((n_resamples, n_pairs))
    # One thread, so that the number of threads changes no digit; the products are small.
    with limited(1):
        for begin in range(0, n_resamples, _CHUNK):
            out = distances[begin : begin + _CHUNK]
            drawn = rng.integers(0, n, (len(out), n), dtype=np.int32)
            drawn += np.arange(len(out), dtype=np.int32)[:, None] * n
            counts = np.bincount(drawn.ravel(), minlength=len(out) * n).reshape(len(out), n)
            moments = counts.astype(np.float64) @ both / n
            mean, variance = moments[:, :n_pairs], moments[:, n_pairs:] - moments[:, :n_pairs] ** 2
            with np.errstate(divide="ignore", invalid="ignore"):
                out[:] = np.abs(mean) / np.sqrt(variance / (n - 1))
            out[variance <= noise] = np.inf
    return distances


def wilcoxon_pratt(differences: NDArray[np.float64]) -> float:
    """Two-sided p-value of the signed-rank test of one pair, (n_users,), by its normal approximation.

    Zeros are ranked and then left out (Pratt, 1959); ties share their middle rank, and the variance allows for them.
    ``scipy.stats.wilcoxon(d, zero_method="pratt", method="asymptotic")`` gives the same in several times the seconds.
    """
    # One sort of whole numbers: those of positive floats are in the order of the floats, and the last bit has the sign.
    keys = np.sort((np.abs(differences).view(np.int64) & ~1) | (differences > 0))
    size, is_positive = keys >> 1, keys & 1
    n, n_zero = len(keys), int(np.searchsorted(size, 0, side="right"))
    if n == n_zero:
        return 1.0
    begins = n_zero + np.flatnonzero(np.diff(size[n_zero:], prepend=0))
    lengths = np.diff(begins, append=n)
    n_positive = np.add.reduceat(is_positive, begins)
    statistic = float((n_positive * (begins + (lengths + 1) / 2)).sum())
    mean = (n * (n + 1) - n_zero * (n_zero + 1)) / 4
    variance = float(n * (n + 1) * (2 * n + 1) - n_zero * (n_zero + 1) * (2 * n_zero + 1))
    long = lengths.astype(np.float64)
    variance -= float((long * (long * long - 1)).sum()) / 2
    return float(2 * scipy.special.ndtr(-abs(statistic - mean) / np.sqrt(variance / 24)))


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values, (m,), corrected for being several, so that the chance of any false finding keeps the level.

    Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(m, 0, -1)).clip(max=1.0)
    corrected = np.empty(m)
    corrected[order] = stepped
    return corrected
