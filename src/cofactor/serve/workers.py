"""Several worker processes on one listening socket: whichever ends is started again."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from cofactor.errors import CofactorError

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

__all__ = ["CANNOT_START", "leave_with_parent", "run_workers"]

_log = logging.getLogger("cofactor.serve")
_LOOK = 0.05  # seconds between looks at the workers
_YOUNG = 2.0  # seconds: a worker that ends before is started again after a pause
_PAUSE = 1.0
CANNOT_START = 2  # what a worker exits with that has told why


def run_workers(command: Sequence[str], n: int, sock: socket.socket, *, drain: float) -> None:
    """Keep ``n`` processes running until SIGINT or SIGTERM, then let them finish.

    Parameters
    ----------
    command : arguments
        Of Python; the number of the socket's file is added. Settings come by the environment.
    n : int
    sock : socket
        Listening; inherited by the workers, so that a connection that waits is taken by any of them.
    drain : float
        Seconds they have to finish.

    Raises
    ------
    CofactorError
        The workers cannot start; each has told why.
    """
    ending = threading.Event()
    before = {s: signal.signal(s, lambda *_: ending.set()) for s in (signal.SIGINT, signal.SIGTERM)}

    def start() -> tuple[subprocess.Popen[bytes], float]:
        arguments = [sys.executable, *command, str(sock.fileno())]
        return subprocess.Popen(arguments, pass_fds=[sock.fileno()], start_new_session=True), time.monotonic()

    workers, first, due = [start() for _ in range(n)], set(range(n)), dict.fromkeys(range(n), 0.0)
    try:
        while not ending.wait(_LOOK):
            for at, (process, begun) in enumerate(workers):
                now = time.monotonic()
                if process.poll() is None or now < due[at]:
                    continue
                if at in first and process.returncode in (1, CANNOT_START):
                    raise CofactorError("the workers cannot start; the reason stands above")
                if now - begun < _YOUNG and not due[at]:  # it may be the store that is away: not in a hurry
                    due[at] = now + _PAUSE
                    continue
                first.discard(at)
                _log.warning("worker %d ended with %d; another one starts", process.pid, process.returncode)
                workers[at], due[at] = start(), 0.0
    finally:
        _end([process for process, _ in workers], drain)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(processes: list[subprocess.Popen[bytes]], drain: float) -> None:
    """Let all finish at the same time, and make an end of those that do not."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + drain + 5
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _log.warning("worker %d does not finish; killed", process.pid)
            process.kill()
            process.wait()


def leave_with_parent() -> None:
    """Finish this process when the one that started it is gone, however it ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="cofactor-parent", daemon=True).start()
