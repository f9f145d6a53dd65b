"""From a log to a model: what is tried, what is chosen, and that time is kept."""

import time

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.evaluation.holdout import hold_out

pytest.importorskip("optuna")


@pytest.fixture(scope="module")
def events():
    return cf.datasets.synthetic_events(n_users=60, n_items=40, n_events=2500, seed=1)


@pytest.fixture(scope="module")
def found(events):
    return cf.best_model(events, "4s", progress=False)


def test_the_winner_is_the_best_in_validation_fitted_on_everything(events, found):
    board = found.leaderboard
    assert board.columns == ["model", "ndcg@10", "trials", "seconds", "parameters", "error"]
    values = board["ndcg@10"].drop_nulls()
    assert values.equals(values.sort(descending=True))
    assert found.name == board["model"][0]
    assert repr(found.model) == board["parameters"][0]
    assert found.model.interactions_.nnz == events.interactions().nnz
    data = hold_out(events)
    assert data.told == found.validation
    again = (
        type(found.model)(*found.model.models)
        if hasattr(found.model, "models")
        else type(found.model)(**found.model.params())
    )
    value = cf.evaluate(again.fit(data.training.interactions), data.valid, "ndcg@10", exclude_seen=found.exclude_seen)
    assert value["value"].item() == pytest.approx(board["ndcg@10"][0])
    assert "ndcg@10" in repr(found)


def test_a_log_of_repeats_is_asked_for_repeats(found):
    assert not found.exclude_seen
    assert {"popular", "history", "history of late", "EASE", "Repurchase"} <= set(found.leaderboard["model"])
    assert "ItemKNN" not in found.leaderboard["model"]


def test_where_nothing_comes_again_new_items_are_asked_for():
    x = cf.datasets.synthetic(n_users=200, n_items=60, n_interactions=3000, factors=4, seed=0)
    found = cf.best_model(x, "3s", progress=False)
    assert found.exclude_seen
    assert {"popular", "ItemKNN", "EASE", "ImplicitALS"} <= set(found.leaderboard["model"])
    assert "history" not in found.leaderboard["model"]
    assert found.name != "popular"  # the factors were planted
    assert found.leaderboard["trials"].max() > 1


@pytest.mark.filterwarnings("ignore:SampledMF. the loss is")
def test_with_features_a_family_that_learns_from_them_is_tried(monkeypatch):
    for name in ("Popular", "ItemKNN", "EASE", "ImplicitALS", "GraphFilter", "SLIM"):
        monkeypatch.setattr(getattr(cf, name), "fit", failing)
    x = cf.datasets.synthetic(n_users=60, n_items=30, n_interactions=900, factors=2, seed=0)
    films = pl.DataFrame({"item_id": range(40), "genre": [f"g{n % 3}" for n in range(40)]})
    found = cf.best_model(x, "2s", fit_options={"item_features": films}, progress=False)
    assert found.name == "SampledMF with features"
    assert found.model.item_features_.n_features == 3
    assert len(found.model.interactions_.items) == 40  # what has features alone is there, in the last fit too
    with pytest.raises(cf.DataError, match="item_features: no column item_id, but user_id: a table of users is given"):
        cf.best_model(x, "2s", fit_options={"item_features": films.rename({"item_id": "user_id"})})
    with pytest.raises(cf.ParameterError, match="fit of SampledMF takes no 'films'; it takes item_features"):
        cf.best_model(x, "2s", fit_options={"films": films})


def failing(self, *args, **kwargs):
    raise cf.CofactorError("not today")


def test_ratings_with_features():
    table = pl.DataFrame({"u": [n % 20 for n in range(200)], "i": [n * 7 % 13 for n in range(200)]})
    log = cf.read_events(table.with_columns(r=1.0 + pl.col("i") % 5), user="u", item="i", rating="r")
    people = pl.DataFrame({"user_id": range(20), "age": range(20)})
    options = {"metric": "rmse", "progress": False}
    found = cf.best_model(log, 1e-6, fit_options={"user_features": people}, **options)
    assert "FactorizationMachine with features" in found.leaderboard["model"]
    with pytest.raises(cf.ParameterError, match="fit of FactorizationMachine takes no 'dislikes'"):
        cf.best_model(log, "1s", fit_options={"dislikes": None}, **options)


def test_ratings():
    rng = np.random.default_rng(0)
    u, i = np.nonzero(rng.random((60, 30)) < 0.5)
    r = 3 + rng.normal(0, 0.6, 60)[u] + rng.normal(0, 0.6, 30)[i] + rng.normal(0, 0.7, len(u))
    log = cf.read_events(pl.DataFrame({"u": u, "i": i, "r": r}), user="u", item="i", rating="r")
    found = cf.best_model(log, "2s", metric="rmse", progress=False)
    assert isinstance(found.model, cf.RatingModel)
    assert found.leaderboard["rmse"].drop_nulls().is_sorted()


def test_with_no_time_there_is_a_model_and_the_others_say_why_not(events):
    begin = time.perf_counter()
    found = cf.best_model(events, 1e-6, progress=False)
    assert time.perf_counter() - begin < 10
    assert found.name == "popular"
    assert found.leaderboard["trials"].to_list() == [1] + [0] * (found.leaderboard.height - 1)
    assert set(found.leaderboard["error"][1:]) == {"the budget was used up before"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": "soon"}, "budget='soon'; it must be a positive number with a unit"),
        ({"metric": "ndgc@10"}, "did you mean ndcg"),
        ({"metric": "calibration@5"}, "calibration@5 needs item_features=, which best_model does not take"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"exclude_seen": 1}, "exclude_seen must be True or False"),
        ({"events": 5}, "events: Events, Interactions or Ratings are expected, got int"),
    ],
)
def test_bad_arguments(events, options, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.best_model(**{"events": events} | options)


def test_ctrl_c_keeps_the_best_so_far(events, monkeypatch):
    def interrupted(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cf.ImplicitALS, "fit", interrupted)
    with pytest.warns(cf.CofactorWarning, match="stopped by Ctrl-C"):
        found = cf.best_model(events, "1h", progress=False)
    assert "popular" in found.leaderboard["model"]
    assert not {"ImplicitALS", "GraphFilter"} & set(found.leaderboard["model"])
    assert found.model.recommend(k=2).height > 0
    for model in (cf.Popular, cf.ItemKNN):
        monkeypatch.setattr(model, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cf.best_model(events, "1h", progress=False)
