import uuid
from datetime import datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from cofactor.data.events import read_events
from cofactor.data.weights import half_life
from cofactor.errors import CofactorWarning, DataError, ParameterError

LOG = pl.DataFrame(
    {
        "u": [3, 1, 3, 2],
        "i": ["b", "a", "b", "a"],
        "t": [datetime(2024, 1, d) for d in (1, 2, 3, 4)],
        "n": [1.0, 2.0, 3.0, 4.0],
    }
)


def read(source, user="u", item="i", **roles):
    return read_events(source, user=user, item=item, **roles)


# ---------------------------------------------------------------- columns and ids


def test_missing_column_lists_the_others_and_a_close_one():
    with pytest.raises(DataError, match=r"item='item': .* \['u', 'i', 't', 'n'\]\.$"):
        read(LOG, item="item")
    with pytest.raises(DataError, match=r"event_type='typ': .*did you mean type\?"):
        read(LOG.rename({"n": "type"}), event_type="typ")


def test_user_or_session_is_needed():
    with pytest.raises(ParameterError, match="session= is not given"):
        read(LOG, user=None)
    with pytest.raises(ParameterError, match="same column"):
        read(LOG, user="i")


@pytest.mark.parametrize(
    ("items", "fault"),
    [
        (["a", None, "b", None], "null or empty"),
        (["a", "", "b", None], "null or empty"),
        (pl.Series(["a", "", "b", None], dtype=pl.Categorical), "null or empty"),
        (pl.Series(["a", "", "b", None], dtype=pl.Enum(["", "a", "b"])), "null or empty"),
        ([b"a", b"", b"b", None], "null or empty"),
        ([1.0, float("nan"), 2.0, None], "null or NaN"),
        ([1, None, 2, None], "null"),
    ],
    ids=str,
)
def test_missing_items_of_all_kinds_are_alike(items, fault):
    with pytest.raises(DataError, match=rf"'i': 2 of 4 values are {fault}; the first rows \(from 0\): 1, 3\."):
        read(LOG.with_columns(i=pl.Series(items)))


@pytest.mark.parametrize("dtype", [pl.Null, pl.Int64, pl.Float64, pl.String])
def test_all_null_item(dtype):
    with pytest.raises(DataError, match="'i': all 4 values are null"):
        read(LOG.with_columns(i=pl.lit(None, dtype=dtype)))


def test_whole_floats_become_integers():
    events = read(LOG.with_columns(u=pl.Series([3.0, 1.0, 3.0, -2.0])))
    assert events.collect()["u"].to_list() == [3, 1, 3, -2]
    assert events.notes == ("u: whole-number floats read as integers",)
    assert events.interactions().users.ids.dtype == pl.Int64


@pytest.mark.parametrize("bad", [1.5, 2.0**53, 2.0**60, float("inf")])
def test_other_floats_are_an_error(bad):
    with pytest.raises(DataError, match=r"'u' holds float ids, and 1 of 4 .* rows \(from 0\): 2\."):
        read(LOG.with_columns(u=pl.Series([3.0, 1.0, bad, -2.0])))


@pytest.mark.parametrize(("dtype", "bits"), [(pl.Float32, 24), (pl.Float64, 53)])
def test_floats_that_may_stand_for_two_ids_are_an_error(dtype, bits):
    """16777217 is 16777216 in 32 bits: what lies below the limit is exact, the limit itself may be another id."""
    events = read(LOG.with_columns(u=pl.Series([3.0, 1.0, 2.0**bits - 1, -2.0], dtype=dtype)))
    assert events.collect()["u"].max() == 2**bits - 1
    with pytest.raises(DataError, match=rf"'u' holds float ids, and 1 of 4 are no whole numbers below 2\^{bits};"):
        read(LOG.with_columns(u=pl.Series([3.0, 1.0, 2.0**bits + 1, -2.0], dtype=dtype)))


@pytest.mark.parametrize("column", ["u", "i"])
def test_times_are_no_ids(column):
    with pytest.raises(ParameterError, match=f"time='{column}': the column has ids already"):
        read_events(LOG, user="u", item="i", time=column)


@pytest.mark.parametrize("dtype", [pl.Date, pl.Boolean, pl.List(pl.Int64), pl.Duration])
def test_ids_of_other_types(dtype):
    with pytest.raises(DataError, match=r"'u' has type .*Cast the column"):
        read(LOG.with_columns(u=pl.lit(None, dtype=dtype)))


