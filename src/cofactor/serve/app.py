"""The ASGI application: one way in for every request, and one for every error out."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.routing import Router

from cofactor.errors import CofactorError
from cofactor.serve.direct import Reply
from cofactor.serve.http import read_body, refusal
from cofactor.serve.messages import Recommend, decoder, encode
from cofactor.serve.request_error import RequestError
from cofactor.serve.telemetry import ROUTES, request_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from starlette.routing import BaseRoute

    from cofactor.serve.direct import Connection
    from cofactor.serve.service import Service

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

__all__ = ["App"]

_log = logging.getLogger("cofactor.serve")
_decode = decoder(Recommend)
_OPEN = ("/health/live", "/health/ready", "/openapi.json", "/docs", "/")  # without a key
_SLOW = ("/reload", "/rollback")  # take as long as it takes to load a model
_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
_LOOK = 0.1  # seconds between looks at requests that take too long
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
        self._under_way: dict[asyncio.Task[Any], float] = {}  # and when they must be answered
        self._overdue: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or the server's questions about the beginning and the end."""
        if scope["type"] == "http":
            if scope["path"] == "/recommend" and scope["method"] == "POST":
                await self._lists(scope, receive, send)
            else:
                await self._other(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    def direct(
        self, connection: Connection, headers: list[tuple[bytes, bytes]], body: bytes, *, keep_alive: bool
    ) -> Reply | None:
        """The reply to a whole ``POST /recommend``, which sends itself; None: it has to be called like any other."""
        begun, service = perf_counter(), self.service
        if len(body) > service.limits.body:
            return None
        try:
            asked = _decode(body)
            found = service.plain(asked)
            if found is None:
                return None
            version, question = found
            given = dict(headers)
            if service.keys:
                service.keys.check(_key(given), "read")
        except Exception:  # told by who answers it like any other
            return None
        name = request_id(given.get(b"x-request-id"))
        reply = Reply(connection, self, version, asked, name=name, begun=begun, keep_alive=keep_alive)
        service.batcher.put(version.index, [question], reply)
        return reply

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

    async def _lists(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer ``POST /recommend``: as the others, in as few steps as there can be."""
        begun, service = perf_counter(), self.service
        given: dict[bytes, bytes] = dict(scope["headers"])
        name = request_id(given.get(b"x-request-id"))
        task = self._begin(service.limits.seconds)
        body = None
        try:
            body = await self._body("/recommend", scope, given, receive)
            answer = encode(await service.recommend(_decode(body)))
        except Exception as error:
            await self._refuse((scope, receive, send), self._end(error, task, name), name, begun)
            return
        except asyncio.CancelledError:
            if (late := self._late(task, read=body is not None)) is None:
                raise
            await self._refuse((scope, receive, send), late, name, begun)
            return
        finally:
            self._under_way.pop(task, None)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", b"%d" % len(answer)),
                    (b"x-request-id", name.encode()),
                ],
            }
        )
        await send({"type": "http.response.body", "body": answer})
        self.count("/recommend", "POST", 200, begun, name)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by the routes."""
        begun, path, service = perf_counter(), scope["path"], self.service
        given: dict[bytes, bytes] = dict(scope["headers"])
        name = request_id(given.get(b"x-request-id"))
        status = 0

        async def told(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", name.encode())]
            await send(message)

        task = self._begin(None if path in _SLOW else service.limits.seconds)
        body, error = None, None
        try:
            if path == "/recommend":
                raise RequestError(405, "method", "not with this method", headers={"Allow": "POST"})
            body = await self._body(path, scope, given, receive)
            scope["app"], scope["state"] = self, {"service": service}
            await self._router(scope, _again(body, receive), told)
        except Exception as wrong:
            error = self._end(wrong, task, name)
        except asyncio.CancelledError:
            if (error := self._late(task, read=body is not None)) is None:
                raise
        finally:
            self._under_way.pop(task, None)
        if error is not None and not status:
            await self._refuse((scope, receive, send), error, name, begun)
        else:
            self.count(path, scope["method"], status, begun, name, error=error)

    async def _body(self, path: str, scope: Scope, given: dict[bytes, bytes], receive: Receive) -> bytes:
        """The body of a request that may go on."""
        service = self.service
        most = service.limits.body
        length = given.get(b"content-length")
        if length is not None and int(length) > most:
            raise RequestError(413, "body_too_large", f"a body may have {most:,} bytes")
        if service.keys and path not in _OPEN and not path.startswith("/page/"):
            service.keys.check(_key(given), _role(path, scope["method"]))
        return await read_body(receive, most) if scope["method"] in _WITH_BODY else b""

    def _begin(self, seconds: float | None) -> asyncio.Task[Any]:
        """Note when a request must be answered: one timer for all, as one for each costs more than an answer."""
        task = asyncio.current_task()
        assert task is not None
        if seconds is not None:
            if not self._under_way:
                asyncio.get_running_loop().call_later(_LOOK, self._look)
            self._under_way[task] = perf_counter() + seconds
        return task

    def _look(self) -> None:
        """End the requests whose time is over."""
        now = perf_counter()
        for task, end in list(self._under_way.items()):
            if now > end:
                del self._under_way[task]
                self._overdue.add(task)
                task.cancel()
        if self._under_way:
            asyncio.get_running_loop().call_later(_LOOK, self._look)

    def _late(self, task: asyncio.Task[Any], *, read: bool) -> RequestError | None:
        """What is told of a request whose time is over; None of one that ends for another reason."""
        if task not in self._overdue:
            return None
        self._overdue.discard(task)
        task.uncancel()
        if read:
            return RequestError(503, "timeout", "the answer took too long")
        return RequestError(408, "slow_body", "the body took too long to arrive", headers={"Connection": "close"})

    def _end(self, error: Exception, task: asyncio.Task[Any], name: str) -> RequestError:
        self._overdue.discard(task)
        return self.refusal(error, name)

    def refusal(self, error: Exception, name: str) -> RequestError:
        """What a client is told of an error."""
        if isinstance(error, RequestError):
            return error
        if isinstance(error, HTTPException):
            code, message = _STATUS.get(error.status_code, ("http", error.detail))
            return RequestError(error.status_code, code, message, headers=dict(error.headers or {}))
        if isinstance(error, CofactorError):  # what a model says of data that only it can judge
            return RequestError(422, "data", str(error)[:500])
        _log.error("request failed", exc_info=error, extra={"fields": {"request_id": name}})
        return RequestError(500, "internal", "something went wrong; the server's log has it under the request id")

    async def _refuse(self, call: tuple[Scope, Receive, Send], error: RequestError, name: str, begun: float) -> None:
        response = refusal(error, name)
        response.headers["x-request-id"] = name
        await response(*call)
        self.count(call[0]["path"], call[0]["method"], error.status, begun, name, error=error)

    def count(
        self, path: str, method: str, status: int, begun: float, name: str, *, error: RequestError | None = None
    ) -> None:
        """Count a request that was answered, and log it if it is to be."""
        seconds = perf_counter() - begun
        self.service.telemetry.request(_label(path), status, seconds)
        if not self._log_requests and status < 500:
            return
        fields = {
            "request_id": name,
            "method": method,
            "path": path[:200],
            "status": status,
            "ms": round(seconds * 1000, 3),
            **({} if error is None else {"code": error.code}),
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
