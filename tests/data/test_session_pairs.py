"""Pairs of a log: what is asked for, what is counted, and files larger than memory."""

import errno
import os
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cofactor as cf
from cofactor.data import session_pairs
from cofactor.data.sessions import Sessions
from cofactor.errors import DataError, ParameterError

START = datetime(2024, 5, 1)


def sessions(rows, **roles):
    """Of (session, item, second, type) in any order."""
    frame = pl.DataFrame(rows, schema=["session", "item", "second", "type"], orient="row")
    frame = frame.with_columns(time=START + pl.duration(seconds=pl.col("second")))
    roles = {"user": None, "session": "session", "item": "item", "time": "time", "event_type": "type"} | roles
    return cf.read_events(frame, **roles).sessions()


LOG = [(1, "a", 0, "clicks"), (1, "b", 5, "clicks"), (1, "c", 60, "carts"), (2, "a", 1, "clicks"), (3, "c", 0, "carts")]


def ids(pairs):
    take = pairs.item_ids.take
    return list(zip(take(pairs.items).to_list(), take(pairs.next_items).to_list(), strict=True))


EVENTS = st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 20), st.just("clicks"))


@given(st.lists(EVENTS, min_size=1, max_size=40))
def test_the_pairs_of_the_grouped_expression(rows):
    """Events may be out of order, not grouped, and there twice."""
    frame = pl.DataFrame(rows, schema=["session", "item", "second", "type"], orient="row")
    frame = frame.sort("second", maintain_order=True)
    wanted = frame.select("item", next=pl.col("item").shift(-1).over("session")).drop_nulls()
    pairs = sessions(rows).pairs()
    assert sorted(ids(pairs)) == sorted(wanted.rows())
    assert len(pairs) == pairs.n_pairs == len(wanted)
    assert pairs.n_lone == (frame.group_by("session").len()["len"] == 1).sum()
    assert pairs.items.dtype == pairs.next_items.dtype == np.int32
    assert pairs.items is pairs.items  # made once


def test_window_gap_direction_types_and_weights():
    s = sessions(LOG)
    assert ids(s.pairs()) == [("a", "b"), ("b", "c")]
    assert ids(s.pairs(2)) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert ids(s.pairs(None, max_gap="55s")) == [("a", "b"), ("b", "c")]
    assert ids(s.pairs(max_gap=timedelta(seconds=5))) == [("a", "b")]
    assert ids(s.pairs(direction="both")) == [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")]
    assert ids(s.pairs(2, last_events=2)) == [("b", "c")]
    clicks = s.pairs(types=["clicks"])
    assert ids(clicks) == [("a", "b")]
    assert (clicks.n_left_out, clicks.n_lone) == (2, 2)
    weighted = s.pairs(2, type_weights={"clicks": 1, "carts": 6}, distance_weights=[1, 0.5])
    assert weighted.weights.tolist() == [1, 3, 6]
    assert s.pairs().weights is None


def test_a_session_in_two_files_out_of_order_with_an_event_twice(tmp_path):
    """Events of equal time stay in the order of the files; the same event again is a pair of an item with itself."""
    log = pl.DataFrame({"s": [7, 3, 7, 3, 7, 7], "i": [10, 20, 12, 21, 11, 11], "t": [5, 1, 9, 2, 6, 6]})
    log = log.with_columns(t=pl.from_epoch(pl.col("t") + 1_600_000_000))
    paths = [str(tmp_path / name) for name in ("a.parquet", "b.parquet")]
    for path, part in zip(paths, (log[3:], log[:3]), strict=True):
        part.write_parquet(path)
    sessions = cf.read_events(paths, user=None, session="s", item="i", time="t").sessions()
    ids = sessions.item_ids.ids
    for repeats, wanted in ((True, [(20, 21), (10, 11), (11, 11), (11, 12)]), (False, [(20, 21), (10, 11), (11, 12)])):
        pairs = sessions.pairs(repeats=repeats)
        found = zip(ids.gather(pairs.items), ids.gather(pairs.next_items), strict=True)
        assert list(found) == wanted


def test_bots_are_capped_and_counted():
    rows = [(1, k % 7, k, "clicks") for k in range(100_000)] + [(2, 1, 0, "clicks")]
    pairs = sessions(rows).pairs(last_events=500)
    assert len(pairs) == 499
    assert (pairs.n_capped, pairs.n_cut, pairs.n_lone, pairs.longest) == (1, 99_500, 1, 100_000)
    assert "1 sessions without a pair" in repr(pairs)
    assert "99,500 early events of 1 long sessions left out" in repr(pairs)


def test_a_log_without_pairs():
    pairs = sessions(LOG[3:]).pairs()
    assert len(pairs) == 0
    assert pairs.items.tolist() == pairs.next_items.tolist() == []
    with pytest.raises(DataError, match="there are no pairs"):
        cf.PairLoader(pairs)


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        ({"window": 0}, ParameterError, "window must be"),
        ({"window": None}, ParameterError, "window=None takes all events within max_gap"),
        ({"max_gap": "soon"}, ParameterError, "max_gap"),
        ({"direction": "back"}, ParameterError, "direction must be one of"),
        ({"types": "carts"}, ParameterError, "must be a list of event types"),
        ({"types": ["orders"]}, ParameterError, r"no events of \['orders'\]; the types are carts, clicks"),
        ({"type_weights": {"carts": 6}}, ParameterError, "no weight for 'clicks'"),
        ({"type_weights": {"carts": 0, "clicks": 1}}, ParameterError, "above 0"),
        ({"type_weights": 6}, ParameterError, "must be a mapping"),
        ({"window": 2, "distance_weights": [1]}, ParameterError, "one for each distance from 1 to window=2"),
        ({"distance_weights": [0]}, ParameterError, "above 0"),
        ({"last_events": 1}, ParameterError, "last_events must be"),
        ({"repeats": 1}, ParameterError, "repeats must be True or False"),
    ],
)
def test_what_cannot_be_asked(asked, error, told):
    with pytest.raises(error, match=told):
        sessions(LOG).pairs(**asked)


