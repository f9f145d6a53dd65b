"""Sessions against sorting in plain Python."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cofactor as cf
from cofactor.data.sessions import Sessions

START = datetime(2024, 5, 1)
ROLES = {"user": "user", "item": "item", "time": "time", "session": "session", "event_type": "type"}


def log(rows, **types):
    """Events of (user, session, item, microseconds, type)."""
    frame = pl.DataFrame(rows, schema=["user", "session", "item", "time", "type"], orient="row")
    return frame.with_columns(
        pl.col("time").cast(pl.Duration("us")) + START, *(pl.col(c).cast(t) for c, t in types.items())
    )


def read(frame, **roles):
    return cf.read_events(frame, **(ROLES | roles))


def listed(sessions):
    """{session: [(item, second, type), ...]} in ids."""
    times = np.zeros(sessions.n_events, int) if sessions.times is None else sessions.times
    types = np.zeros(sessions.n_events, int) if sessions.types is None else sessions.types
    names = sessions.type_names or ("",)
    items = sessions.item_ids.take(sessions.items)
    at = [slice(*sessions.indptr[s : s + 2]) for s in range(sessions.n_sessions)]
    return {
        session: [(i, int(t), names[k]) for i, t, k in zip(items[a], times[a], types[a], strict=True)]
        for session, a in zip(sessions.session_ids, at, strict=True)
    }


def wanted(frame, session="session", keep=lambda _: True):
    out = {}
    for row in sorted(frame.iter_rows(named=True), key=lambda row: row["time"]):
        if keep(row):
            second = (row["time"] - datetime(1970, 1, 1)) // timedelta(seconds=1)
            out.setdefault(row[session], []).append((row["item"], second, row["type"]))
    return dict(sorted(out.items()))


EVENTS = st.tuples(
    st.integers(0, 3), st.integers(-2, 5), st.integers(10, 16), st.integers(0, 6), st.sampled_from(["b", "a"])
)
UNITS = st.sampled_from([1, 1000, 999_999, 1_000_000, 2**33])
TEXT = {"item": pl.String, "session": pl.String, "user": pl.String}
FAR = {"item": pl.Int64, "session": pl.Int64, "user": pl.Int64}


@given(st.lists(EVENTS, min_size=1, max_size=30), UNITS, st.sampled_from(["numbers", "text", "far apart"]))
def test_events_of_a_session_in_the_order_of_time_then_of_the_log(rows, unit, ids):
    frame = log([(*row[:3], row[3] * unit, row[4]) for row in rows])
    if ids == "text":
        frame = frame.cast(TEXT)
    if ids == "far apart":
        frame = frame.with_columns(pl.col(c).cast(pl.Int64) * 2**58 for c in FAR)
    sessions = read(frame).sessions()
    assert listed(sessions) == wanted(frame)
    assert sessions.n_items == frame["item"].n_unique()
    assert sessions.session_ids.dtype == frame["session"].dtype
    dtypes = [a.dtype for a in (sessions.indptr, sessions.items, sessions.times, sessions.types)]
    assert dtypes == [np.int64, np.int32, np.int64, np.uint8]


@given(st.lists(EVENTS, min_size=1, max_size=40), st.booleans(), st.integers(1, 3), st.sampled_from([None, TEXT]))
def test_only_users_and_items_of_the_interactions(rows, by_user, least, types):
    frame = log(rows).cast(types or {})
    events = read(frame, session=None) if by_user else read(frame)
    try:
        x = events.interactions(min_user_count=least, min_item_count=least)
    except cf.DataError:
        return
    except cf.CofactorWarning:
        with pytest.warns(cf.CofactorWarning, match="at least"):
            x = events.interactions(min_user_count=least, min_item_count=least)
    sessions = Sessions.of(x)
    users, items = set(x.users.ids), set(x.items.ids)
    session = "user" if by_user else "session"
    assert listed(sessions) == wanted(frame, session, lambda row: row["user"] in users and row["item"] in items)
    assert sessions.n_items == x.n_items
    if by_user:
        assert sessions.session_ids.to_list() == x.users.ids.to_list()


def test_ids_beyond_those_of_the_interactions(tmp_path):
    ids = pl.DataFrame({"user": [1, 1, 2], "item": [2**63 + 5, 7, 3], "time": [START] * 3, "type": ["a"] * 3})
    ids = ids.with_columns(pl.col("item").cast(pl.UInt64))
    small = read(ids.filter(pl.col("item") < 100), session=None)
    x = small.interactions()
    x = cf.Interactions(x.users, x.items, x.user_items, small.with_frame(ids))
    assert Sessions.of(x).items.tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [pl.Datetime("ns"), pl.Datetime("us", "Europe/Berlin"), pl.Date])
def test_times_of_another_type_put_in_later(dtype):
    frame = log([(1, 1, 5, 2 * 86_400 * 10**6, "a"), (1, 1, 4, 0, "a"), (1, 0, 3, 0, "a")])
    events = read(frame)
    sessions = events.with_frame(events.frame.with_columns(pl.col("time").cast(dtype))).sessions()
    assert listed(sessions) == wanted(frame)


def test_without_times_the_order_is_that_of_the_log():
    frame = log([(1, 1, 5, 9, "a"), (1, 0, 4, 9, "a"), (1, 1, 3, 0, "a"), (1, 1, 5, 0, "a")])
    sessions = cf.read_events(frame, user="user", item="item", session="session").sessions()
    assert sessions.indptr.tolist() == [0, 1, 4]
    assert sessions.item_ids.take(sessions.items).to_list() == [4, 5, 3, 5]
    assert sessions.times is None
    assert sessions.types is None
    assert repr(sessions) == "Sessions(4 events in 2 sessions, 3 items, no times, no types)"
    assert repr(read(frame).sessions()).endswith("times and types)")


def test_without_events_every_history_is_a_session(interactions):
    sessions = Sessions.of(interactions)
    assert sessions.n_sessions == 60
    assert np.array_equal(sessions.indptr, interactions.user_items.indptr)
    assert np.array_equal(sessions.items, interactions.user_items.indices)
    assert (sessions.times, sessions.types, sessions.n_items) == (None, None, 40)


def test_types_of_any_kind():
    rows = [(1, 1, 1, at, "x") for at in range(4)]
    for types, names, codes in (
        ([2, 0, None, 2], ("0", "2", "null"), [1, 0, 2, 1]),
        ([True, False, True, True], ("false", "true"), [1, 0, 1, 1]),
        (pl.Series(["b", "a", "b", None], dtype=pl.Categorical), ("a", "b", "null"), [1, 0, 1, 2]),
        ([None] * 4, ("null",), [0] * 4),
        (pl.Series(["b", "a", None, "b"], dtype=pl.Enum(["c", "b", "a"])), ("a", "b", "null"), [1, 0, 2, 1]),
        (pl.Series(["b", "b", "b", "b"], dtype=pl.Enum(["c", "b"])), ("b",), [0, 0, 0, 0]),
    ):
        sessions = read(log(rows).with_columns(type=pl.Series(types))).sessions()
        assert sessions.type_names == names
        assert sessions.types.tolist() == codes


def test_too_many_types():
    frame = log([(1, 1, 1, at, f"{at:03}") for at in range(257)])
    with pytest.raises(cf.DataError, match=r"event_type='type' has 257 types, at most 256 .*: 000, 001, 002"):
        read(frame).sessions()


def test_events_without_a_session_are_counted():
    frame = log([(1, 1, 1, 0, "a"), (1, None, 2, 0, "a"), (2, 1, 2, 1, "a")])
    with pytest.warns(cf.CofactorWarning, match="session: 1 events without a session left out") as caught:
        sessions = read(frame).sessions()
    assert caught[0].filename == __file__
    assert listed(sessions) == wanted(frame, keep=lambda row: row["session"] is not None)


def test_no_events():
    events = read(log([(1, 1, 1, 0, "a")])).filter(pl.col("item") > 1)
    with pytest.raises(cf.DataError, match="there are no events to make sessions of"):
        events.sessions()


def test_a_log_of_many_row_groups_keeps_its_order(tmp_path):
    rng = np.random.default_rng(0)
    n = 20_000
    frame = pl.DataFrame(
        {
            "user": rng.integers(0, 100, n),
            "session": rng.integers(0, 3000, n).astype(str),
            "item": rng.permutation(n),
            "time": np.datetime64("2024-01-01", "us") + rng.integers(0, 50, n).astype("timedelta64[s]"),
            "type": rng.choice(["a", "b"], n),
        }
    )
    frame.write_parquet(tmp_path / "log.parquet", row_group_size=500)
    sessions = read(tmp_path / "log.parquet").sessions()
    assert listed(sessions) == wanted(frame)
