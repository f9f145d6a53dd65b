"""Sorting out of core against sorting in memory: the same sequences, in bounded memory, and no files left."""

import os
import resource
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cofactor as cf
from cofactor.data import out_of_core
from cofactor.data.out_of_core import read_out_of_core
from cofactor.data.sequences import read_sequences
from cofactor.data.sessions import Sessions

START = datetime(2024, 5, 1)
ROLES = {"user": "user", "item": "item", "time": "time", "session": "session", "event_type": "type"}
FULL = Path("/dev/full")
FULL_PARTS = 1 << 12  # the fewest events of a part


def log(n, seed=0, *, n_sessions=None):
    """Events in no order: sessions overlap, and many have equal times."""
    rng = np.random.default_rng(seed)
    seconds = rng.integers(0, 40, n).astype("timedelta64[s]")
    return pl.DataFrame(
        {
            "user": rng.integers(0, n // 50 + 1, n),
            "session": rng.integers(-n // 7, n // 7 + 1, n) if n_sessions is None else rng.integers(0, n_sessions, n),
            "item": rng.integers(0, n // 3 + 1, n),
            "time": np.datetime64(START, "us") + seconds,
            "type": rng.choice(["view", "cart", "buy"], n),
        }
    )


def assert_equal(got, wanted):
    for name in ("indptr", "items", "times", "types"):
        a, b = getattr(got, name), getattr(wanted, name)
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)
    assert got.type_names == wanted.type_names
    assert got.session_ids.equals(wanted.session_ids)
    assert got.session_ids.dtype == wanted.session_ids.dtype
    assert got.item_ids == wanted.item_ids


KINDS = {
    "integers": [],
    "text": [pl.col("session", "item", "user").cast(pl.String)],
    "categories": [pl.col("session", "item").cast(pl.String).cast(pl.Categorical)],
    "binary": [pl.col("session", "item").cast(pl.String).cast(pl.Binary)],
    "far apart": [pl.col("session", "item") * 2**40],
    "too far apart for a difference": [pl.col("session").sign() * 2**62 + pl.col("session")],
    "unsigned": [(pl.col("session", "item").cast(pl.Int128) + 2**63).cast(pl.UInt64)],
    "times in microseconds": [pl.col("time") + pl.duration(microseconds=pl.col("item"))],
    "missing types": [pl.when(pl.col("item") % 5 > 0).then("type").alias("type")],
    "types of a category": [pl.col("type").cast(pl.Enum(["none", "view", "cart", "buy"]))],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [200_000, 10**9])
def test_as_in_memory_whatever_the_ids(kind, limit):
    events = cf.read_events(log(3 * FULL_PARTS + 5).with_columns(KINDS[kind]), **ROLES)
    assert_equal(events.sessions(memory_limit=limit), events.sessions())


EVENTS = st.tuples(st.integers(0, 3), st.integers(-2, 4), st.integers(10, 16), st.integers(0, 3), st.sampled_from("ab"))


@given(st.lists(EVENTS, min_size=1, max_size=30), st.integers(200, 4000), st.sampled_from(["session", None]))
def test_as_in_memory_down_to_a_bucket_for_every_event(rows, limit, session):
    frame = pl.DataFrame(rows, schema=["user", "session", "item", "time", "type"], orient="row")
    frame = frame.with_columns(pl.col("time").cast(pl.Duration("us")) + START)
    events = cf.read_events(frame, **ROLES | {"session": session})
    assert_equal(events.sessions(memory_limit=limit), events.sessions())


@pytest.mark.parametrize("without", ["time", "event_type"])
def test_without_times_or_types(without):
    events = cf.read_events(log(2 * FULL_PARTS), **ROLES | {without: None})
    sessions = events.sessions(memory_limit=100_000)
    assert_equal(sessions, events.sessions())
    assert (sessions.times is None) == (without == "time")


@pytest.mark.parametrize("text", [False, True])
def test_only_users_and_items_of_interactions(text):
    frame = log(3 * FULL_PARTS)
    frame = frame.with_columns(pl.col("user", "item").cast(pl.String)) if text else frame
    events = cf.read_events(frame, **ROLES)
    known = cf.read_events(frame.filter(pl.col("item").cast(int) % 3 == 0, pl.col("user").cast(int) % 4 > 0), **ROLES)
    x = known.interactions()
    got = read_out_of_core(events, x.items, x.users, memory_limit=150_000)
    assert_equal(got, read_sequences(events, x.items, x.users))
    assert got.indptr[-1] < frame.height
    nobody = cf.IdMap.from_values(["nobody"] if text else [-1])
    with pytest.raises(cf.DataError, match="there are no events to make sessions of"):
        read_out_of_core(events, x.items, nobody, memory_limit=150_000)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_log_in_order_is_dealt_to_no_buckets(monkeypatch, reverse):
    frame = log(3 * FULL_PARTS, n_sessions=5).sort("session", "time", descending=reverse, maintain_order=True)
    events = cf.read_events(frame, **ROLES)
    dealt = []
    deal = out_of_core._dealt
    monkeypatch.setattr(out_of_core, "_dealt", lambda *args: dealt.append(args) or deal(*args))
    assert_equal(events.sessions(memory_limit=600_000), events.sessions())
    assert bool(dealt) == reverse


def test_events_without_a_session_are_counted():
    frame = log(2 * FULL_PARTS).with_columns(pl.when(pl.col("item") % 7 > 0).then("session").alias("session"))
    events = cf.read_events(frame, **ROLES)
    n = frame["session"].null_count()
    with pytest.warns(cf.CofactorWarning, match=f"session: {n:,} events without a session left out") as caught:
        got = events.sessions(memory_limit=100_000)
    assert caught[0].filename == __file__
    with pytest.warns(cf.CofactorWarning, match="left out"):
        assert_equal(got, events.sessions())
    with pytest.raises(cf.DataError, match="there are no events to make sessions of"):
        events.filter(pl.col("item") < 0).sessions(memory_limit=100_000)


def test_pairs_of_mapped_sessions(tmp_path):
    events = cf.read_events(log(2 * FULL_PARTS), **ROLES)
    rules = {"window": 3, "max_gap": "10s", "type_weights": {"view": 1, "cart": 2, "buy": 3}}
    got, wanted = (sessions.pairs(**rules) for sessions in (events.sessions(memory_limit="200kB"), events.sessions()))
    got.to_parquet(tmp_path / "pairs.parquet")
    assert pl.read_parquet(tmp_path / "pairs.parquet").equals(pl.DataFrame(wanted.columns()))


def test_what_would_not_fit_is_sorted_out_of_core(monkeypatch):
    events = cf.read_events(log(FULL_PARTS), **ROLES)
    limits = []

    def read(*args, memory_limit):
        limits.append(memory_limit)
        return read_out_of_core(*args, memory_limit=memory_limit)

    monkeypatch.setattr("cofactor.data.sessions.read_out_of_core", read)
    wanted = Sessions.of(events.interactions())
    assert not limits
    monkeypatch.setattr("cofactor.data.sessions.available_memory", lambda: 40 * FULL_PARTS)
    assert_equal(Sessions.of(events.interactions()), wanted)
    assert limits == [10 * FULL_PARTS]


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("lots", "memory_limit='lots'; it must be a positive number of bytes, or text such as '4GB'"),
        (0, "memory_limit=0"),
        (True, "memory_limit=True"),
        (199, r"memory_limit=199 bytes; sorting 1,000 events takes 2,200 at least"),
    ],
)
def test_limits_that_are_none(limit, message):
    events = cf.read_events(log(1000), **ROLES)
    with pytest.raises(cf.ParameterError, match=message):
        events.sessions(memory_limit=limit)
    events.sessions(memory_limit=2200)


