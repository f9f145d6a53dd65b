"""What is no HTTP, or has headers without end, is told in the one shape of errors too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cofactor.serve.messages import encode
from cofactor.serve.telemetry import request_id

if TYPE_CHECKING:
    from asyncio import TimerHandle

__all__ = ["Protocol"]

_MOST = 1 << 16  # bytes of a request's line and headers
_SECONDS = 10.0  # for them to arrive, the first of a connection and those that have begun
_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with an end to headers and errors of the service's shape."""

    _head = 0  # bytes since a request began whose headers are not complete
    _clock: TimerHandle | None = None  # runs while headers are awaited

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401
        """Wait for a first request, but not for ever."""
        super().connection_made(transport)
        self._clock = self.loop.call_later(_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, unless it is a header without end."""
        self._head += len(data)
        super().data_received(data)
        if self._head > 0 and not self.transport.is_closing():  # headers came in part
            if self._head > _MOST:
                self._refuse(431, "headers_too_large", f"headers may have {_MOST:,} bytes")
            elif self._clock is None:
                self._clock = self.loop.call_later(_SECONDS, self._too_slow)

    def on_headers_complete(self) -> None:
        """Begin to answer; what follows is a body, which has limits of its own."""
        self._head = -(1 << 62)
        if self._clock is not None:
            self._stop_clock()
        super().on_headers_complete()

    def on_message_begin(self) -> None:
        """Count the bytes of the next request's headers, the first of which is there."""
        self._head = 1
        super().on_message_begin()

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
        name = request_id(None)
        error = {"code": code, "message": message, "field": None, "request_id": name}
        body = encode({"error": error})
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nx-request-id: {name}\r\n"
            "connection: close\r\n\r\n"
        )
        self._stop_clock()
        self.transport.write(head.encode() + body)
        self.transport.close()
