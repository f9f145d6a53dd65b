"""What is no HTTP, or has endless headers, is told in the one shape of errors too."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cofactor.serve.messages import encode
from cofactor.serve.telemetry import request_id

__all__ = ["Protocol"]

_MOST = 1 << 16  # bytes of a request's line and headers


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with an end to headers and errors of the service's shape."""

    _head = 0  # bytes since a request began whose headers are not complete

    def data_received(self, data: bytes) -> None:
        """Take what has come, unless it is a header without end."""
        self._head += len(data)
        super().data_received(data)
        if self._head > _MOST and not self.transport.is_closing():
            self._refuse(431, "headers_too_large", f"headers may have {_MOST:,} bytes")

    def on_headers_complete(self) -> None:
        """Begin to answer; what follows is a body, which has limits of its own."""
        self._head = -(1 << 62)
        super().on_headers_complete()

    def on_message_begin(self) -> None:
        """Count the bytes of the next request's headers."""
        self._head = 0
        super().on_message_begin()

    def send_400_response(self, msg: str) -> None:
        """Tell that what has come is no HTTP, and hang up."""
        self._refuse(400, "http", msg.rstrip("."))

    def _refuse(self, status: int, code: str, message: str) -> None:
        name = request_id(None)
        error = {"code": code, "message": message, "field": None, "request_id": name}
        body = encode({"error": error})
        head = (
            f"HTTP/1.1 {status} {'Bad Request' if status == 400 else 'Request Header Fields Too Large'}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nx-request-id: {name}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
