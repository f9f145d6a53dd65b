"""What was acknowledged is there: for every process, after every crash, and as it was sent."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import cofactor as cf
from cofactor.serve.database import Sqlite
from cofactor.serve.events import Event, check_event, now
from cofactor.serve.request_error import RequestError
from cofactor.serve.store import open_store
from cofactor.serve.trained import NEVER, Trained

AT = 1_780_000_000_000_000
NEW_YEAR, DAY = 1_767_225_600_000_000, 86_400_000_000


def event(user, item, at=AT, **more):
    return check_event(user, item, None, at=at, **more)


@pytest.fixture
def store(url):
    with open_store(url) as store:
        yield store


def test_events_come_back_as_they_were_sent(store):
    sent = [
        event(12, 7, event_type="cart", weight=2.5, rating=4.0),
        event("12", "7", at=AT + 1),
        event(12, "Robert'); DROP TABLE cofactor_events;--", at=AT + 2, event_type="' OR 1=1 --"),
        event('"; \\', "☃ é\n%s ? $1", at=AT + 3),
        event(2**63 - 1, -(2**63), at=AT + 4),
    ]
    assert store.append(sent) == 5
    store.refresh()
    assert store.history(12) == (sent[0], sent[2])
    assert store.history("12") == (sent[1],)
    assert store.history('"; \\') == (sent[3],)
    assert store.history(2**63 - 1) == (sent[4],)
    assert store.history("nobody") == ()
    assert [type(e.item) for e in store.history(12)] == [int, str]


def test_ids_keep_their_type_in_availability(store):
    assert store.set_available({12: False, "12": False, "13": False, 14: True}) == 3
    assert store.set_available({12: True}) == 2
    store.refresh()
    assert store.stock.out == {"12", "13"}
    assert {type(item) for item in store.stock.out} == {str}


def test_every_process_sees_what_another_wrote_with_the_next_refresh(url):
    with open_store(url) as one, open_store(url) as two:
        first = two.stock.number
        two.refresh()
        assert two.history("ann") == ()
        one.append([event("ann", 1)])
        one.set_available({1: False})
        two.refresh()
        assert [e.item for e in two.history("ann")] == [1]
        assert two.stock.out == {1}
        assert two.stock.number != first
        second = two.stock.number
        one.append([event("ann", 2, at=AT + 1), event("bo", 3)])
        two.refresh()
        assert [e.item for e in two.history("ann")] == [1, 2]
        assert [e.item for e in two.history("bo")] == [3]
        assert two.stock.number == second  # nothing to derive anew


def test_a_store_outlives_its_process(url):
    with open_store(url) as store:
        store.append([event("ann", 1)])
        store.set_available({"x": False})
    with open_store(url) as store:
        assert [e.item for e in store.history("ann")] == [1]
        assert store.stock.out == {"x"}


def test_histories_are_the_newest_events_the_oldest_first(url):
    with open_store(url, longest=3) as store:
        store.append([event("ann", n, at=AT + (n * 7) % 5) for n in range(5)])  # the times are 0 2 4 1 3
        store.refresh()
        assert [e.item for e in store.history("ann")] == [3, 4, 2]


def test_what_a_model_was_trained_on_is_left_out(store):
    store.append([event("ann", n, at=AT + n) for n in range(4)])
    last = store.last()
    store.append([event("ann", 9, at=AT - 10)])  # late, and new to whoever read the store
    store.refresh()
    assert [e.item for e in store.history("ann", Trained(stored=last))] == [9]
    assert [e.item for e in store.history("ann", Trained(newest=AT + 1, saved=now()))] == [2, 3]
    assert len(store.history("ann", Trained(newest=AT + 1, saved=now() - 3_600_000_000))) == 5  # all came later
    assert [e.item for e in store.history("ann", NEVER)] == [9, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"created": "2026-01-01T00:00:00+00:00"}, Trained(newest=NEW_YEAR, saved=NEW_YEAR)),
        ({"created": "x", "log": {"newest": "2026-01-01T00:00:00", "stored": 3}}, Trained(stored=3)),
        ({"created": "2026-01-02T00:00Z", "log": {"newest": "2026-01-01T00:00"}}, Trained(0, NEW_YEAR, NEW_YEAR + DAY)),
        ({"created": "no time", "log": 7}, NEVER),
    ],
)
def test_a_model_tells_what_it_was_trained_on(header, expected):
    assert Trained.of(header) == expected


def test_writers_at_once_lose_nothing(url):
    with open_store(url) as one, open_store(url) as two:

        def write(store, user):
            for n in range(20):
                store.append([event(user, n, at=AT + n)])

        threads = [threading.Thread(target=write, args=(s, f"{i}{j}")) for i, s in enumerate((one, two)) for j in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for store in (one, two):
            store.refresh()
            for user in ("0a", "0c", "1b"):
                assert [e.item for e in store.history(user)] == list(range(20))


def test_a_request_that_was_given_up_is_not_written(store):
    stuck = store.submit([event("ann", n) for n in range(100)])
    futures = [store.submit([event("bo", n)]) for n in range(50)]
    given_up = [f for f in futures if f.cancel()]
    written = [f.result() for f in futures if f not in given_up]
    assert stuck.result() == 100
    store.refresh()
    assert len(store.history("bo")) == sum(written)


def test_a_closed_store_says_so(url):
    store = open_store(url)
    pending = [store.submit([event("ann", n)]) for n in range(10)]
    store.close()
    assert [f.result() for f in pending] == [1] * 10  # what was taken is written
    store.close()
    with pytest.raises(RequestError, match="stopping") as caught:
        store.append([event("ann", 1)])
    assert caught.value.status == 503


def test_many_events_of_others_at_once(url):
    with open_store(url) as one, open_store(url) as two:
        one.append([event("ann", 1)])
        two.refresh()
        assert len(two.history("ann")) == 1
        one.append([event(n, n) for n in range(10_001)] + [event("ann", 2, at=AT + 1)])
        two.refresh()
        assert [e.item for e in two.history("ann")] == [1, 2]


def test_workers_that_open_a_new_store_at_once(url):
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(open_store, [url] * 8))
    assert stores[0].append([event("ann", 1)]) == 1
    for store in stores:
        store.refresh()
        assert len(store.history("ann")) == 1
        store.close()


# What goes wrong.


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.db"


def lock(path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other


def test_a_locked_store_is_told_and_reading_goes_on(path, monkeypatch):
    monkeypatch.setattr("cofactor.serve.database._WAIT", 0.1)
    with open_store(path) as store:
        store.append([event("ann", 1)])
        other = lock(path)
        with pytest.raises(RequestError, match="lock of the store") as caught:
            store.append([event("ann", 2)])
        assert (caught.value.status, caught.value.code) == (503, "store_locked")
        assert caught.value.headers == {"Retry-After": "1"}
        store.refresh()
        assert [e.item for e in store.history("ann")] == [1]
        other.execute("ROLLBACK")
        other.close()
        assert store.append([event("ann", 3, at=AT + 1)]) == 1
        store.refresh()
        assert [e.item for e in store.history("ann")] == [1, 3]


def test_a_lock_in_postgresql_is_told(postgres, monkeypatch):
    import psycopg

    monkeypatch.setattr("cofactor.serve.database._WAIT", 0.2)
    url = postgres()
    with open_store(url) as store, psycopg.connect(url) as other:
        other.execute("UPDATE cofactor_state SET value = value")
        with pytest.raises(RequestError) as caught:
            store.append([event("ann", 1)])
        assert (caught.value.status, caught.value.code) == (503, "store_locked")
        store.refresh()
        other.rollback()
        assert store.append([event("ann", 1)]) == 1


def test_a_full_disk_is_told_and_nothing_is_half_written(path, monkeypatch):
    connect = Sqlite.connect
    pages = [24]

    def small(database):
        connection = connect(database)
        connection.execute(f"PRAGMA max_page_count = {pages[0]}")
        return connection

    monkeypatch.setattr(Sqlite, "connect", small)
    with open_store(path) as store:
        groups = ([event("bo", f"{n}-{i}-" + "x" * 900) for i in range(20)] for n in range(50))
        done = [store.submit(group) for group in groups]
        full = {f.exception().code: f.exception() for f in done if f.exception() is not None}
        written = sum(f.result() for f in done if f.exception() is None)
        assert full.keys() == {"store_full"}
        assert full["store_full"].status == 507
        assert str(path) not in full["store_full"].message
        store.refresh()
        assert len(store.history("bo")) == written
        pages[0] = 1000  # somebody made room
        assert store.append([event("ann", 2)]) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits of file sizes")
def test_a_disk_that_fails_is_told_and_what_was_acknowledged_stays(path):
    """The system refuses to let the files grow: as a quota does, or a disk that is full."""
    code = """