def test_types_without_a_weight_may_be_left_out():
    pairs = sessions(LOG).pairs(types=["clicks"], type_weights={"clicks": 2})
    assert pairs.weights.tolist() == [2]


@pytest.mark.parametrize(
    ("asked", "role"),
    [({"max_gap": "1d"}, "time"), ({"types": ["a"]}, "event_type"), ({"type_weights": {}}, "event")],
)
def test_what_the_events_must_have(asked, role):
    s = sessions(LOG, time=None, event_type=None)
    with pytest.raises(DataError, match=f"read them with {role}"):
        s.pairs(**asked)


def many(n=5000, seed=0):
    rng = np.random.default_rng(seed)
    indptr = np.concatenate([[0], np.cumsum(rng.integers(0, 9, n))])
    return Sessions(indptr, rng.integers(0, 50, indptr[-1], dtype=np.int32), 50, types=np.zeros(indptr[-1], np.uint8),
                    type_names=("clicks",))  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
def test_files_hold_the_same_pairs_in_order(tmp_path, monkeypatch, weighted):
    monkeypatch.setattr(session_pairs, "_PART", 1000)  # less than some blocks have
    pairs = many().pairs(2, distance_weights=[1, 0.25] if weighted else None)
    pairs.to_parquet(tmp_path / "pairs.parquet")
    assert not pairs._made  # nothing but parts was in memory
    assert list(tmp_path.iterdir()) == [tmp_path / "pairs.parquet"]
    table = pl.read_parquet(tmp_path / "pairs.parquet")
    assert table.columns == ["item", "next_item", "weight"][: 2 + weighted]
    assert table.equals(pl.DataFrame(pairs.columns()))


@pytest.mark.parametrize("buffer_size", [2**18, 2**24])
def test_loaders_take_pairs_and_their_files(tmp_path, buffer_size):
    pairs = many(100_000).pairs(distance_weights=[0.5])
    pairs.to_parquet(tmp_path / "pairs.parquet")
    wanted = pl.DataFrame(pairs.columns()).sort(pl.all())
    for source in (pairs, tmp_path / "pairs.parquet"):
        loader = cf.PairLoader(source, 10_000, buffer_size=buffer_size)
        assert loader.columns == ("item", "next_item", "weight")
        read = pl.concat([pl.DataFrame(dict(zip(loader.columns, batch, strict=True))) for batch in loader])
        assert read.schema == wanted.schema
        assert read.sort(pl.all()).equals(wanted)


def test_weights_of_a_loader_are_not_negative():
    rows = np.arange(3, dtype=np.int32)
    for bad in (-1, np.nan):
        with pytest.raises(DataError, match=r"column weight is .* in row 1; row numbers and weights are 0 or more"):
            cf.PairLoader({"item": rows, "next_item": rows, "weight": np.array([1, bad, 1], np.float32)})


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    pairs, old = many().pairs(), tmp_path / "pairs.parquet"
    old.write_bytes(b"old")
    monkeypatch.setattr(session_pairs, "_PART", 1000)
    read, parts = session_pairs.Pairs._read, []

    def fails(self, first, last):
        parts.append(first)
        if len(parts) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return read(self, first, last)

    monkeypatch.setattr(session_pairs.Pairs, "_read", fails)
    with pytest.raises(ParameterError, match=r"could not be written: .*No space left"):
        pairs.to_parquet(old)
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_bytes() == b"old"


def test_the_name_says_that_it_is_parquet(tmp_path):
    with pytest.raises(ParameterError, match=r"must end in one of \.parquet"):
        many().pairs().to_parquet(tmp_path / "pairs.csv")
