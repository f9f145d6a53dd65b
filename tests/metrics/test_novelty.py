"""Beside training data: four users, of whom all have a, two b, one c and nobody d."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.errors import ParameterError
from cofactor.evaluation.evaluate import evaluate

TRAIN = pl.DataFrame({"user_id": [1, 1, 2, 3, 3, 3, 4], "item_id": list("abaabca")})
LISTS = pl.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("cdcbd"), "rank": [1, 2, 1, 2, 1]})
TEST = pl.DataFrame({"user_id": [1, 2, 3], "item_id": list("ccd")})


def per_user(name, lists=LISTS, train=TRAIN, **options):
    return evaluate(lists, TEST, name, train=train, per_user=True, **options)[name].to_list()


def test_novelty_by_hand():
    assert per_user("novelty@2") == [2, 1.5, 2]  # bits: a 0, b 1, c 2, and d, which nobody has, as c
    assert per_user("novelty@1") == [2, 2, 2]


def test_mean_popularity_by_hand():
    assert per_user("mean_popularity@2") == [(1 + 0) / 2, (1 + 2) / 2, 0]


def test_popularity_lift_by_hand():
    before, after = ((4 + 2) / 2 + 4 + (4 + 2 + 1) / 3) / 3, (1 / 2 + 3 / 2 + 0) / 3
    found = evaluate(LISTS, TEST, "popularity_lift@2", train=TRAIN)
    assert found["value"].item() == pytest.approx(after / before - 1)
    assert found["low"].is_null().all()


def test_lists_as_popular_as_tastes_have_no_lift():
    lists = TRAIN.with_columns(rank=pl.int_range(1, pl.len() + 1).over("user_id"))
    assert evaluate(lists, TRAIN, "popularity_lift@3", train=TRAIN)["value"].item() == pytest.approx(0)


def test_serendipity_by_hand():
    # Popular lists, without what they have, c for user 1, b c for user 2, and nothing for user 3.
    assert per_user("serendipity@1") == [0, 1, 1]
    assert per_user("serendipity@2") == [0, 0, 1 / 2]
    # With what they have: a b.
    assert per_user("serendipity@2", exclude_seen=False) == [1 / 2, 1 / 2, 1 / 2]


@pytest.fixture(scope="module")
def split():
    x = cf.datasets.synthetic(80, 50, 1500, seed=3).to_frame()
    held_out = np.random.default_rng(0).random(len(x)) < 0.3
    return x.filter(pl.Series(~held_out)).select("user_id", "item_id"), x.filter(pl.Series(held_out))


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_popular_itself_has_no_serendipity(split, exclude_seen):
    train, test = split
    model = cf.Popular().fit(cf.Interactions.from_frame(train))
    test = test.join(train, on=["user_id", "item_id"], how="anti")
    names = ["hit_rate@10", *(f"serendipity@{k}" for k in (1, 3, 10, 40))]
    found = evaluate(model, test, names, exclude_seen=exclude_seen)
    assert found["value"][0] > 0.5 or not exclude_seen
    assert found["value"].to_list()[1:] == [0, 0, 0, 0]


def test_serendipity_is_what_popular_would_not_have_listed(split):
    train, test = split
    x = cf.Interactions.from_frame(train)
    model = cf.Random(seed=1).fit(x)
    top, expected = (m.recommend(k=10) for m in (model, cf.Popular().fit(x)))
    hits = top.join(test, on=["user_id", "item_id"]).join(expected, on=["user_id", "item_id"], how="anti")
    value = evaluate(model, test, "serendipity@10")
    assert value["value"].item() == pytest.approx(len(hits) / 10 / value["n_users"].item())
    assert value["value"].item() > 0


def test_a_user_without_a_list_has_no_value():
    lists = LISTS.filter(pl.col("user_id") != 2)
    found = evaluate(lists, TEST, ["novelty@2", "recall@2"], train=TRAIN)
    assert found["value"].to_list() == [2, 2 / 3]
    assert found["n_users"].to_list() == [2, 3]
    assert np.isnan(per_user("novelty@2", lists)[1])


def test_intervals_are_of_those_who_have_a_value():
    lists = LISTS.filter(pl.col("user_id") != 2)
    both = evaluate(lists, TEST, ["mean_popularity@2", "recall@2"], train=TRAIN)
    alone = evaluate(lists, TEST.filter(pl.col("user_id") != 2), "mean_popularity@2", train=TRAIN)
    assert both.row(0)[:4] == alone.row(0)[:4]
    assert both["low"].is_not_null().all()


def test_a_model_has_its_training_data(split):
    train, test = split
    model = cf.Random(seed=1).fit(cf.Interactions.from_frame(train))
    names = ["novelty@5", "mean_popularity@5", "popularity_lift@5", "serendipity@5"]
    table = model.recommend(users=test["user_id"].unique().sort(), k=5)
    assert evaluate(table, test, names, train=train)["value"].equals(evaluate(model, test, names)["value"])
    with pytest.raises(ParameterError, match=r"novelty@5, serendipity@1 needs the training data.*train="):
        evaluate(table, test, ["recall@5", "novelty@5", "serendipity@1"])
