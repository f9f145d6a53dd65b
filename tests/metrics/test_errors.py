"""Errors of predicted ratings: by hand, for tables and models, and of tests of all kinds."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cofactor as cf
from cofactor.metrics import parse
from cofactor.metrics.errors import Rated, calibration_error, mae, read_rated, rmse

TEST = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 8, 7], "rating": [5.0, 1.0, 3.0]})
TABLE = TEST.with_columns(rating=pl.Series([4.0, 1.0, 5.0]), std=pl.Series([1.0, 2.0, 0.5]))
TRAIN = pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [7, 9, 9, 8], "rating": [5.0, 2.0, 1.0, 4.0]})


def rated(truth, predicted, std=None):
    arrays = [np.asarray(a, np.float64) for a in (truth, predicted)]
    return Rated(*arrays, arrays[1], None if std is None else np.asarray(std, np.float64))


def value(subject, test, metric):
    return cf.evaluate(subject, test, metric, n_bootstrap=0)["value"].item()


def test_by_hand():
    assert value(TABLE, TEST, "rmse") == pytest.approx(np.sqrt(5 / 3))
    assert value(TABLE, TEST, "mae") == pytest.approx(1.0)
    shares = np.array([1 / 3] * 6 + [2 / 3] * 3)  # z is 1, 0 and 4: inside from 0, 68.3 and 99.99 % on
    assert value(TABLE, TEST, "calibration_error") == pytest.approx(np.abs(shares - np.arange(1, 10) / 10).mean())


values = st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=1, max_size=30)


@given(values, st.floats(-5, 5))
def test_errors_are_those_of_the_definition(pairs, shift):
    truth, predicted = np.array(pairs).T
    one = rated(truth, predicted)
    assert rmse(one) == pytest.approx(np.sqrt(((truth - predicted) ** 2).mean()))
    assert 0 <= mae(one) <= rmse(one) + 1e-12
    assert mae(rated(truth + shift, predicted + shift)) == pytest.approx(mae(one), abs=1e-9)
    assert rmse(rated(predicted, truth)) == pytest.approx(rmse(one))


def test_a_true_spread_is_calibrated_and_others_are_not():
    rng = np.random.default_rng(0)
    std = rng.uniform(0.2, 2, 20_000)
    truth, zero = rng.normal(0, std), np.zeros(20_000)
    assert calibration_error(rated(truth, zero, std)) < 0.01
    assert calibration_error(rated(truth, zero, std * 2)) > 0.1
    assert calibration_error(rated(truth, zero, std / 2)) > 0.1
    np.testing.assert_allclose(rated(truth, zero, std).coverage(np.array([0.5, 0.95])), [0.5, 0.95], atol=0.01)


def test_the_lower_the_better():
    assert not any(parse(name).kind.higher_is_better for name in ("rmse", "mae", "calibration_error"))


# Models


def test_a_model_is_measured_on_all_ratings_brought_to_its_scale():
    model = cf.BiasOnly().fit(TRAIN)
    test = pl.DataFrame({"user_id": [1, 99, 99], "item_id": [8, 9, 77], "rating": [3.0, 1.0, 5.0]})
    with pytest.warns(cf.CofactorWarning, match="predict"):
        wanted = model.predict(test, clip=True)["rating"].to_numpy() - test["rating"].to_numpy()
    table = cf.evaluate(model, test, ["rmse", "mae"], n_bootstrap=0)
    np.testing.assert_allclose(table["value"], [np.sqrt((wanted**2).mean()), np.abs(wanted).mean()], rtol=1e-5)
    assert table["n_users"].to_list() == [2, 2]
    assert table["n_unknown_users"].to_list() == [1, 1]


def test_a_test_of_strangers_alone_is_measured():
    model = cf.BiasOnly().fit(TRAIN)
    strangers = TEST.with_columns(pl.col("user_id") + 100)
    assert value(model, strangers, "rmse") > 0
    with pytest.raises(cf.DataError, match="none of the 2 test users"):
        cf.evaluate(model, strangers, ["rmse", "recall@3"])


def test_the_center_of_a_spread_is_not_clipped():
    columns = {"user_id": [1, 1, 2, 2, 3, 3, 3], "item_id": [7, 8, 7, 9, 7, 8, 9], "rating": [5, 3, 4, 0, 5, 2, -1]}
    model = cf.BiasOnly(user_regularization=0, item_regularization=0).fit(pl.DataFrame(columns))
    found = read_rated(model, pl.DataFrame(columns))
    assert found.center.max() > 5 >= found.predicted.max()
    assert found.std is not None


def test_seen_pairs_and_lists_beside_errors():
    model = cf.BiasOnly().fit(TRAIN)
    assert value(model, TRAIN, "rmse") < TRAIN["rating"].std()
    with pytest.warns(cf.CofactorWarning, match="1 of 3 test pairs were in the training data"):
        table = cf.evaluate(model, TEST, ["rmse", "recall@1"], n_bootstrap=0)
    assert table["value"][0] == pytest.approx(value(model, TEST, "rmse"))


def test_tests_of_every_kind():
    events = cf.read_events(TEST.rename({"rating": "stars"}), user="user_id", item="item_id", rating="stars")
    wanted = value(TABLE, TEST, "rmse")
    weights = cf.Interactions.from_frame(TEST, weight="rating")
    for test in (events, events.ratings(), events.interactions(), weights, TEST.to_pandas(), TEST.lazy()):
        assert value(TABLE, test, "rmse") == pytest.approx(wanted)


def test_a_pair_that_is_rated_twice_counts_twice():
    twice = pl.concat([TEST, TEST.head(1)])
    assert value(TABLE, twice, "mae") == pytest.approx((1 + 0 + 2 + 1) / 4)


# What is refused


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (TABLE.drop("rating"), cf.DataError, "predictions: no column rating"),
        (TABLE.head(2), cf.DataError, "predictions: 1 of 3 test ratings have none, the first: user 2 item 7"),
        (pl.concat([TABLE, TABLE]), cf.DataError, "predictions: 3 rows are of a user and item that another row rates"),
        (TABLE.with_columns(rating=pl.lit(float("nan"))), cf.DataError, "rating and std must be finite"),
        (
            TABLE.with_columns(pl.col("item_id").cast(pl.String)),
            cf.DataError,
            "item_id is String here and Int64",
        ),
    ],
)
def test_bad_tables(table, error, message):
    with pytest.raises(error, match=message):
        cf.evaluate(table, TEST, "rmse")


def test_tests_without_ratings():
    with pytest.raises(cf.DataError, match="test: no column rating"):
        cf.evaluate(TABLE, TEST.drop("rating"), "rmse")


def test_scores_are_no_ratings():
    model = cf.ItemKNN().fit(TRAIN)
    with pytest.raises(cf.ParameterError, match=r"ItemKNN gives scores to rank by\. Compare models of ratings"):
        cf.evaluate(model, TEST, "rmse")


def test_without_a_spread_there_is_no_calibration():
    for subject in (TABLE.drop("std"), cf.CoClustering(1, 1).fit(TRAIN)):
        with pytest.raises(cf.ParameterError, match="calibration_error needs a predicted std"):
            cf.evaluate(subject, TEST, "calibration_error")


def test_names_have_no_k():
    with pytest.raises(cf.ParameterError, match=r"'rmse@10': rmse is of ratings, not of lists; write 'rmse'"):
        cf.evaluate(TABLE, TEST, "rmse@10")


def test_there_is_no_value_of_single_users():
    with pytest.raises(cf.ParameterError, match="per_user: rmse has no value of single users"):
        cf.evaluate(TABLE, TEST, "rmse", per_user=True)
