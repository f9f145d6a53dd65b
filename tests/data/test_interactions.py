import warnings

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from cofactor.data import codes
from cofactor.data.events import read_events
from cofactor.data.ids import IdMap
from cofactor.data.interactions import Interactions
from cofactor.errors import CofactorWarning, DataError, ParameterError
from cofactor.kernels.csr import CSR

weights = st.floats(0.125, 100, width=32)


def table(rows, weight=True):
    columns = list(zip(*rows, strict=True))
    names = ["user_id", "item_id", "weight"][: 3 if weight else 2]
    return pl.DataFrame(dict(zip(names, columns, strict=True)))


def cells(x):
    return {(u, i): w for u, i, w in x.to_frame().iter_rows()}


users = st.one_of(
    st.just(st.integers(-5, 5)),
    st.just(st.sampled_from([-(2**63), -1, 0, 2**40, 2**63 - 1])),
    st.just(st.text(min_size=1, max_size=2)),
)


@st.composite
def logs(draw):
    user, item = draw(users), draw(users)
    return draw(st.lists(st.tuples(user, item, weights), min_size=1, max_size=40))


@settings(max_examples=60)
@given(logs())
def test_equals_a_dictionary(rows):
    expected = {}
    for u, i, w in rows:
        expected[u, i] = expected.get((u, i), 0.0) + w
    x = Interactions.from_frame(table(rows), weight="weight")
    assert cells(x) == pytest.approx(expected, rel=1e-6)
    assert x.users.ids.to_list() == sorted({u for u, _ in expected}, key=_key)
    assert x.items.ids.to_list() == sorted({i for _, i in expected}, key=_key)
    check_csr(x.user_items)


def _key(value):
    return value.encode() if isinstance(value, str) else value


def check_csr(m):
    assert (m.indptr.dtype, m.indices.dtype, m.values.dtype) == (np.int64, np.int32, np.float32)
    assert m.indptr[0] == 0
    assert m.indptr[-1] == m.nnz == len(m.values)
    for row in range(m.n_rows):
        assert (np.diff(m.row(row)[0]) > 0).all()


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40), st.randoms())
@settings(max_examples=30)
def test_order_of_rows_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    a, b = (Interactions.from_frame(table(r, weight=False)) for r in (rows, shuffled))
    assert a.to_frame().equals(b.to_frame())


@pytest.mark.parametrize(
    "dtype", [pl.Int8, pl.UInt8, pl.Int32, pl.UInt64, pl.Int128, pl.String, pl.Categorical, pl.Binary]
)
def test_ids_keep_their_type(dtype):
    ids = pl.Series(["3", "7", "3"]).cast(dtype) if dtype != pl.Binary else pl.Series([b"3", b"7", b"3"])
    x = Interactions.from_frame(pl.DataFrame({"user_id": ids, "item_id": ids}))
    assert [t == dtype for t in x.to_frame().dtypes] == [True, True, False]
    assert x.user_items.to_scipy().toarray().tolist() == [[2, 0], [0, 1]]


def test_wide_integers_take_the_way_of_text(monkeypatch):
    rows = [(1, 10), (2**33, 10), (2**33, -(2**50)), (1, 10)]
    wide = Interactions.from_frame(table(rows, weight=False))
    assert cells(wide) == {(1, 10): 2, (2**33, -(2**50)): 1, (2**33, 10): 1}
    narrow = [(1, 10), (2, 10), (2, 11), (1, 10)]
    direct = Interactions.from_frame(table(narrow, weight=False))
    monkeypatch.setattr(codes, "_MAX_DIRECT", 0)
    assert Interactions.from_frame(table(narrow, weight=False)).to_frame().equals(direct.to_frame())


def test_extremes_of_int8_do_not_overflow():
    ids = pl.Series([-128, 127, 0], dtype=pl.Int8)
    x = Interactions.from_frame(pl.DataFrame({"user_id": ids, "item_id": ids}))
    assert x.users.ids.to_list() == [-128, 0, 127]


def test_one_user_one_item():
    x = Interactions.from_frame(pl.DataFrame({"user_id": ["a"], "item_id": [7]}))
    assert (x.n_users, x.n_items, x.nnz) == (1, 1, 1)
    assert repr(x) == "Interactions(1 users x 1 items, 1 entries, density 100.000%)"


