"""HistoryRerank against a loop over sessions: recency and types, neighbours, popular items; bad input."""

import json
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import cofactor as cf

WEIGHTS = {"clicks": 1.0, "carts": 6.0, "orders": 3.0}
ROLES = {"user": None, "session": "visit", "item": "item", "time": "at", "event_type": "type"}
TIMES = {"time_unit": "s", "implausible_times": "allow"}


def log_of(n_sessions=120, n_items=30, seed=0, longest=40):
    rng = np.random.default_rng(seed)
    rows = []
    for session in range(n_sessions):
        begin = rng.integers(0, n_items)
        for at in range(rng.integers(1, longest)):
            kind = rng.choice(["clicks", "carts", "orders"], p=[0.8, 0.15, 0.05])
            rows.append((session, int((begin + rng.geometric(0.1)) % n_items), 1000 * session + at, str(kind)))
    return pl.DataFrame(rows, schema=["visit", "item", "at", "type"], orient="row")


def read(log, **roles):
    return cf.read_events(log, **ROLES | roles, **TIMES)


def by_hand(model, log, session, k, type_weights=WEIGHTS):
    """The list of one session, as the recipe is written: with a loop over its events."""
    events = log.filter(visit=session).sort("at", maintain_order=True)
    recency = np.logspace(0.1, 1, len(events), base=2) - 1
    own = {}
    for item, kind, weight in zip(events["item"], events["type"], recency, strict=True):
        own[item] = own.get(item, 0) + weight * type_weights[kind]
    found = sorted(own, key=lambda i: (-np.float32(own[i] / max(own.values())), i))
    newest = list(dict.fromkeys(events["item"].to_list()[::-1]))[: model.recent][::-1]
    near = {}
    for item, says in zip(newest, np.logspace(0.1, 1, len(newest), base=2) - 1, strict=True):
        for one, weight in zip(model.models, model.weights or [1] * len(model.models), strict=True):
            similar = one.similar_items([item], k=model.neighbours)
            for other, rank in similar.select("similar_item_id", "rank").iter_rows():
                near[other] = near.get(other, 0) + says * weight / (60 + rank)
    found += sorted(near.keys() - own.keys(), key=lambda i: (-np.float32(near[i]), i))
    counts = log.unique(["visit", "item"])["item"].value_counts().sort(["count", "item"], descending=[True, False])
    found += [i for i in counts["item"] if i not in found]
    return found[:k]


MODELS = {
    "co-visitation": lambda: cf.HistoryRerank(cf.CoVisitation(), recent=1, neighbours=4),
    "a union": lambda: cf.HistoryRerank(
        cf.CoVisitation.type_weighted(last_events=None), cf.ItemKNN(), weights=[2, 0.5], recent=3, neighbours=3
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_recipe(name):
    log = log_of()
    model = MODELS[name]().fit(read(log))
    table = model.recommend(k=20, exclude_seen=False)
    for session in range(0, 120, 7):
        mine = table.filter(user_id=session)["item_id"].to_list()
        assert mine == by_hand(model, log, session, 20)


def test_sessions_in_a_table_events_and_interactions_are_one():
    log = log_of()
    model = cf.HistoryRerank(cf.ItemKNN(), type_weights=WEIGHTS).fit(read(log))
    wanted = model.recommend(k=20, exclude_seen=False)
    table = log.select(user_id="visit", item_id="item", time="at", event_type="type")
    shuffled = table.sample(fraction=1.0, shuffle=True, seed=0)
    for histories in (read(log), read(log).interactions(), table, shuffled):
        found = model.recommend_for(histories, k=20, exclude_seen=False)
        assert_frame_equal(found.sort("user_id", "rank"), wanted)
    sorted_rows = table.sort("user_id", "time").drop("time")  # the oldest first, as they stand
    assert_frame_equal(model.recommend_for(sorted_rows, k=20, exclude_seen=False), wanted)


def test_users_of_several_sessions_have_one_history():
    log = log_of(30).with_columns(who=pl.col("visit") // 3)
    model = cf.HistoryRerank(cf.ItemKNN()).fit(read(log, user="who"))
    alone = cf.HistoryRerank(cf.ItemKNN()).fit(read(log.with_columns(visit="who")))
    assert_frame_equal(model.recommend(k=9, exclude_seen=False), alone.recommend(k=9, exclude_seen=False))


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.integers(0, 40), max_size=60), min_size=1, max_size=6),
    st.integers(1, 60),
    st.booleans(),
    st.lists(st.integers(0, 29), min_size=1, unique=True),
)
@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
def test_lists_are_full_and_hold_nothing_twice(model_of_the_log, sessions, k, exclude_seen, allowed):
    rows = [(user, item) for user, items in enumerate([[0], *sessions]) for item in items]
    histories = pl.DataFrame(rows, schema={"user_id": pl.Int64, "item_id": pl.Int64}, orient="row")
    table = model_of_the_log.recommend_for(histories, k, exclude_seen=exclude_seen, items=allowed)
    for user in histories["user_id"].unique():
        mine = table.filter(user_id=user)["item_id"].to_list()
        held = set(histories.filter(user_id=user)["item_id"]) if exclude_seen else set()
        left = set(allowed) - held
        assert len(mine) == len(set(mine)) == min(k, len(left))
        assert set(mine) <= left


