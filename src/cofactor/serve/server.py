"""The processes of a service: one, or several that listen on the same socket."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn

from cofactor.errors import CofactorError, ParameterError
from cofactor.serve.protocol import Protocol
from cofactor.serve.settings import Settings, make_app
from cofactor.serve.telemetry import set_up_logs
from cofactor.serve.temporary import temporary_folder
from cofactor.serve.workers import CANNOT_START, leave_with_parent, run_workers
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.serve.app import App

__all__ = ["serve"]

_BACKLOG = 2048
_YOUNG_OBJECTS = 20_000  # made since the last look for garbage
_KEEP_ALIVE = 75  # seconds that a connection may wait for its next request


def serve(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    drain: float = 30.0,
    told: Callable[[str], None] = print,
) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are answered first.

    Several workers share one listening socket; one that ends is started again.

    Parameters
    ----------
    settings : Settings
    host, port
        0 is any free port.
    workers : int
    drain : float
        Seconds that requests under way have at the end.
    told : callable
        Called with the address once it is bound.

    Raises
    ------
    ParameterError
        The address cannot be listened on.
    """
    set_up_logs(settings.log_level)
    with _listening(host, port) as sock:
        address = f"http://{f'[{host}]' if ':' in host else host}:{sock.getsockname()[1]}"
        if workers == 1:
            app = make_app(settings)
            told(address)
            _run(app, drain, sock)
            return
        if sys.platform == "win32":
            raise ParameterError("workers must be 1 on Windows, where processes do not share a socket")
        with temporary_folder("cofactor-serve-") as folder:
            settings.shared = settings.shared or str(folder)
            settings.threads = settings.threads or max(1, available_threads() // workers)
            settings.to_environment()
            told(address)
            run_workers(["-m", "cofactor.serve.server", str(drain)], workers, sock, drain=drain)


class _Server(uvicorn.Server):
    """One that also knows of the signals which came before it listened to them."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = False
        for number in (signal.SIGINT, signal.SIGTERM):  # raised once more at the end, which shall end nothing else
            signal.signal(number, self._end)

    def _end(self, *_: object) -> None:
        self._ended = True

    async def main_loop(self) -> None:
        """Serve until a signal comes, or not at all."""
        if not self._ended:
            await super().main_loop()


def _run(app: App, drain: float, sock: socket.socket) -> None:
    """Serve until a signal comes."""
    config = uvicorn.Config(
        app,
        loop="auto",
        http=Protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        proxy_headers=False,  # nobody looks at the client's address
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=max(1, round(drain)),
        timeout_keep_alive=_KEEP_ALIVE,
    )
    # What was loaded stays: looking through it for garbage takes longer than many an answer.
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
    gc.enable()
    _Server(config).run(sockets=[sock])


def _work(drain: float, file: int) -> None:
    """What a worker process does."""
    leave_with_parent()
    gc.disable()  # until it serves
    settings = Settings.from_environment()
    set_up_logs(settings.log_level)
    try:
        app = make_app(settings)
    except CofactorError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(CANNOT_START)
    _run(app, drain, socket.socket(fileno=file))


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
        sock.set_inheritable(True)
    except (OSError, OverflowError) as error:
        sock.close()
        raise ParameterError(f"cannot listen on {host}, port {port}: {error}; choose another port") from error
    return sock


if __name__ == "__main__":
    _work(float(sys.argv[1]), int(sys.argv[2]))