def test_from_frame_refuses_bad_tables():
    good = pl.DataFrame({"user_id": [1], "item_id": [1]})
    with pytest.raises(DataError, match=r"item='item_id'.*\['user_id'\]"):
        Interactions.from_frame(good.select("user_id"))
    with pytest.raises(DataError, match="weight='w'"):
        Interactions.from_frame(good, weight="w")
    with pytest.raises(DataError, match="weight='w' is a column of String"):
        Interactions.from_frame(good.with_columns(w=pl.lit("2")), weight="w")
    with pytest.raises(DataError, match="empty"):
        Interactions.from_frame(good.clear())
    with pytest.raises(DataError, match="'item_id'"):
        Interactions.from_frame(good.with_columns(item_id=None))


@pytest.mark.parametrize(
    ("value", "kind"),
    [(0.0, "zero"), (-1.0, "negative"), (float("nan"), "null or NaN"), (float("inf"), "infinite"), (1e-60, "zero")],
)
def test_bad_weights_are_named(value, kind):
    frame = pl.DataFrame({"user_id": ["a", "b", "b"], "item_id": [1, 1, 2], "weight": [1.0, 2.0, value]})
    with pytest.raises(DataError, match=rf"1 of 3 .*\(1 {kind}\).*user 'b' item 2: .*[Ff]ilter"):
        Interactions.from_frame(frame, weight="weight")


def test_null_weights_are_not_lost_in_the_sum():
    frame = pl.DataFrame({"user_id": [1, 1], "item_id": [1, 1], "weight": [1.0, None]})
    with pytest.raises(DataError, match="1 null or NaN"):
        Interactions.from_frame(frame, weight="weight")
    with pytest.raises(DataError, match="1 null or NaN"):
        read_events(frame, user="user_id", item="item_id").interactions("weight")


def test_from_csr():
    m = sp.random(5, 4, 0.4, format="coo", random_state=0, dtype=np.float32)
    x = Interactions.from_csr(m)
    assert x.users.ids.to_list() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(x.user_items.to_scipy().toarray(), m.toarray())
    y = Interactions.from_csr(x.user_items, items=IdMap.from_values(["a", "b", "c", "d"]))
    assert y.to_frame()["item_id"].dtype == pl.String
    with pytest.raises(DataError, match=r"shape \(5, 4\), but there are 5 users and 1 items"):
        Interactions.from_csr(m, items=IdMap.from_values([1]))
    with pytest.raises(DataError, match="negative"):
        Interactions.from_csr(-m)


CASTS = {
    "list": lambda ids: ids,
    "tuple": tuple,
    "array": np.array,
    "polars": pl.Series,
    "categories": lambda ids: pl.Series(list(map(str, ids)), dtype=pl.Categorical),
}


@settings(max_examples=60)
@given(st.data())
def test_the_ids_of_a_matrix_keep_their_rows(data):
    kind = data.draw(st.sampled_from([st.integers(-(2**62), 2**62), st.text(max_size=3)]))
    users, items = (data.draw(st.lists(kind, min_size=1, max_size=6, unique=True)) for _ in range(2))
    dense = data.draw(
        st.lists(
            st.lists(st.integers(0, 3), min_size=len(items), max_size=len(items)),
            min_size=len(users),
            max_size=len(users),
        )
    )
    name = data.draw(st.sampled_from(sorted(CASTS)))
    cast = CASTS[name]
    if name == "array" and any("\0" in str(i) for i in [*users, *items]):
        return  # NumPy cuts texts at the end there
    x = Interactions.from_csr(sp.csr_matrix(np.array(dense, np.float32)), users=cast(users), items=cast(items))
    of = str if name == "categories" else lambda i: i
    expected = {
        (of(u), of(i)): w for u, row in zip(users, dense, strict=True) for i, w in zip(items, row, strict=True) if w
    }
    assert cells(x) == expected
    check_csr(x.user_items)
    again = Interactions(x.users.ids.reverse(), x.items, x.user_items.take(np.arange(len(users))[::-1]))
    assert cells(again) == expected


def test_zoe_keeps_her_row():
    matrix = sp.csr_matrix(np.array([[1, 2, 0], [0, 0, 3]]))
    x = Interactions.from_csr(matrix, users=["zoe", "adam"], items=["pear", "fig", "kiwi"])
    assert cells(x) == {("zoe", "pear"): 1, ("zoe", "fig"): 2, ("adam", "kiwi"): 3}
    assert x.users.ids.to_list() == ["adam", "zoe"]


