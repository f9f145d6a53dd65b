"""Slices by hand: user 1 had four items, 2 and 3 one each, 4 none; three users have a, and one each b, c and d."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.errors import ParameterError
from cofactor.evaluation.evaluate import evaluate

TRAIN = pl.DataFrame({"user_id": [1, 1, 1, 1, 2, 3], "item_id": list("abcdaa")})
LISTS = pl.DataFrame({"user_id": [1, 1, 2, 2, 3, 3, 4, 4], "item_id": list("exbadceb"), "rank": [1, 2] * 4})
TEST = pl.DataFrame({"user_id": [1, 2, 2, 3, 4], "item_id": list("eacdb")})


def told(by, names="recall@2", lists=LISTS, test=TEST, **options):
    options = {"train": TRAIN} | options
    return evaluate(lists, test, names, by=by, n_bootstrap=0, **options)


def values(table, columns=("slice", "value", "n_users", "n_pairs")):
    return table.select(columns).rows()


def test_users_by_activity():
    assert values(told("activity")) == [("no items", 1, 1, 1), ("1 to 3 items", 3 / 4, 2, 3), ("4 items", 1, 1, 1)]


def test_new_users():
    assert values(told("new users")) == [("known", (1 + 1 / 2 + 1) / 3, 3, 4), ("new", 1, 1, 1)]


def test_test_items_by_popularity():
    # e is new, b c d are had by one user, a by three.
    assert values(told("popularity")) == [("no users", 1, 1, 1), ("1 to 2 users", 2 / 3, 3, 3), ("3 users", 1, 1, 1)]


def test_a_column_of_users():
    users = pl.DataFrame({"user_id": [1, 2, 3], "land": ["DE", "FR", "DE"]})
    found = told("land", user_features=users)
    assert values(found) == [("DE", 1, 2, 2), ("FR", 1 / 2, 1, 2), ("missing", 1, 1, 1)]
    assert found.columns == ["slice", "metric", "value", "low", "high", "n_users", "n_pairs"]


def test_a_column_of_items():
    items = pl.DataFrame({"item_id": list("abcd"), "new": [True, False, True, None]})
    assert values(told("new", item_features=items)) == [("false", 1, 1, 1), ("true", 1 / 2, 1, 2), ("missing", 1, 2, 2)]


def test_a_column_of_many_numbers_is_put_into_buckets():
    users = pl.DataFrame({"user_id": range(1, 101), "age": [float(age) for age in range(100)]})
    users = users.with_columns(age=pl.when(pl.col("user_id") == 2).then(None).otherwise("age"))
    found = told("age", user_features=users)
    assert found["slice"].to_list() == ["0 to 25", "missing"]
    assert found["n_users"].to_list() == [3, 1]


def test_slices_of_a_model_add_up_to_the_whole():
    x = cf.datasets.synthetic(300, 80, 6000, seed=1)
    rng = np.random.default_rng(0)
    frame = x.to_frame()
    held_out = pl.Series(rng.random(len(frame)) < 0.2)
    train, test = frame.filter(~held_out), frame.filter(held_out)
    model = cf.Popular().fit(cf.Interactions.from_frame(train.select("user_id", "item_id")))
    names = ["precision@5", "recall@5", "mrr", "coverage@5", "novelty@5"]
    whole = evaluate(model, test, names)
    by_user = evaluate(model, test, names, by="activity")
    assert by_user["slice"].n_unique() == 4
    for name in ("precision@5", "recall@5", "mrr", "novelty@5"):
        part = by_user.filter(pl.col("metric") == name)
        assert part["n_users"].sum() == whole["n_users"][0]
        mean = (part["value"] * part["n_users"]).sum() / part["n_users"].sum()
        assert mean == pytest.approx(whole.filter(pl.col("metric") == name)["value"].item())
    assert (part["low"] <= part["value"]).all()
    coverage = by_user.filter(pl.col("metric") == "coverage@5")["value"]
    assert coverage.max() <= whole["value"][3]
    by_item = evaluate(model, test, "precision@5", by="popularity")
    assert by_item["n_pairs"].sum() == test["user_id"].is_in(train["user_id"].implode()).sum()
    assert (by_item["value"] * by_item["n_users"]).sum() == pytest.approx(whole["value"][0] * whole["n_users"][0])


def test_unknown_users_of_a_model_are_a_slice_where_they_count():
    model = cf.Popular().fit(cf.Interactions.from_frame(TRAIN))
    test = TEST.filter(pl.col("item_id") != "a")
    assert values(evaluate(model, test, "hit_rate@1", by="new users", unknown_users="zero"))[1] == ("new", 0, 1, 1)
    assert evaluate(model, test, "hit_rate@1", by="new users")["slice"].to_list() == ["known"]


@pytest.mark.parametrize(
    ("by", "options", "message"),
    [
        (
            "activty",
            {},
            r"by='activty' is none of 'activity', 'popularity', 'new users', or a column of.*did you mean activity\?",
        ),
        (
            "lnd",
            {"user_features": {"user_id": [1], "land": ["DE"]}},
            r"of the features: land; did you mean land\?",
        ),
        (3, {}, "by must be 'activity', 'popularity', 'new users', or the name of a column, got 3"),
        ("activity", {"train": None}, r"by='activity' needs the training data.*train="),
        ("activity", {"per_user": True}, "by and per_user"),
        ("popularity", {"names": ["recall@2", "novelty@2"]}, r"slices the test items, and novelty@2 is of lists"),
        ("activity", {"names": ["rmse", "recall@2"]}, "by='activity': rmse cannot be sliced"),
        ("tags", {"user_features": {"user_id": [1], "tags": [["x"]]}}, r"a column of List.* has no single value"),
        (
            "x",
            {"user_features": {"user_id": [1], "x": [1]}, "item_features": {"item_id": ["a"], "x": [1]}},
            "a column of user_features and of item_features",
        ),
    ],
)
def test_slices_that_cannot_be_made(by, options, message):
    with pytest.raises(ParameterError, match=message):
        told(by, **options)
