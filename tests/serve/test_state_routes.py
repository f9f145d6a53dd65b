"""Routes that change something, from the request's bytes to the answer's."""

import asyncio
import json

import numpy as np
import pytest

import cofactor as cf
from cofactor.serve.answers import Index
from cofactor.serve.app import App
from cofactor.serve.keys import Keys
from cofactor.serve.limits import Limits
from cofactor.serve.routes import routes
from cofactor.serve.service import Service
from cofactor.serve.state_routes import state_routes
from cofactor.serve.store import open_store
from cofactor.serve.swap import Models

KEYS = {"COFACTOR_KEYS": "read:read-0123456789abc,write:write-0123456789ab,admin:admin-0123456789ab"}


def save(folder, seed=0, n_items=20):
    rng = np.random.default_rng(seed)
    table = {"user_id": np.repeat(np.arange(30), 5), "item_id": rng.integers(0, n_items, 150)}
    cf.ItemKNN().fit(cf.Interactions.from_frame(table)).save(folder)


@pytest.fixture
def serve(tmp_path):
    """Makes applications of one model and one store, as several workers are."""
    save(tmp_path / "shop")
    made = []

    def make(keys=(), store=True, **limits):
        models = Models({"shop": tmp_path / "shop"}, Index)
        opened = open_store(tmp_path / "events.db") if store else None
        service = Service(models, store=opened, keys=Keys.read(None, dict(keys)), limits=Limits(**limits))
        made.append(service)
        return App(service, [*routes(service), *state_routes(service)])

    yield make
    for service in made:
        service.close()


def ask(app, method, path, body=None, key=None):
    """Status and JSON of an answer."""
    sent = []
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    headers = [] if key is None else [(b"authorization", f"Bearer {key}".encode())]
    scope = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b""}

    async def receive():
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def listed(app, **asked):
    status, told = ask(app, "POST", "/recommend", {"k": 5, **asked})
    assert status == 200, told
    return [one["item"] for one in told["lists"][0]["items"]]


def test_what_happened_is_in_the_next_list_of_every_worker(serve):
    one, two = serve(), serve()
    before = listed(two, user=999, history=[])
    status, told = ask(one, "POST", "/events", {"events": [{"user": 999, "item": 3}, {"user": 999, "item": 4}]})
    assert (status, told) == (200, {"accepted": 2})
    for app in (one, two):
        after = listed(app, user=999)
        assert after != before
        assert not {3, 4} & set(after)
        assert after == listed(app, history=[{"item": 3}, {"item": 4}])


def test_items_out_of_stock_never_come_back_and_lists_stay_full(serve):
    one, two = serve(), serve()
    first = listed(two, user=1)
    assert ask(one, "PUT", "/availability", {"out": first[:2]}) == (200, {"unavailable": 2})
    now = listed(two, user=1)
    assert len(now) == 5
    assert not set(first[:2]) & set(now)
    assert ask(two, "GET", "/availability") == (200, {"unavailable": sorted(first[:2])})
    assert ask(two, "PUT", "/availability", {"items": {str(first[0]): True, str(first[4]): False}})[0] == 200
    assert set(first[1:2] + first[4:5]).isdisjoint(listed(one, user=1))
    assert ask(two, "PUT", "/availability", {"in": [first[1], first[4]]}) == (200, {"unavailable": 0})
    assert listed(one, user=1) == first


def test_reload_and_rollback(serve, tmp_path):
    app = serve()
    first = ask(app, "GET", "/about")[1]["models"][0]["version"]
    save(tmp_path / "shop", seed=1)
    status, told = ask(app, "POST", "/reload", {"model": "shop"})
    assert status == 200
    second = told["model"]["version"]
    assert second != first
    assert ask(app, "POST", "/recommend", {"user": 1})[1]["model"]["version"] == second
    assert ask(app, "POST", "/rollback")[1]["model"]["version"] == first
    assert ask(app, "POST", "/recommend", {"user": 1})[1]["model"]["version"] == first
    assert ask(app, "POST", "/recommend", {"user": 1, "model": "previous"})[1]["model"]["version"] == second
    save(tmp_path / "shop", n_items=5)
    status, told = ask(app, "POST", "/reload", b"")
    assert (status, told["error"]["code"]) == (409, "model_refused")


