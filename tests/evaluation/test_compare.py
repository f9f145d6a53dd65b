import json
import sys

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.data.interactions import Interactions
from cofactor.errors import DataError, NotFittedError, ParameterError
from cofactor.evaluation.compare import _pareto, compare
from cofactor.evaluation.evaluate import evaluate
from cofactor.metrics import parse

TRAIN = pl.DataFrame({"user_id": [1, 1, 2, 3], "item_id": [10, 20, 30, 40]})
TEST = pl.DataFrame({"user_id": [1, 2, 9], "item_id": [30, 40, 10]})


class Fixed:
    """Gives everybody the same items."""

    def __init__(self, *items):
        self.items = items
        self.options = None

    def fit(self, interactions, **options):
        self.interactions_ = interactions
        self.options = options
        return self

    def recommend(self, users=None, k=10, *, exclude_seen=True):
        ranks = pl.DataFrame({"item_id": self.items, "rank": range(1, len(self.items) + 1)})
        return users.to_frame("user_id").join(ranks.head(k), how="cross")

    def predict(self, pairs):
        return pairs.with_columns(score=-(pl.col("item_id") - self.items[0]).abs().cast(pl.Float32))


class Failing(Fixed):
    def __init__(self, error, *, on="fit"):
        super().__init__(10)
        self.error = error
        self.on = on

    def fit(self, interactions, **options):
        if self.on == "fit":
            raise self.error
        return super().fit(interactions)

    def recommend(self, users=None, k=10, *, exclude_seen=True):
        raise self.error


class Events:
    """As much of events as compare looks at."""

    def __init__(self):
        self.weights = []

    def interactions(self, weight=None):
        self.weights.append(weight)
        return Interactions.from_frame(TRAIN)


MODELS = {"bad": Fixed(10, 20), "good": Fixed(30, 40), "fair": Fixed(40, 10)}


@pytest.fixture
def train():
    return Interactions.from_frame(TRAIN)


def test_a_leaderboard_by_hand(train):
    board = compare(MODELS, train, TEST, ["mrr@2", "recall@1"])
    assert board.columns == [
        "model", "mrr@2", "recall@1", "fit_seconds", "recommend_seconds", "peak_mb", "pareto", "reading", "chosen_on",
        "error",
    ]  # fmt: skip
    assert board.select("model", "mrr@2", "recall@1").rows() == [
        ("good", 3 / 4, 1 / 2),
        ("fair", 1 / 2, 1 / 2),
        ("bad", 0, 0),
    ]
    assert board.select(pl.col("^.*seconds$") > 0).to_numpy().all()


def test_equal_models_keep_their_order(train):
    models = {"b": Fixed(30), "a": Fixed(30), "c": Fixed(30)}
    assert compare(models, train, TEST)["model"].to_list() == ["b", "a", "c"]


def test_intervals_are_those_of_evaluate(train):
    board = compare(MODELS, train, TEST, ["mrr@2", "coverage@2"], intervals=True)
    assert board.columns[:7] == [
        "model",
        "mrr@2",
        "mrr@2_low",
        "mrr@2_high",
        "coverage@2",
        "coverage@2_low",
        "coverage@2_high",
    ]
    expected = evaluate(MODELS["good"], TEST, ["mrr@2", "coverage@2"])
    assert board.row(0)[1:4] == expected.select("value", "low", "high").row(0)
    assert board["coverage@2_low"].null_count() == 3


def test_models_are_fitted_on_the_same_interactions(train):
    compare(MODELS, train, TEST)
    assert all(model.interactions_ is train and model.options == {} for model in MODELS.values())


def test_progress_is_passed_on(train):
    compare(MODELS, train, TEST, progress=False)
    assert all(model.options == {"progress": False} for model in MODELS.values())


def test_events_become_interactions_once():
    events = Events()
    weight = pl.len()
    compare(MODELS, events, TEST, weight=weight)
    compare(MODELS, events, TEST)
    assert len(events.weights) == 2
    assert events.weights[0] is weight
    assert events.weights[1] is None


