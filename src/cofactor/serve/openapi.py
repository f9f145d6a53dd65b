"""The description of the service for programs (OpenAPI 3.1) and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from cofactor.serve.catalogue_routes import DescribedItems
from cofactor.serve.messages import Availability, Explain, NewEvents, Predict, Recommend, Reload
from cofactor.system.templating import templates_of
from cofactor.version import __version__

if TYPE_CHECKING:
    from cofactor.serve.limits import Limits

__all__ = ["document", "page"]

_JSON = "application/json"


class _Route(NamedTuple):
    method: str
    path: str
    summary: str
    body: type[msgspec.Struct] | None = None
    parameters: tuple[tuple[str, str, dict[str, Any]], ...] = ()  # name, where, schema
    refusals: tuple[int, ...] = ()
    key: str = "read"


_ID = {"type": ["integer", "string"]}
_MODEL = ("model", "query", {"type": "string", "description": "name of a model, current or previous"})
_FILTER = ("filter", "query", {"type": "string", "description": "such as category = dairy and price < 5"})
_ITEM, _USER = ("item", "path", {"type": "string"}), ("user", "path", {"type": "string"})
_ANY_ITEM, _ANY_USER = ("item", "query", {"type": "string"}), ("user", "query", {"type": "string"})
_K = ("k", "query", {"type": "integer", "minimum": 1})
_ALSO = "; ids that no path can hold, such as .., too"
_ASKED = (400, 408, 413, 422, 503)

ROUTES = (
    _Route(
        "post",
        "/recommend",
        "Ranked items for users, for histories, or for users with a history",
        Recommend,
        refusals=(*_ASKED, 404),
    ),
    _Route(
        "get",
        "/similar/{item}",
        "The items most similar to one",
        None,
        (_ITEM, _K, _FILTER, _MODEL),
        (404, 422, 503),
    ),
    _Route(
        "get",
        "/similar",
        f"The items most similar to one{_ALSO}",
        None,
        (_ANY_ITEM, _K, _FILTER, _MODEL),
        (404, 422, 503),
    ),
    _Route("post", "/predict", "Scores of pairs of a user and an item", Predict, refusals=(*_ASKED, 404)),
    _Route("post", "/explain", "What the items of a history add to a score", Explain, refusals=(*_ASKED, 404)),
    _Route("get", "/user/{user}", "What a user had", None, (_USER, _MODEL), (404, 422, 503)),
    _Route("get", "/user", f"What a user had{_ALSO}", None, (_ANY_USER, _MODEL), (404, 422, 503)),
    _Route(
        "get",
        "/users",
        "Users whose id begins with a text",
        None,
        (("q", "query", {"type": "string"}), _MODEL),
        (404, 422),
    ),
    _Route("get", "/items/{item}", "What is known of an item", None, (_ITEM,), (404, 422)),
    _Route("get", "/items", f"What is known of an item{_ALSO}", None, (_ANY_ITEM,), (404, 422)),
    _Route("post", "/items", "What is known of several items", DescribedItems, refusals=(*_ASKED, 404)),
    _Route(
        "get",
        "/search",
        "Items by name",
        None,
        (("q", "query", {"type": "string"}), ("k", "query", {"type": "integer", "minimum": 1, "maximum": 100}), _MODEL),
        (404, 422),
    ),
    _Route(
        "post",
        "/events",
        "Append what just happened; it is on the disk when this answers",
        NewEvents,
        refusals=(*_ASKED, 404),
        key="write",
    ),
    _Route("get", "/availability", "Items out of stock", refusals=(404, 503)),
    _Route(
        "put",
        "/availability",
        "Take items out of stock, or back in",
        Availability,
        refusals=(*_ASKED, 404),
        key="admin",
    ),
    _Route(
        "post",
        "/reload",
        "Load the newest model beside the current one, and switch",
        Reload,
        refusals=(*_ASKED, 404, 409),
        key="admin",
    ),
    _Route("post", "/rollback", "Back to the model before", Reload, refusals=(*_ASKED, 404, 409), key="admin"),
    _Route("get", "/about", "What is served, and how much may be asked"),
    _Route("get", "/health/live", "Whether the process lives", key=""),
    _Route("get", "/health/ready", "Whether it answers", refusals=(503,), key=""),
    _Route("get", "/metrics", "Counters for Prometheus"),
)

_ITEMS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["item", "score"],
        "properties": {"item": _ID, "score": {"type": "number"}},
    },
}
_LISTS = {
    "type": "object",
    "required": ["model", "lists", "took_ms"],
    "properties": {
        "model": {"$ref": "#/components/schemas/Served"},
        "lists": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["items", "source"],
                "properties": {
                    "user": _ID,
                    "items": _ITEMS,
                    "source": {"enum": ["model", "fold_in", "popular"]},
                    "unknown_items": {"type": "array", "items": _ID},
                },
            },
        },
        "took_ms": {"type": "number"},
    },
}
_SIMILAR = {
    "type": "object",
    "required": ["model", "item", "items"],
    "properties": {"model": {"$ref": "#/components/schemas/Served"}, "item": _ID, "items": _ITEMS},
}
_ANSWERS = {"/recommend": _LISTS, "/similar/{item}": _SIMILAR, "/similar": _SIMILAR}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "field", "request_id"],
            "properties": {
                "code": {"type": "string", "description": "for programs; stable"},
                "message": {"type": "string", "description": "for people"},
                "field": {"type": ["string", "null"], "description": "which part of the request is at fault"},
                "request_id": {"type": "string", "description": "also in the header X-Request-ID and in the log"},
            },
        }
    },
}
_SERVED = {
    "type": "object",
    "required": ["name", "version"],
    "properties": {"name": {"type": "string"}, "version": {"type": "string"}},
}
_TOLD = {
    400: "The body is no JSON",
    401: "No key, or an unknown one",
    403: "The key is for less than this",
    404: "The user, item or model is not known",
    408: "The body came too slowly",
    409: "The model was refused, or another change is under way",
    413: "The body is too large",
    422: "The request is JSON, but not what is described here, or asks for what the model cannot do",
    429: "The key has asked too often",
    503: "Not ready, too slow, or the store cannot be used",
}


def document(limits: Limits) -> dict[str, Any]:
    """The OpenAPI document."""
    bodies = [route.body for route in ROUTES if route.body is not None]
    _, schemas = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    recommend = schemas["Recommend"]["properties"]
    recommend["k"] |= {"minimum": 1, "maximum": limits.k}
    for name, most in (
        ("users", limits.users),
        ("history", limits.history),
        ("exclude", limits.ids),
        ("items", limits.ids),
    ):
        recommend[name]["maxItems"] = most
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cofactor",
            "version": __version__,
            "summary": "Recommendations of a saved model",
            "description": 'Ids keep their type: 12 and "12" are two ids, and text is percent-encoded in an address.',
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Error": _ERROR, "Served": _SERVED},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: _Route) -> dict[str, Any]:
    plain = {"type": "object"}
    kind = "text/plain" if route.path == "/metrics" else _JSON
    schema = {"type": "string"} if route.path == "/metrics" else _ANSWERS.get(route.path, plain)
    refused = sorted({*route.refusals, *((401, 403, 429) if route.key else ())})
    told: dict[str, Any] = {
        "summary": route.summary,
        "responses": {
            "200": {"description": "The answer", "content": {kind: {"schema": schema}}},
            **{str(status): _refusal(status) for status in refused},
        },
    }
    if route.key:
        told |= {"security": [{}, {"key": []}], "description": f"Where there are keys it takes one for: {route.key}."}
    if route.parameters:
        told["parameters"] = [
            {"name": name, "in": where, "required": where == "path" or name in ("item", "user"), "schema": schema}
            for name, where, schema in route.parameters
        ]
    if route.body is not None:
        ref = {"$ref": f"#/components/schemas/{route.body.__name__}"}
        told["requestBody"] = {"required": True, "content": {_JSON: {"schema": ref}}}
    return told


def _refusal(status: int) -> dict[str, Any]:
    error = {"schema": {"$ref": "#/components/schemas/Error"}}
    return {"description": _TOLD.get(status, "Refused"), "content": {_JSON: error}}


def page(limits: Limits) -> str:
    """The document for people, as one HTML page without scripts."""
    told = document(limits)
    return templates_of("cofactor.serve").get_template("docs.html.j2").render(told=told, schema=_written)


def _written(schema: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode()
