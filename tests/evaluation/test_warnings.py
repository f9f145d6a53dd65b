"""Zeros that come from what was asked, and not from the model, are told once."""

import re
import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofactor.data.interactions import Interactions
from cofactor.errors import CofactorWarning, DataError
from cofactor.evaluation.compare import compare
from cofactor.evaluation.evaluate import evaluate
from cofactor.evaluation.measure import measure
from cofactor.evaluation.unseen import unseen
from cofactor.models.baselines.popular import Popular
from cofactor.models.combined.fallback import Fallback
from cofactor.models.repeats.personal_popular import PersonalPopular

TRAIN = pl.DataFrame({"user_id": [1, 1, 2, 3], "item_id": [10, 20, 30, 40]})
NEW = pl.DataFrame({"user_id": [1, 2, 9], "item_id": [30, 40, 10]})
SEEN = pl.DataFrame({"user_id": [1, 2, 2], "item_id": [20, 30, 30]})
TEST = pl.concat([NEW, SEEN])

TOLD_SEEN = re.escape(
    "2 of 5 test pairs were in the training data and are left out, as lists leave them out; exclude_seen=False keeps "
    "them"
)
TOLD_EMPTY = r"^PersonalPopular listed no item for any test user that is new to the user; pass exclude_seen=False, or"


@pytest.fixture
def x():
    return Interactions.from_frame(TRAIN)