import resource, sys
from cofactor.serve.database import Sqlite
from cofactor.serve.events import check_event
from cofactor.serve.request_error import RequestError
from cofactor.serve.store import open_store
with open_store(sys.argv[1]) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
    n = 0
    try:
        while n < 1000:
            n += store.append([check_event("ann", f"{n + i}" + "x" * 1000) for i in range(5)])
    except RequestError as failure:
        print(n, failure.status, failure.code)
    store.refresh()
    print(len(store.history("ann")))
"""
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    written, status, error, read = done.stdout.split()
    assert error in ("store_full", "store_failed")
    assert status in ("503", "507")
    assert 0 < int(written) == int(read)
    with open_store(path) as store:
        assert len(store.history("ann")) == int(written)


@pytest.mark.parametrize("content", [b"no database at all, but some text" * 40, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_no_store(path, content):
    path.write_bytes(content)
    with pytest.raises(RequestError) as caught:
        open_store(path)
    assert caught.value.code in ("store_damaged", "store_failed")
    assert str(path) not in caught.value.message
    assert path.read_bytes() == content


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(RequestError) as caught:
        open_store(tmp_path / "not" / "there.db")
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:///", "", "a\0b"])
def test_no_address_of_a_store(url):
    with pytest.raises(cf.ParameterError, match="postgresql://"):
        open_store(url)


def test_a_server_that_cannot_be_reached():
    pytest.importorskip("psycopg")
    with pytest.raises(RequestError, match="cannot be reached") as caught:
        open_store("postgresql://nobody:secret@127.0.0.1:1/none")
    assert caught.value.code == "store_unavailable"
    assert "secret" not in caught.value.message


def test_a_server_that_was_restarted(postgres):
    """Nobody notices that it closed all connections."""
    import psycopg

    url = postgres()
    with open_store(url) as store:
        store.append([event("ann", 1)])
        with psycopg.connect(url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        store.refresh()
        assert store.append([event("ann", 2, at=AT + 1)]) == 1
        store.refresh()
        assert [e.item for e in store.history("ann")] == [1, 2]


def test_nobody_waits_twice_for_a_store_that_fails(path, monkeypatch):
    with open_store(path) as store:
        store._reader.close()
        tried = []
        monkeypatch.setattr(store._database, "connect", lambda: tried.append(1) or lock(path / "no"))
        for _ in range(5):
            with pytest.raises(RequestError):
                store.refresh()
        assert len(tried) <= 1
        monkeypatch.undo()
        monkeypatch.setattr("cofactor.serve.store.time.monotonic", lambda now=time.monotonic: now() + 2)
        store.refresh()


def test_an_error_that_nobody_thought_of_leaves_nobody_waiting(path):
    with open_store(path) as store:
        with pytest.raises(RequestError, match="could not be used"):
            store.append([Event(object(), 1, AT)])
        with pytest.raises(RequestError, match="could not be used"):
            store.append([Event(2**64, 1, AT)])
        assert store.append([event("ann", 1)]) == 1


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork and no kill -9 here")
def test_no_acknowledged_event_is_lost_when_the_process_is_killed():
    """A few of the kills of benchmarks/store_kills.py, which makes 100."""
    script = Path(__file__).parents[2] / "benchmarks" / "store_kills.py"
    command = [sys.executable, script, "--kills", "5", "--longest", "0.05"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("5 of 5 kills lost none"), done.stdout + done.stderr