@pytest.mark.parametrize(
    ("users", "message"),
    [
        (["a"], r"shape \(2, 2\), but there are 1 users"),
        (["a", "b", "c"], r"shape \(2, 2\), but there are 3 users"),
        (["a", "a"], "users: 2 ids occur more than once, the first is 'a'"),
        (["a", None], r"users: 1 id\(s\) are null"),
        ([1.5, 2.0], "users: ids are integer, text.*received Float64"),
    ],
)
def test_ids_that_do_not_fit_a_matrix(users, message):
    with pytest.raises(DataError, match=message):
        Interactions.from_csr(sp.identity(2, format="csr"), users=users)


@pytest.mark.parametrize("users", [{"zoe", "adam"}, frozenset("ab"), {"zoe": 1, "adam": 0}])
def test_ids_without_an_order_are_no_ids_of_rows(users):
    with pytest.raises(ParameterError, match=r"users must be in the order of the rows .* give a list, an array"):
        Interactions.from_csr(sp.identity(2, format="csr"), users=users)


def test_a_matrix_that_is_none_is_found_before_it_is_used():
    good = CSR.from_pairs([0, 1], [1, 0], [1, 1], (2, 2))
    parts = {"indptr": good.indptr, "indices": good.indices, "values": good.values, "n_columns": 2}
    for wrong, message in (
        ({"indices": np.array([5, 0], np.int32)}, "index 5 lies outside"),
        ({"indptr": np.array([0, 9, 2])}, "indptr must ascend"),
        ({"values": np.ones(3, np.float32)}, "3 values for 2 indices"),
        ({"indptr": np.array([0, 2, 2])}, "ascending and without repeats"),
        ({"indices": np.array([1, 0])}, "must be int64, int32 and float32, got int64, int64, float32"),
    ):
        with pytest.raises(DataError, match=message):
            Interactions.from_csr(CSR(**parts | wrong))


def test_weights_of_another_order_are_weights_of_other_pairs():
    """A number for every pair, or an error: never the sum of a whole column."""
    log = pl.DataFrame({"u": [1, 1, 2], "i": [1, 1, 1], "w": [1.0, 2.0, 4.0]})
    events = read_events(log, user="u", item="i")
    w = log["w"]
    for wrong in (w, w.to_numpy(), w.to_list(), True, {}, pl.lit(w), pl.col("w") * w, pl.lit(w.alias("")), object()):
        with pytest.raises(ParameterError, match=r"weight must be a polars expression .* events.with_frame"):
            events.interactions(weight=wrong)
    for right, sums in (("w", [3, 4]), (2, [2, 2]), (2.5, [2.5, 2.5]), (pl.col("w").is_in(w), [2, 1])):
        assert events.interactions(weight=right).user_items.values.tolist() == sums


def test_counts_can_be_subtracted():
    """Counts and sums of flags are unsigned in polars, where 1 - 2 is 2^32 - 1."""
    log = pl.DataFrame({"u": [1, 1, 1, 2], "i": [1, 1, 1, 1], "back": [True, False, False, True]})
    events = read_events(log, user="u", item="i")
    assert events.interactions(pl.len() - pl.col("back").sum() + 1).user_items.values.tolist() == [3, 1]
    with pytest.raises(DataError, match=r"1 negative.*user 2 item 1: -1"):
        events.interactions(pl.len() - 2 * pl.col("back").sum())
    x = events.interactions()
    assert x.per_pair(1 - pl.len()).tolist() == [-2, 0]


@pytest.mark.parametrize("dtype", [pl.UInt8, pl.Int8, pl.Int32, pl.UInt32, pl.Float32, pl.Boolean])
def test_narrow_weights_are_summed_wide(dtype):
    most = 1 if dtype == pl.Boolean else 100 if dtype in (pl.UInt8, pl.Int8) else 2**30
    frame = pl.DataFrame({"user_id": [1] * 300, "item_id": [1] * 300, "w": pl.Series([most] * 300).cast(dtype)})
    assert Interactions.from_frame(frame, weight="w").user_items.values.tolist() == [300 * most]
    assert read_events(frame, user="user_id", item="item_id").interactions("w").user_items.values[0] == 300 * most


