"""How lists spread over the catalogue, and how much those of two users have in common: of all lists together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from cofactor.metrics.listed import Listed

__all__ = ["coverage", "gini", "personalization"]


def coverage(lists: Listed, k: int) -> float:
    """Share of the catalogue that is among the first k places of at least one evaluated user.

    RecTools' ``CatalogCoverage(normalize=True)`` also counts the lists of users without test items.

    Raises
    ------
    ParameterError
        The size of the catalogue is not known.
    DataError
        The lists hold more items than the catalogue.
    """
    return int((lists.n_listed > 0).sum()) / _n_items(lists, "coverage")


def gini(lists: Listed, k: int) -> float:
    r"""Gini index of how often the items of the catalogue are listed: 0 if all alike, near 1 if always the same few.

    With the counts :math:`c_{(1)} \le \dots \le c_{(n)}` of all n items, those that are never listed included:

    .. math:: \frac{\sum_{i=1}^{n} (2 i - n - 1)\, c_{(i)}}{n \sum_{i=1}^{n} c_{(i)}}

    The lower, the more even. k equal lists give :math:`1 - k / n`. NaN if nothing is listed. ``GiniIndex``
    of RecBole is the same.

    Raises
    ------
    ParameterError, DataError
        As ``coverage``.
    """
    n = _n_items(lists, "gini")
    counts = np.sort(lists.n_listed[lists.n_listed > 0])
    place = np.arange(n - len(counts) + 1, n + 1)  # items that are never listed come first and add nothing
    total = int(counts.sum())
    return float(((2 * place - n - 1) * counts).sum() / (n * total)) if total else float("nan")


def personalization(lists: Listed, k: int) -> float:
    r"""1 less the mean cosine similarity of the lists of two users; 0 if all lists hold the same items.

    The cosine of two lists is the number of items that both hold by the root of the product of their lengths: the share
    of common items where all have k. Over all :math:`n (n - 1) / 2` pairs of users who have a list, it is computed from
    how often each item is listed, in O(n k):

    .. math:: 1 - \frac{\sum_i s_i^2 - n}{n (n - 1)}, \quad s_i = \sum_{u: i \in L_u} 1 / \sqrt{|L_u|}

    NaN with less than two lists. The same as ``personalization`` of recmetrics.
    """
    n = int((lists.length > 0).sum())
    if n < 2:
        return float("nan")
    shares = np.bincount(lists.item, 1 / np.sqrt(lists.length[lists.user]), len(lists.ids))
    return 1 - float((shares**2).sum() - n) / (n * (n - 1))


def _n_items(lists: Listed, name: str) -> int:
    n_items = lists.context.n_items
    if n_items is None:
        raise ParameterError(f"{name} needs the size of the catalogue: give the number of its items as n_items=")
    n_listed = int((lists.n_listed > 0).sum())
    if n_listed > n_items:
        raise DataError(f"the lists hold {n_listed} distinct items, more than n_items={n_items}")
    return n_items
