"""The Markov chain of Bayesian matrix factorization: one sweep after the other over priors, vectors and noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.errors import CofactorError
from cofactor.kernels.arrays import width_of
from cofactor.kernels.blas import limited

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float
    from cofactor.kernels.cpu import Kernels
    from cofactor.kernels.csr import CSR

__all__ = ["Prior", "Sample", "Sampler", "Side", "draw_noise", "draw_prior", "forms", "inverse"]

_BETA = 2.0  # as many rows are worth the prior's mean
_FACTORS_VARIANCE, _BIAS_VARIANCE = 0.5, 0.25  # of all products of factors together, of a bias: a priori
_NOISE_SHAPE, _NOISE_RATE = 1.0, 0.5


class Prior(NamedTuple):
    """What the vectors of a side are drawn around."""

    mean: NDArray[np.float64]  # (factors + 1,)
    precision: NDArray[np.float64]  # (factors + 1, factors + 1)


class Sample(NamedTuple):
    """One sample, under the names that the model gives its parts."""

    item_samples: Float
    user_means: Float
    user_samples: Float
    user_prior_means: Float
    item_prior_means: Float
    user_precisions: Float
    item_precisions: Float
    noise_precisions: float


class Sampler:
    """A Markov chain whose stationary distribution is the posterior of all that the model has.

    Parameters
    ----------
    kernels : Kernels
    x : CSR (n_users, n_items)
        Standardized ratings.
    items : (n_items, factors + 1) float32
        Factors and biases to start from: the nearer to the answer, the fewer sweeps until samples are good.
    seed : int
    threads : int, optional
    """

    def __init__(self, kernels: Kernels, x: CSR, items: Float, seed: int, threads: int | None = None) -> None:
        self._kernels, self._rng, factors = kernels, np.random.default_rng(seed), items.shape[1] - 1
        self.users, self.items = (Side(kernels, n, factors, threads) for n in x.shape)
        self.users_prior = self.items_prior = Prior(np.zeros(factors + 1), np.diag((factors + 3) / _scatter(factors)))
        self.noise, self.squares = 2.0, 0.0
        self.observe(x)
        self.items.start(items)
        self._draw(self.users, self._by_user, self.items, self.users_prior)

    def observe(self, x: CSR) -> None:
        """Take ratings, perhaps others than before of the same pairs."""
        self._by_user, self._by_item = self._kernels.hold(x), self._kernels.hold(x.transposed())
        self._nnz = x.nnz

    def sweep(self) -> None:
        """Draw everything once: items, noise, users; ``squares`` is the sum of squared errors then."""
        self.items_prior = draw_prior(self.items.values(), self._rng)
        squares = self._draw(self.items, self._by_item, self.users, self.items_prior)
        self.noise = draw_noise(squares, self._nnz, self._rng)
        self.users_prior = draw_prior(self.users.values(), self._rng)
        self.squares = self._draw(self.users, self._by_user, self.items, self.users_prior)

    def sample(self) -> Sample:
        """What is drawn now, until the next sweep, and the expectations of users given all else."""
        means = self.users.like()
        means.set(self._by_user, self.items.values(), self.users_prior, self.noise)
        (user_mean, user_precision), (item_mean, item_precision) = (
            (prior.mean.astype(np.float32), prior.precision.astype(np.float32))
            for prior in (self.users_prior, self.items_prior)
        )
        rows = self.items.values(), means.values(), self.users.values()
        return Sample(*rows, user_mean, item_mean, user_precision, item_precision, self.noise)

    def _draw(self, side: Side, ratings: CSR, other: Side, prior: Prior) -> float:
        return side.set(ratings, other.values(), prior, self.noise, seed=int(self._rng.integers(1 << 63)))


class Side:
    """Vectors of users or of items, with their bias as the last number."""

    def __init__(self, kernels: Kernels, n: int, factors: int, threads: int | None) -> None:
        self._kernels, self._n, self._factors, self._threads = kernels, n, factors, threads
        self._width = width_of(factors + 1)
        self._vectors = kernels.vectors(n, self._width)

    def like(self) -> Side:
        """Another one of as many rows, all zeros."""
        return Side(self._kernels, self._n, self._factors, self._threads)

    def start(self, values: Float) -> None:
        """Begin with these vectors, (n, factors + 1)."""
        self._vectors = self._padded(values)

    def values(self) -> Float:
        """The vectors as they are, (n, factors + 1)."""
        return self._kernels.fetch(self._vectors)[:, : self._factors + 1]

    def set(self, ratings: CSR, other: Float, prior: Prior, noise: float, *, seed: int | None = None) -> float:
        """Draw all vectors given the other side's, or without a seed set their means; the sum of squared errors."""
        fixed = other.copy()
        fixed[:, -1] = 1
        precision = prior.precision / noise
        squares, failed = self._kernels.gaussian_rows(
            ratings,
            self._vectors,
            self._padded(fixed),
            offsets=np.ascontiguousarray(other[:, -1]),
            prior=precision.astype(np.float32),
            side=(precision @ prior.mean).astype(np.float32),
            deviation=0.0 if seed is None else noise**-0.5,
            seed=seed or 0,
            threads=self._threads,
        )
        if failed >= 0 or not np.isfinite(squares):
            what = f"the equations of row {failed} cannot be solved" if failed >= 0 else "squared errors are not finite"
            raise CofactorError(
                f"BayesianMF: {what} in float32; divide all ratings by a number, or leave out those that are far from "
                "all others"
            )
        return squares

    def _padded(self, values: Float) -> Float:
        def fill(out: Float) -> None:
            out[:, : values.shape[1]] = values

        return self._kernels.vectors(len(values), self._width, fill)


def draw_prior(vectors: NDArray[np.floating], rng: np.random.Generator) -> Prior:
    """Mean and precision given (n, factors + 1) vectors; with none, of the Normal-Wishart distribution itself."""
    with limited(1):  # quicker for matrices of this size, and the same whatever the number of threads
        return _drawn_prior(vectors.astype(np.float64), rng)


def _drawn_prior(x: NDArray[np.float64], rng: np.random.Generator) -> Prior:
    n, size = x.shape
    mean = x.mean(0) if n else np.zeros(size)
    above = x - mean
    scatter = np.diag(_scatter(size - 1)) + above.T @ above + _BETA * n / (_BETA + n) * np.outer(mean, mean)
    bartlett = np.tril(rng.standard_normal((size, size)), -1)
    bartlett += np.diag(np.sqrt(rng.chisquare(size + 2 + n - np.arange(size))))
    root = np.linalg.cholesky(inverse(scatter)) @ bartlett
    noise = np.linalg.solve(root.T, rng.standard_normal(size))
    return Prior(n * mean / (_BETA + n) + noise / np.sqrt(_BETA + n), root @ root.T)


def draw_noise(squares: float, n: int, rng: np.random.Generator) -> float:
    """The precision of ratings, given the sum of squares of their n errors."""
    return float(rng.gamma(_NOISE_SHAPE + n / 2) / (_NOISE_RATE + squares / 2))


def _scatter(factors: int) -> NDArray[np.float64]:
    """The diagonal of the scatter matrix that the Wishart prior starts with."""
    return np.append(np.full(factors, (_FACTORS_VARIANCE / factors) ** 0.5), _BIAS_VARIANCE)


def inverse(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of a symmetric positive definite matrix, the same on both sides of its diagonal."""
    found = np.linalg.inv(matrix.astype(np.float64))
    return (found + found.T) / 2


def forms(x: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """``x' matrix x`` for every row."""
    return np.asarray(np.sum((x @ matrix) * x, axis=1))
