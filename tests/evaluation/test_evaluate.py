import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from cofactor.data.events import read_events
from cofactor.data.ids import IdMap
from cofactor.data.interactions import Interactions
from cofactor.errors import CofactorWarning, DataError, NotFittedError, ParameterError
from cofactor.evaluation import lists as sources
from cofactor.evaluation.evaluate import evaluate, measure

USERS, ITEMS = ["u1", "u2", "u3"], [10, 20, 30, 40, 50]
SEEN = [[1, 1, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]]
SCORES = np.array([[9, 8, 5, 1, 3], [6, 9, 0, 4, 4], [1, 2, 9, 3, 4]], np.float32)
# Without the seen ones: u1 30 50 40, u2 10 40 50 30 (40 and 50 are tied), u3 50 40 20 10.
TRAIN = Interactions.from_csr(
    sparse.csr_matrix(np.array(SEEN, np.float32)), IdMap(pl.Series(USERS)), IdMap(pl.Series(ITEMS))
)
TEST = pl.DataFrame({"user_id": ["u1", "u1", "u2", "new"], "item_id": [40, 30, 50, 10]})


class Given:
    """A model whose scores are given, and which notes what it is asked."""

    def __init__(self, scores=SCORES):
        self.scores = scores
        self.asked = []

    def fit(self, interactions):
        self.interactions_ = interactions
        return self

    def recommend(self, users=None, k=10, *, exclude_seen=True):
        self.asked.append((users.to_list(), k))
        rows = []
        for row in self.interactions_.users.require(users):
            order = np.argsort(-self.scores[row], kind="stable")
            order = [i for i in order if not (exclude_seen and SEEN[row][i])][:k]
            rows += [(USERS[row], ITEMS[i], self.scores[row, i], rank) for rank, i in enumerate(order, 1)]
        schema = {"user_id": pl.String, "item_id": pl.Int64, "score": pl.Float32, "rank": pl.Int32}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def predict(self, pairs):
        at = (
            self.interactions_.users.require(pairs["user_id"]),
            self.interactions_.items.require(pairs["item_id"]),
        )
        return pairs.with_columns(score=pl.Series(self.scores[at]))


@pytest.fixture
def model():
    return Given().fit(TRAIN)


def value(result, metric):
    return result.filter(pl.col("metric") == metric)["value"].item()


# Models


def test_a_model_by_hand(model):
    result = evaluate(model, TEST, ["recall@2", "mrr@3", "coverage@1", "hit_rate@1"])
    assert result.schema == {
        "metric": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "n_users": pl.Int64,
        "n_unknown_users": pl.Int64,
        "n_untested_users": pl.Int64,
    }
    assert result["metric"].to_list() == ["recall@2", "mrr@3", "coverage@1", "hit_rate@1"]
    np.testing.assert_allclose(result["value"], [(1 / 2 + 0) / 2, (1 + 1 / 3) / 2, 2 / 5, 1 / 2])
    assert result.select(pl.col("^n_.*$").unique()).row(0) == (2, 1, 1)
    assert result["low"].is_null().to_list() == [False, False, True, False]
    assert (result["low"] <= result["value"]).all()
    assert (result["high"] >= result["value"]).all()


def test_seen_items_may_come_back(model):
    result = evaluate(model, TEST, ["recall@2", "recall@4"], exclude_seen=False)
    assert result["value"].to_list() == [0, (1 / 2 + 1) / 2]


def test_only_test_users_are_asked_for_in_batches_of_the_longest_k(model, monkeypatch):
    evaluate(model, TEST, ["recall@2", "mrr@3"])
    assert model.asked == [(["u1", "u2"], 3)]
    whole = evaluate(model, TEST, ["recall@2", "auc", "coverage@2"])
    monkeypatch.setattr(sources, "ROWS_PER_BATCH", 5)
    model.asked.clear()
    assert evaluate(model, TEST, ["recall@2", "auc", "coverage@2"]).equals(whole)
    assert model.asked == [(["u1"], 5), (["u2"], 5)]


def test_unknown_users_as_zeros(model):
    result = evaluate(model, TEST, ["mrr@3", "auc"], unknown_users="zero")
    np.testing.assert_allclose(result["value"], [(1 + 1 / 3) / 3, (1 / 2 + 1 / 2) / 3])
    assert result.select(pl.col("^n_.*$").unique()).row(0) == (3, 1, 1)


