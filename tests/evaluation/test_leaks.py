from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cofactor as cf
from cofactor.errors import DataError, ParameterError
from cofactor.evaluation.leak_counts import _Known
from cofactor.evaluation.leaks import check_leaks

DAY = datetime(2024, 3, 1)


def log(*rows):
    """Events of (user, item, day)."""
    users, items, days = zip(*rows, strict=True)
    frame = pl.DataFrame({"u": users, "i": items, "at": [DAY + timedelta(days=d) for d in days]})
    return cf.read_events(frame, user="u", item="i", time="at")


TRAIN = log((1, 10, 0), (1, 20, 5), (2, 10, 1), (3, 30, 9))
TEST = log((1, 20, 4), (2, 10, 6), (2, 40, 8), (9, 10, 8))


def found(result):
    return dict(result.table.select("check", "found").rows())


def test_what_is_found_by_hand():
    result = check_leaks(TRAIN, TEST)
    assert found(result) == {
        "user_order": 1,  # user 1 at day 4, and trained on until day 5
        "same_events": 0,
        "after_cut": 2,  # the days 5 and 9, and the test begins at day 4
        "same_pairs": 2,  # (1, 20) and (2, 10)
        "new_users": 1,
        "new_items": 1,
    }
    assert dict(result.table.select("check", "of").rows()) == {
        "user_order": 4,
        "same_events": 4,
        "after_cut": 4,
        "same_pairs": 4,
        "new_users": 3,
        "new_items": 3,
    }
    assert result.has_leaks
    assert result.summary == str(result) == repr(result)
    assert result.summary == (
        "leaks: 1 of 4 test events are before the same user's last training event. to know: 2 of 4 training events are "
        "not before the first test event; 2 of 4 test pairs are in training too; 1 of 3 test users are unknown to "
        "training; 1 of 3 test items are unknown to training"
    )


def test_a_split_by_time_has_no_leaks():
    events = log(*[(d % 4, d % 7, d) for d in range(40)])
    result = check_leaks(*cf.split.by_time(events, "8d"))
    assert not result.has_leaks
    assert result.summary.startswith("no leaks found")
    assert "\n" not in result.summary
    assert found(result)["after_cut"] == 0


def test_a_random_split_is_out_of_order():
    events = log(*[(d % 4, d % 7, d) for d in range(40)])
    assert check_leaks(*cf.split.random(events, 0.3)).has_leaks


