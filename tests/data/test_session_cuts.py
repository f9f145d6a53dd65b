"""cut_sessions against a loop over sessions; bad input."""

import json
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.data.split import cut_sessions

DAY = datetime(2024, 1, 1)
KINDS = ["clicks", "carts", "orders"]
ROLES = {"user": None, "session": "visit", "item": "item", "time": "at", "event_type": "type"}


def table(rows):
    """Events of (session, item, hours, type)."""
    log = pl.DataFrame(rows, schema=["visit", "item", "hours", "type"], orient="row")
    return log.with_columns(at=DAY + pl.duration(hours="hours"))


def read(log):
    return cf.read_events(log, **ROLES)


@st.composite
def logs(draw):
    """Something before the cut, a session after it that can be cut, and whatever else."""
    event = st.tuples(st.integers(0, 8), st.integers(0, 5), st.integers(0, 400), st.sampled_from(KINDS))
    rows = [(90, item, 0, "clicks") for item in range(4)]
    rows += [(91, 1, 390, "clicks"), (91, 2, 391, "carts"), (91, 1, 400, "orders")]
    return table(rows + draw(st.lists(event, max_size=50)))


def labels_by_hand(after):
    found, clicked = [], False
    for item, kind in after:
        if kind != "clicks":
            found.append((item, kind))
        elif not clicked:
            clicked = True
            found.append((item, kind))
    return set(found)


@settings(max_examples=60)
@given(logs(), st.integers(0, 5))
def test_train_beginnings_and_labels(log, seed):
    events = read(log)
    train, test, labels = cut_sessions(events, "7d", seed=seed)
    cut = DAY + timedelta(hours=400 - 7 * 24)
    assert_frame_equal(train.collect(), log.filter(pl.col("at") < cut))
    known = set(train.collect()["item"])
    begun = test.collect()
    assert test.user == "visit"
    for (session,), of in log.sort("at", maintain_order=True).group_by("visit"):
        mine = list(begun.filter(visit=session).select("item", "type").iter_rows())
        truth = labels.filter(user_id=session)
        left = [e for e in of.select("item", "type").iter_rows() if e[0] in known]
        if of["at"].min() < cut or len(left) < 2:
            assert not mine
            assert truth.is_empty()
            continue
        assert 1 <= len(mine) < len(left)
        assert mine == left[: len(mine)]
        rows = list(truth.select("item_id", "event_type").iter_rows())
        assert len(rows) == len(set(rows))
        assert set(rows) == labels_by_hand(left[len(mine) :])


def test_the_order_of_the_log_and_the_seed():
    rows = [(s, i, 10 * s + i, KINDS[i % 3]) for s in range(30) for i in range(8)]
    log = table(rows)
    shuffled = log.sample(fraction=1.0, shuffle=True, seed=1)
    one, other = (cut_sessions(read(some), "6d", seed=3) for some in (log, shuffled))
    assert_frame_equal(one.labels, other.labels, check_row_order=False)
    assert_frame_equal(one.test.collect(), other.test.collect())
    assert not cut_sessions(read(log), "6d", seed=4).labels.equals(one.labels)


def test_every_event_is_a_cut_at_times():
    """The beginnings of a session of n events have 1 to n - 1 events, each as often."""
    rows = [(0, i, 0, "clicks") for i in range(5)] + [
        (s, i, 200 + i, "clicks") for s in range(1, 2001) for i in range(5)
    ]
    lengths = cut_sessions(read(table(rows)), "1d").test.collect().group_by("visit").len()["len"]
    counts = lengths.value_counts().sort("len")
    assert counts["len"].to_list() == [1, 2, 3, 4]
    assert counts["count"].min() > 400


