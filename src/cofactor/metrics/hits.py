"""The structure that every metric reads: where the relevant items stand in each user's list."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.data.tables import cast_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Hits", "Relevance", "best_ranks", "collect_hits", "hits_of_ranks", "match_lists"]


@dataclass(frozen=True, slots=True, eq=False)
class Relevance:
    """The relevant items of every user to evaluate, a set of pairs.

    Parameters
    ----------
    users : (n_users,) Series
        Ids, ascending; each has at least one relevant item.
    items : (n_items,) Series
        Ids of the items that are relevant to anybody, ascending.
    pairs : (n_pairs,) int64
        ``user row * n_items + item row``, ascending, without repeats.
    """

    users: pl.Series
    items: pl.Series
    pairs: NDArray[np.int64]

    @classmethod
    def from_pairs(cls, pairs: pl.DataFrame) -> Relevance:
        """Build from a table ``user_id``, ``item_id``; repeated rows count once."""
        users, items = (pairs[column].unique().sort() for column in ("user_id", "item_id"))
        keys = np.sort(_rows(pairs["user_id"], users) * len(items) + _rows(pairs["item_id"], items))
        return cls(users, items, keys[np.diff(keys, prepend=-1) > 0])

    @property
    def n_relevant(self) -> NDArray[np.int64]:
        """Number of relevant items of each user, (n_users,) int64."""
        return np.bincount(self.pairs // len(self.items), minlength=len(self.users))

    def without(self, pairs: NDArray[np.bool_]) -> Relevance:
        """Leave out pairs, given as an (n_pairs,) mask, and users who have no other."""
        rest = Relevance(self.users, self.items, self.pairs[~pairs])
        return rest.only(rest.n_relevant > 0)

    def only(self, keep: NDArray[np.bool_]) -> Relevance:
        """Keep a part of the users, given as an (n_users,) mask."""
        user, item = np.divmod(self.pairs, len(self.items))
        kept = keep[user]
        new_row = np.cumsum(keep, dtype=np.int64) - 1
        return Relevance(
            self.users.filter(pl.Series(keep)), self.items, new_row[user[kept]] * len(self.items) + item[kept]
        )


@dataclass(frozen=True, eq=False)
class Hits:
    """The hits of every evaluated user: the relevant items that the user's list holds.

    Parameters
    ----------
    n_relevant : (n_users,) int64
        Number of relevant items of each user, listed or not, at least 1.
    n_listed : (n_users,) int64
        Length of each user's list; 0 for a user who got none.
    user : (n_hits,) int64
        Row of the user of each hit, ascending.
    rank : (n_hits,) int64
        Place of each hit in its list, from 1, ascending within a user.
    middle_rank : (n_hits,) float64
        Mean place of the hit and the items next to it that have its score; ``rank`` itself where ties were not
        asked for.
    best_rank : (n_listed_items,) int64
        The best place of each item that occurs in any list.
    n_items : int or None
        Size of the catalogue, where it is known.
    """

    n_relevant: NDArray[np.int64]
    n_listed: NDArray[np.int64]
    user: NDArray[np.int64]
    rank: NDArray[np.int64]
    middle_rank: NDArray[np.float64]
    best_rank: NDArray[np.int64]
    n_items: int | None = None

    @property
    def n_users(self) -> int:
        """Number of evaluated users."""
        return len(self.n_relevant)

    @cached_property
    def nth(self) -> NDArray[np.int64]:
        """Which of its user's hits each hit is, from 1, (n_hits,) int64."""
        return np.arange(1, len(self.user) + 1) - np.searchsorted(self.user, self.user)

    def total(self, k: int | None = None, gain: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Sum of the gains of each user's hits, (n_users,) float64.

        Parameters
        ----------
        k : int, optional
            Places that count, counted from the top; all if left out.
        gain : (n_hits,) float64, optional
            What each hit is worth; 1 if left out, which gives the number of hits.
        """
        top = slice(None) if k is None else self.rank <= k
        weights = None if gain is None else gain[top]
        return np.bincount(self.user[top], weights, self.n_users).astype(np.float64, copy=False)


def match_lists(
    table: pl.DataFrame, relevance: Relevance, *, k: int | None = None, ties: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Look the relevant items up in a batch of lists; ``collect_hits`` makes hits of all batches.

    Parameters
    ----------
    table : DataFrame
        Recommendations (``user_id``, ``item_id``, ``rank`` of any integer type) of whole users. Rows of users who are
        not evaluated are left out.
    relevance : Relevance
    k : int, optional
        Places that count; all if left out.
    ties : bool
        Whether items next to each other of equal ``score`` share their ``middle_rank``.

    Returns
    -------
    hits, lengths, items : DataFrame
        The hits, the length of every list, and the best rank of every item.

    Raises
    ------
    DataError
        The ids are of another type than those of the relevant items.
    """
    rank = pl.col("rank").cast(pl.Int64)
    middle = rank.cast(pl.Float64)
    if ties and "score" in table.columns:
        # Neighbours only: a chain of models has equal scores at places that have nothing to do with each other.
        table = table.sort("user_id", "rank")
        middle = rank.mean().over("user_id", pl.col("score").rle_id())
    lists = (table if k is None else table.filter(rank <= k)).with_columns(rank, middle=middle)
    lists = lists.join(_numbered(relevance.users, "user_id", "user", table), on="user_id")
    # A batch holds few of the users: joining it with the pairs of all would cost users x batches.
    n = len(relevance.items)
    present = lists["user"].unique().sort().to_numpy()
    ends = np.array([present[0] * n, (present[-1] + 1) * n]) if present.size else [0, 0]
    first, last = np.searchsorted(relevance.pairs, ends)
    hits = (
        lists.select("user", "item_id", "rank", "middle")
        .join(_numbered(relevance.items, "item_id", "item", table), on="item_id")
        .with_columns(pair=pl.col("user") * n + pl.col("item"))
        .join(pl.DataFrame({"pair": relevance.pairs[first:last]}), on="pair")
        .select("user", "rank", "middle")
    )
    return hits, lists.group_by("user").len(), lists.group_by("item_id").agg(pl.col("rank").min())


def collect_hits(
    batches: Sequence[tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]],
    relevance: Relevance,
    *,
    n_items: int | None = None,
) -> Hits:
    """Put the batches of ``match_lists`` together, of which there is at least one; no user is in two."""
    parts, lists, items = zip(*batches, strict=True)
    hits, lengths = pl.concat(parts), pl.concat(lists)
    hits = hits.sort("user", "rank")
    n_listed = np.zeros(len(relevance.users), np.int64)
    n_listed[lengths["user"].to_numpy()] = lengths["len"].to_numpy()
    return Hits(
        n_relevant=relevance.n_relevant,
        n_listed=n_listed,
        user=hits["user"].to_numpy(),
        rank=hits["rank"].to_numpy(),
        middle_rank=hits["middle"].to_numpy(),
        best_rank=best_ranks(items),
        n_items=n_items,
    )


