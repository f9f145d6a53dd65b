"""Timelines of tables, events and interactions: the same events in the same order."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cofactor as cf
from cofactor.data.timelines import Timelines, histories_of, read_timelines, timelines_of
from cofactor.kernels.csr import offsets

ROLES = {"item": "item", "time": "at", "event_type": "type", "time_unit": "s", "implausible_times": "allow"}
EVENTS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 6), st.integers(0, 9), st.sampled_from("abc")),
    min_size=1,
    max_size=30,
)


def read(rows, **roles):
    log = pl.DataFrame(rows, schema=["user", "visit", "item", "at", "type"], orient="row")
    return log, cf.read_events(log, **{"user": "user", "session": "visit"} | roles, **ROLES)


def told(t):
    """Of every user the items and types, the oldest first."""
    rows = [(t.items[a:b].tolist(), t.types[a:b].tolist()) for a, b in zip(t.indptr[:-1], t.indptr[1:], strict=True)]
    names = [(items, [t.type_names[kind] for kind in kinds]) for items, kinds in rows]
    return dict(zip(t.users, names, strict=True))


def by_hand(log, x, owner):
    out = {}
    for (user,), of in log.sort("at", maintain_order=True).group_by(owner):
        out[user] = x.items.rows(of["item"]).tolist(), of["type"].to_list()
    return out


@given(EVENTS)
def test_users_of_one_and_of_several_sessions(rows):
    for roles, owner in (({}, "user"), ({"session": None}, "user"), ({"user": None}, "visit")):
        log, events = read(rows, **roles)
        x = events.interactions()
        t = timelines_of(x, x.items)
        assert told(t) == by_hand(log, x, owner)
        assert t.users.to_list() == x.users.ids.to_list()
        assert (t.weights == 1).all()
        table = log.select(user_id=owner, item_id="item", time="at", event_type="type")
        assert told(read_timelines(table, x.items)) == told(t)
        assert told(read_timelines(x, x.items)) == told(t)


@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
@given(EVENTS, EVENTS)
def test_items_of_others_take_no_place(rows, others):
    x = read(others)[1].interactions()
    log, events = read(rows)
    known = log.filter(pl.col("item").is_in(x.items.ids.implode()))
    wanted = {user: ([], []) for user in log["user"]} | by_hand(known, x, "user")
    t = read_timelines(events.interactions(), x.items)
    if t.types is None:
        assert known.is_empty()
        assert not len(t.items)
    else:
        assert told(t) == wanted
    table = log.select(user_id="user", item_id="item", time="at", event_type="type")
    assert told(read_timelines(table, x.items)) == wanted


def test_interactions_without_events_are_their_pairs():
    x = cf.Interactions.from_frame(
        pl.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 5, 7], "w": [2.0, 1.0, 3.0]}), "w"
    )
    t = timelines_of(x, x.items)
    assert t.items.tolist() == [0, 1, 1]
    assert t.weights.tolist() == [1, 2, 3]
    assert t.types is None
    np.testing.assert_array_equal(t.indptr, [0, 2, 3])


ROWS = st.lists(st.lists(st.integers(0, 6), max_size=12), max_size=7)


def of_rows(rows):
    """Timelines of lists of items, whose weights are their numbers."""
    items = np.array([item for row in rows for item in row], np.int32)
    weights = np.arange(1.0, len(items) + 1)
    types = (items % 3).astype(np.uint8)
    indptr = offsets(np.array([len(row) for row in rows], np.int64))
    return Timelines(pl.Series(range(len(rows)), dtype=pl.Int64), indptr, items, weights, types, ("a", "b", "c"))


@given(ROWS, st.integers(1, 9))
def test_pieces_are_whole_users_one_after_the_other(rows, size):
    whole = of_rows(rows)
    pieces = list(whole.pieces(size))
    assert len(pieces) >= 1
    assert [user for piece in pieces for user in piece.users] == whole.users.to_list()
    for name in ("items", "weights", "types"):
        np.testing.assert_array_equal(np.concatenate([getattr(p, name) for p in pieces]), getattr(whole, name))
    np.testing.assert_array_equal(np.concatenate([np.diff(p.indptr) for p in pieces]), np.diff(whole.indptr))
    assert all(len(p.items) <= size or len(p.users) == 1 for p in pieces)
    place, length = whole.places()
    assert place.tolist() == [at for row in rows for at in range(len(row))]
    assert length.tolist() == [len(row) for row in rows for _ in row]


@given(ROWS, st.sampled_from([63, 8]), st.booleans())
def test_events_sum_up_to_histories(rows, bits, narrow):
    """Also where user, item and place do not fit into one number, and users are looked at by halves."""
    events = of_rows(rows)
    weights = events.weights.astype(np.float32) if narrow else events.weights
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cofactor.data.timelines._KEY_BITS", bits)
        h = histories_of(events, weights, 7)
    h.check()
    assert h.shape == (len(rows), 7)
    number = iter(weights)
    for at, row in enumerate(rows):
        summed, last = {}, {}
        for place, item in enumerate(row, start=1):
            summed[item] = summed.get(item, 0) + next(number)
            last[item] = place
        mine = slice(h.indptr[at], h.indptr[at + 1])
        assert dict(zip(h.indices[mine].tolist(), h.values[mine].tolist(), strict=True)) == summed
        assert dict(zip(h.indices[mine].tolist(), h.positions[mine].tolist(), strict=True)) == last