def test_from_csr_without_entries():
    x = Interactions.from_csr(CSR.from_scipy(sp.csr_matrix((2, 3))))
    assert (x.nnz, x.to_frame().height) == (0, 0)
    assert Interactions.from_csr(CSR.from_scipy(sp.csr_matrix((0, 0)))).n_users == 0
    assert "density" in repr(Interactions.from_csr(CSR.from_scipy(sp.csr_matrix((0, 0)))))


# user 1: items 1 2 3; user 2: items 1 2; user 3: item 3 ; user 4: item 9
LOG = pl.DataFrame({"user_id": [1, 1, 1, 2, 2, 3, 4, 1], "item_id": [1, 2, 3, 1, 2, 3, 9, 1]})


def test_filter_counts_distinct_partners():
    x = Interactions.from_frame(LOG)
    with pytest.warns(CofactorWarning, match=r"left out 2 of 4 users, 1 of 4 items and 2 of 7 interactions"):
        y = x.filter(min_user_count=2)
    assert (y.users.ids.to_list(), y.items.ids.to_list()) == ([1, 2], [1, 2, 3])
    assert cells(y) == {(1, 1): 2, (1, 2): 1, (1, 3): 1, (2, 1): 1, (2, 2): 1}


def test_k_core_repeats_until_all_counts_hold():
    x = Interactions.from_frame(LOG)
    with pytest.warns(CofactorWarning, match="k-core"):
        y = x.filter(2, 2, k_core=True)
    assert cells(y) == {(1, 1): 2, (1, 2): 1, (2, 1): 1, (2, 2): 1}
    check_csr(y.user_items)


@given(st.sets(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=60)
def test_k_core_is_the_largest_fixed_point(pairs, min_user, min_item):
    expected = set(pairs)
    while True:
        by_user, by_item = [u for u, _ in expected], [i for _, i in expected]
        kept = {(u, i) for u, i in expected if by_user.count(u) >= min_user and by_item.count(i) >= min_item}
        if kept == expected:
            break
        expected = kept
    x = Interactions.from_frame(table(sorted(pairs), weight=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CofactorWarning)
        if expected:
            assert set(cells(x.filter(min_user, min_item, k_core=True))) == expected
        else:
            with pytest.raises(DataError, match="nothing is left"):
                x.filter(min_user, min_item, k_core=True)


def test_filter_that_drops_nothing_is_silent():
    x = Interactions.from_frame(LOG)
    assert x.filter() is x
    assert x.filter(1, 1, k_core=True) is x


def test_filter_parameters():
    with pytest.raises(ParameterError, match="min_item_count must be a whole number of at least 0, got -1"):
        Interactions.from_frame(LOG).filter(min_item_count=-1)


def test_events_are_weighed_once_more():
    log = pl.DataFrame({"u": [2, 1, 1, 1, 3], "i": ["b", "a", "b", "a", "c"], "n": [5, 1, 2, 3, -4]})
    x = read_events(log, user="u", item="i").interactions()
    assert x.per_pair(pl.col("n").max()).tolist() == [3, 2, 5, -4]
    assert x.per_pair("n").tolist() == [4, 2, 5, -4]
    with pytest.warns(CofactorWarning, match="left out 1 of 3 users"):
        some = x.filter(min_item_count=2)
    assert some.per_pair("n").tolist() == [2, 5]
    with pytest.raises(DataError, match="these interactions know no events"):
        Interactions.from_frame(LOG).per_pair(None)


def test_a_dense_matrix_is_a_matrix():
    x = Interactions.from_csr(np.array([[0, 2], [1, 0]], np.uint8), users=["zoe", "adam"])
    assert x.to_frame().rows() == [("adam", 0, 1.0), ("zoe", 1, 2.0)]


@pytest.mark.parametrize("by_user", [True, False])
@given(
    st.lists(st.tuples(st.integers(-4, 9), st.integers(100, 105)), min_size=1, max_size=60),
    st.integers(1, 8),
)
def test_events_are_counted_by_sorting_as_by_grouping(by_user, rows, piece):
    rows = sorted(rows, key=lambda row: row[0]) if by_user else rows
    log = pl.DataFrame(rows, schema=["who", "what"], orient="row")
    events = read_events(log, user="who", item="what")
    grouped = events.interactions(pl.len() + 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cofactor.data.aggregate._PIECE", piece)
        counted = events.interactions()
    assert counted.users == grouped.users
    assert counted.items == grouped.items
    for name in ("indptr", "indices", "values"):
        found, wanted = getattr(counted.user_items, name), getattr(grouped.user_items, name)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