def hits_of_ranks(
    relevance: Relevance, rank: NDArray[np.int32], middle_rank: NDArray[np.float64], n_listed: NDArray[np.int64]
) -> Hits:
    """The hits in complete lists that nobody made; ``best_rank`` stays empty, as only lists tell it.

    Parameters
    ----------
    relevance : Relevance
    rank : (n_pairs,) int32
        Place of each relevant item, of ``relevance.pairs``, in its user's list, from 1; 0 where it is not listed.
    middle_rank : (n_pairs,) float64
        Mean place of the item and those next to it that have its score.
    n_listed : (n_users,) int64
        Length of each list.
    """
    user = relevance.pairs // len(relevance.items)
    order = np.lexsort((rank, user))
    order = order[rank[order] > 0]
    return Hits(
        n_relevant=relevance.n_relevant,
        n_listed=n_listed,
        user=user[order],
        rank=rank[order].astype(np.int64),
        middle_rank=middle_rank[order],
        best_rank=np.empty(0, np.int64),
    )


def best_ranks(items: Sequence[pl.DataFrame]) -> NDArray[np.int64]:
    """The best place of each item in any list, from the ``items`` of all batches of ``match_lists``."""
    return pl.concat(items).group_by("item_id").agg(pl.col("rank").min())["rank"].to_numpy()


def _numbered(ids: pl.Series, column: str, row: str, table: pl.DataFrame) -> pl.DataFrame:
    """Ids as the type they have in the table, with their row numbers."""
    ids = cast_ids(ids.alias(column), table.schema[column], "recommendations")
    return pl.DataFrame({column: ids, row: np.arange(len(ids))})


def _rows(values: pl.Series, ids: pl.Series) -> NDArray[np.int64]:
    """Position in ``ids`` of every value, all of which occur."""
    name = values.name
    rows = pl.DataFrame({name: ids, "row": np.arange(len(ids))})
    return values.to_frame().join(rows, on=name, how="left", maintain_order="left")["row"].to_numpy()
