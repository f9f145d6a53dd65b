"""Searching parameters: what is found, what a failing trial does, and that a killed search goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.evaluation import trials as trials_module
from cofactor.evaluation.holdout import hold_out
from cofactor.evaluation.readings import choice_of

pytest.importorskip("optuna")


class Peaked(cf.Popular):
    """Best where x is 3: a share of its lists is upside down otherwise. Counts its fits."""

    fits = 0

    def __init__(self, x: float = 0.0, kind: str = "fine") -> None:
        super().__init__()
        self.x = x
        self.kind = kind

    def params(self):
        return {"x": self.x, "kind": self.kind}

    def fit(self, interactions, *, progress=None):
        Peaked.fits += 1
        if self.kind == "memory":
            raise MemoryError("no room")
        if self.kind == "interrupt":
            raise KeyboardInterrupt
        super().fit(interactions, progress=progress)
        wrong = min(abs(self.x - 3) / 10, 1)
        flipped = np.arange(len(self.popularity_)) < wrong * len(self.popularity_)
        self.popularity_ = np.where(flipped, -self.popularity_, self.popularity_)
        return self


@pytest.fixture(scope="module")
def x():
    return cf.datasets.synthetic(n_users=200, n_items=60, n_interactions=3000, factors=4, seed=0)


@pytest.fixture(scope="module")
def events():
    rng = np.random.default_rng(0)
    n = 3000
    table = pl.DataFrame(
        {
            "user_id": rng.integers(0, 80, n),
            "item_id": np.minimum(rng.geometric(0.06, n), 50),
            "time": [datetime(2026, 1, 1) + timedelta(minutes=int(m)) for m in np.sort(rng.integers(0, 100_000, n))],
        }
    )
    return cf.read_events(table, user="user_id", item="item_id", time="time")


def test_a_grid_is_what_one_does_by_hand(x):
    space = {"regularization": [1.0, 30.0, 1000.0], "popularity_exponent": [0.0, 0.3]}
    study = cf.tune(cf.EASE(weights="binary"), x, space=space, method="grid", valid=0.2, seed=5)
    data = hold_out(x, 0.2, seed=5)
    wanted = []
    for r in space["regularization"]:
        for e in space["popularity_exponent"]:
            model = cf.EASE(r, popularity_exponent=e, weights="binary").fit(data.training.interactions)
            wanted.append(cf.evaluate(model, data.valid, "ndcg@10")["value"].item())
    assert study.trials.columns == ["number", *space, "value", "seconds", "state", "error"]
    assert study.trials["value"].to_list() == wanted
    assert study.best_value == max(wanted)
    model = study.refit()
    assert repr(model) == repr(cf.EASE(**study.best_params, weights="binary"))
    assert model.interactions_.nnz == x.nnz
    assert model is study.model_
    assert choice_of(model) == f"{study.validation}: the best ndcg@10 of 6 trials"


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_searches_find_the_top_and_begin_with_the_model_itself(x, method):
    class_ = cf.EASE(500.0)
    study = cf.tune(class_, x, space={"regularization": (0.01, 10000.0)}, method=method, trials=12)
    again = cf.tune(class_, x, space={"regularization": (0.01, 10000.0)}, method=method, trials=12)
    assert study.trials["regularization"][0] == 500.0
    assert study.trials.drop("seconds").equals(again.trials.drop("seconds"))
    assert study.trials["regularization"].n_unique() == 12
    grid = cf.tune(class_, x, space={"regularization": list(np.geomspace(0.01, 10000.0, 40))}, method="grid")
    assert study.best_value >= 0.97 * grid.best_value
    other = cf.tune(class_, x, space={"regularization": (0.01, 10000.0)}, method=method, trials=3, seed=1)
    assert other.trials["regularization"][1] != study.trials["regularization"][1]


@pytest.mark.parametrize("method", ["random", "tpe", "grid"])
def test_no_point_is_fitted_twice_and_a_small_space_ends(x, method):
    study = cf.tune(cf.EASE(1.0), x, space={"regularization": [1.0, 5.0, 9.0]}, method=method, trials=50)
    assert sorted(study.trials["regularization"]) == [1.0, 5.0, 9.0]


def test_what_a_model_chose_for_itself_is_told_to_the_search(x):
    study = cf.tune(cf.ImplicitALS(4, iterations=2), x, space={"regularization": (1e-4, 1.0)}, trials=2)
    assert study.trials["regularization"][0] is None
    assert 0 < study.records[0].used["regularization"] < 1


def test_data_is_prepared_once(events, monkeypatch):
    calls = []
    aggregated = cf.Events.aggregated
    monkeypatch.setattr(cf.Events, "aggregated", lambda self, *a: calls.append(self) or aggregated(self, *a))
    Peaked.fits = 0
    study = cf.tune(Peaked, events, space={"x": (0.0, 9.0)}, trials=10, method="random")
    assert len(study.trials) == Peaked.fits == 10
    assert len(calls) == 1


def test_the_newest_events_are_held_out(events):
    data = hold_out(events)
    times = events.collect()["time"].sort()
    assert data.training.events.facts.newest < times[int(0.9 * len(times)) + 1]
    assert data.told.startswith("the last tenth of the events by time: ")
    assert hold_out(events, "7d").told.startswith("7d by time: ")
    by_hand = cf.split.by_time(events, "7d")
    assert (
        hold_out(events, by_hand)
        .valid.sort("user_id", "item_id")
        .equals(hold_out(events, "7d").valid.sort("user_id", "item_id"))
    )
    assert hold_out(
        events.with_frame(events.frame.with_columns(time=pl.lit(datetime(2026, 1, 1)))), None
    ).told.startswith("0.1 of every")


def test_a_share_of_every_user_is_held_out(x):
    data = hold_out(x, 0.25)
    n = x.to_frame().group_by("user_id").len()
    out = data.valid.group_by("user_id").len().join(n, on="user_id")
    assert ((out["len"] >= 1) & (out["len"] <= 0.25 * out["len_right"] + 1) & (out["len"] < out["len_right"])).all()
    left = data.training.interactions
    assert left.nnz + data.valid.height == x.nnz
    assert left.to_frame().join(data.valid, on=["user_id", "item_id"], how="semi").is_empty()
    assert set(n.filter(pl.col("len") > 1)["user_id"]) == set(out["user_id"])


def test_ratings_are_chosen_by_their_error():
    rng = np.random.default_rng(0)
    u, i = np.nonzero(rng.random((60, 30)) < 0.5)
    r = 3 + rng.normal(0, 0.6, 60)[u] + rng.normal(0, 0.6, 30)[i] + rng.normal(0, 0.7, len(u))
    ratings = cf.Ratings.from_frame(pl.DataFrame({"user_id": u, "item_id": i, "rating": r}))
    space = {"user_regularization": [0.0, 5.0, 5000.0], "item_regularization": [5.0]}
    study = cf.tune(cf.BiasOnly, ratings, space=space, method="grid")
    assert study.metric == "rmse"
    assert study.best_value == study.trials["value"].min()
    assert study.best_params["user_regularization"] == 5.0


def test_failing_trials_are_kept_and_the_search_goes_on(x):
    space = {"kind": ["fine", "memory"], "x": [1.0, 3.0]}
    study = cf.tune(Peaked, x, space=space, method="grid")
    assert study.trials["state"].to_list() == ["complete", "complete", "failed", "failed"]
    assert study.trials["error"].to_list() == [None, None, "MemoryError: no room", "MemoryError: no room"]
    assert study.best_params["kind"] == "fine"
    with pytest.raises(cf.CofactorError, match="all 2 trials failed, the first with MemoryError: no room"):
        cf.tune(Peaked, x, space={"kind": ["memory"], "x": [1.0, 2.0]}, method="grid")
    Peaked.fits = 0
    with pytest.raises(cf.CofactorError, match="all 20 trials failed"):
        cf.tune(Peaked(kind="memory"), x, space={"x": (0.0, 1.0)}, method="random", budget="1h")
    assert Peaked.fits == 20


def test_a_trial_that_diverges(x):
    study = cf.tune(
        cf.SampledMF(8, loss="bpr", score="dot", epochs=3, optimizer="sgd"),
        x,
        space={"learning_rate": [0.05, 1e30]},
        method="grid",
    )
    assert study.trials["state"].to_list() == ["complete", "failed"]
    assert "CofactorError" in study.trials["error"][1]


def test_ctrl_c_keeps_what_was_found(x):
    with pytest.warns(cf.CofactorWarning, match="stopped by Ctrl-C after 2 trials"):
        study = cf.tune(Peaked, x, space={"kind": ["fine", "interrupt"], "x": [1.0, 3.0]}, method="grid")
    assert study.trials["state"].to_list() == ["complete", "complete"]
    with pytest.raises(KeyboardInterrupt):
        cf.tune(Peaked, x, space={"kind": ["interrupt"], "x": [1.0]}, method="grid")


def test_the_budget_ends_the_search_and_a_running_trial(x, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(trials_module.time, "perf_counter", lambda: now[0])

    class Slow(Peaked):
        def fit(self, interactions, *, progress=None):
            from cofactor.system.progress import progress_bar

            with progress_bar("Slow", progress, total=10) as bar:
                for _ in range(10):
                    now[0] += 0.6
                    bar.update()
            return super().fit(interactions, progress=progress)

    study = cf.tune(Slow, x, space={"x": (0.0, 9.0)}, method="random", budget="15s")
    assert study.trials["state"].to_list() == ["complete", "complete", "stopped"]
    assert now[0] == pytest.approx(15.6)
    now[0] = 0
    study = cf.tune(Slow, x, space={"x": (0.0, 9.0)}, method="random", budget=1)  # one result there is always
    assert study.trials["state"].to_list() == ["complete"]


def test_training_in_epochs_stops_by_the_held_out_pairs_and_hopeless_trials_are_given_up(x):
    model = cf.SampledMF(8, temperature=0.3, negatives=32, batch_size=256, patience=3)
    rates = [0.01, 0.02, 0.03, 0.04, 1e-7, 2e-7]
    study = cf.tune(model, x, space={"learning_rate": rates}, method="grid")
    assert study.trials["state"].to_list() == ["complete"] * 4 + ["pruned"] * 2
    assert "its score after epoch 3" in study.trials["error"][4]
    assert len(study.records[4].scores) == 3
    assert len(study.records[0].scores) > 3


def test_more_iterations_go_on_from_fewer_and_find_the_same(x, monkeypatch):
    space = {"iterations": [9, 2, 5], "factors": [4, 8]}
    model = cf.ImplicitALS(regularization=0.01, unobserved_weight=0.1, alpha=1.0)
    done = []
    train = cf.ImplicitALS._train
    monkeypatch.setattr(cf.ImplicitALS, "_train", lambda self, *a: done.append(self.iterations) or train(self, *a))
    study = cf.tune(model, x, space=space, method="grid", seed=5)
    assert study.trials.select("factors", "iterations").rows() == [(f, n) for f in (4, 8) for n in (2, 5, 9)]
    assert done == [2, 3, 4] * 2
    data = hold_out(x, seed=5)
    for params, value in zip(
        study.trials.select("factors", "iterations").to_dicts(), study.trials["value"], strict=True
    ):
        alone = cf.ImplicitALS(**model.params() | params).fit(data.training.interactions)
        assert cf.evaluate(alone, data.valid, "ndcg@10")["value"].item() == pytest.approx(value, abs=1e-3)
    done.clear()
    cf.tune(cf.ImplicitALS(4, solver="cg"), x, space={"iterations": [2, 5], "regularization": [0.1]}, method="grid")
    assert done == [2, 5]  # an inexact solver does not end where it would have


def test_warnings_of_trials_are_told_once(x):
    class Warning_(Peaked):
        def fit(self, interactions, *, progress=None):
            from cofactor.checks import warn

            warn("something was dropped")
            return super().fit(interactions, progress=progress)

    with pytest.warns(cf.CofactorWarning) as caught:
        cf.tune(Warning_, x, space={"x": [1.0, 2.0, 3.0]}, method="grid")
    assert [str(one.message) for one in caught] == ["something was dropped (in 3 trials)"]


def test_a_function_that_makes_models(x):
    def chain(regularization):
        return cf.Fallback(cf.EASE(regularization), cf.Popular())

    study = cf.tune(chain, x, space={"regularization": [1.0, 100.0]}, method="grid")
    assert isinstance(study.refit(), cf.Fallback)
    with pytest.raises(cf.ParameterError, match="space: a function that makes models has none by default"):
        cf.tune(chain, x)
    with pytest.raises(cf.ParameterError, match=r"it takes no such arguments: .*alpha"):
        cf.tune(chain, x, space={"alpha": [1.0]}, method="grid")


def test_models_inside_a_model(events):
    chain = cf.Fallback(cf.PersonalPopular(), cf.Popular())
    study = cf.tune(chain, events, trials=6, exclude_seen=False)
    assert set(study.best_params) == {"PersonalPopular.half_life", "Popular.half_life", "Popular.by"}
    fitted = study.refit()
    assert fitted.models[0].half_life == study.best_params["PersonalPopular.half_life"]
    with pytest.raises(cf.NotFittedError):
        chain.recommend()


def test_features_of_items_are_handed_on(events):
    items = events.collect()["item_id"].unique().sort()
    genres = [f"g{n % 3}" for n in range(len(items))]
    films = pl.DataFrame({"item_id": items, "genre": genres, "tags": [["a"]] * len(items)})
    train, test = cf.split.by_time(events, "7d")
    options = {"item_features": films, "category": "genre", "exclude_seen": False}
    space = {"regularization": [1.0, 100.0]}
    study = cf.tune(cf.EASE(10.0), train, space=space, method="grid", metric="calibration@5", **options)
    assert study.best_value == study.trials["value"].min()
    scored = study.score(test.pairs())
    by_hand = cf.EASE(**study.best_params).fit(train)
    assert scored.equals(cf.evaluate(by_hand, test.pairs(), "calibration@5", **options))


def test_trials_and_the_final_model_are_fitted_with_features(events, tmp_path):
    items = events.collect()["item_id"].unique().sort()
    films = pl.DataFrame({"item_id": items, "genre": [f"g{n % 3}" for n in range(len(items))]})
    train, test = cf.split.by_time(events, "7d")
    options = {"space": {"factors": [2, 4]}, "method": "grid", "valid": "7d", "exclude_seen": False}
    given = cf.SampledMF(epochs=2, seed=1)
    study = cf.tune(given, train, fit_options={"item_features": films}, folder=tmp_path, **options)
    assert study.trials["value"].to_list() != cf.tune(given, train, **options).trials["value"].to_list()
    by_hand = cf.SampledMF(study.best_params["factors"], epochs=2, seed=1).fit(
        train.interactions(), item_features=films
    )
    wanted = cf.evaluate(by_hand, test.pairs(), "ndcg@10", exclude_seen=False)
    assert study.score(test.pairs()).equals(wanted)
    with pytest.raises(cf.ArtifactError, match=r"fit_options was .* and is "):
        cf.tune(given, train, fit_options={"item_features": films.head(9)}, folder=tmp_path, **options)
    with pytest.raises(
        cf.ParameterError, match="fit of SampledMF takes no 'films'; it takes item_features, user_features"
    ):
        cf.tune(given, train, fit_options={"films": films}, **options)


def test_the_final_score_is_of_the_model_fitted_on_everything(events):
    train, test = cf.split.by_time(events, "7d")
    study = cf.tune(cf.EASE(10.0), train, space={"regularization": [1.0, 100.0]}, method="grid")
    scored = study.score(test.pairs(), exclude_seen=False)
    by_hand = cf.EASE(**study.best_params).fit(train)
    assert scored.equals(cf.evaluate(by_hand, test.pairs(), "ndcg@10", exclude_seen=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "ndgc@10"}, "did you mean ndcg@10"),
        ({"metric": ["ndcg@10"]}, r"the name of a metric is a text such as 'recall@10', got \['ndcg@10'\]"),
        ({"metric": "calibration@5"}, "calibration@5 needs categories of items: give item_features="),
        ({"model": "EASE"}, "not a name, got 'EASE'; pass cofactor.EASE"),
        ({"model": lambda a: None, "space": {"a": [1]}}, "model: the function must make a model, and makes None"),
        ({"metric": "rmse"}, "metric: rmse needs a model that predicts ratings; EASE gives scores to rank by"),
        ({"budget": "99999999999d"}, "budget='99999999999d'; it must be at most 999,999,999 days"),
        ({"space": {"regularisation": [1.0]}}, "EASE has no parameter 'regularisation'; did you mean regularization?"),
        ({"space": {"regularization": (0, 5)}}, r"space\['regularization'\]: 0 is not allowed: regularization must be"),
        ({"space": {}}, "space is empty"),
        ({"model": cf.Random}, "space: Random has none by default; name what to try, such as {'seed'"),
        ({"model": "EASSE"}, "not a name, got 'EASSE'; did you mean EASE?"),
        ({"model": 7}, "model must be a model, its class, or a function that makes one, got 7"),
        ({"model": cf.FixedFactors, "space": {"seed": [1]}}, "FixedFactors has no parameter 'seed'"),
        ({"method": "gird"}, "method must be one of 'tpe', 'random', 'grid'"),
        ({"trials": 0}, "trials must be a whole number of at least 1"),
        ({"budget": "10 minutes"}, "budget='10 minutes'; it must be a positive number with a unit"),
        ({"budget": 0}, "budget must be a finite number above 0"),
        ({"exclude_seen": 1}, "exclude_seen must be True or False"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"valid": "28d"}, "valid='28d' is a time, and train has none"),
        ({"valid": 1.5}, "valid=1.5: it must be a number above 0 and below 1"),
        ({"valid": cf.Popular()}, "give a time such as '28d', a share such as 0.1"),
        ({"train": [1]}, "train: Events, Interactions or Ratings are expected, got list"),
    ],
)
def test_bad_arguments(x, options, message):
    Peaked.fits = 0
    arguments = {"model": cf.EASE, "train": x} | options
    with pytest.raises(cf.ParameterError, match=message):
        cf.tune(arguments.pop("model"), arguments.pop("train"), **arguments)


def test_bad_times(events):
    with pytest.raises(cf.DataError, match=r"valid: train would be empty: .*valid='1000d'"):
        cf.tune(cf.EASE, events, valid="1000d")
    with pytest.raises(cf.ParameterError, match="valid: valid='28 days'"):
        cf.tune(cf.EASE, events, valid="28 days")


# The folder.


SPACE = {"regularization": (0.1, 1000.0), "weights": ["given", "binary"]}


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_a_study_that_goes_on_is_the_one_that_never_stopped(x, tmp_path, method):
    whole = cf.tune(cf.EASE, x, space=SPACE, method=method, trials=9)
    cf.tune(cf.EASE, x, space=SPACE, method=method, trials=4, folder=tmp_path / "s")
    study = cf.tune(cf.EASE, x, space=SPACE, method=method, trials=9, folder=tmp_path / "s")
    # The startup of TPE depends on the number of trials, so that both must be past it or alike.
    assert study.trials.height == 9
    if method == "random":
        assert study.trials.drop("seconds").equals(whole.trials.drop("seconds"))
    read = cf.tune(cf.EASE, x, space=SPACE, method=method, trials=9, folder=tmp_path / "s")
    assert read.trials.equals(study.trials)
    assert read.best_params == study.best_params


def test_another_study_is_refused(x, events, tmp_path):
    folder = tmp_path / "s"
    cf.tune(cf.EASE, x, space=SPACE, method="random", trials=1, folder=folder)
    other = cf.datasets.synthetic(n_users=200, n_items=60, n_interactions=3000, factors=4, seed=1)
    for options, message in (
        ({"train": other}, "data was .*sha256 of both was"),
        ({"seed": 1}, "holds a study of something else: sha256 of both was"),
        ({"space": {"regularization": (0.1, 100.0)}}, "space was .*1000.0.* and is .*100.0"),
        ({"metric": "recall@5"}, 'metric was "ndcg@10" and is "recall@5"'),
        ({"model": cf.EASE(dropout=0.1)}, "model was .*dropout=0.0.* and is .*dropout=0.1"),
        ({"exclude_seen": False}, "exclude_seen was true and is false"),
    ):
        arguments = {"model": cf.EASE, "train": x, "space": SPACE, "method": "random", "trials": 1} | options
        with pytest.raises(cf.ArtifactError, match=message):
            cf.tune(arguments.pop("model"), arguments.pop("train"), folder=folder, **arguments)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(cf.ArtifactError, match="file is a file, where the folder of a study is expected"):
        cf.tune(cf.EASE, x, folder=tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(cf.ArtifactError, match="holds something else than a study"):
        cf.tune(cf.EASE, x, space=SPACE, trials=1, folder=tmp_path / "full")


def test_damaged_studies(x, tmp_path):
    folder = tmp_path / "s"

    def go_on(trials=3):
        return cf.tune(cf.EASE, x, space=SPACE, method="random", trials=trials, folder=folder)

    whole = go_on()
    path = folder / "trials.jsonl"
    lines = path.read_bytes()
    path.write_bytes(lines[:-20])
    with pytest.warns(cf.CofactorWarning, match="its last line was not written to the end"):
        assert go_on().trials.drop("seconds").equals(whole.trials.drop("seconds"))
    path.write_bytes(b"{}\n" + lines)
    with pytest.raises(cf.ArtifactError, match="line 1 is no trial of this study"):
        go_on()
    (folder / "study.json").write_text("{")
    with pytest.raises(cf.ArtifactError, match=r"study.json cannot be read"):
        go_on()
    (folder / "study.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(cf.ArtifactError, match="is of format 99; this version"):
        go_on()
    (folder / "study.json").write_text("[]")
    with pytest.raises(cf.ArtifactError, match="is none of a study"):
        go_on()


def test_a_function_with_other_parameters_is_another_study(x, tmp_path):
    def search(dropout):
        def make(regularization):
            return cf.EASE(regularization, dropout=dropout)

        return cf.tune(make, x, space={"regularization": [1.0, 10.0]}, method="grid", folder=tmp_path / "s")

    search(0.1)
    assert len(search(0.1).records) == 2
    with pytest.raises(cf.ArtifactError, match=r"model was .*dropout=0\.1.* and is .*dropout=0\.5"):
        search(0.5)


def test_two_searches_in_one_folder(x, tmp_path):
    class Meddling(Peaked):
        def fit(self, interactions, *, progress=None):
            with (tmp_path / "s" / "trials.jsonl").open("a") as file:
                file.write("{}\n")
            return super().fit(interactions, progress=progress)

    with pytest.raises(cf.ArtifactError, match="somebody else writes to this study"):
        cf.tune(Meddling, x, space={"x": [1.0]}, method="grid", folder=tmp_path / "s")


def test_values_that_json_does_not_know(x, tmp_path):
    space = {"half_life": [timedelta(days=1), timedelta(days=2)]}
    with pytest.raises(cf.ParameterError, match=r"a study of this cannot be written as JSON: .*leave folder out"):
        cf.tune(cf.CoVisitation, x, space=space, method="grid", folder=tmp_path / "s")


KILLED = """
import sys, time
import cofactor as cf
from pathlib import Path

