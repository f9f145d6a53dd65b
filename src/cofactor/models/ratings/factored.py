"""Ratings as a mean, biases and an inner product of factors, whichever way they are learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.errors import DataError
from cofactor.models.base.rating import RatingModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR

__all__ = ["FactoredRatings", "standardized"]


class FactoredRatings(RatingModel):
    """A model whose ratings are ``mean + b_u + b_i + p_u . q_i``; a subclass fits them and folds users in.

    Users and items that nobody knows have no bias and no factors.
    """

    mean_: float
    std_: float
    user_biases_: Float
    item_biases_: Float
    user_factors_: Float
    item_factors_: Float
    loss_history_: NDArray[np.float64]
    factors: int

    def _learned(self) -> dict[str, str]:
        rows = {f"{side}_biases_": f"float32 {side}s" for side in ("user", "item")}
        rows |= {f"{side}_factors_": f"float32 {side}s {self.factors}" for side in ("user", "item")}
        return {"mean_": "number", "std_": "number", "loss_history_": "float64 epochs"} | rows

    def _user_vectors(self, users: Rows) -> Float:
        known = (users >= 0).astype(np.float32)
        return self._of_users(self.user_factors_[users] * known[:, None], self.user_biases_[users] * known)

    def _item_vectors(self, items: Rows) -> Float:
        known = (items >= 0).astype(np.float32)
        ones = np.ones(len(items), np.float32)
        return np.column_stack([self.item_factors_[items] * known[:, None], ones, self.item_biases_[items] * known])

    def _compared(self) -> Float:
        return self.item_factors_

    def _compared_users(self) -> Float:
        return self.user_factors_

    def _of_users(self, factors: Float, biases: Float) -> Float:
        """Vectors of users with these factors and biases."""
        means = np.asarray(self.mean_ + biases.astype(np.float64), np.float32)
        return np.column_stack([factors, means, np.ones(len(biases), np.float32)])

    def _check_state(self) -> None:
        if not self.std_ > 0:
            raise DataError(f"std_ must be above 0, got {self.std_}")

    def _take_over(self, users: tuple[Float, Float], items: tuple[Float, Float], mean: float, std: float) -> None:
        """Set what was learned from standardized ratings: factors and biases of users and of items."""
        self.mean_, self.std_ = mean, std
        root = np.float32(np.sqrt(std))
        self.user_factors_, self.item_factors_ = (np.ascontiguousarray(side[0] * root) for side in (users, items))
        self.user_biases_, self.item_biases_ = (side[1] * np.float32(std) for side in (users, items))


def standardized(x: CSR) -> tuple[CSR, float, float]:
    """Ratings with mean 0 and standard deviation 1, so that parameters mean the same in any unit; both as they were."""
    values = x.values.astype(np.float64)
    mean = float(values.mean())
    values -= mean
    std = float(np.sqrt(np.einsum("i,i", values, values) / len(values)))
    values /= std
    return x.with_values(values), mean, std