def test_uuid_ids():
    ids = [uuid.UUID(int=n) for n in (5, 1, 5, 9)]
    table = pa.table({"u": pa.array([i.bytes for i in ids], pa.uuid()), "i": [1, 2, 1, 1]})
    x = read(table).interactions()
    assert x.users.rows(ids).tolist() == [1, 0, 1, 2]
    assert read(pd.DataFrame({"u": [str(i) for i in ids], "i": [1, 2, 1, 1]})).interactions().users.rows(ids[:1]) == [1]


# ---------------------------------------------------------------- anonymous users

ANONYMOUS = pl.DataFrame({"u": [1, None, 2, None], "i": [7, 7, 8, 8], "s": ["a", "b", "c", "b"]})


def test_anonymous_users_are_an_error_by_default():
    with pytest.raises(DataError, match=r"'u': 2 of 4 .*rows \(from 0\): 1, 3\. .*'drop'.*'session'"):
        read(ANONYMOUS)


def test_anonymous_users_dropped():
    with pytest.warns(CofactorWarning, match="u: dropped 2 of 4 events without a user"):
        events = read(ANONYMOUS, anonymous="drop")
    assert events.n_events == events.collect().height == 2
    assert "dropped 2 of 4" in repr(events)
    with pytest.raises(DataError, match="no user would be left"):
        read(ANONYMOUS.with_columns(u=None), anonymous="drop")


@pytest.mark.parametrize("table", [pl.DataFrame, pd.DataFrame])
def test_empty_text_is_no_user(table):
    frame = table({"u": ["x", "", "y", ""], "i": [1, 2, 3, 4], "s": ["a", "b", "", ""]})
    with pytest.warns(CofactorWarning, match="u: dropped 2 of 4 events"):
        events = read(frame, anonymous="drop", session="s")
    assert events.collect()["u"].to_list() == ["x", "y"]
    assert events.collect()["s"].to_list() == ["a", None]
    assert events.notes[:2] == ("u: 2 empty ids count as missing", "s: 2 empty ids count as missing")
    events = read(frame.head(3), anonymous="session", session="s")
    assert events.collect()["u"].to_list() == ["u_x", "s_b", "u_y"]
    with pytest.raises(DataError, match="1 of 4 events have neither"):
        read(frame, anonymous="session", session="s")


@pytest.mark.parametrize("nulls", ["-", ["NA", "-"], {"u": "-"}])
def test_texts_that_stand_for_a_missing_user(nulls):
    frame = pl.DataFrame({"u": ["x", "-", "y"], "i": ["-a", "b", "c"]})
    with pytest.warns(CofactorWarning, match="dropped 1 of 3"):
        assert read(frame, null_values=nulls, anonymous="drop").pairs().rows() == [("x", "-a"), ("y", "c")]


@pytest.mark.parametrize("nulls", [5, [5], {"u": 5}, {1: "x"}])
def test_null_values_are_texts(nulls):
    with pytest.raises(ParameterError, match=r"null_values=.*\{column: text\}"):
        read(ANONYMOUS, null_values=nulls)


@pytest.mark.parametrize("dtype", [pl.Int32, pl.Float64, pl.String, pl.Categorical])
def test_anonymous_users_take_the_session(dtype):
    frame = ANONYMOUS.with_columns(pl.col("u").cast(pl.String).cast(dtype))
    events = read(frame, session="s", anonymous="session")
    assert events.collect()["u"].to_list() == ["u_1", "s_b", "u_2", "s_b"]
    assert "2 of 4 events have no user" in events.notes[-1]
    assert events.interactions().users.ids.to_list() == ["s_b", "u_1", "u_2"]


def test_anonymous_users_beside_binary_ids():
    frame = ANONYMOUS.with_columns(u=pl.Series([b"\x01", None, b"\xff", b""]))
    events = read(frame, session="s", anonymous="session")
    assert events.collect()["u"].to_list() == ["u_01", "s_b", "u_ff", "s_b"]


def test_known_users_get_their_prefix_even_if_all_are_known():
    events = read(ANONYMOUS.drop_nulls(), session="s", anonymous="session")
    assert events.collect()["u"].to_list() == ["u_1", "u_2"]


def test_neither_user_nor_session():
    frame = ANONYMOUS.with_columns(s=pl.Series(["a", None, None, "b"]))
    with pytest.raises(DataError, match=r"1 of 4 events have neither a user \('u'\) nor a session .*: 1\."):
        read(frame, session="s", anonymous="session")
    with pytest.raises(ParameterError, match="needs session="):
        read(ANONYMOUS, anonymous="session")
    with pytest.raises(ParameterError, match=r"anonymous must be one of 'error', 'drop', 'session', got 'keep'"):
        read(ANONYMOUS, anonymous="keep")


