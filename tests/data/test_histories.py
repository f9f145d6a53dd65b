"""Histories: order of events, weights, unknown items."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.data.histories import Histories, read_histories
from cofactor.data.sessions import Sessions
from cofactor.kernels.csr import CSR

ITEMS = cf.IdMap(pl.Series(["a", "b", "c", "d"]))


def rows(csr, user):
    """(item row, weight, position) of one user."""
    at = slice(csr.indptr[user], csr.indptr[user + 1])
    return list(zip(csr.indices[at].tolist(), csr.values[at].tolist(), csr.positions[at].tolist(), strict=True))


def read(columns):
    return read_histories(pl.DataFrame(columns), ITEMS, ordered=True)


def test_rows_are_oldest_first():
    users, csr = read({"user_id": [7, 3, 7, 7, 7], "item_id": ["d", "b", "a", "c", "a"]})
    assert users.to_list() == [7, 3]
    assert rows(csr, 0) == [(0, 2.0, 4), (2, 1.0, 3), (3, 1.0, 1)]
    assert rows(csr, 1) == [(1, 1.0, 1)]


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Float32, pl.Datetime("us"), pl.Date])
def test_times_order_them_and_equal_times_stay_as_they_are(dtype):
    time = pl.Series([5, 9, 4, 5]).cast(pl.Int32).cast(dtype)
    users, csr = read({"user_id": [1, 2, 1, 1], "item_id": ["a", "a", "c", "b"], "time": time})
    assert users.to_list() == [1, 2]
    assert rows(csr, 0) == [(0, 1.0, 2), (1, 1.0, 3), (2, 1.0, 1)]


def test_unknown_items_take_no_place():
    with pytest.warns(cf.CofactorWarning, match="2 of 4 rows"):
        users, csr = read({"user_id": [1, 1, 1, 2], "item_id": ["a", "x", "b", "x"]})
    assert users.to_list() == [1, 2]
    assert rows(csr, 0) == [(0, 1.0, 1), (1, 1.0, 2)]
    assert rows(csr, 1) == []


def test_weights_add_up_and_leave_the_order_alone():
    _, csr = read({"user_id": [1, 1, 1], "item_id": ["b", "a", "b"], "weight": [2.0, 9.0, 0.5]})
    assert rows(csr, 0) == [(0, 9.0, 2), (1, 2.5, 3)]


@pytest.mark.parametrize(
    ("time", "message"),
    [
        ([1, None], r"1 null\(s\) or NaN in time, the first in row 1"),
        ([float("nan"), 1.0], r"1 null\(s\) or NaN in time, the first in row 0"),
        (["monday", "today"], "time must be a column of times or numbers, got String"),
    ],
)
def test_bad_times_matter_only_to_models_of_sequences(time, message):
    columns = {"user_id": [1, 1], "item_id": ["a", "b"], "time": time}
    with pytest.raises(cf.DataError, match=message):
        read(columns)
    read_histories(pl.DataFrame(columns), ITEMS)


def test_positions_of_events():
    """By time over all sessions of a user; events of items that were filtered out take no place."""
    table = pl.DataFrame(
        {
            "user": ["x", "y", "x", "x", "x", "y", "z"],
            "item": ["b", "b", "rare", "a", "b", "a", "b"],
            "visit": [2, 1, 2, 1, 3, 1, 1],
            "at": [10, 11, 12, 9, 30, 11, 1],
        }
    )
    times = {"time": "at", "time_unit": "s", "implausible_times": "allow"}
    events = cf.read_events(table, user="user", item="item", session="visit", **times)
    with pytest.warns(cf.CofactorWarning, match="1 of 3 items"):
        x = events.interactions(min_item_count=2)
    assert x.users.ids.to_list() == ["x", "y", "z"]
    assert Sessions.with_last_positions(x)[1].tolist() == [1, 3, 2, 1, 1]  # x: a b b, y: b a, z: b
    without_events = cf.Interactions(x.users, x.items, x.user_items)
    assert Sessions.with_last_positions(without_events)[1].tolist() == [1, 2, 1, 2, 1]
    users, csr = read_histories(x, x.items, ordered=True)
    assert users.to_list() == ["x", "y", "z"]
    assert rows(csr, 0) == [(0, 1.0, 1), (1, 2.0, 2)]


def test_narrow_weights_are_summed_wide():
    weights = np.array([2**24, 1, 1], np.float32)  # float32 stops counting there
    _, csr = read_histories(pl.DataFrame({"user_id": [1] * 3, "item_id": ["a"] * 3, "weight": weights}), ITEMS)
    assert csr.values.tolist() == [2**24 + 2]


def test_some_rows():
    csr = CSR.from_pairs([0, 0, 1, 3], [1, 3, 0, 2], [1, 2, 3, 4], (4, 4))
    histories = Histories(csr.indptr, csr.indices, csr.values, 4, np.array([2, 1, 1, 1], np.int32))
    some = histories.take([3, 2, 0])
    assert rows(some, 0) == [(2, 4.0, 1)]
    assert rows(some, 1) == []
    assert rows(some, 2) == [(1, 1.0, 2), (3, 2.0, 1)]