def test_candidates(train):
    test = TEST.head(2)
    candidates = pl.concat([test, pl.DataFrame({"user_id": [1, 2], "item_id": [20, 20]})])
    board = compare({"a": Fixed(20), "b": Fixed(40)}, train, test, "mrr@2", candidates=candidates)
    assert board.select("model", "mrr@2").rows() == [("b", 1), ("a", 1 / 2)]


def test_an_error_names_the_model(train):
    models = {"fine": Fixed(10), "wrong": Failing(ParameterError("factors: 0"))}
    with pytest.raises(ParameterError, match="model 'wrong' failed to fit: factors: 0"):
        compare(models, train, TEST, errors="raise")
    models = {"wrong": Failing(DataError("no scores"), on="recommend")}
    with pytest.raises(DataError, match="model 'wrong' failed to evaluate: no scores"):
        compare(models, train, TEST)


def test_a_foreign_error_gets_a_note(train):
    with pytest.raises(ZeroDivisionError) as caught:
        compare({"wrong": Failing(ZeroDivisionError("oh"))}, train, TEST)
    assert caught.value.__notes__ == ["this happened when model 'wrong' was to fit"]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({}, "there is none"),
        ([Fixed(1)], "a dict of models by name is expected, got list"),
        ({"": Fixed(1)}, "texts that are not empty, got ''"),
        ({1: Fixed(1)}, "texts that are not empty, got 1"),
        ({"a": 7}, "'a' is not a model but 7; give a model, a function without arguments that makes one, or a table"),
        ({"a": dict}, "model 'a' failed to fit: what was given for it makes no model but {}"),
        ({"a": "b"}, "'a' is not a model but 'b'"),
        (dict.fromkeys(["a", "b"], Fixed(1)), "one object is there under two names"),
    ],
)
def test_models_that_cannot_be_compared(models, message, train):
    with pytest.raises(ParameterError, match=message):
        compare(models, train, TEST)


@pytest.mark.parametrize(
    ("test", "metrics", "message"),
    [
        (None, "recall@3", "test: it is missing; pass what was held out, or a Split"),
        ("test.parquet", "recall@3", "test: a table with user_id, item_id is expected, got 'test.parquet'"),
        (TEST.head(0), "recall@3", "test: there are no rows"),
        (TEST, "rmse", "test: no column rating"),
        (TEST, "ndcg_graded@3", "test: ndcg_graded needs to know how relevant a pair is"),
        (TEST, "calibration@3", "calibration@3 needs categories of items: give item_features="),
        (TEST, "recall@3,ndcg@3", r"is one text; several names are a list, \['recall@3', 'ndcg@3'\]"),
    ],
)
def test_what_metrics_read_is_looked_at_before_any_fit(test, metrics, message, train):
    model = Fixed(10)
    with pytest.raises((DataError, ParameterError), match=message):
        compare({"a": model}, train, test, metrics, leaks=False)
    assert not hasattr(model, "interactions_")


def test_other_parameters(train):
    with pytest.raises(ParameterError, match="did you mean recall"):
        compare(MODELS, train, TEST, ["recal@3"])
    for without_events in (train, None):
        with pytest.raises(ParameterError, match="weight: only events are weighed"):
            compare(MODELS, without_events, TEST, weight=pl.len())
    with pytest.raises(ParameterError, match="train: Events, Interactions or Ratings are expected, got DataFrame"):
        compare(MODELS, TRAIN, TEST)


def test_fitted_models_are_measured_as_they_are():
    models = {"good": Fixed(30, 40), "bad": Fixed(10, 20)}
    first = compare(models, Interactions.from_frame(TRAIN), TEST, "recall@2")
    fitted_on = models["good"].interactions_
    again = compare(models, None, TEST, "recall@2")
    assert again.columns == [c for c in first.columns if c != "fit_seconds"]
    timed = ["recommend_seconds", "peak_mb", "pareto", "reading"]
    assert again.drop(timed).equals(first.select(again.columns).drop(timed))
    assert models["good"].interactions_ is fitted_on
    with pytest.raises(NotFittedError, match="not fitted"):
        compare({"new": Fixed(10)}, None, TEST, "recall@2")


