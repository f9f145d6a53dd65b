"""Ids become integers while they stream by, and come back as they were."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofactor.data.codes import Codes, renumbered
from cofactor.data.ids import IdMap
from cofactor.errors import DataError

INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)


def whole(dtype):
    limits = pl.select(low=dtype.min(), high=dtype.max()).row(0)
    near = st.integers(0, 30) if limits[0] == 0 else st.integers(-15, 15)
    return st.lists(st.one_of(near, st.integers(*limits)), min_size=1, max_size=40).map(
        lambda values: pl.Series("c", values, dtype=dtype)
    )


text = st.lists(st.text(max_size=6), min_size=1, max_size=40)
series = st.one_of(
    *(whole(dtype) for dtype in INTEGERS),
    text.map(lambda v: pl.Series("c", v, dtype=pl.String)),
    text.map(lambda v: pl.Series("c", v, dtype=pl.Categorical)),
    text.map(lambda v: pl.Series("c", v, dtype=pl.Enum(sorted(set(v), reverse=True)))),
    text.map(lambda v: pl.Series("c", [t.encode() for t in v], dtype=pl.Binary)),
)


def coded(values, told):
    integer = values.dtype.is_integer()
    bounds = (values.min() - told, values.max() + told) if integer and told is not None else None
    codes = Codes.of("c", values.dtype, bounds)
    return codes, values.to_frame().lazy().select(codes.expr).collect(engine="streaming").to_series()


@given(values=series, told=st.sampled_from([None, 0, 3]))
def test_ids_come_back_in_the_order_of_the_map(values, told):
    codes, numbers = coded(values, told)
    rows, ids = codes.own(numbers)
    assert ids == IdMap.from_values(values)
    assert ids.take(rows).equals(values.rename("id"))
    assert rows.dtype == np.int32


@given(values=series, told=st.sampled_from([None, 0, 3]), data=st.data())
def test_rows_among_given_ids(values, told, data):
    some = data.draw(st.lists(st.sampled_from(values.to_list()), min_size=1))
    ids = IdMap.from_values(pl.Series("c", some, dtype=values.dtype))
    codes, numbers = coded(values, told)
    assert np.array_equal(codes.among(ids, numbers), ids.rows(values))


def test_a_missing_id_has_no_code():
    for values in (pl.Series("c", ["a", None]), pl.Series("c", [3, None])):
        assert coded(values, 0)[1].null_count() == 1


@pytest.mark.parametrize("late", [99, 2**31 + 5])
def test_an_id_beyond_what_was_told_is_an_error(late):
    codes = Codes.of("c", pl.Int64(), (1, 5))
    numbers = pl.LazyFrame({"c": [1, 5, late]}).select(codes.expr).collect().to_series()
    for use in (codes.own, lambda n: codes.among(IdMap(pl.Series([1, 5])), n)):
        with pytest.raises(DataError, match=rf"column 'c' holds {late}, but was between 1 and 5 .* read it again"):
            use(numbers)


def test_an_id_below_what_was_told_is_an_error():
    codes = Codes.of("c", pl.Int64(), (1, 5))
    with pytest.raises(pl.exceptions.InvalidOperationError, match="conversion"):
        pl.LazyFrame({"c": [0]}).select(codes.expr).collect()


@given(st.lists(st.integers(0, 50)))
def test_renumbered(codes):
    rows, present = renumbered(np.array(codes, np.int64), 51)
    assert present.tolist() == sorted(set(codes))
    assert present[rows].tolist() == codes
