"""Test pairs that lists of new items can hit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from cofactor.data.user_items import UserItems

__all__ = ["unseen"]


def unseen(pairs: pl.DataFrame, train: UserItems) -> pl.DataFrame:
    """The pairs of user_id and item_id that are not in the training data."""
    users, items = train.users.rows(pairs["user_id"]), train.items.rows(pairs["item_id"])
    known = (users >= 0) & (items >= 0)
    seen = known.copy()
    seen[known] = train.user_items.contains(users[known], items[known])
    return pairs.filter(pl.Series(~seen))
