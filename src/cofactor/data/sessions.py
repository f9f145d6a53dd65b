"""Event logs as sessions: flat arrays of item rows, times and types, in the order of time."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from cofactor.checks import check_type
from cofactor.data.interactions import Interactions
from cofactor.data.log import Log
from cofactor.data.out_of_core import read_out_of_core
from cofactor.data.pair_rules import pair_rules
from cofactor.data.sequences import Sequences, Steps, read_sequences
from cofactor.data.session_pairs import Pairs
from cofactor.kernels.arguments import PairEvents
from cofactor.system.memory import available_memory, parse_bytes
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta
    from typing import Self

    import polars as pl
    from numpy.typing import NDArray

    from cofactor.data.columns import Facts
    from cofactor.data.ids import IdMap
    from cofactor.kernels.csr import CSR

__all__ = ["Sessions"]

_log = logging.getLogger(__name__)

_IN_MEMORY = 80  # bytes that reading and sorting takes for an event, in any order


@dataclass(frozen=True, eq=False, repr=False)
class Sessions:
    """Who saw what, in which order: the events of every session in the order of time.

    Takes 13 bytes an event with times and types, 4 without, and 8 a session besides its id.

    Parameters
    ----------
    indptr : (n_sessions + 1,) int64
        Where each session starts in the arrays of events; no session is empty, but those of users without items.
    items : (n_events,) int32
        Item rows. Events of a session are ascending in time (compared at full resolution); equal times keep the order
        of the log.
    n_items : int
        Rows are below it.
    times : (n_events,) int64, optional
        Seconds since 1970 in UTC, rounded down.
    types : (n_events,) uint8, optional
        Position of the event's type in ``type_names``.
    type_names : tuple of str
        The types that occur in the log, in the order of their text; a missing type is called ``"null"``.
    session_ids : pl.Series, optional
        The id of each session, in ascending order: the ``session`` role of the events, or else the user.
    item_ids : IdMap, optional
        The id of each item row.
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    n_items: int
    times: NDArray[np.int64] | None = None
    types: NDArray[np.uint8] | None = None
    type_names: tuple[str, ...] = ()
    session_ids: pl.Series | None = None
    item_ids: IdMap | None = None

    @classmethod
    def of(cls, interactions: Interactions) -> Self:
        """The sessions of the events that interactions were made of, over the rows of their items; then kept.

        Events of users or items that are not among the interactions (any more) are left out. Where sessions are users
        (no ``session`` role), sessions are the rows of the interactions. Interactions without events (made by
        ``from_csr`` or ``from_frame``, or loaded) have one session for each user, its items ascending by row, without
        times and types.

        Raises
        ------
        DataError
            There are more than 256 types of events.
        """
        x = interactions
        check_type("interactions", x, Interactions, "Interactions")
        if "sessions" not in x.derived:
            x.derived["sessions"] = cls._made_of(x)
        sessions: Self = x.derived["sessions"]
        return sessions

    @classmethod
    def with_last_positions(cls, interactions: Interactions) -> tuple[Self, NDArray[np.int32]]:
        """The sessions of interactions, and where each item stands last in the sequence of its user, by one pass.

        The sequence is all events of the user, whatever their session, in the order of time, or of the log where there
        are no times. Interactions without events (made by ``from_csr`` or ``from_frame``, or loaded) do not know the
        order: their items stand in the order of their rows.

        Returns
        -------
        sessions : Sessions
            As :meth:`of` gives them.
        positions : (nnz,) int32
            For every entry of ``user_items``, from 1, the oldest event of the user.
        """
        x = interactions
        check_type("interactions", x, Interactions, "Interactions")
        if "last_positions" not in x.derived:
            matrix = x.user_items
            positions = np.arange(1, x.nnz + 1) - np.repeat(matrix.indptr[:-1], np.diff(matrix.indptr))
            if x.events is not None:
                read = read_sequences(x.events, x.items, x.users, steps=True)
                x.derived["sessions"] = cls._from(read)
                assert read.steps is not None
                _set_last(positions, matrix, read.steps)
            x.derived["last_positions"] = positions.astype(np.int32)
        return cls.of(x), x.derived["last_positions"]

    @classmethod
    def _made_of(cls, x: Interactions) -> Self:
        if x.events is None:
            matrix = x.user_items
            return cls(matrix.indptr, matrix.indices, x.n_items, session_ids=x.users.ids, item_ids=x.items)
        return cls._from(_read(x.events, x.items, x.users))

    @classmethod
    def _from(cls, read: Sequences) -> Self:
        return cls(
            read.indptr,
            read.items,
            len(read.item_ids),
            times=read.times,
            types=read.types,
            type_names=read.type_names,
            session_ids=read.session_ids,
            item_ids=read.item_ids,
        )

    @classmethod
    def from_events(cls, events: Log, *, memory_limit: int | str | None = None) -> Self:
        """Sessions of all events, over the rows of their own items; ``Events.sessions`` calls this.

        Parameters
        ----------
        events : Events
        memory_limit : int or str, optional
            See ``Events.sessions``.

        Raises
        ------
        DataError
            There are no events, or more than 256 types of them, or the disk is full.
        ParameterError
            ``memory_limit`` is no amount of memory, or too small for so many events.
        """
        check_type("events", events, Log, "Events")
        return cls._from(_read(events, memory_limit=memory_limit))

    def pairs(
        self,
        window: int | None = 1,
        *,
        max_gap: str | timedelta | None = None,
        direction: Literal["forward", "both"] = "forward",
        types: Sequence[str] | None = None,
        type_weights: Mapping[str, float] | None = None,
        distance_weights: Sequence[float] | None = None,
        repeats: bool = True,
        last_events: int | None = None,
        threads: int | None = None,
    ) -> Pairs:
        """Pairs of events that follow each other within a session: each item with the next one, unless told otherwise.

        They are counted now, O(events), and made when they are asked for.

        Parameters
        ----------
        window : int or None
            The second event is one of so many after the first. None for all, within ``max_gap``.
        max_gap : str or timedelta, optional
            And at most so much later, by whole seconds.
        direction : {"forward", "both"}
            Whether the reverse of every pair is a pair, too.
        types : sequence of str, optional
            The types of events that take part. The others are left out first, and counted: then the next event is the
            next one of these types.
        type_weights : mapping, optional
            What a pair weighs by the type of its second event; every type that takes part needs a weight above 0.
        distance_weights : sequence of numbers, optional
            What a pair weighs by how many events the second comes after the first, from 1; one for each of ``window``.
        repeats : bool
            False leaves out pairs of an item with itself.
        last_events : int, optional
            At most so many events of a session take part, its last ones. Sessions with more are counted: bots.
        threads : int, optional

        Returns
        -------
        Pairs

        Raises
        ------
        ParameterError
            A parameter is out of its range, or a type does not occur or has no weight.
        DataError
            A parameter needs times or types that the events lack.

        Examples
        --------
        >>> import cofactor as cf
        >>> import polars as pl
        >>> log = pl.DataFrame({"visit": [1, 1, 1, 2], "page": [10, 11, 12, 10]})
        >>> pairs = cf.read_events(log, user=None, session="visit", item="page").sessions().pairs()
        >>> pairs.items.tolist(), pairs.next_items.tolist(), pairs.n_lone
        ([0, 1], [1, 2], 1)
        """
        rules, kept = pair_rules(
            None if self.types is None else self.type_names,
            has_times=self.times is not None,
            window=window,
            max_gap=max_gap,
            direction=direction,
            types=types,
            type_weights=type_weights,
            distance_weights=distance_weights,
            repeats=repeats,
            last_events=last_events,
        )
        resolve_threads(threads)
        events = PairEvents(
            self.indptr,
            self.items,
            self.times if max_gap is not None else None,
            self.types if kept is not None or rules.type_weights is not None else None,
            kept,
        )
        return Pairs(events, rules, self.n_items, self.item_ids, threads)

    @property
    def n_sessions(self) -> int:
        """Number of sessions."""
        return len(self.indptr) - 1

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.items)

    def __repr__(self) -> str:
        known = [name for name in ("times", "types") if getattr(self, name) is not None]
        return (
            f"Sessions({self.n_events:,} events in {self.n_sessions:,} sessions, {self.n_items:,} items, "
            f"{' and '.join(known) if known else 'no times, no types'})"
        )


def _read(
    log: Log, items: IdMap | None = None, users: IdMap | None = None, *, memory_limit: int | str | None = None
) -> Sequences:
    """Read and sort in memory, or out of core where a limit is set or the events would not fit."""
    limit = None if memory_limit is None else parse_bytes("memory_limit", memory_limit)
    facts: Facts | None = log.__dict__.get("facts")  # counting is no reason for a pass
    if limit is None and facts is not None and (available := available_memory()) is not None:
        needed = _IN_MEMORY * facts.n_events
        if needed > available:
            limit = max(available // 4, 1)
            _log.info("%d events would take %d bytes; they are sorted out of core in %d", facts.n_events, needed, limit)
    if limit is None:
        return read_sequences(log, items, users)
    return read_out_of_core(log, items, users, memory_limit=limit)


def _set_last(positions: NDArray[np.int64], matrix: CSR, steps: Steps) -> None:
    """Overwrite the positions of entries by the last places that users' events have them at."""
    keys = matrix.row_index().astype(np.int64) * matrix.n_columns + matrix.indices
    wanted = steps.users.astype(np.int64) * matrix.n_columns + steps.items
    at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    known = keys[at] == wanted
    positions[at[known]] = steps.places[known]  # of several, the last one stays
