"""Co-visitation: items that occur near each other in sessions, weighted by event type and recency."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta  # noqa: TC003
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from cofactor.checks import check_at_least, check_choice, check_flag, check_type, warn
from cofactor.data.sessions import Sessions
from cofactor.data.weights import duration
from cofactor.errors import DataError, ParameterError
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.item_weights import ItemWeightModel
from cofactor.models.sessions._covisitation_count import count_pairs
from cofactor.system.memory import parse_bytes
from cofactor.system.progress import progress_bar
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.arrays import Rows, TopK
    from cofactor.kernels.csr import CSR
    from cofactor.models.sessions._covisitation_count import Capped

__all__ = ["CoVisitation", "Part"]

_CHUNK = 1 << 20  # events weighed at once
_BITS = 24  # of the largest weight of an event


class Part(NamedTuple):
    """What is counted of a log that has more sessions than those at hand.

    Attributes
    ----------
    rows : (int, int)
        Items from and to; all sessions that have one of them are at hand.
    span : (int, int)
        The oldest and the newest time of the whole log, in seconds.
    """

    rows: tuple[int, int]
    span: tuple[int, int]


class CoVisitation(ItemWeightModel):
    """Score item b by how often, and with what weight, it occurs near the items of the history.

    Over the sessions s, each cut to its latest ``last_events`` events that take part,

        W[a, b] = sum_s max { w(f) : f in s, item(f) = b, some e in s with item(e) = a, |t(e) - t(f)| <= max_gap },

    for a != b: a pair of items counts once a session, by the heaviest occurrence of the second item. With
    ``pairs="all"`` every pair of events (e, f) counts: the sum of w(f) over them takes the place of the maximum. The
    weight of an event is the product of the weight of its type and of its recency. Of every row of W the largest
    ``neighbours`` are kept, ties to the lower item row.

    These are the matrices of the OTTO competition (Kaggle 2022, the public "candidate rerank" recipe of C. Deotte):
    :meth:`type_weighted`, :meth:`buy_to_buy` and :meth:`time_weighted` are its three. Departures: where a pair occurs
    several times in a session the recipe takes any one, here the heaviest; recency is that of the second item's event
    instead of the first's; a gap of exactly ``max_gap`` counts.

    Lists are ranked by ``sum_a weight(user, a) W[a, b]`` over the history, and hold only items that it reaches. Give
    recent and strong events more say by the weights of the interactions, for example
    ``events.interactions(weights.by_type({"clicks": 1, "carts": 6, "orders": 3}) * weights.half_life("2d"))``;
    counting does not read these weights. Similar items of a are the largest of its row of W, at most ``neighbours``.

    Parameters
    ----------
    neighbours : int
        Most neighbours kept for an item.
    types : list of str, optional
        Event types that take part, as first and as second item of a pair; by default all. Also as text:
        ``"carts,orders"``.
    type_weights : mapping, optional
        Weight of every type that takes part, e.g. ``{"clicks": 1, "carts": 6, "orders": 3}``. Also as text:
        ``"clicks:1,carts:6,orders:3"``.
    max_gap : str or timedelta, optional
        Longest time between the two events of a pair, such as ``"24h"``; by default the whole session.
    recency : float
        The newest event of the log weighs 1 + ``recency``, the oldest 1, linearly between them.
    half_life : str or timedelta, optional
        Instead of ``recency``: an event weighs half as much for every such time that it is older than the newest.
    last_events : int or None
        Most events of a session that take part, the latest ones. What that leaves out (of robots, say, with thousands
        of events) is counted in a ``CofactorWarning``. None for no limit: the work grows with the square.
    pairs : {"once", "all"}
        Count a pair of items once a session, or every pair of events.
    memory_limit : int or str, optional
        Bytes, or text like ``"4GB"``, that the sessions (13 bytes an event) and counting may take together. Smaller
        limits mean more passes over the sessions in memory and fewer threads, and the same result; by default what
        the machine has.
    threads : int, optional

    Attributes
    ----------
    item_weights_ : CSR (n_items, n_items)
        Row a: the neighbours b that are kept, with W[a, b]. Event weights are whole multiples of 2^-24 of the largest
        (at least one), so that sums are exact and depend neither on their order nor on ``threads``.

    Notes
    -----
    Sessions are those of the ``session`` role of the events, else of users; see ``Sessions.of``. Interactions without
    events have one session a user, in no order and without times and types.
    """

    item_weights_: CSR

    def __init__(
        self,
        neighbours: int = 50,
        *,
        types: str | Sequence[str] | None = None,
        type_weights: str | Mapping[str, float] | None = None,
        max_gap: str | timedelta | None = None,
        recency: float = 0.0,
        half_life: str | timedelta | None = None,
        last_events: int | None = 100,
        pairs: Literal["once", "all"] = "once",
        memory_limit: str | int | None = None,
        threads: int | None = None,
    ) -> None:
        self.neighbours = neighbours
        self.types = types
        self.type_weights = type_weights
        self.max_gap = max_gap
        self.recency = recency
        self.half_life = half_life
        self.last_events = last_events
        self.pairs = pairs
        self.memory_limit = memory_limit
        self.threads = threads

    @classmethod
    def type_weighted(cls, type_weights: Mapping[str, float] | None = None, **options: Any) -> Self:  # noqa: ANN401
        """All events within 24 hours, weighted by type: what is put into the cart and ordered after such a history.

        Parameters
        ----------
        type_weights : mapping, optional
            ``{"clicks": 1, "carts": 6, "orders": 3}`` unless given.
        **options
            Other parameters of the constructor, also instead of the ones set here (``max_gap``, ``last_events=30``).
        """
        weights = {"clicks": 1, "carts": 6, "orders": 3} if type_weights is None else type_weights
        return cls(**{"type_weights": weights, "max_gap": "24h", "last_events": 30, **options})

    @classmethod
    def buy_to_buy(
        cls,
        types: str | Sequence[str] | None = ("carts", "orders"),
        **options: Any,  # noqa: ANN401
    ) -> Self:
        """Events of buying types within 14 days: what goes with what was bought.

        Parameters
        ----------
        types : str or sequence of str, optional
            As in the constructor.
        **options
            Other parameters of the constructor, also instead of the ones set here (``max_gap``, ``last_events=30``).
        """
        types = list(types) if isinstance(types, tuple) else types
        return cls(**{"types": types, "max_gap": "14d", "last_events": 30, **options})

    @classmethod
    def time_weighted(cls, **options: Any) -> Self:  # noqa: ANN401
        """All events within 24 hours, the newest counting four times as much as the oldest: what is clicked next.

        Parameters
        ----------
        **options
            Parameters of the constructor, also instead of the ones set here (``recency=3``, ``max_gap``,
            ``last_events=30``).
        """
        return cls(**{"recency": 3.0, "max_gap": "24h", "last_events": 30, **options})

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Count.

        Raises
        ------
        ParameterError
            A parameter is out of its range, a type has no weight, or ``memory_limit`` is too small.
        DataError
            A parameter needs times or types that the interactions' events lack.
        """
        self._check()
        weights, capped = self._count(Sessions.of(interactions), progress)
        self.item_weights_ = weights
        self._warn(capped)
        return self

    def count(self, sessions: Sessions, *, progress: bool | None = None) -> CSR:
        """The matrix W of given sessions, (n_items, n_items), for use without a recommender.

        Raises
        ------
        ParameterError, DataError
            As :meth:`fit`.
        """
        self._check()
        check_type("sessions", sessions, Sessions, "Sessions, as Events.sessions and Sessions.of give them")
        if progress is not None:
            check_flag("progress", progress)
        weights, capped = self._count(sessions, progress)
        self._warn(capped)
        return weights

    def _count(self, sessions: Sessions, progress: bool | None, part: Part | None = None) -> tuple[CSR, Capped]:
        needs = {"max_gap": self.max_gap, "recency": self.recency or None, "half_life": self.half_life}
        for name in (n for n, value in needs.items() if value is not None and sessions.times is None):
            raise DataError(
                f"{name}={getattr(self, name)!r} needs times, which these interactions lack; make the interactions "
                "of read_events(..., time=...)"
            )
        table = self._type_table(sessions)
        with progress_bar(type(self).__name__, progress, unit="pair", unit_scale=True) as bar:
            return count_pairs(
                self._kernels(),
                sessions,
                lambda: self._event_weights(sessions, table, None if part is None else part.span),
                gap=None if self.max_gap is None else int(duration("max_gap", self.max_gap).total_seconds()),
                once=self.pairs == "once",
                last_events=self.last_events,
                neighbours=self.neighbours,
                memory_limit=None if self.memory_limit is None else parse_bytes("memory_limit", self.memory_limit),
                threads=self.threads,
                bar=bar,
                rows=None if part is None else part.rows,
            )

    def _type_table(self, sessions: Sessions) -> NDArray[np.float64] | None:
        """Weight of every type code, 0 for those that do not take part; None where types make no difference."""
        types, weights = _names(self.types), _weights(self.type_weights)
        if types is None and weights is None:
            return None
        if sessions.types is None:
            name = "types" if weights is None else "type_weights"
            raise DataError(
                f"{name}={getattr(self, name)!r} needs event types, which these interactions lack; make the "
                "interactions of read_events(..., event_type=...)"
            )
        known = sessions.type_names
        wanted = known if types is None else types
        if types is not None and (missing := [t for t in types if t not in known]):
            raise ParameterError(f"types: there are no events of {missing}; the types are {', '.join(known)}")
        if weights is not None and (missing := [t for t in wanted if t not in weights]):
            raise ParameterError(
                f"type_weights={self.type_weights!r} has no weight for {missing}; add it, or name the types that take "
                "part in types="
            )
        return np.array([(1.0 if weights is None else weights[t]) if t in wanted else 0.0 for t in known])

    def _event_weights(
        self, sessions: Sessions, table: NDArray[np.float64] | None, span: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.uint32] | None, float]:
        """Whole weight of every event, and the value of 1."""
        if table is None and not self.recency and self.half_life is None:
            return None, 1.0
        largest = (1.0 if table is None else float(table.max(initial=0.0))) * (1 + self.recency)
        scale = 2.0 ** (_BITS - np.ceil(np.log2(largest))) if largest else 1.0
        times = sessions.times
        if span is None:
            span = (int(times.min()), int(times.max())) if times is not None and len(times) else (0, 0)
        oldest, newest = span
        out = np.empty(sessions.n_events, np.uint32)
        for at in range(0, sessions.n_events, _CHUNK):
            piece = slice(at, at + _CHUNK)
            weight = np.full(len(out[piece]), scale)
            if self.recency and times is not None:
                weight *= 1 + (times[piece] - oldest) * (self.recency / max(newest - oldest, 1))
            if self.half_life is not None and times is not None:
                life = duration("half_life", self.half_life).total_seconds()
                weight *= np.exp2((times[piece] - newest) / life)
            if table is None or sessions.types is None:
                out[piece] = np.maximum(np.rint(weight), 1)
            else:
                of_type = table[sessions.types[piece]]
                out[piece] = np.maximum(np.rint(weight * of_type), of_type > 0)
        return out, 1 / scale

    def _similar_items(self, items: Rows, k: int) -> TopK:
        return self._heaviest(items, k)

    def _warn(self, capped: Capped) -> None:
        if capped.sessions:
            warn(
                f"{capped.sessions:,} sessions have more than last_events={self.last_events} events (the longest "
                f"{capped.longest:,}); {capped.events:,} earlier ones of theirs left out"
            )

    def _check(self) -> None:
        check_at_least("neighbours", self.neighbours, 1, whole=True)
        check_at_least("recency", self.recency, 0)
        if self.last_events is not None:
            check_at_least("last_events", self.last_events, 2, whole=True)
        check_choice("pairs", self.pairs, ("once", "all"))
        for name in ("max_gap", "half_life"):
            if (value := getattr(self, name)) is not None:
                duration(name, value)
        if self.half_life is not None and self.recency:
            raise ParameterError(f"half_life={self.half_life!r} and recency={self.recency!r}: give one of them")
        if self.memory_limit is not None:
            parse_bytes("memory_limit", self.memory_limit)
        _names(self.types)
        _weights(self.type_weights)
        resolve_threads(self.threads)


