"""A few users, by name."""

import polars as pl
import pytest

import cofactor as cf
from cofactor.report.people import HIT, check_users, named, people, typical_users

TRAIN = pl.DataFrame({"user_id": [1, 1, 1, 2, 2, 3], "item_id": [7, 8, 9, 7, 8, 7], "day": [1, 3, 2, 5, 4, 6]})


@pytest.fixture
def train():
    return cf.Interactions.from_frame(TRAIN)


@pytest.mark.parametrize(
    "names",
    [
        {7: "Milk", 8: "Bread"},
        pl.DataFrame({"item_id": [7, 8], "price": [1.0, 2.0], "name": ["Milk", "Bread"], "brand": ["a", "b"]}),
        pl.DataFrame({"item_id": [7, 8], "product": ["Milk", "Bread"]}),
        {"item_id": [7, 8], "title": ["Milk", "Bread"]},
    ],
)
def test_names_come_as_a_mapping_or_a_table(names):
    assert named(names) == {7: "Milk", 8: "Bread"}


def test_names_need_a_column():
    with pytest.raises(cf.DataError, match=r"beside item_id; the columns are \['item_id', 'price'\]"):
        named(pl.DataFrame({"item_id": [7], "price": [1.0]}))


def test_users_are_chosen_by_activity_among_those_who_are_known(train):
    pairs = pl.DataFrame({"user_id": [3, 1, 2, 99, 1], "item_id": [8, 5, 5, 5, 6]})
    assert typical_users(pairs, train, 3) == [3, 2, 1]
    assert typical_users(pairs, train, 1) == [2]
    assert typical_users(pairs, train, 9) == [3, 2, 1]
    assert typical_users(pairs, train, 0) == []
    assert typical_users(pairs.filter(pl.col("user_id") == 99), train, 3) == []


def test_people(train):
    pairs = pl.DataFrame({"user_id": [3, 3], "item_id": [8, 5]})
    lists = {
        "a": pl.DataFrame({"user_id": [3, 3, 1], "item_id": [9, 8, 5], "rank": [2, 1, 1]}),
        "b": pl.DataFrame({"user_id": [3], "item_id": [5], "rank": [1]}),
    }
    (person,) = people([3], lists, pairs, train, names={7: "Milk", 8: "Bread"})
    assert (person.user, person.history, person.held_out) == ("3", "Milk", "Bread; 5")
    assert person.lists.rows() == [(1, f"{HIT}\N{NO-BREAK SPACE}Bread", f"{HIT}\N{NO-BREAK SPACE}5"), (2, "9", "")]


def test_histories_are_told_from_the_newest_item_on(train):
    timed = TRAIN.with_columns(t=pl.date(2024, 1, pl.col("day")))
    log = cf.read_events(timed, user="user_id", item="item_id", time="t")
    (person,) = people([1], {}, None, train, log=log)
    assert person.history == "8; 9; 7"


def test_long_histories_are_cut():
    x = cf.Interactions.from_frame(pl.DataFrame({"user_id": [1] * 40, "item_id": range(40)}))
    (person,) = people([1], {}, None, x)
    assert person.history.endswith("11; … (40 in all)")


def test_unknown_users_are_an_error(train):
    with pytest.raises(cf.ParameterError, match="users: 99 is not in the training data"):
        check_users([1, 99], train)
