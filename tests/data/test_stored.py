"""A server's store as a log to train on: alone, or after the log that it goes on from."""

import sqlite3
from datetime import datetime

import polars as pl
import pytest

import cofactor as cf
from cofactor.serve.events import check_event
from cofactor.serve.store import open_store

ROLES = {"user": "user_id", "item": "item_id", "time": "time"}


def store(url, rows):
    with open_store(url) as opened:
        opened.append([check_event(user, item, time, event_type="cart", weight=2.0) for user, item, time in rows])
    return url


@pytest.fixture
def url(tmp_path):
    return store(tmp_path / "events.db", [(1, 7, "2026-01-02"), (2, 8, "2026-01-03T12:00:00.000001"), (1, 8, None)])


def test_a_store_is_a_log(url):
    events = cf.read_events(url, **ROLES, event_type="event_type")
    table = events.collect()
    assert table["user_id"].to_list() == [1, 2, 1]
    assert table["user_id"].dtype == table["item_id"].dtype == pl.Int64
    assert table["time"][1] == datetime(2026, 1, 3, 12, 0, 0, 1)
    assert events.interactions(pl.col("weight").sum()).nnz == 3
    assert events.source.stored == 3
    assert cf.read_events(f"sqlite:///{url}", **ROLES).n_events == 3


def test_ids_of_text_stay_text(tmp_path):
    url = store(tmp_path / "events.sqlite", [("12", "007", None), ("13", "7", None)])
    assert cf.read_events(str(url), **ROLES).collect()["item_id"].to_list() == ["007", "7"]


def test_ids_of_both_types_are_told(tmp_path):
    url = store(tmp_path / "events.db", [(12, 7, None), ("x", 7, None)])
    with pytest.raises(cf.DataError, match="user_id holds numbers and texts such as 'x'"):
        cf.read_events(url, **ROLES)


@pytest.mark.parametrize("chunk", [1, 2])
def test_stores_are_read_some_events_at_a_time(url, monkeypatch, chunk):
    monkeypatch.setattr("cofactor.data.stored._CHUNK", chunk)
    assert cf.read_events(url, **ROLES).collect()["item_id"].to_list() == [7, 8, 8]
    with open_store(url) as opened:
        opened.append([check_event("text", 1)])
    with pytest.raises(cf.DataError, match="numbers and texts"):
        cf.read_events(url, **ROLES)


def test_a_store_follows_the_log_it_goes_on_from(tmp_path, url):
    log = tmp_path / "log.csv"
    log.write_text("customer,product,at,kind,price\n1,7,2025-12-01 10:00:00,view,3.5\n3,9,2025-12-02 10:00:00,view,1\n")
    events = cf.read_events([log, url], user="customer", item="product", time="at", event_type="kind")
    table = events.collect()
    assert table["customer"].to_list() == [1, 3, 1, 2, 1]
    assert table["kind"].to_list() == ["view"] * 2 + ["cart"] * 3
    assert table["price"].to_list() == [3.5, 1.0, None, None, None]
    assert table["at"].null_count() == 0
    assert events.n_events == 5
    assert events.source.stored == 3
    assert "3 events of the store follow those of the log" in events.notes
    x = events.interactions()
    assert x.users.ids.to_list() == [1, 2, 3]
    assert x.nnz == 4
    train, test = cf.split.by_time(events, test="2d")
    assert train.n_events + test.n_events == 5


def test_frames_and_lists_without_a_store_are_read_as_before(tmp_path):
    frame = pl.DataFrame({"user_id": [1], "item_id": [2]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_parquet(tmp_path / "b.parquet")
    assert cf.read_events(frame, user="user_id", item="item_id").n_events == 1
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    assert cf.read_events(files, user="user_id", item="item_id").n_events == 2


def test_what_cannot_be_put_together(tmp_path, url):
    log = tmp_path / "log.csv"
    log.write_text("user,item,session\nann,7,1\n")
    with pytest.raises(cf.DataError, match=r"'user' holds ids of type String, those in .* are Int64"):
        cf.read_events([log, url], user="user", item="item")
    with pytest.raises(cf.ParameterError, match="have no sessions"):
        cf.read_events([log, url], user="user", item="item", session="session")
    with pytest.raises(cf.ParameterError, match="one store can be read at a time"):
        cf.read_events([url, str(url)], user="user", item="item")
    with pytest.raises(cf.DataError, match="no such column"):
        cf.read_events(url, user="customer", item="item_id")


def test_files_that_are_no_stores(tmp_path):
    with pytest.raises(cf.DataError, match=r"no\.db: no such file"):
        cf.read_events(tmp_path / "no.db", **ROLES)
    (tmp_path / "text.db").write_text("hello" * 100)
    with pytest.raises(cf.DataError, match="cannot be read as a store"):
        cf.read_events(tmp_path / "text.db", **ROLES)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(cf.DataError, match="cannot be read as a store"):
        cf.read_events(tmp_path / "other.db", **ROLES)
    with open_store(tmp_path / "empty.db"):
        pass
    with pytest.raises(cf.DataError, match="holds no events"):
        cf.read_events(tmp_path / "empty.db", **ROLES)


def test_a_store_in_postgresql(postgres):
    url = store(postgres(), [("ann", 7, "2026-01-02"), ("bo", 8, None)])
    table = cf.read_events(url, **ROLES).collect()
    assert table["user_id"].to_list() == ["ann", "bo"]
    assert table["item_id"].to_list() == [7, 8]


def test_a_postgresql_that_cannot_be_reached():
    pytest.importorskip("psycopg")
    with pytest.raises(cf.DataError, match="the store cannot be read") as caught:
        cf.read_events("postgresql://me:secret@127.0.0.1:1/none", **ROLES)
    assert "secret" not in str(caught.value)