def test_what_is_left_out_is_counted():
    rows = [(1, 1, 0, "clicks"), (1, 2, 300, "clicks")]  # goes on after the cut
    rows += [(2, 1, 300, "clicks"), (2, 9, 301, "carts")]  # 9 was never trained: one event is left
    rows += [(3, 1, 302, "clicks"), (3, 1, 302, "clicks")]  # the same event twice
    rows += [(4, 1, 303, "orders")]
    train, test, labels = cut_sessions(read(table(rows)), "2d")
    assert train.n_events == 1
    assert test.collect().select("visit", "item").rows() == [(3, 1)]
    assert labels.rows() == [(3, 1, "clicks")]
    assert "1 of 6 events at or after the cut" in test.notes[-1]
    assert "1 of items that train does not hold, and 2 of 3 sessions have one event" in test.notes[-1]


def test_events_without_a_type_are_no_labels():
    rows = [(0, i, 0, "clicks") for i in range(3)] + [(1, 0, 300, "clicks"), (1, 1, 301, None), (1, 2, 302, "carts")]
    for seed in range(4):
        _, test, labels = cut_sessions(read(table(rows)), "1d", seed=seed)
        begun = len(test.collect())
        assert labels.rows() == [(1, 2, "carts")]
        told = "1 of 2 events after the cuts have no type, and are no labels"
        assert test.notes[-1].endswith(told) == (begun == 1)
    with pytest.raises(cf.ParameterError, match=r"no events of \['null'\]; the types are carts, clicks"):
        cut_sessions(read(table(rows)), "1d", next_only=["null"])


def test_types_of_which_all_count():
    rows = [(0, i, 0, "view") for i in range(3)] + [(1, i % 3, 300 + i, "view") for i in range(2)]
    assert len(cut_sessions(read(table(rows)), "1d", next_only=["view"]).labels) == 1
    many = [(0, i, 0, "view") for i in range(9)] + [(s, i, 300 + i, "view") for s in (1, 2, 3) for i in range(9)]
    assert cut_sessions(read(table(many)), "1d", next_only=[]).labels.group_by("user_id").len()["len"].max() > 1


def test_sessions_of_two_files_and_sessions_without_events(tmp_path):
    """A session goes on in the second file, and one has no events."""
    start = 1_660_000_000_000

    def event(item, hours, kind="clicks"):
        return {"aid": item, "ts": start + hours * 3_600_000, "type": kind}

    files = {
        "one": [(0, [event(1, 0), event(2, 1)]), (7, [event(1, 300)]), (8, [])],
        "two": [(7, [event(2, 301, "carts"), event(1, 302, "orders")])],
    }
    for name, sessions in files.items():
        lines = [json.dumps({"session": s, "events": events}) for s, events in sessions]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    events = cf.datasets.otto([tmp_path / "one", tmp_path / "two"])
    _, test, labels = cut_sessions(events, "2d")
    assert set(test.collect()["session"]) == {7}
    assert len(test.collect()) + len(labels) == 3
    assert (7, 1, "orders") in labels.rows()


# Bad input


def test_no_times_no_types_nothing_left():
    log = table([(1, 1, 0, "clicks"), (2, 1, 300, "clicks")])
    with pytest.raises(cf.DataError, match="cut_sessions needs event types"):
        cut_sessions(cf.read_events(log, user="visit", item="item", time="at"))
    with pytest.raises(cf.DataError, match="cut_sessions needs the time"):
        cut_sessions(cf.read_events(log, user="visit", item="item", event_type="type"))
    with pytest.raises(cf.DataError, match=r"no session that begins at or after the cut .* has two events"):
        cut_sessions(read(log), "1d")
    with pytest.raises(cf.DataError, match="train would be empty"):
        cut_sessions(read(log), "90d")


def test_an_unknown_type():
    log = table([(1, 1, 0, "clicks"), (2, 1, 300, "clicks"), (2, 1, 300, "clicks")])
    with pytest.raises(cf.ParameterError, match=r"next_only: there are no events of \['views'\]; the types are clicks"):
        cut_sessions(read(log), "1d", next_only=["views"])
    with pytest.raises(cf.ParameterError, match="next_only='clicks'; it must be a list"):
        cut_sessions(read(log), "1d", next_only="clicks")
