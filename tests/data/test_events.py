import gzip
import logging
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def with_times(values, **options):
    frame = pl.DataFrame({"u": range(len(values)), "i": 1, "t": values})
    return read(frame, time="t", **options)


# ---------------------------------------------------------------- sources

WRITERS = {
    "log.parquet": LOG.write_parquet,
    "log.csv": LOG.write_csv,
    "log.tsv": lambda path: LOG.write_csv(path, separator="\t"),
    "log.csv.gz": lambda path: path.write_bytes(gzip.compress(LOG.write_csv().encode())),
    "log.jsonl": LOG.write_ndjson,
    "log.ndjson.gz": lambda path: path.write_bytes(gzip.compress(LOG.write_ndjson().encode())),
    "log.arrow": LOG.write_ipc,
    "log.feather": lambda path: LOG.to_pandas().to_feather(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_file_formats(tmp_path, name):
    WRITERS[name](tmp_path / name)
    events = read(tmp_path / name, time="t")
    assert events.collect().equals(LOG)
    assert events.n_events == 4


@pytest.mark.parametrize(
    "table",
    [LOG, LOG.lazy(), LOG.to_pandas(), LOG.to_arrow(), LOG.to_arrow().to_reader()],
    ids=lambda t: f"{type(t).__module__}.{type(t).__name__}",
)
def test_tables(table):
    assert read(table, time="t").collect().equals(LOG)


def test_several_files(tmp_path):
    LOG.head(2).write_parquet(tmp_path / "part-0.parquet")
    LOG.tail(2).write_parquet(tmp_path / "part-1.parquet")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "_meta").mkdir()
    LOG.write_parquet(tmp_path / "_meta" / "copy.parquet")
    everything = [tmp_path / "part-0.parquet", str(tmp_path / "part-1.parquet")]
    for source in (everything, tmp_path, str(tmp_path / "part-*.parquet")):
        assert read(source, time="t").collect().equals(LOG)


def test_hive_folder(tmp_path):
    for day in (1, 2):
        (tmp_path / f"day={day}").mkdir()
        LOG.slice(2 * day - 2, 2).write_parquet(tmp_path / f"day={day}" / "0.parquet")
    assert read(tmp_path).collect()["day"].to_list() == [1, 1, 2, 2]


def test_brackets_in_a_name_are_no_pattern(tmp_path):
    LOG.write_parquet(tmp_path / "log[1].parquet")
    assert read(tmp_path / "log[1].parquet").n_events == 4


def test_format_overrides_the_name(tmp_path):
    LOG.write_csv(tmp_path / "log.txt")
    assert read(tmp_path / "log.txt", format="csv", time="t").collect().equals(LOG)
    with pytest.raises(ParameterError, match=r"log\.txt: the format cannot be told.*format="):
        read(tmp_path / "log.txt")
    with pytest.raises(ParameterError, match="format='xlsx'"):
        read(tmp_path / "log.txt", format="xlsx")


def test_reading_is_lazy(tmp_path):
    LOG.write_parquet(tmp_path / "log.parquet")
    events = read(tmp_path / "log.parquet", time="t")
    assert isinstance(events.frame, pl.LazyFrame)
    assert "Parquet SCAN" in events.frame.explain()
    assert "PROJECT 2/4" in events.frame.select("u", "i").explain()  # only what is needed is read


def test_sources_of_no_known_kind():
    for source in (5, None, [], [1, 2]):
        with pytest.raises(ParameterError, match="source is"):
            read(source)


# ---------------------------------------------------------------- files that cannot be read


def test_missing_files(tmp_path):
    with pytest.raises(DataError, match=r"none\.parquet: no such file"):
        read(tmp_path / "none.parquet")
    with pytest.raises(DataError, match=r"\*\.parquet: no file matches"):
        read(str(tmp_path / "*.parquet"))
    with pytest.raises(DataError, match="no file with a known ending"):
        read(tmp_path)


def test_mixed_formats(tmp_path):
    LOG.write_csv(tmp_path / "a.csv")
    LOG.write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ParameterError, match="2 files are of several formats"):
        read(tmp_path)


def test_truncated_parquet_is_named_among_good_files(tmp_path):
    LOG.write_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"b\.parquet: not readable as parquet"):
        read(tmp_path)


def test_corrupt_pages_of_a_weight_column_are_found_when_it_is_read(tmp_path):
    path = tmp_path / "log.parquet"
    n = 20_000
    noise = np.random.default_rng(0).random(n)
    frame = pl.DataFrame({"u": np.arange(n) % 7, "i": np.arange(n) % 11, "n": noise})
    frame.write_parquet(path, compression="zstd", statistics=False)
    content = bytearray(path.read_bytes())
    content[-60_000:-30_000] = bytes(30_000)
    path.write_bytes(content)
    events = read(path)
    with pytest.raises(DataError, match=r"log\.parquet: not readable as parquet"):
        events.interactions(pl.col("n").sum())


