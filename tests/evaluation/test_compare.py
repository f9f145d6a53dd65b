import polars as pl
import pytest

from cofactor.data.interactions import Interactions
from cofactor.errors import DataError, NotFittedError, ParameterError
from cofactor.evaluation.compare import compare
from cofactor.evaluation.evaluate import evaluate

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
    assert board.columns == ["model", "mrr@2", "recall@1", "fit_seconds", "recommend_seconds"]
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
        compare(models, train, TEST)
    models = {"wrong": Failing(DataError("no scores"), on="recommend")}
    with pytest.raises(DataError, match="model 'wrong' failed to evaluate: no scores"):
        compare(models, train, TEST)


def test_a_foreign_error_gets_a_note(train):
    with pytest.raises(ZeroDivisionError) as caught:
        compare({"wrong": Failing(ZeroDivisionError("oh"))}, train, TEST)
    assert caught.value.__notes__ == ["this happened when compare wanted model 'wrong' to fit"]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({}, "there is none"),
        ([Fixed(1)], "a dict of models by name is expected, got list"),
        ({"": Fixed(1)}, "texts that are not empty, got ''"),
        ({1: Fixed(1)}, "texts that are not empty, got 1"),
        ({"a": Fixed}, "'a' is not a model but <class"),
        ({"a": "b"}, "'a' is not a model but 'b'"),
        (dict.fromkeys(["a", "b"], Fixed(1)), "one object is there under two names"),
    ],
)
def test_models_that_cannot_be_compared(models, message, train):
    with pytest.raises(ParameterError, match=message):
        compare(models, train, TEST)


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
    assert again.drop("recommend_seconds").equals(first.select(again.columns).drop("recommend_seconds"))
    assert models["good"].interactions_ is fitted_on
    with pytest.raises(NotFittedError, match="not fitted"):
        compare({"new": Fixed(10)}, None, TEST, "recall@2")
