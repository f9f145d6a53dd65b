r"""Ordered probit: stars as what a hidden normal number was cut into.

With what is predicted as :math:`z`, cutpoints :math:`c_1 < \dots < c_{K-1}` and :math:`c_0 = -\infty, c_K = \infty`,
the rating is the k-th level with the probability :math:`\Phi(c_k - z) - \Phi(c_{k-1} - z)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Cutpoints", "expected_hidden", "hidden", "log_likelihood"]

_BINS = 2048
_PRIOR_PRECISION = 1e-2  # of each cutpoint, around 0: keeps those finite that the ratings say nothing of
_LEAST = 1e-300
_STEPS = 30


def log_likelihood(cutpoints: NDArray[np.float64], classes: NDArray[np.intp], z: NDArray[np.floating]) -> float:
    """Of the classes, numbered from 0, where ``z`` is predicted; and the prior of the cutpoints, less a constant."""
    ends = np.concatenate([[-np.inf], cutpoints, [np.inf]])
    likelihood = _between(ends[classes] - z, ends[classes + 1] - z)
    return float(np.log(np.maximum(likelihood, _LEAST)).sum() - 0.5 * _PRIOR_PRECISION * (cutpoints @ cutpoints))


def hidden(
    cutpoints: NDArray[np.float64], classes: NDArray[np.intp], z: NDArray[np.floating], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw the hidden numbers: normal around ``z``, truncated to the classes' intervals (Albert & Chib 1993)."""
    ends = np.concatenate([[-np.inf], cutpoints, [np.inf]])
    low, high = ends[classes] - z, ends[classes + 1] - z
    upper = low > 0  # where the tail is thin, the other one is taken
    low, high = np.where(upper, -high, low), np.where(upper, -low, high)
    below = scipy.special.ndtr(low)
    drawn = scipy.special.ndtri(below + rng.random(len(z)) * (scipy.special.ndtr(high) - below))
    drawn = np.clip(np.nan_to_num(drawn, neginf=-np.inf), low, high)
    drawn = np.where(np.isfinite(drawn), drawn, np.where(np.isfinite(high), high, low))
    found: NDArray[np.float64] = np.where(upper, -drawn, drawn) + z
    return found


def expected_hidden(
    cutpoints: NDArray[np.float64], classes: NDArray[np.intp], z: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The means of what :func:`hidden` draws."""
    ends = np.concatenate([[-np.inf], cutpoints, [np.inf]])
    low, high = ends[classes] - z, ends[classes + 1] - z
    density_low, density_high = (np.exp(-0.5 * end**2) / np.sqrt(2 * np.pi) for end in (low, high))
    share = _between(low, high)
    means = (density_low - density_high) / np.maximum(share, _LEAST)
    nearest = np.where(low > 0, low, high)  # so far out that an interval has no probability
    expected: NDArray[np.float64] = z + np.where(share > _LEAST, np.clip(means, low, high), nearest)
    return expected


class Cutpoints:
    """The cutpoints of a chain, moved with the hidden numbers integrated out.

    Given what is predicted, their posterior is log-concave: a proposal from the normal distribution at its mode is
    nearly always accepted, where draws given the hidden numbers hardly move (Cowles 1996). The mode is found on a
    histogram, which only makes the proposal; acceptance looks at every rating.
    """

    def __init__(self, classes: NDArray[np.intp], n_levels: int) -> None:
        self._classes, self._n_levels = classes, n_levels
        counts = np.bincount(classes, minlength=n_levels)
        self.values: NDArray[np.float64] = scipy.special.ndtri(np.cumsum(counts)[:-1] / counts.sum())
        self.n_accepted = 0

    def move(self, z: NDArray[np.floating], rng: np.random.Generator) -> None:
        """One step of Metropolis and Hastings."""
        mode, precision = self._mode(z)
        factor = scipy.linalg.cho_factor(precision)  # upper: precision = u' u
        noise = rng.normal(size=len(mode))
        proposed = mode + scipy.linalg.solve_triangular(factor[0], noise)
        threshold = np.log(rng.random())
        if (np.diff(proposed) <= 0).any():
            return
        away = self.values - mode
        gain: float = log_likelihood(proposed, self._classes, z) - log_likelihood(self.values, self._classes, z)
        gain += 0.5 * float(noise @ noise - away @ precision @ away)
        if threshold < gain:
            self.values = proposed
            self.n_accepted += 1

    def to_mode(self, z: NDArray[np.floating]) -> None:
        """Where they are likeliest."""
        self.values = self._mode(z)[0]

    def _mode(self, z: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """By Newton's method; and minus the second derivatives there. It does not depend on where they are."""
        low, high = float(z.min()), float(z.max())
        width = max((high - low) / _BINS, 1e-9)
        at = np.minimum(((z - low) / width).astype(np.intp), _BINS - 1)
        counts = np.bincount(self._classes * _BINS + at, minlength=self._n_levels * _BINS)
        filled = np.flatnonzero(counts)
        classes, bins = np.divmod(filled, _BINS)
        weights, middles = counts[filled].astype(np.float64), low + (bins + 0.5) * width
        shares = np.cumsum(np.bincount(self._classes, minlength=self._n_levels))[:-1] / len(z)
        c = float(z.mean()) + np.sqrt(1 + float(z.var())) * scipy.special.ndtri(shares)
        value, slope, precision = _derivatives(c, classes, middles, weights)
        for _ in range(_STEPS):
            step = scipy.linalg.cho_solve(scipy.linalg.cho_factor(precision), slope)
            size = 1.0
            while True:
                new = c + size * step
                if (np.diff(new) > 0).all():
                    found = _derivatives(new, classes, middles, weights)
                    if found[0] >= value - 1e-9 * abs(value):
                        break
                size /= 2
                if size < 1e-6:
                    return c, precision
            c, (value, slope, precision) = new, found
            if np.abs(step).max() < 1e-6:
                break
        return c, precision


def _between(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability of an interval, by the thinner tail."""
    upper = low > 0
    low, high = np.where(upper, -high, low), np.where(upper, -low, high)
    between: NDArray[np.float64] = scipy.special.ndtr(high) - scipy.special.ndtr(low)
    return between


def _derivatives(
    c: NDArray[np.float64], classes: NDArray[np.intp], z: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Log posterior of the cutpoints, its slope, and minus its second derivatives."""
    n = len(c)
    ends = np.concatenate([[-np.inf], c, [np.inf]])
    low, high = ends[classes] - z, ends[classes + 1] - z
    share = np.maximum(_between(low, high), _LEAST)
    d_low, d_high = (np.exp(-0.5 * end**2) / np.sqrt(2 * np.pi) / share for end in (low, high))
    t_low, t_high = (np.where(np.isfinite(end), end, 0) * d for end, d in ((low, d_low), (high, d_high)))
    value = float(weights @ np.log(share) - 0.5 * _PRIOR_PRECISION * (c @ c))

    def summed(values: NDArray[np.float64], first: int) -> NDArray[np.float64]:
        return np.bincount(classes + first, weights * values, n + 2)[1 : n + 1].astype(np.float64)

    slope = summed(d_high, 1) - summed(d_low, 0) - _PRIOR_PRECISION * c
    main = summed(t_high + d_high**2, 1) + summed(d_low**2 - t_low, 0) + _PRIOR_PRECISION
    beside = -np.bincount(classes, weights * d_low * d_high, n + 1)[1:n]
    precision = np.diag(main) + np.diag(beside, 1) + np.diag(beside, -1)
    return value, slope, precision
