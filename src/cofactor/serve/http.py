"""Bodies in, answers out: what all routes share."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from cofactor.serve.messages import encode
from cofactor.serve.request_error import RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    Receive = Callable[[], Awaitable[Any]]

__all__ = ["answer", "named", "number", "read_body", "refusal", "wire"]


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:  # noqa: ANN401
    """A JSON answer."""
    return Response(encode(content), status, headers, "application/json")


def refusal(error: RequestError, request_id: str) -> Response:
    """The one shape of every error."""
    told = {"code": error.code, "message": error.message, "field": error.field, "request_id": request_id}
    return answer({"error": told}, error.status, error.headers)


def wire(error: RequestError, request_id: str, *, close: bool) -> bytes:
    """A refusal as it goes over the wire, for where there is no ASGI in between."""
    response = refusal(error, request_id)
    response.headers["x-request-id"] = request_id
    if close:
        response.headers["connection"] = "close"
    lines = [b"%b: %b\r\n" % header for header in response.raw_headers]
    head = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n".encode()
    return b"".join([head, *lines, b"\r\n", bytes(response.body)])


def named(request: Request, name: str) -> str:
    """What stands in the path, or as a parameter of the query string, which takes ids that no path can hold.

    Raises
    ------
    RequestError
        422: it is in neither.
    """
    text = request.path_params.get(name, request.query_params.get(name))
    if text is None:
        raise RequestError(422, name, f"give {name}, in the path or as ?{name}=...", name)
    return str(text)


def number(request: Request, name: str, default: int) -> int:
    """A whole number of the query string.

    Raises
    ------
    RequestError
        422: it is none.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20):
        raise RequestError(422, name, f"{name} is a whole number, got {text[:40]!r}", name)
    return int(text)


async def read_body(receive: Receive, most: int) -> bytes:
    """The body of a request.

    Raises
    ------
    RequestError
        413: it is longer than it may be. 400: the client went away.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body") and len(body) <= most and message["type"] == "http.request":
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        if size > most:
            raise RequestError(413, "body_too_large", f"a body may have {most:,} bytes")
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if message["type"] != "http.request":
        raise RequestError(400, "disconnected", "the client went away")
    if size > most:
        raise RequestError(413, "body_too_large", f"a body may have {most:,} bytes")
    return b"".join(parts)
