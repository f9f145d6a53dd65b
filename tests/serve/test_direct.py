"""The short way of the most usual request: the same answers as the long one, whatever the connection does."""

import asyncio
import hashlib
import json
from contextlib import asynccontextmanager

import pytest
import uvicorn
from uvicorn.server import ServerState

import cofactor as cf
from cofactor.serve.direct import Reply
from cofactor.serve.keys import Key, Keys
from cofactor.serve.protocol import Protocol
from cofactor.serve.settings import Settings, make_app
from serve.asking import ask

X = cf.datasets.synthetic(n_users=40, n_items=30, n_interactions=400, factors=4, seed=0)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("direct")
    cf.ImplicitALS(8, iterations=2, seed=0).fit(X).save(folder / "model")
    app = make_app(Settings({"model": str(folder / "model")}, limits={"k": 20, "history": 5, "body": 2000}))
    yield app
    app.service.close()


@pytest.fixture
def replies(monkeypatch):
    """How many answers went the short way."""
    made = []
    own = Reply.__init__
    monkeypatch.setattr(Reply, "__init__", lambda self, *a, **more: (made.append(self), own(self, *a, **more))[1])
    return made


@asynccontextmanager
async def connected(app, **options):
    config = uvicorn.Config(app, http=Protocol, lifespan="off", log_config=None, proxy_headers=False)
    config.load()
    config.timeout_keep_alive = options.pop("keep_alive", 5)
    state = ServerState()
    made = lambda: Protocol(config=config, server_state=state, app_state={})  # noqa: E731
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        yield reader, writer, state
        writer.close()
        await writer.wait_closed()
        while state.connections:
            await asyncio.sleep(0.001)


