"""Several files as one log: by the names of their columns, and of one type where nothing is lost."""

import gzip
from datetime import date, datetime, timedelta

import polars as pl
import pytest

from cofactor.data.events import read_events
from cofactor.errors import DataError

LOG = pl.DataFrame(
    {
        "u": [3, 1, 3, 2],
        "i": ["b", "a", "b", "a"],
        "t": [datetime(2024, 1, d) for d in (1, 2, 3, 4)],
        "n": [1.0, 2.0, 3.0, 4.0],
    }
)


def read(source, **roles):
    return read_events(source, user="u", item="i", **roles)


def write(folder, name, text):
    content = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def test_files_are_put_together_by_the_names_of_columns(tmp_path):
    write(tmp_path, "a.csv", "u,i\n1,2\n")
    write(tmp_path, "b.csv", "i,c,u\n5,x,6\n")
    events = read(tmp_path)
    assert events.collect().rows() == [(1, 2, None), (6, 5, "x")]
    assert events.notes == (f"c: not in 1 of 2 files, the first {tmp_path / 'a.csv'}; null there",)
    LOG.write_parquet(tmp_path / "a.parquet")
    LOG.select("i", "u").write_parquet(tmp_path / "b.parquet")
    events = read([tmp_path / "b.parquet", tmp_path / "a.parquet"])
    assert events.collect()["u"].to_list() == LOG["u"].to_list() * 2
    assert events.collect()["n"].null_count() == 4
    LOG.write_ipc(tmp_path / "a.arrow")
    LOG.select("n", "i", "u").write_ipc(tmp_path / "b.arrow")
    assert read(str(tmp_path / "*.arrow")).n_events == 8
    write(tmp_path, "a.jsonl", '{"u":1,"i":2}\n')
    write(tmp_path, "b.jsonl", '{"i":3,"u":1.0,"c":2}\n')
    assert read(str(tmp_path / "*.jsonl")).collect().rows() == [(1, 2, None), (1, 3, 2)]


def test_a_file_without_a_column_that_has_a_role_is_named(tmp_path):
    write(tmp_path, "a.csv", "u,i\n1,2\n")
    write(tmp_path, "b.csv", "u,k\n5,6\n")
    with pytest.raises(DataError, match=r"b\.csv: there is no column 'i', which .*a\.csv has"):
        read(tmp_path)


@pytest.mark.parametrize("empty", ["", "\n\n", "u,i\n", "u,i"])
@pytest.mark.parametrize("name", ["a.csv", "z.csv", "a.csv.gz"])
def test_files_without_rows_among_others(tmp_path, empty, name):
    write(tmp_path, name, empty)
    write(tmp_path, "b.csv", "u,i\n1,2\n3,4\n")
    events = read(tmp_path)
    assert events.pairs().rows() == [(1, 2), (3, 4)]
    assert events.notes == (() if empty.strip() else ("1 of 2 files are empty",))


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ([1], [2.0], pl.Int64),
        (pl.Series([1], dtype=pl.Int16), [2], pl.Int64),
        (pl.Series([1], dtype=pl.UInt64), [2], pl.Int64),
        (["a"], pl.Series(["b"], dtype=pl.Categorical), pl.String),
        (pl.Series(["a"], dtype=pl.Enum(["a"])), pl.Series(["b"], dtype=pl.Enum(["b"])), pl.String),
        ([1], ["b"], pl.String),
        (pl.Series([1], dtype=pl.UInt64), pl.Series([2**63], dtype=pl.UInt64), pl.UInt64),
    ],
)
def test_types_are_made_one_where_nothing_is_lost(tmp_path, first, second, wanted):
    pl.DataFrame({"u": [1], "i": first}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"u": [1], "i": second}).write_parquet(tmp_path / "b.parquet")
    events = read(tmp_path)
    assert events.collect()["i"].dtype == wanted
    assert events.interactions().n_items == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1.0], ["b"]),
        ([datetime(2024, 1, 1)], pl.Series([datetime(2024, 1, 1)]).dt.replace_time_zone("UTC")),
        ([[1]], [1]),
        ([datetime(2024, 1, 1)], [5]),
        ([[1]], [["a"]]),
        ([date(2024, 1, 1)], [timedelta(1)]),
    ],
)
def test_types_that_cannot_be_made_one(tmp_path, first, second):
    pl.DataFrame({"u": [1], "i": [1], "x": first}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"u": [1], "i": [1], "x": second}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet: column 'x' has type .*, but .* in .*a\.parquet"):
        read(tmp_path)


