import re
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import chain

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofactor.data import split
from cofactor.data.events import Events, read_events
from cofactor.datasets import synthetic_events
from cofactor.errors import DataError, ParameterError

NEW_YEAR = datetime(2024, 1, 1)
quick = settings(max_examples=50)


def make(users, items, hours=None) -> Events:
    """Events in the given row order; ``event`` numbers them, so that sides can be compared exactly."""
    columns = {"user": users, "item": items, "event": range(len(users))}
    if hours is not None:
        columns["at"] = [NEW_YEAR + timedelta(hours=h) for h in hours]
    return read_events(pl.DataFrame(columns), user="user", item="item", time="at" if hours is not None else None)


@st.composite
def logs(draw, min_size=1) -> Events:
    rows = draw(st.lists(st.tuples(*[st.integers(0, high) for high in (6, 5, 30)]), min_size=min_size, max_size=40))
    users, items, hours = zip(*rows, strict=True)
    if draw(st.booleans()):
        users = [f"user {u}" for u in users]
    return make(list(users), list(items), hours)


def numbers(events: Events) -> list[int]:
    return events.collect()["event"].to_list()


def assert_partition(whole: Events, *parts: Events) -> None:
    """No event is lost or doubled, and every part keeps the order and the columns of the log."""
    found = [numbers(part) for part in parts]
    assert sorted(chain.from_iterable(found)) == list(range(whole.n_events))
    assert all(part == sorted(part) for part in found)
    assert all(part.collect().columns == whole.collect().columns for part in parts)


# by_time


@quick
@given(logs(), st.integers(-2, 33))
def test_no_test_event_precedes_the_cut(events, hours):
    cut = NEW_YEAR + timedelta(hours=hours)
    times = events.collect()["at"]
    if not times.min() < cut <= times.max():
        with pytest.raises(DataError, match="would be empty"):
            split.by_time(events, cut)
        return
    train, test = split.by_time(events, cut)
    assert test.collect()["at"].min() >= cut
    assert train.collect()["at"].max() < cut
    assert_partition(events, train, test)


@pytest.mark.parametrize(
    "test",
    [
        "28d",
        "last 28d",
        " last  4w ",
        timedelta(days=28),
        datetime(2024, 2, 2),
        date(2024, 2, 2),
        "2024-02-02",
        "2024-02-02T00:00:00",
        datetime(2024, 2, 2, tzinfo=UTC),
        datetime(2024, 2, 2, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        "2024-02-01T22:00:00-02:00",
    ],
)
def test_ways_to_name_the_cut(test):
    newest = (datetime(2024, 3, 1) - NEW_YEAR).days * 24
    cut = newest - 28 * 24
    events = make([1, 1, 1, 1], [1, 2, 3, 4], [0, cut - 1, cut, newest])
    train, test = split.by_time(events, test)
    assert numbers(train) == [0, 1]
    assert numbers(test) == [2, 3]


@pytest.mark.parametrize(
    ("test", "side"), [("400d", "train"), ("5000000d", "train"), (date(2030, 1, 1), "test"), (NEW_YEAR, "train")]
)
def test_an_empty_side_names_the_cut_and_the_range_of_the_log(test, side):
    with pytest.raises(DataError, match=rf"{side} would be empty.*from 2024-01-01 00:00:00 to 2024-01-01 09:00:00"):
        split.by_time(make([1, 1], [1, 2], [0, 9]), test)


@pytest.mark.parametrize("test", ["soon", "28", "d", 28, None, "0d", "last", timedelta(0)])
def test_a_cut_that_is_none(test):
    with pytest.raises(ParameterError, match="test="):
        split.by_time(make([1, 1], [1, 2], [0, 9]), test)


@pytest.mark.parametrize(
    "cut",
    [
        lambda events: split.by_time(events, "1d"),
        split.leave_last,
        lambda events: split.cold_users(events, 0.5, history_fraction=0.5),
    ],
)
def test_times_are_needed(cut):
    with pytest.raises(DataError, match=r"read_events\(\.\.\., time=\.\.\.\)"):
        cut(make([1, 1, 2], [1, 2, 1]))


def test_events_without_a_time_are_not_lost_in_silence():
    events = make([1, 1, 1], [1, 2, 3], [0, 5, 9])
    gap = pl.when(pl.col("event") != 1).then("at").alias("at")
    events = events.with_frame(events.frame.with_columns(gap))
    for cut in (lambda: split.by_time(events, "3h"), lambda: split.leave_last(events)):
        with pytest.raises(DataError, match="column 'at': 1 events have no time"):
            cut()


# leave_last


@quick
@given(logs(), st.integers(1, 4))
def test_leave_last_holds_out_the_newest_events_of_each_user(events, n):
    expected = []  # brute force: stable sort by time, then the tail
    for _, log in events.collect().sort("at", maintain_order=True).group_by("user"):
        expected += log["event"].tail(n).to_list() if log.height > n else []
    if not expected:
        with pytest.raises(DataError, match=f"n={n}"):
            split.leave_last(events, n)
        return
    train, test = split.leave_last(events, n)
    assert numbers(test) == sorted(expected)
    assert_partition(events, train, test)
    assert split.Split(train, test).unknown.users == 0


def test_ties_in_time_break_by_row_order():
    events = make(["a", "b", "a", "b", "a"], [1, 2, 3, 4, 5], [7, 7, 7, 7, 1])
    assert numbers(split.leave_last(events).test) == [2, 3]
    assert numbers(split.leave_last(events, 2).test) == [0, 2]


def test_leave_last_again_on_train_gives_a_validation_split():
    events = synthetic_events(50, 40, 2000, seed=3)
    train, test = split.leave_last(events)
    inner, validation = split.leave_last(train)
    assert inner.n_events + validation.n_events + test.n_events == 2000
    assert split.leave_last(events, 2).train.collect().equals(inner.collect())


@pytest.mark.parametrize("n", [0, -1, 1.5, "1", True, None])
def test_leave_last_needs_a_positive_n(n):
    with pytest.raises(ParameterError, match=f"n must be a whole number of at least 1, got {n!r}"):
        split.leave_last(make([1, 1], [1, 2], [0, 9]), n)


# random and k_fold


@quick
@given(logs(min_size=2), st.floats(0.01, 0.99), st.integers(0, 9))
def test_random_draws_the_exact_number(events, fraction, seed):
    n_test = round(fraction * events.n_events)
    if n_test in (0, events.n_events):
        with pytest.raises(DataError, match=f"{n_test} into test"):
            split.random(events, fraction, seed)
        return
    train, test = split.random(events, fraction, seed)
    assert test.n_events == n_test
    assert_partition(events, train, test)


@quick
@given(logs(min_size=2), st.integers(2, 6), st.integers(0, 9))
def test_folds_are_disjoint_and_cover_the_log(events, k, seed):
    if events.n_events < k:
        with pytest.raises(DataError, match=f"k={k}"):
            split.k_fold(events, k, seed)
        return
    folds = split.k_fold(events, k, seed)
    assert_partition(events, *(fold.test for fold in folds))
    for fold in folds:
        assert_partition(events, fold.train, fold.test)
    sizes = [fold.test.n_events for fold in folds]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    "cut",
    [
        lambda events, seed: split.random(events, 0.3, seed).test,
        lambda events, seed: split.k_fold(events, 4, seed)[0].test,
        lambda events, seed: split.cold_users(events, 0.3, seed).test,
        lambda events, seed: split.cold_items(events, 0.3, seed).test,
    ],
)
def test_the_seed_decides(cut):
    events = synthetic_events(60, 40, 3000, seed=1)
    assert cut(events, 0).collect().equals(cut(events, 0).collect())
    assert not cut(events, 0).collect().equals(cut(events, 1).collect())


