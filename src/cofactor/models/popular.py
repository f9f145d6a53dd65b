"""Popularity: the same ranking for everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from cofactor.checks import check_choice
from cofactor.kernels import cpu
from cofactor.kernels.threads import resolve_threads
from cofactor.models.base import Recommender, TopK

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.csr import CSR
    from cofactor.interactions import Interactions

__all__ = ["Popular"]


class Popular(Recommender):
    """Rank items by how popular they are.

    Parameters
    ----------
    by : {"users", "weight"}
        Count the users that have an item, or add up the weights of its interactions.
    threads : int, optional

    Attributes
    ----------
    popularity_ : (n_items,) float32
    """

    popularity_: NDArray[np.float32]

    def __init__(self, by: Literal["users", "weight"] = "users", *, threads: int | None = None) -> None:
        self.by = by
        self.threads = threads

    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Count; ``progress`` changes nothing."""
        check_choice("by", self.by, ("users", "weight"))
        resolve_threads(self.threads)
        x = interactions.user_items
        weights = x.values if self.by == "weight" else None
        self.popularity_ = np.bincount(x.indices, weights, minlength=x.n_columns).astype(np.float32)
        self.interactions_ = interactions
        return self

    def _ranked(self, n: int, k: int, exclude: CSR | None, allowed: NDArray[np.int32] | None) -> TopK:
        # A factor model of one factor: every user is 1, every item its popularity.
        ones, items = np.ones((n, 1), np.float32), self.popularity_[:, None]
        return TopK(*cpu.top_k(ones, items, k, exclude=exclude, allowed=allowed, threads=self.threads))

    def _top_k(self, users: NDArray[np.int32], k: int, exclude: CSR | None, allowed: NDArray[np.int32] | None) -> TopK:
        return self._ranked(len(users), k, exclude, allowed)

    def _top_k_for(self, histories: CSR, k: int, exclude: CSR | None, allowed: NDArray[np.int32] | None) -> TopK:
        return self._ranked(histories.n_rows, k, exclude, allowed)

    def _scores(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        return self.popularity_[items]
