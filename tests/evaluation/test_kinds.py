"""A new kind of metric is a class and a line in the table: evaluate and compare serve it without knowing it."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofactor import metrics
from cofactor.data.interactions import Interactions
from cofactor.data.tables import read_table
from cofactor.errors import DataError, ParameterError
from cofactor.evaluation.compare import compare
from cofactor.evaluation.evaluate import evaluate
from cofactor.metrics import available, parse, parse_all
from cofactor.metrics.hits import Relevance
from cofactor.metrics.kinds import AtK, Kind, Needs, Trial, compute_all, needs_of

TRAIN = pl.DataFrame({"user_id": [1, 1, 2, 3], "item_id": [10, 20, 20, 30]})
TEST = pl.DataFrame({"user_id": [1, 2, 2], "item_id": [30, 10, 30], "rating": [4.0, 1.0, 3.0]})


class Scoring:
    """A model whose score is a tenth of the item id plus a constant, and which notes what it is asked."""

    def __init__(self, constant=0.0):
        self.constant = constant
        self.asked = []

    def fit(self, interactions):
        self.interactions_ = interactions
        return self

    def recommend(self, users=None, k=10, *, exclude_seen=True):
        self.asked.append(k)
        items = self.interactions_.items.ids.sort(descending=True).head(k)
        ranked = pl.DataFrame({"item_id": items, "rank": range(1, len(items) + 1)})
        return users.to_frame("user_id").join(ranked, how="cross")

    def predict(self, pairs):
        return pairs.with_columns(score=pl.col("item_id") / 10 + self.constant)


class RatedPairs:
    """Reads ratings of the test beside what the model, or the table, says; looks at no list."""

    def __init__(self, trial, metrics):
        self.trial = trial

    def add(self, lists):
        raise AssertionError("no lists were asked for")

    def finish(self):
        rated = read_table(self.trial.test, ["user_id", "item_id", "rating"], "test")
        rated = rated.filter(pl.col("user_id").is_in(self.trial.relevance.users.implode()))
        if hasattr(self.trial.subject, "predict"):
            scored = self.trial.subject.predict(rated)
        else:
            scored = rated.join(self.trial.subject, on=["user_id", "item_id"])
        return (scored["score"] - scored["rating"]).to_numpy()


class RatingError(Kind):
    per_user = False
    higher_is_better = False
    reader = RatedPairs

    def __init__(self, function):
        self.function = function

    def written(self, family):
        return family

    def read_k(self, name):
        return None

    def needs(self, k):
        return Needs()

    def compute(self, reading, k):
        return self.function(reading)


class Familiarity:
    """Reads how many users had each listed item in training, batch by batch."""

    def __init__(self, trial, metrics):
        x = trial.subject.interactions_
        self.users = trial.relevance.users
        self.n_users = pl.DataFrame({"item_id": x.items.ids, "n": np.diff(x.item_users.indptr)})
        self.parts = []

    def add(self, lists):
        self.parts.append(lists.join(self.n_users, on="item_id"))

    def finish(self):
        return self.users, pl.concat(self.parts)


class BeyondAccuracy(AtK):
    per_user = True
    reader = Familiarity

    def needs(self, k):
        return Needs(places=k)


def popularity(reading, k):
    users, listed = reading
    mean = listed.filter(pl.col("rank") <= k).group_by("user_id").agg(pl.col("n").mean())
    return users.to_frame("user_id").join(mean, on="user_id", how="left")["n"].to_numpy()


@pytest.fixture(autouse=True)
def _lines(monkeypatch):
    monkeypatch.setitem(metrics.METRICS, "off2", RatingError(lambda error: float(np.sqrt((error**2).mean()))))
    monkeypatch.setitem(metrics.METRICS, "off1", RatingError(lambda error: float(np.abs(error).mean())))
    monkeypatch.setitem(metrics.METRICS, "popularity", BeyondAccuracy(popularity))


@pytest.fixture
def x():
    return Interactions.from_frame(TRAIN)


def test_names_are_known():
    assert available()[-3:] == ["off2", "off1", "popularity@k"]
    assert parse("popularity@3").k == 3
    with pytest.raises(ParameterError, match=r"did you mean off2\?.*rmse, mae.*, off2, off1, popularity@k"):
        parse("of2")


def test_errors_of_ratings_make_no_list(x):
    model = Scoring().fit(x)
    result = evaluate(model, TEST, ["off2", "off1"])
    np.testing.assert_allclose(result["value"], [np.sqrt((1 + 0 + 0) / 3), 1 / 3])
    assert model.asked == []
    assert result["low"].is_null().all()


def test_errors_of_a_table_of_predictions():
    table = TEST.select("user_id", "item_id", score=pl.col("rating") + 2)
    assert evaluate(table, TEST, ["off2", "off1"])["value"].to_list() == [2, 2]
    with pytest.raises(DataError, match="recommendations: no column rank"):
        evaluate(table, TEST, ["off2", "recall@2"])


def test_seen_pairs_have_ratings_to_compare(x):
    """Without lists there is nothing that a seen pair is left out of: no warning."""
    test = TRAIN.with_columns(rating=pl.col("item_id") / 10)
    assert evaluate(Scoring().fit(x), test, "off2")["value"].item() == 0


def test_kinds_side_by_side(x, monkeypatch):
    model = Scoring().fit(x)
    names = ["off1", "recall@1", "popularity@2", "coverage@1", "popularity@1", "auc"]
    result = evaluate(model, TEST, names, exclude_seen=False)
    # Everybody's list is 30 20 10, of which 30 was had by one user, 20 by two and 10 by one.
    np.testing.assert_allclose(result["value"], [1 / 3, (1 + 1 / 2) / 2, 3 / 2, 1 / 3, 1, (1 + 1 / 2) / 2])
    assert model.asked == [3]
    monkeypatch.setattr("cofactor.evaluation.lists.ROWS_PER_BATCH", 1)
    assert evaluate(model, TEST, names, exclude_seen=False).equals(result)


def test_lists_are_as_long_as_the_longest_need(x):
    model = Scoring().fit(x)
    evaluate(model, TEST, ["recall@1", "popularity@2", "off2"], exclude_seen=False)
    assert model.asked == [2]


def test_the_lowest_error_is_best(x):
    models = {"far": Scoring(3.0), "best": Scoring(1 / 3), "near": Scoring(1.0)}
    board = compare(models, x, TEST, ["off2", "recall@1"], exclude_seen=False)
    assert board["model"].to_list() == ["best", "near", "far"]
    assert compare(models, x, TEST, ["recall@1", "off2"], exclude_seen=False)["model"][0] == "far"


def test_what_is_read_is_read_once_and_lists_go_by_once(x):
    made = []

    class Counted(Familiarity):
        def __init__(self, trial, metrics):
            made.append([metric.name for metric in metrics])
            super().__init__(trial, metrics)

    kinds = [BeyondAccuracy(popularity) for _ in range(2)]
    for kind in kinds:
        kind.reader = Counted
    model = Scoring().fit(x)
    wanted = [metrics.Metric(f"p{i}@{i + 1}", f"p{i}", i + 1, kind) for i, kind in enumerate(kinds)]
    trial = Trial(Relevance.from_pairs(TEST), TEST, model, 3)
    users = trial.relevance.users
    tables = iter([model.recommend(users[:1], 2), model.recommend(users[1:], 2)])
    values = compute_all(wanted, trial, tables)
    assert made == [["p0@1", "p1@2"]]
    assert [value.tolist() for value in values.values()] == [[1, 1], [1.5, 1.5]]


needs = st.builds(Needs, st.integers(0, 9), st.booleans(), st.booleans(), st.booleans())


@given(needs, needs, needs)
def test_needs_are_a_union(a, b, c):
    assert a | Needs() == a == a | a
    assert a | b == b | a
    assert (a | b) | c == a | (b | c)
    assert (a | b).lists == (a.lists or b.lists)
    assert ((a | b).k is None) == (a.k is None or b.k is None)


def test_what_the_metrics_need():
    def of(*names):
        return needs_of(parse_all(names))

    assert of("recall@3", "ndcg@7") == Needs(places=7)
    assert of("recall@3", "coverage@2") == Needs(places=3, n_items=True)
    assert of("recall@3", "auc") == Needs(places=3, complete=True, ties=True, n_items=True)
    assert (of("recall@3").k, of("recall@3", "auc").k, of("off2").k, of("off2").lists) == (3, None, 0, False)
