"""What is served is what recommend, recommend_for, similar_items and predict give, for every model and filter."""

import asyncio
import json
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.errors import CofactorError, DataError
from cofactor.serve.answers import Index
from cofactor.serve.app import App
from cofactor.serve.events import Event as Stored
from cofactor.serve.messages import Event
from cofactor.serve.request_error import RequestError
from cofactor.serve.service import Service
from cofactor.serve.settings import Settings, make_app
from serve.asking import ask
from zoo import NAMES, RATED, make, value

X = cf.datasets.synthetic(n_users=60, n_items=40, n_interactions=700, factors=4, seed=0)
R = cf.Ratings.from_frame(X.to_frame().with_columns(rating=(pl.col("item_id") * 7 + pl.col("user_id") * 3) % 5 + 1.0))
USERS = R.users.ids.head(20).to_list()
pytestmark = pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return make(name).fit(R if name in RATED else X)


@pytest.fixture(scope="module")
def index(model):
    return Index(model).warm()


def same(index, answers, table):
    """Whether answers have the items, the order and the very scores of a table."""
    listed = [(user, index.items.ids[row]) for user, answer in zip(USERS, answers, strict=True) for row in answer.rows]
    assert listed == list(zip(table["user_id"], table["item_id"], strict=True))
    scores = np.array([score for answer in answers for score in answer.scores], np.float32)
    np.testing.assert_array_equal(scores, table["score"].to_numpy())


def histories(name):
    rng = np.random.default_rng(0)
    told = {"rating": 4.0} if name in RATED else {"weight": 2.0}
    return [[Event(item=i, **told) for i in rng.permutation(X.n_items)[:6].tolist()] for _ in USERS]


def as_table(given):
    return pl.DataFrame(
        [
            {"user_id": user, "item_id": e.item, "weight": e.weight or 1.0, "rating": e.rating or 1.0}
            for user, history in zip(USERS, given, strict=True)
            for e in history
        ]
    )


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_lists_of_known_users(model, index, exclude_seen):
    asked = [index.question(user, None, fallback=False) for user in USERS]
    for question in asked:
        question.k, question.exclude_seen = 5, exclude_seen
    table = model.recommend(USERS, k=5, exclude_seen=exclude_seen)
    same(index, index.recommend(asked), table)
    same(index, [index.recommend([question])[0] for question in asked], table)


def test_lists_of_known_users_within_filters(model, index):
    allowed, out = np.arange(5, 30, dtype=np.int32), np.array([7, 9, 11], np.int32)
    asked = [index.question(user, None, k=7, allowed=allowed, exclude=out, fallback=False) for user in USERS]
    pairs = pl.DataFrame({"user_id": USERS}).join(pl.DataFrame({"item_id": [7, 9, 11]}), how="cross")
    same(index, index.recommend(asked), model.recommend(USERS, k=7, items=range(5, 30), exclude=pairs))


def test_lists_of_histories(model, index, name):
    given = histories(name)
    asked = [index.question(None, history, k=5, fallback=False) for history in given]
    table = as_table(given)
    same(index, index.recommend(asked), model.recommend_for(table, k=5))
    allowed = np.arange(5, 30, dtype=np.int32)
    for question in asked:
        question.allowed, question.exclude_seen = allowed, False
    same(index, index.recommend(asked), model.recommend_for(table, k=5, items=range(5, 30), exclude_seen=False))


def test_similar_items(model, index, name):
    try:
        table = model.similar_items([3], k=6)
    except CofactorError:
        with pytest.raises(RequestError, match="no notion of similar items") as caught:
            index.similar(3, 6)
        assert (caught.value.status, caught.value.code) == (422, "no_similar_items")
        return
    found = index.similar(3, 6)
    assert [index.items.ids[row] for row in found.rows] == table["similar_item_id"].to_list()
    if name.startswith("HistoryRerank"):
        return  # how deep its models look depends on k
    every = model.similar_items([3], k=X.n_items).filter(pl.col("similar_item_id") % 2 == 0)
    even = index.similar(3, 6, np.arange(0, X.n_items, 2, dtype=np.int32))
    assert [index.items.ids[row] for row in even.rows] == every["similar_item_id"].head(6).to_list()