@pytest.fixture(scope="module")
def model_of_the_log():
    return cf.HistoryRerank(cf.ItemKNN(), neighbours=3, recent=2).fit(read(log_of()))


def test_long_sessions_are_their_own_history():
    """Of 20 distinct items or more nothing else is in the list of 20."""
    log = log_of(n_items=60, longest=120).with_columns(item=pl.col("item") * 7 % 60)
    model = cf.HistoryRerank(cf.ItemKNN()).fit(read(log))
    table = model.recommend(k=20, exclude_seen=False)
    own = log.group_by("visit").agg(pl.col("item").unique())
    seen = log.unique(["visit", "item"]).select(user_id="visit", item_id="item")
    long = own.filter(pl.col("item").list.len() >= 20)["visit"]
    assert len(long) > 10
    inside = table.join(seen, on=["user_id", "item_id"]).group_by("user_id").len()
    assert (inside.filter(pl.col("user_id").is_in(long.implode()))["len"] == 20).all()


def test_types_decide_and_other_types_weigh_one():
    log = pl.DataFrame({"visit": [1, 1, 2], "item": ["a", "b", "c"], "at": [0, 1, 2], "type": ["carts", "clicks", "x"]})
    model = cf.HistoryRerank(cf.ItemKNN()).fit(read(log))
    first = model.recommend([1], k=1, exclude_seen=False)["item_id"].item
    assert first() == "b"  # .07 * 6 is less than 1
    heavy = cf.HistoryRerank(cf.ItemKNN(), type_weights={"carts": 20, "clicks": 1, "x": 1}).fit(read(log))
    assert heavy.recommend([1], k=1, exclude_seen=False)["item_id"].item() == "a"


def test_scores_say_where_an_item_comes_from():
    model = cf.HistoryRerank(cf.CoVisitation(), neighbours=2).fit(read(log_of()))
    table = model.recommend(k=30, exclude_seen=False)
    seen = log_of().unique(["visit", "item"]).select(user_id="visit", item_id="item", seen=pl.lit(value=True))
    table = table.join(seen, on=["user_id", "item_id"], how="left").with_columns(pl.col("seen").fill_null(value=False))
    assert (table["seen"] == (table["score"] > 2)).all()
    assert table["score"].max() < 3
    assert 0 < (table["score"].is_between(1, 2)).sum() <= 10 * 120


def test_many_blocks_are_one(monkeypatch):
    log = log_of()
    model = cf.HistoryRerank(cf.ItemKNN(), neighbours=2).fit(read(log))
    wanted = model.recommend(k=28, exclude_seen=True)
    monkeypatch.setattr("cofactor.models.combined.history_rerank._ROWS", 7)
    monkeypatch.setattr("cofactor.models.combined.history_rerank._CELLS", 50)
    assert_frame_equal(model.recommend(k=28, exclude_seen=True), wanted)


def test_inside_a_chain():
    """It is handed weights of pairs and last places there, and ranks by them."""
    log = pl.DataFrame({"visit": [1, 1, 1, 2], "item": [1, 2, 3, 4], "at": [0, 1, 2, 3], "type": ["clicks"] * 4})
    chain = cf.Fallback(cf.HistoryRerank(cf.ItemKNN()), cf.Popular()).fit(read(log))
    histories = pl.DataFrame({"user_id": [9, 9, 9], "item_id": [3, 1, 2]})
    table = chain.recommend_for(histories, k=4, exclude_seen=False)
    assert table["item_id"].to_list() == [2, 1, 3, 4]


