"""Sources: files of every format, several of them, streams, tables, and files that change."""

import gzip
import os
import pickle
from datetime import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from cofactor.data import split
from cofactor.data.events import read_events
from cofactor.errors import DataError, ParameterError

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


# ---------------------------------------------------------------- formats

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


def test_a_file_that_is_named_twice_does_not_count_twice(tmp_path, monkeypatch):
    LOG.write_csv(tmp_path / "a.csv")
    (tmp_path / "sub").mkdir()
    LOG.head(1).write_csv(tmp_path / "sub" / "b.csv")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.csv"
    for source in (["a.csv", "a.csv"], ["*.csv", path], ["a.csv", "sub/../a.csv"], [tmp_path, path], [tmp_path] * 2):
        with pytest.raises(DataError, match=r"a\.csv: the file is named twice(, also as .*a\.csv)?, .*; name it once"):
            read(source)
    (tmp_path / "link.csv").symlink_to(path)
    with pytest.raises(DataError, match=r"link\.csv: the file is named twice, also as a\.csv"):
        read(["a.csv", "link.csv"])
    with pytest.raises(DataError, match=r"s3://b/a\.csv: the file is named twice"):
        read(["s3://b/a.csv", "s3://b/a.csv"])
    assert read(["a.csv", "sub"]).n_events == LOG.height + 1


def test_hive_folder(tmp_path):
    for day in (1, 2):
        (tmp_path / f"day={day}").mkdir()
        LOG.slice(2 * day - 2, 2).write_parquet(tmp_path / f"day={day}" / "0.parquet")
    assert read(tmp_path).collect()["day"].to_list() == [1, 1, 2, 2]


@pytest.mark.parametrize("name", ["log.parquet", "log.csv", "log.tsv", "log.jsonl", "log.arrow"])
def test_addresses_are_left_to_polars(tmp_path, name):
    WRITERS[name](tmp_path / name)
    assert read(f"file://{tmp_path / name}", time="t").collect().equals(LOG)


def test_brackets_in_a_name_are_no_pattern(tmp_path):
    LOG.write_parquet(tmp_path / "log[1].parquet")
    assert read(tmp_path / "log[1].parquet").n_events == 4


def test_format_overrides_the_name(tmp_path):
    LOG.write_csv(tmp_path / "log.txt")
    assert read(tmp_path / "log.txt", format="csv", time="t").collect().equals(LOG)
    with pytest.raises(ParameterError, match=r"log\.txt: the format cannot be told.*format="):
        read(tmp_path / "log.txt")
    with pytest.raises(ParameterError, match=r"format must be one of .*, got 'xlsx'"):
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
    path.write_text('{"u":1,"i":2}\n\n{"u":1,"i":2}\n' + "[1, 2]\n")
    with pytest.raises(DataError, match=r"log\.jsonl: line 4 is not a JSON object"):
        read(path)
    line = '{"u":1,"i":2,"t":1700000000}\n'
    for bad in ('"x"', "true", "1.5"):
        path.write_text(line * 12_000 + line.replace("1700000000", bad))
        with pytest.raises(DataError, match=r"log\.jsonl: line 12001: 't' is .*, but Int64 .*schema_overrides"):
            read(path, time="t")


def test_truncated_gzip(tmp_path):
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(LOG.write_ndjson().encode() * 1000)[:-100])
    with pytest.raises(DataError, match=r"log\.jsonl\.gz: not readable as jsonl"):
        read(path)


