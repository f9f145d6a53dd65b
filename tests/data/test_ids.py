import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import cofactor as cf
from cofactor.data.ids import IdMap
from cofactor.errors import DataError, ParameterError, UnknownIdError

ints = st.integers(-(2**63), 2**63 - 1)


@given(st.one_of(st.lists(ints), st.lists(st.text()), st.lists(st.binary(max_size=4))))
def test_rows_and_take_are_inverse(values):
    ids = IdMap.from_values(pl.Series(values, dtype=None if values else pl.Int64))
    assert ids.ids.to_list() == sorted(set(values), key=lambda v: v.encode() if isinstance(v, str) else v)
    assert ids.take(ids.rows(values)).to_list() == values
    assert ids.rows(ids.ids).tolist() == list(range(len(ids)))


@given(st.lists(st.integers(0, 50), min_size=1), st.lists(st.one_of(st.none(), st.integers(-10, 60))))
def test_unknown_and_null_are_minus_one(known, looked_up):
    ids = IdMap.from_values(known)
    position = {v: i for i, v in enumerate(sorted(set(known)))}
    rows = ids.rows(pl.Series(looked_up, dtype=pl.Int64))
    assert rows.dtype == np.int32
    assert rows.tolist() == [position.get(v, -1) for v in looked_up]


@pytest.mark.parametrize("stored", [pl.Int8, pl.UInt8, pl.Int32, pl.UInt32, pl.Int64, pl.UInt64])
@pytest.mark.parametrize("asked", [pl.Int8, pl.UInt16, pl.Int32, pl.Int64, pl.UInt64])
def test_integer_widths_mix(stored, asked):
    ids = IdMap.from_values(pl.Series([3, 7], dtype=stored))
    assert ids.rows(pl.Series([7, 9, 3], dtype=asked)).tolist() == [1, -1, 0]
    assert ids.take([1]).dtype == stored


def test_values_beyond_the_stored_width_are_unknown():
    assert IdMap.from_values(pl.Series([1], dtype=pl.Int8)).rows([257, -1, 1]).tolist() == [-1, -1, 0]


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["c", "b", "a"])])
def test_categorical_ids_are_ordered_by_text_and_keep_their_type(dtype):
    ids = IdMap.from_values(pl.Series(["b", "c", "a", "b"], dtype=dtype))
    assert ids.take([0, 1, 2]).cast(pl.String).to_list() == ["a", "b", "c"]
    assert ids.take([0]).dtype == dtype
    assert ids.rows(["c", "zz", None]).tolist() == [2, -1, -1]
    assert ids.rows(pl.Series(["a"], dtype=pl.Categorical)).tolist() == [0]


@pytest.mark.parametrize(
    "values",
    [
        [5, 9],
        (5, 9),
        {5: 0, 9: 0},
        np.array([5, 9]),
        np.array([5, 9], dtype=object),
        pd.Series([5, 9]),
        range(5, 10, 4),
    ],
    ids=lambda v: type(v).__name__,
)
def test_collections_of_many_kinds(values):
    assert IdMap.from_values([5, 9]).rows(values).tolist() == [0, 1]


def test_whole_floats_find_integers():
    assert IdMap.from_values([1, 2]).rows([2.0, float("nan"), 8.0]).tolist() == [1, -1, -1]


EXACT = {pl.Float16: 2**11, pl.Float32: 2**24, pl.Float64: 2**53}


@pytest.mark.parametrize("dtype", EXACT)
def test_floats_find_integers_as_far_as_they_are_exact(dtype):
    limit = EXACT[dtype]
    ids = IdMap.from_values([limit - 1, limit, limit + 1])
    assert ids.rows(pl.Series([limit - 1, None], dtype=dtype)).tolist() == [0, -1]
    with pytest.raises(DataError, match=rf"whole numbers from 2\^{limit.bit_length() - 1} on are not exact"):
        ids.rows(pl.Series([float(limit)], dtype=dtype))


