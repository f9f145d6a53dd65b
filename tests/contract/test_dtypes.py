"""Whole numbers in public tables are signed: a difference of two is never wrapped around."""

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cofactor as cf

LOG = pl.DataFrame(
    {
        "user_id": [1, 1, 1, 2, 2, 3, 3, 4, 4, 4],
        "item_id": [1, 2, 3, 1, 2, 2, 3, 1, 3, 4],
        "time": [datetime(2024, 1, 1) + timedelta(days=9 * n) for n in range(10)],
        "visit": [1, 1, 2, 3, 3, 4, 5, 6, 6, 7],
    }
)


def tables():
    events = cf.read_events(LOG, user="user_id", item="item_id", time="time", session="visit")
    x = events.interactions()
    model = cf.ItemKNN().fit(x)
    pairs = LOG.select("user_id", "item_id")
    shown = {"exclude_seen": False, "n_bootstrap": 0}
    cut = cf.split.cold_users(events, 0.5, history_fraction=0.5)
    prefixes, targets = cf.datasets.next_item_tests(events)
    return {
        "recommend": model.recommend(exclude_seen=False),
        "recommend_for": model.recommend_for(pairs, exclude_seen=False),
        "similar_items": model.similar_items(),
        "predict": model.predict(pairs),
        "to_frame": x.to_frame(),
        "pairs": events.pairs(),
        "collect": events.collect(),
        "evaluate": cf.evaluate(model, pairs, **shown),
        "per user": cf.evaluate(model, pairs, per_user=True, **shown),
        "compare": cf.compare({"a": cf.Popular()}, events, pairs, exclude_seen=False),
        "train": cut.train.collect(),
        "history": cut.history.collect(),
        "test": cf.split.leave_last(events).test.collect(),
        "fold": cf.split.k_fold(events, 2)[0].train.collect(),
        "prefixes": prefixes,
        "targets": targets,
        "synthetic": cf.datasets.synthetic_events(5, 5, 20).collect().drop("event_type"),
    }


def unsigned(table):
    return {name: dtype for name, dtype in table.schema.items() if dtype.is_unsigned_integer()}


@pytest.mark.parametrize(("name", "table"), tables().items(), ids=list(tables()))
def test_columns_of_tables_are_signed(name, table):
    assert not unsigned(table)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30, unique=True))
def test_ranks_can_be_subtracted(pairs):
    table = pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row")
    one, other = (cf.Popular(by=by).fit(table).recommend(k=9, exclude_seen=False) for by in ("users", "weight"))
    both = one.join(other, on=["user_id", "item_id"]).select(pl.col("rank") - pl.col("rank_right") - 1)
    assert both["rank"].min() >= -9
