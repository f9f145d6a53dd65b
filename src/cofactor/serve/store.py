"""A durable store of what just happened and of what is out of stock, seen alike by every worker.

Whoever gets an answer from :meth:`Store.append` may pull the plug: the events are on the disk. Other processes see them
with their next :meth:`Store.refresh`, which costs one read of one row unless something has changed.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, NamedTuple

from cofactor.checks import check_at_least
from cofactor.serve.database import Database, database_of
from cofactor.serve.events import Event, now
from cofactor.serve.request_error import RequestError
from cofactor.serve.trained import NEVER, Entry, Trained

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from cofactor.serve.ids import Id

__all__ = ["Stock", "Store", "open_store"]

_log = logging.getLogger(__name__)

_GROUP = 10_000  # events of one transaction
_CACHED = 200_000  # users whose events are kept in memory
_CATCH_UP = 10_000  # events of others after which the memory is emptied rather than looked through
_END = 20.0  # seconds for the last writes, and for a read under way
_PAUSE = 1.0  # seconds after a failed read in which nobody waits for the next one

_INSERT = (
    "INSERT INTO cofactor_events (received, user_id, item_id, time, event_type, weight, rating) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_HISTORY = (
    "SELECT id, received, user_id, item_id, time, event_type, weight, rating FROM cofactor_events WHERE user_id = ? "
    "ORDER BY id DESC LIMIT ?"
)
_COUNT_UP = "UPDATE cofactor_state SET value = value + 1 WHERE name = ?"


class Stock(NamedTuple):
    """What is out of stock, and another number for every other such set: what is derived from it is kept as long."""

    number: int = -1
    out: frozenset[Id] = frozenset()


class _Task(NamedTuple):
    """What waits to be written, and who waits for it."""

    events: Sequence[Event]
    available: Mapping[Id, bool]
    done: Future[int]
    received: int


class Store:
    """Events and availability in a database; made by :func:`open_store`, one in each process.

    Methods may be called from any thread. What is written by several at once goes to the disk in one transaction.

    Parameters
    ----------
    database : Database
    longest : int
        How many events of a user are read, the newest.

    Attributes
    ----------
    stock : Stock
        As of the last :meth:`refresh`.

    Raises
    ------
    RequestError
        The database cannot be used; no message tells where it lies.
    """

    def __init__(self, database: Database, *, longest: int = 1000) -> None:
        check_at_least("longest", longest, 1, whole=True)
        self._database, self._longest = database, int(longest)
        self.stock = Stock()
        self._lock = threading.RLock()  # of what is read
        self._entry = threading.Lock()  # of what waits to be written: nobody holds it while a database takes its time
        self._reader: Any = None
        self._changes, self._last = -1, 0
        self._cache: dict[Id, tuple[Entry, ...]] = {}
        self._failed: tuple[float, RequestError] | None = None
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._closed = False
        self._create()
        self.refresh()
        self._writer = threading.Thread(target=self._write_all, name="cofactor-store", daemon=True)
        self._writer.start()

    # Writing.

    def submit(self, events: Sequence[Event]) -> Future[int]:
        """Append events in the background; the future gives their number once they are on the disk, or an error."""
        return self._put(tuple(events), {})

    def append(self, events: Sequence[Event]) -> int:
        """Append events; when this returns they are on the disk, and their number is given."""
        return self.submit(events).result()

    def submit_availability(self, available: Mapping[Id, bool]) -> Future[int]:
        """Take items out of stock (False) or back in (True); the future gives how many are out afterwards."""
        return self._put((), dict(available))

    def set_available(self, available: Mapping[Id, bool]) -> int:
        """As :meth:`submit_availability`, and wait."""
        return self.submit_availability(available).result()

    def _put(self, events: Sequence[Event], available: Mapping[Id, bool]) -> Future[int]:
        done: Future[int] = Future()
        with self._entry:
            if self._closed:
                raise RequestError(503, "store_closed", "the server is stopping and takes nothing more")
            self._tasks.put(_Task(events, available, done, now()))
        return done

    def _write_all(self) -> None:
        """What the writing thread does until the store is closed."""
        connection: Any = None
        more = True
        while more:
            group, more = self._next_group()
            if group:
                connection = self._write(connection, group)
        if connection is not None:
            with suppress(*self._database.errors):
                connection.close()

    def _next_group(self) -> tuple[list[_Task], bool]:
        """All that waits, and whether there may come more."""
        group: list[_Task] = []
        n = 0
        while n < _GROUP:
            try:
                task = self._tasks.get(block=not group)
            except queue.Empty:
                break
            if task is None:
                return group, False
            if task.done.set_running_or_notify_cancel():  # else its client is gone
                group.append(task)
                n += len(task.events)
        return group, True

    def _write(self, connection: Any, group: list[_Task]) -> Any:  # noqa: ANN401
        """One transaction for all; the connection to go on with, None after an error."""
        n_out = 0
        try:
            connection = self._begun(connection)
            cursor = connection.cursor()
            cursor.execute(self._sql(_COUNT_UP), ("changes",))  # in PostgreSQL this is what others wait for
            if events := [self._row(task.received, event) for task in group for event in task.events]:
                cursor.executemany(self._sql(_INSERT), events)
            if any(task.available for task in group):
                n_out = self._write_availability(cursor, group)
            cursor.execute("COMMIT")
        except Exception as error:
            if connection is not None:
                with suppress(*self._database.errors):
                    connection.rollback()  # closing alone keeps the lock as long as a cursor lives
                    connection.close()
            failure = self._failure(error)
            for task in group:
                task.done.set_exception(failure)
            return None
        for task in group:
            task.done.set_result(len(task.events) if task.events or not task.available else n_out)
        return connection

    def _begun(self, connection: Any) -> Any:  # noqa: ANN401
        """A connection in a transaction: the given one, or a new one where the server has closed it meanwhile."""
        if connection is not None:
            try:
                connection.execute(self._database.begin)
            except self._database.errors as error:
                if not self._database.is_gone(connection, error):
                    raise
            else:
                return connection
        connection = self._database.connect()
        connection.execute(self._database.begin)
        return connection

    def _write_availability(self, cursor: Any, group: list[_Task]) -> int:  # noqa: ANN401
        changes: dict[Id, bool] = {}
        for task in group:
            changes |= task.available
        written = self._database.written
        for there, statement in (
            (True, "DELETE FROM cofactor_unavailable WHERE item_id = ?"),
            (False, "INSERT INTO cofactor_unavailable (item_id) VALUES (?) ON CONFLICT DO NOTHING"),
        ):
            if rows := [(written(item),) for item, available in changes.items() if available is there]:
                cursor.executemany(self._sql(statement), rows)
        cursor.execute(self._sql(_COUNT_UP), ("availability",))
        return int(cursor.execute("SELECT count(*) FROM cofactor_unavailable").fetchone()[0])

    def _row(self, received: int, event: Event) -> tuple[Any, ...]:
        user, item, *rest = astuple(event)
        return (received, self._database.written(user), self._database.written(item), *rest)

    # Reading.

    def refresh(self) -> None:
        """Take notice of what any process has written; cheap, for before every batch of requests.

        Raises
        ------
        RequestError
            The database cannot be read. For a second nobody tries again.
        """
        with self._lock:
            state = dict(self._read("SELECT name, value FROM cofactor_state"))
            if state["changes"] == self._changes:
                return
            self._catch_up()
            if state["availability"] != self.stock.number:
                out = frozenset(row[0] for row in self._read("SELECT item_id FROM cofactor_unavailable"))
                self.stock = Stock(state["availability"], out)
            self._changes = state["changes"]

    def _catch_up(self) -> None:
        """Forget the histories of those who have new events."""
        last = self._read("SELECT max(id) FROM cofactor_events")[0][0] or 0
        if last - self._last > _CATCH_UP:
            self._cache.clear()
        elif last > self._last and self._cache:
            for (user,) in self._read("SELECT user_id FROM cofactor_events WHERE id > ?", self._last):
                self._cache.pop(user, None)
        self._last = last

    def history(self, user: Id, trained: Trained = NEVER) -> tuple[Event, ...]:
        """What a user did that a model does not know of, as of the last :meth:`refresh`; the oldest first.

        Parameters
        ----------
        user : id
        trained : Trained
            Up to where the model has seen the events.
        """
        if not self._last:
            return ()
        stored = self._cache.get(user)
        if stored is None:
            stored = self._read_history(user)
        return tuple(entry.event for entry in stored if not trained.knows(entry))

    def _read_history(self, user: Id) -> tuple[Entry, ...]:
        with self._lock:
            rows = self._read(_HISTORY, self._database.written(user), self._longest)
            entries = (Entry(row[0], row[1], Event(*row[2:])) for row in rows)
            stored = tuple(sorted(entries, key=lambda entry: (entry.event.time, entry.number)))
            while len(self._cache) >= _CACHED:
                del self._cache[next(iter(self._cache))]
            self._cache[user] = stored
            return stored

    def last(self) -> int:
        """Number of the last event that is stored."""
        self.refresh()
        return self._last

    def _read(self, statement: str, *values: Any) -> list[Any]:  # noqa: ANN401
        if self._failed is not None and time.monotonic() < self._failed[0]:
            raise self._failed[1]
        try:
            rows = self._rows(statement, values)
        except Exception as error:
            failure = self._failure(error)
            self._failed = (time.monotonic() + _PAUSE, failure)
            raise failure from error
        self._failed = None
        return rows

    def _rows(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        """By the connection there is, or by a new one where the server has closed it meanwhile."""
        was_there = self._reader is not None
        try:
            if self._reader is None:
                self._reader = self._database.connect()
            rows: list[Any] = self._reader.execute(self._sql(statement), values).fetchall()
        except self._database.errors as error:
            reader, self._reader = self._reader, None
            again = was_there and self._database.is_gone(reader, error)
            if reader is not None:
                with suppress(*self._database.errors):
                    reader.close()
            if not again:
                raise
            return self._rows(statement, values)
        return rows

    # Both.

    def _create(self) -> None:
        """Make the tables unless they are there."""
        try:
            connection = self._database.connect()
            try:
                connection.execute(self._database.begin)
                for statement in self._database.schema:
                    connection.execute(statement)
                connection.execute("COMMIT")
            finally:
                connection.close()
        except self._database.errors as error:
            raise self._failure(error) from error

    def _sql(self, statement: str) -> str:
        return self._database.sql(statement)

    def _failure(self, error: Exception) -> RequestError:
        """What an error of the driver becomes; the error itself goes to the log."""
        if not isinstance(error, self._database.errors):
            _log.error("the store", exc_info=error)
            return RequestError(500, "internal", "the store could not be used")
        _log.warning("the store: %s: %s", type(error).__name__, error)
        return self._database.failure(error)

    def close(self) -> None:
        """Write what waits, then let go of the database; one that hangs is left as it is after a while."""
        with self._entry:
            if self._closed:
                return
            self._closed = True
            self._tasks.put(None)
        self._writer.join(_END)
        if self._lock.acquire(timeout=_END):
            try:
                if self._reader is not None:
                    self._reader.close()
                    self._reader = None
            finally:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_store(url: str | Path, *, longest: int = 1000) -> Store:
    """Open a store, making its tables if it is new.

    Parameters
    ----------
    url : str or path
        The path of a file, ``sqlite:///PATH``, or ``postgresql://USER@HOST/DATABASE`` (extra ``postgres``).
    longest : int
        How many events of a user are read, the newest.

    Raises
    ------
    ParameterError
        The address is none of these.
    RequestError
        The store cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> from cofactor.serve.events import check_event
    >>> with tempfile.TemporaryDirectory() as folder, open_store(folder + "/events.db") as store:
    ...     store.append([check_event("ann", 7), check_event("ann", 8)])
    ...     store.set_available({8: False})
    ...     store.refresh()
    ...     [event.item for event in store.history("ann")], store.stock.out
    2
    1
    ([7, 8], frozenset({8}))
    """
    return Store(database_of(url), longest=longest)
