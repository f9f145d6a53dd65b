"""Cross-validation: the same as by hand, for models of any kind, and the given ones stay as they are."""

import sys

import numpy as np
import polars as pl
import pytest

import cofactor as cf


@pytest.fixture(scope="module")
def events():
    rng = np.random.default_rng(0)
    u, i = np.nonzero(rng.random((40, 30)) < 0.4)
    r = 3 + rng.normal(0, 0.6, 40)[u] + rng.normal(0, 0.6, 30)[i] + rng.normal(0, 0.7, len(u))
    return cf.read_events(pl.DataFrame({"u": u, "i": i, "r": r}), user="u", item="i", rating="r")


def test_it_is_what_one_does_by_hand(events):
    table = cf.cross_validate({"mean": cf.GlobalMean(), "biases": cf.BiasOnly()}, events, 4, seed=3)
    assert table.select("model", "metric").rows() == [
        ("mean", "rmse"), ("mean", "mae"), ("biases", "rmse"), ("biases", "mae"),
    ]  # fmt: skip
    wanted = [
        cf.evaluate(cf.BiasOnly().fit(train), test, "rmse")["value"].item()
        for train, test in cf.split.k_fold(events, 4, seed=3)
    ]
    row = table.row(2, named=True)
    assert [row[f"fold_{n}"] for n in range(1, 5)] == wanted
    assert row["mean"] == pytest.approx(np.mean(wanted))
    assert row["std"] == pytest.approx(np.std(wanted, ddof=1))
    assert row["fit_seconds"] > 0
    assert table["mean"][2] < table["mean"][0]


def test_splits_that_were_made_before(events):
    splits = [cf.split.random(events, 0.2, seed) for seed in (0, 1)]
    table = cf.cross_validate(cf.BiasOnly(), None, splits, "mae")
    assert table.columns == ["model", "metric", "mean", "std", "fold_1", "fold_2", "fit_seconds"]
    assert table["model"].item() == "BiasOnly"
    assert cf.cross_validate(cf.BiasOnly(), None, splits[:1], "mae")["std"].to_list() == [None]


def test_models_that_rank(events):
    table = cf.cross_validate({"popular": cf.Popular(), "biases": cf.BiasOnly()}, events, 3)
    assert table["metric"].to_list() == ["recall@10", "ndcg@10", "map@10"] * 2
    assert table["mean"].is_between(0, 1).all()


def test_the_models_stay_as_they_are(events):
    inside = cf.Popular()
    models = {"rated": cf.BiasOnly(), "chain": cf.Fallback(cf.PersonalPopular(), inside)}
    cf.cross_validate(models, events, 2, "recall@3")
    for model in (*models.values(), inside):
        with pytest.raises(cf.NotFittedError):
            model.recommend()


def test_one_bar(events, capsys):
    cf.cross_validate(cf.CoClustering(), events, 2, progress=False)
    assert capsys.readouterr() == ("", "")
    cf.cross_validate(cf.CoClustering(), events, 2, progress=True)
    told = capsys.readouterr().err
    assert "cross_validate" in told
    assert "CoClustering:" not in told


@pytest.mark.parametrize("progress", [True, False])
def test_lists_have_no_bar_of_their_own_on_a_terminal(events, capsys, monkeypatch, progress):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    cf.evaluate(cf.Popular().fit(events), events.ratings(), "recall@3", exclude_seen=False)
    assert "lists" in capsys.readouterr().err
    cf.cross_validate(cf.Popular(), events, 2, ("recall@3", "auc"), progress=progress)
    told = capsys.readouterr().err
    assert ("cross_validate" in told) == progress
    assert "lists" not in told
    assert "ranks" not in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "folds: k must be a whole number of at least 2, got 1"),
        ({"folds": []}, r"folds must be a number, or splits as of split.k_fold, got \[\]"),
        ({"folds": "5"}, "folds must be a number, or splits"),
        ({"folds": [(1, 2)]}, "folds must be a number, or splits"),
        ({"events": None}, "events must be Events, or None where folds are splits, got None"),
        ({"models": {}}, "models: there is none"),
        ({"models": cf.BiasOnly}, "models: 'ABCMeta' is not a model"),
        ({"metrics": "rsme"}, "did you mean rmse"),
    ],
)
def test_bad_arguments(events, options, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.cross_validate(**{"models": cf.BiasOnly(), "events": events} | options)


def test_folds_hold_their_own_events(events):
    with pytest.raises(cf.ParameterError, match="events: the folds hold theirs; pass events=None"):
        cf.cross_validate(cf.BiasOnly(), events, cf.split.k_fold(events, 2))


def test_an_error_names_the_model(events):
    with pytest.raises(cf.ParameterError, match="model 'biases' failed to fit: user_regularization must be"):
        cf.cross_validate({"biases": cf.BiasOnly(user_regularization=-1)}, events, 2)
