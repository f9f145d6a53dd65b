"""Errors by rating, calibration, and models of ratings in comparisons."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf

TEST = pl.DataFrame({"user_id": [1, 2, 3, 4], "item_id": [7, 7, 7, 7], "rating": [1, 1, 2, 5]})
TABLE = TEST.with_columns(rating=pl.Series([1.2, 2.0, 2.0, 3.4]), std=pl.lit(1.0))


def rated(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    u, i = rng.integers(0, 60, n), rng.integers(0, 50, n)
    b_u, b_i = rng.normal(0, 0.6, 60), rng.normal(0, 0.6, 50)
    table = pl.DataFrame({"u": u, "i": i, "r": 3 + b_u[u] + b_i[i] + rng.normal(0, 0.7, n)})
    return cf.read_events(table.unique(["u", "i"], maintain_order=True), user="u", item="i", rating="r")


# Errors by rating


def test_errors_by_rating_by_hand():
    table = cf.errors_by_rating(TABLE, TEST)
    assert table.columns == ["rating", "n", "predicted", "rmse", "mae", "accuracy"]
    assert table["rating"].to_list() == [1, 2, 5]
    assert table["n"].to_list() == [2, 1, 1]
    np.testing.assert_allclose(table["predicted"], [1.6, 2, 3.4])
    np.testing.assert_allclose(table["mae"], [0.6, 0, 1.6])
    np.testing.assert_allclose(table["rmse"], [np.sqrt((0.2**2 + 1) / 2), 0, 1.6])
    assert table["accuracy"].to_list() == [0.5, 1, 0]


def test_the_parts_make_the_whole():
    train, test = cf.split.random(rated(), 0.2)
    model = cf.BiasOnly().fit(train)
    table = cf.errors_by_rating(model, test)
    assert len(table) == 10  # bins of about equal numbers
    assert table["accuracy"].is_null().all()
    assert table["n"].max() - table["n"].min() <= 2
    assert table["rating"].is_sorted()
    whole = np.sqrt((table["n"] * table["rmse"] ** 2).sum() / table["n"].sum())
    assert whole == pytest.approx(cf.evaluate(model, test, "rmse")["value"].item())


def test_one_rating_alone():
    assert cf.errors_by_rating(TABLE.head(2), TEST.head(2))["accuracy"].to_list() == [1.0]


# Calibration


def test_intervals_hold_what_they_say():
    train, test = cf.split.random(rated(20_000), 0.2)
    model = cf.BiasOnly().fit(train)
    table = cf.calibration(model, test)
    assert table["level"].to_list() == [0.5, 0.8, 0.9, 0.95, 0.99]
    np.testing.assert_allclose(table["share"], table["level"], atol=0.05)
    assert table["half_width"].is_sorted()
    assert cf.calibration(TABLE, TEST, [0.6827])["half_width"].item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("levels", [[], [0.5, 1.0], [0], ["much"], 0.5, None])
def test_levels_are_probabilities(levels):
    with pytest.raises(cf.ParameterError, match="levels must be numbers above 0 and below 1"):
        cf.calibration(TABLE, TEST, levels)


@pytest.mark.parametrize("ask", [cf.errors_by_rating, cf.calibration])
def test_what_cannot_be_measured(ask):
    with pytest.raises(cf.NotFittedError, match="BiasOnly is not fitted"):
        ask(cf.BiasOnly(), TEST)
    with pytest.raises(cf.ParameterError, match=r"model_or_table must be a fitted .* got the class BiasOnly"):
        ask(cf.BiasOnly, TEST)
    with pytest.raises(cf.ParameterError, match=r"model_or_table must be a fitted .*, got 7"):
        ask(7, TEST)
    with pytest.raises(cf.DataError, match="test: there are no rows"):
        ask(TABLE, TEST.head(0))


# Comparisons


def test_models_of_all_kinds_are_compared_on_one_log():
    train, test = cf.split.random(rated(), 0.2)
    models = {"mean": cf.GlobalMean(), "biases": cf.BiasOnly(), "clusters": cf.CoClustering(2, 2)}
    board = cf.compare(models, train, test, ["rmse", "mae", "recall@5"])
    assert board["model"][0] == "biases"
    assert board["model"][-1] == "mean"
    assert board["rmse"].is_sorted()
    both = cf.compare({"biases": cf.BiasOnly(), "popular": cf.Popular()}, train, test, "recall@5")
    assert both.filter(model="biases")["recall@5"].item() == board.filter(model="biases")["recall@5"].item()
    by_hand = cf.compare({"biases": cf.BiasOnly()}, train.ratings(), test, "rmse")
    assert by_hand["rmse"].item() == board["rmse"][0]


@pytest.mark.parametrize("model", [cf.BiasOnly(), cf.CoClustering(2, 2)])
def test_errors_beside_ranks_and_lists_are_those_of_each_alone(model):
    train, test = cf.split.random(rated(1500), 0.2)
    model.fit(train)
    names = ["rmse", "auc", "mrr", "recall@5", "coverage@5", "mae"]
    together = cf.evaluate(model, test, names, n_bootstrap=0)["value"].to_list()
    assert together == [cf.evaluate(model, test, name, n_bootstrap=0)["value"].item() for name in names]


def test_each_kind_of_data_is_made_once_and_only_if_wanted():
    train, test = cf.split.random(rated(), 0.2)
    made = []

    class Counting(cf.Events):
        def interactions(self, *args, **kwargs):
            made.append("interactions")
            return super().interactions(*args, **kwargs)

        def ratings(self, *args, **kwargs):
            made.append("ratings")
            return super().ratings(*args, **kwargs)

    log = Counting(train.frame, user="u", item="i", rating="r")
    cf.compare({"one": cf.GlobalMean(), "two": cf.BiasOnly()}, log, test, "rmse")
    assert made == ["ratings"]
    cf.compare({"one": cf.Popular(), "two": cf.BiasOnly(), "three": cf.ItemKNN()}, log, test)
    assert sorted(made) == ["interactions", "ratings", "ratings"]


def test_a_log_without_ratings_names_the_model():
    events = cf.read_events(rated().collect().drop("r"), user="u", item="i")
    with pytest.raises(cf.ParameterError, match=r"model 'biases' failed to fit: these events have no ratings"):
        cf.compare({"biases": cf.BiasOnly()}, events, events)