def test_nobody_is_known(model):
    with pytest.raises(DataError, match=r"none of the 1 test users.*'u9'"):
        evaluate(model, pl.DataFrame({"user_id": ["u9"], "item_id": [10]}))


def test_auc_by_hand(model):
    # u1: 40 | 30 in the list 30 50 40: of the pairs (30, 50), (40, 50) one is right.
    # u2: 50 in the list 10 40=50 30: behind one, tied with one, before one.
    per_user = evaluate(model, TEST, "auc", per_user=True)
    assert per_user.rows() == [("u1", 1 / 2), ("u2", (0 + 1 / 2 + 1) / 3)]


def test_auc_of_short_lists(model):
    full = model.recommend
    model.recommend = lambda users, k, exclude_seen: full(users, 2, exclude_seen=exclude_seen)
    with pytest.raises(DataError, match=r"auc needs complete lists.*2 of 2 users.*'u1' has 2 of 3 items.*candidates="):
        evaluate(model, TEST, "auc")


def test_items_unknown_to_the_model_are_missed(model):
    test = pl.DataFrame({"user_id": ["u1", "u1"], "item_id": [30, 999]})
    assert evaluate(model, test, ["recall@5", "auc"])["value"].to_list() == [1 / 2, 1 / 2]


def test_ids_of_another_width(model):
    test = TEST.cast({"item_id": pl.Int16, "user_id": pl.Categorical})
    per_user = evaluate(model, test, "mrr@3", per_user=True)
    assert per_user["mrr@3"].to_list() == [1, 1 / 3]
    assert per_user.schema["user_id"] == pl.Categorical


def test_ids_of_another_kind(model):
    with pytest.raises(DataError, match=r"Int.*such as 1 .*String such as 'u1'"):
        evaluate(model, TEST.with_columns(user_id=pl.lit(1)))
    with pytest.raises(DataError, match=r"item_id is Int64 here and String in test, for example '10'"):
        evaluate(model, TEST.cast({"item_id": pl.String}))


def test_a_model_that_was_not_fitted():
    with pytest.raises(NotFittedError, match="Given is not fitted"):
        evaluate(Given(), TEST)


def test_a_model_knows_its_catalogue(model):
    with pytest.raises(ParameterError, match=r"n_items.*Given knows"):
        evaluate(model, TEST, n_items=5)


def test_the_time_in_the_model_is_measured(model):
    assert 0 < measure(model, TEST).recommend_seconds < 5


# Tables


def lists(**columns):
    return pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [7, 8, 7, 9], "rank": [1, 2, 1, 2]} | columns)


PAIRS = pl.DataFrame({"user_id": [1, 3], "item_id": [8, 7]})
NAMES = ["recall@2", "ndcg@2", "map@2"]


def test_a_table_by_hand():
    result = evaluate(lists(), PAIRS, ["mrr@2", "coverage@2"], n_items=4)
    # User 2 has no test item; user 3 has no list, and gets 0.
    assert result["value"].to_list() == [1 / 4, 2 / 4]
    assert result.select(pl.col("^n_.*$").unique()).row(0) == (2, 1, 1)


@pytest.mark.parametrize("convert", [pl.DataFrame.lazy, pl.DataFrame.to_pandas, pl.DataFrame.to_arrow])
def test_tables_of_other_libraries(convert):
    assert evaluate(convert(lists()), convert(PAIRS), NAMES).equals(evaluate(lists(), PAIRS, NAMES))


def test_the_lists_of_a_model_as_a_table(model):
    names = ["recall@2", "ndcg@3", "map@3", "mrr@1"]
    table = model.recommend(pl.Series(USERS), 3)
    known = TEST.filter(pl.col("user_id") != "new")
    assert evaluate(table, known, names).equals(evaluate(model, known, names))


def test_a_test_of_interactions():
    assert evaluate(lists(), Interactions.from_frame(PAIRS), NAMES).equals(evaluate(lists(), PAIRS, NAMES))


def test_a_test_of_events():
    events = read_events(PAIRS.rename({"user_id": "who", "item_id": "what"}), user="who", item="what")
    assert evaluate(lists(), events, NAMES).equals(evaluate(lists(), PAIRS, NAMES))


