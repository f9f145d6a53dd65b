"""evaluate_by_type against the competition's counting, session by session."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cofactor as cf

KINDS = ["clicks", "carts", "orders"]


def frame(rows, columns=("user_id", "item_id", "event_type")):
    return pl.DataFrame(rows, schema=list(columns), orient="row")


def by_hand(predictions, labels, k):
    """Hits and possible hits of every type, in dicts, as ``otto-de/recsys-dataset`` counts them."""
    found, possible = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    for (session, kind), truth in labels.items():
        listed = predictions.get((session, kind), [])[:k]
        found[kind] += len(set(listed) & truth)
        possible[kind] += min(len(truth), k)
    return found, possible


@st.composite
def trials(draw):
    labels = {(0, kind): {1} for kind in KINDS}
    for session in range(draw(st.integers(1, 5))):
        for kind in KINDS:
            items = draw(st.sets(st.integers(0, 12), max_size=1 if kind == "clicks" else 8))
            if items:
                labels[session, kind] = items
    lists = {s: draw(st.lists(st.integers(0, 12), unique=True, max_size=9)) for s in draw(st.sets(st.integers(0, 7)))}
    return labels, lists, draw(st.integers(1, 10))


@settings(max_examples=80)
@given(trials())
def test_it_counts_as_the_competition(trial):
    labels, lists, k = trial
    truth = frame([(s, i, kind) for (s, kind), items in labels.items() for i in items])
    rows = [(s, i, rank) for s, items in lists.items() for rank, i in enumerate(items, 1)]
    columns = {"user_id": pl.Int64, "item_id": pl.Int64, "rank": pl.Int32}
    table = pl.DataFrame(rows, schema=columns, orient="row")
    found, possible = by_hand({(s, kind): items for s, items in lists.items() for kind in KINDS}, labels, k)
    out = cf.evaluate_by_type(table, truth, k)
    assert out["event_type"].to_list() == [*KINDS, "total"]
    assert out["found"].to_list() == [*found.values(), sum(found.values())]
    assert out["possible"].to_list() == [*possible.values(), sum(possible.values())]
    recalls = [found[kind] / possible[kind] for kind in KINDS]
    np.testing.assert_allclose(out["recall"], [*recalls, np.dot([0.1, 0.3, 0.6], recalls)])
    parts = [table.filter(pl.col("user_id") % 2 == 0), table.filter(pl.col("user_id") % 2 == 1)]
    assert cf.evaluate_by_type(parts, truth, k).equals(out)
    assert cf.evaluate_by_type(iter(parts), truth, k).equals(out)
    each = pl.concat([table.with_columns(event_type=pl.lit(kind)) for kind in KINDS])
    assert cf.evaluate_by_type(each, truth, k).equals(out)


def test_candidates_at_several_depths():
    truth = frame([(1, i, "carts") for i in range(30)] + [(1, 99, "orders")])
    lists = frame([(1, i, i + 1) for i in range(40)], ["user_id", "item_id", "rank"])
    out = cf.evaluate_by_type(lists, truth, (50, 20), weights={"carts": 0.5, "orders": 0.5})
    assert out["k"].to_list() == [20] * 3 + [50] * 3
    assert out["recall"].to_list() == [1.0, 0.0, 0.5, 1.0, 0.0, 0.5]
    assert out["possible"].to_list() == [20, 1, 21, 30, 1, 31]


def test_each_type_has_its_own_list():
    truth = frame([(1, 7, "clicks"), (1, 8, "carts")])
    lists = frame([(1, 7, "clicks", 1), (1, 7, "carts", 1)], ["user_id", "item_id", "event_type", "rank"])
    out = cf.evaluate_by_type(lists, truth, 1, weights={"clicks": 1, "carts": 3})
    assert out["recall"].to_list() == [1.0, 0.0, 1.0]


def test_a_type_without_labels_has_no_recall():
    truth = TRUTH.filter(pl.col("event_type") != "orders")
    assert cf.evaluate_by_type(LISTS, truth)["recall"].to_list() == [1.0, 0.0, None, None]
    assert cf.evaluate_by_type(LISTS, truth, weights={"clicks": 1, "carts": 1})["recall"].to_list() == [1.0, 0.0, 1.0]


# Bad input


TRUTH = frame([(1, 7, "clicks"), (1, 7, "clicks"), (1, 8, "carts"), (2, 8, "orders")])
LISTS = frame([(1, 7, 1), (2, 8, 1)], ["user_id", "item_id", "rank"])


def test_the_same_label_twice_counts_once():
    assert cf.evaluate_by_type(LISTS, TRUTH)["possible"].to_list() == [1, 1, 1, 3]


@pytest.mark.parametrize(
    ("lists", "truth", "message"),
    [
        (
            LISTS,
            TRUTH.with_columns(event_type=pl.lit("views")),
            "labels: there are rows of type views, and weights only",
        ),
        (LISTS, TRUTH.clear(), "labels: there are no rows"),
        (LISTS.with_columns(event_type=pl.lit("views")), TRUTH, "lists: there are rows of type views"),
        (LISTS.drop("rank"), TRUTH, "lists: no column rank"),
        (LISTS, TRUTH.drop("event_type"), "labels: no column event_type"),
        (pl.concat([LISTS, LISTS]), TRUTH, "occur more than once"),
        ([LISTS, LISTS], TRUTH, "lists: those of session 1 are in two of the tables"),
        ([], TRUTH, "lists: a table with user_id, item_id, rank is expected, or several; got none"),
        (
            LISTS.with_columns(pl.col("item_id").cast(pl.String)),
            TRUTH,
            "lists: item_id is String here and Int64 in test",
        ),
    ],
)
def test_bad_tables(lists, truth, message):
    with pytest.raises(cf.DataError, match=message):
        cf.evaluate_by_type(lists, truth)


@pytest.mark.parametrize("k", [0, [], "20", [20, -1], 2.5])
def test_bad_depths(k):
    with pytest.raises(cf.ParameterError, match="k must be"):
        cf.evaluate_by_type(LISTS, TRUTH, k)


@pytest.mark.parametrize("weights", [{}, [1, 2], {"clicks": 0}, {1: 2}])
def test_bad_weights(weights):
    with pytest.raises(cf.ParameterError, match="weights"):
        cf.evaluate_by_type(LISTS, TRUTH, weights=weights)
