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


@pytest.fixture(scope="module")
def films():
    return pl.DataFrame({"item_id": range(30), "genre": [f"g{n % 3}" for n in range(30)]})


def test_models_are_fitted_with_features(events, films):
    mf = {"factors": 4, "epochs": 2, "seed": 1}
    models = {"with": cf.SampledMF(**mf), "without": cf.SampledMF(**mf)}
    options = {"with": {"item_features": films.to_dict(as_series=False)}}
    table = cf.cross_validate(models, events, 2, "recall@3", fit_options=options)
    wanted = [
        cf.evaluate(cf.SampledMF(**mf).fit(train.interactions(), item_features=films), test.pairs(), "recall@3")[
            "value"
        ]
        for train, test in cf.split.k_fold(events, 2)
    ]
    assert table.select("fold_1", "fold_2").row(0) == tuple(one.item() for one in wanted)
    assert table.row(0)[4:6] != table.row(1)[4:6]
    alone = cf.cross_validate(models["with"], events, 2, "recall@3", fit_options=options["with"])
    assert alone.select("fold_1", "fold_2").equals(table.select("fold_1", "fold_2").head(1))


def test_features_can_be_made_of_the_train_side_of_each_fold(events):
    asked = []

    def rated(train):
        asked.append(train)
        return train.ratings().to_frame().group_by("item_id").agg(liked=pl.mean("rating") > 3)

    model = cf.FactorizationMachine(2, method="als", iterations=3)
    table = cf.cross_validate(model, events, 2, "rmse", fit_options={"item_features": rated})
    splits = cf.split.k_fold(events, 2)
    assert [one.ratings().user_items.nnz for one in asked] == [one.train.ratings().user_items.nnz for one in splits]
    wanted = [
        cf.evaluate(model.fit(train.ratings(), item_features=rated(train)), test, "rmse")["value"].item()
        for train, test in splits
    ]
    assert table.select("fold_1", "fold_2").row(0) == tuple(wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"films": 1}, "fit_options: fit of SampledMF takes no 'films'; it takes item_features, user_features"),
        ({"item_feature": None}, "takes no 'item_feature'; did you mean item_features"),
        (5, "fit_options: what fit takes beside the training data"),
        ({"item_features": 5}, "item_features"),
        ({"item_features": lambda train: 5}, "model 'SampledMF' failed to fit: item_features"),
    ],
)
def test_options_that_fit_does_not_take(events, options, message):
    with pytest.raises(cf.CofactorError, match=message):
        cf.cross_validate(cf.SampledMF(2, epochs=1), events, 2, fit_options=options)


def test_options_of_several_models_go_by_their_names(events, films):
    models = {"mf": cf.SampledMF(2, epochs=1), "popular": cf.Popular()}
    for options, message in (
        ({"item_features": films}, "fit_options: there is no model 'item_features'. They go by the names"),
        ({"popular": {"item_features": films}}, "fit_options of 'popular': fit of Popular takes no 'item_features'"),
    ):
        with pytest.raises(cf.ParameterError, match=message):
            cf.cross_validate(models, events, 2, fit_options=options)


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
        ({"models": cf.BiasOnly}, r"models: BiasOnly is a class; make a model of it, BiasOnly\(\)"),
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
