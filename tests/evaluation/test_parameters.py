"""What is no value of a parameter is named, with the parameter and what is allowed, before any work."""

import re

import numpy as np
import polars as pl
import pytest

from cofactor.data.interactions import Interactions
from cofactor.errors import ParameterError
from cofactor.evaluation.compare import compare
from cofactor.evaluation.evaluate import evaluate
from cofactor.evaluation.measure import measure

TEST = pl.DataFrame({"user_id": [1, 2], "item_id": [8, 7]})
LISTS = TEST.with_columns(rank=1)

OF_ALL = [
    ({"metrics": 7}, "metrics must be a name such as 'recall@10', or several, got 7"),
    ({"metrics": None}, "metrics must be a name such as 'recall@10', or several, got None"),
    ({"metrics": [7]}, "metrics: the name of a metric is a text such as 'recall@10', got 7"),
    ({"metrics": [["recall@10"]]}, "metrics: the name of a metric is a text such as 'recall@10', got ['recall@10']"),
    ({"metrics": []}, "metrics: none is given; there are: recall@k"),
    ({"metrics": "recall@ten"}, "metrics: 'recall@ten' needs a whole number k >= 1 after @"),
    ({"metrics": "recall@2147483648"}, "metrics: 'recall@2147483648' has a k above 2,147,483,647"),
    ({"metrics": "recall@" + "9" * 5000}, "has a k above 2,147,483,647"),
    ({"exclude_seen": "no"}, "exclude_seen must be True or False, got 'no'"),
    ({"exclude_seen": 1}, "exclude_seen must be True or False, got 1"),
    ({"exclude_seen": None}, "exclude_seen must be True or False, got None"),
]
OF_MEASURE = [
    ({"unknown_users": "drop"}, "unknown_users must be one of 'exclude', 'zero', got 'drop'"),
    ({"unknown_users": None}, "unknown_users must be one of 'exclude', 'zero', got None"),
    ({"unknown_users": ["zero"]}, "unknown_users must be one of 'exclude', 'zero', got ['zero']"),
    ({"n_items": 0}, "n_items must be a whole number of at least 1, got 0"),
    ({"n_items": "9"}, "n_items must be a whole number of at least 1, got '9'"),
    ({"n_items": 9.5}, "n_items must be a whole number of at least 1, got 9.5"),
    ({"n_items": True}, "n_items must be a whole number of at least 1, got True"),
    ({"progress": "no"}, "progress must be True or False, got 'no'"),
    ({"progress": 0}, "progress must be True or False, got 0"),
]
OF_EVALUATE = [
    ({"per_user": "yes"}, "per_user must be True or False, got 'yes'"),
    ({"per_user": None}, "per_user must be True or False, got None"),
    ({"confidence": None}, "confidence must be a finite number above 0, got None"),
    ({"confidence": "0.9"}, "confidence must be a finite number above 0, got '0.9'"),
    ({"confidence": 0}, "confidence must be a finite number above 0, got 0"),
    ({"confidence": float("nan")}, "confidence must be a finite number above 0, got nan"),
    ({"confidence": 1}, "confidence must be below 1, got 1; give 0.95 for 95 %"),
    ({"confidence": 95}, "confidence must be below 1, got 95; give 0.95 for 95 %"),
    ({"n_bootstrap": "3"}, "n_bootstrap must be a whole number of at least 0, got '3'"),
    ({"n_bootstrap": -1}, "n_bootstrap must be a whole number of at least 0, got -1"),
    ({"n_bootstrap": 10.0}, "n_bootstrap must be a whole number of at least 0, got 10.0"),
    ({"n_bootstrap": None}, "n_bootstrap must be a whole number of at least 0, got None"),
    ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
    ({"seed": None}, "seed must be a whole number of at least 0, got None"),
    ({"seed": "0"}, "seed must be a whole number of at least 0, got '0'"),
]
OF_COMPARE = [
    ({"models": []}, "models: a dict of models by name is expected, got list"),
    ({"models": None}, "models: a dict of models by name is expected, got NoneType"),
    ({"train": 7}, "train: Events, Interactions or Ratings are expected, got int"),
    ({"intervals": "yes"}, "intervals must be True or False, got 'yes'"),
    ({"intervals": None}, "intervals must be True or False, got None"),
    ({"progress": "no"}, "progress must be True or False, got 'no'"),
    ({"progress": 0}, "progress must be True or False, got 0"),
]


class Untouched:
    """A model that must not be asked for anything."""

    def __init__(self):
        self.interactions_ = Interactions.from_frame(TEST)

    def fit(self, interactions, **options):
        raise AssertionError("fitted before the parameters were checked")

    def recommend(self, users=None, k=10, *, exclude_seen=True):
        raise AssertionError("asked before the parameters were checked")


@pytest.mark.parametrize(("options", "message"), [*OF_ALL, *OF_MEASURE])
@pytest.mark.parametrize("function", [measure, evaluate])
@pytest.mark.parametrize("subject", [LISTS, Untouched()], ids=["table", "model"])
def test_measure_and_evaluate(function, subject, options, message):
    with pytest.raises(ParameterError, match=re.escape(message)):
        function(subject, TEST, **options)


@pytest.mark.parametrize(("options", "message"), OF_EVALUATE)
@pytest.mark.parametrize("subject", [LISTS, Untouched()], ids=["table", "model"])
def test_evaluate(subject, options, message):
    with pytest.raises(ParameterError, match=re.escape(message)):
        evaluate(subject, TEST, **options)


@pytest.mark.parametrize(("options", "message"), [*OF_ALL, *OF_COMPARE])
def test_compare(options, message):
    options = {"models": {"a": Untouched()}, "train": Interactions.from_frame(TEST), "test": TEST} | options
    with pytest.raises(ParameterError, match=re.escape(message)):
        compare(**options)


def test_a_class_is_no_model():
    with pytest.raises(ParameterError, match=r"model_or_table must be a fitted model or a table, got the class U"):
        evaluate(Untouched, TEST)


def test_numbers_and_flags_of_numpy_are_taken():
    expected = evaluate(LISTS, TEST, "recall@1", n_items=9, confidence=0.5, n_bootstrap=7, seed=3)
    options = {"confidence": np.float32(0.5), "n_bootstrap": np.int8(7), "seed": np.uint16(3), "n_items": np.int64(9)}
    assert evaluate(LISTS, TEST, "recall@1", **options, per_user=np.False_, exclude_seen=np.True_).equals(expected)