def test_a_random_split_does_not_depend_on_how_the_log_is_stored(tmp_path):
    events = synthetic_events(60, 40, 3000, seed=1)
    table = events.collect()
    expected = split.random(events, 0.3).test.collect()
    for part in range(3):
        table.slice(part * 1000, 1000).write_parquet(tmp_path / f"part{part}.parquet", row_group_size=100)
    events = read_events(tmp_path / "*.parquet", user="user_id", item="item_id", time="time")
    for engine in ("in-memory", "streaming"):
        test = split.random(events, 0.3).test
        assert test.frame.collect(engine=engine).equals(expected)
        some = pl.col("item_id") < 9  # a filter put on top must not reach the log before the labels do
        assert test.filter(some).frame.collect(engine=engine).equals(expected.filter(some))
        assert test.frame.select("time").collect(engine=engine).equals(expected.select("time"))


@pytest.mark.parametrize(
    ("n", "fraction", "way_out"),
    [
        (3, 0.1, "test .* give a larger one"),
        (3, 0.9, "train .* give a smaller one"),
        (1, 0.9, "at least two are needed"),
    ],
)
def test_a_fraction_that_leaves_a_side_empty(n, fraction, way_out):
    with pytest.raises(DataError, match=way_out):
        split.random(make(range(n), range(n), range(n)), fraction)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), "0.5", True, [0.5]])
def test_a_fraction_lies_between_0_and_1(fraction):
    events = make([1, 2, 3], [1, 2, 3], [1, 2, 3])
    of_history = lambda e, f: split.cold_users(e, 0.5, history_fraction=f)  # noqa: E731
    for cut in (split.random, split.cold_users, split.cold_items, of_history):
        with pytest.raises(ParameterError, match="must be a number above 0 and below 1"):
            cut(events, fraction)


@pytest.mark.parametrize("k", [1, 0, 256, 2.5, "3"])
def test_the_number_of_folds_is_limited(k):
    with pytest.raises(ParameterError, match=f"k must be .*, got {k!r}"):
        split.k_fold(make([1, 2, 3], [1, 2, 3]), k)


# cold_users