def test_a_model_that_fails_does_not_lose_the_others(train):
    models = {
        "wrong": Failing(MemoryError("oh\nno")),
        "good": Fixed(30, 40),
        "late": Failing(DataError("x"), on="recommend"),
    }
    board = compare(models, train, TEST, "recall@2", intervals=True)
    assert board["model"].to_list() == ["good", "wrong", "late"]
    assert board["error"].to_list() == [None, "MemoryError: oh no", "model 'late' failed to evaluate: x"]
    assert board["recall@2"].to_list() == [1.0, None, None]
    assert board["pareto"].to_list() == [True, None, None]
    with pytest.raises(KeyboardInterrupt):
        compare({"good": Fixed(30), "stopped": Failing(KeyboardInterrupt())}, train, TEST)
    with pytest.raises(MemoryError):
        compare({"wrong": Failing(MemoryError("oh")), "too": Failing(DataError("x"))}, train, TEST)


def test_functions_that_make_models(train):
    board = compare({"class": cf.Popular, "function": lambda: Fixed(30, 40)}, train, TEST, "recall@2")
    assert board["model"].to_list() == ["function", "class"]


def test_tables_are_measured_on_what_models_are_measured_on(train):
    model = cf.Popular().fit(train)
    seen = pl.concat([TEST, TRAIN.head(1)])
    with pytest.warns(cf.CofactorWarning, match="1 of 4 test pairs were in the training data"):
        board = compare({"model": cf.Popular(), "table": model.recommend(k=3)}, train, seen, ["ndcg@3", "coverage@3"])
    assert board["ndcg@3"].n_unique() == board["coverage@3"].n_unique() == 1
    assert board.filter(model="table")["fit_seconds"].to_list() == [None]
    again = compare(
        {"model": cf.Popular(), "table": model.recommend(k=3, exclude_seen=False)},
        train,
        seen,
        "ndcg@3",
        exclude_seen=False,
    )
    assert again["ndcg@3"].n_unique() == 1


def test_weights_of_the_test_count_for_tables_too(train):
    """As they do for models, of known users and of what is new."""
    test = pl.concat([TEST, TRAIN.head(1)]).with_columns(weight=pl.Series([5.0, 1.0, 2.0, 3.0]))
    table = cf.Popular().fit(train).recommend(k=3)
    with pytest.warns(cf.CofactorWarning, match="1 of 4 test pairs were in the training data"):
        board = compare({"model": cf.Popular(), "table": table}, train, test, ["ndcg_graded@3", "novelty@3"])
    assert board["ndcg_graded@3"].n_unique() == board["novelty@3"].n_unique() == 1


def test_features_of_items_are_handed_on(train):
    films = pl.DataFrame({"item_id": [10, 20, 30, 40], "genre": ["a", "b", "a", "b"], "year": [1, 2, 3, 4]})
    board = compare(MODELS, train, TEST, "calibration@2", item_features=films, category="genre")
    wanted = cf.evaluate(MODELS["good"], TEST, "calibration@2", item_features=films, category="genre")
    assert board.filter(model="good")["calibration@2"].item() == wanted["value"].item()
    with pytest.raises(ParameterError, match="calibration@2 needs categories of items: give item_features="):
        compare(MODELS, train, TEST, "calibration@2")


def test_a_leak_is_a_warning():
    log = pl.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": [1, 2, 1, 3, 2], "time": [1, 9, 2, 4, 3]})
    events = cf.read_events(log, user="user_id", item="item_id", time="time", implausible_times="allow")
    test = pl.DataFrame({"user_id": [1, 2], "item_id": [3, 2], "time": [5, 7]}).with_columns(
        pl.from_epoch("time").cast(events.frame.collect_schema()["time"])
    )
    with pytest.warns(cf.CofactorWarning, match="leaks: 1 of 2 test events are before the same user's last") as told:
        compare({"popular": cf.Popular()}, events, test, "recall@1")
    assert len(told) == 1
    compare({"popular": cf.Popular()}, events, test, "recall@1", leaks=False)
    compare({"popular": cf.Popular()}, events, test.tail(1), "recall@1")
    odd = test.with_columns(pl.col("time").dt.date())
    with pytest.warns(cf.CofactorWarning, match="leaks could not be looked for: time is Date in test"):
        compare({"popular": cf.Popular()}, events, odd, "recall@1")


