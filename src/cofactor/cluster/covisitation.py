"""CoVisitation, and sums of it, on a cluster: every worker counts the rows of its own items.

A row of the matrix depends on the sessions that have its item, and on nothing else. So a worker reads the sessions that
have one of its items, whole, and counts as one machine does. Pairs, which are the work, are divided among the workers;
a session of many items is read by as many of them as own one. Rows come out with the same bits as on one machine.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from cofactor.cluster.engine import require_ray
from cofactor.cluster.matrix_worker import MatrixWorker
from cofactor.cluster.shards import of_range
from cofactor.data.interactions import Interactions
from cofactor.data.sequences import read_sequences, warn_without_session
from cofactor.data.sessions import Sessions
from cofactor.data.sharded import Sharded
from cofactor.errors import DataError
from cofactor.kernels.csr import CSR, offsets
from cofactor.models.sessions._covisitation_count import Capped
from cofactor.models.sessions.covisitation import CoVisitation, Part
from cofactor.models.sessions.covisitation_sum import CoVisitationSum

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["VisitWorker", "fit_covisitation"]


class Visits(NamedTuple):
    """What a worker tells of its sessions: its events without any, the types that occur, and the span of the times."""

    n_events: int
    without_session: int
    type_names: tuple[str, ...] | None
    span: tuple[int, int] | None


class VisitWorker(MatrixWorker):
    """A worker of a matrix that counts which items are visited together with its own."""

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments)
        self.visits: tuple[Sessions | None, Visits] | None = None

    def look(self) -> Visits:
        """Read the sessions that have one of this worker's items, once."""
        if self.visits is None:
            self.visits = self._read()
        return self.visits[1]

    def _read(self) -> tuple[Sessions | None, Visits]:
        of, (begin, end) = self.described, self.bounds(1)
        session = str(of.roles.get("session") or of.roles["user"])
        if begin == end:
            return None, Visits(0, 0, None, None)
        mine = of_range(of.items, str(of.roles["item"]), begin, end)
        found = pl.concat([frame.filter(mine).select(session) for frame in of.frames]).collect(engine="streaming")
        ids, n_without = found[session].drop_nulls().unique(), found[session].null_count()
        if ids.is_empty():
            return None, Visits(0, n_without, None, None)
        read = read_sequences(of.log(pl.col(session).is_in(ids.implode())), of.items)
        sessions = Sessions(
            read.indptr, read.items, len(of.items), times=read.times, types=read.types, type_names=read.type_names
        )
        span = None if read.times is None else (int(read.times.min()), int(read.times.max()))
        names = None if read.types is None else read.type_names
        return sessions, Visits(sessions.n_events, n_without, names, span)

    def count(self, model: CoVisitation, names: tuple[str, ...], span: tuple[int, int]) -> tuple[CSR, Capped]:
        """The rows of this worker's items, and what its own long sessions lose: those whose first item is its own.

        Parameters
        ----------
        model : CoVisitation
        names, span
            Types and times of the whole log.
        """
        self.look()
        assert self.visits is not None
        sessions, (begin, end) = self.visits[0], self.bounds(1)
        if sessions is None:
            empty = CSR(np.zeros(end - begin + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), 0)
            return empty, Capped(0, 0, 0)
        if sessions.types is not None:
            codes = np.array([names.index(name) for name in sessions.type_names], np.uint8)
            sessions = replace(sessions, types=codes[sessions.types], type_names=names)
        model.threads = self.threads
        rows, _ = model._count(sessions, False, Part((begin, end), span))
        at = rows.indptr[begin : end + 1]
        part = slice(int(at[0]), int(at[-1]))
        own = CSR(at - at[0], rows.indices[part], rows.values[part], rows.n_columns)
        return own, _capped(sessions, model._type_table(sessions), model.last_events, (begin, end))


def _capped(sessions: Sessions, table: NDArray[np.float64] | None, most: int | None, owned: tuple[int, int]) -> Capped:
    """What ``last_events`` leaves out of the sessions whose first item, in the order of rows, is one of some."""
    if most is None:
        return Capped(0, 0, 0)
    takes_part = np.ones(sessions.n_events, np.bool_)
    if table is not None and sessions.types is not None:
        takes_part = table[sessions.types] > 0
    first = np.minimum.reduceat(np.where(takes_part, sessions.items, sessions.n_items), sessions.indptr[:-1])
    lengths = np.add.reduceat(takes_part.astype(np.int64), sessions.indptr[:-1])
    lengths = lengths[(first >= owned[0]) & (first < owned[1])]
    cut = lengths[lengths > most]
    return Capped(len(cut), int((cut - most).sum()), int(cut.max(initial=0)))


def fit_covisitation(
    model: CoVisitation | CoVisitationSum,
    x: Any,  # noqa: ANN401
    *,
    progress: bool | None = None,  # it is not told while the workers count
) -> None:
    """Fit a model on ``ClusterInteractions``: one matrix, or several that are added up."""
    model._check()
    counts = _Counts(x)
    if isinstance(model, CoVisitationSum):
        model._add_up(counts, len(x.items))
    else:
        counts.fit(model)
    model.interactions_ = counts.interactions
    if n := sum(one.without_session for one in counts.visits):
        warn_without_session(str(x.described.roles["session"]), n)


class _Counts(Sharded):
    """What the workers count for one matrix after the other: they read their sessions once."""

    def __init__(self, x: Any) -> None:  # noqa: ANN401
        self.x, self.pool = x, x.pool()

    @cached_property
    def visits(self) -> list[Visits]:
        """What the workers tell of their sessions."""
        told: list[Visits] = self.pool.steadily(lambda: self.pool.all("look"))
        if not sum(one.n_events for one in told):
            raise DataError("there are no events to make sessions of")
        return told

    @cached_property
    def interactions(self) -> Interactions:
        """What the models keep, brought here once."""
        return Interactions(self.x.users, self.x.items, self.x.matrix())

    def fit(self, model: CoVisitation, **options: Any) -> None:  # noqa: ANN401
        names = tuple(sorted({name for one in self.visits for name in one.type_names or ()}))
        spans = [one.span for one in self.visits if one.span is not None]
        span = (min(oldest for oldest, _ in spans), max(newest for _, newest in spans)) if spans else (0, 0)
        given = require_ray().put(model)
        found: list[tuple[CSR, Capped]] = self.pool.steadily(lambda: self.pool.all("count", given, names, span))
        rows, capped = zip(*found, strict=True)
        model.item_weights_ = CSR(
            offsets(np.concatenate([np.diff(part.indptr) for part in rows])),
            np.concatenate([part.indices for part in rows]),
            np.concatenate([part.values for part in rows]),
            len(self.x.items),
        )
        model.interactions_ = self.interactions
        most = max(c.longest for c in capped)
        model._warn(Capped(sum(c.sessions for c in capped), sum(c.events for c in capped), most))