def test_times_of_several_units_keep_the_finest(tmp_path):
    for name, unit in (("a", "ms"), ("b", "us")):
        LOG.select("u", "i", pl.col("t").cast(pl.Datetime(unit)) + pl.duration(microseconds=1)).write_parquet(
            tmp_path / f"{name}.parquet"
        )
    assert read(tmp_path, time="t").collect()["t"].dt.microsecond().to_list() == [0] * 4 + [1] * 4


def test_numbers_beyond_what_a_float_holds_are_refused_not_rounded(tmp_path):
    pl.DataFrame({"u": [2**53 + 1], "i": [1]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"u": [1.0], "i": [1]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"no whole numbers below 2\^53; the first rows \(from 0\): 0\."):
        read(tmp_path)


@pytest.mark.parametrize("other", [pl.Float64, pl.Int64, pl.Int8])
@pytest.mark.parametrize("first", [True, False])
def test_short_floats_are_no_ids_beside_other_numbers(tmp_path, other, first):
    """2^24 of 32 bits may have been 2^24 + 1."""
    names = ("a.parquet", "b.parquet") if first else ("b.parquet", "a.parquet")
    for name, dtype in zip(names, (pl.Float32, other), strict=True):
        pl.DataFrame({"u": [1], "i": pl.Series([5], dtype=dtype), "x": pl.Series([1], dtype=dtype)}).write_parquet(
            tmp_path / name
        )
    match = rf"{names[0]}: column 'i' has type Float32, which .* 2\^24 on, but {other} in .*{names[1]}; write it"
    with pytest.raises(DataError, match=match):
        read(tmp_path)
    pl.DataFrame({"u": [1], "i": pl.Series([5], dtype=pl.Float32)}).write_parquet(tmp_path / names[1])
    assert read(tmp_path).pairs().rows() == [(1, 5)]


def test_a_column_of_weights_may_be_of_short_floats(tmp_path):
    for name, dtype in (("a.parquet", pl.Float32), ("b.parquet", pl.Float64)):
        pl.DataFrame({"u": [1], "i": [5], "x": pl.Series([1], dtype=dtype)}).write_parquet(tmp_path / name)
    assert read(tmp_path).collect()["x"].dtype == pl.Float64


def test_numbers_and_text_are_told(tmp_path):
    pl.DataFrame({"u": [1], "i": [7]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"u": [1], "i": ["b"]}).write_parquet(tmp_path / "b.parquet")
    events = read(tmp_path)
    assert events.pairs().rows() == [(1, "7"), (1, "b")]
    (note,) = events.notes
    assert note.startswith("i: String in ")
    assert note.endswith("a.parquet; read as text")


def test_quotes_of_each_file_are_read_its_way(tmp_path):
    write(tmp_path, "a.csv", 'u,i,n\n1,2,TV 24" LED\n1,3,x\n')
    write(tmp_path, "b.csv", 'u,i,n\n1,4,"a, b"\n1,5,y\n')
    assert read(tmp_path).collect()["n"].to_list() == ['TV 24" LED', "x", "a, b", "y"]


def test_a_number_that_only_one_file_can_hold_is_an_error(tmp_path):
    pl.DataFrame({"u": [-1], "i": [1]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"u": pl.Series([2**63], dtype=pl.UInt64), "i": [1]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match="conversion from `u64` to `i64` failed"):
        read(tmp_path)