class Slow(cf.EASE):
    def fit(self, interactions, *, progress=None):
        with open("fits", "a") as file:
            file.write("x")
        if Path("sleep").exists():
            time.sleep(0.3)
        return super().fit(interactions, progress=progress)

x = cf.datasets.synthetic(n_users=100, n_items=40, n_interactions=1200, factors=4, seed=0)
study = cf.tune(Slow(10.0), x, space={"regularization": (0.1, 1000.0)}, method="random", trials=8, folder="study")
study.trials.drop("seconds").write_parquet("trials.parquet")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_search_loses_the_running_trial_only(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    (tmp_path / "sleep").touch()
    process = subprocess.Popen([sys.executable, "-c", KILLED], cwd=tmp_path, env=environment)
    path, deadline = tmp_path / "study" / "trials.jsonl", time.monotonic() + 60
    while not (path.exists() and path.read_bytes().count(b"\n") >= 3) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept, fits = path.read_bytes().count(b"\n"), len((tmp_path / "fits").read_text())
    assert 3 <= kept < 8
    assert fits - kept <= 1
    (tmp_path / "sleep").unlink()
    subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, env=environment, check=True)
    assert len((tmp_path / "fits").read_text()) == 8 + (fits - kept)
    found = pl.read_parquet(tmp_path / "trials.parquet")
    x = cf.datasets.synthetic(n_users=100, n_items=40, n_interactions=1200, factors=4, seed=0)
    whole = cf.tune(cf.EASE(10.0), x, space={"regularization": (0.1, 1000.0)}, method="random", trials=8)
    assert found.equals(whole.trials.drop("seconds"))
