r"""Metrics of the first k places of a list, one value per user.

For a user with the set of relevant items :math:`R`, let :math:`r_1 < r_2 < \dots` be the ranks (from 1) of
the relevant items in the list, and :math:`h` the number of them that are at most k. Relevance is yes or no, but in
``ndcg_graded``.
All values lie in [0, 1]; a user whose list is empty gets 0, and a list shorter than k is as bad as one
filled up with misses.

The field uses one name for several definitions; what else a name may mean is told with each function. The
other libraries were read in these versions: RecTools 0.19, ranx 0.3.21, implicit 0.7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.metrics.hits import Hits

    Values = NDArray[np.float64]

__all__ = [
    "hit_rate",
    "map",
    "map_full",
    "mrr",
    "ndcg",
    "ndcg_fixed",
    "ndcg_graded",
    "precision",
    "r_precision",
    "recall",
    "truncated_recall",
]


def recall(hits: Hits, k: int) -> Values:
    r"""Share of the relevant items that are listed: :math:`h / |R|`.

    A user with more than k relevant items cannot reach 1; ``truncated_recall`` corrects for this. The same as
    ``Recall`` of RecTools and ``recall`` of ranx.
    """
    return hits.count(k) / hits.n_relevant


def truncated_recall(hits: Hits, k: int) -> Values:
    r"""Share of the relevant items that k places could hold: :math:`h / \min(k, |R|)`.

    Named recall in much of the work on variational autoencoders and in irspack with ``recall_with_cutoff``;
    R-precision in RecTools (``Precision(r_precision=True)``). implicit calls the quotient of the sums of
    both terms over all users precision, which weights users by :math:`\min(k, |R|)`.
    """
    return hits.count(k) / np.minimum(hits.n_relevant, k)


def precision(hits: Hits, k: int) -> Values:
    r"""Share of the k places that hold a relevant item: :math:`h / k`.

    The denominator is k also when the list is shorter. The same as ``Precision`` of RecTools and
    ``precision`` of ranx.
    """
    return hits.count(k) / k


def hit_rate(hits: Hits, k: int) -> Values:
    r"""1 if any relevant item is listed, else 0: :math:`[h > 0]`.

    With one held-out item per user this equals ``recall``, and is HR@k of the leave-one-out literature.
    """
    return (hits.count(k) > 0).astype(np.float64)


def ndcg(hits: Hits, k: int) -> Values:
    r"""Discounted gain over that of the best possible list of k places.

    .. math:: \sum_{j=1}^{h} \frac{1}{\log_2(r_j + 1)} \Big/ \sum_{j=1}^{\min(k, |R|)} \frac{1}{\log_2(j + 1)}

    The same as ``NDCG(divide_by_achievable=True)`` of RecTools, and ``ndcg`` of ranx and implicit. See
    ``ndcg_fixed`` for RecTools' default.
    """
    ideal: Values = np.cumsum(_discount(np.arange(1, min(k, int(hits.n_relevant.max(initial=1))) + 1)))
    return hits.kept("discount", k) / ideal.take(np.minimum(hits.n_relevant, k) - 1)


def ndcg_fixed(hits: Hits, k: int) -> Values:
    r"""Discounted gain over that of a list of k relevant items, however many the user has.

    .. math:: \sum_{j=1}^{h} \frac{1}{\log_2(r_j + 1)} \Big/ \sum_{j=1}^{k} \frac{1}{\log_2(j + 1)}

    A user with less than k relevant items cannot reach 1. The default of ``NDCG`` in RecTools.
    """
    return hits.kept("discount", k) / float(_discount(np.arange(1, k + 1)).sum())


def ndcg_graded(hits: Hits, k: int) -> Values:
    r"""As ``ndcg``, where items are more and less relevant: with gains :math:`g` above 0.

    .. math:: \sum_{j=1}^{h} \frac{g_j}{\log_2(r_j + 1)} \Big/ \sum_{j=1}^{\min(k, |R|)} \frac{g_{(j)}}{\log_2(j + 1)}

    The denominator has the user's relevant items by falling gain. The gains are the weights of the test, or its ratings
    where it has no weights; the highest counts where a pair is there more than once. They are taken as they are: for
    the form :math:`2^g - 1` of search engines give such weights. The same as ``ndcg`` of ranx and ``ndcg_score`` of
    scikit-learn; ``ndcg_burges`` of ranx is the other form.
    """
    ideal = hits.relevance.ideal_gain(k)
    return hits.kept("graded", k) / ideal


def map(hits: Hits, k: int) -> Values:
    r"""Average precision, divided by the number of relevant items that k places could hold.

    .. math:: \frac{1}{\min(k, |R|)} \sum_{j=1}^{h} \frac{j}{r_j}

    The same as ``map`` of implicit. See ``map_full`` for RecTools and ranx.
    """
    return hits.kept("precision", k) / np.minimum(hits.n_relevant, k)


def map_full(hits: Hits, k: int) -> Values:
    r"""Average precision, divided by the number of all relevant items.

    .. math:: \frac{1}{|R|} \sum_{j=1}^{h} \frac{j}{r_j}

    A user with more than k relevant items cannot reach 1. The same as ``map`` of ranx, and the default of
    ``MAP`` in RecTools, which divides by k with ``divide_by_k=True``.
    """
    return hits.kept("precision", k) / hits.n_relevant


def mrr(hits: Hits, k: int) -> Values:
    r"""Reciprocal rank of the first hit, :math:`1 / r_1`, or 0 if it is not among the first k.

    ``mrr`` without ``@k`` is of all places of the list: of a model that lists every item nobody gets 0 whose relevant
    items it knows. The same as ``MRR`` of RecTools and ``mrr`` of ranx.
    """
    return np.where(hits.first_rank <= k, 1 / hits.first_rank, 0.0)


def r_precision(hits: Hits) -> Values:
    r"""Share of the first :math:`|R|` places that hold a relevant item.

    Every user has a cut-off of the number of relevant items. The same as ``r_precision`` of ranx and of trec_eval; what
    RecTools calls so is ``truncated_recall``.
    """
    top = hits.rank <= hits.n_relevant[hits.user]
    return np.bincount(hits.user[top], minlength=hits.n_users) / hits.n_relevant


def _discount(rank: NDArray[np.int64]) -> Values:
    return 1 / np.log2(rank + 1)
