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

``method="sgd"`` descends on batches of ratings (Rendle 2010, "Factorization machines", equation 4), by Adam or Adagrad:
many factors in few passes.

Features of a user or an item are computed once for it, not for every rating (Rendle 2013, "Scaling factorization
machines to relational data"); by "sgd" once for a batch, and where there are sets once for a 32nd of a pass. With
``task="ordinal"`` a rating is what a hidden normal number around :math:`\hat y(x)` was cut into (ordered probit), so
that levels need not be equally far from each other; what is predicted is the expected rating. Departures: hyperpriors
are for standardized ratings, users have noise of their own (as in Lakshminarayanan, Bouchard & Archambeau 2011, "Robust
Bayesian matrix factorisation"), all coordinates of an id come before the next one's, and cutpoints move with the hidden
numbers integrated out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from cofactor.data.context import context_codes, learned_context, widths_of
from cofactor.errors import ParameterError
from cofactor.models.base.fitting import in_one_step
from cofactor.models.ratings.fm_chain import Chain
from cofactor.models.ratings.fm_descent import BatchDescent
from cofactor.models.ratings.fm_entries import Entries
from cofactor.models.ratings.fm_predictions import NOISE_FREEDOM
from cofactor.models.ratings.fm_samples import BURN_IN, Kept, sampled
from cofactor.models.ratings.fm_settings import (
    Chosen,
    check_settings,
    defaults,
    require_room,
    slope_at_mean,
    targets_of,
)
from cofactor.models.ratings.fm_sides import SideFeatures, described, rated, related
from cofactor.models.ratings.fm_widened import WidenedMachine

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.context import Context
    from cofactor.data.features import Features
    from cofactor.data.ratings import Ratings
    from cofactor.data.tables import TableLike
    from cofactor.kernels.arguments import FmRelations
    from cofactor.kernels.arrays import Rows
    from cofactor.kernels.csr import CSR

__all__ = ["FactorizationMachine"]


class FactorizationMachine(WidenedMachine):
    """Predict ratings by interactions of all features of a user and an item.

    Parameters
    ----------
    factors : int
        Length of the vectors. Sampled vectors do not overfit, so that more is rarely worse.
    method : {"mcmc", "als", "sgd"}
        Samples of the posterior, whose predictions are averaged: nothing to tune, and a standard deviation of every
        prediction. Or coordinate descent, or stochastic gradient descent, to one set of parameters: quicker to predict
        with, and as good as ``regularization`` is.
    task : {"regression", "ordinal", "classification"}
        Ratings as numbers, as ordered levels such as stars (at most 50; only with "mcmc"), or as one of two values,
        such as 0 and 1, by the probit curve or, with "sgd", the logistic one. What is predicted of levels is the
        expected one: of 0 and 1 the probability of 1.
    output : {"identity", "sigmoid"}
        "sigmoid" is for "sgd" and "regression": the rating is ``low + (high - low) / (1 + exp(-y))``, where y is what
        the machine predicts, and low and high are the ends of the scale of the ratings, declared
        (``events.ratings(scale=(0.5, 5.5))``) or found. No prediction leaves it.
    implicit : bool
        Which items a user rated, and which users rated an item, are features of the user and of the item.
    context : names of columns, or dict of names to widths, optional
        Columns of the log that tell the circumstances of a rating, each a field of categories: ``["hour"]``, or in bins
        ``{"time": "7d"}``, ``{"price": 10}`` (of times and of numbers). In lists of recommendations and where a
        category was never seen, the context is the mean one.
    user_noise : bool
        Some users rate more consistently than others: every user has noise of its own. Only for "mcmc" and
        "regression".
    iterations : int, optional
        Sweeps over all parameters, by default 500 for "mcmc" and 30 for "als"; passes over the ratings for "sgd", 5 of
        a million (8 of two values) and more of fewer, up to 30.
    samples : int
        Of "mcmc": how many sweeps of the last two thirds, evenly spaced, are kept to predict with.
    regularization : float, optional
        Of "als", by default 10; of "sgd" 8e-5 for a million ratings (5e-5 of two values; with a sigmoid times its
        squared slope at the mean rating, standardized; with sets a quarter more) and more for fewer: the mean loss of
        each batch gains ``regularization / 2`` times the squared length of every row that the batch has, so that who
        rates often is held back as often; of features where they take a step, with sets 32 in a pass. It is part of
        the gradient that Adam scales, not a decay beside it; a row that no batch has owes nothing, be it of an id, a
        feature or a category (PyTorch's ``Adam(weight_decay=)`` shrinks and moves such rows, too).
    learning_rate : float, optional
        Of "sgd", by default .005; for two values .002 where there are a million, and up to .005 where fewer; with
        "adagrad" .05. Vectors of features and categories, which many ratings share, go by it times one over the root of
        the number of their steps (in sets four times that), but as far as 20 steps of the full rate go at least.
    optimizer : {"row_adam", "adam", "adagrad"}
        Of "sgd". "adam" is Adam, "row_adam" the same with one second moment for the bias of a row and one for its
        vector: less memory, quicker, as good. "adagrad" has half the state of "adam". Each steps only the rows of a
        batch, with a count of steps of each row's own (of PyTorch ``SparseAdam`` counts the steps of all).
    batch_size : int
        Of "sgd".
    init_std : float
        Vectors start normal with standard deviation ``init_std / sqrt(factors)``.
    seed : int
    threads : int, optional
        The result does not depend on it.
    device : {"cpu", "torch", "cuda"}
        The last two have "sgd" in batches of their own, and sweeps with the draws of the CPU; sweeps with
        ``implicit=True`` are slow there, since items of a set take one step after the other.

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
        the hidden numbers, and with "classification" by "sgd" the mean logistic loss.
    mean_, std_ : float
        By which ratings are standardized.
    levels_ : (n_levels,) float64
        Of ordinal ratings and of two values, and the ends of the scale of a sigmoid; else it is empty, and so is
        ``cutpoints_``, (samples, n_levels - 1).
    user_features_, item_features_, context_features_ : Features, or None
        What was learned of the tables given, and of the columns of context.
    context_samples_ : (n_categories, n) float32, or None
        As those of users and items. ``unknown_contexts_`` and ``context_covariances_`` are their means over ratings and
        how far they are from these.

    Notes
    -----
    A sweep takes O((ratings + features of all users and items) x factors); with context about as much again for each
    of its columns, and a row of factors for every rating in memory.

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

    optimizer: str
    error_history_: NDArray[np.float64]
    user_features_: Features | None
    item_features_: Features | None

    def __init__(
        self,
        factors: int = 16,
        *,
        method: Literal["mcmc", "als", "sgd"] = "mcmc",
        task: Literal["regression", "ordinal", "classification"] = "regression",
        output: Literal["identity", "sigmoid"] = "identity",
        implicit: bool = False,
        context: Context | None = None,
        user_noise: bool = True,
        iterations: int | None = None,
        samples: int = 100,
        regularization: float | None = None,
        learning_rate: float | None = None,
        optimizer: Literal["row_adam", "adam", "adagrad"] = "row_adam",
        batch_size: int = 1024,
        init_std: float = 0.1,
        seed: int = 0,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.factors = factors
        self.method = method
        self.task = task
        self.output = output
        self.implicit = implicit
        self.context = context
        self.user_noise = user_noise
        self.iterations = iterations
        self.samples = samples
        self.regularization = regularization
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.init_std = init_std
        self.seed = seed
        self.threads = threads
        self.device = device

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
            With the columns of ``context``, as ``events.ratings(context=...)`` keeps them; of Events and of tables they
            are taken.
        user_features, item_features : table, optional
            A row for each id with what is known of it, see :class:`cofactor.Features`; every column is a field. Ids
            that have features and no ratings become part of the model, and are rated by their features.
        progress : bool, optional
            Show a bar with the error on the training ratings; by default in a terminal and in a notebook.

        Raises
        ------
        DataError
            There are more than two values and ``task="classification"``, or a column of context cannot be used.
        ParameterError
            A parameter is out of its range, the ratings have too many levels for ``task="ordinal"``, they lack a column
            of context, or the samples would not fit into memory.
        """
        check_settings(self)
        codes = self._learn_context(ratings)
        x, self.user_features_, of_users = described(ratings, "user", user_features)
        x, self.item_features_, of_items = described(x, "item", item_features)
        if self.implicit:
            of_users.append((rated(x.user_items), np.zeros(x.n_items, np.int32)))
            of_items.append((rated(x.item_users), np.zeros(x.n_users, np.int32)))
        columns = () if self.context_features_ is None else self.context_features_.columns
        sizes = [column.n_features for column in columns]
        sides = [SideFeatures.of(x.n_users, of_users), SideFeatures.of(x.n_items, of_items)]
        sides += [SideFeatures.of(n, []) for n in sizes]
        targets, self.levels_, self.mean_, self.std_ = targets_of(self, x)
        require_room(self, x, sides, self._n_samples, in_context=bool(sizes))
        n_told = [0 if told is None else told.n_features for told in (self.user_features_, self.item_features_)]
        n_rows = x.n_users, x.n_items, self.implicit * x.n_items, sum(sizes), n_told[0], n_told[1]
        kept = Kept.room(n_rows, self._n_samples, self.factors + 1, max(len(self.levels_) - 1, 0))
        if self.method == "sgd":
            unit = np.ptp(self.levels_) if self.output == "sigmoid" else self.std_
            relations = related(sides, codes, sizes, targets.nnz)
            self.error_history_ = unit * self._descend(targets, relations, kept, progress)
        else:
            self.error_history_ = self.std_ * self._sweep(Entries(targets, codes, sizes), sides, kept, progress)
        self._take_over(kept, x)
        return self

    def _learn_context(self, ratings: Ratings) -> list[Rows]:
        """The category of every rating, for each column of context."""
        self.context_features_, widths = None, widths_of(self.context)
        if not widths:
            return []
        if ratings.context is None or not set(widths) <= set(ratings.context.columns):
            raise ParameterError(
                f"context={self.context!r}: these Ratings do not hold {'that column' if len(widths) == 1 else 'all'}; "
                f"fit on the events, or keep it: events.ratings(context={list(widths)})"
            )
        self.context_features_ = learned_context(ratings.context, widths)
        codes = context_codes(self.context_features_, ratings.context, widths, "ratings")
        return [np.ascontiguousarray(own) for own in codes.T]

    def _sweep(
        self, entries: Entries, sides: list[SideFeatures], kept: Kept, progress: bool | None
    ) -> NDArray[np.float64]:
        chain = Chain(
            self._kernels(), entries, sides, self.factors + 1,
            n_levels=len(self.levels_) or None,
            regularization=self._chosen(entries.nnz).regularization if self.method == "als" else None,
            noise_freedom=NOISE_FREEDOM if self._has_user_noise else None,
            init_std=self._init_std, seed=self.seed, threads=self.threads,
        )  # fmt: skip
        return sampled(chain, kept, self._chosen(entries.nnz).iterations, unit=self.std_, progress=progress)

    def _descend(self, targets: CSR, relations: FmRelations, kept: Kept, progress: bool | None) -> NDArray[np.float64]:
        iterations, rate, penalty = self._chosen(targets.nnz, slope_at_mean(targets) if self.output == "sigmoid" else 1)
        descent = BatchDescent(
            iterations, rate, self.batch_size, penalty, self._init_std, self.seed, self.threads,
            optimizer=self.optimizer, curve=self._curve,
        )  # fmt: skip
        return descent.run(self._kernels(), targets, relations, kept, progress)

    def _chosen(self, n: int, slope: float = 1.0) -> Chosen:
        """As given, or else as suits the method and so many ratings."""
        given = {name: getattr(self, name) for name in Chosen._fields}
        own = {name: value for name, value in given.items() if value is not None}
        return defaults(self, n, slope)._replace(**own)

    @property
    def _n_samples(self) -> int:
        if self.method != "mcmc":
            return 1
        sweeps = self._chosen(0).iterations
        return min(self.samples, sweeps - int(sweeps * BURN_IN))

    @property
    def _has_user_noise(self) -> bool:
        return self.user_noise and self.method == "mcmc" and self.task == "regression"

    @property
    def _init_std(self) -> float:
        return float(self.init_std / np.sqrt(self.factors))

    def _check(self) -> None:
        check_settings(self)
