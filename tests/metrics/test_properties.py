"""What holds for every metric and every table."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofactor.evaluation.evaluate import evaluate as measured
from cofactor.metrics import available, parse

quick = settings(max_examples=40)

N_ITEMS = 12


def is_of_lists_alone(name):
    """No error of ratings, and nothing that needs training data, features or weights; they have tests of their own."""
    metric = parse(name)
    others = ("train", "vectors", "categories", "gains")
    return (
        metric.needs.lists and not any(getattr(metric.needs, o) for o in others) and metric.family != "personalization"
    )


NAMES = [name.replace("@k", f"@{k}") for name in available() for k in (1, 3, 10)]
NAMES = [name for name in dict.fromkeys(NAMES) if is_of_lists_alone(name)]
AT_K = [name for name in NAMES if "@" in name]
PER_USER = [name for name in NAMES if parse(name).per_user]

histories = st.lists(st.sets(st.integers(0, N_ITEMS - 1), min_size=1), min_size=1, max_size=6)
rankings = st.permutations(range(N_ITEMS))


def tables(relevant, ranked):
    """A test table and complete lists; a user's id is 10 times the position."""
    users = [10 * u for u in range(len(relevant))]
    test = [(u, item) for u, items in zip(users, relevant, strict=True) for item in items]
    lists = [(u, item, rank) for u, items in zip(users, ranked, strict=True) for rank, item in enumerate(items, 1)]
    return (
        pl.DataFrame(test, schema=["user_id", "item_id"], orient="row"),
        pl.DataFrame(lists, schema=["user_id", "item_id", "rank"], orient="row"),
    )


def evaluate(lists, test, names=NAMES, **options):
    return measured(lists, test, names, n_items=N_ITEMS, n_bootstrap=20, **options)


@st.composite
def cases(draw):
    relevant = draw(histories)
    return tables(relevant, [draw(rankings) for _ in relevant])


@quick
@given(cases())
def test_values_are_shares(case):
    test, lists = case
    result = evaluate(lists, test)
    assert result["metric"].to_list() == NAMES
    for column in ("value", "low", "high"):
        assert result[column].drop_nulls().is_between(-1e-12, 1 + 1e-12).all()
    per_user = evaluate(lists, test, PER_USER, per_user=True).drop("user_id")
    np.testing.assert_allclose(per_user.mean().row(0), result.filter(pl.col("metric").is_in(PER_USER))["value"])


@quick
@given(histories)
def test_a_perfect_list_gets_1(relevant):
    ranked = [[*items, *(set(range(N_ITEMS)) - items)] for items in relevant]
    test, lists = tables(relevant, ranked)
    names = [n for n in NAMES if parse(n).family in ("truncated_recall", "hit_rate", "ndcg", "map", "mrr", "auc")]
    np.testing.assert_allclose(evaluate(lists, test, names)["value"], 1)
    np.testing.assert_allclose(evaluate(lists, test, ["recall@12", "map_full@12"])["value"], 1)


@quick
@given(cases(), st.integers(0, 100))
def test_the_order_of_rows_does_not_matter(case, seed):
    test, lists = case
    shuffled = evaluate(
        lists.sample(fraction=1, shuffle=True, seed=seed), test.sample(fraction=1, shuffle=True, seed=seed)
    )
    assert shuffled.equals(evaluate(lists, test))


@quick
@given(cases())
def test_the_names_of_ids_do_not_matter(case):
    test, lists = case
    renamed = [
        frame.with_columns(user_id="u" + (-pl.col("user_id")).cast(pl.String), item_id=99 - pl.col("item_id"))
        for frame in (lists, test)
    ]
    np.testing.assert_allclose(evaluate(*renamed)["value"], evaluate(lists, test)["value"])


@quick
@given(cases())
def test_a_longer_list_never_hurts_recall(case):
    test, lists = case
    for family in ("recall", "hit_rate", "mrr", "map_full"):
        values = evaluate(lists, test, [f"{family}@{k}" for k in (1, 3, 10)])["value"].to_numpy()
        assert (np.diff(values) >= -1e-12).all()


@quick
@given(cases())
def test_only_the_first_k_places_count(case):
    test, lists = case
    names = [name for name in AT_K if not name.endswith("@10")]
    cut = lists.filter(pl.col("rank") <= 3)
    assert evaluate(cut, test, names).equals(evaluate(lists, test, names))


@pytest.mark.parametrize("name", [name for name in PER_USER if name in AT_K])
def test_a_user_with_an_empty_list_gets_0(name):
    test, lists = tables([{1}, {2}], [range(N_ITEMS)] * 2)
    assert evaluate(lists.filter(pl.col("user_id") == 0), test, [name], per_user=True)[name][1] == 0
