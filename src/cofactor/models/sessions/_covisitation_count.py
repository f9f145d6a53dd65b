"""Co-visitation counts of sessions, in parts that fit into the memory given."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.errors import ParameterError
from cofactor.kernels.csr import CSR, offsets
from cofactor.system.memory import available_memory
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from tqdm import tqdm

    from cofactor.data.sessions import Sessions
    from cofactor.kernels.cpu import Kernels

    Weights = tuple[NDArray[np.uint32] | None, float]

__all__ = ["Capped", "count_pairs"]

_STEPS = 100  # of the progress bar, at most
_STEP = 2**23  # visits, at least: every step sets up its tables anew
_MAX_PARTS = 64  # each reads all events once more
_MAX_RECORDS = 2**32 - 2


@dataclass(frozen=True)
class Capped:
    """Sessions that had more events than count, how many events that left out, and the events of the longest."""

    sessions: int
    events: int
    longest: int


@dataclass(frozen=True)
class _Plan:
    """What will be in memory while rows are counted."""

    n_events: int  # that take part
    most: int  # of one item
    n_sessions: int
    n_items: int
    n_places: int
    n_best: int
    held: int  # bytes of the sessions
    weights: int  # bytes of the weights of all events, which go when the records are made

    def of(self, threads: int, parts: int) -> int:
        records = 12 * self.n_events + 8 * self.n_sessions + 60 * self.n_items
        windows = 12 * min(self.n_events, self.n_events // parts + self.most)
        of_threads = 2**20 + 20 * self.n_items + 32 * min(self.n_best, self.n_items)
        return records + max(self.weights, windows + 8 * self.n_places + of_threads * threads)

    def choose(self, limit: int | None, threads: int) -> tuple[int, int]:
        """The most threads and the fewest parts that stay below the limit, or below what the machine has."""
        free = available_memory()
        allowed = [n for n in (None if limit is None else limit - self.held, free) if n is not None]
        if not allowed:
            return threads, 1
        budget = min(allowed)
        for t in range(threads, 0, -1):
            for parts in (1, 2, 4, 8, 16, 32, _MAX_PARTS):
                if self.of(t, parts) <= budget:
                    return t, parts
        least = self.held + self.of(1, _MAX_PARTS)
        have = f"memory_limit is {limit / 1e9:.2f} GB" if limit is not None else ""
        if free is not None and (limit is None or free < limit - self.held):
            have = f"{(self.held + free) / 1e9:.2f} GB are available"
        raise ParameterError(
            f"counting pairs of {self.n_events:,} events and {self.n_items:,} items needs {least / 1e9:.2f} GB "
            f"({least:,} bytes), {have}; use smaller last_events or neighbours, or leave rare items out "
            "(min_item_count of events.interactions)"
        )


def count_pairs(
    kernels: Kernels,
    sessions: Sessions,
    weigh: Callable[[], Weights],
    *,
    gap: int | None,
    once: bool,
    last_events: int | None,
    neighbours: int,
    memory_limit: int | None,
    threads: int | None,
    bar: tqdm[Any],
    rows: tuple[int, int] | None = None,
) -> tuple[CSR, Capped]:
    """Neighbours of every item, (n_items, n_items), at most ``neighbours`` a row.

    Parameters
    ----------
    kernels : Kernels
    weigh : callable
        Gives a whole weight for every event (0 leaves it out), or None where all are 1, and the value of a weight of
        1. Called here so that the weights do not outlive their use.
    gap : int, optional
        Most seconds between two events.
    once : bool
        Count a pair of items once a session instead of every pair of events.
    rows : (int, int), optional
        The items that are counted, from and to; the others have no neighbours.
    """
    weights, scale = weigh()
    most = sessions.n_events + 1 if last_events is None else last_events
    lengths, counts, work, capped = kernels.covisitation_kept(
        sessions.indptr, sessions.items, weights, most, sessions.n_items, threads=threads
    )
    starts = offsets(lengths)
    del lengths
    if rows is not None:
        work[: rows[0]] = work[rows[1] :] = 0
    n_items, n_events = sessions.n_items, int(starts[-1])
    if n_events > _MAX_RECORDS:
        raise ParameterError(
            f"{n_events:,} events take part, but at most {_MAX_RECORDS:,} can be counted; use a smaller last_events"
        )
    places = offsets(np.minimum(work, neighbours))
    held = sum(a.nbytes for a in (sessions.indptr, sessions.items, sessions.times, sessions.types) if a is not None)
    plan = _Plan(
        n_events, int(counts.max(initial=0)), sessions.n_sessions, n_items, int(places[-1]), neighbours, held,
        0 if weights is None else weights.nbytes,
    )  # fmt: skip
    n_threads, n_parts = plan.choose(memory_limit, resolve_threads(threads))
    times = None if gap is None else sessions.times
    records, seconds = kernels.covisitation_records(
        sessions.indptr, sessions.items, times, weights, starts=starts, threads=threads
    )
    del weights
    counted = _count_rows(
        kernels, (records, seconds, starts), counts, work, places,
        gap=gap, once=once, scale=scale, n_best=neighbours, parts=n_parts, threads=n_threads, bar=bar,
        wanted=rows or (0, n_items),
    )  # fmt: skip
    return counted, Capped(*capped)


def _count_rows(
    kernels: Kernels,
    events: tuple[NDArray[np.uint32], NDArray[np.uint32] | None, NDArray[np.int64]],
    counts: NDArray[np.int64],
    work: NDArray[np.int64],
    places: NDArray[np.int64],
    *,
    gap: int | None,
    once: bool,
    scale: float,
    n_best: int,
    parts: int,
    threads: int,
    bar: tqdm[Any],
    wanted: tuple[int, int],
) -> CSR:
    """Count the neighbours of some items, in so many parts; ``events``: records, seconds and where sessions start."""
    n_items = len(counts)
    n_kept, indices = np.zeros(n_items, np.int32), np.empty(int(places[-1]), np.int32)
    values = np.empty(int(places[-1]), np.float32)
    workspace = np.zeros((threads, n_items, 2), np.uint64), np.empty((threads, n_items + 1), np.uint32)
    effort = np.cumsum(work)
    bar.reset(total=int(effort[-1]) if len(effort) else 0)
    for first, last in ((wanted[0] + a, wanted[0] + b) for a, b in _cuts(np.cumsum(counts[slice(*wanted)]), parts)):
        starts = offsets(counts[first:last])
        windows = kernels.covisitation_index(
            *events, gap=gap, n_items=n_items, first=first, starts=starts, threads=threads
        )
        done = int(effort[first - 1]) if first else 0
        steps = min(_STEPS // parts, int(effort[last - 1] - done) // _STEP)
        for begin, end in _cuts(effort[first:last] - done, max(1, steps)):
            kernels.covisitation_rows(
                events[0],
                once=once,
                scale=scale,
                work=work,
                first=first,
                items=(first + begin, first + end),
                starts=starts,
                windows=windows,
                places=places,
                n_best=n_best,
                out=(n_kept, indices, values),
                workspace=workspace,
                threads=threads,
            )
            bar.update(int(effort[first + end - 1]) - (int(effort[first + begin - 1]) if first + begin else 0))
        del windows  # before the next are made
    kernels.covisitation_compact(places, n_kept, indices, values)
    for array in (indices, values):
        array.resize(int(places[-1]), refcheck=False)  # gives memory back where it is, without a copy
    return CSR(places, indices, values, n_items)


def _cuts(ends: NDArray[np.int64], parts: int) -> list[tuple[int, int]]:
    """Ranges of about equal sums, given the sums up to the end of each element; none is empty."""
    if not len(ends):
        return []
    at = np.searchsorted(ends, ends[-1] * np.arange(1, parts) // parts, side="right")
    cuts = np.unique(np.concatenate([[0], at, [len(ends)]]))
    return [(int(a), int(b)) for a, b in pairwise(cuts)]
