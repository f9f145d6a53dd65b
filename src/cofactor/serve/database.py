"""Where a store keeps its tables: what SQLite and PostgreSQL do differently, and nothing else."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cofactor.data.stored import POSTGRES, SQLITE, postgres_driver
from cofactor.errors import ParameterError
from cofactor.serve.request_error import RequestError

if TYPE_CHECKING:
    from cofactor.serve.ids import Id

__all__ = ["Database", "Postgres", "Sqlite", "database_of"]

_WAIT = 2.0  # seconds for a lock, or for a server to answer


class Database(ABC):
    """A place for tables, and how it is spoken to."""

    schema: tuple[str, ...]
    """Statements that make the tables unless they are there."""
    begin: str
    """Starts a transaction that will write."""
    errors: tuple[type[Exception], ...]
    """What its driver raises."""

    @abstractmethod
    def connect(self) -> Any:  # noqa: ANN401
        """A new connection without transactions of its own."""

    @abstractmethod
    def sql(self, statement: str) -> str:
        """A statement with ``?`` for its values as the driver writes it."""

    @abstractmethod
    def written(self, value: Id) -> Any:  # noqa: ANN401
        """An id as a value of a statement."""

    @abstractmethod
    def is_gone(self, connection: Any, error: Exception) -> bool:  # noqa: ANN401
        """Whether an error says that the other end has closed a connection, so that a new one may do."""

    @abstractmethod
    def failure(self, error: Exception) -> RequestError:
        """What a client is told of an error of the driver: nothing of files, addresses and statements."""


class Sqlite(Database):
    """A file beside the server, in WAL mode: several processes read while one writes.

    Parameters
    ----------
    path : path
    """

    # Columns of ids have no type: numbers stay numbers, text stays text.
    schema = (
        "CREATE TABLE IF NOT EXISTS cofactor_events (id INTEGER PRIMARY KEY AUTOINCREMENT, "
        "received INTEGER NOT NULL, user_id NOT NULL, item_id NOT NULL, time INTEGER NOT NULL, "
        "event_type TEXT, weight REAL, rating REAL)",
        "CREATE INDEX IF NOT EXISTS cofactor_events_of_user ON cofactor_events (user_id, id)",
        "CREATE TABLE IF NOT EXISTS cofactor_unavailable (item_id PRIMARY KEY NOT NULL) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS cofactor_state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT OR IGNORE INTO cofactor_state VALUES ('changes', 0), ('availability', 0)",
    )
    begin = "BEGIN IMMEDIATE"
    errors = (sqlite3.Error,)

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()

    def connect(self) -> sqlite3.Connection:
        """A connection whose commits have reached the disk when they return."""
        connection = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # in WAL mode less would lose commits with the power
            connection.execute("PRAGMA journal_size_limit = 67108864")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def sql(self, statement: str) -> str:
        """As it is."""
        return statement

    def written(self, value: Id) -> Id:
        """As it is."""
        return value

    def is_gone(self, connection: Any, error: Exception) -> bool:  # noqa: ANN401
        """There is no other end."""
        return False

    def failure(self, error: Exception) -> RequestError:
        """By the code of SQLite."""
        code = getattr(error, "sqlite_errorname", "") or ""
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return _failure("store_locked", "another process holds the lock of the store; try again")
        if code.startswith("SQLITE_FULL"):
            return _failure("store_full", "the disk of the store is full: nothing was written", 507)
        if code.startswith("SQLITE_READONLY"):
            return _failure("store_read_only", "the store cannot be written to")
        if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            return _failure("store_damaged", "the file of the store is no database, or damaged")
        return _failure("store_failed", f"the store could not be used ({code or type(error).__name__})")


class Postgres(Database):
    """A PostgreSQL server, for stores that several machines share.

    Parameters
    ----------
    url : str
        ``postgresql://user@host/database``; a password is better given by ``PGPASSWORD`` or a password file.
    """

    # Ids are JSON values: 12 and "12" differ, and people can read them. The lock is for workers that start at once.
    schema = (
        "SELECT pg_advisory_xact_lock(4061936)",
        "CREATE TABLE IF NOT EXISTS cofactor_events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
        "received bigint NOT NULL, user_id jsonb NOT NULL, item_id jsonb NOT NULL, time bigint NOT NULL, "
        "event_type text, weight double precision, rating double precision)",
        "CREATE INDEX IF NOT EXISTS cofactor_events_of_user ON cofactor_events (user_id, id)",
        "CREATE TABLE IF NOT EXISTS cofactor_unavailable (item_id jsonb PRIMARY KEY)",
        "CREATE TABLE IF NOT EXISTS cofactor_state (name text PRIMARY KEY, value bigint NOT NULL)",
        "INSERT INTO cofactor_state VALUES ('changes', 0), ('availability', 0) ON CONFLICT DO NOTHING",
    )
    begin = "BEGIN"

    def __init__(self, url: str) -> None:
        self._psycopg = postgres_driver()
        self._json = self._psycopg.types.json.Jsonb
        self._url = url
        self.errors = (self._psycopg.Error,)

    def connect(self) -> Any:  # noqa: ANN401
        """A connection that waits neither for a server nor for a lock for long."""
        milliseconds = int(_WAIT * 1000)
        limits = f"-c lock_timeout={milliseconds} -c statement_timeout={5 * milliseconds} -c synchronous_commit=on"
        return self._psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=int(_WAIT),
            tcp_user_timeout=milliseconds,  # a server that is gone without a word is told as one
            options=limits,
        )

    def sql(self, statement: str) -> str:
        """With ``%s`` for its values."""
        return statement.replace("?", "%s")

    def written(self, value: Id) -> Any:  # noqa: ANN401
        """As a JSON value."""
        return self._json(value)

    def is_gone(self, connection: Any, error: Exception) -> bool:  # noqa: ANN401
        """After a restart of the server, say."""
        return isinstance(error, self._psycopg.OperationalError) and bool(connection.closed)

    def failure(self, error: Exception) -> RequestError:
        """By the class of the error."""
        errors = self._psycopg.errors
        if isinstance(error, errors.LockNotAvailable | errors.DeadlockDetected | errors.QueryCanceled):
            return _failure("store_locked", "another process holds the lock of the store; try again")
        if isinstance(error, errors.DiskFull):
            return _failure("store_full", "the disk of the store is full: nothing was written", 507)
        if isinstance(error, errors.ReadOnlySqlTransaction | errors.InsufficientPrivilege):
            return _failure("store_read_only", "the store cannot be written to")
        if isinstance(error, self._psycopg.OperationalError):
            return _failure("store_unavailable", "the store cannot be reached; try again")
        return _failure("store_failed", f"the store could not be used ({type(error).__name__})")


def database_of(url: str | Path) -> Database:
    """The database that an address names: ``sqlite:///PATH``, the path of a file, or ``postgresql://...``.

    Raises
    ------
    ParameterError
        It is no such address.
    MissingExtraError
        The driver is not installed.
    """
    text = str(url)
    if text.startswith(POSTGRES):
        return Postgres(text)
    path = text.removeprefix(SQLITE)
    if not path or "://" in path or "\0" in path:
        raise ParameterError(
            f"store={text!r}: it must be the path of an SQLite file, sqlite:///PATH or postgresql://USER@HOST/DATABASE"
        )
    return Sqlite(path)


def _failure(code: str, message: str, status: int = 503) -> RequestError:
    return RequestError(status, code, message, headers={"Retry-After": "1"})
