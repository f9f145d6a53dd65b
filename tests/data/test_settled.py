"""Splits of queries that give other rows, or another order, each time they are run."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.io.plugins import register_io_source

import cofactor as cf
from cofactor.data.settled import gives_the_same_events, gives_the_same_order

N = 400
TABLE = pl.DataFrame(
    {
        "user": np.arange(N) * 7 % 23,
        "item": np.arange(N) * 11 % 17,
        "at": [datetime(2024, 1, 1) + timedelta(hours=n % 90) for n in range(N)],
        "event": range(N),
    }
)
TWICE = pl.concat([TABLE, TABLE.head(50)])
SPLITS = {
    "by_time": lambda events: [cf.split.by_time(events, "2d")],
    "leave_last": lambda events: [cf.split.leave_last(events, 2)],
    "random": lambda events: [cf.split.random(events, 0.3)],
    "k_fold": lambda events: cf.split.k_fold(events, 3),
    "cold_users": lambda events: [cf.split.cold_users(events, 0.3)],
    "cold_users with history": lambda events: [cf.split.cold_users(events, 0.3, history_fraction=0.5)],
}


def restless(table):
    """A lazy table that gives its rows in another order at every run."""
    runs = iter(range(10**6))

    def read(columns, predicate, n_rows, batch_size):
        rows = table.sample(fraction=1, shuffle=True, seed=next(runs))
        rows = rows if columns is None else rows.select(columns)
        rows = rows if predicate is None else rows.filter(predicate)
        yield rows if n_rows is None else rows.head(n_rows)

    return register_io_source(read, schema=table.schema)


LOOK_UP = pl.LazyFrame({"item": range(17), "price": range(17)})
QUERIES = {  # of events, by what they do, and whether rows and their order are the same at every run
    "a table": (TABLE.lazy, True, True),
    "filtered, with columns": (
        lambda: TABLE.lazy().filter(pl.col("item") > 2).with_columns(x=pl.col("item") * 2).drop("x"),
        True,
        True,
    ),
    "several tables": (lambda: pl.concat([TABLE[:100].lazy(), TABLE[100:].lazy()]), True, True),
    "nested and numbered": (
        lambda: (
            TABLE.lazy().select("at", "event", s=pl.struct("user", "item")).unnest("s").with_row_index().drop("index")
        ),
        True,
        True,
    ),
    "unique rows in order": (lambda: TWICE.lazy().unique(maintain_order=True), True, True),
    "a source in any order": (lambda: restless(TABLE), True, False),
    "unique rows": (lambda: TWICE.lazy().unique(), True, False),
    "a join": (lambda: TABLE.lazy().join(LOOK_UP, on="item").drop("price"), True, False),
    "sorted with ties": (lambda: restless(TABLE).sort("at"), True, False),
    "the first of any order": (lambda: restless(TABLE).head(300), False, False),
    "one of each pair": (lambda: restless(TABLE).unique(["user", "item"]), False, False),
    "one of each group": (lambda: restless(TABLE).group_by("user", "item").first(), False, False),
    "numbered in any order": (lambda: restless(TABLE).drop("event").with_row_index("event"), False, False),
    "a sample": (lambda: TABLE.lazy().filter(pl.int_range(pl.len()).shuffle() < 300), False, False),
    "by a function": (lambda: TABLE.lazy().map_batches(lambda t: t.sample(fraction=1, shuffle=True)), False, False),
    "by place in any order": (lambda: restless(TABLE).filter(pl.int_range(pl.len()).over("user") < 9), False, False),
}


@pytest.mark.parametrize("query", QUERIES)
def test_what_a_query_promises(query):
    make, same_events, same_order = QUERIES[query]
    assert gives_the_same_events(make()) == same_events
    assert gives_the_same_order(make()) == same_order


def read(frame):
    return cf.read_events(frame, user="user", item="item", time="at")


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("query", QUERIES)
def test_every_event_goes_to_exactly_one_side(query, split):
    make, same_events, same_order = QUERIES[query]
    for cut in SPLITS[split](read(make())):
        train, *others = [part.collect() for part in (cut.train, cut.test, cut.history) if part is not None]
        whole = pl.concat([train, *others])
        assert sorted(whole["event"]) == sorted(set(whole["event"]))
        if same_events:
            every = make().collect()
            assert whole.select(every.columns).sort("event").equals(every.sort("event"))
        for part, found in ((cut.train, train), (cut.test, others[0])):
            assert part.collect().sort("event").equals(found.sort("event"))
            settled = same_events if split in ("by_time", "cold_users") else same_order
            assert any("held in memory" in note for note in part.notes) != settled
        assert cut.unknown.of_events == others[0].height


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.integers(0, high) for high in (4, 3, 9)]), min_size=2, max_size=30), st.data())
def test_parts_hold_the_rows_of_the_log_as_often_as_it_does(rows, data):
    users, items, hours = zip(*rows, strict=True)
    times = [datetime(2024, 1, 1) + timedelta(hours=h) for h in hours]
    frame = restless(pl.DataFrame({"user": users, "item": items, "at": times}))
    cut = SPLITS[data.draw(st.sampled_from(sorted(SPLITS)))]
    try:
        parts = cut(read(frame))
    except cf.DataError:
        return  # a side would be empty
    for one in parts:
        tables = [part.collect() for part in (one.train, one.test, one.history) if part is not None]
        assert sorted(pl.concat(tables).rows()) == sorted(zip(users, items, times, strict=True))


def test_large_files_without_repeats(tmp_path):
    """As reported: unique() gives thousands of rows in another order at every run."""
    n = 60_000
    rng = np.random.default_rng(0)
    times = [datetime(2024, 1, 1) + timedelta(seconds=int(s)) for s in rng.integers(0, 10**6, n)]
    table = pl.DataFrame({"user": rng.integers(0, 900, n), "item": rng.integers(0, 500, n), "at": times})
    table = table.with_row_index("event")
    table.write_parquet(tmp_path / "log.parquet")
    for make in (cf.split.leave_last, lambda events: cf.split.random(events, 0.2)):
        train, test = make(read(pl.scan_parquet(tmp_path / "log.parquet").unique()))
        assert sorted([*train.collect()["event"], *test.collect()["event"]]) == list(range(n))


def test_files_of_every_format_stay_lazy(tmp_path):
    TABLE.write_parquet(tmp_path / "log.parquet")
    TABLE.write_csv(tmp_path / "log.csv")
    TABLE.write_ndjson(tmp_path / "log.jsonl")
    TABLE.write_ipc(tmp_path / "log.arrow")
    for file in sorted(tmp_path.iterdir()):
        events = read(file)
        assert gives_the_same_order(events.frame)
        inner, _ = cf.split.leave_last(cf.split.random(events, 0.2).train)
        assert gives_the_same_order(inner.frame)
        assert not any("held in memory" in note for note in inner.notes)


def test_logs_of_nested_sessions_stay_lazy(tmp_path):
    lines = [f'{{"session": {s}, "events": [{{"aid": {s}, "ts": 1700000000000, "type": "clicks"}}]}}' for s in range(9)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    assert gives_the_same_order(cf.datasets.otto(tmp_path / "log.jsonl").frame)


def test_weighing_once_more_goes_by_pairs_not_by_places():
    """The second run of the query may give other events: a number belongs to its pair, or there is none."""
    runs = iter([0, 1])

    def other(table):
        return table.filter(pl.col("event") % 2 == next(runs))

    table = pl.DataFrame({"user": [1, 2, 3, 4], "item": [1, 1, 2, 2], "event": [0, 1, 2, 3]})
    events = cf.read_events(table, user="user", item="item").with_frame(table.lazy().map_batches(other))
    x = cf.Interactions(*events.aggregated(), events=events)
    assert x.to_frame()["user_id"].to_list() == [1, 3]
    with pytest.raises(cf.DataError, match=r"2 of 2 .* pairs are not among the events any more"):
        x.per_pair(7)
