"""Pairs of items that follow each other in sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.kernels import native
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arguments import PairEvents, PairRules
    from cofactor.kernels.arrays import Float, Rows

__all__ = ["count_session_pairs", "session_pairs"]


def count_session_pairs(
    events: PairEvents,
    rules: PairRules,
    *,
    threads: int | None = None,
) -> tuple[NDArray[np.int64], tuple[int, int, int, int, int]]:
    """Count the pairs of sessions, block of sessions by block; O(events), or O(pairs) with times or without repeats.

    Parameters
    ----------
    events : PairEvents
    rules : PairRules

    Returns
    -------
    starts : (n_blocks + 1,) int64
        Where the pairs of each block of 1,024 sessions begin.
    told : (int, int, int, int, int)
        Events left out by their type, sessions with fewer than two events that take part, sessions with more than
        ``last_events``, events left out by that, events of the longest session.
    """
    n_blocks = -(-(len(events.indptr) - 1) // native.lib.session_block)
    starts = np.zeros(n_blocks + 1, np.int64)
    given: tuple[Any, ...] = (*events, *rules, starts[1:], resolve_threads(threads))
    told = native.lib.count_session_pairs(*given)
    return np.cumsum(starts, out=starts), told


def session_pairs(
    events: PairEvents,
    rules: PairRules,
    *,
    starts: NDArray[np.int64],
    first: int = 0,
    last: int | None = None,
    threads: int | None = None,
) -> tuple[Rows, Rows, Float | None]:
    """The pairs of some blocks of sessions: items, next items and, where they have any, weights, (n_pairs,) each.

    The other parameters are those of :func:`count_session_pairs`, which gives ``starts``. Pairs are in the order of
    sessions, of the earlier event, then of the later one; with ``both`` the reverse of a pair comes behind it.

    Parameters
    ----------
    first, last : int
        Blocks, by default all.
    """
    last = len(starts) - 1 if last is None else last
    n = int(starts[last] - starts[first])
    out, next_items = np.empty(n, np.int32), np.empty(n, np.int32)
    weights = np.empty(n if rules.weighted else 0, np.float32)
    outputs = (out, next_items, weights)
    given: tuple[Any, ...] = (*events, *rules, first, last, starts, *outputs, resolve_threads(threads))
    native.lib.session_pairs(*given)
    return out, next_items, weights if rules.weighted else None
