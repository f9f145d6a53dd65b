"""What is asked of the models besides lists, and what the service tells of itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from cofactor.serve.http import answer, named, number
from cofactor.serve.messages import Explain, Predict, decoder
from cofactor.serve.openapi import document, page
from cofactor.serve.request_error import RequestError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from cofactor.serve.service import Service

__all__ = ["routes"]

_MOST_USERS = 20  # of a search
_predict, _explain = decoder(Predict), decoder(Explain)


def routes(service: Service) -> list[BaseRoute]:
    """The routes of a service."""

    async def similar(request: Request) -> Response:
        asked = request.query_params
        k = number(request, "k", 10)
        return answer(await service.similar(asked.get("model"), named(request, "item"), k, asked.get("filter")))

    async def predict(request: Request) -> Response:
        return answer(await service.predict(_predict(await request.body())))

    async def explain(request: Request) -> Response:
        return answer(await service.explain(_explain(await request.body())))

    async def users(request: Request) -> Response:
        index = service.models.get(request.query_params.get("model")).index
        begun = request.query_params.get("q", "")
        return answer({"users": await asyncio.to_thread(index.users.beginning_with, begun, _MOST_USERS)})

    async def user(request: Request) -> Response:
        version = service.models.get(request.query_params.get("model"))
        given = version.index.users.from_text(named(request, "user"))
        stored = await service.history(version, given)
        known = version.index.history(given)
        if known is None and not stored:
            raise RequestError(404, "unknown_user", f"user {str(given)[:40]!r} is not known", "user")
        since = [{"item": e.item, "time": e.time / 1e6, "event_type": e.event_type} for e in stored]
        return answer({"user": given, "history": [*(known or []), *since]})

    async def about(_: Request) -> Response:
        return answer(_about(service))

    async def live(_: Request) -> Response:
        return answer({"status": "live"})

    async def ready(_: Request) -> Response:
        if not service.ready:
            raise RequestError(503, "not_ready", "the service is starting, or about to stop")
        return answer({"status": "ready", "models": [version.told for version in service.versions()]})

    async def metrics(_: Request) -> Response:
        refused = service.models.refused
        told = [(version.name, version.version, version.name in refused) for version in service.versions()]
        return Response(service.telemetry.text(told), media_type="text/plain; version=0.0.4")

    async def openapi(_: Request) -> Response:
        return answer(document(service.limits))

    async def docs(_: Request) -> Response:
        return HTMLResponse(page(service.limits))

    return [
        Route("/similar", similar, methods=["GET"]),
        Route("/similar/{item:path}", similar, methods=["GET"]),
        Route("/predict", predict, methods=["POST"]),
        Route("/explain", explain, methods=["POST"]),
        Route("/users", users, methods=["GET"]),
        Route("/user", user, methods=["GET"]),
        Route("/user/{user:path}", user, methods=["GET"]),
        Route("/about", about, methods=["GET"]),
        Route("/health/live", live, methods=["GET"]),
        Route("/health/ready", ready, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/openapi.json", openapi, methods=["GET"]),
        Route("/docs", docs, methods=["GET"]),
    ]


def _about(service: Service) -> dict[str, Any]:
    models = [
        {
            **version.told,
            "class": type(version.model).__name__,
            "created": version.created,
            "refused": service.models.refused.get(version.name),
            "n_users": len(version.index.users),
            "n_items": len(version.index.items),
            "user_ids": "number" if version.index.users.kind is int else "text",
            "item_ids": "number" if version.index.items.kind is int else "text",
            "params": {name: _plain(value) for name, value in version.model.params().items()},
        }
        for version in service.versions()
    ]
    catalogue = service.catalogue
    told: dict[str, Any] = {"models": models, "limits": service.limits.told(), "events": service.store is not None}
    if catalogue is not None:
        told |= {
            "name_column": catalogue.name_column,
            "image_column": catalogue.image_column,
            "columns": catalogue.describe(),
        }
    return told


def _plain(value: object) -> Any:  # noqa: ANN401
    """A parameter as JSON can tell it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return repr(value)[:200]
