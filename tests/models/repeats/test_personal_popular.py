from datetime import datetime, timedelta

import polars as pl
import pytest

import cofactor as cf

LOG = pl.DataFrame(
    {
        "user_id": [1, 1, 1, 1, 2, 2, 3],
        "item_id": ["bread", "milk", "tea", "ale", "milk", "tea", "tea"],
        "weight": [5.0, 1.0, 1.0, 1.0, 2.0, 7.0, 1.0],
    }
)


@pytest.fixture
def model():
    return cf.PersonalPopular().fit(cf.Interactions.from_frame(LOG, weight="weight"))


def test_a_user_gets_what_they_had_most_ties_by_popularity(model):
    table = model.recommend([1, 2], exclude_seen=False)
    assert table.select("user_id", "item_id", "score").rows() == [
        (1, "bread", 5.0),
        (1, "tea", 1.0),  # three users
        (1, "milk", 1.0),  # two
        (1, "ale", 1.0),  # one
        (2, "tea", 7.0),
        (2, "milk", 2.0),
    ]


def test_equal_items_of_equal_popularity_go_by_row():
    table = pl.DataFrame({"user_id": [1, 1, 1], "item_id": [9, 4, 7]})
    lists = cf.PersonalPopular().fit(cf.Interactions.from_frame(table)).recommend(exclude_seen=False)
    assert lists["item_id"].to_list() == [4, 7, 9]


def test_nothing_is_left_without_repeats(model):
    assert model.recommend().is_empty()


def test_filters(model):
    assert model.recommend([1], exclude_seen=False, items=["ale", "milk"])["item_id"].to_list() == ["milk", "ale"]
    exclude = pl.DataFrame({"user_id": [1, 2], "item_id": ["bread", "tea"]})
    assert model.recommend([1, 2], 1, exclude_seen=False, exclude=exclude)["item_id"].to_list() == ["tea", "milk"]


def test_new_users_get_their_own_history(model):
    histories = pl.DataFrame({"user_id": ["x", "y", "x"], "item_id": ["ale", "tea", "tea"], "weight": [3, 1, 1]})
    table = model.recommend_for(histories, exclude_seen=False)
    assert table.select("user_id", "item_id").rows() == [("x", "ale"), ("x", "tea"), ("y", "tea")]


def test_the_score_is_the_weight(model):
    pairs = pl.DataFrame({"user_id": [2, 3], "item_id": ["tea", "bread"]})
    assert model.predict(pairs)["score"].to_list() == [7.0, 0.0]


def test_half_life_makes_decayed_counts(tmp_path):
    ages = [(1, "bread", 60), (1, "bread", 60), (1, "milk", 30), (1, "tea", 90), (2, "ale", 0)]
    rows = [(user, item, datetime(2024, 5, 1) - timedelta(days=days)) for user, item, days in ages]
    log = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    x = cf.read_events(log, user="user", item="item", time="time").interactions()
    model = cf.PersonalPopular(half_life="30d").fit(x)
    table = model.recommend([1], exclude_seen=False)
    assert table.select("item_id", "score").rows() == [("bread", 0.5), ("milk", 0.5), ("tea", 0.125)]
    assert model.predict(table.select("user_id", "item_id"))["score"].to_list() == [0.5, 0.5, 0.125]
    given = pl.DataFrame({"user_id": ["new", "new"], "item_id": ["tea", "ale"], "weight": [0.25, 3.0]})
    assert model.recommend_for(given, exclude_seen=False)["item_id"].to_list() == ["ale", "tea"]
    model.save(tmp_path / "model")
    assert cf.load(tmp_path / "model").recommend(exclude_seen=False).equals(model.recommend(exclude_seen=False))


def test_half_life_needs_times(model):
    with pytest.raises(cf.DataError, match=r"half_life='30d' needs the events .* these know none"):
        cf.PersonalPopular(half_life="30d").fit(model.interactions_)
    with pytest.raises(cf.ParameterError, match="half_life='soon'; it must be a positive number with a unit"):
        cf.PersonalPopular(half_life="soon").fit(model.interactions_)
