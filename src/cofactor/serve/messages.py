"""Requests and answers as they stand in JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

from cofactor.serve.ids import Id  # noqa: TC001  # msgspec reads the annotations
from cofactor.serve.request_error import RequestError

__all__ = [
    "Availability",
    "Event",
    "Explain",
    "NewEvent",
    "NewEvents",
    "Pair",
    "Person",
    "Predict",
    "Recommend",
    "Reload",
    "decoder",
    "encode",
]


class Event(Struct, forbid_unknown_fields=True):
    """Something that somebody did: an entry of a history."""

    item: Id
    weight: float | None = None
    time: str | float | None = None
    rating: float | None = None
    event_type: str | None = None


class Person(Struct, forbid_unknown_fields=True):
    """Who a list is for: somebody the model knows, a history, or both."""

    user: Id | None = None
    history: list[Event] | None = None


class Recommend(Struct, forbid_unknown_fields=True):
    """Body of ``POST /recommend``."""

    users: list[Person] | None = None
    user: Id | None = None
    history: list[Event] | None = None
    k: int = 10
    exclude_seen: bool = True
    exclude: list[Id] | None = None
    items: list[Id] | None = None
    filter: str | None = None
    fallback: bool = True
    model: str | None = None


class Pair(Struct, forbid_unknown_fields=True):
    """A user and an item."""

    user: Id
    item: Id


class Predict(Struct, forbid_unknown_fields=True):
    """Body of ``POST /predict``."""

    pairs: list[Pair]
    model: str | None = None


class Explain(Struct, forbid_unknown_fields=True):
    """Body of ``POST /explain``."""

    item: Id
    user: Id | None = None
    history: list[Event] | None = None
    k: int = 10
    model: str | None = None


class NewEvent(Struct, forbid_unknown_fields=True):
    """Something that somebody just did."""

    user: Id
    item: Id
    time: str | float | None = None
    event_type: str | None = None
    weight: float | None = None
    rating: float | None = None


class NewEvents(Struct, forbid_unknown_fields=True):
    """Body of ``POST /events``."""

    events: list[NewEvent]


class Availability(Struct, forbid_unknown_fields=True):
    """Body of ``PUT /availability``: items with text for an id by name, or lists of what goes out and comes in."""

    items: dict[str, bool] | None = None
    out: list[Id] | None = None
    into: list[Id] | None = field(name="in", default=None)


class Reload(Struct, forbid_unknown_fields=True):
    """Body of ``POST /reload`` and of ``POST /rollback``."""

    model: str | None = None


encode = msgspec.json.Encoder().encode


class decoder:  # noqa: N801  # used as a function that remembers its type
    """Reads bodies of one kind; what does not fit is a :class:`RequestError`."""

    def __init__(self, kind: Any) -> None:  # noqa: ANN401
        self._decode = msgspec.json.Decoder(kind).decode

    def __call__(self, body: bytes) -> Any:  # noqa: ANN401
        """Read a body.

        Raises
        ------
        RequestError
            400 ``json``: it is no JSON. 422 ``body``: it is JSON of another shape.
        """
        try:
            return self._decode(body)
        except msgspec.ValidationError as error:
            message, _, where = str(error).partition(" - at `$")
            raise RequestError(422, "body", message[:500], where.rstrip("`").removeprefix(".") or None) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RequestError(400, "json", f"the body is no JSON: {str(error)[:200]}") from None