def test_ids_that_pandas_made_floats_of_never_answer_for_another_item():
    catalogue = [2**60 + n for n in range(4)]
    column = (
        pd.DataFrame({"item": catalogue})
        .join(pd.Series([1.0, 2.0], name="w"))
        .merge(pd.DataFrame({"item": [2**60 + 2, None]}), how="right")["item"]
    )
    assert column.dtype == float
    with pytest.raises(DataError, match="may stand for another id"):
        IdMap.from_values(catalogue).rows(column)


@pytest.mark.parametrize("name", ["user_id", "item_id"])
@pytest.mark.parametrize("question", ["predict", "recommend_for", "exclude", "test", "lists"])
def test_tables_of_floats_never_make_one_id_of_two(name, question):
    known = {"user_id": [1, 2], "item_id": [3, 4]}
    model = cf.Popular().fit(pl.DataFrame(known))
    asked = pl.DataFrame(known).with_columns(pl.Series(name, [2.0**60, 2.0**60 + 2**10]))
    ask = {
        "predict": model.predict,
        "recommend_for": model.recommend_for,
        "exclude": lambda table: model.recommend(exclude=table),
        "test": lambda table: cf.evaluate(model, table),
        "lists": lambda table: cf.evaluate(table.with_columns(rank=1), pl.DataFrame(known)),
    }
    with pytest.raises(DataError, match=rf"{name}: of type Float64, .* may stand for another id"):
        ask[question](asked)


@given(st.lists(st.floats(width=64) | st.integers(-100, 100).map(float), max_size=6))
def test_a_float_finds_its_integer_or_nothing_or_is_an_error(values):
    ids = IdMap.from_values(range(-100, 100))
    numbers = pl.Series(values, dtype=pl.Float64)
    try:
        rows = ids.rows(numbers)
    except DataError:
        assert any(v != int(v) or abs(v) >= 2**53 for v in values if abs(v) < float("inf")) or float("inf") in map(
            abs, values
        )
        return
    assert rows.tolist() == [int(v) + 100 if -100 <= v < 100 else -1 for v in values]


def test_whole_decimals_find_integers():
    ids = IdMap.from_values([7, 2**60 + 1])
    assert ids.rows([Decimal(2**60 + 1), None, Decimal("7.00")]).tolist() == [1, -1, 0]
    with pytest.raises(DataError, match=r"such as Decimal\('7.50'\) were .*; such numbers are no ids"):
        ids.rows([Decimal("7.00"), Decimal("7.50")])
    with pytest.raises(DataError, match="where ids are String"):
        IdMap.from_values(["7"]).rows([Decimal(7)])


@pytest.mark.parametrize(
    "values",
    [
        np.array(["a", "zz"]),
        np.array(["a", "zz"], dtype=np.dtypes.StringDType()),
        [np.str_("a"), "zz"],
        pd.Series(["a", "zz"], dtype="string"),
        pd.Series(["a", "zz"], dtype="category"),
    ],
    ids=["U", "T", "str_", "string", "category"],
)
def test_texts_of_many_kinds(values):
    assert IdMap.from_values(["a", "b"]).rows(values).tolist() == [0, -1]


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
@pytest.mark.parametrize("known", [[2**60 + 1, 5], ["a", "b"]], ids=["integers", "text"])
def test_missing_values_in_columns_of_objects_are_null(missing, known):
    ids = IdMap.from_values(known)
    assert ids.rows(pd.Series([known[0], missing], dtype=object)).tolist() == [ids.rows(known[:1])[0], -1]
    assert ids.rows([known[0], missing]).tolist() == ids.rows([known[0], None]).tolist()


@pytest.mark.parametrize("values", [[2, True], [True, 2], [np.True_, 1]])
def test_true_is_not_one(values):
    with pytest.raises(DataError, match="True or False is among them"):
        IdMap.from_values([1, 2]).rows(values)


