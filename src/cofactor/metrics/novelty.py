"""How well known the listed items are in the training data, and which hits Popular would not have had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.metrics.numbered import rows_among

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.data.user_items import UserItems
    from cofactor.metrics.hits import Hits
    from cofactor.metrics.listed import Listed

    Values = NDArray[np.float64]

__all__ = ["mean_popularity", "novelty", "popularity_lift", "serendipity"]


def novelty(lists: Listed, k: int) -> Values:
    r"""Mean self-information of the listed items, in bits: how surprising it is that a user has them.

    .. math:: \frac{1}{|L|} \sum_{i \in L} -\log_2 \frac{\max(n_i, 1)}{n}

    :math:`n_i` of the n users of the training data have item i; an item that nobody has counts as if one had. The
    denominator is the number of places that are filled; a user without a list has no value. ``MeanInvUserFreq`` of
    RecTools is the same for full lists.
    """
    return lists.mean(-np.log2(np.maximum(lists.popularity, 1) / lists.train.n_users))


def mean_popularity(lists: Listed, k: int) -> Values:
    r"""Mean number of users of the training data who have the listed items: :math:`\frac{1}{|L|} \sum_{i \in L} n_i`.

    The denominator is the number of places that are filled; a user without a list has no value. ``AvgRecPopularity`` of
    RecTools counts interactions, which is the same where a user has an item once.
    """
    return lists.mean(lists.popularity)


def popularity_lift(lists: Listed, k: int) -> float:
    r"""How much more popular the lists are than what their users have in the training data, as a share of the latter.

    .. math:: \frac{\bar q - \bar p}{\bar p}

    :math:`\bar q` is the mean over users of ``mean_popularity`` and :math:`\bar p` that of the mean popularity of their
    items in training; 0 if lists are as popular as tastes are. Users without a list or without training data are left
    out; NaN if nobody is left. The change of the group average popularity of Abdollahpouri et al., The unfairness of
    popularity bias in recommendation (2019).
    """
    x, rows = lists.train.user_items, lists.train_users
    counts = np.bincount(x.indices, minlength=x.n_columns).astype(np.float64)
    n = np.diff(x.indptr)
    profiles = x.row_sums(counts[x.indices]) / np.maximum(n, 1)
    both = (rows >= 0) & (lists.length > 0)
    both[both] = n[rows[both]] > 0
    if not both.any():
        return float("nan")
    before, after = profiles[rows[both]].mean(), lists.mean(lists.popularity)[both].mean()
    return float(after / before - 1)


def serendipity(hits: Hits, k: int) -> Values:
    r"""Share of the k places that hold a relevant item which ``Popular`` would not have listed there.

    .. math:: \frac{1}{k} \left| R \cap L_k \setminus P_k \right|

    :math:`P_k` are the k items most users of the training data have, without those that the user has where the lists
    leave these out: what ``cf.Popular()`` gives. Ge et al., Beyond accuracy (2010), with relevance as usefulness and
    Popular as the primitive model. ``Serendipity`` of RecTools weighs places and popularity continuously instead.
    """
    expected = _popular_ranks(hits) <= k
    return hits.total(k, (~expected).astype(np.float64)) / k


def _popular_ranks(hits: Hits) -> NDArray[np.int64]:
    """Where Popular lists the item of each hit for its user, from 1; beyond all places for a new item."""
    x = hits.context.train
    assert x is not None, "the metric says that it needs training data"
    relevance = hits.relevance
    items = rows_among(x.items.ids, relevance.items.cast(x.items.ids.dtype, strict=False))
    item = items[relevance.item[hits.pair]]
    popularity = np.bincount(x.user_items.indices, minlength=x.n_items)
    place = np.empty(x.n_items + 1, np.int64)
    place[np.argsort(-popularity, kind="stable")] = np.arange(1, x.n_items + 1)
    place[-1] = np.iinfo(np.int64).max
    ranks = place[item]
    if hits.context.exclude_seen:
        ranks = ranks - _n_seen_before(x, x.users.rows(relevance.users)[hits.user], place, item)
    return ranks


def _n_seen_before(
    x: UserItems, users: NDArray[np.int32], place: NDArray[np.int64], item: NDArray[np.int32]
) -> NDArray[np.int64]:
    """How many items of each (user, item)'s user in training are more popular than the item."""
    n = np.int64(x.n_items + 1)
    history = x.user_items
    keys = np.sort(history.row_index() * n + place[history.indices])
    known = np.maximum(users, 0)
    found = np.searchsorted(keys, known * n + np.minimum(place[item], n - 1)) - history.indptr[known]
    return np.where(users >= 0, found, 0)
