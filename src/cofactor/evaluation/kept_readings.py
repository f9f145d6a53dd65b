"""Readings of tests beside results in a folder, so that the next process goes on counting.

``readings.jsonl`` has a line for each: the test, by a number that is the same in every process, the model, when, by
which process, and on what the model's parameters were chosen. Lines are added, each at one go, so that two processes
lose none; one that a crash cut off counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import polars as pl

from cofactor.checks import warn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from cofactor.metrics.hits import Relevance

__all__ = ["KeptReadings", "keeping", "readings_kept"]

_FILE = "readings.jsonl"
_PROCESS = uuid4().hex


class KeptReadings:
    """The readings of a folder.

    Parameters
    ----------
    folder : Path
    model : str, optional
        Whose readings are noted, by its name there.

    Attributes
    ----------
    of_model : int
        How often the test that was noted last has been read for this model, as far as the folder tells.
    """

    def __init__(self, folder: Path, model: str | None = None) -> None:
        self._path, self._model = folder / _FILE, model
        self.of_model = 0

    def note(self, test: Relevance, n: int, chosen_on: str | None) -> int:
        """Add readings, and give how many other processes, or this one as another, have noted of this test."""
        key = _key(test)
        row = {"test": key, "readings": n, "model": self._model, "chosen_on": chosen_on, "process": _PROCESS}
        line = json.dumps(row | {"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}).encode()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:  # at one go; the first line break ends what a crash may have left
                os.write(file, b"\n" + line + b"\n")
            finally:
                os.close(file)
        except OSError as error:
            warn(f"{self._path}: that a test was read could not be kept: {error}")
        self.of_model = max(n, sum(of for model, _, of in self._rows(key) if model == self._model))
        return self.others(test)

    def others(self, test: Relevance) -> int:
        """How often other processes have read a test."""
        return sum(n for _, process, n in self._rows(_key(test)) if process != _PROCESS)

    def _rows(self, key: str) -> Iterator[tuple[str | None, str, int]]:
        """Model, process and number, of a test."""
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return
        for line in lines:
            try:
                row = json.loads(line)
                if row["test"] == key:
                    yield row["model"], row["process"], int(row["readings"])
            except (ValueError, TypeError, LookupError):  # empty, or cut off
                continue


_OPEN: ContextVar[KeptReadings | None] = ContextVar("readings are kept in", default=None)


@contextmanager
def readings_kept(folder: Path | None, model: str | None = None) -> Iterator[KeptReadings | None]:
    """Keep what is read meanwhile in a folder; nothing is kept without one."""
    kept = None if folder is None else KeptReadings(folder, model)
    token = _OPEN.set(kept)
    try:
        yield kept
    finally:
        _OPEN.reset(token)


def keeping() -> KeptReadings | None:
    """Where readings are kept at the moment."""
    return _OPEN.get()


def _key(test: Relevance) -> str:
    """The same for the same pairs, whatever the process, the type of the ids and the order."""
    users, items = _digests(test.users, 1), _digests(test.items, 2)
    with np.errstate(over="ignore"):
        return f"{test.n_pairs}-{int((users[test.user] * items[test.item]).sum()):016x}"


def _digests(ids: pl.Series, seed: int) -> NDArray[np.uint64]:
    """An odd number for each id."""
    if ids.dtype.is_integer():
        x: NDArray[np.uint64] = ids.cast(pl.Int64, strict=False).fill_null(-1).to_numpy().view(np.uint64)
        with np.errstate(over="ignore"):  # splitmix64
            x = x + np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (x ^ (x >> np.uint64(31))) | np.uint64(1)
    texts = (one if isinstance(one, bytes) else str(one).encode() for one in ids.to_list())
    mixed = b"".join(hashlib.blake2b(one, digest_size=8, salt=bytes([seed])).digest() for one in texts)
    return np.frombuffer(mixed, np.uint64) | np.uint64(1)
