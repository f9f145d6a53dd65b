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

from cofactor.checks import check_at_least
from cofactor.kernels.arrays import width_of
from cofactor.models.base.batches import pieces
from cofactor.models.base.epochs import run_epochs
from cofactor.models.base.fitting import in_one_step
from cofactor.models.ratings.descent import Descent, check_settings
from cofactor.models.ratings.factored import FactoredRatings, standardized
from cofactor.system.memory import require_memory
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from cofactor.data.ratings import Ratings
    from cofactor.kernels.arguments import RatingStep
    from cofactor.kernels.arrays import Float
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

    implicit_factors_: Float

    def __init__(
        self,
        factors: int = 32,
        *,
        regularization: float = 1.0,
        bias_regularization: float = 1.0,
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
            4 * 3 * (x.n_rows + 2 * x.n_columns) * width_of(self.factors) + 12 * x.nnz,
            f"SVDpp({self.factors}) on {x.n_rows:,} users and {x.n_columns:,} items",
            "fewer factors",
        )
        training = _Training(self, self.epochs, self._kernels(), x)
        course = run_epochs("SVDpp", training.plan, training.epoch, training.snapshot, progress=progress)
        self.loss_history_ = course.epochs["loss"].to_numpy()
        (users, of_users), (items, of_items) = training.sides()
        implicit = training.implicit()
        self._take_over((users + _by_items(x, implicit), of_users), (items, of_items), mean, std)
        self.implicit_factors_ = implicit * np.float32(np.sqrt(std))
        return self

    def _learned(self) -> dict[str, str]:
        return super()._learned() | {"implicit_factors_": f"float32 items {self.factors}"}

    def _check(self) -> None:
        check_at_least("epochs", self.epochs, 1, whole=True)
        check_settings(self)
        resolve_threads(self.threads)

    def _fold_in(self, histories: CSR) -> Float:
        """As in training, with items as they are: what they say of users is taken off, the rest descended to."""
        root, std = np.float32(np.sqrt(self.std_)), np.float32(self.std_)
        x = histories.with_values((histories.values.astype(np.float64) - self.mean_) / self.std_)
        items, biases = self.item_factors_ / root, self.item_biases_ / std
        told = _by_items(x, self.implicit_factors_ / root)
        left, rows = x.values.copy(), x.row_index()
        for piece in pieces(x.nnz, _PIECE):
            left[piece] -= np.einsum("ij,ij->i", told[rows[piece]], items[x.indices[piece]])
        fitted = self._as_fitted
        training = _Training(fitted, fitted.epochs, self._kernels(), x.with_values(left))
        factors, of_users = training.users_of(items, biases)
        return self._of_users((factors + told) * root, of_users * std)


class _Training(Descent):
    """With the vectors of what users rated."""

    _STATE = ("_users", "_items", "_implicit")
    _implicit: Float

    def _begin(self) -> None:
        super()._begin()
        self._implicit = self._vectors(self._random(2, len(self._counts[1])))

    def _pass(self, step: RatingStep, number: int) -> float:
        return self._kernels.ratings_implicit_epoch(
            self._x,
            self._users,
            self._items,
            self._implicit,
            step,
            blocks=self._blocks,
            batch=int(np.clip(self._nnz // _BATCHES, _FEW, _MANY)),
            threads=self._model.threads,
        )

    def implicit(self) -> Float:
        """What the items say of those who rated them, (n_items, factors)."""
        return self._kernels.fetch(self._implicit)[:, : self._model.factors]


def _by_items(x: CSR, implicit: Float) -> Float:
    """What the items of every row say of it, (n_rows, factors)."""
    scale = 1 / np.sqrt(np.maximum(np.diff(x.indptr), 1))
    return np.asarray((x.binary().to_scipy() @ implicit) * scale[:, None], np.float32)
