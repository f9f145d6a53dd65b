"""Area under the ROC curve of each user's complete list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.metrics.hits import Hits

__all__ = ["auc"]


def auc(hits: Hits) -> NDArray[np.float64]:
    r"""Share of the (relevant, not relevant) pairs of items that are in the right order; a tie is half right.

    With the mean places :math:`m_j` of the user's h hits (neighbours of equal score share theirs) in a list of n
    items, :math:`N = n - h` of which are not relevant, the number of pairs in the wrong order is that of the
    Mann-Whitney test, and relevant items that are not listed at all are behind everything:

    .. math:: 1 - \frac{\sum_{j=1}^{h} m_j - h(h+1)/2 + (|R| - h) N}{|R| N}

    The lists must be complete: the whole catalogue (without the items that are left out on purpose), or all
    candidates. A user without a list gets 0; one to whom every listed item is relevant gets 1. ``auc`` of
    implicit looks at the first k items only and puts all others on a straight line.
    """
    n_hits = hits.total()
    n_other = hits.n_listed - n_hits
    wrong = hits.total(gain=hits.middle_rank) - n_hits * (n_hits + 1) / 2 + (hits.n_relevant - n_hits) * n_other
    return np.where(hits.n_listed > 0, 1 - wrong / np.maximum(hits.n_relevant * n_other, 1), 0.0)
