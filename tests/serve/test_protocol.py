"""Clients that begin a request and never end it."""

import asyncio
import json
import time

import pytest
import uvicorn
from uvicorn.server import ServerState

from cofactor.serve import protocol
from cofactor.serve.protocol import Protocol

WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def exchanged(monkeypatch):
    """Sends pieces with a pause in between, and gives all that came until the server hung up, and how long it took."""
    monkeypatch.setattr(protocol, "_SECONDS", 0.3)

    async def talk(pieces, pause):
        config = uvicorn.Config(app, http=Protocol, lifespan="off", log_config=None)
        config.load()
        made = lambda: Protocol(config=config, server_state=ServerState(), app_state={})  # noqa: E731
        server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            begun = time.monotonic()
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(pause)
            got = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return got, time.monotonic() - begun

    return lambda *pieces, pause=0.0: asyncio.run(talk(pieces, pause))


@pytest.mark.parametrize(
    "pieces",
    [[b"GET / HTTP/1.1\r\nHost: x\r\n"], [b"GET / HTTP/1.1\r\n", *(b"X-%d: y\r\n" % n for n in range(5))], [b"G"]],
)
def test_headers_that_never_end(exchanged, pieces):
    got, took = exchanged(*pieces, pause=0.02)
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert json.loads(body)["error"]["code"] == "slow_headers"
    assert 0.25 < took < 5


def test_a_connection_that_says_nothing_is_closed(exchanged):
    got, took = exchanged()
    assert got == b""
    assert 0.25 < took < 5


def test_a_second_request_whose_headers_never_end(exchanged):
    got, _ = exchanged(WHOLE, b"GET / HT", pause=0.05)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in got


def test_headers_that_come_in_pieces_are_answered(exchanged):
    got, took = exchanged(*(WHOLE[at : at + 7] for at in range(0, len(WHOLE), 7)), WHOLE, b"G", pause=0.01)
    assert got.count(b"HTTP/1.1 200 ") == 2
    assert took > 0.25