def test_models_that_are_fitted_already():
    log = log_of()
    whole = cf.HistoryRerank(cf.CoVisitation(), cf.ItemKNN(), weights=[2, 1], recent=3, neighbours=4).fit(read(log))
    x = read(log).interactions()
    parts = cf.CoVisitation().fit(x), cf.ItemKNN().fit(x)
    made = cf.HistoryRerank.fitted(*parts, weights=[2, 1], recent=3, neighbours=4)
    assert made.models == parts
    sessions = log.select(user_id="visit", item_id="item", time="at", event_type="type")
    wanted = whole.recommend_for(sessions, k=20, exclude_seen=False)
    assert_frame_equal(made.recommend_for(sessions, k=20, exclude_seen=False), wanted)
    pairs = x.to_frame().rename({"weight": "w"}).select("user_id", "item_id", weight="w")
    assert_frame_equal(made.recommend(k=9, exclude_seen=False), made.recommend_for(pairs, k=9, exclude_seen=False))
    other = cf.ItemKNN().fit(read(log.filter(pl.col("item") != 3)))
    with pytest.raises(
        cf.ParameterError, match=r"needs models trained on the same items: .* knows 30, .* 29, and they"
    ):
        cf.HistoryRerank.fitted(parts[0], other)
    with pytest.raises(cf.NotFittedError):
        cf.HistoryRerank.fitted(cf.ItemKNN())
    with pytest.raises(cf.ParameterError, match="one number for each of 1 models"):
        cf.HistoryRerank.fitted(parts[0], weights=[1, 2])


def test_neighbours_by_an_index_are_the_models_own():
    log = log_of()
    factors = cf.ItemPairsMF(8, epochs=2, negatives=2).fit(read(log))
    sessions = log.select(user_id="visit", item_id="item", time="at", event_type="type")
    by_index, plain = (
        cf.HistoryRerank.fitted(m).recommend_for(sessions, exclude_seen=False)
        for m in (cf.retrieval.indexed(factors), factors)
    )
    assert_frame_equal(by_index, plain)


def test_every_item_is_asked_about_once():
    """Until the model is fitted again, or something else is asked of it."""
    log = log_of()
    asked = []

    class Counted(cf.ItemKNN):
        def _similar_items(self, items, k):
            asked.extend((int(item), k) for item in items)
            return super()._similar_items(items, k)

    try:
        model = cf.HistoryRerank(Counted(), neighbours=3).fit(read(log))
        first = model.recommend(k=20, exclude_seen=False)
        assert len(asked) == len(set(asked)) == 30
        assert_frame_equal(model.recommend(k=20, exclude_seen=False), first)
        assert len(asked) == 30
        model.neighbours = 4
        model.recommend([1], k=20, exclude_seen=False)
        assert {k for _, k in asked[30:]} == {4}
        n = len(asked)
        model.fit(read(log.filter(pl.col("visit") > 60)))
        assert_frame_equal(
            model.recommend(k=20, exclude_seen=False),
            cf.HistoryRerank(cf.ItemKNN(), neighbours=4)
            .fit(read(log.filter(pl.col("visit") > 60)))
            .recommend(k=20, exclude_seen=False),
        )
        assert len(asked) > n
    finally:
        del cf.models.Recommender.registry["Counted"]


@pytest.mark.parametrize("inside", [False, True])
def test_models_that_are_fitted_again_are_asked_again(inside):
    """Fit leaves the model the same object; so it does with one that another model is made of."""
    log = log_of()
    x, other = read(log).interactions(), read(log.with_columns(item=pl.col("item") * 7 % 30)).interactions()
    knn = cf.ItemKNN().fit(x)
    part = knn
    if inside:
        part = cf.Fallback(knn, cf.Popular()).fit(x)
        knn = part.models[0]
    model = cf.HistoryRerank.fitted(part, neighbours=5)
    before = model.similar_items(k=5)
    knn.fit(other)
    after = model.similar_items(k=5)
    assert not after.equals(before)
    assert_frame_equal(after, cf.HistoryRerank.fitted(part, neighbours=5).similar_items(k=5))


def test_threads_may_ask_at_the_same_time(monkeypatch):
    """One is not answered when others come."""
    x = read(log_of()).interactions()
    knn = cf.ItemKNN(threads=1).fit(x)
    wanted = cf.HistoryRerank.fitted(knn, neighbours=5).similar_items(k=5)
    model, append = cf.HistoryRerank.fitted(knn, neighbours=5), np.append

    def slow(*parts):
        time.sleep(0.005)
        return append(*parts)

    monkeypatch.setattr(np, "append", slow)  # of the offsets of what is kept
    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(lambda item: model.similar_items([item], k=5), range(30)))
    assert_frame_equal(pl.concat(parts), wanted)


