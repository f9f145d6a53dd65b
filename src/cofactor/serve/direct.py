"""The most usual request, a list for one user or history, answered without a task and the messages of ASGI.

Those cost more than the list itself. Whatever is not as usual goes the long way, by :class:`cofactor.serve.app.App`:
another route, errors, filters, several people, a store to look at, a model that takes its time. Nothing is counted
before it is clear that a request goes this way, so that the other one finds it untouched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from cofactor.serve.http import wire
from cofactor.serve.messages import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cofactor.serve.answers import Index, Listed
    from cofactor.serve.messages import Recommend
    from cofactor.serve.request_error import RequestError
    from cofactor.serve.service import Service
    from cofactor.serve.swap import Version

__all__ = ["Application", "Connection", "Reply"]

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b\r\n%b"
_CLOSE = b"connection: close\r\n"


class Connection(Protocol):
    """What a reply needs of a connection."""

    transport: Any

    def on_response_complete(self) -> None:
        """Go on with the next request."""


class Application(Protocol):
    """What a reply needs of the application."""

    service: Service

    def refusal(self, error: Exception, name: str) -> RequestError:
        """What a client is told of an error."""

    def count(
        self, path: str, method: str, status: int, begun: float, name: str, *, error: RequestError | None = None
    ) -> None:
        """Count a request that was answered."""


class Reply:
    """The answer to come: for the batcher a future, for uvicorn's protocol the request under way.

    Parameters
    ----------
    connection : Connection
    app : Application
    version : Version
        Of the model that answers.
    asked : Recommend
    name : str
        The id of the request.
    begun : float
        When it was read.
    keep_alive : bool
        Whether the connection stays.
    """

    __slots__ = (
        "_app",
        "_asked",
        "_begun",
        "_connection",
        "_name",
        "_version",
        "disconnected",
        "keep_alive",
        "response_complete",
    )

    def __init__(
        self,
        connection: Connection,
        app: Application,
        version: Version[Index],
        asked: Recommend,
        *,
        name: str,
        begun: float,
        keep_alive: bool,
    ) -> None:
        self._connection, self._app, self._version, self._asked = connection, app, version, asked
        self._name, self._begun = name, begun
        self.keep_alive = keep_alive
        self.disconnected = self.response_complete = False

    # For uvicorn.

    @property
    def message_event(self) -> Reply:
        """What uvicorn sets when the client has gone."""
        return self

    def set(self) -> None:
        """Nobody waits for more of the request."""

    # For the batcher.

    def done(self) -> bool:
        """Whether nobody wants the answer any more."""
        return self.disconnected

    def set_result(self, answers: Sequence[Listed]) -> None:
        """Send the list."""
        service = self._app.service
        try:
            service.telemetry.listed(answers)
            body = encode(service.told(self._version, [self._asked], answers, self._begun))
        except Exception as error:  # the others of the batch get theirs
            self.set_exception(error)
            return
        name = self._name.encode()
        self._send(_HEAD % (len(body), name, b"" if self.keep_alive else _CLOSE, body), 200, None)

    def set_exception(self, error: Exception) -> None:
        """Send what is told of an error."""
        refused = self._app.refusal(error, self._name)
        self._send(wire(refused, self._name, close=not self.keep_alive), refused.status, refused)

    def _send(self, data: bytes, status: int, error: RequestError | None) -> None:
        connection = self._connection
        connection.transport.write(data)
        self.response_complete = True
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()
        self._app.count("/recommend", "POST", status, self._begun, self._name, error=error)
