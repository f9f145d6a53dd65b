"""Who may ask: keys for reading, for sending events and for administration, and how often each may ask.

A file of keys is TOML, one table for each::

    [shop]
    key = "kq3v...9w"       # or sha256 = "...", so that the file holds no secret
    role = "write"          # read: ask; write: also send events; admin: also change what is served
    rate = 100              # requests a second, optional
    burst = 200             # requests at once after a pause, optional
"""

from __future__ import annotations

import hashlib
import hmac
import math
import mmap
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from cofactor.checks import is_number, nearest, shown
from cofactor.errors import DataError, ParameterError
from cofactor.serve.request_error import RequestError
from cofactor.system.toml import read_toml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Self

__all__ = ["Key", "Keys", "Role"]

Role: TypeAlias = Literal["read", "write", "admin"]
_ROLES = get_args(Role)  # each may what those before it may

_SHORTEST = 16
_KEY = re.compile(r"[\x21-\x7e]+")  # what an HTTP header carries
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_FIELDS = ("key", "sha256", "role", "rate", "burst")
_VARIABLE = "COFACTOR_KEYS"


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is known.

    Parameters
    ----------
    name : str
        For logs and metrics; no secret.
    digest : bytes
        SHA-256 of the key.
    role : {"read", "write", "admin"}
    rate : float, optional
        Requests a second; None is any number.
    burst : float
        Requests at once after a pause.
    number : int
        Its place among the keys.
    """

    name: str
    digest: bytes
    role: Role = "read"
    rate: float | None = None
    burst: float = 1.0
    number: int = 0


class Keys:
    """The keys of a server.

    Parameters
    ----------
    keys : iterable of Key
        None: everybody may do everything.
    clock : callable
        Seconds, the same for all processes of a machine.
    spent : list or view of float, optional
        One number for each key, shared by the processes that serve together; see :meth:`shared`.

    Raises
    ------
    ParameterError
        Two of them are the same.
    """

    def __init__(
        self,
        keys: Iterable[Key] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        spent: list[float] | memoryview[float] | None = None,
    ) -> None:
        self._keys = [Key(k.name, k.digest, k.role, k.rate, k.burst, n) for n, k in enumerate(keys)]
        self._by_digest: dict[bytes, Key] = {}
        for key in self._keys:
            if (same := self._by_digest.setdefault(key.digest, key).name) != key.name:
                raise ParameterError(f"{same!r} and {key.name!r} are the same key; give each its own")
        self._clock = clock
        self._spent: list[float] | memoryview[float] = [0.0] * len(self._keys) if spent is None else spent

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    @classmethod
    def read(cls, path: str | Path | None = None, environment: Mapping[str, str] = os.environ) -> Self:
        """The keys of a file, and of the environment variable ``COFACTOR_KEYS``: ``ROLE:KEY``, separated by commas.

        Raises
        ------
        DataError
            The file or the variable cannot be read as keys; the message tells the place, never a key.
        """
        keys = [] if path is None else _of_file(path)
        return cls([*keys, *_of_variable(environment.get(_VARIABLE, ""))])

    def shared(self, path: str | Path) -> Self:
        """The same keys, with rates that hold for all processes which share a file.

        Where two processes count the same request at once one of them may not count.
        """
        size = 8 * max(1, len(self._keys))
        with Path(path).open("a+b") as file:
            file.truncate(max(size, file.seek(0, os.SEEK_END)))
            numbers = memoryview(mmap.mmap(file.fileno(), size)).cast("d")
        return type(self)(self._keys, clock=self._clock, spent=numbers)

    def check(self, header: str | None, role: Role) -> Key | None:
        """The key of a request that may go on; None where there are no keys at all.

        Parameters
        ----------
        header : str or None
            ``Authorization: Bearer KEY``, or the value of ``X-API-Key``.
        role : {"read", "write", "admin"}
            What is asked for.

        Raises
        ------
        RequestError
            401: no key or an unknown one. 403: the key is for less. 429: it has asked too often; ``Retry-After`` tells
            when to come again.
        """
        if not self._keys:
            return None
        key = self._known(header)
        if _ROLES.index(key.role) < _ROLES.index(role):
            raise RequestError(403, "key_for_less", f"this takes a key for {role}; the one given is for {key.role}")
        self._count(key)
        return key

    def _known(self, header: str | None) -> Key:
        headers = {"WWW-Authenticate": "Bearer"}
        if not header:
            raise RequestError(
                401, "no_key", "give a key, as Authorization: Bearer KEY or as X-API-Key: KEY", headers=headers
            )
        scheme, _, rest = header.partition(" ")
        given = rest.strip() if scheme.lower() == "bearer" else header
        digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
        # Found by its digest, which nobody can choose: how long that takes tells nothing of the keys.
        found = self._by_digest.get(digest)
        if found is None or not hmac.compare_digest(found.digest, digest):
            raise RequestError(401, "unknown_key", "the key is not known here", headers=headers)
        return found

    def _count(self, key: Key) -> None:
        """Let a request through at the key's rate (the generic cell rate algorithm, one number for each key)."""
        if key.rate is None:
            return
        now = self._clock()
        free = max(self._spent[key.number], now)  # when all requests so far would have come at the steady rate
        wait = free + 1 / key.rate - now - key.burst / key.rate
        if wait > 1e-9:
            told = {"Retry-After": str(math.ceil(wait))}
            raise RequestError(429, "too_many_requests", f"this key may ask {key.rate:g} times a second", headers=told)
        self._spent[key.number] = free + 1 / key.rate


