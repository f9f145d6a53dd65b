"""The lists of the evaluated users, as metrics beyond accuracy read them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl

from cofactor.data.tables import cast_ids
from cofactor.errors import ParameterError
from cofactor.metrics.context import NOTHING, Context
from cofactor.metrics.numbered import numbered, rows_among

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cofactor.data.user_items import UserItems
    from cofactor.kernels.arrays import Rows

__all__ = ["Listed", "Ranked"]


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Lists one after the other, by row numbers.

    Parameters
    ----------
    of : (n_lists,) int32
        The evaluated user of each, none twice; -1 for somebody who is not evaluated.
    indptr : (n_lists + 1,) int64
        Where each starts.
    item : (n_places,) int32
        Row of each item in ``ids``; -1 for a place that is not filled.
    rank : (n_places,) int64, optional
        Place from 1, ascending in a list; counted from its start if left out.
    ids : Series
        The items.
    """

    of: Rows
    indptr: NDArray[np.int64]
    item: Rows
    rank: NDArray[np.int64] | None
    ids: pl.Series

    def ranks(self) -> NDArray[np.int64]:
        """Place in its list of every place, (n_places,) int64."""
        if self.rank is not None:
            return self.rank
        return np.arange(1, len(self.item) + 1) - np.repeat(self.indptr[:-1], np.diff(self.indptr))


@dataclass(frozen=True, eq=False)
class Listed:
    """The first places of lists, one after the other.

    Parameters
    ----------
    user : (n_places,) int32
        Row of the evaluated user, ascending.
    item : (n_places,) int32
        Row of the item in ``ids``.
    rank : (n_places,) int32
        From 1, ascending for each user.
    ids : (n_ids,) Series
        Items without repeats, some of which no list may hold.
    n_users : int
        How many users are evaluated, those without a list included.
    users : (n_users,) Series, optional
        Who they are.
    context : Context
        What is known besides.
    """

    user: Rows
    item: Rows
    rank: Rows
    ids: pl.Series
    n_users: int = 0
    users: pl.Series | None = None
    context: Context = NOTHING
    _kept: dict[int, Listed] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, lists: Ranked, places: int) -> Self:
        """The first places of a batch of lists, of the evaluated users."""
        user = np.repeat(lists.of, np.diff(lists.indptr))
        rank = lists.ranks()
        top = (user >= 0) & (lists.item >= 0) & (rank <= places)
        return cls(user[top], lists.item[top], rank[top].astype(np.int32), lists.ids)

    @classmethod
    def joined(cls, parts: Sequence[Listed], users: pl.Series, context: Context) -> Listed | None:
        """The lists of all batches, in the order of the users; None where none were kept."""
        if not parts:
            return None
        ids, rows = (parts[0].ids, None) if len(parts) == 1 else numbered(pl.concat([part.ids for part in parts]))
        items, at = [], 0
        for part in parts:
            items.append(part.item if rows is None else rows[at : at + len(part.ids)][part.item])
            at += len(part.ids)
        user, item, rank = (
            np.concatenate(arrays) for arrays in ([p.user for p in parts], items, [p.rank for p in parts])
        )
        if not (user[1:] >= user[:-1]).all():
            order = np.argsort(user, kind="stable")
            user, item, rank = user[order], item[order], rank[order]
        return cls(user, item, rank, ids, len(users), users, context)

    def top(self, k: int) -> Listed:
        """The first k places; made once for all metrics."""
        if k not in self._kept:
            places = self.rank <= k
            whole = bool(places.all())
            self._kept[k] = self if whole else self._with(places, self.n_users, self.users)
        return self._kept[k]

    def only(self, keep: NDArray[np.bool_]) -> Listed:
        """The lists of a part of the users, an (n_users,) mask."""
        new_row = np.cumsum(keep, dtype=np.int32) - 1
        users = None if self.users is None else self.users.filter(pl.Series(keep))
        part = self._with(keep[self.user], int(keep.sum()), users)
        return replace(part, user=new_row[part.user])

    def _with(self, places: NDArray[np.bool_], n_users: int, users: pl.Series | None) -> Listed:
        at = (self.user[places], self.item[places], self.rank[places])
        return Listed(*at, self.ids, n_users, users, self.context)

    @cached_property
    def length(self) -> NDArray[np.int64]:
        """Number of places of each user, (n_users,) int64."""
        return np.bincount(self.user, minlength=self.n_users)

    @cached_property
    def n_listed(self) -> NDArray[np.int64]:
        """In how many lists each item is, (n_ids,) int64."""
        return np.bincount(self.item, minlength=len(self.ids))

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of numbers of items, (n_ids,), over each user's list; NaN where there is none. (n_users,) float64."""
        with np.errstate(invalid="ignore"):
            return np.bincount(self.user, values[self.item], self.n_users) / self.length

    @property
    def train(self) -> UserItems:
        """The training data; ParameterError if they are not known."""
        if self.context.train is None:
            raise ParameterError("there are no training data to compare with: give train=")
        return self.context.train

    @cached_property
    def train_items(self) -> NDArray[np.int32]:
        """Row of each item in the training data, (n_ids,) int32; -1 for one that is new."""
        known = self.train.items.ids
        return rows_among(known, cast_ids(self.ids.alias("id"), known.dtype, "train"))

    @cached_property
    def popularity(self) -> NDArray[np.float64]:
        """Number of users who have each item in the training data, (n_ids,) float64; 0 for a new item."""
        x = self.train
        counts = np.append(np.bincount(x.user_items.indices, minlength=x.n_items), 0)
        return counts[self.train_items].astype(np.float64)

    @cached_property
    def train_users(self) -> NDArray[np.int32]:
        """Row of each evaluated user in the training data, (n_users,) int32; -1 for a new one."""
        assert self.users is not None, "lists in batches are joined first"
        return self.train.users.rows(self.users, "users")
