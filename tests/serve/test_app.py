"""Whatever comes in: an answer, or an error of the one shape; and the service lives."""

import asyncio
import json
import logging
import time

import numpy as np
import polars as pl
import pytest
from msgspec import Raw

import cofactor as cf
from cofactor.serve.app import App
from cofactor.serve.limits import Limits
from cofactor.serve.settings import Settings, make_app
from serve.asking import ask, call

N_USERS, N_ITEMS = 40, 30
LIMITS = {"body": 20_000, "users": 50, "k": 20, "history": 100, "ids": 60, "seconds": 2.0}
FILTERED = [item for item in range(N_ITEMS) if item % 2 == 0 and item < 20]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    x = cf.datasets.synthetic(n_users=N_USERS, n_items=N_ITEMS, n_interactions=400, factors=4, seed=0)
    cf.ImplicitALS(8, iterations=2, seed=0).fit(x).save(folder / "numbers")
    table = x.to_frame().with_columns(user_id="u" + pl.col("user_id").cast(pl.String))
    table = table.with_columns(item_id="a/b " + pl.col("item_id").cast(pl.String) + "ä")
    cf.ItemKNN().fit(cf.Interactions.from_frame(table)).save(folder / "texts")
    items = pl.DataFrame({"item_id": range(N_ITEMS), "kind": ["even", "odd"] * (N_ITEMS // 2), "price": range(N_ITEMS)})
    items.with_columns(name="item " + pl.col("item_id").cast(pl.String)).write_parquet(folder / "items.parquet")
    return folder


@pytest.fixture(scope="module")
def app(folder):
    settings = Settings(
        {name: str(folder / name) for name in ("numbers", "texts")},
        items=str(folder / "items.parquet"),
        store=str(folder / "events.db"),
        limits=LIMITS,
    )
    app = make_app(settings)
    yield app
    app.service.close()


def test_a_list(app, folder):
    status, told = ask(app, "/recommend", {"user": 3, "k": 4})
    table = cf.load(folder / "numbers").recommend([3], k=4)
    assert status == 200
    assert told["lists"][0]["items"] == table.select(item="item_id", score="score").to_dicts()
    assert told["lists"][0]["source"] == "model"
    assert told["lists"][0]["user"] == 3
    assert told["model"]["name"] == "numbers"
    assert len(told["model"]["version"]) == 12
    assert told["took_ms"] > 0


def test_many_users_and_another_model(app):
    users = [{"user": "u1"}, {"history": [{"item": "a/b 3ä"}, {"item": "gone"}]}, {"user": "nobody"}]
    status, told = ask(app, "/recommend", {"users": users, "k": 3, "model": "texts"})
    assert status == 200
    assert [one["source"] for one in told["lists"]] == ["model", "fold_in", "popular"]
    assert [one.get("unknown_items") for one in told["lists"]] == [None, ["gone"], ["nobody"]]
    assert all(item["item"].startswith("a/b ") for one in told["lists"] for item in one["items"])


def test_long_answers_are_written_list_by_list(app, monkeypatch):
    asked = {"users": [{"user": user} for user in [3, 999, 7]], "k": 5}
    short = ask(app, "/recommend", asked)[1]["lists"]
    written = []
    monkeypatch.setattr("cofactor.serve.service._AT_A_STRETCH", 3)
    monkeypatch.setattr("cofactor.serve.service.Raw", lambda body: written.append(body) or Raw(body))
    assert ask(app, "/recommend", asked)[1]["lists"] == short
    assert [json.loads(body) for body in written] == short


def test_filters(app):
    status, told = ask(app, "/recommend", {"user": 3, "k": 20, "filter": "kind = even and price < 20"})
    assert status == 200
    listed = {item["item"] for item in told["lists"][0]["items"]}
    assert listed
    assert listed <= set(FILTERED)
    few = ask(app, "/recommend", {"user": 3, "filter": "kind = even", "items": [2, 4, 5, 99], "exclude": [4]})[1][
        "lists"
    ][0]
    assert {item["item"] for item in few["items"]} <= {2}
    assert few["unknown_items"] == [99]


def test_similar(app, folder):
    table = cf.load(folder / "numbers").similar_items([3], k=4)
    status, told = ask(app, "/similar/3", query="k=4")
    assert status == 200
    assert [one["item"] for one in told["items"]] == table["similar_item_id"].to_list()
    even = ask(app, "/similar/3", query="k=20&filter=kind%20%3D%20even")[1]["items"]
    assert {one["item"] % 2 for one in even} == {0}
    status, told = ask(app, "/similar/a/b 3ä", query="model=texts")  # as servers hand on percent-encoded paths
    assert status == 200
    assert told["item"] == "a/b 3ä"


def test_what_it_tells_of_itself(app):
    status, told = ask(app, "/about")
    assert status == 200
    assert [model["name"] for model in told["models"]] == ["numbers", "texts"]
    assert told["limits"] == LIMITS
    assert (told["name_column"], told["events"]) == ("name", True)
    assert ask(app, "/health/live")[0] == 200
    assert ask(app, "/health/ready")[0] == 503
    app.service.ready = True
    assert ask(app, "/health/ready")[0] == 200
    assert ask(app, "/users", query="q=u3&model=texts")[1]["users"][0].startswith("u3")
    assert ask(app, "/user/3")[1]["history"]
    document = ask(app, "/openapi.json")[1]
    assert set(document["paths"]) >= {"/recommend", "/events", "/health/ready", "/items/{item}"}
    status, headers, page = call(app, "GET", "/docs")
    assert (status, headers[b"content-type"][:9]) == (200, b"text/html")
    assert b"/similar/{item}" in page


def test_every_route_is_described(app):
    paths = {
        (method.lower(), route.path.replace(":path", ""))
        for route in app._router.routes
        for method in route.methods - {"HEAD"}
        if route.path not in ("/", "/page/{file}", "/docs", "/openapi.json")
    }
    described = ask(app, "/openapi.json")[1]["paths"]
    assert {(method, path) for path, methods in described.items() for method in methods} == paths | {
        ("post", "/recommend")
    }


def test_metrics(app):
    ask(app, "/recommend", {"user": 99_999})
    ask(app, "/recommend", b"{")
    text = call(app, "GET", "/metrics")[2].decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['cofactor_requests_total{route="/recommend",status="4xx"}']) >= 1
    assert float(values['cofactor_lists_total{source="popular"}']) >= 1
    assert float(values["cofactor_unknown_ids_total"]) >= 1
    assert float(values["cofactor_batch_questions_count"]) >= 1
    assert any(name.startswith('cofactor_model_info{name="numbers",version="') for name in values)
    buckets = [
        float(v) for n, v in values.items() if n.startswith('cofactor_request_seconds_bucket{route="/recommend"')
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == float(values['cofactor_request_seconds_count{route="/recommend"}'])


def test_a_model_that_takes_over_is_counted(tmp_path):
    x = cf.datasets.synthetic(n_users=20, n_items=10, n_interactions=60, factors=2, seed=0)
    cf.Popular().fit(x).save(tmp_path / "model")
    app = make_app(Settings({"model": str(tmp_path / "model")}))
    try:
        for model in (cf.Popular(), cf.Random(seed=1)):
            model.fit(x).save(tmp_path / "model")
            assert ask(app, "/reload", {})[0] == 200
        assert "\ncofactor_model_switches_total 2\n" in app.service.telemetry.text([])
    finally:
        app.service.close()


def test_a_model_that_was_refused_is_told(tmp_path):
    x = cf.datasets.synthetic(n_users=20, n_items=10, n_interactions=60, factors=2, seed=0)
    cf.Popular().fit(x).save(tmp_path / "model")
    app = make_app(Settings({"model": str(tmp_path / "model")}))

    def told():
        lines = call(app, "GET", "/metrics")[2].decode().splitlines()
        return ask(app, "/about")[1]["models"][0]["refused"], 'cofactor_model_refused{name="model"} 1' in lines

    try:
        assert told() == (None, False)
        header = (tmp_path / "model" / "model.json").read_text()
        (tmp_path / "model" / "model.json").write_text("{}")
        status, failed = ask(app, "/reload", {})
        assert told() == (failed["error"]["message"], True)
        assert (status, failed["error"]["code"]) == (422, "model_not_loaded")
        assert str(tmp_path) not in told()[0]
        (tmp_path / "model" / "model.json").write_text(header)
        cf.Random(seed=1).fit(x).save(tmp_path / "model")
        assert ask(app, "/reload", {})[0] == 200
        assert told() == (None, False)
    finally:
        app.service.close()


def test_ids_that_no_path_can_hold(app):
    for path, name in (("/similar", "item"), ("/items", "item"), ("/user", "user")):
        assert ask(app, path, query=f"{name}=3")[1] == ask(app, f"{path}/3")[1]
        refused(*ask(app, path), 422, name)
        refused(*ask(app, path, query=f"{name}=9999"), 404, f"unknown_{name}")
    status, told = ask(app, "/similar", query="item=a%2Fb+3%C3%A4&model=texts&k=2")
    assert (status, told["item"], len(told["items"])) == (200, "a/b 3ä", 2)


DEEP = b'{"user":' + b"[" * 5000 + b"]" * 5000 + b"}"
SQL = "1'; DROP TABLE cofactor_events; --"
BAD = {
    "no JSON": (b"{", 400, "json"),
    "nothing": (b"", 400, "json"),
    "no UTF-8": (b'{"user": "\xff"}', 400, "json"),
    "a NUL": (b"\x00", 400, "json"),
    "NaN": (b'{"history": [{"item": 1, "weight": NaN}]}', 400, "json"),
    "Infinity": (b'{"history": [{"item": 1, "weight": Infinity}]}', 400, "json"),
    "deep": (DEEP, 422, "body"),
    "a list": (b"[]", 422, "body"),
    "a number": (b"3", 422, "body"),
    "null": (b"null", 422, "body"),
    "nobody": ({}, 422, "nobody"),
    "no users": ({"users": []}, 422, "body"),
    "users and user": ({"users": [{"user": 1}], "user": 2}, 422, "body"),
    "an empty person": ({"users": [{}]}, 422, "nobody"),
    "a field that is not": ({"user": 1, "K": 3}, 422, "body"),
    "text for a number": ({"user": "12"}, 422, "id_type"),
    "a number for text": ({"user": 12, "model": "texts"}, 422, "id_type"),
    "text in a history": ({"history": [{"item": "12"}]}, 422, "id_type"),
    "text in exclude": ({"user": 1, "exclude": ["1"]}, 422, "id_type"),
    "true for 1": ({"user": True}, 422, "body"),
    "a fraction for an id": ({"user": 1.5}, 422, "body"),
    "a list for an id": ({"user": [1]}, 422, "body"),
    "k of 0": ({"user": 1, "k": 0}, 422, "k"),
    "k below 0": ({"user": 1, "k": -1}, 422, "k"),
    "k too large": ({"user": 1, "k": 21}, 422, "k"),
    "k enormous": ({"user": 1, "k": 10**30}, 422, "k"),
    "k of text": ({"user": 1, "k": "10"}, 422, "body"),
    "k of a fraction": ({"user": 1, "k": 1.5}, 422, "body"),
    "k of null": ({"user": 1, "k": None}, 422, "body"),
    "weight of 0": ({"history": [{"item": 1, "weight": 0}]}, 422, "weight"),
    "weight below 0": ({"history": [{"item": 1, "weight": -1}]}, 422, "weight"),
    "weight enormous": ({"history": [{"item": 1, "weight": 1e300}]}, 422, "weight"),
    "weights together": ({"history": [{"item": 1, "weight": 1e12}] * 2}, 422, "weight"),
    "weight tiny": ({"history": [{"item": 1, "weight": 1e-300}]}, 422, "weight"),
    "weight of text": ({"history": [{"item": 1, "weight": "1"}]}, 422, "body"),
    "weight beyond floats": (b'{"history": [{"item": 1, "weight": 1e400}]}', 422, "body"),
    "rating for weights": ({"history": [{"item": 1, "rating": 3}]}, 422, "history"),
    "no time": ({"history": [{"item": 1, "time": "yesterday"}]}, 422, "bad_time"),
    "a time of the Romans": ({"history": [{"item": 1, "time": 5}]}, 422, "implausible_time"),
    "a time to come": ({"history": [{"item": 1, "time": "2999-01-01"}]}, 422, "implausible_time"),
    "times of some": ({"history": [{"item": 1, "time": "2026-01-01"}, {"item": 2}]}, 422, "history"),
    "an event without an item": ({"history": [{}]}, 422, "body"),
    "history of text": ({"history": "1,2"}, 422, "body"),
    "too much history": ({"history": [{"item": 1}] * 101}, 422, "too_many"),
    "too many users": ({"users": [{"user": 1}] * 51}, 422, "too_many"),
    "too many ids": ({"user": 1, "exclude": list(range(61))}, 422, "too_many"),
    "a million ids": (json.dumps({"user": 1, "items": list(range(10**6))}).encode(), 413, "body_too_large"),
    "a filter on nothing": ({"user": 1, "filter": "colour = red"}, 422, "filter"),
    "no filter": ({"user": 1, "filter": "price <"}, 422, "filter"),
    "a filter of text on numbers": ({"user": 1, "filter": "price = cheap"}, 422, "filter"),
    "SQL in a filter": ({"user": 1, "filter": f"kind = {SQL}"}, 422, "filter"),
    "code in a filter": ({"user": 1, "filter": "__import__('os').system('true')"}, 422, "filter"),
    "an unknown model": ({"user": 1, "model": "numbrs"}, 404, "unknown_model"),
    "a path for a model": ({"user": 1, "model": "../../etc/passwd"}, 404, "unknown_model"),
    "nothing before": ({"user": 1, "model": "previous"}, 404, "no_previous_model"),
    "unknown, no fallback": ({"user": 99, "fallback": False}, 404, "unknown_user"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bodies(app, name):
    body, status, code = BAD[name]
    refused(*ask(app, "/recommend", body, method="POST"), status, code)
    assert ask(app, "/recommend", {"user": 3})[0] == 200


def refused(status, told, wanted, code):
    assert (status, told["error"]["code"]) == (wanted, code), told
    assert set(told) == {"error"}
    assert set(told["error"]) == {"code", "message", "field", "request_id"}
    assert len(told["error"]["message"]) < 1000
    assert not any(part in json.dumps(told) for part in ("/tmp", "site-packages", "Traceback", "src/"))


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "status", "code"),
    [
        ("GET", "/nothing", "", None, 404, "not_found"),
        ("GET", "/recommend", "", None, 405, "method"),
        ("DELETE", "/predict", "", None, 405, "method"),
        ("BREW", "/about", "", None, 405, "method"),
        ("GET", "/../../etc/passwd", "", None, 404, "not_found"),
        ("GET", "/page/../../../etc/passwd", "", None, 404, "not_found"),
        ("GET", "/similar/abc", "", None, 422, "id_type"),
        ("GET", "/similar/ 3", "", None, 422, "id_type"),
        ("GET", "/similar/+3", "", None, 422, "id_type"),
        ("GET", "/similar/٣", "", None, 422, "id_type"),  # a digit, but not of ours
        ("GET", f"/similar/{'9' * 5000}", "", None, 422, "id_type"),
        ("GET", "/similar/9999", "", None, 404, "unknown_item"),
        ("GET", "/similar/", "", None, 422, "id_type"),
        ("GET", f"/similar/{SQL}", "model=texts", None, 404, "unknown_item"),
        ("GET", "/similar/3", "k=0", None, 422, "k"),
        ("GET", "/similar/3", "k=ten", None, 422, "k"),
        ("GET", "/similar/3", "k=" + "9" * 10_000, None, 422, "k"),
        ("GET", "/similar/3", "model=%00", None, 404, "unknown_model"),
        ("GET", "/similar/3", "filter=%FF%FE", None, 422, "filter"),
        ("GET", "/user/9999", "", None, 404, "unknown_user"),
        ("GET", "/items/9999", "", None, 404, "unknown_item"),
        ("POST", "/predict", "", {"pairs": [{"user": "1", "item": 2}]}, 422, "id_type"),
        ("POST", "/predict", "", {"pairs": [{"user": 1, "item": 2}] * 51}, 422, "too_many"),
        ("POST", "/predict", "", {}, 422, "body"),
        ("POST", "/explain", "", {"item": 3}, 422, "nobody"),
        ("POST", "/explain", "", {"item": 3, "user": 99}, 404, "unknown_user"),
        ("POST", "/explain", "", {"item": 99, "user": 3}, 404, "unknown_item"),
        ("POST", "/events", "", {"events": [{"user": "1", "item": 2}]}, 422, "id_type"),
    ],
)
def test_bad_requests(app, method, path, query, body, status, code):
    refused(*ask(app, path, body, method=method, query=query), status, code)


def test_bodies_that_come_slowly_or_not_to_the_end(app):
    small = Limits(**{**LIMITS, "seconds": 0.3})
    slow = App(app.service, [])
    whole, slow.service.limits = slow.service.limits, small
    try:
        begun = time.perf_counter()
        status, _, told = call(slow, "POST", "/recommend", pieces=[b'{"us', b""])
        refused(status, json.loads(told), 400, "json")
        status, headers, told = call(slow, "POST", "/recommend", pieces=[])
        refused(status, json.loads(told), 408, "slow_body")
        assert headers[b"connection"] == b"close"
        assert time.perf_counter() - begun < 5
    finally:
        slow.service.limits = whole
    status, _, told = call(app, "POST", "/recommend", pieces=[b'{"user"', None])
    refused(status, json.loads(told), 400, "disconnected")
    status, _, told = call(app, "POST", "/recommend", pieces=[b"x" * 9000] * 4)
    refused(status, json.loads(told), 413, "body_too_large")
    status, _, told = call(app, "POST", "/recommend", b"{}", headers=[(b"content-length", b"99999999999")])
    refused(status, json.loads(told), 413, "body_too_large")
    assert call(app, "POST", "/recommend", pieces=[b'{"user', b'":3}'])[0] == 200


def test_an_answer_that_takes_too_long(app, monkeypatch):
    """It is told so, and what comes next is answered."""
    monkeypatch.setattr(app.service, "limits", Limits(**{**LIMITS, "seconds": 0.2}))
    index = app.service.models.get().index
    own, slow = index.recommend, [0.8, 0]
    monkeypatch.setattr(index, "quick", False)
    monkeypatch.setattr(index, "recommend", lambda questions: time.sleep(slow.pop(0)) or own(questions))

    async def both():
        first = await called(app, b'{"user":3}')
        monkeypatch.setattr(app.service, "limits", Limits(**LIMITS))
        return first, await called(app, b'{"user":3}')

    (status, told), after = asyncio.run(both())
    refused(status, told, 503, "timeout")
    assert after[0] == 200


async def called(app, body):
    """Status and JSON of an answer, among others that are under way."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    await app({"type": "http", "method": "POST", "path": "/recommend", "headers": []}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_what_goes_wrong_inside_is_told_to_the_log_alone(app, monkeypatch, caplog):
    logging.getLogger("cofactor").propagate = True
    index = app.service.models.get().index

    def crash(*_):
        raise RuntimeError("/secret/path is broken")

    monkeypatch.setattr(index, "recommend", crash)
    status, told = ask(app, "/recommend", {"user": 3})
    refused(status, told, 500, "internal")
    assert "secret" not in json.dumps(told)
    assert "secret" in caplog.text
    assert any(getattr(r, "fields", {}).get("request_id") == told["error"]["request_id"] for r in caplog.records)


def test_one_bad_question_spoils_no_other(app, monkeypatch):
    index = app.service.models.get().index
    own = type(index).recommend

    def choosy(questions):
        if any(question.user == 5 for question in questions):
            raise cf.DataError("not this one")
        return own(index, questions)

    monkeypatch.setattr(index, "recommend", choosy)

    async def both():
        every = await asyncio.gather(*(called(app, b'{"user":%d}' % user) for user in (3, 5, 4)))
        return [status for status, _ in every]

    assert asyncio.run(both()) == [200, 422, 200]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"abc-123_x", True),
        (b"a\r\nSet-Cookie: x=1", False),
        (b"x" * 65, False),
        (b"<script>", False),
        (b"\xff", False),
    ],
)
def test_request_ids(app, given, kept):
    status, headers, _ = call(app, "POST", "/recommend", b'{"user":3}', headers=[(b"x-request-id", given)])
    assert status == 200
    assert (headers[b"x-request-id"] == given) is kept
    assert headers[b"x-request-id"].replace(b"-", b"").replace(b"_", b"").isalnum()


def test_new_events_and_stock_count_at_once(app):
    assert ask(app, "/events", {"events": [{"user": 77, "item": item} for item in (1, 2)]})[1] == {"accepted": 2}
    told = ask(app, "/recommend", {"user": 77, "k": 3})[1]["lists"][0]
    alike = ask(app, "/recommend", {"history": [{"item": 1}, {"item": 2}], "k": 3})[1]["lists"][0]
    assert (told["source"], told["items"]) == ("fold_in", alike["items"])
    out = told["items"][0]["item"]
    assert ask(app, "/availability", {"out": [out]}, method="PUT")[0] == 200
    now = ask(app, "/recommend", {"user": 77, "k": 3})[1]["lists"][0]["items"]
    assert [one["item"] for one in now[:2]] == [one["item"] for one in told["items"][1:]]
    ask(app, "/availability", {"in": [out]}, method="PUT")


def test_a_new_store_is_no_other_answer(app, folder):
    """All known users at once are the table that recommend gives."""
    model = cf.load(folder / "numbers")
    users = model.interactions_.users.ids.to_list()
    told = ask(app, "/recommend", {"users": [{"user": user} for user in users], "k": 7, "fallback": False})[1]
    table = model.recommend(users, k=7)
    listed = [(one["user"], item["item"], item["score"]) for one in told["lists"] for item in one["items"]]
    assert listed == list(zip(table["user_id"], table["item_id"], table["score"], strict=True))
    np.testing.assert_array_equal([score for *_, score in listed], table["score"])