def test_more_places_than_the_lists_have_are_told():
    with pytest.warns(CofactorWarning, match=r"^recall@3, novelty@9: no list has more than 2 places.*smaller k"):
        evaluate(lists(), PAIRS, ["recall@2", "recall@3", "mrr", "novelty@9"], train=PAIRS)


def test_per_user():
    result = evaluate(lists(), PAIRS, ["mrr@2", "recall@1"], per_user=True)
    assert result.rows() == [(1, 1 / 2, 0), (3, 0, 0)]
    assert result.columns == ["user_id", "mrr@2", "recall@1"]
    with pytest.raises(ParameterError, match=r"per_user: coverage@2"):
        evaluate(lists(), PAIRS, ["mrr@2", "coverage@2"], n_items=9, per_user=True)


def test_auc_of_a_table():
    complete = pl.DataFrame({"user_id": [1] * 3, "item_id": [7, 8, 9], "rank": [1, 2, 3]})
    test = pl.DataFrame({"user_id": [1], "item_id": [8]})
    assert evaluate(complete, test, "auc", n_items=3)["value"].item() == 1 / 2
    tied = complete.with_columns(score=pl.Series([2.0, 2.0, 1.0]))
    assert evaluate(tied, test, "auc", n_items=3)["value"].item() == 3 / 4
    with pytest.raises(ParameterError, match=r"^auc, coverage@2 of a table needs.*n_items="):
        evaluate(complete, test, ["auc", "mrr@2", "coverage@2"])
    with pytest.raises(DataError, match="user 1 has 3 of 4 items"):
        evaluate(complete, test, "auc", n_items=4)
    with pytest.raises(DataError, match=r"1 null.*score"):
        evaluate(complete.with_columns(score=pl.Series([2.0, 2.0, None])), test, "auc", n_items=3)


@pytest.mark.parametrize("dtype", [pl.UInt8, pl.Int8, pl.Int16, pl.UInt32, pl.Int32, pl.UInt64, pl.Int64], ids=str)
def test_integers_of_any_width_and_sign(dtype):
    names = ["recall@1", "ndcg@2", "map@2", "mrr@3", "coverage@2", "auc"]
    complete = pl.DataFrame({"user_id": [1, 1, 1, 2, 2, 2], "item_id": [7, 8, 9, 9, 8, 7], "rank": [3, 2, 1, 1, 2, 3]})
    tied = complete.with_columns(score=pl.Series([1, 2, 2, 5, 4, 4], dtype=dtype))
    test = pl.DataFrame({"user_id": [1, 2], "item_id": [7, 8]})
    expected = evaluate(tied, test, names, n_items=3)
    np.testing.assert_allclose(expected["value"], [0, 1 / np.log2(3) / 2, 1 / 4, 5 / 12, 2 / 3, (0 + 1 / 4) / 2])
    for columns in (["rank"], ["user_id", "item_id"], ["user_id", "item_id", "rank"]):
        cast = tied.with_columns(pl.col(columns).cast(dtype))
        assert evaluate(cast, test, names, n_items=3).equals(expected)
        assert evaluate(cast, test.cast(dtype), names, n_items=3).equals(expected)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (lists().drop("rank"), "recommendations: no column rank; the columns are user_id, item_id"),
        (lists(rank=[1.0, 2.0, 1.0, 2.0]), "rank must be of an integer type, got Float64"),
        (lists(rank=[0, 1, 0, 1]), "2 rank.* below 1.*user 1, item 7, rank 0"),
        (lists(rank=[1, 1, 1, 2]), r"1 \(user, rank\) pair.*user 1, rank 1"),
        (lists(item_id=[7, 8, 9, 9]), r"1 \(user, item\) pair.*user 2, item 9"),
        (lists(item_id=[7, None, 7, 9]), r"1 null\(s\) in item_id, the first in row 1"),
        (lists(item_id=["a", "b", "a", "c"]), "item_id is String here and Int64 in test, for example 7"),
        (lists(user_id=[1.0, 1.0, 2.0, 2.0]), "user_id is Float64 here and Int64 in test, for example 1"),
        (17, "model_or_table must be a fitted model, or a table with user_id, item_id and rank, got int"),
        (lists(user_id=[5, 5, 6, 6]), "none of the 2 test users"),
    ],
)
def test_tables_that_cannot_be_measured(table, message):
    with pytest.raises((DataError, ParameterError), match=message):
        evaluate(table, PAIRS)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (PAIRS.clear(), "test: there are no rows"),
        (PAIRS.rename({"item_id": "item"}), "test: no column item_id; the columns are user_id, item"),
        (
            pl.DataFrame({"user_id": [1, None], "item_id": [1, 2]}),
            r"test: 1 null\(s\) in user_id, the first in row 1",
        ),
        (None, "test: .*user_id, item_id"),
    ],
)
def test_tests_that_cannot_be_used(test, message):
    with pytest.raises(DataError, match=message):
        evaluate(lists(), test)


