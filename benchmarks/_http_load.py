"""A client that asks a server over loopback as fast as it answers, or at a given rate: plain sockets, one thread."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Load(NamedTuple):
    """What came of it."""

    seconds: float
    latencies: NDArray[np.float64]  # seconds, of the answers with status 200
    statuses: dict[int, int]
    broken: int  # connections that ended before an answer
    bodies: list[bytes]  # of the first answers, where asked for

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def ms(self, *percentiles: float) -> list[float]:
        return [round(1000 * float(p), 3) for p in np.percentile(self.latencies, percentiles)]


def request(
    path: str, body: bytes | None = None, *, method: str | None = None, headers: dict[str, str] | None = None
) -> bytes:
    """The bytes of an HTTP/1.1 request."""
    lines = [f"{method or ('GET' if body is None else 'POST')} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def load(
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int = 64,
    seconds: float = 5.0,
    rate: float | None = None,
    keep: int = 0,
    warm_up: float = 0.5,
) -> Load:
    """Send the requests over and over, one at a time on each connection.

    With a ``rate`` they are due at even distances, and a latency begins when a request was due: one that waits for a
    free connection is not forgiven. ``keep``: how many bodies of answers to keep.
    """
    poll = select.epoll()
    socks, parts, begun = {}, {}, {}

    def connect() -> int:
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        fd = sock.fileno()
        socks[fd], parts[fd] = sock, b""
        poll.register(fd, select.EPOLLIN)
        return fd

    free = deque(connect() for _ in range(connections))
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    bodies: list[bytes] = []
    broken = sent = 0
    start = time.perf_counter()
    counted, end = start + warm_up, start + warm_up + seconds
    clock = time.perf_counter
    while (now := clock()) < end:
        due = now if rate is None else start + sent / rate
        while free and due <= now:
            fd = free.popleft()
            begun[fd] = due
            socks[fd].send(requests[sent % len(requests)])
            sent += 1
            if rate is not None:
                due = start + sent / rate
        wait = 0.05 if rate is None or not free else max(0.0, min(0.05, due - clock()))
        for fd, _ in poll.poll(0 if wait < 0.001 else wait):
            try:
                got = socks[fd].recv(1 << 16)
            except OSError:
                got = b""
            if not got:
                broken += 1
                poll.unregister(fd)
                socks.pop(fd).close()
                free.append(connect())
                continue
            data = parts[fd] + got
            head = data.find(b"\r\n\r\n")
            at = data.lower().find(b"content-length:", 0, head) if head >= 0 else -1
            if at < 0 or len(data) < head + 4 + int(data[at + 15 : data.index(b"\r\n", at)]):
                parts[fd] = data
                continue
            parts[fd] = b""
            status, done = int(data[9:12]), clock()
            if done >= counted:
                statuses[status] = statuses.get(status, 0) + 1
                if status == 200:
                    latencies.append(done - begun[fd])
                if len(bodies) < keep:
                    bodies.append(data[head + 4 :])
            free.append(fd)
    for sock in socks.values():
        sock.close()
    return Load(seconds, np.array(latencies), statuses, broken, bodies)
