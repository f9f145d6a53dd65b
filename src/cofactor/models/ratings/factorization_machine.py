r"""Factorization machines of order 2, with features of users and items (Rendle 2012).

A rating has features x: the ids of its user and item, columns that describe either, and with ``implicit=True`` the
items that the user rated and the users who rated the item, each with weight :math:`1 / \sqrt n` (SVD++, Koren 2008, and
its flip). With weights w and vectors v of features,

.. math:: \hat y(x) = w_0 + \sum_j w_j x_j + \sum_{j < l} \langle v_j, v_l \rangle x_j x_l

of standardized ratings. ``method="mcmc"`` samples all parameters from their posterior, coordinate by coordinate, where
every field of features has normal priors of its own for each coordinate, whose means and precisions are sampled as well
(Freudenthaler, Schmidt-Thieme & Rendle 2011); ``method="als"`` minimises the squared error plus a penalty by the same
steps without noise:

.. math:: \min \sum (y - \hat y(x))^2 + w_0^2 + \lambda \sum_j (w_j^2 + |v_j|^2)

``method="sgd"`` descends on batches of ratings, by Adam, with ids alone: many factors in few passes.

Features of a user or an item are computed once for it, not for every rating (Rendle 2013, "Scaling factorization
machines to relational data"). With ``task="ordinal"`` a rating is what a hidden normal number around
:math:`\hat y(x)` was cut into (ordered probit), so that levels need not be equally far from each other; what is
predicted is the expected rating. Departures: hyperpriors are for standardized ratings, users have noise of their own
(as in Lakshminarayanan, Bouchard & Archambeau 2011, "Robust Bayesian matrix factorisation"), all coordinates of an id
come before the next one's, and cutpoints move with the hidden numbers integrated out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from cofactor.checks import check_at_least, check_choice, check_flag
from cofactor.errors import ParameterError
from cofactor.kernels.arrays import TopK
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.rating import RatingModel
from cofactor.models.ratings.factored import standardized
from cofactor.models.ratings.fm_chain import Chain
from cofactor.models.ratings.fm_descent import Descent
from cofactor.models.ratings.fm_lists import lists_of_products, lists_of_ratings
from cofactor.models.ratings.fm_samples import BURN_IN, Kept, folded_in, sampled, without_biases
from cofactor.models.ratings.fm_saved import check_samples, shapes
from cofactor.models.ratings.fm_sides import Side, described, rated
from cofactor.models.ratings.fm_spread import Spread, strangers
from cofactor.system.memory import require_memory
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.features import Features
    from cofactor.data.ratings import Ratings
    from cofactor.data.tables import TableLike
    from cofactor.kernels.arguments import FmSamples
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.filters import Filters

    Sides = tuple[Side, Side]

__all__ = ["FactorizationMachine"]

_SWEEPS = {"mcmc": 500, "als": 30, "sgd": 8}
_REGULARIZATION = {"mcmc": 0.0, "als": 10.0, "sgd": 5e-5}
_KEPT = (
    "user_samples_", "item_samples_", "rated_item_samples_", "prior_means_", "prior_precisions_", "offsets_",
    "noise_precisions_", "cutpoints_", "user_noises_",
)  # fmt: skip
_MOST_LEVELS = 50
_NOISE_FREEDOM = 20.0  # degrees of freedom of a user's noise around that of all


class FactorizationMachine(RatingModel):
    """Predict ratings by interactions of all features of a user and an item.

    Parameters
    ----------
    factors : int
        Length of the vectors. Sampled vectors do not overfit, so that more is rarely worse.
    method : {"mcmc", "als", "sgd"}
        Samples of the posterior, whose predictions are averaged: nothing to tune, and a standard deviation of every
        prediction. Or coordinate descent, or stochastic gradient descent, to one set of parameters: quicker to predict
        with, and as good as ``regularization`` is. "sgd" knows no features.
    task : {"regression", "ordinal"}
        Ratings as numbers, or as ordered levels such as stars (at most 50; only with "mcmc").
    implicit : bool
        Which items a user rated, and which users rated an item, are features of the user and of the item.
    user_noise : bool
        Some users rate more consistently than others: every user has noise of its own. Only for "mcmc" and
        "regression".
    iterations : int, optional
        Sweeps over all parameters, by default 500 for "mcmc" and 30 for "als"; passes over the ratings, 8, for "sgd".
    samples : int
        Of "mcmc": how many sweeps of the last two thirds, evenly spaced, are kept to predict with.
    regularization : float, optional
        Of "als", by default 10; of "sgd", where it is that of each step, 5e-5.
    learning_rate, batch_size : float and int
        Of "sgd".
    init_std : float
        Vectors start normal with standard deviation ``init_std / sqrt(factors)``.
    seed : int
    threads : int, optional
        The result does not depend on it.

    Attributes
    ----------
    user_samples_, item_samples_ : (n_users, n), (n_items, n) float32
        For each sample, side by side, a bias and a vector.
    user_covariances_, item_covariances_ : (samples, factors + 1, factors + 1) float32
        Of those who have ratings: how far who is unknown may be. None in older files, whose ``std`` leaves that out.
    offsets_, noise_precisions_ : (samples,) float64
    user_noises_ : (n_users,) float32
        Variances of the noise, in units of standardized ratings.
    error_history_ : (iterations,) float64
        Root of the mean squared error on the training ratings, by the parameters of each sweep; with "ordinal" that of
        the hidden numbers.
    mean_, std_ : float
        By which ratings are standardized.
    levels_ : (n_levels,) float64
        Of ordinal ratings; else it is empty, and so is ``cutpoints_``, (samples, n_levels - 1).
    user_features_, item_features_ : Features, or None
        What was learned of the tables given.

    Notes
    -----
    A sweep takes O((ratings + features of all users and items) x factors). Context of a rating, such as its time, is no
    feature here: ``Ratings`` keeps none.

    Examples
    --------
    >>> import cofactor as cf
    >>> ratings = cf.Ratings.from_frame(
    ...     {"user_id": [1, 1, 2, 2, 3], "item_id": [7, 8, 7, 9, 9], "rating": [4.0, 2.0, 5.0, 1.0, 2.0]}
    ... )
    >>> items = {"item_id": [7, 8, 9, 10], "genre": ["drama", "war", "war", "drama"]}
    >>> model = cf.FactorizationMachine(4, iterations=60, samples=20).fit(ratings, item_features=items)
    >>> model.predict({"user_id": [3], "item_id": [10]}).columns
    ['user_id', 'item_id', 'rating', 'std']
    """

    user_samples_: Float
    item_samples_: Float
    rated_item_samples_: Float
    unknown_user_: Float
    unknown_item_: Float
    user_covariances_: Float | None = None  # models saved before these were kept have none
    item_covariances_: Float | None = None
    prior_means_: Float
    prior_precisions_: Float
    offsets_: NDArray[np.float64]
    noise_precisions_: NDArray[np.float64]
    user_noises_: Float
    cutpoints_: NDArray[np.float64]
    levels_: NDArray[np.float64]
    error_history_: NDArray[np.float64]
    mean_: float
    std_: float
    user_features_: Features | None
    item_features_: Features | None

    def __init__(
        self,
        factors: int = 16,
        *,
        method: Literal["mcmc", "als", "sgd"] = "mcmc",
        task: Literal["regression", "ordinal"] = "regression",
        implicit: bool = False,
        user_noise: bool = True,
        iterations: int | None = None,
        samples: int = 100,
        regularization: float | None = None,
        learning_rate: float = 0.002,
        batch_size: int = 1024,
        init_std: float = 0.1,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.factors = factors
        self.method = method
        self.task = task
        self.implicit = implicit
        self.user_noise = user_noise
        self.iterations = iterations
        self.samples = samples
        self.regularization = regularization
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.init_std = init_std
        self.seed = seed
        self.threads = threads

    @in_one_step
    def fit(
        self,
        ratings: Ratings,
        *,
        user_features: TableLike | None = None,
        item_features: TableLike | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Sample, or descend.

        Parameters
        ----------
        ratings : Ratings
        user_features, item_features : table, optional
            A row for each id with what is known of it, see :class:`cofactor.Features`; every column is a field. Ids
            that have features and no ratings become part of the model, and are rated by their features.
        progress : bool, optional
            Show a bar with the error on the training ratings; by default in a terminal and in a notebook.

        Raises
        ------
        ParameterError
            A parameter is out of its range, the ratings have too many levels for ``task="ordinal"``, or the samples
            would not fit into memory.
        """
        self._check()
        if self.method == "sgd" and not (user_features is item_features is None):
            raise ParameterError("method='sgd' takes no user_features and item_features; take method='mcmc' or 'als'")
        x, self.user_features_, of_users = described(ratings, "user", user_features)
        x, self.item_features_, of_items = described(x, "item", item_features)
        if self.implicit:
            of_users.append((rated(x.user_items), np.zeros(x.n_items, np.int32)))
            of_items.append((rated(x.item_users), np.zeros(x.n_users, np.int32)))
        sides = Side.of(x.n_users, of_users), Side.of(x.n_items, of_items)
        targets = self._standardized(x.user_items)
        self._require_memory(x, sides)
        n_rows = x.n_users, x.n_items, self.implicit * x.n_items
        kept = Kept.room(n_rows, self._n_samples, self.factors + 1, max(len(self.levels_) - 1, 0))
        run = self._descend if self.method == "sgd" else self._sweep
        self.error_history_ = self.std_ * run(targets, sides, kept, progress)
        vars(self).update(zip(_KEPT, kept, strict=True))
        (self.unknown_user_, self.user_covariances_), (self.unknown_item_, self.item_covariances_) = (
            strangers(rows, np.diff(by.indptr) > 0, self._n_samples)
            for rows, by in ((kept.users, x.user_items), (kept.items, x.item_users))
        )
        self.interactions_ = x.without_log
        return self

    def _sweep(self, targets: CSR, sides: tuple[Side, Side], kept: Kept, progress: bool | None) -> NDArray[np.float64]:
        chain = Chain(
            self._kernels(), targets, sides, self.factors + 1,
            n_levels=len(self.levels_) or None,
            regularization=None if self.method == "mcmc" else self._penalty,
            noise_freedom=_NOISE_FREEDOM if self._has_user_noise else None,
            init_std=self._init_std, seed=self.seed, threads=self.threads,
        )  # fmt: skip
        return sampled(chain, kept, self._iterations, unit=self.std_, progress=progress)

    def _descend(self, targets: CSR, _: object, kept: Kept, progress: bool | None) -> NDArray[np.float64]:
        rates = self._iterations, self.learning_rate, self.batch_size, self._penalty
        return Descent(*rates, self._init_std, self.seed, self.threads).run(self._kernels(), targets, kept, progress)

    def _standardized(self, matrix: CSR) -> CSR:
        """Targets; and what they are brought back by."""
        self.levels_ = np.empty(0)
        self.mean_, self.std_ = 0.0, 1.0
        if self.task == "ordinal":
            self.levels_, classes = np.unique(matrix.values.astype(np.float64), return_inverse=True)
            if len(self.levels_) > _MOST_LEVELS:
                raise ParameterError(
                    f"task='ordinal' is for ratings of at most {_MOST_LEVELS} levels, these have "
                    f"{len(self.levels_):,}; take task='regression', or round the ratings"
                )
            return matrix.with_values(classes.astype(np.float32))
        targets, self.mean_, self.std_ = standardized(matrix)
        return targets

    @property
    def _iterations(self) -> int:
        return _SWEEPS[self.method] if self.iterations is None else self.iterations

    @property
    def _n_samples(self) -> int:
        return min(self.samples, self._iterations - int(self._iterations * BURN_IN)) if self.method == "mcmc" else 1

    @property
    def _has_user_noise(self) -> bool:
        return self.user_noise and self.method == "mcmc" and self.task == "regression"

    @property
    def _penalty(self) -> float:
        return _REGULARIZATION[self.method] if self.regularization is None else self.regularization

    @property
    def _init_std(self) -> float:
        return float(self.init_std / np.sqrt(self.factors))

    @property
    def _kept(self) -> Kept:
        return Kept(*(getattr(self, name) for name in _KEPT))

    def _learned(self) -> dict[str, str]:
        n = np.size(getattr(self, "offsets_", ()))  # as fitted: ``samples`` may have been set anew since
        return shapes(n, self.factors + 1, ordinal=self.task == "ordinal", implicit=self.implicit)

    def _check_state(self) -> None:
        check_samples(self._kept, self.levels_, self.std_, noisy=self.method != "sgd")

    def _check(self) -> None:
        check_at_least("factors", self.factors, 1, whole=True)
        check_choice("method", self.method, _SWEEPS)
        check_choice("task", self.task, ("regression", "ordinal"))
        check_flag("implicit", self.implicit)
        check_flag("user_noise", self.user_noise)
        if self.iterations is not None:
            check_at_least("iterations", self.iterations, 2, whole=True)
        check_at_least("samples", self.samples, 1, whole=True)
        if self.regularization is not None:
            check_at_least("regularization", self.regularization, 0, above=True)
        check_at_least("learning_rate", self.learning_rate, 0, above=True)
        check_at_least("batch_size", self.batch_size, 1, whole=True)
        check_at_least("init_std", self.init_std, 0, above=True)
        check_at_least("seed", self.seed, 0, whole=True)
        if self.task == "ordinal" and self.method != "mcmc":
            raise ParameterError(f"task='ordinal' needs method='mcmc', got method={self.method!r}")
        if self.implicit and self.method == "sgd":
            raise ParameterError("implicit=True needs method='mcmc' or 'als', got method='sgd'")
        resolve_threads(self.threads)

    def _require_memory(self, x: Ratings, sides: Sides) -> None:
        c, rows = self.factors + 17, x.n_users + x.n_items * (1 + self.implicit)
        parts = sum(side.features.n_columns for side in sides)
        entries = sum(side.features.nnz for side in sides)
        longest = max(int(np.diff(m.indptr).max(initial=0)) for m in (x.user_items, x.item_users))
        needed = 4 * (self._n_samples * (self.factors + 1) * rows + 3 * c * (x.n_users + x.n_items + parts))
        needed += (
            8 * self._n_samples * (self.factors + 1) ** 2
            + 40 * x.nnz
            + 16 * entries
            + 4 * c * longest * resolve_threads(self.threads)
        )
        what = f"{type(self).__name__}(factors={self.factors}) on {x.n_users:,} users and {x.n_items:,} items"
        require_memory(needed, what, "fewer samples or factors")

    # Predictions. A row of samples is what is known of a user or an item.

    def _user_vectors(self, users: Rows) -> Float:
        return np.where(users[:, None] < 0, self.unknown_user_, self.user_samples_[users])

    def _item_vectors(self, items: Rows) -> Float:
        return np.where(items[:, None] < 0, self.unknown_item_, self.item_samples_[items])

    def _compared(self) -> Float:
        return without_biases(self.item_samples_, self.factors)

    def _fold_in(self, histories: CSR) -> Float:
        kernels, ordinal = self._kernels(), self.task == "ordinal"
        if ordinal:
            middles = (self.levels_[1:] + self.levels_[:-1]) / 2  # of levels that training does not have, the nearest
            targets = histories.with_values(np.searchsorted(middles, histories.values).astype(np.float32))
        else:
            targets = histories.with_values((histories.values - self.mean_) / self.std_)
        features = rated(histories) if self.implicit else None
        rows = folded_in(kernels, self._kept, targets, features, ordinal=ordinal, threads=self.threads)
        rows[np.diff(histories.indptr) == 0] = self.unknown_user_
        return rows

    def _samples(self) -> FmSamples:
        levels = self.levels_ if self.task == "ordinal" else None
        return self._kept.asked(levels, (self.unknown_user_, self.unknown_item_))

    def _moments(self, users: Rows, items: Rows, rows: Float | None = None) -> tuple[Float, Float]:
        samples = self._samples() if rows is None else self._samples()._replace(users=rows)
        return self._kernels().fm_ratings(users, items, samples, threads=self.threads)

    def _ratings(self, users: Rows, items: Rows) -> Float:
        return self.mean_ + np.float32(self.std_) * self._moments(users, items)[0]

    def _stds(self, users: Rows, items: Rows) -> Float | None:
        if self.method != "mcmc":
            return None
        ratings, over_samples = self._moments(users, items)
        variances = over_samples.astype(np.float64)
        if self.user_covariances_ is not None and self.item_covariances_ is not None:
            spread = Spread(self._samples(), self.user_covariances_, self.item_covariances_)
            spread.widen(variances, users, items, ratings)
        if self.task == "regression":
            common = float((1 / self.noise_precisions_).mean())
            unknown = common * _NOISE_FREEDOM / (_NOISE_FREEDOM - 2) if self._has_user_noise else common
            variances += np.where(users < 0, unknown, self.user_noises_[users])
        return np.asarray(self.std_ * np.sqrt(variances), np.float32)

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        return self._lists(lambda rows: self.user_samples_[users[rows]], len(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        return self._lists(lambda rows: self._fold_in(histories.take(rows)), histories.n_rows, k, filters)

    def _lists(self, rows_of: Callable[[Rows], Float], n: int, k: int, filters: Filters) -> TopK:
        kernels, kept = self._kernels(), self._kept
        if self.task == "regression":
            top = lists_of_products(kernels, kept, rows_of, n, k, filters=filters, threads=self.threads)
            return TopK(top.rows, self.mean_ + np.float32(self.std_) * top.scores)
        rate = lambda users, items, rows: self._moments(users, items, rows)[0]  # noqa: E731
        return lists_of_ratings(kernels, kept, rows_of, n, k, rate=rate, filters=filters, threads=self.threads)