def test_predictions(model, index, name):
    pairs = pl.DataFrame({"user_id": [USERS[0], USERS[1], 999, USERS[2]], "item_id": [3, 99, 4, 5]})
    from cofactor.serve.messages import Pair

    told = index.predict([Pair(user=u, item=i) for u, i in pairs.rows()])
    table = model.predict(pairs, unknown="skip")[value(name)]
    assert told[1] is told[2] is None
    np.testing.assert_array_equal(np.array([told[0], told[3]], np.float32), table.drop_nulls().to_numpy())


def test_explanations_add_up(index, model, name):
    history = histories(name)[0]
    question = index.question(None, history)
    explained = {"ImplicitALS", "EASE", "ItemKNN", "RP3beta", "SLIM", "CoVisitation", "CoVisitationSum"}
    if not any(name.startswith(model) for model in explained) or name == "EASE of users":
        with pytest.raises(RequestError, match="no sum over the history"):
            index.explain(question, 3, 100)
        return
    score, parts = index.explain(question, 3, 100)
    assert score == pytest.approx(sum(part for _, part in parts))
    every = model.recommend_for(as_table(histories(name)), k=X.n_items, exclude_seen=False)
    listed = every.filter((pl.col("user_id") == USERS[0]) & (pl.col("item_id") == index.items.ids[3]))["score"]
    assert score == pytest.approx(listed[0] if len(listed) else 0.0, rel=1e-4, abs=1e-5)


# What does not depend on the model.


@pytest.fixture(scope="module")
def knn():
    return Index(cf.ItemKNN().fit(X))


def test_a_user_with_a_history_has_both(knn):
    own = X.to_frame().filter(pl.col("user_id") == 3).select("item_id", pl.col("weight").cast(pl.Float64))
    more = [Event(item=own["item_id"][0], weight=2.0), Event(item=39)]
    table = pl.concat([own, pl.DataFrame({"item_id": [m.item for m in more], "weight": [2.0, 1.0]})])
    offline = knn.model.recommend_for(table.with_columns(user_id=0), k=5)
    found = knn.recommend([knn.question(3, more, k=5)])[0]
    assert found.source == "fold_in"
    assert [knn.items.ids[row] for row in found.rows] == offline["item_id"].to_list()


def test_what_the_store_has_counts_too_and_its_times_are_times():
    model = Index(cf.SessionKNN().fit(X))
    at = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    stored = [Stored(3, 5, (at + 10) * 1_000_000), Stored(3, 6, (at + 30) * 1_000_000), Stored(3, 999, at)]
    told = [Event(item=7, time="2026-01-01T00:00:20Z")]
    both = model.question(99, told, stored, k=5)
    assert both.history.rows == [5, 7, 6]
    plain = model.question(None, [Event(item=5), Event(item=7), Event(item=6)], k=5)
    assert model.recommend([both])[0].rows == model.recommend([plain])[0].rows


def test_times_of_histories_are_told_by_their_size_as_those_of_events_are(knn):
    at = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    told = [
        Event(item=1, time=(at + 4) * 1e9),
        Event(item=2, time=(at + 3) * 1e6),
        Event(item=3, time=(at + 2) * 1000),
        Event(item=4, time="2026-01-01T00:00:01+00:00"),
        Event(item=5, time=at),
    ]
    history = knn.question(None, told).history
    assert history.rows == [5, 4, 3, 2, 1]
    assert history.times == [(at + more) * 1_000_000 for more in range(5)]
    for time in (5, -1.0, 1e30, "1970-01-01"):
        with pytest.raises(RequestError) as caught:
            knn.question(None, [Event(item=1), Event(item=2, time=time)])
        assert (caught.value.code, caught.value.field) == ("implausible_time", "history[1].time")


def test_questions_of_all_kinds_are_answered_together(knn):
    kinds = [
        {"user": 1},
        {"user": 999},
        {"history": [Event(item=1)]},
        {"user": 2, "history": [Event(item=1)]},
        {"history": [Event(item=999)]},
    ]
    options = [{}, {"k": 3}, {"exclude_seen": False}, {"allowed": np.array([1, 2, 30], np.int32)}]
    asked = [knn.question(kind.get("user"), kind.get("history"), **o) for kind in kinds for o in options]
    together = knn.recommend(asked)
    assert together == [knn.recommend([question])[0] for question in asked]
    assert {answer.source for answer in together} == {"model", "fold_in", "popular"}