def told(action):
    """The texts of the warnings of an action, all of which are cofactor's and point at their caller."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    assert {warning.category for warning in caught} <= {CofactorWarning}
    assert {warning.filename for warning in caught} <= {__file__}
    return [str(warning.message) for warning in caught]


def test_seen_test_pairs_are_counted(x):
    (text,) = told(lambda: evaluate(Popular().fit(x), TEST, ["recall@2", "auc"]))
    assert re.fullmatch(TOLD_SEEN, text)
    with pytest.warns(CofactorWarning, match=TOLD_SEEN):
        evaluate(Popular().fit(x), TEST, per_user=True)


def test_they_are_left_out(x):
    model = Popular().fit(x)
    with pytest.warns(CofactorWarning, match=TOLD_SEEN):
        found = evaluate(model, TEST, ["recall@4", "auc"])
    assert found.equals(evaluate(model, NEW, ["recall@4", "auc"]))
    assert found["value"][0] == 1


def test_nothing_left_is_an_error(x):
    with pytest.raises(DataError, match=r"all 2 test pairs were in the training data, .* pass exclude_seen=False"):
        evaluate(Popular().fit(x), SEEN)


def test_lists_of_another_library_and_of_a_model_are_measured_alike(x):
    """The command line leaves seen pairs out beforehand: the same numbers."""
    model = Popular().fit(x)
    with pytest.warns(CofactorWarning):
        found = evaluate(model, TEST, per_user=True)
    assert found.equals(evaluate(model, unseen(TEST, x), per_user=True))


@pytest.mark.parametrize("dtype", [pl.Int16, pl.UInt64])
def test_ids_of_another_width_are_the_same_pairs(x, dtype):
    assert told(lambda: evaluate(Popular().fit(x), TEST.cast(dtype)))


def test_an_id_that_does_not_fit_is_new(x):
    narrow = Interactions.from_frame(TRAIN.cast({"item_id": pl.Int8}))
    test = pl.concat([NEW, pl.DataFrame({"user_id": [1], "item_id": [10 + 2**8]})])
    assert told(lambda: evaluate(Popular().fit(narrow), test)) == []


def test_where_nothing_is_left_out_nothing_is_told(x):
    model = Popular().fit(x)
    assert told(lambda: evaluate(model, NEW)) == []
    assert told(lambda: evaluate(model, TEST, exclude_seen=False)) == []
    assert told(lambda: compare({"a": Popular()}, x, TEST, exclude_seen=False)) == []


def test_candidates_are_ranked_though_seen(x):
    known = TEST.filter(pl.col("user_id") < 9)
    candidates = pl.concat([known, pl.DataFrame({"user_id": [1, 2], "item_id": [40, 10]})])
    assert told(lambda: evaluate(Popular().fit(x), known, candidates=candidates)) == []
    assert told(lambda: compare({"a": Popular()}, x, known, candidates=candidates)) == []


def test_a_table_knows_no_training(x):
    lists = Popular().fit(x).recommend(k=3)
    assert told(lambda: evaluate(lists, TEST, "recall@3")) == []


def test_compare_tells_once_for_all_models(x):
    (text,) = told(lambda: compare({"a": Popular(), "b": Popular(), "c": Popular()}, x, TEST))
    assert re.fullmatch(TOLD_SEEN, text)


def test_compare_of_fitted_models_tells_of_the_first_that_saw_them(x):
    models = {"old": Popular().fit(Interactions.from_frame(TRAIN.gather([0, 2]))), "new": Popular().fit(x)}
    known = TEST.filter(pl.col("user_id") == 1)
    (text,) = told(lambda: compare(models, None, known))
    assert text.startswith("1 of 2 test pairs")


def test_a_model_that_lists_nothing(x):
    model = PersonalPopular().fit(x)
    with pytest.warns(CofactorWarning, match=TOLD_EMPTY):
        assert evaluate(model, NEW, "recall@4")["value"].item() == 0
    assert told(lambda: evaluate(model, NEW, exclude_seen=False)) == []
    assert told(lambda: evaluate(Fallback(PersonalPopular(), Popular()).fit(x), NEW)) == []


def test_both_are_told(x):
    seen, empty = told(lambda: evaluate(PersonalPopular().fit(x), TEST))
    assert re.fullmatch(TOLD_SEEN, seen)
    assert re.match(TOLD_EMPTY, empty)


def test_compare_names_all_models_that_list_nothing(x):
    models = {"again": PersonalPopular(), "fine": Popular(), "more": PersonalPopular()}
    (text,) = told(lambda: compare(models, x, NEW))
    assert text.startswith("again, more listed no item for any test user that is new to the user; pass exclude_seen=")


class Silent(Popular):
    """A model with nothing to say, whatever is asked."""

    def recommend(self, users=None, k=10, *, exclude_seen=True):
        return super().recommend(users, k, exclude_seen=exclude_seen).clear()


def test_a_model_that_lists_nothing_without_a_way_out(x):
    (text,) = told(lambda: evaluate(Silent().fit(x), NEW, exclude_seen=False))
    assert text == "Silent listed no item for any test user"


def test_one_list_is_enough(x):
    class Once(Silent):
        def recommend(self, users=None, k=10, *, exclude_seen=True):
            return Popular.recommend(self, users, k, exclude_seen=exclude_seen).head(1)

    assert told(lambda: evaluate(Once().fit(x), NEW)) == []


def test_items_of_another_kind_are_still_an_error(x):
    with pytest.raises(DataError, match=r"item_id is Int64 here and String in test, for example '10'"):
        evaluate(Popular().fit(x), TEST.cast({"item_id": pl.String}))


pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(train=pairs, test=pairs, text=st.booleans())
def test_the_count_is_that_of_the_pairs_which_unseen_leaves_out(train, test, text):
    train, test = (pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row") for rows in (train, test))
    test = test.filter(pl.col("user_id").is_in(train["user_id"].implode()))
    if text:
        train, test = train.cast(pl.String), test.cast(pl.String)
    if test.is_empty():
        return
    model = Popular().fit(Interactions.from_frame(train))
    distinct = test.unique()
    if unseen(distinct, model.interactions_).is_empty():
        with pytest.raises(DataError, match=r"all .* test pairs were in the training data"):
            measure(model, test)
        return
    found = measure(model, test)
    assert found.n_pairs == distinct.height
    assert found.n_seen == distinct.height - unseen(distinct, model.interactions_).height
    assert np.isfinite(found.values["recall@10"]).all()
