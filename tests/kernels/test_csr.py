import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from cofactor.errors import DataError, ParameterError
from cofactor.kernels.csr import CSR

quick = settings(max_examples=60)


@st.composite
def dictionaries(draw, shape=None):
    """A matrix as {(row, column): value}, and its shape, which may have no rows or columns."""
    n_rows, n_columns = shape or (draw(st.integers(0, 8)), draw(st.integers(0, 8)))
    cells = st.tuples(st.integers(0, max(n_rows - 1, 0)), st.integers(0, max(n_columns - 1, 0)))
    size = 20 if n_rows and n_columns else 0
    return draw(st.dictionaries(cells, st.integers(1, 9), max_size=size)), (n_rows, n_columns)


def build(case):
    cells, shape = case
    return CSR.from_pairs([r for r, _ in cells], [c for _, c in cells], list(cells.values()), shape)


def as_dict(csr):
    return dict(zip(zip(csr.row_index().tolist(), csr.indices.tolist(), strict=True), csr.values.tolist(), strict=True))


def assert_well_formed(csr):
    assert (csr.indptr.dtype, csr.indices.dtype, csr.values.dtype) == (np.int64, np.int32, np.float32)
    assert csr.indptr[0] == 0
    assert csr.indptr[-1] == csr.nnz == len(csr.values)
    for i in range(csr.n_rows):
        columns, values = csr.row(i)
        assert (np.diff(columns) > 0).all()
        assert len(columns) == len(values)


@quick
@given(dictionaries())
def test_from_pairs_holds_what_it_was_given(case):
    csr = build(case)
    assert_well_formed(csr)
    assert csr.shape == case[1]
    assert as_dict(csr) == case[0]


@quick
@given(dictionaries())
def test_transposed_swaps_rows_and_columns(case):
    csr = build(case).transposed()
    assert_well_formed(csr)
    assert csr.shape == case[1][::-1]
    assert as_dict(csr) == {(c, r): v for (r, c), v in case[0].items()}


@quick
@given(dictionaries((6, 5)), st.lists(st.integers(0, 5), max_size=10))
def test_take_gives_rows_in_the_order_asked(case, rows):
    csr = build(case).take(rows)
    assert_well_formed(csr)
    assert csr.shape == (len(rows), 5)
    assert as_dict(csr) == {(at, c): v for at, row in enumerate(rows) for (r, c), v in case[0].items() if r == row}


@quick
@given(dictionaries((5, 7)), dictionaries((5, 7)))
def test_union_is_the_pattern_of_both(one, other):
    csr = build(one).union(build(other))
    assert_well_formed(csr)
    assert as_dict(csr) == dict.fromkeys({*one[0], *other[0]}, 1)


@quick
@given(dictionaries((6, 5)), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=20))
def test_lookup_gives_values_or_zero(case, wanted):
    got = build(case).lookup([r for r, _ in wanted], [c for _, c in wanted])
    assert got.dtype == np.float32
    assert got.tolist() == [case[0].get(cell, 0) for cell in wanted]
    zeros = build(case).with_values(np.zeros(len(case[0])))
    assert zeros.contains([r for r, _ in wanted], [c for _, c in wanted]).tolist() == [c in case[0] for c in wanted]


@quick
@given(dictionaries())
def test_scipy_and_back(case):
    csr = build(case)
    back = CSR.from_scipy(csr.to_scipy())
    assert back.shape == csr.shape
    assert as_dict(back) == as_dict(csr)


FORMATS = ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"]
DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_scipy_format_and_type_is_taken(form, kind, dtype):
    dense = np.array([[0, 2, 0], [1, 0, 3]]).astype(dtype)
    given = getattr(sp, f"coo_{kind}")(dense).asformat(form)
    csr = CSR.from_scipy(given)
    assert_well_formed(csr)
    assert (csr.to_scipy().toarray() == dense.astype(float)).all()


@quick
@given(st.data())
def test_repeated_entries_are_added_up_whatever_their_type(data):
    cells = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([1, 100, 120]))
    entries = data.draw(st.lists(cells, max_size=40))
    dtype = data.draw(st.sampled_from(DTYPES))
    rows, columns, values = (np.array(part, int) for part in (zip(*entries, strict=True) if entries else ([], [], [])))
    values = values.astype(dtype)
    expected = {}
    for r, c, v in zip(rows.tolist(), columns.tolist(), values.tolist(), strict=True):
        expected[r, c] = expected.get((r, c), 0) + int(v)
    form = data.draw(st.sampled_from(["coo", "csr", "csc"]))
    if form == "coo":
        given = sp.coo_matrix((values, (rows, columns)), shape=(4, 4))
    else:
        major, minor = (rows, columns) if form == "csr" else (columns, rows)
        order = np.argsort(major, kind="stable")
        indptr = np.append(0, np.cumsum(np.bincount(major, minlength=4)))
        given = getattr(sp, f"{form}_matrix")((values[order], minor[order], indptr), shape=(4, 4))
        given.has_sorted_indices = given.has_canonical_format = data.draw(st.booleans())  # true or a lie
    csr = CSR.from_scipy(given)
    assert_well_formed(csr)
    assert as_dict(csr) == expected
    assert (given.data if form == "coo" else given.data[np.argsort(order)]).tolist() == values.tolist()


