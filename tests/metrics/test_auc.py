import numpy as np
import polars as pl
import pytest

from cofactor.metrics import parse
from cofactor.metrics.hits import Relevance
from cofactor.metrics.matching import collect_hits, match_lists


def values(lists, test):
    relevance = Relevance.from_pairs(test)
    return parse("auc").compute(collect_hits([match_lists(lists, relevance, ties=True)], relevance))


def auc(scores, relevant, n_unlisted=0):
    """The metric of one user, whose items are 0, 1, ... with the given scores."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    table = pl.DataFrame(
        {
            "user_id": np.zeros(len(scores), np.int64),
            "item_id": order,
            "rank": np.arange(1, len(scores) + 1),
            "score": np.asarray(scores, np.float64)[order],
        }
    )
    items = [*relevant, *range(1000, 1000 + n_unlisted)]
    test = pl.DataFrame({"user_id": [0] * len(items), "item_id": items})
    (value,) = values(table, test)
    return value


def by_pairs(scores, relevant, n_unlisted=0):
    """Every (relevant, other) pair: 1 in order, 1/2 tied, 0 in disorder or not listed."""
    others = [score for item, score in enumerate(scores) if item not in relevant]
    right = sum((scores[i] > other) + (scores[i] == other) / 2 for i in relevant for other in others)
    return right / ((len(relevant) + n_unlisted) * len(others))


@pytest.mark.parametrize(
    ("scores", "relevant", "expected"),
    [
        ([4, 3, 2, 1], [0, 1], 1),
        ([4, 3, 2, 1], [2, 3], 0),
        ([4, 3, 2, 1], [0, 2], 3 / 4),
        ([4, 3, 2, 1], [1], 2 / 3),
        ([1, 1, 1, 1], [0], 1 / 2),
        ([2, 1, 1, 0], [1], (1 / 2 + 1) / 3),
        ([5, 5], [0, 1], 1),  # nothing to be wrong about
    ],
)
def test_by_hand(scores, relevant, expected):
    assert auc(scores, relevant) == pytest.approx(expected)


def test_a_relevant_item_that_is_not_listed_is_behind_all():
    assert auc([3, 2, 1], [0], n_unlisted=1) == pytest.approx(1 / 2)


@pytest.mark.parametrize("seed", range(20))
def test_against_all_pairs(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, 30).tolist()
    relevant = rng.choice(30, rng.integers(1, 10), replace=False).tolist()
    n_unlisted = int(rng.integers(0, 3))
    assert auc(scores, relevant, n_unlisted) == pytest.approx(by_pairs(scores, relevant, n_unlisted))


def test_only_neighbours_are_tied():
    """As in the list of a chain of models, whose scores say nothing about each other."""
    table = pl.DataFrame({"user_id": 1, "item_id": [7, 8, 9, 10], "rank": [1, 2, 3, 4], "score": [1.0, 1.0, 2.0, 1.0]})
    test = pl.DataFrame({"user_id": [1], "item_id": [7]})
    for lists in (table, table.reverse()):
        assert values(lists, test).tolist() == [pytest.approx((1 / 2 + 1 + 1) / 3)]


def test_without_scores_nothing_is_tied():
    table = pl.DataFrame({"user_id": [1, 1, 1], "item_id": [7, 8, 9], "rank": [1, 2, 3]})
    test = pl.DataFrame({"user_id": [1, 2], "item_id": [8, 7]})
    assert values(table, test).tolist() == [1 / 2, 0]
