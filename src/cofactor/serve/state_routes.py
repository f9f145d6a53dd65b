"""Routes that change something: events, what is in stock, and which model is served."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from cofactor.serve.events import check_event, check_id, now
from cofactor.serve.http import answer
from cofactor.serve.messages import Availability, NewEvents, Reload, decoder
from cofactor.serve.request_error import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sized

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from cofactor.serve.answers import Index
    from cofactor.serve.ids import Id
    from cofactor.serve.service import Service
    from cofactor.serve.store import Store
    from cofactor.serve.swap import Version

__all__ = ["state_routes"]

_new_events, _availability, _reload = decoder(NewEvents), decoder(Availability), decoder(Reload)


def state_routes(service: Service) -> list[BaseRoute]:
    """The routes of a service that change something; which key each takes is the application's matter."""

    async def append(request: Request) -> Response:
        store, given = _store(service), _new_events(await request.body()).events
        _check_size(service, "events", given)
        index, at = service.models.get().index, now()
        events = []
        for n, one in enumerate(given):
            field = f"events[{n}]"
            _check_types(index, one.user, one.item, field)
            more = {"event_type": one.event_type, "weight": one.weight, "rating": one.rating}
            events.append(check_event(one.user, one.item, one.time, **more, field=field, at=at))
        accepted = await asyncio.wrap_future(store.submit(events)) if events else 0
        return answer({"accepted": accepted})

    async def unavailable(_: Request) -> Response:
        _store(service)
        stock = await service.stock()
        out = stock.out if stock is not None else ()
        return answer({"unavailable": sorted(out, key=lambda item: (isinstance(item, str), item))})

    async def change(request: Request) -> Response:
        store, given = _store(service), _availability(await request.body())
        changes = _changes(service, given)
        return answer({"unavailable": await asyncio.wrap_future(store.submit_availability(changes))})

    async def reload(request: Request) -> Response:
        name = _named(await request.body())
        return answer(_told(await asyncio.to_thread(service.models.reload, name)))

    async def rollback(request: Request) -> Response:
        name = _named(await request.body())
        return answer(_told(await asyncio.to_thread(service.models.rollback, name)))

    return [
        Route("/events", append, methods=["POST"]),
        Route("/availability", unavailable, methods=["GET"]),
        Route("/availability", change, methods=["PUT"]),
        Route("/reload", reload, methods=["POST"]),
        Route("/rollback", rollback, methods=["POST"]),
    ]


def _store(service: Service) -> Store:
    if service.store is None:
        raise RequestError(404, "no_store", "this service keeps no events (cofactor serve --store)")
    return service.store


def _check_size(service: Service, name: str, given: Sized | None) -> None:
    most = service.limits.ids
    if given is not None and len(given) > most:
        raise RequestError(422, "too_many", f"{name} may have {most:,} entries, got {len(given):,}", name)


def _check_types(index: Index, user: Id, item: Id, field: str) -> None:
    """Refuse ids that the model cannot have; those it does not know yet are welcome."""
    for what, ids, given in (("user", index.users, user), ("item", index.items, item)):
        check_id(given, f"{field}.{what}")
        if type(given) is not ids.kind:
            error = ids.mismatch(given)
            raise RequestError(error.status, error.code, error.message, f"{field}.{what}")


def _changes(service: Service, given: Availability) -> dict[Id, bool]:
    """Which items go out (False) and which come in (True)."""
    items = service.models.get().index.items
    changes: dict[Id, bool] = {}

    def add(name: str, ids: Iterable[tuple[Id, bool]]) -> None:
        for n, (item, available) in enumerate(ids):
            field = f"{name}[{n}]"
            check_id(item, field)
            if type(item) is not items.kind:
                error = items.mismatch(item)
                raise RequestError(error.status, error.code, error.message, field)
            if changes.setdefault(item, available) is not available:
                raise RequestError(422, "in_and_out", f"item {item!r} is to go out and to come in at once", field)

    for name in ("items", "out", "into"):
        _check_size(service, "in" if name == "into" else name, getattr(given, name))
    if given.items is None and given.out is None and given.into is None:
        raise RequestError(422, "nothing_to_do", "give items, out or in", "items")
    add("items", ((items.from_text(text), there) for text, there in (given.items or {}).items()))
    add("out", ((item, False) for item in given.out or ()))
    add("in", ((item, True) for item in given.into or ()))
    return changes


def _named(body: bytes) -> str | None:
    """The model that a request is about; it may have no body."""
    return _reload(body).model if body.strip() else None


def _told(version: Version[Any]) -> dict[str, Any]:
    return {"model": {"name": version.name, "version": version.version, "created": version.created}}
