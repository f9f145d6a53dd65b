"""Finding the relevant items in lists: from tables with ids, or from arrays of row numbers, to :class:`Hits`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.data.tables import cast_ids, check_lists
from cofactor.kernels import on
from cofactor.metrics.context import NOTHING
from cofactor.metrics.hits import Hits
from cofactor.metrics.listed import Listed, Ranked
from cofactor.metrics.numbered import numbered, rows_among

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Rows
    from cofactor.metrics.context import Context
    from cofactor.metrics.hits import Relevance

__all__ = ["Matched", "collect_hits", "match_lists", "match_rows"]

_IDS = ("user_id", "item_id")


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What was found in a batch of lists: the fields of :class:`Hits`, and the lists as far as they are kept."""

    of: Rows
    length: NDArray[np.int64]
    pair: NDArray[np.int64]
    user: NDArray[np.int64]
    rank: NDArray[np.int64]
    middle_rank: NDArray[np.float64]
    listed: Listed | None


def match_lists(table: pl.DataFrame, relevance: Relevance, *, ties: bool = False, keep: int = 0) -> Matched:
    """Look the relevant items up in a batch of lists; ``collect_hits`` makes hits of all batches.

    Parameters
    ----------
    table : DataFrame
        Recommendations (``user_id``, ``item_id``, ``rank`` of any integer type) of whole users. Rows of users who are
        not evaluated are left out.
    relevance : Relevance
    ties : bool
        Whether items next to each other of equal ``score`` share their ``middle_rank``.
    keep : int
        Places of the lists that are kept beside the hits.

    Raises
    ------
    DataError
        The ids are of another type than those of the relevant items, or an item or a rank comes twice in a list.
    """
    ties = ties and "score" in table.columns
    columns = [*_IDS, "rank", *(["score"] if ties else [])]
    table, starts, rank = _in_order(table.select(columns))
    heads = table["user_id"].gather(starts)
    of = rows_among(cast_ids(relevance.users.alias("user_id"), heads.dtype, "recommendations"), heads)
    middle = _middle_ranks(table["score"], rank, starts) if ties else None
    ids, codes = numbered(table["item_id"])
    to_codes = rows_among(ids, cast_ids(relevance.items.alias("item_id"), ids.dtype, "recommendations"))
    lists = Ranked(of, np.append(starts, len(rank)), codes, rank, ids)
    matched, repeated = match_rows(lists, relevance, to_codes, middle=middle, keep=keep)
    if repeated >= 0:
        check_lists(table)
    return matched


def match_rows(
    lists: Ranked,
    relevance: Relevance,
    to_codes: Rows | None = None,
    *,
    middle: NDArray[np.float64] | None = None,
    keep: int = 0,
) -> tuple[Matched, int]:
    """Look the relevant items up in lists of row numbers.

    Parameters
    ----------
    lists : Ranked
    relevance : Relevance
    to_codes : (n relevant items,) int32, optional
        Row of each relevant item among the items of the lists, -1 for none; the same if left out.
    middle : (n_places,) float64, optional
        Mean places of items that are tied; the ranks if left out.
    keep : int
        As in ``match_lists``.

    Returns
    -------
    Matched
    repeated : int
        The first place whose item is in its list before; -1 if there is none.
    """
    present = lists.of >= 0
    low, high = (int(lists.of[present].min()), int(lists.of.max()) + 1) if present.any() else (0, 0)
    first, last = relevance.indptr[low], relevance.indptr[high]  # a batch holds few of the users
    wanted = relevance.item[first:last] if to_codes is None else np.take(to_codes, relevance.item[first:last])
    nth, n_hits, repeated = on("cpu").list_hits(
        lists.indptr,
        lists.item,
        np.where(present, lists.of - low, -1).astype(np.int32),
        relevant=(relevance.indptr[low : high + 1] - first, wanted),
        n_items=len(lists.ids),
    )
    length = np.diff(lists.indptr)
    filled = length
    if (empty := lists.item < 0).any():
        filled = length - np.diff(np.append(0, np.cumsum(empty))[lists.indptr])
    at = np.flatnonzero(nth >= 0)
    of_list = np.repeat(np.arange(len(n_hits)), n_hits)
    user = lists.of[of_list].astype(np.int64)
    rank = at - lists.indptr[of_list] + 1 if lists.rank is None else lists.rank[at]
    middle_rank = rank.astype(np.float64) if middle is None else middle[at]
    listed = Listed.of(lists, keep) if keep else None
    pair = relevance.indptr[user] + nth[at]
    return Matched(lists.of[present], filled[present], pair, user, rank, middle_rank, listed), repeated


def collect_hits(batches: Sequence[Matched], relevance: Relevance, context: Context = NOTHING) -> Hits:
    """Put the batches of ``match_lists`` together, of which there is at least one; no user is in two."""
    n_listed = np.zeros(len(relevance.users), np.int64)
    for batch in batches:
        n_listed[batch.of] = batch.length
    names = ("pair", "user", "rank", "middle_rank")
    pair, user, rank, middle = (np.concatenate([getattr(batch, name) for batch in batches]) for name in names)
    if not (user[1:] >= user[:-1]).all():
        order = np.argsort(user, kind="stable")
        pair, user, rank, middle = pair[order], user[order], rank[order], middle[order]
    lists = [batch.listed for batch in batches if batch.listed is not None]
    return Hits(relevance, n_listed, pair, user, rank, middle, Listed.joined(lists, relevance.users, context), context)


def _in_order(table: pl.DataFrame) -> tuple[pl.DataFrame, NDArray[np.int64], NDArray[np.int64]]:
    """The table with whole lists together, best first; where each list starts; and the ranks."""
    for attempt in ("as it is", "sorted"):
        if attempt == "sorted":
            table = table.sort("user_id", "rank")
        user, rank = table["user_id"], table["rank"].cast(pl.Int64).to_numpy()
        begins = np.ones(len(rank), np.bool_)
        begins[1:] = (user.slice(1) != user.head(max(len(rank) - 1, 0))).to_numpy()
        starts = np.flatnonzero(begins)
        ascends = (rank[1:] > rank[:-1]) | begins[1:]
        if ascends.all() and user.gather(starts).n_unique() == len(starts):
            return table, starts, rank
    check_lists(table)
    raise AssertionError("a rank comes twice, or they do not ascend when sorted")


def _middle_ranks(score: pl.Series, rank: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean rank of neighbours in a list that have one score.

    Neighbours only: a chain of models has equal scores at places that have nothing to do with each other.
    """
    changes = np.diff(score.rle_id().to_numpy().astype(np.int64), prepend=-1) != 0
    changes[starts] = True
    group = np.cumsum(changes) - 1
    middle: NDArray[np.float64] = (np.bincount(group, rank) / np.bincount(group))[group]
    return middle
