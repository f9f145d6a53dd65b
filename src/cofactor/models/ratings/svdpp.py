r"""SVD++: matrix factorization of ratings in which users are told by what they rated, too.

.. math:: \hat r_{ui} = \mu + b_u + b_i + q_i \cdot \Big(p_u + |N(u)|^{-1/2} \sum_{j \in N(u)} y_j\Big)

.. math:: \min \sum_{(u,i)} (r_{ui} - \hat r_{ui})^2
    + \lambda n_u^{\nu - 1} \Big(|p_u|^2 + \sum_{j \in N(u)} |y_j|^2\Big) + \lambda n_i^{\nu - 1} |q_i|^2
    + \lambda_b (n_u^{\nu - 1} b_u^2 + n_i^{\nu - 1} b_i^2)

by stochastic gradient descent, with N(u) the items that u rated, :math:`n_u, n_i` how many ratings a user and an item
have, :math:`\nu` = ``regularization_exponent``, :math:`\lambda` = ``regularization`` and :math:`\lambda_b` =
``bias_regularization``.

Source: Koren 2008, "Factorization meets the neighborhood" (his :math:`\nu` is 1). Departures: ratings are standardized
first, so that all parameters mean the same in any unit; the steps of all :math:`y_j` for a user's ratings are taken at
once, which comes to the same for a fraction of the work; a few users at a time read items as they were before them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from cofactor.checks import check_at_least, check_choice
from cofactor.kernels.arguments import RatingSide, RatingStep
from cofactor.models.base.epochs import Plan, run_epochs
from cofactor.models.base.fitting import in_one_step
from cofactor.models.ratings.factored import FactoredRatings, standardized
from cofactor.system.memory import require_memory
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.ratings import Ratings
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.cpu import Kernels
    from cofactor.kernels.csr import CSR

__all__ = ["SVDpp"]

_PIECE = 1 << 16  # ratings looked at at once
_FEW, _MANY = 512, 4096  # ratings of a batch of users, at least and at most
_BATCHES = 256  # in an epoch, where that leaves batches of these sizes


class SVDpp(FactoredRatings):
    """SVD++: factors of users and items, and of users by what they rated.

    Parameters
    ----------
    factors : int
    regularization, bias_regularization : float
        In units in which ratings have a standard deviation of 1.
    regularization_exponent : float
        0: the same regularization for all; 1: proportional to the number of ratings.
    epochs : int
        Each takes O(nnz factors).
    learning_rate, bias_learning_rate : float
        In the same units.
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
    user_factors_ : (n_users, factors) float32
        With what their items add.
    item_factors_ : (n_items, factors) float32
    implicit_factors_ : (n_items, factors) float32
        What having rated an item says of a user.
    loss_history_ : (epochs,) float64
        Mean squared error of standardized ratings in each epoch, each before its step.

    Examples
    --------
    >>> import polars as pl, cofactor as cf
    >>> table = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 8, 7], "rating": [4.5, 0.5, 3.0]})
    >>> cf.SVDpp(2).fit(table).predict(table).columns
    ['user_id', 'item_id', 'rating']
    """

    std_: float
    implicit_factors_: Float
    loss_history_: NDArray[np.float64]

    def __init__(
        self,
        factors: int = 32,
        *,
        regularization: float = 1.0,
        bias_regularization: float = 0.5,
        regularization_exponent: float = 0.5,
        epochs: int = 30,
        learning_rate: float = 0.03,
        bias_learning_rate: float = 0.03,
        lr_schedule: Literal["cosine", "constant"] = "cosine",
        init_std: float = 0.03,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.factors = factors
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
        """Descend.

        Raises
        ------
        ParameterError
            A parameter is out of its range, or training would not fit into memory.
        CofactorError
            Training diverged.
        """
        self._check()
        x, mean, std = standardized(ratings.user_items)
        require_memory(
            4 * 3 * (x.n_rows + 2 * x.n_columns) * _width(self.factors) + 12 * x.nnz,
            f"SVDpp({self.factors}) on {x.n_rows:,} users and {x.n_columns:,} items",
            "fewer factors",
        )
        training = _Training(self, self._kernels(), x)
        plan = Plan(self.epochs, cosine=self.lr_schedule == "cosine", start=1.0)
        course = run_epochs("SVDpp", plan, training.epoch, training.snapshot, progress=progress)
        self.std_ = std
        self.loss_history_ = course.epochs["loss"].to_numpy()
        (users, of_users), (items, of_items), implicit = training.parts()
        self._take_over((users + _by_items(x, implicit), of_users), (items, of_items), mean, std)
        self.implicit_factors_ = implicit * np.float32(np.sqrt(std))
        return self

    def _learned(self) -> dict[str, str]:
        return super()._learned() | {
            "std_": "number",
            "implicit_factors_": "float32 items f",
            "loss_history_": "float64 epochs",
        }

    def _check(self) -> None:
        check_choice("lr_schedule", self.lr_schedule, ("cosine", "constant"))
        for name in ("factors", "epochs"):
            check_at_least(name, getattr(self, name), 1, whole=True)
        check_at_least("seed", self.seed, 0, whole=True)
        for name in ("regularization", "bias_regularization", "regularization_exponent", "init_std"):
            check_at_least(name, getattr(self, name), 0)
        for name in ("learning_rate", "bias_learning_rate"):
            check_at_least(name, getattr(self, name), 0, above=True)
        resolve_threads(self.threads)

    def _fold_in(self, histories: CSR) -> Float:
        """As in training, with items as they are: what they say of users is taken off, the rest descended to."""
        root, std = np.float32(np.sqrt(self.std_)), np.float32(self.std_)
        x = histories.with_values((histories.values.astype(np.float64) - self.mean_) / self.std_)
        items, biases = self.item_factors_ / root, self.item_biases_ / std
        told = _by_items(x, self.implicit_factors_ / root)
        left, rows = x.values.copy(), x.row_index()
        for at in range(0, x.nnz, _PIECE):
            piece = slice(at, at + _PIECE)
            left[piece] -= np.einsum("ij,ij->i", told[rows[piece]], items[x.indices[piece]])
        factors, of_users = _Training(self, self._kernels(), x.with_values(left)).users_of(items, biases)
        return self._of_users((factors + told) * root, of_users * std)


class _Training:
    """Factors in training, of standardized ratings."""

    def __init__(self, model: SVDpp, kernels: Kernels, x: CSR) -> None:
        self._model, self._kernels, self._x, self._nnz = model, kernels, kernels.hold(x), x.nnz
        self._blocks = kernels.rating_blocks(x)
        self._batch = int(np.clip(x.nnz // _BATCHES, _FEW, _MANY))
        self._counts = np.diff(x.indptr), np.bincount(x.indices, minlength=x.n_columns)
        self._step = RatingStep(
            model.learning_rate, model.bias_learning_rate, model.regularization, model.bias_regularization
        )
        self._begun = False

    def epoch(self, _: int, rate: float) -> float:
        """Take a step for every rating; the mean squared error."""
        if not self._begun:
            self._begin()
        squares = self._kernels.ratings_implicit_epoch(
            self._x,
            self._users,
            self._items,
            self._implicit,
            self._step.slower(rate),
            blocks=self._blocks,
            batch=self._batch,
            threads=self._model.threads,
        )
        return squares / self._nnz

    def _begin(self) -> None:
        model, rng = self._model, np.random.default_rng(self._model.seed)

        def start(n: int) -> Float:
            return np.float32(model.init_std) * rng.standard_normal((n, model.factors), np.float32)

        self._users, self._items = (self._side(n, start(len(n))) for n in self._counts)
        self._implicit = self._vectors(start(len(self._counts[1])))
        self._begun = True

    def _vectors(self, factors: Float) -> Float:
        def fill(out: Float) -> None:
            out[:, : factors.shape[1]] = factors

        return self._kernels.vectors(len(factors), _width(factors.shape[1]), fill)

    def _side(self, counts: NDArray[np.int64], factors: Float, biases: Float | None = None) -> RatingSide:
        """Rows with so many ratings each, held."""
        vectors = self._kernels.fetch(self._vectors(factors))
        shrinkage = np.maximum(counts, 1).astype(np.float64) ** (self._model.regularization_exponent - 1)
        own = np.zeros(len(counts), np.float32) if biases is None else biases.copy()
        return self._kernels.hold(RatingSide(vectors, own, shrinkage.astype(np.float32)))

    def snapshot(self) -> Callable[[], None]:
        kernels = self._kernels
        kept = [RatingSide(*(part.copy() for part in kernels.fetch(side))) for side in (self._users, self._items)]
        implicit = kernels.fetch(self._implicit).copy()

        def bring_back() -> None:
            self._users, self._items = (kernels.hold(side) for side in kept)
            self._implicit = kernels.hold(implicit)

        return bring_back

    def parts(self) -> tuple[tuple[Float, Float], tuple[Float, Float], Float]:
        """Factors and biases of users, of items, and the implicit factors."""
        users, items = (self._parts(side) for side in (self._users, self._items))
        return users, items, self._kernels.fetch(self._implicit)[:, : self._model.factors]

    def users_of(self, factors: Float, biases: Float) -> tuple[Float, Float]:
        """Users from zeros, with items that stay as they are."""
        model, (of_users, of_items) = self._model, self._counts
        users = self._side(of_users, np.zeros((len(of_users), model.factors), np.float32))
        items = self._side(of_items, factors, biases)
        plan = Plan(model.epochs, cosine=model.lr_schedule == "cosine")
        for epoch in range(plan.epochs):
            step = self._step.slower(plan.rate(epoch, 1.0))
            self._kernels.ratings_sgd_epoch(
                self._x, users, items, step, self._blocks, update_items=False, threads=model.threads
            )
        return self._parts(users)

    def _parts(self, side: RatingSide) -> tuple[Float, Float]:
        vectors, biases, _ = self._kernels.fetch(side)
        return vectors[:, : self._model.factors], biases


def _by_items(x: CSR, implicit: Float) -> Float:
    """What the items of every row say of it, (n_rows, factors)."""
    scale = 1 / np.sqrt(np.maximum(np.diff(x.indptr), 1))
    return np.asarray((x.binary().to_scipy() @ implicit) * scale[:, None], np.float32)


def _width(factors: int) -> int:
    return -(-factors // 16) * 16
