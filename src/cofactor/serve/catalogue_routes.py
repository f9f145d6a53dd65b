"""What is known of items, over HTTP, and the page to look at it all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from starlette.responses import Response
from starlette.routing import Route

from cofactor.serve.http import answer, named, number
from cofactor.serve.ids import Id, JsonIds
from cofactor.serve.messages import decoder
from cofactor.serve.page import page_asset
from cofactor.serve.request_error import RequestError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from cofactor.serve.answers import Index
    from cofactor.serve.catalogue import Catalogue
    from cofactor.serve.service import Service

__all__ = ["DescribedItems", "catalogue_routes"]

_MOST_FOUND = 100


class DescribedItems(Struct, forbid_unknown_fields=True):
    """Body of ``POST /items``."""

    items: list[Id]


_described = decoder(DescribedItems)


def catalogue_routes(service: Service) -> list[BaseRoute]:
    """The routes of the items table and of the page."""
    ids = None if service.catalogue is None else JsonIds(service.catalogue.items, "item")

    def known() -> tuple[Catalogue, JsonIds]:
        if service.catalogue is None or ids is None:
            raise RequestError(404, "no_items", "there is no table of items (cofactor serve --items)")
        return service.catalogue, ids

    def told(catalogue: Catalogue, ids: JsonIds, row: int) -> dict[str, Any]:
        return {"item": ids.ids[row], "attributes": catalogue.attributes(row)}

    async def item(request: Request) -> Response:
        catalogue, ids = known()
        given = ids.from_text(named(request, "item"))
        row = ids.row(given)
        if row < 0:
            raise RequestError(404, "unknown_item", f"item {str(given)[:40]!r} is not in the table of items", "item")
        return answer(told(catalogue, ids, row))

    async def items(request: Request) -> Response:
        catalogue, ids = known()
        given = _described(await request.body()).items
        service.limits.check_size("items", given)
        return answer({"items": [told(catalogue, ids, row) for row in ids.rows(given) if row >= 0]})

    async def search(request: Request) -> Response:
        k = number(request, "k", 10)
        if not 1 <= k <= _MOST_FOUND:
            raise RequestError(422, "k", f"k is from 1 to {_MOST_FOUND} here, got {k}", "k")
        text = request.query_params.get("q", "")
        model = service.models.get(request.query_params.get("model")).index
        if service.catalogue is None or ids is None:
            found = await asyncio.to_thread(model.items.beginning_with, text, k)
            return answer({"items": [{"item": one, "name": None} for one in found]})
        catalogue = service.catalogue
        rows = await asyncio.to_thread(_found, model, catalogue, text, k)  # of millions of names it takes its time
        return answer({"items": [{"item": ids.ids[row], "name": catalogue.name(row)} for row in rows]})

    async def page(request: Request) -> Response:
        asset = page_asset(request.url.path)
        if asset is None:
            raise RequestError(404, "not_found", "there is nothing at this path; see /docs")
        if request.headers.get("if-none-match") == asset.headers["etag"]:
            return Response(status_code=304, headers=asset.headers)
        return Response(asset.body, headers=asset.headers)

    return [
        Route("/items/{item:path}", item, methods=["GET"]),
        Route("/items", items, methods=["POST"]),
        Route("/items", item, methods=["GET"]),
        Route("/search", search, methods=["GET"]),
        Route("/", page, methods=["GET"]),
        Route("/page/{file}", page, methods=["GET"]),
    ]


def _found(model: Index, catalogue: Catalogue, text: str, k: int) -> list[int]:
    among, popularity = _in_model(model, catalogue)
    rows: list[int] = catalogue.search(text, k, among=among, popularity=popularity).tolist()
    return rows


def _in_model(index: Index, catalogue: Catalogue) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which items of a table a model knows, and how many of its users had each."""
    places = index.places_in(catalogue)
    there = places >= 0
    counts = np.diff(index.model.interactions_.item_users.indptr)
    popularity = np.zeros(len(catalogue))
    popularity[places[there]] = counts[there]
    among = np.zeros(len(catalogue), bool)
    among[places[there]] = True
    return among, popularity