def test_no_other_is_as_good_in_as_little_time():
    times = {"best": (0.5, 9.0, 1.0), "quick": (0.1, 0.5, 0.5), "slower": (0.4, 9.5, 1.0), "equal": (0.5, 5.0, 5.0)}
    rows = [(name, *of, None) for name, of in times.items()] + [
        ("failed", None, None, None, "why"),
        ("table", 0.05, None, 0, None),
    ]
    board = pl.DataFrame(rows, orient="row", schema=["model", "ndcg@5", "fit_seconds", "recommend_seconds", "error"])
    found = _pareto(board, parse("ndcg@5"), ["fit_seconds", "recommend_seconds"])
    assert found.to_list() == [True, True, False, True, None, True]
    lower = _pareto(board.rename({"ndcg@5": "rmse"}), parse("rmse"), ["recommend_seconds"])
    assert lower.to_list() == [False, False, False, False, None, True]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the peak of a part of the work")
def test_peak_memory(train):
    class Large(Fixed):
        def fit(self, interactions, **options):
            held = np.ones(25_000_000)
            assert held[-1]
            return super().fit(interactions, **options)

    board = compare({"large": Large(30, 40), "small": Fixed(30)}, train, TEST, "recall@2")
    assert 150 < board["peak_mb"][0] < 300
    assert board["peak_mb"][1] < 100


@pytest.fixture(scope="module")
def events():
    return cf.datasets.synthetic_events(n_users=60, n_items=40, n_events=2500, seed=1)


def test_several_splits(events):
    first = cf.split.by_time(events, "20d")
    splits = [first, cf.split.by_time(first.train, "20d")]
    models = {"popular": cf.Popular(), "personal": cf.PersonalPopular(), "wrong": Failing(DataError("x"))}
    board = compare(models, splits, metrics=["recall@5", "ndcg@5"], exclude_seen=False)
    assert board.columns[:5] == ["model", "recall@5", "recall@5_std", "ndcg@5", "ndcg@5_std"]
    values = [cf.evaluate(cf.Popular().fit(a), b, "recall@5", exclude_seen=False)["value"].item() for a, b in splits]
    row = board.filter(model="popular").row(0, named=True)
    assert row["recall@5"] == pytest.approx(np.mean(values))
    assert row["recall@5_std"] == pytest.approx(np.std(values, ddof=1))
    assert board["error"][2] == "model 'wrong' failed to fit: x"
    with pytest.raises(NotFittedError):
        models["popular"].recommend()
    one = compare({"popular": cf.Popular()}, first, metrics="recall@5", exclude_seen=False)
    assert one["recall@5"].item() == values[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": []}, "train: of several splits all are Split"),
        ({"train": [1]}, "train: of several splits all are Split, as of split.by_time, got .1."),
        ({"test": TEST}, "test: the splits hold theirs"),
        ({"intervals": True}, "intervals: of several splits there is <metric>_std"),
        ({"significance": True}, "significance: users of several splits are not paired"),
        ({"models": {"a": TEST}}, "'a' is a table, which is of one split"),
        ({"errors": "ignore"}, "errors must be one of 'row', 'raise'"),
    ],
)
def test_what_several_splits_do_not_have(events, options, message):
    given = {"models": {"a": cf.Popular()}, "train": [cf.split.by_time(events, "20d")]} | options
    with pytest.raises(ParameterError, match=message):
        compare(**given)


