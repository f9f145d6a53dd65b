"""What the next item's having been in the session already is worth: read off the newest sessions of a training log.

The score of :class:`~cofactor.models.sessions.session_knn.SessionKNN` is a line in its ``repeat``: ``score(c, s) =
a(c, s) + repeat * b(c, s)``, where b is 0 for every item that the session does not hold. Of each test two kinds of
numbers are therefore enough for every value of ``repeat``: a and b of the session's own items, and a of the best other
items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.data.histories import Histories
from cofactor.kernels.csr import offsets
from cofactor.kernels.filters import Filters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arguments import PastSessions, SessionKnn
    from cofactor.kernels.arrays import Rows
    from cofactor.kernels.cpu import Kernels

__all__ = ["REPEATS", "UNTOLD", "NextItems", "best_repeat", "measured_repeats", "newest_tests"]

UNTOLD = 0.3
"""For logs that cannot tell, because they have no order or too few sessions of two events."""

REPEATS: NDArray[np.float64] = np.round(np.geomspace(0.01, 100, 25), 4)
"""The values that are tried. None is 0: what was seen is ranked behind what was not, but it is ranked."""

_K = 20  # places of the lists that are judged
_HELD_OUT = 10  # one in so many sessions, the newest
_MOST_TESTS = 5000
_FEWEST_TESTS = 100
_AS_GOOD = 0.002  # hit rates that close are told apart by the reciprocal rank


class NextItems(NamedTuple):
    """Beginnings of sessions, and what came next."""

    histories: Histories  # (n_tests, n_items)
    targets: Rows  # (n_tests,)


def newest_tests(indptr: NDArray[np.int64], items: Rows, n_items: int) -> tuple[int, NextItems]:
    """Sessions to learn from, and tests made of those after them: at most so many, spread evenly over their events.

    Parameters
    ----------
    indptr, items : (n_sessions + 1,) int64, (n_events,) int32
        Sessions in the order of time.

    Returns
    -------
    first : int
        The number of sessions before those that the tests are of.
    tests : NextItems
    """
    n_sessions = len(indptr) - 1
    first = n_sessions - n_sessions // _HELD_OUT
    lengths = np.diff(indptr[first:])
    n_tests = np.maximum(lengths - 1, 0)
    total = int(n_tests.sum())
    chosen = np.arange(total) if total <= _MOST_TESTS else np.arange(_MOST_TESTS) * total // _MOST_TESTS
    ends = offsets(n_tests)
    session = np.searchsorted(ends, chosen, side="right") - 1
    size = chosen - ends[session] + 1
    begin = indptr[first:-1][session]
    row = np.repeat(np.arange(len(chosen)), size)
    place = np.arange(len(row)) - np.repeat(offsets(size)[:-1], size)
    found = items[begin[row] + place]
    key = row * n_items + found
    order = np.lexsort((place, key))
    last = order[np.append(np.diff(key[order]) > 0, True)[: len(order)]]  # of several places the newest
    rows = offsets(np.bincount(row[last], minlength=len(chosen)))
    ones, positions = np.ones(len(last), np.float32), (place[last] + 1).astype(np.int32)
    return first, NextItems(Histories(rows, found[last], ones, n_items, positions), items[begin + size])


def best_repeat(
    kernels: Kernels, past: PastSessions, knn: SessionKnn, tests: NextItems, *, threads: int | None = None
) -> float:
    """The value of ``repeat`` that puts most next items into the first 20 places, and of equal ones highest there.

    Hit rates within .2 points (or one test) of the best count as equal: over wide ranges of ``repeat`` the same items
    are found, at other places. The value is ``UNTOLD`` where there are less than 100 tests.
    """
    n = len(tests.targets)
    if n < _FEWEST_TESTS:
        return UNTOLD
    hit, mrr = measured_repeats(kernels, past, knn, tests, REPEATS, threads=threads)
    as_good = hit >= hit.max() - max(_AS_GOOD, 1 / n)
    return float(REPEATS[np.where(as_good, mrr, -1).argmax()])


def measured_repeats(
    kernels: Kernels,
    past: PastSessions,
    knn: SessionKnn,
    tests: NextItems,
    repeats: NDArray[np.float64],
    *,
    threads: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hit rate and mean reciprocal rank of the first 20 places, for each of the values of ``repeat``.

    Three passes over the tests, however many values there are.
    """
    h, n = tests.histories, tests.histories.n_rows
    at_zero, at_one = ((past, knn._replace(repeat=repeat), h, h.positions) for repeat in (0.0, 1.0))
    others = kernels.session_top_k(*at_zero, _K, filters=Filters(exclude=h), threads=threads)
    a = kernels.session_scores(*at_zero, (h.indptr, h.indices), threads=threads)
    b = np.maximum(kernels.session_scores(*at_one, (h.indptr, h.indices), threads=threads) - a, 0)
    row = h.row_index()
    is_target = h.indices == tests.targets[row]
    at, place = np.nonzero(others.rows == tests.targets[:, None])
    target = np.zeros(n, np.float32)  # stays 0 where no neighbour holds it, or it is beyond the list
    target[at] = others.scores[at, place]
    hit, mrr = np.empty(len(repeats)), np.empty(len(repeats))
    for i, repeat in enumerate(repeats.astype(np.float32)):
        own = a + repeat * b
        target[row[is_target]] = own[is_target]
        before = np.bincount(row, own > target[row], n) + (others.scores > target[:, None]).sum(axis=1)
        found = (target > 0) & (before < _K)
        hit[i], mrr[i] = found.mean(), (found / (before + 1)).mean()
    return hit, mrr