def test_sessions_as_users():
    events = read(ANONYMOUS, user=None, session="s")
    assert (events.user, events.session) == ("s", "s")
    assert events.interactions().users.ids.to_list() == ["a", "b", "c"]


# ---------------------------------------------------------------- Events


def test_filter_and_with_frame_keep_the_roles():
    events = read(LOG, time="t", rating="n")
    part = events.filter(pl.col("n") > 1, pl.col("u") == 3)
    assert part.collect()["n"].to_list() == [3.0]
    assert (part.n_events, part.time, part.rating) == (1, "t", "n")
    assert events.with_frame(LOG.head(1)).n_events == 1
    with pytest.raises(DataError, match="rating='n'"):
        events.with_frame(LOG.drop("n"))


def test_pairs_are_distinct_and_sorted():
    assert read(LOG).pairs().rows() == [(1, "a"), (2, "a"), (3, "b")]
    assert read(LOG).pairs().columns == ["user_id", "item_id"]


def test_repr():
    events = read(LOG, time="t", rating="n")
    assert repr(events).splitlines() == [
        "Events: 4, 2024-01-01 00:00:00 to 2024-01-04 00:00:00 UTC",
        "  user: u (Int64)",
        "  item: i (String)",
        "  time: t (Datetime(time_unit='us', time_zone=None))",
        "  rating: n (Float64)",
    ]
    assert repr(events.filter(pl.col("n") > 1)).startswith("Events\n")  # not counted for showing


def test_weights_of_all_kinds():
    events = read(LOG)
    for weight, expected in [
        (None, [1, 1, 2]),
        (2, [2, 2, 2]),
        ("n", [2, 4, 4]),
        (pl.col("n"), [2, 4, 4]),
        (pl.col("n") > 0, [1, 1, 2]),
        (pl.col("n").max(), [2, 4, 3]),
        (1 + pl.len() + 10 * pl.col("n").sum(), [22, 42, 43]),
    ]:
        assert events.interactions(weight).user_items.values.tolist() == expected


def test_weights_that_are_none():
    events = read(LOG)
    with pytest.raises(ParameterError, match='unable to find column "q"'):
        events.interactions(pl.col("q").sum())
    with pytest.raises(ParameterError, match="values of type String"):
        events.interactions(pl.col("i").first())
    with pytest.raises(DataError, match=r"3 of 3 .*3 infinite"):
        events.interactions(pl.col("n").sum() / 0)
    with pytest.raises(DataError, match="null or NaN"):
        events.interactions(pl.lit(None, dtype=pl.Float64))
    with pytest.raises(DataError, match="could not be processed"):
        events.interactions(-pl.len())


def test_nothing_left():
    with pytest.raises(DataError, match="no events"):
        read(LOG).filter(pl.col("u") > 9).interactions()
    with pytest.raises(DataError, match="nothing is left"):
        read(LOG).interactions(min_user_count=3)


def test_minimum_counts_are_reported_once():
    with pytest.warns(CofactorWarning) as reports:
        x = read(LOG).interactions(min_item_count=2)
    assert [str(r.message) for r in reports] == [
        "at least 0 items a user and 2 users an item: left out 1 of 3 users, 1 of 2 items and 1 of 3 interactions"
    ]
    assert reports[0].filename == __file__
    assert x.items.ids.to_list() == ["a"]


def test_dropped_events_leave_no_trace_in_the_newest_time():
    frame = LOG.with_columns(u=pl.Series([3, 1, 3, None]))
    with pytest.warns(CofactorWarning):
        events = read(frame, time="t", anonymous="drop")
    x = events.interactions(half_life("1d"))
    assert x.to_frame().rows() == [(1, "a", 0.5), (3, "b", 1.25)]


def test_rows_that_go_over_several_lines_are_told(tmp_path):
    """Two texts that begin and end with a quote by chance swallow the lines between them; a reader cannot know."""
    lines = [f"{n},{n},x" for n in range(20)]
    lines[5], lines[15] = '5,5,"wide', '15,15,TV 24"'
    (tmp_path / "log.csv").write_text("\n".join(["u,i,title", *lines, ""]))
    events = read_events(tmp_path / "log.csv", user="u", item="i")
    assert events.n_events == 10
    assert "20 lines make 10 rows: fields in quotes go over several lines" in events.notes
    (tmp_path / "log.csv").write_text('u,i,title\n1,1,"a"\n2,2,"b"\n')
    assert read_events(tmp_path / "log.csv", user="u", item="i").notes == ()
