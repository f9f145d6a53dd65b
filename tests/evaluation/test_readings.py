import gc

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.errors import DataError, ParameterError
from cofactor.evaluation.measure import measure
from cofactor.evaluation.readings import choice_of, note_choice, note_reading, readings

X = cf.datasets.synthetic(60, 30, 900, seed=0)
NUMBER = iter(range(1000, 10_000))


@pytest.fixture
def test():
    """A test side that nobody has read, of users and items that X knows."""
    i = next(NUMBER)
    drawn = np.random.default_rng(i).integers(0, 30, 40)
    return pl.DataFrame({"user_id": X.users.ids[:40], "item_id": X.items.ids.gather(drawn)})


LISTS = cf.Popular().fit(X).recommend(k=11)
RATED = cf.Ratings.from_frame(X.to_frame().select("user_id", "item_id", rating=pl.col("item_id") % 5))


@pytest.mark.parametrize(
    ("read", "n"),
    [
        (lambda test: cf.evaluate(LISTS, test), 1),
        (lambda test: cf.evaluate(cf.Popular().fit(X), test, exclude_seen=False, per_user=True), 1),
        (lambda test: cf.compare({"a": cf.Popular(), "b": cf.Random()}, X, test, exclude_seen=False), 2),
        (lambda test: cf.paired_tests({"a": LISTS, "b": LISTS.filter(pl.col("rank") > 1)}, test), 2),
        (lambda test: cf.evaluate_by_type(LISTS, test.with_columns(event_type=pl.lit("clicks"))), 1),
        (lambda test: cf.errors_by_rating(cf.BiasOnly().fit(RATED), test.with_columns(rating=1.0)), 1),
        (lambda test: cf.calibration(cf.BiasOnly().fit(RATED), test.with_columns(rating=1.0)), 1),
        (lambda test: cf.evaluate(cf.BiasOnly().fit(RATED), test.with_columns(rating=1.0), "rmse"), 1),
    ],
)
def test_every_evaluation_counts(test, read, n):
    assert readings(test) == 0
    read(test)
    assert readings(test) == n
    read(test)
    assert readings(test) == 2 * n


def test_folds_count_each():
    pairs = X.to_frame().select("user_id", "item_id").sample(fraction=1.0, shuffle=True, seed=1)
    events = cf.read_events(pairs, user="user_id", item="item_id")
    folds = cf.split.k_fold(events, 3, seed=5)
    cf.cross_validate(cf.Popular(), None, folds)
    assert [readings(fold.test) for fold in folds] == [1, 1, 1]


def test_a_measurement_knows_which_reading_it_was(test):
    assert [measure(LISTS, test).reading for _ in range(3)] == [1, 2, 3]
    assert "read 4 times" in measure(LISTS, test)._repr_html_()


def test_what_fails_is_no_reading(test):
    with pytest.raises(DataError, match="rank"):
        cf.evaluate(LISTS.drop("rank"), test)
    assert readings(test) == 0


def test_the_same_pairs_are_the_same_test(test):
    note_reading(test, 7)
    assert readings(test.sample(fraction=1.0, shuffle=True, seed=0)) == 7
    assert readings(pl.concat([test, test.head(5)])) == 7
    assert readings(test.with_columns(pl.col("user_id").cast(pl.UInt64), pl.col("item_id").cast(pl.Int32))) == 7
    assert readings(cf.read_events(test, user="user_id", item="item_id")) == 7
    assert readings(cf.Interactions.from_frame(test)) == 7
    assert readings(test.to_dict(as_series=False)) == 7


def test_other_pairs_are_another_test(test):
    note_reading(test)
    assert readings(test.head(39)) == 0
    swapped = test.with_columns(pl.col("item_id").shift(1).fill_null(test["item_id"][-1]))
    assert sorted(swapped["item_id"]) == sorted(test["item_id"])
    assert readings(swapped) == 0
    assert readings(test.select(user_id="item_id", item_id="user_id")) == 0


def test_texts_of_any_type_are_alike():
    names = pl.DataFrame({"user_id": ["mine", "yours"], "item_id": ["tea", "jam"]})
    note_reading(names, 3)
    assert readings(names.cast(pl.Categorical)) == 3
    assert readings(names.with_columns(item_id=pl.Series(["jam", "tea"]))) == 0


def test_a_choice_is_told_by_measurements(test):
    model = cf.Popular().fit(X)
    found = measure(model, test, exclude_seen=False)
    assert found.chosen_on is None
    assert "chosen on" not in found._repr_html_()
    note_choice(model, "the last 28 days of train")
    found = measure(model, test, exclude_seen=False)
    assert found.chosen_on == choice_of(model) == "the last 28 days of train"
    assert "the last 28 days of train" in found._repr_html_()
    assert choice_of(cf.Popular()) is choice_of(LISTS) is choice_of({"a": 1}) is None


def test_a_choice_keeps_no_model_alive():
    gc.collect()
    model = cf.Popular()
    note_choice(model, "something")
    from cofactor.evaluation.readings import _CHOICES

    n = len(_CHOICES)
    del model
    gc.collect()
    assert len(_CHOICES) == n - 1


def test_what_makes_no_sense_is_refused(test):
    with pytest.raises(DataError, match="no column item_id"):
        readings(test.drop("item_id"))
    with pytest.raises(ParameterError, match="n must be"):
        note_reading(test, -1)
    with pytest.raises(ParameterError, match="on must be a text"):
        note_choice(cf.Popular(), 3)
