"""Counting what occurs near each other in sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels import native
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float, Rows

__all__ = [
    "covisitation_compact",
    "covisitation_index",
    "covisitation_kept",
    "covisitation_records",
    "covisitation_rows",
]


_LONGEST_GAP = 2**32 - 1


def covisitation_kept(
    indptr: NDArray[np.int64],
    items: Rows,
    weights: NDArray[np.uint32] | None,
    most: int,
    n_items: int,
    *,
    threads: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], tuple[int, int, int]]:
    """How many events of each session take part in co-visitation: the latest ``most`` whose weight is not 0.

    Returns
    -------
    lengths : (n_sessions,) int64
        0 where fewer than two events are left.
    counts : (n_items,) int64
        Events of each item among them.
    work : (n_items,) int64
        Most neighbours that these can have, repeats counted.
    capped : (int, int, int)
        Sessions with more than ``most``, events left out by that, events of the longest session.
    """
    lengths, (counts, work) = np.empty(len(indptr) - 1, np.int64), np.zeros((2, n_items), np.int64)
    capped = native.lib.covisitation_kept(indptr, items, weights, most, lengths, counts, work, resolve_threads(threads))
    return lengths, counts, work, capped


def covisitation_records(
    indptr: NDArray[np.int64],
    items: Rows,
    times: NDArray[np.int64] | None,
    weights: NDArray[np.uint32] | None,
    *,
    starts: NDArray[np.int64],
    threads: int | None = None,
) -> tuple[NDArray[np.uint32], NDArray[np.uint32] | None]:
    """The events that take part: item and weight, and, given times, seconds since the oldest.

    ``starts`` are the offsets of the lengths that :func:`covisitation_kept` gives.
    """
    out = np.empty((int(starts[-1]), 2), np.uint32)
    seconds = None if times is None else np.empty(len(out), np.uint32)
    oldest = 0 if times is None or not len(times) else int(times.min())
    native.lib.covisitation_records(
        indptr, items, times, weights, oldest, starts, out, seconds, resolve_threads(threads)
    )
    return out, seconds


def covisitation_index(
    records: NDArray[np.uint32],
    seconds: NDArray[np.uint32] | None,
    sessions: NDArray[np.int64],
    *,
    gap: int | None,
    n_items: int,
    first: int,
    starts: NDArray[np.int64],
    threads: int | None = None,
) -> NDArray[np.uint32]:
    """What is near the events of the items from ``first`` on: records from and to, and a number for the session.

    Parameters
    ----------
    records, seconds
        As :func:`covisitation_records` gives them.
    sessions : (n_sessions + 1,) int64
        Where the records of each session start.
    gap : int, optional
        Most seconds between two events that are near each other; needs ``seconds``.
    starts : int64
        Offsets of the items' events.
    """
    if gap is not None and seconds is None:
        raise ValueError("a gap needs the seconds of the records")
    windows = np.empty((int(starts[-1]), 3), np.uint32)
    native.lib.covisitation_index(
        records, None if gap is None else seconds, sessions, 0 if gap is None else min(gap, _LONGEST_GAP),
        n_items, first, starts, windows, resolve_threads(threads),
    )  # fmt: skip
    return windows


def covisitation_rows(
    records: NDArray[np.uint32],
    *,
    once: bool,
    scale: float,
    work: NDArray[np.int64],
    first: int,
    items: tuple[int, int],
    starts: NDArray[np.int64],
    windows: NDArray[np.uint32],
    places: NDArray[np.int64],
    n_best: int,
    out: tuple[Rows, Rows, Float],
    workspace: tuple[NDArray[np.uint64], NDArray[np.uint32]],
    threads: int,
) -> None:
    """Count the neighbours of some items and keep the best.

    Parameters
    ----------
    once : bool
        Count a pair of items once a session, by the largest weight; otherwise every pair of events.
    scale : float
        Value of a weight of 1.
    work : (n_items,) int64
        As :func:`covisitation_kept` gives it.
    first, starts, windows
        As for :func:`covisitation_index`.
    items : (int, int)
        Begin and end.
    places : (n_items + 1,) int64
        Where rows of items are written; a row must have room for ``n_best`` neighbours, or for all it can have.
    out : lengths (n_items,), neighbours (places[-1],), values (places[-1],)
        Neighbours ascend inside a row; ties of values go to the lower item.
    workspace : (threads, n_items, 2) uint64 of zeros, and so left behind; (threads, n_items + 1) uint32
    """
    native.lib.covisitation_rows(
        records, once, scale, work, first, items[0], items[1], starts, windows, places, n_best,
        out[0], out[1], out[2], workspace[0], workspace[1], threads,
    )  # fmt: skip


def covisitation_compact(places: NDArray[np.int64], lengths: Rows, neighbours: Rows, values: Float) -> None:
    """Move rows of the given lengths together, in place; ``places`` become their offsets."""
    native.lib.covisitation_compact(places, lengths, neighbours, values)