def test_bad_csv_row(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("u,i,t\n" + "1,2,1700000000\n" * 20_000 + "1,2,x\n")
    with pytest.raises(DataError, match=r"log\.csv: row 20000 .* 't' is 'x', but Int64 .*null_values=.*overrides"):
        read(path, time="t")
    with pytest.raises(DataError, match=r"'t': 1 of 20,001 values are null; .*: 20000\."):
        read(path, time="t", null_values="x")
    path.write_text("u,i\n" + "1,2\n" * 20 + "1,2,3\n")
    with pytest.raises(DataError, match=r"log\.csv: row 20 .* has 3 fields, but the header 2"):
        read(path)
    path.write_text("u,i\n" + "1,2\n" * 20 + "1\n")
    with pytest.raises(DataError, match=r"'i': 1 of 21 values are null.*rows \(from 0\): 20\."):
        read(path)


def test_a_file_that_cannot_be_read_any_more_is_named_by_its_facts(tmp_path):
    LOG.write_csv(tmp_path / "log.csv")
    part = read(tmp_path / "log.csv").filter(pl.col("n").cast(pl.String).str.to_integer() > 0)
    with pytest.raises(DataError, match="the events could not be processed"):
        part.n_events  # noqa: B018


def test_files_without_events(tmp_path):
    (tmp_path / "a.csv").touch()
    with pytest.raises(DataError, match=r"a\.csv: not readable as csv \(empty CSV\)"):
        read(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("u,i\n")
    with pytest.raises(DataError, match="log is empty"):
        read(tmp_path / "b.csv")
    with pytest.raises(DataError, match="log is empty"):
        read(LOG.clear())


def test_damaged_arrow_is_named(tmp_path):
    path = tmp_path / "log.arrow"
    pl.DataFrame({"u": list(range(1000)), "i": ["item"] * 1000}).write_ipc(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        content = bytearray(whole)
        for at in rng.integers(0, len(whole), 20):
            content[at] = rng.integers(0, 256)
        path.write_bytes(content[: rng.integers(len(whole) // 2, len(whole) + 1)])
        try:
            read(path).collect()
        except DataError:  # and no other, a panic least of all
            found += 1
    assert found > 20


def test_a_panic_of_the_reader_is_an_error_with_the_file(tmp_path, monkeypatch):
    LOG.write_parquet(tmp_path / "log.parquet")
    events = read(tmp_path / "log.parquet")

    def panic(*_, **__):
        raise pl.exceptions.PanicException("range end index out of range")

    monkeypatch.setattr(pl.LazyFrame, "collect", panic)
    for use in (events.interactions, events.collect, events.pairs, lambda: read(tmp_path / "log.parquet")):
        with pytest.raises(DataError, match=r"log\.parquet: not readable as parquet \(range end"):
            use()


# ---------------------------------------------------------------- tables of pandas


def test_columns_without_a_role_that_cannot_be_converted_are_left_out():
    events = read(pd.DataFrame({"u": [1, 2], "i": ["a", "b"], "m": [1, "x"], "n": [0.5, 1.5]}))
    assert events.collect().rows() == [(1, "a", 0.5), (2, "b", 1.5)]
    assert events.notes == ("m: left out, as it holds values that make no column (int, str)",)


def test_mixed_ids_are_an_error_with_the_column():
    with pytest.raises(DataError, match=r"column 'i' holds values of several types \(int, str\); .*astype\(str\)"):
        read(pd.DataFrame({"u": [1, 2], "i": ["a", 1]}))


def test_tables_that_cannot_be_converted():
    twice = pd.DataFrame([[1, 2], [1, "x"]], columns=["u", "u"])
    with pytest.raises(DataError, match="the table of type DataFrame could not be converted"):
        read(twice)
    with pytest.raises(ParameterError, match="source is Series"):
        read(pd.Series([1]))


@pytest.mark.parametrize("option", [{"separator": ";"}, {"encoding": "latin-1"}])
def test_options_of_text_files_are_for_text_files(tmp_path, option):
    LOG.write_parquet(tmp_path / "log.parquet")
    for source in (LOG, tmp_path / "log.parquet"):
        with pytest.raises(ParameterError, match=r"= is for text files, but the source is (DataFrame|parquet)"):
            read(source, **option)


# ---------------------------------------------------------------- files that change

USES = {
    "interactions": lambda events: events.interactions(),
    "sessions": lambda events: events.sessions(),
    "pairs": lambda events: events.pairs(),
    "collect": lambda events: events.collect(),
    "filter": lambda events: events.filter(pl.col("u") > 1),
    "frame": lambda events: events.frame,
    "by_time": lambda events: split.by_time(events, "1d"),
    "leave_last": split.leave_last,
    "random": lambda events: split.random(events, 0.5),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", ["log.parquet", "log.csv", "log.csv.gz", "log.jsonl", "log.arrow"])
def test_a_file_that_changes_is_an_error_at_the_next_pass(tmp_path, name, use):
    WRITERS[name](tmp_path / name)
    events = read(tmp_path / name, time="t")
    kept = events.filter(pl.col("n") > 1)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content + b"5,e,2024-01-05,5\n")
    for part in (events, kept):
        with pytest.raises(DataError, match=rf"{name}: the file has changed .*bytes then, .* now\); read"):
            USES[use](part)
    (tmp_path / name).write_bytes(content)
    os.utime(tmp_path / name, ns=(1, 1))
    with pytest.raises(DataError, match=rf"{name}: the file has changed .*written again"):
        USES[use](events)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: .* is gone"):
        USES[use](events)
    assert repr(events).startswith("Events: 4")  # showing needs no pass


def test_a_log_is_pickled_with_its_file(tmp_path):
    LOG.write_csv(tmp_path / "log.csv")
    events = pickle.loads(pickle.dumps(read(tmp_path / "log.csv")))  # noqa: S301
    assert events.n_events == 4
    (tmp_path / "log.csv").unlink()
    with pytest.raises(DataError, match="is gone"):
        events.pairs()