def test_many_ones_are_counted():
    for dtype in ("u1", "?", "i1"):
        where = np.zeros(300, np.int32)
        assert CSR.from_scipy(sp.coo_matrix((np.ones(300, dtype), (where, where)))).values.tolist() == [300]
    values, where = np.array([2**24, 1, 1], np.float32), np.zeros(3, np.int32)  # float32 stops counting there
    assert CSR.from_scipy(sp.coo_matrix((values, (where, where)))).values.tolist() == [2**24 + 2]


def test_indices_of_64_bits():
    given = sp.csr_matrix((np.ones(2), np.array([3, 1]), np.array([0, 1, 2])), shape=(2, 4))
    given.indices, given.indptr = given.indices.astype(np.int64), given.indptr.astype(np.int64)
    assert as_dict(CSR.from_scipy(given)) == {(0, 3): 1, (1, 1): 1}
    with pytest.raises(DataError, match="2147483647 rows and columns"):
        CSR.from_scipy(sp.csr_matrix((1, 2**31)))


def test_zeros_that_are_stored_and_negative_values_are_left_to_those_who_mind():
    given = sp.csr_matrix((np.array([0.0, -2.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 2))
    assert as_dict(CSR.from_scipy(given)) == {(0, 0): 0, (0, 1): -2}


@pytest.mark.parametrize("wrong", [np.eye(2), [[1]], None, "x", 5])
def test_what_is_no_matrix(wrong):
    with pytest.raises(ParameterError, match="must be a sparse one of SciPy"):
        CSR.from_scipy(wrong)


def test_matrices_that_cannot_be_weights():
    with pytest.raises(DataError, match="complex128"):
        CSR.from_scipy(sp.csr_matrix(np.array([[1j]])))
    broken = sp.csr_matrix(np.eye(2))
    broken.indices = np.array([0, 7], np.int32)
    with pytest.raises(DataError, match="index 7 lies outside"):
        CSR.from_scipy(broken)
    broken = sp.coo_matrix(np.eye(2))
    broken.col = np.array([0, 7], np.int32)
    with pytest.raises(DataError, match="index 7 lies outside"):
        CSR.from_scipy(broken)


@quick
@given(dictionaries((5, 4)), st.permutations(range(5)), st.permutations(range(4)))
def test_permuted_rows_and_columns(case, rows, columns):
    csr = build(case).permuted(np.array(rows), np.array(columns))
    assert_well_formed(csr)
    assert as_dict(csr) == {(rows.index(r), columns.index(c)): v for (r, c), v in case[0].items()}
    csr.check()


def test_scipy_entries_are_sorted_and_added_up_without_touching_the_original():
    repeated = sp.coo_matrix(([1.0, 2.0, 4.0], ([0, 0, 0], [2, 0, 2])), shape=(1, 3))
    csr = CSR.from_scipy(repeated)
    assert_well_formed(csr)
    assert as_dict(csr) == {(0, 0): 2, (0, 2): 5}
    unsorted = sp.csr_matrix((np.array([1.0, 2.0]), np.array([2, 0]), np.array([0, 2])), shape=(1, 3))
    CSR.from_scipy(unsorted)
    assert unsorted.indices.tolist() == [2, 0]


def test_repeated_pairs_are_an_error_naming_the_first():
    with pytest.raises(DataError, match=r"2 \(row, column\) pairs are repeated, the first is \(0, 3\)"):
        CSR.from_pairs([1, 0, 0, 1], [2, 3, 3, 2], [1, 1, 1, 1], (2, 4))


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [([2], [0], "row 2"), ([-1], [0], "row -1"), ([0], [4], "column 4"), ([0], [-3], "column -3")],
)
def test_pairs_outside_the_shape_are_an_error(rows, columns, message):
    with pytest.raises(DataError, match=rf"{message} lies outside the shape \(2, 4\)"):
        CSR.from_pairs(rows, columns, [1], (2, 4))


def test_row_is_a_view():
    csr = CSR.from_pairs([0, 1, 1], [1, 0, 1], [1, 2, 3], (2, 2))
    columns, values = csr.row(1)
    assert columns.tolist() == [0, 1]
    assert np.shares_memory(values, csr.values)


def test_row_sums_of_values_and_of_others():
    csr = CSR(np.array([0, 0, 2, 2, 3]), np.array([0, 4, 1], "i4"), np.array([1, 2, 4], "f4"), 5)
    assert csr.row_sums().tolist() == [0, 3, 0, 4]
    assert csr.row_sums(np.array([1e30, 1e30, 5], "f4")).tolist() == [0, 2 * float(np.float32(1e30)), 0, 5]
    assert csr.row_sums().dtype == np.float64
    assert CSR(np.zeros(3, np.int64), np.empty(0, "i4"), np.empty(0, "f4"), 5).row_sums().tolist() == [0, 0]
