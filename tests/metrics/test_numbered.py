"""Values of any type as row numbers."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofactor.metrics.numbered import distinct, numbered, rows_among


@pytest.mark.parametrize(
    "values",
    [
        pl.Series("x", [3, 1, 3, 2], pl.Int8),
        pl.Series("x", [-128, 127, 0, 127], pl.Int8),
        pl.Series("x", [5_000_000_000, -5, 5_000_000_000], pl.Int64),
        pl.Series("x", [2**64 - 1, 0, 2**64 - 1], pl.UInt64),
        pl.Series("x", [2**64 - 1, 2**64 - 3], pl.UInt64),
        pl.Series("x", ["b", "a", "ab", "b"]),
        pl.Series("x", ["b", "a", "ab", "b"], pl.Categorical),
        pl.Series("x", [b"b", b"a", b"b"]),
        pl.Series("x", [1.5, -2.0, 1.5]),
        pl.Series("x", [True, False, True]),
        pl.Series("x", [dt.date(2024, 1, 2), dt.date(2024, 1, 1)]),
        pl.Series("x", [7]),
        pl.Series("x", [], pl.Int64),
    ],
    ids=str,
)
def test_values_are_numbered_in_their_order(values):
    ids, rows = numbered(values)
    assert ids.dtype == values.dtype
    assert ids.name == "x"
    assert rows.dtype == np.int32
    assert ids.gather(rows).to_list() == values.to_list()
    plain = ids.cast(pl.String).to_list() if ids.dtype == pl.Categorical else ids.to_list()
    assert plain == sorted(set(plain))
    assert sorted(distinct(values).to_list()) == ids.to_list()


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20), st.integers(0, 60))
def test_integers_near_and_far(numbers, narrow):
    values = pl.Series("x", [n >> narrow for n in numbers], pl.Int64)
    expected, rows = np.unique(values.to_numpy(), return_inverse=True)
    ids, found = numbered(values)
    assert ids.to_list() == expected.tolist()
    assert found.tolist() == rows.tolist()


def test_rows_among_ids():
    assert rows_among(pl.Series("id", [5, 3]), pl.Series("x", [3, 4, None, 5, 3])).tolist() == [1, -1, -1, 0, 1]