def _of_file(path: str | Path) -> list[Key]:
    file = read_toml(path)
    return [
        _of_table(f"{file.path.name}, line {file.line(name)}: {name}", name, table) for name, table in file.data.items()
    ]


def _of_table(where: str, name: str, table: Any) -> Key:  # noqa: ANN401
    if not isinstance(table, dict):
        raise DataError(f"{where} must be a table, as [{name}] with key = and role =")
    for field in table:
        if field not in _FIELDS:
            raise DataError(f"{where}: {field} is not known{nearest(field, _FIELDS)}; known are {', '.join(_FIELDS)}")
    if ("key" in table) == ("sha256" in table):
        raise DataError(f"{where}: give key = or sha256 =, one of them")
    role, rate, burst = table.get("role", "read"), table.get("rate"), table.get("burst")
    if role not in _ROLES:
        raise DataError(f"{where}: role must be one of {', '.join(_ROLES)}, got {shown(role)}{nearest(role, _ROLES)}")
    for what, value in (("rate", rate), ("burst", burst)):
        if value is not None and not (is_number(value) and value >= (1 if what == "burst" else 1e-3)):
            raise DataError(f"{where}: {what} must be a number of at least {'1' if what == 'burst' else '0.001'}")
    if burst is not None and rate is None:
        raise DataError(f"{where}: burst without a rate; give rate = as well")
    return Key(name, _digest(where, table), role, rate, max(rate or 1.0, 1.0) if burst is None else float(burst))


def _digest(where: str, table: Mapping[str, Any]) -> bytes:
    if "sha256" in table:
        if not isinstance(table["sha256"], str) or not _SHA256.fullmatch(table["sha256"]):
            raise DataError(f"{where}: sha256 must be 64 hexadecimal digits")
        return bytes.fromhex(table["sha256"])
    key = table["key"]
    if not isinstance(key, str) or len(key) < _SHORTEST or not _KEY.fullmatch(key):
        raise DataError(
            f"{where}: a key is at least {_SHORTEST} letters, digits and signs, no spaces; make one by: "
            "python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return hashlib.sha256(key.encode()).digest()


def _of_variable(text: str) -> list[Key]:
    keys = []
    for n, part in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        role, colon, key = part.partition(":")
        where = f"{_VARIABLE}, key {n}"
        if not colon:
            raise DataError(f"{where}: write ROLE:KEY, with a role of {', '.join(_ROLES)}")
        keys.append(_of_table(where, f"environment-{n}", {"role": role, "key": key}))
    return keys
