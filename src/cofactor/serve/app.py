"""The ASGI application: one way in for every request, and one for every error out."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.routing import Router

from cofactor.errors import CofactorError
from cofactor.serve.http import read_body, refusal
from cofactor.serve.messages import Recommend, decoder, encode
from cofactor.serve.request_error import RequestError
from cofactor.serve.telemetry import ROUTES, request_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from starlette.routing import BaseRoute

    from cofactor.serve.service import Service

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

__all__ = ["App"]

_log = logging.getLogger("cofactor.serve")
_decode = decoder(Recommend)
_OPEN = ("/health/live", "/health/ready", "/openapi.json", "/docs", "/")  # without a key
_SLOW = ("/reload", "/rollback")  # take as long as it takes to load a model
_LABELS = frozenset(ROUTES)
_STATUS = {404: ("not_found", "there is nothing at this path; see /docs"), 405: ("method", "not with this method")}


class App:
    """The service as an ASGI application.

    ``POST /recommend`` is answered here, in as few steps as there can be; everything else by the routes.

    Parameters
    ----------
    service : Service
    routes : list of Starlette's routes
    start, stop : callable, optional
        Called when the server starts, before it is asked anything, and when it has answered everything.
    log_requests : bool
        A line for every request, not only for those that fail.
    """

    def __init__(
        self,
        service: Service,
        routes: Sequence[BaseRoute],
        *,
        start: Callable[[], None] | None = None,
        stop: Callable[[], None] | None = None,
        log_requests: bool = False,
    ) -> None:
        self.service = service
        self._router = Router(list(routes), redirect_slashes=False)
        self._start, self._stop, self._log_requests = start, stop, log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or the server's questions about the beginning and the end."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            call = self._start if message["type"] == "lifespan.startup" else self._stop
            if call is not None:
                await asyncio.to_thread(call)
            self.service.ready = message["type"] == "lifespan.startup"
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, path, service = perf_counter(), scope["path"], self.service
        given: dict[bytes, bytes] = dict(scope["headers"])
        name = request_id(given.get(b"x-request-id"))
        status, sent, whole = 500, False, False

        async def told(message: MutableMapping[str, Any]) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status, sent = message["status"], True
                message["headers"] = [*message["headers"], (b"x-request-id", name.encode())]
            await send(message)

        error: RequestError | None = None
        try:
            async with asyncio.timeout(None if path in _SLOW else service.limits.seconds):
                most = service.limits.body
                length = given.get(b"content-length")
                if length is not None and int(length) > most:
                    raise RequestError(413, "body_too_large", f"a body may have {most:,} bytes")
                if path not in _OPEN and not path.startswith("/page/"):
                    role = _role(path, scope["method"])
                    if service.keys:
                        service.keys.check(_key(given), role)
                body = await read_body(receive, most) if scope["method"] in ("POST", "PUT") else b""
                whole = True
                if path == "/recommend" and scope["method"] == "POST":
                    answer = encode(await service.recommend(_decode(body)))
                    status, sent = 200, True
                    await send(
                        {
                            "type": "http.response.start",
                            "status": 200,
                            "headers": [
                                (b"content-type", b"application/json"),
                                (b"content-length", str(len(answer)).encode()),
                                (b"x-request-id", name.encode()),
                            ],
                        }
                    )
                    await send({"type": "http.response.body", "body": answer})
                else:
                    scope["app"], scope["state"] = self, {"service": service}
                    await self._router(scope, _again(body, receive), told)
        except RequestError as refused:
            error = refused
        except HTTPException as refused:
            code, message = _STATUS.get(refused.status_code, ("http", refused.detail))
            error = RequestError(refused.status_code, code, message, headers=dict(refused.headers or {}))
        except TimeoutError:
            error = (
                RequestError(503, "timeout", "the answer took too long")
                if whole
                else RequestError(408, "slow_body", "the body took too long to arrive")
            )
        except CofactorError as wrong:  # what a model says of data that only it can judge
            error = RequestError(422, "data", str(wrong)[:500])
        except Exception as crash:
            _log.error("request failed", exc_info=crash, extra={"fields": {"request_id": name, "path": path[:200]}})
            error = RequestError(500, "internal", "something went wrong; the server's log has it under the request id")
        if error is not None and not sent:
            status = error.status
            response = refusal(error, name)
            await response(scope, receive, told)
        seconds = perf_counter() - begun
        service.telemetry.request(_label(path), status, seconds)
        if self._log_requests or status >= 500:
            fields = {
                "request_id": name,
                "method": scope["method"],
                "path": path[:200],
                "status": status,
                "ms": round(seconds * 1000, 3),
                **({"code": error.code} if error is not None else {}),
            }
            _log.log(logging.WARNING if status >= 500 else logging.INFO, "request", extra={"fields": fields})


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, for whom reads it next."""
    left = [body]

    async def read() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else await receive()

    return read


def _key(headers: dict[bytes, bytes]) -> str | None:
    given = headers.get(b"authorization") or headers.get(b"x-api-key")
    return None if given is None else given.decode("latin-1")


def _role(path: str, method: str) -> Any:  # noqa: ANN401
    """Which key a request takes."""
    if path in ("/reload", "/rollback") or (path == "/availability" and method != "GET"):
        return "admin"
    return "write" if path == "/events" else "read"


def _label(path: str) -> str:
    """The route of a path, of which there are few, for counters."""
    if path in _LABELS:
        return path
    head = path[: path.find("/", 1)] if path.find("/", 1) > 0 else path
    return head if head in _LABELS else "/" if head == "/page" else "other"
