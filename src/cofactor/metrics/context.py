"""What metrics may be told beside lists and relevant items: training data, features of items, size of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from cofactor.data.user_items import UserItems
    from cofactor.kernels.arrays import Float

__all__ = ["NOTHING", "Context"]


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """All that is known; what is not is None.

    Parameters
    ----------
    train : Interactions or Ratings, optional
        What the model learned from.
    n_items : int, optional
        Size of the catalogue.
    item_features : DataFrame, optional
        A row for each item: ``item_id``, and columns that describe it.
    category : str, optional
        The column of ``item_features`` with what lists are calibrated on.
    item_vectors : (n, factors) float32, optional
        The model's own.
    vector_items : (n,) Series, optional
        The items that they are of.
    exclude_seen : bool
        Whether lists leave out what the user has in ``train``.
    """

    train: UserItems | None = None
    n_items: int | None = None
    item_features: pl.DataFrame | None = None
    category: str | None = None
    item_vectors: Float | None = None
    vector_items: pl.Series | None = None
    exclude_seen: bool = True


NOTHING = Context()
