"""Confidence intervals of a mean over users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NORMAL_FROM", "mean_interval"]

NORMAL_FROM = 100_000
"""Number of users from which the normal approximation takes the place of resampling."""


def mean_interval(
    values: NDArray[np.float64], *, confidence: float, n_resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interval of the mean of every column: percentiles of the means of resampled users.

    The same resamples serve all columns. From ``NORMAL_FROM`` users on, where the means are normal to three
    digits and resampling takes seconds, it is the mean plus and minus the quantile times the standard error.

    Parameters
    ----------
    values : (n_users, n_metrics) float64
    confidence : float
        Probability, such as 0.95.
    n_resamples : int
    seed : int

    Returns
    -------
    low, high : (n_metrics,) float64

    Notes
    -----
    O(n_users * n_resamples) time, O(n_users) memory.
    """
    n_users = len(values)
    tail = (1 - confidence) / 2
    if n_users >= NORMAL_FROM:
        mean, std = np.array([(column.mean(), column.std(ddof=1)) for column in values.T]).T  # one that fits the cache
        half = -scipy.special.ndtri(tail) * std / np.sqrt(n_users)
        return mean - half, mean + half
    rng = np.random.default_rng(seed)
    columns = np.ascontiguousarray(values.T)
    means = np.empty((n_resamples, len(columns)))
    for resample in means:
        times_drawn = np.bincount(rng.integers(0, n_users, n_users, dtype=np.int32), minlength=n_users)
        # Not a matrix product: threads of a BLAS cost more than this much work takes.
        np.einsum("mu,u->m", columns, times_drawn.astype(np.float64), out=resample)
    low, high = np.quantile(means / n_users, [tail, 1 - tail], axis=0)
    return low, high