def _names(types: Any) -> list[str] | None:  # noqa: ANN401
    """Event types as a list of text."""
    if types is None:
        return None
    names = re.split(r"\s*,\s*", types.strip()) if isinstance(types, str) else types
    if not isinstance(names, list | tuple) or not names or not all(isinstance(n, str) and n for n in names):
        raise ParameterError(f"types={types!r}; it must be a list of event types, or text such as 'carts,orders'")
    return list(names)


def _weights(given: Any) -> dict[str, float] | None:  # noqa: ANN401
    """Weights of event types as a mapping."""
    if given is None:
        return None
    weights = given
    if isinstance(given, str):
        parts = [part.rpartition(":") for part in given.split(",")]
        try:
            weights = {name.strip(): float(value) for name, _, value in parts}
        except ValueError:
            weights = {}
    if not isinstance(weights, Mapping) or not weights or not all(isinstance(n, str) and n for n in weights):
        raise ParameterError(
            f"type_weights={given!r}; it must be a mapping such as {{'clicks': 1, 'carts': 6}}, or text such as "
            "'clicks:1,carts:6'"
        )
    for name, weight in weights.items():
        check_at_least(f"type_weights[{name!r}]", weight, 0, above=True)
    return {name: float(weight) for name, weight in weights.items()}
