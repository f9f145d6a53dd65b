r"""Mean, user bias and item bias: how generous a user is, how well liked an item.

.. math:: \hat r_{ui} = \mu + b_u + b_i, \qquad
          \min_{\mu, b} \sum_{(u,i)} (r_{ui} - \hat r_{ui})^2 + \lambda_u \sum_u b_u^2 + \lambda_i \sum_i b_i^2

These are the "baseline estimates" of Koren (2010), "Factor in the neighbors", section 2.1, solved exactly. Where
:math:`\lambda` is not given it is the ratio of variances that makes the biases their posterior means: with
:math:`r_{ui} \sim N(\mu + b_u + b_i, \sigma^2)`, :math:`b_u \sim N(0, \tau_u^2)` and :math:`b_i \sim N(0, \tau_i^2)` it
is :math:`\lambda_u = \sigma^2 / \tau_u^2`, and the variances are found by expectation-maximization in which the
posteriors of single biases are independent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.checks import check_at_least
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.rating import RatingModel
from cofactor.system.progress import progress_bar
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.ratings import Ratings
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR

__all__ = ["BiasOnly"]

_LEAST_VARIANCE = 1e-12  # as a share of the variance of the ratings: none is zero
_SETTLED = 1e-3  # relative change of the variances
_ROUGHLY, _EXACTLY = 1e-4, 1e-10  # relative residual
_MOST_STEPS = 500


class BiasOnly(RatingModel):
    """Predict the mean of all ratings plus a bias of the user and one of the item.

    Parameters
    ----------
    user_regularization, item_regularization : float, optional
        How many ratings at the mean a user, or an item, is given besides its own. Without them they follow from the
        ratings: the less users differ from each other, compared to the noise, the more.
    threads : int, optional

    Attributes
    ----------
    mean_ : float
    user_biases_ : (n_users,) float32
    item_biases_ : (n_items,) float32
    user_biases_stds_, item_biases_stds_ : float32
        How far off each bias may be.
    user_spread_, item_spread_, noise_ : float
        Standard deviations: of the biases of users, of those of items, and of ratings around what is predicted.
    user_regularization_, item_regularization_ : float
        The parameters as given, or what was found in their place.
    """

    mean_: float
    user_biases_: Float
    item_biases_: Float
    user_biases_stds_: Float
    item_biases_stds_: Float
    user_spread_: float
    item_spread_: float
    noise_: float
    user_regularization_: float
    item_regularization_: float

    def __init__(
        self,
        *,
        user_regularization: float | None = None,
        item_regularization: float | None = None,
        threads: int | None = None,
    ) -> None:
        self.user_regularization = user_regularization
        self.item_regularization = item_regularization
        self.threads = threads

    @in_one_step
    def fit(self, ratings: Ratings, *, progress: bool | None = None) -> Self:
        """Solve by conjugate gradients, O(nnz) a step, with variances that are learned between."""
        self._check()
        effects = _Effects(ratings.user_items)
        given = self.user_regularization, self.item_regularization
        with progress_bar("BiasOnly", progress) as bar:
            before = effects.ratios(given)
            for _ in range(_MOST_STEPS):
                effects.solve(before, _ROUGHLY)
                effects.learn_variances(before)
                bar.update()
                ratios = effects.ratios(given)
                settled = np.allclose(ratios, before, rtol=_SETTLED, atol=0)
                before = ratios
                if settled:
                    break
        effects.solve(before, _EXACTLY)
        effects.learn_variances(before)
        self.user_regularization_, self.item_regularization_ = before
        self.mean_ = effects.mean
        self.user_biases_, self.item_biases_ = (b.astype(np.float32) for b in effects.biases)
        self.noise_ = float(np.sqrt(effects.noise))
        self.user_spread_, self.item_spread_ = np.sqrt(effects.variances).tolist()
        self.user_biases_stds_, self.item_biases_stds_ = (
            np.sqrt(v).astype(np.float32) for v in effects.posterior_variances(before)
        )
        return self

    def _learned(self) -> dict[str, str]:
        numbers = ("mean_", "user_spread_", "item_spread_", "noise_", "user_regularization_", "item_regularization_")
        sides = {f"{side}_biases_{of}": f"float32 {side}s" for side in ("user", "item") for of in ("", "stds_")}
        return dict.fromkeys(numbers, "number") | sides

    def _check(self) -> None:
        for name in ("user_regularization", "item_regularization"):
            if getattr(self, name) is not None:
                check_at_least(name, getattr(self, name), 0)
        resolve_threads(self.threads)

    def _user_vectors(self, users: Rows) -> Float:
        return self._of_users(np.where(users < 0, 0, self.user_biases_[users]))

    def _item_vectors(self, items: Rows) -> Float:
        vectors = np.ones((len(items), 2), np.float32)
        vectors[:, 1] = np.where(items < 0, 0, self.item_biases_[items])
        return vectors

    def _of_users(self, biases: NDArray[np.floating]) -> Float:
        vectors = np.ones((len(biases), 2), np.float32)
        vectors[:, 0] = self.mean_ + biases
        return vectors

    def _fold_in(self, histories: CSR) -> Float:
        over = histories.values.astype(np.float64) - self.mean_ - self.item_biases_[histories.indices]
        weights = np.diff(histories.indptr) + self.user_regularization_
        return self._of_users(histories.row_sums(over) / np.where(weights > 0, weights, 1))

    def _stds(self, users: Rows, items: Rows) -> Float:
        of_user = np.where(users < 0, self.user_spread_, self.user_biases_stds_[users])
        of_item = np.where(items < 0, self.item_spread_, self.item_biases_stds_[items])
        stds: Float = np.sqrt(of_user**2 + of_item**2 + self.noise_**2).astype(np.float32)
        return stds


class _Effects:
    """The biases while they are solved for, and the variances that they are shrunk by; in float64.

    What the ratings are to it is sums by user and item, and who rated what: a sweep is two sparse products.
    """

    def __init__(self, x: CSR) -> None:
        values = x.values.astype(np.float64)
        self._center = float(values.mean())
        values -= self._center
        self.std = float(values.std())
        self._square = float(values @ values)
        self._sums = x.row_sums(values), np.bincount(x.indices, values, x.n_columns)
        self._rated: Any = x.to_scipy().astype(np.float64)
        self._rated.data[:] = 1
        self._raters: Any = self._rated.T.tocsr()
        self.counts = np.diff(x.indptr), np.bincount(x.indices, minlength=x.n_columns)
        self.biases = np.zeros(x.n_rows), np.zeros(x.n_columns)
        self._shift = 0.0
        self.noise = self.std**2 / 2
        self.variances = np.full(2, self.std**2 / 4)

    @property
    def mean(self) -> float:
        """What users and items without a bias are rated."""
        return self._center + self._shift

    def ratios(self, given: tuple[float | None, float | None]) -> tuple[float, float]:
        """The regularization of users and of items."""
        user, item = (
            float(self.noise / variance) if one is None else float(one)
            for one, variance in zip(given, self.variances, strict=True)
        )
        return user, item

    def solve(self, ratios: tuple[float, float], tolerance: float) -> None:
        """Bring mean and biases to the minimum, by conjugate gradients from where they are (Jacobi preconditioned)."""
        from scipy.sparse.linalg import LinearOperator, cg  # not for everyone who imports the library

        (n_u, n_i), n = self.counts, float(self.counts[0].sum())
        d_u, d_i = self._weights(0, ratios), self._weights(1, ratios)
        cuts = [1, 1 + len(n_u)]

        def product(at: NDArray[np.float64]) -> NDArray[np.float64]:
            shift, users, items = at[0], at[1 : cuts[1]], at[cuts[1] :]
            of_users = n_u * shift + d_u * users + self._rated @ items
            of_items = n_i * shift + self._raters @ users + d_i * items
            return np.concatenate([[n * shift + n_u @ users + n_i @ items], of_users, of_items])

        scale = np.concatenate([[n], d_u, d_i])
        wanted = np.concatenate([[self._sums[0].sum()], *self._sums])
        size, n_all = (len(scale), len(scale)), np.concatenate([[self._shift], *self.biases])
        matrix = LinearOperator(size, product, dtype=np.float64)
        inverse = LinearOperator(size, lambda at: at / scale, dtype=np.float64)
        found, _ = cg(matrix, wanted, x0=n_all, rtol=tolerance, maxiter=_MOST_STEPS, M=inverse)
        self._shift, users, items = float(found[0]), found[1 : cuts[1]], found[cuts[1] :]
        self.biases = users, items

    def squared_error(self) -> float:
        """Of all ratings."""
        users, items = self.biases
        over = users + self._shift  # with the mean, so that two terms remain
        of_users = self.counts[0] @ over**2 - 2 * (self._sums[0] @ over)
        of_items = self.counts[1] @ items**2 - 2 * (self._sums[1] @ items)
        return max(float(self._square + of_users + of_items + 2 * (over @ (self._rated @ items))), 0.0)

    def learn_variances(self, ratios: tuple[float, float]) -> None:
        """What the biases, and what they leave, say of the variances: a step of expectation-maximization."""
        uncertain = self.posterior_variances(ratios)
        least = _LEAST_VARIANCE * self.std**2
        spread = sum(float(n @ v) for n, v in zip(self.counts, uncertain, strict=True))
        self.noise = max((self.squared_error() + spread) / int(self.counts[0].sum()), least)
        for side, (n, bias, v) in enumerate(zip(self.counts, self.biases, uncertain, strict=True)):
            self.variances[side] = max(float((bias**2 + v)[n > 0].mean()), least)

    def posterior_variances(self, ratios: tuple[float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of every user's and every item's bias, given the others."""
        users, items = (
            np.asarray(np.where(n > 0, self.noise / self._weights(side, ratios), self.variances[side]), np.float64)
            for side, n in enumerate(self.counts)
        )
        return users, items

    def _weights(self, side: int, ratios: tuple[float, float]) -> NDArray[np.float64]:
        weights = self.counts[side] + np.float64(ratios[side])
        return np.asarray(np.where(weights > 0, weights, 1), np.float64)  # where nothing is known nothing is added
