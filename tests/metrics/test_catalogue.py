import numpy as np
import polars as pl
import pytest

from cofactor.errors import DataError, ParameterError
from cofactor.metrics import parse
from cofactor.metrics.context import Context
from cofactor.metrics.hits import Relevance
from cofactor.metrics.matching import collect_hits, match_lists

LISTS = pl.DataFrame(
    {
        "user_id": [1, 1, 2, 2, 3, 3],
        "item_id": [7, 8, 7, 9, 5, 6],
        "rank": [1, 2, 1, 2, 1, 2],
    }
)
TEST = pl.DataFrame({"user_id": [1, 2], "item_id": [0, 0]})


def overall(name, n_items=None, tables=(LISTS,)):
    relevance = Relevance.from_pairs(TEST)
    batches = [match_lists(table, relevance, keep=9) for table in tables]
    return parse(name).compute(collect_hits(batches, relevance, Context(n_items=n_items)))


def coverage(k, n_items, tables=(LISTS,)):
    return overall(f"coverage@{k}", n_items, tables)


def test_by_hand():
    assert coverage(1, 10) == 1 / 10
    assert coverage(2, 10) == 3 / 10
    assert coverage(9, 10) == 3 / 10


def test_batches_do_not_count_an_item_twice():
    assert coverage(2, 10, LISTS.partition_by("user_id")) == 3 / 10


def test_the_size_of_the_catalogue_is_needed():
    with pytest.raises(ParameterError, match="n_items="):
        coverage(2, None)


def test_a_catalogue_that_is_too_small():
    with pytest.raises(DataError, match="3 distinct items, more than n_items=2"):
        coverage(2, 2)


def test_gini_by_hand():
    # Of four items one is listed twice, two once and one never.
    assert overall("gini@2", 4) == pytest.approx((-3 * 0 - 1 * 1 + 1 * 1 + 3 * 2) / (4 * 4))
    assert overall("gini@1", 4) == pytest.approx(3 / 4)  # always the same one


def test_gini_of_even_lists_is_0():
    lists = pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [1, 2, 3, 4], "rank": [1, 2, 1, 2]})
    assert overall("gini@2", 4, [lists]) == 0
    with pytest.raises(DataError, match="4 distinct items, more than n_items=3"):
        overall("gini@2", 3, [lists])
    with pytest.raises(ParameterError, match="gini needs the size"):
        overall("gini@2", None, [lists])


def test_personalization_by_hand():
    assert overall("personalization@1") == pytest.approx(0)  # 7 and 7
    assert overall("personalization@2") == pytest.approx(1 / 2)  # 7 8 and 7 9
    assert overall("personalization@2", tables=LISTS.partition_by("user_id")) == pytest.approx(1 / 2)


def test_personalization_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    lists = [rng.choice(12, size, replace=False) for size in (5, 5, 3, 1, 5, 2)]
    rows = [(u, i, r) for u, items in enumerate(lists) for r, i in enumerate(items, 1)]
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "rank"], orient="row")
    test = pl.DataFrame({"user_id": range(6), "item_id": [99] * 6})
    cosines = [len(set(a) & set(b)) / np.sqrt(len(a) * len(b)) for n, a in enumerate(lists) for b in lists[:n]]
    relevance = Relevance.from_pairs(test)
    hits = collect_hits([match_lists(table, relevance, keep=5)], relevance)
    assert parse("personalization@5").compute(hits) == pytest.approx(1 - np.mean(cosines))


def test_one_list_has_nothing_to_differ_from():
    assert np.isnan(overall("personalization@2", tables=[LISTS.filter(pl.col("user_id") == 1)]))
    assert np.isnan(overall("gini@2", 5, tables=[LISTS.filter(pl.col("user_id") == 3)]))
