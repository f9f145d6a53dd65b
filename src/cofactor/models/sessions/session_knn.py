"""Next items of a session from its nearest past sessions.

The V-SkNN / STAN family. A session ``s`` is a sequence of ``l(s)`` events; ``p(i, s)`` is the place of the last event
of item ``i``, ``l(s)`` being the newest. With the past sessions ``n``, their ages ``t(n)``, and ``df(i)`` of all ``N``
of them holding item ``i``::

    idf(i)      = ln(1 + N / df(i))
    w1(i, s)    = exp(-(l(s) - p(i, s)) / lambda1) * idf(i) ** idf       place in the current session (STAN's factor 1)
    w2(n)       = exp(-t(n) / lambda2)                                                age of a session (factor 2)
    sim(s, n)   = w2(n) * sum of w1(i, s) over the items i of both, / sqrt(items of n) for the cosine
    N(s)        = the most similar of the newest sample_size past sessions that share an item with s
    w3(d)       = exp(-|d| / lambda3), times backward where d < 0, times repeat where d = 0           (factor 3)
    score(c, s) = idf(c) ** candidate_idf * sum over n in N(s) of sim(s, n) * sum of w3(q - p(i*, n)) over the places q
                  of c in n

``i*`` is the most recent item of ``s`` that is in ``n``. Similarities are taken relative to that of the nearest
neighbour, which changes no order.

Sources: Garg, Gupta, Malhotra, Vig, Shroff: Sequence and Time Aware Neighborhood for Session-based Recommendations:
STAN (SIGIR 2019). Ludewig, Jannach: Evaluation of session-based recommendation algorithms (UMUAI 2018): S-kNN, sampling
of the newest sessions, V-SkNN (``similarity="dot"``), SF-SkNN (only what follows counts: ``backward=0``). Ludewig,
Mauro, Latifi, Jannach: Empirical analysis of session-based recommendation algorithms (UMUAI 2021), with its framework
session-rec: idf weights of shared and of scored items. Kersbergen, Sprangers, Schelter: Serenade (SIGMOD 2022): merging
the items' lists of sessions by time.

Departures: ages are counted from the newest training session, which changes no order; an item that a neighbour holds
several times counts at each of its places; ``backward`` and ``repeat`` are numbers, and so are the exponents of idf.
With ``backward=1, repeat=1, idf=0, candidate_idf=0, similarity="cosine"`` the factors are STAN's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from cofactor.checks import check_at_least, check_choice, warn
from cofactor.data.histories import Histories
from cofactor.data.sessions import Sessions
from cofactor.data.weights import duration
from cofactor.errors import DataError
from cofactor.kernels.arguments import PastSessions, SessionKnn
from cofactor.kernels.csr import CSR, offsets
from cofactor.kernels.filters import Filters
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.learned import check_offsets, check_range
from cofactor.models.base.recommender import Recommender
from cofactor.models.sessions._learned_repeat import UNTOLD, best_repeat, newest_tests
from cofactor.system.memory import require_memory
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.arrays import Rows, TopK


__all__ = ["SessionKNN"]

_LEAST_WEIGHT = 1e-200  # of a session's age: sessions too old for their age to count for anything are all as old


class SessionKNN(Recommender):
    """Rank the items that the nearest past sessions hold near what they share with the current one.

    Meant for next items, where what was seen may come again: ``recommend_for(prefixes, exclude_seen=False)``. The rows
    of a history are its events, the oldest first, or in the order of a column ``time``; weights say nothing here.

    ``fit`` wants interactions made by ``events.interactions(...)``. Past sessions are the ``session`` role of the
    events, else the users; they stand in the order of their last events, or of their ids where there are no times.
    ``recommend(users)`` continues the sequence of all events of a user. Without events every user is one session, its
    items in the order of their rows.

    Only items that a neighbour holds are ranked: lists may be shorter than k (``Fallback`` fills them), and those of an
    empty history are empty.

    Parameters
    ----------
    neighbours : int
        How many past sessions give scores; k in the papers.
    sample_size : int
        How many of the newest sessions that share an item are compared.
    lambda1 : float or None
        Decay over the current session, in events: an item counts 1/e of one this many events later. None for none.
    lambda2 : float, text such as "30d", or None
        Decay over the age of past sessions. A number counts past sessions, a length of time needs times. None for none.
    lambda3 : float or None
        Decay over the distance between a candidate and the shared item, in events of the past session. None for none.
    similarity : {"dot", "cosine"}
        Whether past sessions of many items are as similar as short ones that share as much (V-SkNN), or less (STAN).
    idf : float
        Exponent of the idf of shared items: 0 for none, more lets rare items decide who is a neighbour.
    candidate_idf : float
        Exponent of the idf of scored items: more prefers rare items.
    backward : float
        Weight of candidates before the shared item, relative to those after it: 1 in STAN, 0 for what follows only.
    repeat : float or None
        Weight of the shared item itself, relative to a candidate at distance 0: 1 in STAN. None learns it: how often a
        session comes back to what it had differs from log to log. The newest tenth of the sessions is scored by those
        before it, up to 5,000 of their events, and of 25 values from .01 to 100 the one is taken that puts most next
        items into the first 20 places (and of those as good, highest there). Interactions without events, and logs
        with less than 100 such events, have .3.
    last_events : int or None
        At most so many events of a session take part, the last ones; a session of thousands is no customer.
    threads : int, optional

    Attributes
    ----------
    session_indptr_, session_items_ : (n_sessions + 1,) int64, (n_events,) int32
        The past sessions, by time.
    session_weights_ : (n_sessions,) float64
        ``w2``, divided by the norm of the cosine.
    places_indptr_, places_ : (n_items + 1,) int64, int32
        The newest ``sample_size`` sessions of every item, newest first.
    item_weights_, candidate_weights_ : (n_items,) float64
        The powers of idf.
    repeat_ : float
        ``repeat``, given or learned.
    positions_ : (nnz,) int32
        Of every entry of the interactions: where the item stands last in its user's sequence, from 1.

    Examples
    --------
    >>> import cofactor as cf
    >>> import polars as pl
    >>> log = pl.DataFrame({"visit": [1, 1, 1, 2, 2, 3, 3], "page": ["a", "b", "c", "b", "c", "a", "b"]})
    >>> x = cf.read_events(log, user=None, session="visit", item="page").interactions()
    >>> now = pl.DataFrame({"user_id": [9, 9], "item_id": ["a", "b"]})
    >>> cf.SessionKNN().fit(x).recommend_for(now, k=1)["item_id"].to_list()
    ['c']
    """

    session_indptr_: NDArray[np.int64]
    session_items_: Rows
    session_weights_: NDArray[np.float64]
    places_indptr_: NDArray[np.int64]
    places_: Rows
    item_weights_: NDArray[np.float64]
    candidate_weights_: NDArray[np.float64]
    repeat_: float
    positions_: Rows

    def __init__(
        self,
        neighbours: int = 1000,
        *,
        sample_size: int = 5000,
        lambda1: float | None = 1.4,
        lambda2: float | str | None = None,
        lambda3: float | None = 2.0,
        similarity: Literal["dot", "cosine"] = "dot",
        idf: float = 3.0,
        candidate_idf: float = 1.0,
        backward: float = 0.5,
        repeat: float | None = None,
        last_events: int | None = 500,
        threads: int | None = None,
    ) -> None:
        self.neighbours = neighbours
        self.sample_size = sample_size
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.lambda3 = lambda3
        self.similarity = similarity
        self.idf = idf
        self.candidate_idf = candidate_idf
        self.backward = backward
        self.repeat = repeat
        self.last_events = last_events
        self.threads = threads

    @property
    def ordered(self) -> bool:
        """Whether the order of a history matters: it does."""
        return True

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Sort the sessions by time and list those of every item; ``progress`` changes nothing. O(events).

        To learn ``repeat`` takes about as long as three questions for 5,000 sessions.

        Raises
        ------
        ParameterError
            A parameter is out of its range, or the sessions do not fit into memory.
        DataError
            ``lambda2`` is a length of time, but the interactions know no times.
        """
        self._check()
        s, positions = Sessions.with_last_positions(interactions)
        if isinstance(self._lambda2(), int) and s.times is None:
            raise DataError(
                f"lambda2={self.lambda2!r} needs times, which these interactions lack; make the interactions of "
                "read_events(..., time=...), or give lambda2 as a number of sessions"
            )
        require_memory(
            24 * s.n_events + 40 * s.n_sessions + 32 * s.n_items,
            f"SessionKNN on {s.n_events:,} events",
            "a later part of the log",
        )
        indptr, items, ends = _by_time(s, self.last_events)
        if self.repeat is not None:
            self.repeat_ = float(self.repeat)
        elif interactions.events is None:  # rows of a matrix have no order, and no item twice
            self.repeat_ = UNTOLD
        else:
            self.repeat_ = self._repeat(s.n_items, indptr, items, ends)
        past = self._past(s.n_items, indptr, items, ends)
        self.session_indptr_, self.session_items_, self.session_weights_ = past[:3]
        self.places_indptr_, self.places_, self.item_weights_, self.candidate_weights_ = past[3:]
        self.positions_ = positions
        return self

    def _past(
        self, n_items: int, indptr: NDArray[np.int64], items: Rows, ends: NDArray[np.int64] | None
    ) -> PastSessions:
        """What neighbours are looked for in, of sessions by time."""
        kernels = self._kernels()
        places_indptr, places, n_sessions_of = kernels.session_places(indptr, items, n_items, self.sample_size)
        idf = np.log1p((len(indptr) - 1) / np.maximum(n_sessions_of, 1))
        weights = self._session_weights(indptr, items, ends)
        return PastSessions(indptr, items, weights, places_indptr, places, idf**self.idf, idf**self.candidate_idf)

    def _repeat(self, n_items: int, indptr: NDArray[np.int64], items: Rows, ends: NDArray[np.int64] | None) -> float:
        """The weight of the shared item that serves the newest sessions best, found by those before them."""
        first, tests = newest_tests(indptr, items, n_items)
        past = self._past(n_items, indptr[: first + 1], items[: indptr[first]], None if ends is None else ends[:first])
        return best_repeat(self._kernels(), past, self._query(first, 1.0), tests, threads=self.threads)

    def _session_weights(
        self, indptr: NDArray[np.int64], items: Rows, ends: NDArray[np.int64] | None
    ) -> NDArray[np.float64]:
        n = len(indptr) - 1
        weights = np.ones(n)
        span = self._lambda2()
        if isinstance(span, int) and ends is not None and n:
            weights = np.exp((ends - ends[-1]) / span)
        elif span is not None:
            weights = np.exp((np.arange(n) - (n - 1)) / span)
        if self.similarity == "cosine":
            rows = np.repeat(np.arange(n), np.diff(indptr))
            order = np.lexsort((items, rows))
            new = (np.diff(rows[order], prepend=-1) != 0) | (np.diff(items[order], prepend=-1) != 0)
            weights /= np.sqrt(np.maximum(np.bincount(rows[order][new], minlength=n), 1))
        return np.maximum(weights, _LEAST_WEIGHT)

    def _lambda2(self) -> float | int | None:
        """Seconds as int, sessions as float."""
        if isinstance(self.lambda2, str):
            return max(1, round(duration("lambda2", self.lambda2).total_seconds()))
        if self.lambda2 is not None:
            check_at_least("lambda2", self.lambda2, 0, above=True)
        return None if self.lambda2 is None else float(self.lambda2)

    def _arguments(self) -> tuple[PastSessions, SessionKnn]:
        past = PastSessions(
            self.session_indptr_,
            self.session_items_,
            self.session_weights_,
            self.places_indptr_,
            self.places_,
            self.item_weights_,
            self.candidate_weights_,
        )
        return past, self._query(len(self.session_weights_), self._repeat_of())

    def _repeat_of(self) -> float:
        """The weight in use; models saved before it could be learned have it as a parameter only."""
        weight = vars(self).get("repeat_", self.repeat)
        assert weight is not None
        return float(weight)

    def _query(self, n_sessions: int, repeat: float) -> SessionKnn:
        longest = np.iinfo(np.int64).max
        return SessionKnn(
            min(self.neighbours, n_sessions + 1),
            min(self.sample_size, n_sessions + 1),
            longest if self.last_events is None else min(self.last_events, longest),
            np.inf if self.lambda1 is None else self.lambda1,
            np.inf if self.lambda3 is None else self.lambda3,
            self.backward,
            repeat,
        )

    def _own(self) -> Histories:
        return Histories.of(self.interactions_, self.positions_)

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        return self._top_k_for(self._own().take(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        assert isinstance(histories, Histories)
        return self._kernels().session_top_k(
            *self._arguments(), histories, histories.positions, k, filters=filters, threads=self.threads
        )

    def _scores(self, users: Rows, items: Rows) -> NDArray[np.float32]:
        order = np.argsort(users, kind="stable")
        asked, counts = np.unique(users, return_counts=True)
        histories = self._own().take(asked)
        scores = np.empty(len(users), np.float32)
        wanted = (offsets(counts), items[order])
        scores[order] = self._kernels().session_scores(
            *self._arguments(), histories, histories.positions, wanted, threads=self.threads
        )
        return scores

    def _similar_items(self, items: Rows, k: int) -> TopK:
        """What comes after a session of that item alone."""
        indptr, ones = np.arange(len(items) + 1, dtype=np.int64), np.ones(len(items), np.float32)
        itself = Histories(indptr, items, ones, self.interactions_.n_items, np.ones(len(items), np.int32))
        return self._top_k_for(itself, k, Filters(exclude=itself))

    def _learned(self) -> dict[str, str]:
        return {
            "session_indptr_": "int64 offsets",
            "session_items_": "int32 events",
            "session_weights_": "float64 sessions",
            "places_indptr_": f"int64 {self.interactions_.n_items + 1}",
            "places_": "int32 places",
            "item_weights_": "float64 items",
            "candidate_weights_": "float64 items",
            "repeat_": "number" if self.repeat is None else "number or nothing",  # nothing: before it was learned
            "positions_": "int32 entries",
        }

    def _check_state(self) -> None:
        n_sessions = len(self.session_weights_)
        if len(self.session_indptr_) != n_sessions + 1:
            raise DataError(f"session_indptr_ holds {len(self.session_indptr_)} offsets of {n_sessions} sessions")
        check_offsets("session_indptr_", self.session_indptr_, len(self.session_items_), every_entry=True)
        check_offsets("places_indptr_", self.places_indptr_, len(self.places_), every_entry=True)
        check_range("session_items_", self.session_items_, self.interactions_.n_items)
        check_range("places_", self.places_, n_sessions)
        if not self._repeat_of() >= 0:
            raise DataError(f"repeat_ must be a number of at least 0, got {self._repeat_of()!r}")

    def _check(self) -> None:
        for name in ("neighbours", "sample_size"):
            check_at_least(name, getattr(self, name), 1, whole=True)
        for name in ("idf", "candidate_idf", "backward"):
            check_at_least(name, getattr(self, name), 0)
        if self.repeat is not None:
            check_at_least("repeat", self.repeat, 0)
        for name in ("lambda1", "lambda3"):
            if getattr(self, name) is not None:
                check_at_least(name, getattr(self, name), 0, above=True)
        self._lambda2()
        if self.last_events is not None:
            check_at_least("last_events", self.last_events, 1, whole=True)
        check_choice("similarity", self.similarity, ("dot", "cosine"))
        resolve_threads(self.threads)


def _by_time(s: Sessions, last_events: int | None) -> tuple[NDArray[np.int64], Rows, NDArray[np.int64] | None]:
    """Sessions in the order of their last events: offsets, items, and the times of those, where known."""
    lengths = np.diff(s.indptr)
    kept = lengths if last_events is None else np.minimum(lengths, last_events)
    if n := int((kept < lengths).sum()):
        warn(
            f"{n:,} sessions have more than last_events={last_events} events (the longest {lengths.max():,}); "
            f"{(lengths - kept).sum():,} earlier ones of theirs left out"
        )
    ends = None if s.times is None else s.times[np.maximum(s.indptr[1:], 1) - 1]
    order = np.arange(s.n_sessions) if ends is None else np.argsort(ends, kind="stable")
    indptr = offsets(kept[order])
    first = (s.indptr[1:] - kept)[order]
    at = np.arange(indptr[-1]) + np.repeat(first - indptr[:-1], kept[order])
    return indptr, s.items[at], None if ends is None else ends[order]
