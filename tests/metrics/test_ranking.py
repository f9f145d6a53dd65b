"""Every metric by hand.

u1: relevant a b c, list x a y b  -> hits at ranks 2 and 4
u2: relevant a,     list a x      -> hit at rank 1
u3: relevant b c,   no list
u4: relevant a,     list x y z    -> none
"""

from math import log2

import numpy as np
import polars as pl
import pytest

from cofactor.metrics import parse
from cofactor.metrics.hits import Relevance
from cofactor.metrics.matching import collect_hits, match_lists

TEST = pl.DataFrame({"user_id": ["u1", "u1", "u1", "u2", "u3", "u3", "u4"], "item_id": list("abcabca")})
LISTS = pl.DataFrame(
    {
        "user_id": ["u1"] * 4 + ["u2"] * 2 + ["u4"] * 3,
        "item_id": list("xayb" + "ax" + "xyz"),
        "rank": [1, 2, 3, 4, 1, 2, 1, 2, 3],
    }
)
D2, D3, D5 = 1 / log2(2), 1 / log2(3), 1 / log2(5)  # discounts of ranks 1, 2 and 4
IDEAL3 = 1 + 1 / log2(3) + 1 / log2(4)
IDEAL4 = IDEAL3 + 1 / log2(5)

EXPECTED = {
    "recall@1": [0, 1, 0, 0],
    "recall@2": [1 / 3, 1, 0, 0],
    "recall@4": [2 / 3, 1, 0, 0],
    "recall@100": [2 / 3, 1, 0, 0],
    "truncated_recall@2": [1 / 2, 1, 0, 0],
    "truncated_recall@4": [2 / 3, 1, 0, 0],
    "precision@2": [1 / 2, 1 / 2, 0, 0],
    "precision@4": [2 / 4, 1 / 4, 0, 0],
    "precision@10": [2 / 10, 1 / 10, 0, 0],
    "hit_rate@1": [0, 1, 0, 0],
    "hit_rate@2": [1, 1, 0, 0],
    "ndcg@1": [0, 1, 0, 0],
    "ndcg@2": [D3 / (1 + D3), 1, 0, 0],
    "ndcg@4": [(D3 + D5) / IDEAL3, 1, 0, 0],
    "ndcg_fixed@4": [(D3 + D5) / IDEAL4, D2 / IDEAL4, 0, 0],
    "map@2": [(1 / 2) / 2, 1, 0, 0],
    "map@4": [(1 / 2 + 2 / 4) / 3, 1, 0, 0],
    "map_full@2": [(1 / 2) / 3, 1, 0, 0],
    "map_full@4": [(1 / 2 + 2 / 4) / 3, 1, 0, 0],
    "mrr@1": [0, 1, 0, 0],
    "mrr@4": [1 / 2, 1, 0, 0],
    "r_precision": [1 / 3, 1, 0, 0],
}


def hits_of(*tables, test=TEST, relevance=None):
    relevance = relevance or Relevance.from_pairs(test)
    return collect_hits([match_lists(table, relevance) for table in tables], relevance)


def values(name, lists=LISTS, test=TEST):
    return parse(name).compute(hits_of(lists, test=test))


@pytest.mark.parametrize("name", EXPECTED)
def test_by_hand(name):
    np.testing.assert_allclose(values(name), EXPECTED[name], rtol=1e-12)


def test_a_repeated_test_row_counts_once():
    np.testing.assert_array_equal(values("recall@4", test=pl.concat([TEST, TEST])), values("recall@4"))


def test_a_gap_in_the_ranks_is_a_miss():
    lists = pl.DataFrame({"user_id": ["u2"], "item_id": ["a"], "rank": [3]})
    np.testing.assert_allclose(values("mrr@3", lists), [0, 1 / 3, 0, 0])
    np.testing.assert_allclose(values("map@3", lists), [0, 1 / 3, 0, 0])
    np.testing.assert_allclose(values("mrr@2", lists), 0)


def test_batches_of_users_give_the_same():
    whole = hits_of(LISTS)
    parts = hits_of(*LISTS.sort("user_id", descending=True).partition_by("user_id"))
    for field in ("n_relevant", "n_listed", "user", "rank", "middle_rank"):
        np.testing.assert_array_equal(getattr(whole, field), getattr(parts, field))


def test_hits_in_numbers():
    hits = hits_of(LISTS)
    assert hits.n_users == 4
    assert hits.n_relevant.tolist() == [3, 1, 2, 1]
    assert hits.n_listed.tolist() == [4, 2, 0, 3]
    assert hits.user.tolist() == [0, 0, 1]
    assert hits.rank.tolist() == [2, 4, 1]
    assert hits.nth.tolist() == [1, 2, 1]


def test_a_part_of_the_users():
    part = Relevance.from_pairs(TEST).only(np.array([True, False, True, False]))
    assert part.users.to_list() == ["u1", "u3"]
    assert part.n_relevant.tolist() == [3, 2]
    assert hits_of(LISTS, relevance=part).rank.tolist() == [2, 4]


def test_no_hit_at_all():
    lists = LISTS.with_columns(item_id="nothing" + pl.col("rank").cast(pl.String))
    for name in EXPECTED:
        assert values(name, lists).tolist() == [0, 0, 0, 0]


GRADED = TEST.with_columns(weight=pl.Series([3.0, 1.0, 2.0, 5.0, 1.0, 1.0, 2.0]))  # a 3, b 1, c 2 for u1


def graded(k, test=GRADED):
    relevance = Relevance.from_pairs(test, "weight")
    return parse(f"ndcg_graded@{k}").compute(collect_hits([match_lists(LISTS, relevance)], relevance))


def test_graded_gains_by_hand():
    np.testing.assert_allclose(graded(4), [(3 * D3 + 1 * D5) / (3 + 2 * D3 + 1 / 2), 1, 0, 0])
    np.testing.assert_allclose(graded(2), [3 * D3 / (3 + 2 * D3), 1, 0, 0])


def test_equal_gains_are_no_gains():
    even = TEST.with_columns(weight=pl.lit(7.0))
    for k in (1, 2, 4, 10):
        np.testing.assert_allclose(graded(k, even), values(f"ndcg@{k}"))


def test_the_highest_gain_of_a_repeated_row_counts():
    lower = GRADED.with_columns(weight=pl.col("weight") / 2)
    np.testing.assert_allclose(graded(4, pl.concat([lower, GRADED, lower])), graded(4))


def test_pairs_in_any_order_and_more_than_once():
    shuffled = pl.concat([TEST, TEST]).sample(fraction=1, shuffle=True, seed=1)
    one, other = Relevance.from_pairs(shuffled), Relevance.from_pairs(TEST)
    assert one.n_pairs == other.n_pairs == 7
    for name in ("user", "item"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()


def test_a_part_of_the_relevant_pairs():
    """Hits of a and b alone: what is left of u1 is as if c were not relevant, and u3 has only b."""
    whole = hits_of(LISTS)
    keep = np.array([item in "ab" for item in TEST["item_id"]])
    part = whole.of_pairs(keep)
    alone = hits_of(LISTS, test=TEST.filter(pl.Series(keep)))
    for name in ("recall@4", "ndcg@4", "map@2", "mrr@4", "r_precision"):
        np.testing.assert_allclose(parse(name).compute(part), parse(name).compute(alone))
    some = whole.of_users(np.array([True, False, False, True]))
    np.testing.assert_allclose(parse("ndcg@4").compute(some), parse("ndcg@4").compute(whole)[[0, 3]])
