"""The structures that every metric reads: what is relevant to each user, and where it stands in the user's list."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.kernels import on
from cofactor.kernels.csr import CSR, offsets
from cofactor.metrics.context import NOTHING, Context
from cofactor.metrics.numbered import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.metrics.listed import Listed

__all__ = ["Hits", "Relevance", "hits_of_ranks"]

_BITS = 32  # of the item's row in the key of a pair


@dataclass(frozen=True, eq=False)
class Relevance:
    """The relevant items of every user to evaluate, a set of pairs in the order of users.

    Parameters
    ----------
    users : (n_users,) Series
        Ids, ascending; each has at least one relevant item.
    items : (n_items,) Series
        Ids of the items that are relevant to anybody, ascending.
    user, item : (n_pairs,) int32
        Rows of both in every pair.
    gains : (n_pairs,) float64, optional
        How relevant each pair is, above 0; all are alike if left out.
    """

    users: pl.Series
    items: pl.Series
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    gains: NDArray[np.float64] | None = None

    @classmethod
    def from_pairs(cls, pairs: pl.DataFrame, gain: str | None = None) -> Relevance:
        """Build from a table ``user_id``, ``item_id``; repeated rows count once.

        Parameters
        ----------
        pairs : DataFrame
        gain : str, optional
            A column of numbers, which say how relevant a pair is; the highest of repeated rows counts.
        """
        (users, user), (items, item) = numbered(pairs["user_id"]), numbered(pairs["item_id"])
        gains = None if gain is None else pairs[gain].cast(pl.Float64).to_numpy()
        if not (user[1:] >= user[:-1]).all():
            each = CSR(np.arange(len(user) + 1), user, np.ones(len(user), np.float32), len(users))
            order = each.transposed().indices  # sorted by counting
            user, item, gains = user[order], item[order], None if gains is None else gains[order]
        return cls(users, items, user, item, gains).once()

    def _repeats(self) -> bool:
        """Whether a pair is there more than once."""
        nobody, nothing = np.full(len(self.users), -1, np.int32), np.empty(0, np.int32)
        given = (self.indptr, self.item, nobody)
        return on("cpu").list_hits(*given, relevant=(np.zeros(1, np.int64), nothing), n_items=len(self.items))[2] >= 0

    def once(self) -> Relevance:
        """Every pair once, with the highest of its gains."""
        if not self._repeats():
            return self
        keys = self.user.astype(np.int64) << _BITS | self.item
        order = np.argsort(keys, kind="stable")
        first = np.flatnonzero(np.diff(keys[order], prepend=-1))
        gains = None if self.gains is None else np.maximum.reduceat(self.gains[order], first)
        at = order[first]
        return Relevance(self.users, self.items, self.user[at], self.item[at], gains)

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return len(self.user)

    @cached_property
    def n_relevant(self) -> NDArray[np.int64]:
        """Number of relevant items of each user, (n_users,) int64."""
        return np.bincount(self.user, minlength=len(self.users))

    @cached_property
    def indptr(self) -> NDArray[np.int64]:
        """Where the pairs of each user start, (n_users + 1,) int64."""
        return offsets(self.n_relevant)

    @property
    def graded(self) -> NDArray[np.float64]:
        """How relevant each pair is; asked for by metrics that say that they need it."""
        assert self.gains is not None, "the metric did not say that it needs gains"
        return self.gains

    def ideal_gain(self, k: int) -> NDArray[np.float64]:
        """Discounted gain of the best k places of each user, (n_users,) float64."""
        order = np.lexsort((-self.graded, self.user))
        place = np.arange(self.n_pairs) - self.indptr[self.user]
        gain = np.where(place < k, self.graded[order] / np.log2(place + 2), 0.0)
        return np.bincount(self.user, gain, len(self.users)).astype(np.float64, copy=False)

    def without(self, pairs: NDArray[np.bool_]) -> Relevance:
        """Leave out pairs, given as an (n_pairs,) mask, and users who have no other."""
        left = ~pairs
        gains = None if self.gains is None else self.gains[left]
        rest = Relevance(self.users, self.items, self.user[left], self.item[left], gains)
        return rest.only(rest.n_relevant > 0)

    def only(self, keep: NDArray[np.bool_]) -> Relevance:
        """Keep a part of the users, given as an (n_users,) mask."""
        if keep.all():
            return self
        kept = keep[self.user]
        new_row = np.cumsum(keep, dtype=np.int32) - 1
        gains = None if self.gains is None else self.gains[kept]
        users = self.users.filter(pl.Series(keep))
        return Relevance(users, self.items, new_row[self.user[kept]], self.item[kept], gains)


@dataclass(frozen=True, eq=False)
class Hits:
    """The hits of every evaluated user: the relevant items that the user's list holds.

    Parameters
    ----------
    relevance : Relevance
        What they are hits of.
    n_listed : (n_users,) int64
        Length of each user's list; 0 for a user who got none.
    pair : (n_hits,) int64
        Which pair of ``relevance`` each hit is.
    user : (n_hits,) int64
        Row of the user of each hit, ascending.
    rank : (n_hits,) int64
        Place of each hit in its list, from 1, ascending within a user.
    middle_rank : (n_hits,) float64
        Mean place of the hit and the items next to it that have its score; ``rank`` itself where ties were not
        asked for.
    listed : Listed, optional
        The lists themselves, where a metric needs them.
    context : Context
        What is known besides.
    """

    relevance: Relevance
    n_listed: NDArray[np.int64]
    pair: NDArray[np.int64]
    user: NDArray[np.int64]
    rank: NDArray[np.int64]
    middle_rank: NDArray[np.float64]
    listed: Listed | None = None
    context: Context = NOTHING
    _kept: dict[tuple[str | None, int], NDArray[np.float64]] = field(default_factory=dict, init=False, repr=False)

    @property
    def n_users(self) -> int:
        """Number of evaluated users."""
        return len(self.n_listed)

    @property
    def n_relevant(self) -> NDArray[np.int64]:
        """Number of relevant items of each user, listed or not, at least 1; (n_users,) int64."""
        return self.relevance.n_relevant

    @cached_property
    def nth(self) -> NDArray[np.int64]:
        """Which of its user's hits each hit is, from 1, (n_hits,) int64."""
        starts = offsets(np.bincount(self.user, minlength=self.n_users))[:-1]
        return np.arange(1, len(self.user) + 1) - starts[self.user]

    @cached_property
    def discount(self) -> NDArray[np.float64]:
        """``1 / log2(rank + 1)`` of each hit, (n_hits,) float64."""
        return 1 / np.log2(self.rank + 1)

    @cached_property
    def precision(self) -> NDArray[np.float64]:
        """Share of hits among the places down to each hit, (n_hits,) float64."""
        return self.nth / self.rank

    @cached_property
    def graded(self) -> NDArray[np.float64]:
        """The discounted gain of each hit, by how relevant it is; (n_hits,) float64."""
        return self.relevance.graded[self.pair] * self.discount

    @cached_property
    def first_rank(self) -> NDArray[np.float64]:
        """Place of each user's first hit, infinite where there is none; (n_users,) float64."""
        ranks = np.full(self.n_users, np.inf)
        first = self.nth == 1
        ranks[self.user[first]] = self.rank[first]
        return ranks

    def total(self, k: int | None = None, gain: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Sum of the gains of each user's hits, (n_users,) float64.

        Parameters
        ----------
        k : int, optional
            Places that count, counted from the top; all if left out.
        gain : (n_hits,) float64, optional
            What each hit is worth; 1 if left out, which gives the number of hits.
        """
        top = slice(None) if k is None or k >= self._longest else self.rank <= k
        weights = None if gain is None else gain[top]
        return np.bincount(self.user[top], weights, self.n_users).astype(np.float64, copy=False)

    def count(self, k: int) -> NDArray[np.float64]:
        """Number of each user's hits among the first k places, counted once for all metrics; not to be changed."""
        return self.kept(None, k)

    def kept(self, gain: str | None, k: int) -> NDArray[np.float64]:
        """:meth:`total` of a gain that is an attribute, added up once for all metrics; not to be changed."""
        if (gain, k) not in self._kept:
            self._kept[gain, k] = self.total(k, None if gain is None else getattr(self, gain))
        return self._kept[gain, k]

    @cached_property
    def _longest(self) -> int:
        return int(self.rank.max(initial=0))

    def of_users(self, keep: NDArray[np.bool_]) -> Hits:
        """The hits of a part of the users, an (n_users,) mask."""
        relevance = self.relevance.only(keep)
        pairs, users = keep[self.relevance.user], keep[self.user]
        new_row, number = np.cumsum(keep) - 1, np.cumsum(pairs) - 1
        at = (number[self.pair[users]], new_row[self.user[users]], self.rank[users], self.middle_rank[users])
        listed = None if self.listed is None else self.listed.only(keep)
        return Hits(relevance, self.n_listed[keep], *at, listed, self.context)

    def of_pairs(self, keep: NDArray[np.bool_]) -> Hits:
        """The hits if only a part of the pairs were relevant, an (n_pairs,) mask; of the users who have one of them."""
        relevance = self.relevance
        users = np.bincount(relevance.user[keep], minlength=self.n_users) > 0
        hits = keep[self.pair]
        new_row, number = np.cumsum(users) - 1, np.cumsum(keep) - 1
        at = (number[self.pair[hits]], new_row[self.user[hits]], self.rank[hits], self.middle_rank[hits])
        return Hits(relevance.without(~keep), self.n_listed[users], *at, context=self.context)


def hits_of_ranks(
    relevance: Relevance, rank: NDArray[np.int32], middle_rank: NDArray[np.float64], n_listed: NDArray[np.int64]
) -> Hits:
    """The hits in complete lists that nobody made.

    Parameters
    ----------
    relevance : Relevance
    rank : (n_pairs,) int32
        Place of each relevant item in its user's list, from 1; 0 where it is not listed.
    middle_rank : (n_pairs,) float64
        Mean place of the item and those next to it that have its score.
    n_listed : (n_users,) int64
        Length of each list.
    """
    order = np.lexsort((rank, relevance.user))
    order = order[rank[order] > 0]
    user = relevance.user[order].astype(np.int64)
    return Hits(relevance, n_listed, order, user, rank[order].astype(np.int64), middle_rank[order])
