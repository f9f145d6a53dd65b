"""Next items of a session from its nearest past sessions; :class:`cofactor.SessionKNN` has the equations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels import native
from cofactor.kernels.filters import NO_FILTERS, Filters
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arguments import PastSessions, SessionKnn
    from cofactor.kernels.arrays import Float, Rows, TopK
    from cofactor.kernels.csr import CSR

__all__ = ["session_places", "session_scores", "session_top_k"]


def session_places(
    indptr: NDArray[np.int64], items: Rows, n_items: int, limit: int
) -> tuple[NDArray[np.int64], Rows, NDArray[np.int64]]:
    """The ``limit`` newest sessions of every item: offsets (n_items + 1,), sessions, and how many there are in all."""
    places_indptr, places = np.empty(n_items + 1, np.int64), np.empty(len(items), np.int32)
    n_sessions_of = np.empty(n_items, np.int64)
    native.lib.session_places(indptr, items, limit, places_indptr, places, n_sessions_of)
    return places_indptr, places[: places_indptr[-1]].copy(), n_sessions_of


def session_top_k(
    past: PastSessions,
    knn: SessionKnn,
    histories: CSR,
    positions: Rows,
    k: int,
    *,
    filters: Filters = NO_FILTERS,
    threads: int | None = None,
) -> TopK:
    """The k best next items of every history, of those that its nearest past sessions hold.

    Parameters
    ----------
    past, knn
        See :class:`cofactor.SessionKNN` for the equations.
    histories : CSR (n, n_items)
        Values are not read.
    positions : (nnz,) int32
        Of the last event of each item of a history, from 1, the oldest.
    k, filters
        As in :func:`linear_top_k`, and so is the result.
    """
    n_items = len(past.item_weights)
    top = filters.lists(histories.n_rows, k, n_items)
    filtered = filters.arrays(histories.n_rows, n_items)
    given = (histories.indptr, histories.indices, positions)
    native.lib.session_top_k(*past, *knn, *given, *filtered, *top, resolve_threads(threads))
    return top


def session_scores(
    past: PastSessions,
    knn: SessionKnn,
    histories: CSR,
    positions: Rows,
    wanted: tuple[NDArray[np.int64], Rows],
    *,
    threads: int | None = None,
) -> Float:
    """Scores of some items of every history, 0 where an item is not reached; ``wanted`` are offsets and items."""
    scores = np.empty(len(wanted[1]), np.float32)
    given = (histories.indptr, histories.indices, positions)
    native.lib.session_scores(*past, *knn, *given, *wanted, scores, resolve_threads(threads))
    return scores