@pytest.mark.parametrize("name", ["log.parquet", "log.csv", "log.jsonl", "log.arrow"])
def test_names_that_look_like_globs(tmp_path, name):
    path = tmp_path / f"[1]{name}"
    WRITERS[name](path)
    assert read(path).n_events == len(LOG)


def test_bad_json_line(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"u":1,"i":2}\n' * 30 + '{"u":1,"i\n{"u":1,"i":2}\n')
    with pytest.raises(DataError, match=r"log\.jsonl: line 31 is not JSON"):
        read(path)
    path.write_text('{"u":1,"i":2}\n' * 12_000 + '{"u":"x","i":2}\n')
    with pytest.raises(DataError, match=r"log\.jsonl: line 12001: 'u' is 'x', but Int64"):
        read(path)


def test_truncated_gzip(tmp_path):
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(LOG.write_ndjson().encode() * 1000)[:-100])
    with pytest.raises(DataError, match=r"log\.jsonl\.gz: not readable as jsonl"):
        read(path)


def test_bad_csv_row(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("u,i\n" + "1,2\n" * 20_000 + "x,2\n")
    with pytest.raises(DataError, match=r"log\.csv: row 20000 .* 'u' is 'x', but Int64 .*schema_overrides"):
        read(path)
    path.write_text("u,i\n" + "1,2\n" * 20 + "1,2,3\n")
    with pytest.raises(DataError, match=r"log\.csv: row 20 .* has 3 fields, but the header 2"):
        read(path)
    path.write_text("u,i\n" + "1,2\n" * 20 + "1\n")
    with pytest.raises(DataError, match=r"'i': 1 of 21 values are null.*rows \(from 0\): 20\."):
        read(path)


def test_files_without_events(tmp_path):
    (tmp_path / "a.csv").touch()
    with pytest.raises(DataError, match=r"a\.csv: not readable as csv \(empty CSV\)"):
        read(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("u,i\n")
    with pytest.raises(DataError, match="log is empty"):
        read(tmp_path / "b.csv")
    with pytest.raises(DataError, match="log is empty"):
        read(LOG.clear())


# ---------------------------------------------------------------- columns and ids


def test_missing_column_lists_the_others_and_a_close_one():
    with pytest.raises(DataError, match=r"item='item': .* \['u', 'i', 't', 'n'\]\.$"):
        read(LOG, item="item")
    with pytest.raises(DataError, match=r"event_type='typ': .*Did you mean 'type'\?"):
        read(LOG.rename({"n": "type"}), event_type="typ")


def test_user_or_session_is_needed():
    with pytest.raises(ParameterError, match="session= is not given"):
        read(LOG, user=None)
    with pytest.raises(ParameterError, match="same column"):
        read(LOG, user="i")


@pytest.mark.parametrize("items", [["a", None, "b", None], [1.0, float("nan"), 2.0, None]])
def test_null_and_nan_items_are_alike(items):
    with pytest.raises(DataError, match=r"'i': 2 of 4 values are null or NaN; the first rows \(from 0\): 1, 3\."):
        read(LOG.with_columns(i=pl.Series(items)))


@pytest.mark.parametrize("dtype", [pl.Null, pl.Int64, pl.Float64, pl.String])
def test_all_null_item(dtype):
    with pytest.raises(DataError, match="'i': all 4 values are null or NaN"):
        read(LOG.with_columns(i=pl.lit(None, dtype=dtype)))


def test_whole_floats_become_integers():
    events = read(LOG.with_columns(u=pl.Series([3.0, 1.0, 3.0, -2.0])))
    assert events.collect()["u"].to_list() == [3, 1, 3, -2]
    assert events.notes == ("u: whole-number floats read as integers",)
    assert events.interactions().users.ids.dtype == pl.Int64


@pytest.mark.parametrize("bad", [1.5, 2.0**60, float("inf")])
def test_other_floats_are_an_error(bad):
    with pytest.raises(DataError, match=r"'u' holds float ids, and 1 of 4 .* rows \(from 0\): 2\."):
        read(LOG.with_columns(u=pl.Series([3.0, 1.0, bad, -2.0])))


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


@pytest.mark.parametrize("dtype", [pl.Int32, pl.Float64, pl.String, pl.Categorical])
def test_anonymous_users_take_the_session(dtype):
    frame = ANONYMOUS.with_columns(pl.col("u").cast(pl.String).cast(dtype))
    events = read(frame, session="s", anonymous="session")
    assert events.collect()["u"].to_list() == ["u_1", "s_b", "u_2", "s_b"]
    assert "2 of 4 events have no user" in events.notes[-1]
    assert events.interactions().users.ids.to_list() == ["s_b", "u_1", "u_2"]


def test_known_users_get_their_prefix_even_if_all_are_known():
    events = read(ANONYMOUS.drop_nulls(), session="s", anonymous="session")
    assert events.collect()["u"].to_list() == ["u_1", "u_2"]


def test_neither_user_nor_session():
    frame = ANONYMOUS.with_columns(s=pl.Series(["a", None, None, "b"]))
    with pytest.raises(DataError, match=r"1 of 4 events have neither a user \('u'\) nor a session .*: 1\."):
        read(frame, session="s", anonymous="session")
    with pytest.raises(ParameterError, match="needs session="):
        read(ANONYMOUS, anonymous="session")
    with pytest.raises(ParameterError, match="anonymous='keep'"):
        read(ANONYMOUS, anonymous="keep")


def test_sessions_as_users():
    events = read(ANONYMOUS, user=None, session="s")
    assert (events.user, events.session) == ("s", "s")
    assert events.interactions().users.ids.to_list() == ["a", "b", "c"]


# ---------------------------------------------------------------- times


@pytest.mark.parametrize(("unit", "scale"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt64, pl.Float64])
def test_epoch_units_are_inferred_and_told(unit, scale, dtype, caplog):
    caplog.set_level(logging.INFO, logger="cofactor")
    events = with_times(pl.Series([1_600_000_000 * scale, 1_700_000_000 * scale]).cast(dtype))
    assert events.collect()["t"].to_list() == [datetime(2020, 9, 13, 12, 26, 40), datetime(2023, 11, 14, 22, 13, 20)]
    assert f"t: read as {unit} since 1970 (inferred" in events.notes[0]
    assert events.notes[0] in caplog.text


@given(st.datetimes(datetime(1975, 1, 1), datetime(2100, 1, 1)), st.sampled_from(["s", "ms", "us", "ns"]))
@settings(max_examples=50)
def test_epoch_round_trip(moment, unit):
    micros = (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    per_unit = {"s": 10**6, "ms": 10**3, "us": 1}
    value = micros * 1000 if unit == "ns" else micros // per_unit[unit]
    events = with_times([value])
    lost = timedelta(microseconds=per_unit.get(unit, 1))
    assert timedelta(0) <= moment - events.collect()["t"][0] < lost
    assert f"read as {unit}" in events.notes[0]


def test_time_unit_overrides():
    events = with_times([0, 86_400], time_unit="ms")
    assert events.collect()["t"][1] == datetime(1970, 1, 1, 0, 1, 26, 400_000)
    with pytest.raises(DataError, match=r"smallest value 1600000000 looks like s .* 1600000000000 like ms"):
        with_times([1_600_000_000, 1_600_000_000_000])
    with pytest.raises(DataError, match="beyond the year 9999"):
        with_times([1_600_000_000_000], time_unit="s")
    with pytest.raises(ParameterError, match="time_unit='m'"):
        with_times([1], time_unit="m")


@pytest.mark.parametrize(
    "values",
    [
        [date(2024, 5, 31)],
        [datetime(2024, 5, 31, tzinfo=UTC)],
        pl.Series([datetime(2024, 5, 31)], dtype=pl.Datetime("ns")),
        pl.Series([datetime(2024, 5, 31)], dtype=pl.Datetime("ms")),
        pl.Series([datetime(2024, 5, 31, 2)]).dt.replace_time_zone("Europe/Berlin"),
        ["2024-05-31"],
        ["2024-05-31 00:00"],
        ["2024-05-31T00:00:00Z"],
        ["2024-05-31T02:00:00.000+02:00"],
    ],
    ids=str,
)
def test_times_become_utc_microseconds(values):
    times = with_times(values).collect()["t"]
    assert times.dtype == pl.Datetime("us")
    assert times.to_list() == [datetime(2024, 5, 31)]


def test_text_that_is_no_iso_time():
    with pytest.raises(DataError, match=r"'t': 1 of 2 values are null or not ISO 8601 .*rows \(from 0\): 1\."):
        with_times(["2024-05-31", "31/05/2024"])


def test_null_times():
    with pytest.raises(DataError, match="'t': 1 of 2 values are null"):
        with_times([datetime(2024, 1, 1), None])
    for bad in ("nan", "inf", "-inf"):
        with pytest.raises(DataError, match="'t': 1 of 2 values are null, NaN or infinite"):
            with_times([1.6e9, float(bad)])


def test_times_of_another_type():
    with pytest.raises(DataError, match="time='t' has type Decimal"):
        with_times([Decimal(1_600_000_000), Decimal(1_600_000_001)])


def test_times_of_other_types():
    with pytest.raises(DataError, match="'t' has type Duration"):
        with_times([timedelta(1)])


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
