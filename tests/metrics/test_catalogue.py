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


def coverage(k, n_items, tables=(LISTS,)):
    relevance = Relevance.from_pairs(TEST)
    batches = [match_lists(table, relevance, keep=9) for table in tables]
    return parse(f"coverage@{k}").compute(collect_hits(batches, relevance, Context(n_items=n_items)))


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
