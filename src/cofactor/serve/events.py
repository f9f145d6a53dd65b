"""What just happened: one event as clients send it, checked, and as the store keeps it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import time_ns
from typing import TYPE_CHECKING, Any

from cofactor.checks import is_number, shown
from cofactor.serve.request_error import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.serve.ids import Id

__all__ = ["Event", "as_utc", "check_event", "check_id", "is_id", "now", "read_time"]

_LONGEST_ID = 1024
_LONGEST_TYPE = 64
_SECOND = 1_000_000
_OLDEST = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp()) * _SECOND
_AHEAD = int(timedelta(days=1).total_seconds()) * _SECOND
_SCALES = ((_SECOND, 1), (1000, 1), (1, 1), (1, 1000))  # of seconds, milli-, micro- and nanoseconds: times, divided by
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")  # what UTF-8, or a text of PostgreSQL, cannot hold


@dataclass(frozen=True, slots=True)
class Event:
    """Somebody did something with an item.

    Parameters
    ----------
    user, item : int or str
        12 and "12" are two.
    time : int
        Microseconds since 1970, UTC.
    event_type : str, optional
    weight, rating : float, optional
    """

    user: Id
    item: Id
    time: int
    event_type: str | None = None
    weight: float | None = None
    rating: float | None = None


def now() -> int:
    """Microseconds since 1970."""
    return time_ns() // 1000


def as_utc(text: str) -> datetime:
    """The time of ISO 8601 text, which is UTC unless it says otherwise; a ValueError where it is none."""
    given = datetime.fromisoformat(text)
    return given if given.tzinfo is not None else given.replace(tzinfo=UTC)


def check_event(
    user: object,
    item: object,
    time: object = None,
    *,
    event_type: object = None,
    weight: object = None,
    rating: object = None,
    field: str = "events[0]",
    at: int | None = None,
) -> Event:
    """An event of what a client sent.

    Parameters
    ----------
    user, item
        Ids, whole numbers of 64 bits or text.
    time
        ISO 8601 text (UTC unless it says otherwise), or a number since 1970 of seconds, milli-, micro- or nanoseconds,
        told by its size. None is now.
    event_type, weight, rating
        Text; a number above 0; any finite number. May be None.
    field : str
        Where the event stood, for messages.
    at : int, optional
        What now is.

    Raises
    ------
    RequestError
        422; ``field`` names what is at fault.
    """
    at = now() if at is None else at
    user, item = check_id(user, f"{field}.user"), check_id(item, f"{field}.item")
    when = at if time is None else read_time(time, at, f"{field}.time")
    if event_type is not None:
        _check_type(event_type, f"{field}.event_type")
    if weight is not None and not (is_number(weight) and weight > 0):  # type: ignore[operator]
        raise _wrong(f"{field}.weight", weight, "a finite number above 0", "bad_weight")
    if rating is not None and not is_number(rating):
        raise _wrong(f"{field}.rating", rating, "a finite number", "bad_rating")
    as_float: Callable[[Any], float | None] = lambda value: None if value is None else float(value)  # noqa: E731
    return Event(user, item, when, event_type, as_float(weight), as_float(rating))  # type: ignore[arg-type]


def is_id(value: Id) -> bool:
    """Whether an id is one that JSON, SQLite and PostgreSQL hold alike; the store has no others."""
    if isinstance(value, str):
        return 0 < len(value) <= _LONGEST_ID and not _UNWRITABLE.search(value)
    return -(2**63) <= value < 2**63


def check_id(value: object, field: str) -> Id:
    """An id that JSON, SQLite and PostgreSQL hold alike; a RequestError otherwise."""
    if isinstance(value, str):
        if not is_id(value):
            raise _wrong(field, value, f"text of 1 to {_LONGEST_ID} letters, without NUL", "bad_id")
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        if not is_id(value):
            raise _wrong(field, value, "a whole number of 64 bits", "bad_id")
        return value
    raise _wrong(field, value, "a whole number or text", "bad_id")


def read_time(value: object, at: int, field: str) -> int:
    """Microseconds since 1970 of a time as clients write it; between 1990 and tomorrow, or a RequestError."""
    if isinstance(value, str):
        try:
            when = (as_utc(value) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        except (ValueError, OverflowError):
            raise _wrong(field, value, "ISO 8601, such as 2026-05-01T12:00:00Z", "bad_time") from None
        fits = _OLDEST <= when <= at + _AHEAD
    elif is_number(value):
        sizes = (int(value * times) // per for times, per in _SCALES)  # type: ignore[operator]
        when = next((size for size in sizes if _OLDEST <= size <= at + _AHEAD), 0)
        fits = when > 0
    else:
        raise _wrong(field, value, "ISO 8601 text, or a number since 1970", "bad_time")
    if not fits:
        raise _wrong(field, value, "a time from 1990 to tomorrow", "implausible_time")
    return when


def _check_type(value: object, field: str) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TYPE or _UNWRITABLE.search(value):
        raise _wrong(field, value, f"text of 1 to {_LONGEST_TYPE} letters", "bad_event_type")


def _wrong(field: str, value: object, allowed: str, code: str) -> RequestError:
    return RequestError(422, code, f"{field} must be {allowed}; got {shown(value)}", field)