def test_significance_beside_the_best(events):
    models = {
        "popular": cf.Popular(),
        "personal": cf.PersonalPopular(),
        "random": cf.Random(),
        "wrong": Failing(DataError("x")),
    }
    train, test = cf.split.by_time(events, "20d")
    board = compare(models, train, test, ["ndcg@5", "coverage@5"], exclude_seen=False, significance=True)
    best = board["model"][0]
    fitted = {name: models[name] for name in ("popular", "personal", "random")}
    wanted = cf.paired_tests(fitted, test.pairs(), "ndcg@5", baseline=best, exclude_seen=False)
    found = dict(board.select("model", "p_vs_best").iter_rows())
    assert found == {best: None, "wrong": None} | dict(wanted.select("model_a", "p_holm").iter_rows())
    with pytest.raises(ParameterError, match="significance: coverage@5 has no value of single users"):
        compare(models, train, test, "coverage@5", significance=True)
    assert compare({"a": cf.Popular()}, train, test, exclude_seen=False, significance=True)["p_vs_best"].to_list() == [
        None
    ]


class Counted(cf.Popular):
    fits = 0

    def fit(self, interactions, *, progress=None):
        Counted.fits += 1
        if Counted.fits == 3:
            raise KeyboardInterrupt
        return super().fit(interactions, progress=progress)


def test_a_comparison_goes_on_where_it_stopped(events, tmp_path):
    train, test = cf.split.by_time(events, "20d")
    Counted.fits = 0

    def go(folder, train=train, metrics=("ndcg@5", "coverage@5"), by="users", **options):
        models = {
            "a/b": Counted(),
            "b": Counted(by),
            "c": Counted(window="9d"),
            "t": cf.Popular().fit(train).recommend(),
        }
        return compare(
            models,
            train,
            test,
            metrics,
            folder=folder,
            exclude_seen=False,
            intervals=True,
            significance=True,
            **options,
        )

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "c")
    board = go(tmp_path / "c")
    assert Counted.fits == 4  # the first two were kept, the third was interrupted once
    whole = go(tmp_path / "d")
    untimed = pl.exclude("fit_seconds", "recommend_seconds", "peak_mb", "pareto", "reading")
    assert board.select(untimed).equals(whole.select(untimed))
    fits = Counted.fits
    go(tmp_path / "c", by="weight")
    assert Counted.fits == fits + 1  # another model of the same name
    with pytest.raises(cf.ArtifactError, match="holds a comparison of something else: data was"):
        go(tmp_path / "c", train=cf.split.by_time(events, "30d").train)
    with pytest.raises(cf.ArtifactError, match=r'metrics was .*coverage@5.* and is ."ndcg@5".'):
        go(tmp_path / "c", metrics=("ndcg@5",))
    assert json.loads((tmp_path / "c" / "comparison.json").read_text())["exclude_seen"] is False
    for path in (tmp_path / "c").glob("*.parquet"):
        if json.loads(pl.read_parquet_metadata(path)["measured"])["model"] == "c":
            path.write_bytes(path.read_bytes()[:-9])
    fits = Counted.fits
    with pytest.warns(cf.CofactorWarning, match="cannot be read, and its model is fitted anew"):
        again = go(tmp_path / "c")
    assert again.select(untimed).equals(whole.select(untimed))
    assert Counted.fits <= fits + 2  # the damaged one, and the other of another parameter before


def test_users_without_a_list_in_a_table_are_told(train):
    lists = pl.DataFrame({"user_id": [1], "item_id": [30], "rank": [1]})
    with pytest.warns(cf.CofactorWarning, match="'mine' has no list for 1 of 2 test users"):
        board = compare({"mine": lists}, train, TEST, "recall@1")
    assert board["recall@1"][0] == 0.5


def test_what_another_function_makes_is_not_taken_from_a_folder(events, tmp_path):
    train, test = cf.split.by_time(events, "20d")

    def value(regularization, folder=None):
        model = {"m": lambda: cf.EASE(regularization)}  # always of the same name
        return compare(model, train, test, "ndcg@5", folder=folder, exclude_seen=False)["ndcg@5"][0]

    kept = value(1.0, tmp_path / "c")
    assert value(5000.0, tmp_path / "c") == value(5000.0) != kept


