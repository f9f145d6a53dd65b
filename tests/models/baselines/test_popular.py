from datetime import datetime, timedelta

import polars as pl
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR

LOG = pl.DataFrame(
    {
        "user_id": [1, 2, 3, 1, 2, 9],
        "item_id": ["bread", "bread", "bread", "milk", "milk", "caviar"],
        "weight": [1, 1, 1, 2, 2, 50],
    }
)


@pytest.fixture
def log():
    return cf.Interactions.from_frame(LOG, weight="weight")


@pytest.mark.parametrize(
    ("by", "wanted"),
    [("users", [("bread", 3), ("milk", 2), ("caviar", 1)]), ("weight", [("caviar", 50), ("milk", 4), ("bread", 3)])],
)
def test_popularity_counts_users_or_weights(log, by, wanted):
    table = cf.Popular(by=by).fit(log).recommend([9], exclude_seen=False)
    assert table.select("item_id", "score").rows() == wanted


def test_everybody_gets_the_same_and_nobody_what_they_have(log):
    model = cf.Popular().fit(log)
    lists = model.recommend(exclude_seen=False).group_by("user_id", maintain_order=True).agg("item_id")["item_id"]
    assert lists.to_list() == [["bread", "milk", "caviar"]] * 4
    assert model.recommend([1, 9]).select("user_id", "item_id").rows() == [(1, "caviar"), (9, "bread"), (9, "milk")]


def test_equal_items_go_by_row(interactions):
    x = cf.Interactions.from_csr(CSR.from_pairs([0, 0, 0], [4, 1, 3], [1, 1, 1], (2, 6)))
    table = cf.Popular().fit(x).recommend([1], k=6)
    assert table["item_id"].to_list() == [1, 3, 4, 0, 2, 5]


def test_new_users_get_the_same_list_whatever_they_had(log):
    histories = pl.DataFrame({"user_id": ["x", "x", "y"], "item_id": ["bread", "milk", "caviar"]})
    table = cf.Popular().fit(log).recommend_for(histories)
    assert table.select("user_id", "item_id").rows() == [("x", "caviar"), ("y", "bread"), ("y", "milk")]


@pytest.mark.parametrize(("name", "value"), [("by", "votes"), ("threads", 0), ("threads", "all")])
def test_a_bad_parameter_is_named_with_its_value(log, name, value):
    with pytest.raises(cf.ParameterError, match=f"{name} must be .*, got {value!r}"):
        cf.Popular(**{name: value}).fit(log)


def test_no_similar_items(log):
    with pytest.raises(cf.ParameterError, match="Popular has no notion of similar items"):
        cf.Popular().fit(log).similar_items()


# user, item, days before the newest event
AGES = [
    (1, "bread", 0),
    (2, "bread", 30),
    (2, "bread", 60),
    (3, "milk", 0),
    (3, "milk", 30),
    (1, "tea", 60),
    (2, "ale", 7),
]


@pytest.fixture
def events():
    rows = [(user, item, datetime(2024, 5, 1) - timedelta(days=days)) for user, item, days in AGES]
    log = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    return cf.read_events(log, user="user", item="item", time="time")


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({"half_life": "30d"}, {"bread": 1.5, "milk": 1, "tea": 0.25, "ale": 0.5 ** (7 / 30)}),  # the newest of a user
        ({"half_life": "30d", "by": "weight"}, {"bread": 1.75, "milk": 1.5, "tea": 0.25, "ale": 0.5 ** (7 / 30)}),
        ({"window": "30d"}, {"bread": 2, "milk": 1, "tea": 0, "ale": 1}),  # 30 days old still counts
        ({"window": "30d", "by": "weight"}, {"bread": 2, "milk": 2, "tea": 0, "ale": 1}),
        ({"window": "1w", "half_life": "7d", "by": "weight"}, {"bread": 1, "milk": 1, "tea": 0, "ale": 0.5}),
    ],
)
def test_old_events_count_less_or_nothing(events, parameters, wanted):
    table = cf.Popular(**parameters).fit(events.interactions()).recommend([1], exclude_seen=False)
    assert dict(table.select("item_id", "score").iter_rows()) == pytest.approx(wanted)


def test_a_weight_is_shared_out_to_the_events_of_its_pair(events):
    x = events.interactions(weight=5)
    table = cf.Popular("weight", half_life="30d").fit(x).recommend([1], exclude_seen=False, items=["bread", "milk"])
    assert table["score"].to_list() == pytest.approx([5 + 5 * 0.375, 5 * 0.75])


def test_what_interactions_leave_out_stays_out(events):
    with pytest.warns(cf.CofactorWarning, match="left out 1 of 3 users"):
        x = events.interactions(min_user_count=2)  # user 3 has only milk
    table = cf.Popular(half_life="30d").fit(x).recommend([1], exclude_seen=False)
    assert dict(table.select("item_id", "score").iter_rows()) == pytest.approx(
        {"bread": 1.5, "ale": 0.5 ** (7 / 30), "tea": 0.25}
    )


@pytest.mark.parametrize("parameter", ["half_life", "window"])
def test_times_are_needed_for_recency(log, events, parameter):
    model = cf.Popular(**{parameter: "30d"})
    with pytest.raises(cf.DataError, match=f"{parameter}='30d' needs the events .* these know none; make them with"):
        model.fit(log)
    timeless = cf.read_events(events.collect(), user="user", item="item")
    with pytest.raises(cf.DataError, match=f"{parameter}='30d' needs the time of every event; name its column"):
        model.fit(timeless.interactions())


@pytest.mark.parametrize("value", ["soon", "-3d", "0d", timedelta(days=1), 30])
def test_a_bad_duration_is_named(events, value):
    for name in ("half_life", "window"):
        with pytest.raises(cf.ParameterError, match=f"{name}"):
            cf.Popular(**{name: value}).fit(events.interactions())


def test_recency_is_kept_by_saving(events, tmp_path):
    model = cf.Popular(half_life="30d", window="40d").fit(events.interactions())
    model.save(tmp_path / "model")
    loaded = cf.load(tmp_path / "model")
    assert repr(loaded) == repr(model)
    assert loaded.recommend(exclude_seen=False).equals(model.recommend(exclude_seen=False))
    with pytest.raises(cf.DataError, match="not by from_csr, from_frame or loading"):
        loaded.fit(loaded.interactions_)