def test_of_a_split_by_user_others_going_on_is_a_notice():
    events = log(*[(d % 4, d % 7, d // 4 + 3 * (d % 4)) for d in range(40)])
    result = check_leaks(*cf.split.leave_last(events))
    assert not result.has_leaks
    assert found(result)["after_cut"] > 0


def test_the_same_event_on_both_sides_is_a_leak():
    result = check_leaks(log((1, 10, 0), (2, 20, 0)), log((1, 10, 0), (1, 20, 3)))
    assert found(result)["same_events"] == 1
    assert result.has_leaks


def test_a_cut_that_is_given_is_held_against_both_sides():
    result = check_leaks(TRAIN, TEST, cut="2024-03-06")
    assert (found(result)["before_cut"], found(result)["after_cut"]) == (1, 2)
    assert set(result.table.filter(pl.col("check").str.ends_with("_cut"))["kind"]) == {"leak"}
    for same in (date(2024, 3, 6), datetime(2024, 3, 6), datetime(2024, 3, 6, tzinfo=UTC)):
        assert check_leaks(TRAIN, TEST, cut=same).table.equals(result.table)


def test_features_that_look_ahead():
    clean = pl.DataFrame({"item_id": [10, 20], "time": [DAY, DAY + timedelta(days=3)]})
    ahead = clean.with_columns(pl.col("time") + timedelta(days=1))
    result = check_leaks(TRAIN, TEST, features={"prices": clean, "views": ahead.lazy(), "log": TRAIN})
    assert found(result)["prices"] == 0
    assert found(result)["views"] == 1
    assert found(result)["log"] == 2
    assert "1 of 2 rows of views are not before the test begins" in result.summary
    assert found(check_leaks(TRAIN, TEST, features=ahead))["features"] == 1


def test_interactions_know_the_log_they_were_made_of():
    assert check_leaks(TRAIN.interactions(), TEST).table.equals(check_leaks(TRAIN, TEST).table)


def test_without_times_the_rest_is_checked():
    result = check_leaks(TRAIN.interactions().without_log, TEST)
    assert found(result) == found(check_leaks(TRAIN, TEST)) | {
        "user_order": None,
        "same_events": None,
        "after_cut": None,
    }
    assert result.summary.endswith("not checked for want of times: user_order, same_events, after_cut")
    assert not result.has_leaks
    pairs = TEST.pairs()
    assert found(check_leaks(TRAIN.pairs(), pairs)) == found(result)
    assert found(check_leaks(TRAIN, pairs))["user_order"] is None


def test_a_test_of_interactions():
    assert found(check_leaks(TRAIN, TEST.interactions())) == found(check_leaks(TRAIN, TEST))


def test_tables_of_other_integers_and_numeric_times():
    train = pl.DataFrame({"user_id": [1, 2], "item_id": [7, 8], "time": [2, 3]}, schema_overrides={"user_id": pl.Int8})
    test = pl.DataFrame({"user_id": [1, 300, 301], "item_id": [7, 8, 8], "time": [1, 3, 3]})
    assert found(check_leaks(train, test)) == {
        "user_order": 1, "same_events": 0, "after_cut": 2, "same_pairs": 1, "new_users": 2, "new_items": 0,
    }  # fmt: skip


rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=25)


@given(rows, rows)
@settings(max_examples=40, deadline=None)
def test_counts_are_those_of_loops(train, test):
    result = found(check_leaks(log(*train), log(*test)))
    begin = min(d for *_, d in test)
    last = {u: max(d for v, _, d in train if v == u) for u, *_ in train}
    assert result == {
        "user_order": sum(d < last.get(u, -1) for u, _, d in test),
        "same_events": sum(row in train for row in test),
        "after_cut": sum(d >= begin for *_, d in train),
        "same_pairs": len({r[:2] for r in test} & {r[:2] for r in train}),
        "new_users": len({u for u, *_ in test} - {u for u, *_ in train}),
        "new_items": len({i for _, i, _ in test} - {i for _, i, _ in train}),
    }


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cut": "soon"}, ParameterError, "cut='soon': give a date"),
        ({"cut": 5}, ParameterError, "cut=5"),
        ({"cut": "28d"}, ParameterError, "cut='28d': give a date"),
        ({"cut": timedelta(28)}, ParameterError, "cut=.*: give a date"),
        ({"features": pl.DataFrame({"time": [time(1)]})}, DataError, "features: time is Time"),
        ({"features": pl.DataFrame({"item_id": [1]})}, DataError, "features: no column time"),
        ({"features": pl.LazyFrame({"item_id": [1]})}, DataError, "features: no column time"),
        ({"features": {"prices": pl.DataFrame({"time": [1]})}}, DataError, "prices: time is Int64"),
        (
            {"features": {"log": cf.read_events(pl.DataFrame({"u": [1], "i": [1]}), user="u", item="i")}},
            ParameterError,
            "no times",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        check_leaks(TRAIN, TEST, **options)


def test_features_of_another_time_zone_are_held_against_the_times_of_the_log_in_utc():
    begin = DAY + timedelta(days=4)
    times = pl.Series("time", [begin - timedelta(hours=1), begin]).dt.replace_time_zone("UTC")
    result = check_leaks(TRAIN, TEST, features=times.dt.convert_time_zone("Asia/Tokyo").to_frame())
    assert found(result)["features"] == 1


def test_sides_that_do_not_match_are_refused():
    train = pl.DataFrame({"user_id": [1], "item_id": [1], "time": [1]})
    with pytest.raises(DataError, match=r"user_id is Int64 here and String in test"):
        check_leaks(train, train.with_columns(pl.col("user_id").cast(pl.String)))
    with pytest.raises(DataError, match="time is String in test and Int64 in train"):
        check_leaks(train, train.with_columns(pl.col("time").cast(pl.String)))
    with pytest.raises(DataError, match="test: there are no rows"):
        check_leaks(train, train.clear())
    with pytest.raises(DataError, match="train: no column item_id"):
        check_leaks(train.drop("item_id"), train)
    with pytest.raises(ParameterError, match="give it as cut="):
        check_leaks(train.drop("time"), train.drop("time"), features=pl.DataFrame({"time": [DAY]}))


def by_joins(train, test):
    """The counts, as joins of polars have them."""
    ids, last = ["user_id", "item_id"], train.group_by("user_id").agg(last=pl.col("time").max())
    pairs = test.select(ids).unique()
    return {
        "user_order": test.join(last, on="user_id").filter(pl.col("time") < pl.col("last")).height,
        "same_events": test.join(train, on=[*ids, "time"], how="semi").height,
        "after_cut": train.filter(pl.col("time") >= test["time"].min()).height,
        "same_pairs": pairs.join(train, on=ids, how="semi").height,
        "new_users": test.select("user_id").unique().join(train, on="user_id", how="anti").height,
        "new_items": test.select("item_id").unique().join(train, on="item_id", how="anti").height,
    }


@pytest.mark.parametrize(
    ("ids", "times"),
    [
        (pl.Int64, pl.Int64),
        (pl.UInt64, pl.UInt32),
        (pl.String, pl.Datetime("ms")),
        (pl.Categorical, pl.Float64),
        (pl.Binary, pl.Date),
        (pl.Float64, pl.Int8),
    ],
)
def test_counts_are_those_of_joins_whatever_the_types(ids, times):
    rng = np.random.default_rng(5)

    def draw(n, first):
        text = pl.Series(rng.integers(0, 300, n)), pl.Series(rng.integers(first, first + 150, n))
        made = [(one if ids.is_numeric() else one.cast(pl.String)).cast(ids) for one in text]
        time = pl.Series(rng.integers(0, 60, n)).cast(pl.Int32).cast(times)
        return pl.DataFrame({"user_id": made[0], "item_id": made[1], "time": time})

    train, test = draw(40_000, 0), draw(3_000, 40)  # several blocks would be more of the same: they are counted alike
    assert found(check_leaks(train, test)) == by_joins(train, test)
    assert 0 < by_joins(train, test)["same_events"] < test.height


def test_keys_whose_places_are_taken_are_found_in_the_next_table():
    inverse = pow(0x9E3779B97F4A7C15, -1, 2**64)
    keys = np.array([i * inverse % 2**64 for i in range(1, 50)], np.uint64)  # all of one place in the first table
    known = _Known(keys)
    assert len(known._tables) > 1
    assert len(set(known.rows.tolist())) == 49
    others = np.array([i * inverse % 2**64 for i in range(50, 99)], np.uint64)
    assert (known.meet(others) == -1).all()
    assert not known.met.any()
    assert (known.meet(keys[:7]) == known.rows[:7]).all()
    assert known.met.sum() == 7


def test_events_without_a_time_are_in_no_order():
    train = pl.DataFrame({"user_id": [1, 2], "item_id": [7, 8], "time": [5, None]})
    test = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 7, 8], "time": [None, 4, 6]})
    assert found(check_leaks(train, test)) | {"new_users": 0} == {
        "user_order": 1, "same_events": 0, "after_cut": 1, "same_pairs": 2, "new_users": 0, "new_items": 0,
    }  # fmt: skip


def test_times_that_are_text_are_no_times():
    table = pl.DataFrame({"user_id": [1], "item_id": [7], "time": ["9:00"]})
    with pytest.raises(DataError, match="time is String, which cannot be counted with; make it a datetime or a number"):
        check_leaks(table, table)
    objects = pl.DataFrame({"user_id": pl.Series([object()], dtype=pl.Object), "item_id": [7]})
    with pytest.raises(DataError, match="train: user_id holds objects of Python; make the ids text or whole numbers"):
        check_leaks(objects, objects)