def test_models_that_were_fitted_before_are_measured_again(events, tmp_path):
    train, test = cf.split.by_time(events, "20d")
    some = train.interactions().to_frame().filter(pl.col("user_id") % 2 == 0)
    whole, part = cf.EASE().fit(train), cf.EASE().fit(some)
    values = [
        compare({"m": model}, None, test, "ndcg@5", folder=folder, exclude_seen=False)["ndcg@5"][0]
        for model, folder in ((whole, tmp_path / "c"), (part, tmp_path / "c"), (part, None))
    ]
    assert values[0] != values[1] == values[2]


def test_the_ratings_of_a_test_count_in_a_folder(tmp_path):
    table = pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [1, 2, 1, 3], "rating": [1.0, 5.0, 2.0, 4.0]})
    train = cf.Ratings.from_frame(table)
    options = {"metrics": "rmse", "folder": tmp_path / "c"}
    compare({"m": cf.BiasOnly()}, train, table, **options)
    compare({"m": cf.BiasOnly()}, train, pl.concat([table[::-1], table]), **options)  # the same
    with pytest.raises(cf.ArtifactError, match="data was"):
        compare({"m": cf.BiasOnly()}, train, table.with_columns(pl.col("rating") + 1), **options)


def test_too_few_users_for_a_test_do_not_lose_the_leaderboard(train):
    one = pl.DataFrame({"user_id": [2], "item_id": [10]})
    with pytest.warns(cf.CofactorWarning, match="p_vs_best is missing: .* share 1 user"):
        board = compare({"a": Fixed(10), "b": Fixed(20, 10)}, train, one, "recall@1", significance=True)
    assert board["recall@1"].to_list() == [1, 0]
    assert board["p_vs_best"].to_list() == [None, None]


def featured():
    """A log, and a table of features of its items."""
    events = cf.datasets.synthetic_events(n_users=60, n_items=30, n_events=1500, seed=3)
    train, test = cf.split.by_time(events, "20d")
    films = pl.DataFrame({"item_id": range(30), "genre": [f"g{n % 3}" for n in range(30)]})
    return train, test, films


def test_models_are_fitted_with_what_they_are_given_besides(tmp_path):
    train, test, films = featured()
    mf = {"factors": 4, "epochs": 2, "seed": 1}
    models = {"with": cf.SampledMF(**mf), "made": lambda: cf.SampledMF(**mf), "without": cf.SampledMF(**mf)}
    options = {name: {"item_features": films.to_dict(as_series=False)} for name in ("with", "made")}
    board = compare(models, train, test, "ndcg@10", fit_options=options, folder=tmp_path, exclude_seen=False)
    values = dict(board.select("model", "ndcg@10").iter_rows())
    own = cf.SampledMF(**mf).fit(train.interactions(), item_features=films)
    assert values["with"] == values["made"] == evaluate(own, test, "ndcg@10", exclude_seen=False)["value"].item()
    assert values["without"] != values["with"]
    models["without"] = cf.SampledMF(**mf)
    options["without"] = options["with"]  # what was kept of it is of a fit without
    again = compare(models, train, test, "ndcg@10", fit_options=options, folder=tmp_path, exclude_seen=False)
    assert again["ndcg@10"].to_list() == [values["with"]] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"good": {"item_feature": None}},
            r"fit_options of 'good': fit of SampledMF takes no 'item_feature'; did you ",
        ),
        ({"goood": {}}, r"fit_options: there is no model 'goood'; did you mean good\? They go by the names"),
        ({"lists": {"item_features": None}}, "fit_options: 'lists' is a table, which is not fitted"),
        ({"pop": {"item_features": None}}, "fit of Popular takes no 'item_features'; it takes the training data alone"),
        ({"good": 3}, r"fit_options: what fit takes beside the training data, by name, .*; got 3"),
        ([("good", {})], "fit_options: options of fit by the names of the models are expected, got"),
        ({"good": {"progress": True}}, "fit of SampledMF takes no 'progress'"),
    ],
)
def test_options_of_fit_are_checked_before_any_fit(options, message):
    models = {"good": cf.SampledMF(), "pop": cf.Popular(), "lists": pl.DataFrame({"user_id": [1], "item_id": [2]})}
    with pytest.raises(ParameterError, match=message):
        compare(models, cf.Interactions.from_frame(TRAIN), TEST, fit_options=options)
