"""Up to where a model has seen the events that a store holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from cofactor.serve.events import as_utc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cofactor.serve.events import Event

__all__ = ["NEVER", "Entry", "Trained"]


class Entry(NamedTuple):
    """An event as it is stored."""

    number: int
    received: int
    event: Event


@dataclass(frozen=True, slots=True)
class Trained:
    """Up to where a model has seen the events.

    Parameters
    ----------
    stored : int
        Number of the last event of the store that was in the training data.
    newest : int
        Time of the newest event of the training data, microseconds since 1970.
    saved : int
        When the model was saved: what the store received later was not there to train on, whatever its time.
    """

    stored: int = 0
    newest: int = 0
    saved: int = 0

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> Trained:
        """What a saved model says of its training data; where it says nothing, what happened before it was saved."""
        log = header.get("log")
        log = log if isinstance(log, dict) else {}
        if isinstance(stored := log.get("stored"), int):
            return cls(stored=stored)
        saved = _microseconds(header["created"])
        return cls(newest=_microseconds(log.get("newest")) or saved, saved=saved)

    def knows(self, entry: Entry) -> bool:
        """Whether an event was there to train on."""
        return entry.number <= self.stored or (entry.received <= self.saved and entry.event.time <= self.newest)


def _microseconds(time: object) -> int:
    """Since 1970, of ISO 8601 text as models hold it; 0 where it is none."""
    try:
        read = as_utc(str(time))
    except ValueError:
        return 0
    return int(read.timestamp() * 1_000_000)


NEVER = Trained()
