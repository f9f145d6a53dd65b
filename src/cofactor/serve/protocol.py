"""HTTP on a connection: the most usual request goes a short way, and who never ends one is told so.

What is no HTTP, or has headers without end, is told in the one shape of errors too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cofactor.serve.app import App
from cofactor.serve.http import wire
from cofactor.serve.request_error import RequestError
from cofactor.serve.telemetry import request_id

if TYPE_CHECKING:
    from asyncio import TimerHandle

__all__ = ["Protocol"]

_MOST = 1 << 16  # bytes of a request's line and headers
_SECONDS = 10.0  # for them to arrive, the first of a connection and those that have begun


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with an end to headers and errors of the service's shape."""

    _head = 0  # bytes since a request began whose headers are not complete
    _clock: TimerHandle | None = None  # runs while headers are awaited
    _held: bytes | None = None  # body of a request that may go the short way
    _idle = 0.0  # when the last answer was complete

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **more)
        self._direct = self.app.direct if isinstance(self.app, App) else None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401
        """Wait for a first request, but not for ever."""
        super().connection_made(transport)
        self._clock = self.loop.call_later(_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_clock()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, unless it is a header without end."""
        self._head += len(data)
        super().data_received(data)
        if self._held is not None and not self.transport.is_closing():
            self._let_go(self._held)  # the body comes in part, which the application watches
        if self._head > 0 and not self.transport.is_closing():  # so do the headers
            if self._head > _MOST:
                self._refuse(431, "headers_too_large", f"headers may have {_MOST:,} bytes")
            elif self._clock is None:
                self._clock = self.loop.call_later(_SECONDS, self._too_slow)

    def on_message_begin(self) -> None:
        """Count the bytes of the next request's headers, the first of which is there."""
        self._head = 1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to answer; what follows is a body, which has limits of its own."""
        self._head = -(1 << 62)
        if self._clock is not None:
            self._stop_clock()
        if self.url == b"/recommend" and self._is_usual():
            self._held = b""
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep the body of a request that may go the short way."""
        if self._held is not None:
            self._held += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer a request that is there as a whole."""
        if (held := self._held) is None or self._direct is None:
            super().on_message_complete()
            return
        reply = self._direct(self, self.headers, held, keep_alive=self.parser.should_keep_alive())
        if reply is None:
            self._let_go(held)
            super().on_message_complete()
            return
        self._held, self.cycle = None, reply  # type: ignore[assignment]

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one: one timer does for all pauses of a connection."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wait(self.timeout_keep_alive)

    def _wait(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Hang up on who has asked nothing for so long."""
        self.timeout_keep_alive_task = None
        if self.transport.is_closing() or self.cycle is None or not self.cycle.response_complete or self._head > 0:
            return  # the next answer, or the clock of the headers, will see to it
        left = self._idle + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._wait(left)
        else:
            self.transport.close()

    def _unset_keepalive_if_required(self) -> None:
        """Let the timer run: it looks for itself whether anything has come."""

    def _is_usual(self) -> bool:
        """Whether a request with a body waits for no other one and has nothing special about it."""
        parser = self.parser
        return (
            self._direct is not None
            and (self.cycle is None or self.cycle.response_complete)
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not parser.should_upgrade()
            and not self.flow.write_paused
        )

    def _let_go(self, body: bytes) -> None:
        """Send a request the long way, with what has come of its body."""
        self._held = None
        super().on_headers_complete()
        if body:
            super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Tell that what has come is no HTTP, and hang up."""
        self._refuse(400, "http", msg.rstrip("."))

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _too_slow(self) -> None:
        """Hang up on who sends no headers, or never ends them."""
        self._clock = None
        if self.transport.is_closing():
            return
        if self._head > 0:
            self._refuse(408, "slow_headers", f"the headers took more than {_SECONDS:g} seconds to arrive")
        else:
            self.transport.close()

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._stop_clock()
        self.transport.write(wire(RequestError(status, code, message), request_id(None), close=True))
        self.transport.close()