def test_a_log_that_is_gone(tmp_path):
    path = tmp_path / "log.parquet"
    log(10).write_parquet(path)
    events = cf.read_events(path, **ROLES)
    path.unlink()
    with pytest.raises(cf.DataError, match=r"log\.parquet"):
        events.sessions(memory_limit="1MB")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits on the size of files are those of POSIX")
def test_a_disk_that_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    events = cf.read_events(log(2 * FULL_PARTS), **ROLES)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, limits[1]))
    try:
        with pytest.raises(cf.DataError, match=r"could not be sorted in .*File too large.*TMPDIR"):
            events.sessions(memory_limit="1MB")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
    assert_equal(events.sessions(memory_limit="1MB"), events.sessions())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")
def test_a_disk_that_is_full_once_the_copy_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(out_of_core, "_nameless", lambda: FULL.open("r+b", buffering=0))
    with pytest.raises(cf.DataError, match=r"could not be sorted in .*No space left on device.*TMPDIR"):
        cf.read_events(log(2 * FULL_PARTS), **ROLES).sessions(memory_limit="1MB")
    assert list(tmp_path.iterdir()) == []


IN_LITTLE_MEMORY = """
import resource, sys
import cofactor as cf
events = cf.read_events(sys.argv[1], user=None, session="session", item="item", time="time", event_type="type")
held = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_DATA, (held + 180_000_000,) * 2)
sessions = events.sessions(memory_limit=sys.argv[2] if len(sys.argv) > 2 else None)
print(sessions.n_events, sessions.n_sessions, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on the memory of a process is that of Linux")
def test_where_sorting_in_memory_is_killed_sorting_out_of_core_goes_on(tmp_path):
    """2.5 million events take more than 260 MB, and less than 120 out of core; the system grants 180."""
    n, path = 2_500_000, tmp_path / "log.parquet"
    frame = log(n)
    frame.write_parquet(path)
    environment = os.environ | {"POLARS_MAX_THREADS": "2"}
    run = [sys.executable, "-c", IN_LITTLE_MEMORY, path]
    in_memory, on_disk = (
        subprocess.run([*run, *limit], capture_output=True, text=True, check=False, env=environment)
        for limit in ([], ["8MB"])
    )
    assert in_memory.returncode != 0
    assert "emory" in in_memory.stderr
    assert on_disk.stdout == f"{n} {frame['session'].n_unique()}\n", on_disk.stderr