SECOND = "events[1].user"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "field"),
    [
        (
            "POST",
            "/events",
            {"events": [{"user": 1, "item": 2}, {"user": "1", "item": 2}]},
            422,
            "id_type",
            "events[1].user",
        ),
        ("POST", "/events", {"events": [{"user": 1, "item": "x"}]}, 422, "id_type", "events[0].item"),
        ("POST", "/events", {"events": [{"user": 2**64, "item": 1}]}, 422, "bad_id", "events[0].user"),
        ("POST", "/events", {"events": [{"user": 1, "item": 1, "time": "soon"}]}, 422, "bad_time", "events[0].time"),
        ("POST", "/events", {"events": [{"user": 1, "item": 1, "time": 5}]}, 422, "implausible_time", "events[0].time"),
        ("POST", "/events", {"events": [{"user": 1, "item": 1, "weight": 0}]}, 422, "bad_weight", "events[0].weight"),
        ("POST", "/events", {"events": [{"user": 1, "item": 1}] * 11}, 422, "too_many", "events"),
        ("POST", "/events", {"events": [{"user": 1}]}, 422, "body", "events[0]"),
        ("POST", "/events", {"events": [{"user": 1, "item": 1, "extra": 1}]}, 422, "body", "events[0]"),
        ("POST", "/events", b"{", 400, "json", None),
        ("POST", "/events", b'{"events": [{"user": NaN}]}', 400, "json", None),
        ("PUT", "/availability", {}, 422, "nothing_to_do", "items"),
        ("PUT", "/availability", {"out": ["x"]}, 422, "id_type", "out[0]"),
        ("PUT", "/availability", {"items": {"x": False}}, 422, "id_type", None),
        ("PUT", "/availability", {"out": [1], "in": [1]}, 422, "in_and_out", "in[0]"),
        ("PUT", "/availability", {"out": list(range(11))}, 422, "too_many", "out"),
        ("POST", "/reload", {"model": "../../etc"}, 404, "unknown_model", "model"),
        ("POST", "/reload", {"folder": "/etc"}, 422, "body", None),
        ("POST", "/rollback", b"", 404, "no_previous_model", "model"),
        ("GET", "/events", None, 405, "method", None),
    ],
)
def test_what_is_refused(serve, method, path, body, status, code, field):
    app = serve(ids=10)
    told = ask(app, method, path, body)
    assert (told[0], told[1]["error"]["code"]) == (status, code), told
    assert field is None or told[1]["error"]["field"] == field
    assert ask(app, "POST", "/events", {"events": []}) == (200, {"accepted": 0})
    assert ask(app, "GET", "/availability") == (200, {"unavailable": []})


def test_nothing_of_a_request_is_stored_where_a_part_is_wrong(serve):
    app = serve()
    ask(app, "POST", "/events", {"events": [{"user": 1, "item": 2}, {"user": 1, "item": 2, "rating": "x"}]})
    app.service.store.refresh()
    assert app.service.store.history(1) == ()


def test_without_a_store(serve):
    app = serve(store=False)
    for method, path, body in (("POST", "/events", {"events": []}), ("GET", "/availability", None)):
        status, told = ask(app, method, path, body)
        assert (status, told["error"]["code"]) == (404, "no_store")


@pytest.mark.parametrize(
    ("method", "path", "body", "role"),
    [
        ("POST", "/events", {"events": []}, "write"),
        ("PUT", "/availability", {"out": []}, "admin"),
        ("POST", "/reload", None, "admin"),
        ("POST", "/rollback", None, "admin"),
    ],
)
def test_who_may(serve, method, path, body, role):
    app = serve(KEYS)
    keys = {one.partition(":")[0]: one.partition(":")[2] for one in KEYS["COFACTOR_KEYS"].split(",")}
    order = ["read", "write", "admin"]
    assert ask(app, method, path, body)[0] == 401
    for name in order:
        status = ask(app, method, path, body, keys[name])[0]
        assert (status == 403) == (order.index(name) < order.index(role))