@quick
@given(logs(), st.floats(0.01, 0.99), st.integers(0, 9))
def test_cold_users_never_appear_in_train(events, fraction, seed):
    n_users = events.collect()["user"].n_unique()
    n_cold = round(fraction * n_users)
    if n_cold in (0, n_users):
        with pytest.raises(DataError, match=f"of {n_users} users"):
            split.cold_users(events, fraction, seed)
        return
    cut = split.cold_users(events, fraction, seed)
    assert_partition(events, cut.train, cut.test)
    assert cut.history is None
    assert not set(cut.train.collect()["user"]) & set(cut.test.collect()["user"])
    assert cut.unknown.users == cut.unknown.of_users == n_cold
    assert cut.unknown.events == cut.test.n_events


@quick
@given(logs(), st.floats(0.01, 0.99))
def test_history_comes_before_test(events, history_fraction):
    n_users = events.collect()["user"].n_unique()
    if n_users < 2:
        return
    cut = split.cold_users(events, 0.5, history_fraction=history_fraction)
    assert_partition(events, cut.train, cut.history, cut.test)
    train, test = cut
    assert not set(train.collect()["user"]) & set(test.collect()["user"])
    history = dict(cut.history.collect().group_by("user").agg("at").iter_rows())
    for user, times in test.collect().group_by("user").agg("at").iter_rows():
        n = len(times) + len(history.get(user, []))
        assert len(history.get(user, [])) == (0 if n == 1 else max(1, int(n * history_fraction)))
        assert max(history.get(user, [NEW_YEAR])) <= min(times)
    assert set(history) <= set(cut.test.collect()["user"])


# cold_items


@quick
@given(logs(), st.floats(0.01, 0.99), st.integers(0, 9))
def test_cold_items_never_appear_in_train(events, fraction, seed):
    n_items = events.collect()["item"].n_unique()
    n_cold = round(fraction * n_items)
    if n_cold in (0, n_items):
        with pytest.raises(DataError, match=f"of {n_items} items"):
            split.cold_items(events, fraction, seed)
        return
    cut = split.cold_items(events, fraction, seed)
    assert_partition(events, cut.train, cut.test)
    assert cut.history is None
    assert not set(cut.train.collect()["item"]) & set(cut.test.collect()["item"])
    assert cut.unknown.items == cut.unknown.of_items == n_cold
    assert cut.unknown.events == cut.test.n_events


# Split


def test_unknown_counts_what_train_does_not_hold():
    events = make(["a", "b", "a", "c", "c", "b"], [1, 2, 2, 1, 3, 3], [0, 0, 5, 5, 5, 5])
    cut = split.by_time(events, NEW_YEAR + timedelta(hours=5))
    # test: (a, 2) (c, 1) (c, 3) (b, 3); train knows the users a, b and the items 1, 2
    assert cut.unknown == split.Unknown(users=1, items=1, events=3, of_users=3, of_items=3, of_events=4)
    assert str(cut.unknown) == ("unknown to train: 1 of 3 test users, 1 of 3 test items, 3 of 4 test events")


def test_splits_stay_lazy(tmp_path):
    log = tmp_path / "log.parquet"
    synthetic_events(60, 40, 3000).collect().write_parquet(log)
    events = read_events(log, user="user_id", item="item_id", time="time")
    for cut in (split.by_time(events, "28d"), split.leave_last(events), split.random(events, 0.2)):
        assert "Parquet SCAN" in cut.train.frame.explain()
        assert re.search(r"PROJECT [12]/4 COLUMNS", cut.test.frame.select("item_id").explain())


def test_a_split_shows_its_parts():
    events = make(["a", "a", "b", "c"], [1, 2, 1, 1], [0, 1, 2, 3])
    cut = split.leave_last(events)
    assert repr(cut).startswith("train: Events")
    assert "\ntest: Events" in repr(cut)
    assert cut.train.notes == ("leave_last: 2 of 3 users have n=1 events or fewer and stay wholly in train",)
    assert cut.test.notes == ()
    assert "\nhistory: Events" in repr(split.cold_users(events, 0.5, history_fraction=0.5))


def test_an_empty_log():
    events = make([1], [1], [0])
    empty = events.filter(pl.col("event") > 5)
    for cut in (
        lambda: split.by_time(empty, "1d"),
        lambda: split.leave_last(empty),
        lambda: split.random(empty, 0.5),
        lambda: split.k_fold(empty, 2),
        lambda: split.cold_users(empty, 0.5),
    ):
        with pytest.raises(DataError):
            cut()


@pytest.mark.parametrize("seed", [-1, 1.5, "0"])
def test_seeds_are_whole_numbers_from_0(seed):
    events = synthetic_events(50, 20, 300)
    for wrong in (
        lambda: split.random(events, 0.2, seed),
        lambda: split.k_fold(events, 2, seed),
        lambda: split.cold_users(events, 0.2, seed),
    ):
        with pytest.raises(ParameterError, match="seed must be a whole number of at least 0"):
            wrong()
