"""What is known of items, and the page, as a client gets them."""

import asyncio
import json
from urllib.parse import quote_plus, unquote

import polars as pl
import pytest

import cofactor as cf
from cofactor.serve.answers import Index
from cofactor.serve.app import App
from cofactor.serve.catalogue import Catalogue
from cofactor.serve.catalogue_routes import catalogue_routes
from cofactor.serve.limits import Limits
from cofactor.serve.page import page_asset
from cofactor.serve.service import Service
from cofactor.serve.swap import Models

IDS = ["a/b", "../x", "50%", "12", "ünï", "it's", "..", " "]


@pytest.fixture(scope="module")
def apps(tmp_path_factory):
    """The same model with a table of items, which knows one item more, and without."""
    folder = tmp_path_factory.mktemp("served")
    pairs = [(user, item) for n, item in enumerate(IDS) for user in range(n + 1)]
    x = cf.Interactions.from_frame(pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row"))
    cf.Popular().fit(x).save(folder / "shop")
    names = ["Milk", "Milk", "Butter", "Buttermilk <b>", None, "Milk shake", "Dots", "Air", "Milk of tomorrow"]
    catalogue = Catalogue.read(pl.DataFrame({"item_id": [*IDS, "new"], "name": names, "price": range(9)}))
    made = [
        Service(Models({"shop": folder / "shop"}, Index), catalogue=one, limits=Limits(ids=10))
        for one in (catalogue, None)
    ]
    yield [App(service, catalogue_routes(service)) for service in made]
    for service in made:
        service.close()


def ask(app, method, path, body=None, headers=()):
    """Status, headers and body of an answer; ``path`` as it stands in a request."""
    sent = []
    before, _, query = path.partition("?")
    scope = {"type": "http", "method": method, "path": unquote(before), "raw_path": before.encode()}
    scope |= {"headers": list(headers), "query_string": query.encode(), "http_version": "1.1", "scheme": "http"}
    scope |= {"server": ("localhost", 80), "client": ("localhost", 1), "root_path": ""}
    data = b"" if body is None else json.dumps(body).encode()

    async def receive():
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    told = dict(sent[0]["headers"])
    return sent[0]["status"], told, b"".join(one.get("body", b"") for one in sent[1:])


def read(app, *request, **more):
    status, _, body = ask(app, *request, **more)
    return status, json.loads(body)


@pytest.mark.parametrize(
    ("path", "item"), [("a%2Fb", "a/b"), ("a/b", "a/b"), ("..%2Fx", "../x"), ("50%25", "50%"), ("%C3%BCn%C3%AF", "ünï")]
)
def test_an_item_of_any_id_is_told(apps, path, item):
    status, told = read(apps[0], "GET", f"/items/{path}")
    assert (status, told["item"]) == (200, item)
    assert told["attributes"]["price"] == IDS.index(item)


@pytest.mark.parametrize("item", IDS)
def test_an_item_is_told_by_a_query_too(apps, item):
    status, told = read(apps[0], "GET", f"/items?item={quote_plus(item)}")
    assert (status, told["item"], told["attributes"]["price"]) == (200, item, IDS.index(item))


def test_many_items_are_told_at_once(apps):
    status, told = read(apps[0], "POST", "/items", {"items": ["12", "unknown", "a/b"]})
    assert status == 200
    assert [one["item"] for one in told["items"]] == ["12", "a/b"]
    assert read(apps[0], "POST", "/items", {"items": []}) == (200, {"items": []})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/items/unknown", None, 404, "unknown_item"),
        ("GET", "/items/", None, 404, "unknown_item"),
        ("GET", "/items", None, 422, "item"),
        ("GET", "/items?item=", None, 404, "unknown_item"),
        ("POST", "/items", {"items": [12]}, 422, "id_type"),
        ("POST", "/items", {"items": ["x"] * 11}, 422, "too_many"),
        ("POST", "/items", {"ids": []}, 422, "body"),
        ("POST", "/items", {"items": [True]}, 422, "body"),
        ("GET", "/search?q=milk&k=0", None, 422, "k"),
        ("GET", "/search?q=milk&k=many", None, 422, "k"),
        ("GET", "/search?q=milk&model=other", None, 404, "unknown_model"),
        ("GET", "/page/..%2Fpage.py", None, 404, "not_found"),
        ("GET", "/page/%2Fetc%2Fpasswd", None, 404, "not_found"),
        ("GET", "/page/page.py", None, 404, "not_found"),
        ("POST", "/", None, 405, "method"),
    ],
)
def test_what_is_wrong_is_told_in_one_shape(apps, method, path, body, status, code):
    got, told = read(apps[0], method, path, body)
    assert (got, told["error"]["code"]) == (status, code)
    assert set(told["error"]) == {"code", "message", "field", "request_id"}


def test_search_finds_what_the_model_knows_in_the_order_of_its_users(apps):
    status, told = read(apps[0], "GET", "/search?q=milk")
    assert status == 200
    assert [one["item"] for one in told["items"]] == ["it's", "../x", "a/b"]  # not the one of tomorrow
    assert read(apps[0], "GET", "/search?q=milk&k=1")[1] == {"items": [{"item": "it's", "name": "Milk shake"}]}
    assert read(apps[0], "GET", "/search?q=a/b")[1]["items"][0]["item"] == "a/b"
    assert read(apps[0], "GET", "/search?q=%27%20or%201=1--")[1] == {"items": []}
    assert read(apps[0], "GET", "/search")[1] == {"items": []}


def test_without_a_table_ids_are_found_and_the_rest_is_told(apps):
    bare = apps[1]
    assert read(bare, "GET", "/search?q=a")[1] == {"items": [{"item": "a/b", "name": None}]}
    assert read(bare, "GET", "/items/12")[1]["error"]["code"] == "no_items"
    assert read(bare, "POST", "/items", {"items": []})[1]["error"]["code"] == "no_items"


def test_the_page_is_whole_and_kept(apps):
    status, headers, body = ask(apps[1], "GET", "/")
    assert status == 200
    assert b"default-src 'none'" in headers[b"content-security-policy"]
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert body.startswith(b"<!doctype html>")
    kept = [(b"if-none-match", headers[b"etag"])]
    assert ask(apps[1], "GET", "/", headers=kept)[::2] == (304, b"")
    assert ask(apps[1], "HEAD", "/")[0] == 200
    assert page_asset("/page/page.css").headers["content-type"] == "text/css; charset=utf-8"
    for name in ("index.html", "page.js", "calls.js", "items.js", "filters.js", "pieces.js", "page.css"):
        text = (page_asset("/") if name == "index.html" else page_asset(f"/page/{name}")).body.decode()
        assert "innerHTML" not in text
        assert "http://" not in text.replace("http://www.w3.org", "")
