"""Popularity: the same ranking for everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from cofactor.checks import check_choice
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.recency import check_duration, recency
from cofactor.models.base.recommender import Recommender
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.arrays import TopK
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.filters import Filters

__all__ = ["Popular"]


class Popular(Recommender):
    """Rank items by how popular they are, or have been of late.

    Parameters
    ----------
    by : {"users", "weight"}
        Count the users that have an item, or add up the weights of its interactions.
    half_life : str, optional
        Such as ``"14d"``: what is that old counts half. With ``by="users"`` a user's newest event with the item
        decides; with ``by="weight"`` the weight of a pair is shared out equally to its events, and each share ages by
        itself (so that a weight that counts events becomes the decayed count).
    window : str, optional
        Such as ``"7d"``: what is older, seen from the newest event of the log, does not count; it may be combined with
        ``half_life``. Both need interactions made of events with times.
    threads : int, optional

    Attributes
    ----------
    popularity_ : (n_items,) float32
    """

    popularity_: NDArray[np.float32]

    def __init__(
        self,
        by: Literal["users", "weight"] = "users",
        *,
        half_life: str | None = None,
        window: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.by = by
        self.half_life = half_life
        self.window = window
        self.threads = threads

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Count; ``progress`` changes nothing.

        Raises
        ------
        DataError
            ``half_life`` or ``window`` is given and the interactions were not made of events with times.
        """
        self._check()
        x = interactions.user_items
        weights = x.values if self.by == "weight" else np.ones(x.nnz, np.float32)
        if self.half_life is not None or self.window is not None:
            weights = weights * recency(interactions, self.half_life, self.window, newest=self.by == "users")
        self.popularity_ = np.bincount(x.indices, weights, minlength=x.n_columns).astype(np.float32)
        return self

    def _learned(self) -> dict[str, str]:
        return {"popularity_": "float32 items"}

    def _check(self) -> None:
        check_choice("by", self.by, ("users", "weight"))
        check_duration("half_life", self.half_life)
        check_duration("window", self.window)
        resolve_threads(self.threads)

    def _ranked(self, n: int, k: int, filters: Filters) -> TopK:
        # A factor model of one factor: every user is 1, every item its popularity.
        ones, items = np.ones((n, 1), np.float32), self.popularity_[:, None]
        return self._kernels().top_k(ones, items, k, filters=filters, threads=self.threads)

    def _top_k(self, users: NDArray[np.int32], k: int, filters: Filters) -> TopK:
        return self._ranked(len(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        return self._ranked(histories.n_rows, k, filters)

    def _scores(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        return self.popularity_[items]