def test_copies_and_pickles_keep_no_answers():
    model = cf.HistoryRerank.fitted(cf.ItemKNN().fit(read(log_of()).interactions()))
    wanted = model.recommend(k=5, exclude_seen=False)
    for other in (pickle.loads(pickle.dumps(model)), deepcopy(model)):  # noqa: S301
        assert (other._known_votes._row_of == -1).all()
        assert_frame_equal(other.recommend(k=5, exclude_seen=False), wanted)


# Bad input


def test_a_type_without_a_weight():
    model = cf.HistoryRerank(cf.ItemKNN(), type_weights={"clicks": 1, "carts": 6})
    with pytest.raises(cf.DataError, match=r"type_weights=.* has no weight for events of orders; add it, or filter"):
        model.fit(read(log_of()))
    model.fit(read(log_of().filter(pl.col("type") != "orders")))
    histories = pl.DataFrame({"user_id": [1], "item_id": [1], "event_type": ["wishes"]})
    with pytest.raises(cf.DataError, match="no weight for events of wishes"):
        model.recommend_for(histories)
    with pytest.raises(cf.DataError, match=r"1 null\(s\) in event_type, the first in row 0"):
        model.recommend_for(histories.with_columns(event_type=pl.lit(None, pl.String)))
    many = pl.DataFrame({"user_id": [1] * 300, "item_id": [1] * 300, "event_type": [f"type {n}" for n in range(300)]})
    with pytest.raises(cf.DataError, match="event_type has 300 types, at most 256 can be told apart"):
        model.recommend_for(many)


def test_items_never_trained_and_nothing_but_them():
    model = cf.HistoryRerank(cf.ItemKNN()).fit(read(log_of()))
    histories = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [3, 999, 999], "event_type": ["clicks"] * 3})
    with pytest.warns(cf.CofactorWarning, match="2 of 3 rows have items that are not in the training data"):
        table = model.recommend_for(histories, k=5, exclude_seen=False)
    assert table.filter(user_id=1)["item_id"].first() == 3
    popular = cf.Popular().fit(read(log_of()).interactions()).recommend([0], k=5, exclude_seen=False)
    assert table.filter(user_id=2)["item_id"].to_list() == popular["item_id"].to_list()
    other = log_of(3).with_columns(item=pl.col("item") + 500)
    with pytest.warns(cf.CofactorWarning, match="rows have items that are not in the training data"):
        lists = model.recommend_for(read(other), k=5)
    assert lists.group_by("user_id").len()["len"].to_list() == [5, 5, 5]


def test_sessions_of_one_event_and_the_same_event_twice():
    once = pl.DataFrame({"visit": [1, 2, 3, 3], "item": [5, 5, 7, 6], "at": [1, 2, 3, 3], "type": ["clicks"] * 4})
    model = cf.HistoryRerank(cf.CoVisitation()).fit(read(once))
    assert model.recommend([1], k=3, exclude_seen=False)["item_id"].to_list() == [5, 6, 7]
    twice = pl.DataFrame({"user_id": [1] * 3, "item_id": [6, 6, 7], "event_type": ["carts", "carts", "clicks"]})
    table = model.recommend_for(twice, k=3, exclude_seen=False)
    assert table["item_id"].to_list() == [6, 7, 5]  # (.07 + .46) * 6 against 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (cf.HistoryRerank, "needs models that have similar items, got ()"),
        (lambda: cf.HistoryRerank(cf.Popular()), r"Popular\(.*\) has none"),
        (lambda: cf.HistoryRerank(cf.ItemKNN(), weights=[1, 2]), "one number for each of 1 models"),
        (lambda: cf.HistoryRerank(cf.ItemKNN(), weights=[0]), "weights must be"),
        (lambda: cf.HistoryRerank(cf.ItemKNN(), type_weights={"clicks": 0}), r"type_weights\['clicks'\] must be"),
        (lambda: cf.HistoryRerank(cf.ItemKNN(), recent=0), "recent must be"),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(cf.ParameterError, match=message):
        make().fit(read(log_of(5)))


def test_damage_is_noticed(tmp_path):
    cf.HistoryRerank(cf.ItemKNN()).fit(read(log_of())).save(tmp_path / "model")
    header = json.loads((tmp_path / "model" / "model.json").read_text())
    del header["model"]["state"]["histories_"]
    (tmp_path / "model" / "model.json").write_text(json.dumps(header))
    with pytest.raises(cf.ArtifactError):
        cf.load(tmp_path / "model")
