"""The mean of all ratings: what every other model has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.rating import RatingModel

if TYPE_CHECKING:
    from typing import Self

    from cofactor.data.ratings import Ratings
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR

__all__ = ["GlobalMean"]


class GlobalMean(RatingModel):
    """Predict the mean of all ratings for every pair.

    Parameters
    ----------
    threads : int, optional

    Attributes
    ----------
    mean_, std_ : float
        Of the ratings.
    """

    mean_: float
    std_: float

    def __init__(self, *, threads: int | None = None) -> None:
        self.threads = threads

    @in_one_step
    def fit(self, ratings: Ratings, *, progress: bool | None = None) -> Self:
        """Take the mean; ``progress`` changes nothing."""
        self._check()
        values = ratings.user_items.values.astype(np.float64)
        self.mean_, self.std_ = float(values.mean()), float(values.std())
        return self

    def _learned(self) -> dict[str, str]:
        return {"mean_": "number", "std_": "number"}

    def _user_vectors(self, users: Rows) -> Float:
        return np.full((len(users), 1), self.mean_, np.float32)

    def _item_vectors(self, items: Rows) -> Float:
        return np.ones((len(items), 1), np.float32)

    def _fold_in(self, histories: CSR) -> Float:
        return np.full((histories.n_rows, 1), self.mean_, np.float32)

    def _stds(self, users: Rows, items: Rows) -> Float:
        return np.full(len(users), self.std_, np.float32)
