r"""Matrix factorization of ratings with biases.

.. math:: \hat r_{ui} = \mu + b_u + b_i + p_u \cdot q_i, \qquad
    \min \sum_{(u,i)} (r_{ui} - \hat r_{ui})^2 + \sum_u n_u^\nu (\lambda |p_u|^2 + \lambda_b b_u^2)
    + \sum_i n_i^\nu (\lambda |q_i|^2 + \lambda_b b_i^2)

with :math:`\mu` the mean of all ratings, :math:`n_u, n_i` how many a user and an item have, :math:`\nu` =
``regularization_exponent``, :math:`\lambda` = ``regularization`` and :math:`\lambda_b` = ``bias_regularization``. Both
methods minimise this: "als" solves for each user's factors and bias at once, then for each item's; "sgd" takes a step
for one rating after the other.

Sources: Koren, Bell & Volinsky 2009, "Matrix factorization techniques for recommender systems" (the model; their
:math:`\nu` is 1, "sgd" with it is Funk's); Zhou et al. 2008 (alternating least squares); Gemulla et al. 2011 (strata
that are worked on side by side). Departures: ratings are standardized first, so that all parameters mean the same in
any unit; :math:`\nu` may lie between 0 and 1, and one half, the default, is better than both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from cofactor.checks import check_at_least, check_choice
from cofactor.errors import CofactorError
from cofactor.kernels.arrays import width_of
from cofactor.models.base.epochs import Plan, run_epochs
from cofactor.models.base.fitting import in_one_step
from cofactor.models.ratings.descent import Descent, check_settings
from cofactor.models.ratings.factored import FactoredRatings, standardized
from cofactor.system.memory import require_memory
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from cofactor.data.ratings import Ratings
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.cpu import Kernels
    from cofactor.kernels.csr import CSR
    from cofactor.models.base.epochs import Rate

__all__ = ["BiasedMF"]

_EPOCHS = {"als": 15, "sgd": 30}


class BiasedMF(FactoredRatings):
    """Matrix factorization of ratings with biases, by alternating least squares or stochastic gradient descent.

    Parameters
    ----------
    factors : int
        Length of the vectors.
    method : {"als", "sgd"}
        "als" is exact, takes few epochs of O(nnz factors^2 + rows factors^3), and users known by ratings alone get
        just what training would give them. "sgd" takes more epochs, of O(nnz factors): for many factors.
    regularization, bias_regularization : float
        In units in which ratings have a standard deviation of 1.
    regularization_exponent : float
        0: the same regularization for all; 1: proportional to the number of ratings.
    epochs : int, optional
        By default 15 with "als", 30 with "sgd".
    learning_rate, bias_learning_rate : float
        Of "sgd", in the same units.
    lr_schedule : {"cosine", "constant"}
        "cosine" lets learning rates fall to zero over the epochs.
    init_std : float
        Factors start normal with this standard deviation.
    seed : int
    threads : int, optional
        Results do not depend on it.

    Attributes
    ----------
    mean_, std_ : float
        Of the ratings.
    user_biases_, item_biases_ : (n_users,) and (n_items,) float32
    user_factors_, item_factors_ : (n_users, factors) and (n_items, factors) float32
    loss_history_ : (epochs,) float64
        Of standardized ratings, per rating: with "als" the loss after each epoch, with "sgd" the squared errors, each
        before its step.

    Examples
    --------
    >>> import polars as pl, cofactor as cf
    >>> table = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 8, 7], "rating": [4.5, 0.5, 3.0]})
    >>> cf.BiasedMF(2).fit(table).predict(table).columns
    ['user_id', 'item_id', 'rating']
    """

    def __init__(
        self,
        factors: int = 32,
        *,
        method: Literal["als", "sgd"] = "als",
        regularization: float = 1.0,
        bias_regularization: float = 1.0,
        regularization_exponent: float = 0.5,
        epochs: int | None = None,
        learning_rate: float = 0.03,
        bias_learning_rate: float = 0.03,
        lr_schedule: Literal["cosine", "constant"] = "cosine",
        init_std: float = 0.1,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.factors = factors
        self.method = method
        self.regularization = regularization
        self.bias_regularization = bias_regularization
        self.regularization_exponent = regularization_exponent
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.bias_learning_rate = bias_learning_rate
        self.lr_schedule = lr_schedule
        self.init_std = init_std
        self.seed = seed
        self.threads = threads

    @in_one_step
    def fit(self, ratings: Ratings, *, progress: bool | None = None) -> Self:
        """Learn biases and factors.

        Raises
        ------
        ParameterError
            A parameter is out of its range, or training would not fit into memory.
        CofactorError
            Training diverged, or the equations of a user or an item have no unique solution.
        """
        self._check()
        x, mean, std = standardized(ratings.user_items)
        require_memory(
            4 * 4 * sum(x.shape) * width_of(self.factors + 1) + 12 * x.nnz,
            f"BiasedMF({self.factors}) on {x.n_rows:,} users and {x.n_columns:,} items",
            "fewer factors",
        )
        training = self._training(x)
        course = run_epochs("BiasedMF", training.plan, training.epoch, training.snapshot, progress=progress)
        self.loss_history_ = course.epochs["loss"].to_numpy()
        self._take_over(*training.sides(), mean, std)
        return self

    def _check(self) -> None:
        check_choice("method", self.method, _EPOCHS)
        if self.epochs is not None:
            check_at_least("epochs", self.epochs, 1, whole=True)
        check_settings(self)
        resolve_threads(self.threads)

    def _training(self, x: CSR) -> _Alternation | Descent:
        epochs = self.epochs or _EPOCHS[self.method]
        return (_Alternation if self.method == "als" else Descent)(self, epochs, self._kernels(), x)

    def _fold_in(self, histories: CSR) -> Float:
        known = histories.with_values((histories.values.astype(np.float64) - self.mean_) / self.std_)
        root = np.float32(np.sqrt(self.std_))
        factors, biases = self._as_fitted._training(known).users_of(
            self.item_factors_ / root, self.item_biases_ / np.float32(self.std_)
        )
        return self._of_users(factors * root, biases * np.float32(self.std_))


class _Alternation:
    """Alternating least squares: a vector holds the factors, then the bias, which the other side's 1 multiplies."""

    def __init__(self, model: BiasedMF, epochs: int, kernels: Kernels, x: CSR) -> None:
        self._model, self._kernels, self._x, self.plan = model, kernels, x, Plan(epochs, start=1.0)
        self._factors, width = model.factors, width_of(model.factors + 1)
        penalties = np.append(np.full(model.factors, model.regularization), model.bias_regularization)
        self._penalties = penalties.astype(np.float32)
        self._by_user, self._users = kernels.hold(x), kernels.vectors(x.n_rows, width)
        self._width = width

    def epoch(self, number: int, _: Rate) -> float:
        """Solve for items, then users; the loss per rating."""
        if number == 0:
            self._begin()
        self._solve(self._by_item, self._items, self._users, "item")
        squares = self._solve(self._by_user, self._users, self._items, "user")
        x = self._x
        counts = np.diff(x.indptr), np.bincount(x.indices, minlength=x.n_columns)
        vectors = (self._kernels.fetch(side)[:, : self._factors + 1] for side in (self._users, self._items))
        exponent = self._model.regularization_exponent
        penalty = sum(
            float(n.astype(np.float64) ** exponent @ (v.astype(np.float64) ** 2 @ self._penalties))
            for n, v in zip(counts, vectors, strict=True)
        )
        return (squares + penalty) / x.nnz

    def _begin(self) -> None:
        kernels, x, rng = self._kernels, self._x, np.random.default_rng(self._model.seed)
        start = rng.standard_normal((x.n_columns, self._factors), np.float32) * np.float32(self._model.init_std)
        self._by_item = kernels.hold(x.transposed())
        self._items = self._with(start, np.zeros(x.n_columns, np.float32))
        self._solve(self._by_user, self._users, self._items, "user")

    def snapshot(self) -> Callable[[], None]:
        kernels = self._kernels
        kept = kernels.fetch(self._users).copy(), kernels.fetch(self._items).copy()

        def bring_back() -> None:
            self._users, self._items = (kernels.hold(side) for side in kept)

        return bring_back

    def sides(self) -> tuple[tuple[Float, Float], tuple[Float, Float]]:
        """Factors and biases of users, and of items."""
        users, items = (self._parts(side) for side in (self._users, self._items))
        return users, items

    def users_of(self, factors: Float, biases: Float) -> tuple[Float, Float]:
        """Factors and biases of the users whose ratings these are, with such items."""
        self._solve(self._by_user, self._users, self._with(factors, biases), "history")
        return self._parts(self._users)

    def _with(self, factors: Float, biases: Float) -> Float:
        def fill(out: Float) -> None:
            out[:, : self._factors], out[:, self._factors] = factors, biases

        return self._kernels.vectors(len(biases), self._width, fill)

    def _parts(self, side: Float) -> tuple[Float, Float]:
        vectors = self._kernels.fetch(side)
        return vectors[:, : self._factors], vectors[:, self._factors]

    def _solve(self, history: CSR, solved: Float, other: Float, of: str) -> float:
        """The sum of squared errors that is left."""
        kernels, model = self._kernels, self._model
        _, biases = self._parts(other)
        fixed = kernels.fetch(other).copy()
        fixed[:, self._factors] = 1
        squares, failed = kernels.gaussian_rows(
            history,
            solved,
            kernels.hold(fixed),
            offsets=np.ascontiguousarray(biases),
            prior=np.diag(self._penalties),
            side=np.zeros_like(self._penalties),
            exponent=model.regularization_exponent,
            threads=model.threads,
        )
        if failed >= 0:
            cause = f"regularization={model.regularization:g} is too small; raise it"
            if 0 < model.regularization < float(np.finfo(np.float32).eps) * model.init_std**2:  # rounded away
                cause = f"init_std={model.init_std:g} is too large; lower it"
            raise CofactorError(f"the equations of {of} row {failed} have no unique solution in float32: {cause}")
        return squares