def test_candidates_are_for_models():
    with pytest.raises(ParameterError, match="candidates: only a model"):
        evaluate(lists(), PAIRS, candidates=PAIRS)


def test_intervals():
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"user_id": np.arange(300), "item_id": rng.integers(0, 3, 300), "rank": np.ones(300, int)})
    test = pl.DataFrame({"user_id": np.arange(300), "item_id": np.ones(300, int)})
    narrow, wide = (evaluate(table, test, "recall@1", confidence=c).row(0, named=True) for c in (0.5, 0.99))
    assert wide["low"] < narrow["low"] < narrow["value"] < narrow["high"] < wide["high"]
    assert evaluate(table, test, "recall@1", seed=3).equals(evaluate(table, test, "recall@1", seed=3))
    without = evaluate(table, test, "recall@1", n_bootstrap=0).row(0, named=True)
    assert without == narrow | {"low": None, "high": None}


# Candidates


def test_candidates_by_hand(model):
    test = pl.DataFrame({"user_id": ["u1", "u2"], "item_id": [50, 50]})
    candidates = pl.DataFrame({"user_id": ["u1"] * 3 + ["u2"] * 3, "item_id": [50, 30, 40, 50, 40, 30]})
    result = evaluate(model, test, ["mrr@3", "auc"], candidates=candidates, per_user=True)
    # u1: 30 50 40; u2: 40 and 50 are tied, the smaller id is first, then 30.
    assert result.rows() == [("u1", 1 / 2, 1 / 2), ("u2", 1 / 2, 3 / 4)]
    assert model.asked == []


def test_ties_do_not_favour_the_held_out_item():
    model = Given(np.zeros_like(SCORES)).fit(TRAIN)
    for held_out, place in ((10, 1), (30, 3), (50, 5)):
        test = pl.DataFrame({"user_id": ["u1"], "item_id": [held_out]})
        candidates = pl.DataFrame({"user_id": ["u1"] * 5, "item_id": [held_out, *(set(ITEMS) - {held_out})]})
        result = evaluate(model, test, ["mrr@5", "auc"], candidates=candidates)
        np.testing.assert_allclose(result["value"], [1 / place, 1 / 2])


def test_candidates_with_repeats_strangers_and_unknown_items(model):
    test = pl.DataFrame({"user_id": ["u1", "u2", "new"], "item_id": [30, 999, 10]})
    rows = [("u1", 30), ("u1", 30), ("u1", 50), ("u2", 999), ("u2", 10), ("u2", 500), ("u3", 10), ("new", 10)]
    candidates = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    result = evaluate(model, test, ["mrr@5"], candidates=candidates, per_user=True)
    assert result.rows() == [("u1", 1), ("u2", 1 / 3)]
    counts = evaluate(model, test, ["mrr@5"], candidates=candidates).select(pl.col("^n_.*$")).row(0)
    assert counts == (2, 1, 1)


def test_the_held_out_item_must_be_a_candidate(model):
    candidates = pl.DataFrame({"user_id": ["u1"], "item_id": [30]})
    with pytest.raises(DataError, match=r"candidates: 2 test .*user 'u1', item 40.*together with the negatives"):
        evaluate(model, TEST.filter(pl.col("user_id") != "new"), candidates=candidates)


def test_a_model_that_predicts_nan():
    model = Given(np.full_like(SCORES, np.nan)).fit(TRAIN)
    with pytest.raises(DataError, match="Given predicts NaN for 2 of 2"):
        evaluate(model, TEST.head(2), candidates=TEST.head(2))


def test_pandas_ids_stay_what_they_are():
    frame = pd.DataFrame({"user_id": [1, 1], "item_id": ["a", "b"], "rank": [1, 2]})
    test = pd.DataFrame({"user_id": [1], "item_id": ["b"]})
    assert evaluate(frame, test, "mrr@2")["value"].item() == 1 / 2