@pytest.mark.parametrize(("known", "asked"), [([7], ["7"]), (["7"], [7]), (["7"], [7.0]), ([b"7"], ["7"])])
def test_text_and_numbers_are_never_taken_for_each_other(known, asked):
    with pytest.raises(DataError, match="cast them first, if they are the same ids"):
        IdMap.from_values(known).rows(asked)


def test_uuids_find_text_and_bytes():
    ids = [uuid.UUID(int=i) for i in (7, 300)]
    for stored in ([str(i) for i in ids], [i.bytes for i in ids]):
        assert IdMap.from_values(stored).rows(ids[::-1]).tolist() == [1, 0]


@pytest.mark.parametrize(
    "values", [["a"], [1.5], [True], [b"a"], [uuid.UUID(int=1)], [object()]], ids=lambda v: type(v[0]).__name__
)
def test_values_of_a_wrong_kind_are_an_error(values):
    with pytest.raises(DataError, match="where ids are Int64"):
        IdMap.from_values([10, 20]).rows(values)


def test_the_error_names_both_types_and_an_example():
    with pytest.raises(DataError, match=r"String such as 'x' .* Int64 such as 10"):
        IdMap.from_values([10, 20]).rows(["x"])


def test_mixed_list():
    with pytest.raises(DataError, match="all of one type"):
        IdMap.from_values([1]).rows([1, "a"])


@pytest.mark.parametrize("value", ["abc", 5, None, b"abc"])
def test_a_single_value_is_an_error(value):
    with pytest.raises(ParameterError, match="single value"):
        IdMap.from_values(["abc"]).rows(value)


def test_require_lists_the_first_unknown():
    ids = IdMap.from_values(["a", "b"])
    assert ids.require(["b"], "item").tolist() == [1]
    with pytest.raises(UnknownIdError, match=r"3 of 4 item ids .* 2 known ones; the first: 'x', 'y'$"):
        ids.require(["x", "a", "x", "y"], "item")


def test_empty():
    ids = IdMap(pl.Series([], dtype=pl.String))
    assert len(ids) == 0
    assert ids.rows(["a"]).tolist() == [-1]
    assert IdMap.from_values([1]).rows([]).tolist() == []


@pytest.mark.parametrize("ids", [[2, 1], [1, 1]])
def test_constructor_wants_ascending_unique_ids(ids):
    with pytest.raises(DataError, match=r"in the order of a matrix go as they are to .* Interactions.from_csr"):
        IdMap(pl.Series(ids))


def test_constructor_takes_what_lookups_take():
    assert IdMap(["a", "b"]) == IdMap(np.array(["a", "b"])) == IdMap(pd.Series(["a", "b"]))


def test_rows_of_ids_lie_inside():
    ids = IdMap(["a", "b"])
    for rows in ([2], [-1], [0.0], [[0]], ["a"], [True]):
        with pytest.raises(ParameterError, match="rows must be"):
            ids.take(rows)
    assert ids.take([]).to_list() == []


def test_null_ids_and_wrong_types():
    with pytest.raises(DataError, match=r"1 id\(s\) are null"):
        IdMap.from_values(pl.Series([1, None]))
    with pytest.raises(DataError, match="received Float64"):
        IdMap.from_values([1.5])
    with pytest.raises(DataError, match="received Boolean"):
        IdMap(pl.Series([True]))


def test_no_ids_at_all():
    assert len(IdMap([])) == len(IdMap.from_values([])) == 0
    x = cf.Interactions.from_csr(sp.csr_matrix((0, 2)), users=[], items=["b", "a"])
    assert (x.n_users, x.items.ids.to_list()) == (0, ["a", "b"])
    assert x.users.rows([3]).tolist() == [-1]


def test_equality_and_repr():
    assert IdMap.from_values([2, 1]) == IdMap.from_values([1, 2, 2])
    assert IdMap.from_values([1]) != IdMap.from_values([2])
    assert IdMap.from_values([1]) != IdMap.from_values(["1"])
    assert IdMap.from_values([1]) != 1
    assert repr(IdMap.from_values(range(4))) == "IdMap(4 ids, Int64: 0, 1, 2, ...)"