def test_popular_items_for_somebody_unknown(knn):
    popular = cf.Popular().fit(X)
    found = knn.recommend([knn.question(999, None, k=7, exclude=np.array([0, 1], np.int32))])[0]
    best = popular.recommend([0], k=X.n_items, exclude_seen=False).filter(pl.col("item_id") > 1)
    assert (found.source, found.unknown) == ("popular", [999])
    assert [knn.items.ids[row] for row in found.rows] == best["item_id"].head(7).to_list()
    with pytest.raises(RequestError) as caught:
        knn.question(999, None, fallback=False)
    assert (caught.value.status, caught.value.code) == (404, "unknown_user")


def test_lists_are_full_where_there_are_items_enough(knn):
    """k items come back wherever so many may, however many a filter leaves out on the way."""
    ials = Index(cf.ImplicitALS(8, iterations=2).fit(X))
    for k in (1, 10, 20):
        allowed = np.arange(40, dtype=np.int32)[::-1][:30][::-1].copy()
        seen = len(X.user_items.row(3)[0])
        found = ials.recommend([ials.question(3, None, k=k, allowed=allowed)])[0]
        left = len(np.setdiff1d(allowed, X.user_items.row(3)[0]))
        assert len(found.rows) == min(k, left)
        assert seen > 0


def test_ids_that_json_cannot_hold():
    table = {"user_id": [b"a", b"b"], "item_id": [1, 2]}
    with pytest.raises(DataError, match="binary"):
        Index(cf.Popular().fit(cf.Interactions.from_frame(table)))


class OneModel:
    """What the service wants of models, without folders."""

    names = ("it",)

    def __init__(self, index):
        self.index, self.name, self.version, self.trained = index, "it", "1", None
        self.told, self.model = {"name": "it", "version": "1"}, index.model

    def get(self, name=None):
        return self

    def close(self):
        pass


@pytest.mark.parametrize("threaded", [False, True])
def test_requests_under_way_together(threaded):
    """Many at once, known and new, through the application: each gets its own list, in few calls of the model."""
    index = Index(cf.ImplicitALS(8, iterations=2).fit(X))
    index.quick = not threaded
    service = Service(OneModel(index))
    app = App(service, [])
    users = [int(user) for user in np.random.default_rng(0).integers(0, X.n_users, 300)]
    histories = [[{"item": int(i)} for i in np.random.default_rng(u).permutation(40)[:4]] for u in range(100)]
    bodies = [{"user": user, "k": 5, "fallback": False} for user in users] + [{"history": h, "k": 5} for h in histories]
    sizes = []
    service.batcher._told = sizes.append

    async def one(body):
        sent = []

        async def receive():
            return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

        async def send(message):
            sent.append(message)

        await app({"type": "http", "method": "POST", "path": "/recommend", "headers": []}, receive, send)
        return json.loads(sent[1]["body"])["lists"][0]["items"]

    async def every():
        return await asyncio.gather(*map(one, bodies))

    found = asyncio.run(every())
    table = index.model.recommend(users, k=5).to_dicts()
    assert [(i["item"], i["score"]) for items in found[:300] for i in items] == [
        (row["item_id"], row["score"]) for row in table
    ]
    given = pl.DataFrame([{"user_id": n, "item_id": e["item"]} for n, h in enumerate(histories) for e in h])
    table = index.model.recommend_for(given, k=5)
    assert [i["item"] for items in found[300:] for i in items] == table["item_id"].to_list()
    assert sum(sizes) == 400
    assert len(sizes) < 40
    service.close()


def test_vectors_that_were_trained_elsewhere_are_served(tmp_path):
    """Saved, loaded by a service and asked over HTTP, they give the lists that they give in Python."""
    rng = np.random.default_rng(3)
    users, items, bias = rng.standard_normal((60, 5)), rng.standard_normal((40, 5)), rng.standard_normal(40)
    model = cf.FactorModel.from_vectors(users, items, X, item_bias=bias)
    model.save(tmp_path / "model")
    app = make_app(Settings({"model": str(tmp_path / "model")}))

    def listed(body):
        status, told = ask(app, "/recommend", {"k": 5, **body})
        assert status == 200
        return [(one["item"], one["score"]) for one in told["lists"][0]["items"]]

    for exclude_seen in (True, False):
        table = model.recommend([3], k=5, exclude_seen=exclude_seen)
        assert listed({"user": 3, "exclude_seen": exclude_seen}) == table.select("item_id", "score").rows()
    history = pl.DataFrame({"user_id": [0, 0], "item_id": [1, 2]})
    table = model.recommend_for(history, k=5)
    assert listed({"history": [{"item": 1}, {"item": 2}]}) == table.select("item_id", "score").rows()
    app.service.close()