def request(body, *headers, path="/recommend", version="1.1"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data


async def answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
    return int(head.split()[1]), headers, json.loads(await reader.readexactly(int(headers["content-length"])))


def exchanged(app, *sent, n=None, **options):
    """The answers to requests, one after the other; or to ``n`` of them whose pieces are sent without waiting."""

    async def talk():
        told = []
        async with connected(app, **options) as (reader, writer, _):
            for piece in sent:
                writer.write(piece)
                if n is None:
                    told.append(await answer(reader))
                else:
                    await asyncio.sleep(0.02)
            return told or [await answer(reader) for _ in range(n)]

    return asyncio.run(asyncio.wait_for(talk(), 20))


BODIES = {
    "known": {"user": 3},
    "k": {"user": 3, "k": 7, "exclude_seen": False},
    "history": {"history": [{"item": 1}, {"item": 2, "weight": 3.0}, {"item": 99}]},
    "both": {"user": 3, "history": [{"item": 1}]},
    "unknown": {"user": 999},
    "unknown without fallback": {"user": 999, "fallback": False},
    "many": {"users": [{"user": 1}, {"user": 2}]},
    "choices": {"user": 3, "items": [1, 2, 3]},
    "left out": {"user": 3, "exclude": [1, 2, 3]},
    "no filter": {"user": 3, "filter": "price < 5"},
    "no k": {"user": 3, "k": 21},
    "type": {"user": "3"},
    "long": {"history": [{"item": 1}] * 6},
    "nobody": {},
    "model": {"user": 3, "model": "other"},
    "no JSON": b"{",
    "large": b" " * 2001,
}
SHORT = {"known", "k", "history", "both", "unknown"}


@pytest.mark.parametrize("name", BODIES)
def test_both_ways_give_the_same(app, replies, name):
    body = BODIES[name]
    ((status, headers, told),) = exchanged(app, request(body, "X-Request-ID: mine"))
    assert len(replies) == (name in SHORT)
    wanted = ask(app, "/recommend", body, method="POST")
    assert headers["x-request-id"] == "mine"
    assert headers["content-type"] == "application/json"
    for one in (told, wanted[1]):
        one.pop("took_ms", None)
        one.get("error", {}).pop("request_id", None)
    assert (status, told) == wanted


def test_requests_one_after_the_other_and_all_at_once(app, replies):
    users = [int(user) for user in X.users.ids.to_list()[:20]]
    sent = [request({"user": user, "k": 3}) for user in users]
    sent.insert(7, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    sent.insert(9, request({"users": [{"user": 1}]}))
    one = exchanged(app, *sent)
    assert len(replies) == 20
    together = exchanged(app, b"".join(sent), n=len(sent))
    for way in (one, together):
        lists = [told["lists"][0] for _, _, told in way if "lists" in told]
        assert [told.get("user") for told in lists] == [*users[:8], 1, *users[8:]]
        assert way[7][2] == {"status": "live"}
    assert [told["lists"][0]["items"] for _, _, told in one[:7]] == [
        told["lists"][0]["items"] for _, _, told in together[:7]
    ]


def test_a_body_in_pieces_goes_the_long_way(app, replies):
    whole = request({"user": 3})
    for pieces in (
        (whole[:-4], whole[-4:]),
        (whole[:30], whole[30:]),
        tuple(whole[at : at + 9] for at in range(0, 120, 9)),
    ):
        ((status, _, told),) = exchanged(app, *pieces, n=1)
        assert (status, told["lists"][0]["user"]) == (200, 3)
    assert len(replies) == 1  # of the pieces that end with the headers


@pytest.mark.parametrize(
    ("options", "version", "short"),
    [(["Connection: close"], "1.1", 1), ([], "1.0", 0), (["Expect: 100-continue"], "1.1", 0)],
)
def test_special_connections(app, replies, options, version, short):
    async def talk():
        async with connected(app) as (reader, writer, _):
            writer.write(request({"user": 3}, *options, version=version))
            return await asyncio.wait_for(reader.read(1 if "Expect: 100-continue" in options else -1), 10)

    got = asyncio.run(talk())
    assert got.startswith(b"HTTP/1.1 " if len(got) > 1 else b"H")
    assert (b"connection: close" in got) == (len(got) > 1)
    assert len(replies) == short


def test_a_client_that_goes_before_its_answer_leaves_the_others(app, replies):
    async def talk():
        async with connected(app) as (_, gone, state), connected(app) as (reader, writer, _):
            gone.write(request({"user": 1}))
            gone.transport.abort()
            writer.write(request({"user": 2}))
            told = await answer(reader)
            while state.connections:
                await asyncio.sleep(0.001)
            return told

    async def whole():
        try:
            return await talk()
        except ConnectionError:  # of the one that hung up itself
            return None

    told = asyncio.run(whole())
    assert told is None or told[0] == 200


def test_a_connection_that_asks_nothing_more_is_closed(app):
    async def talk():
        async with connected(app, keep_alive=0.2) as (reader, writer, _):
            for _ in range(3):
                writer.write(request({"user": 3}))
                await answer(reader)
                await asyncio.sleep(0.1)
            begun = asyncio.get_running_loop().time()
            rest = await asyncio.wait_for(reader.read(), 10)
            return rest, asyncio.get_running_loop().time() - begun

    rest, took = asyncio.run(talk())
    assert rest == b""
    assert 0.05 < took < 5


def test_an_error_of_one_is_told_to_it_alone(app, replies, monkeypatch):
    index = app.service.models.get().index
    own = index.recommend

    def recommend(questions):
        if any(q.user == index.users.row(1) for q in questions):
            raise RuntimeError("no")
        return own(questions)

    monkeypatch.setattr(index, "recommend", recommend)
    (bad, good) = exchanged(app, request({"user": 1}), request({"user": 2}))
    assert (bad[0], bad[2]["error"]["code"], good[0]) == (500, "internal", 200)
    assert bad[1]["x-request-id"] == bad[2]["error"]["request_id"]
    assert len(replies) == 2


def test_a_model_that_takes_its_time_goes_the_long_way(app, replies, monkeypatch):
    monkeypatch.setattr(app.service.models.get().index, "quick", False)
    ((status, _, told),) = exchanged(app, request({"user": 3}))
    assert (status, len(told["lists"][0]["items"])) == (200, 10)
    assert not replies


def test_keys_and_counters_hold_on_the_short_way(app, replies, monkeypatch):
    digest = hashlib.sha256(b"0123456789abcdef").digest()
    monkeypatch.setattr(app.service, "keys", Keys([Key("shop", digest, "read", rate=0.001, burst=3)]))

    def count(status):
        return app.service.telemetry._own[app.service.telemetry._at["requests", "/recommend", status]]

    before = count("2xx"), count("4xx")
    one = request({"user": 3}, "X-API-Key: 0123456789abcdef")
    told = exchanged(app, request({"user": 3}), *[one] * 5, request({"user": 3}, "X-API-Key: another-one-0123"))
    assert [status for status, _, _ in told] == [401, 200, 200, 200, 429, 429, 401]
    assert len(replies) == 3
    assert (count("2xx") - before[0], count("4xx") - before[1]) == (3, 4)
