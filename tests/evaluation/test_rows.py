"""Arrays in, metrics out: as the same lists in a table."""

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

import cofactor as cf
from cofactor.errors import CofactorWarning, DataError, ParameterError
from cofactor.kernels.csr import CSR
from cofactor.metrics import available, parse

LISTS = np.array([[1, 2, -1], [0, 2, 1], [2, 0, 1], [-1, -1, -1]])
TEST = sp.csr_array(np.array([[0, 2, 0, 1], [1, 0, 4, 0], [0, 0, 0, 0], [0, 0, 0, 3]], np.float32))


@pytest.fixture(scope="module")
def case():
    """Lists of 1 to 8 of 30 items for 200 users, a tenth of whom have nothing to find, and their training data."""
    rng = np.random.default_rng(0)
    lists = np.full((200, 8), -1, np.int32)
    for row in lists:
        n = rng.integers(0, 9)
        row[:n] = rng.permutation(30)[:n]
    test = sp.random_array((200, 30), density=0.15, rng=rng, format="csr", dtype=np.float32)
    test = sp.csr_array(test.multiply((rng.random(200) > 0.1)[:, None]))
    test.eliminate_zeros()
    train = sp.random_array((200, 30), density=0.2, rng=rng, format="csr", dtype=np.float32)
    return lists, test, train


def arrays_suffice(needs):
    return needs.lists and not (needs.complete or needs.vectors or needs.categories)


def table_of(matrix, value):
    rows, columns = matrix.nonzero()
    return pl.DataFrame({"user_id": rows, "item_id": columns, value: matrix.tocsr()[rows, columns]})


@pytest.mark.parametrize("kind", [sp.csr_array, sp.csr_matrix, sp.coo_array, sp.csc_array, "cofactor"])
def test_values_are_those_of_a_table(case, kind):
    lists, test, train = case
    names = [name.replace("@k", f"@{k}") for name in available() for k in (1, 3, 8)]
    names = [name for name in dict.fromkeys(names) if arrays_suffice(parse(name).needs)]
    user, place = np.nonzero(lists >= 0)
    table = pl.DataFrame({"user_id": user, "item_id": lists[user, place], "rank": place + 1})
    expected = cf.evaluate(
        table, table_of(test, "weight"), names, train=table_of(train, "x"), n_items=30, n_bootstrap=0
    )
    if kind == "cofactor":
        test = CSR(test.indptr.astype(np.int64), test.indices.astype(np.int32), test.data, 30)
    else:
        test = kind(test)
    found = cf.evaluate_rows(lists, test, names, train=train)
    assert found["metric"].to_list() == names
    np.testing.assert_allclose(found["value"], expected["value"], rtol=1e-12)
    assert found["n_users"].to_list() == expected["n_users"].to_list()
    assert found["n_unknown_users"].to_list() == expected["n_unknown_users"].to_list()


def test_by_hand():
    found = cf.evaluate_rows(LISTS, TEST, ["recall@1", "recall@3", "mrr@3", "coverage@3"])
    np.testing.assert_allclose(found["value"], [(1 / 2 + 1 / 2 + 0) / 3, (1 / 2 + 1) / 3, (1 + 1) / 3, 3 / 4])
    assert found.select(pl.col("^n_.*$").unique()).row(0) == (3, 1, 1)
    assert cf.evaluate_rows(LISTS, TEST, "mrr@3", per_user=True).rows() == [(0, 1), (1, 1), (3, 0)]


def test_lists_for_some_rows_in_any_order():
    some = cf.evaluate_rows(LISTS[[1, 0]], TEST, ["recall@1", "mrr@3"], users=[1, 0], per_user=True)
    assert some.equals(cf.evaluate_rows(LISTS, TEST, ["recall@1", "mrr@3"], per_user=True))


def test_lists_of_a_model():
    x = cf.datasets.synthetic(50, 30, 600, seed=0)
    model = cf.Popular().fit(x)
    names = ["ndcg@5", "gini@5", "novelty@5"]
    rows = model.top_k(np.arange(50), 5, exclude_seen=False).rows
    found = cf.evaluate_rows(rows, x.user_items, names, train=x.user_items)
    np.testing.assert_allclose(found["value"], cf.evaluate(model, x, names, exclude_seen=False)["value"])


def test_a_pair_that_is_stored_twice_counts_once():
    twice = sp.csr_array((np.ones(3), np.array([1, 1, 3]), np.array([0, 3, 3, 3, 3])), shape=(4, 4))
    assert cf.evaluate_rows(LISTS, twice, "recall@1")["value"].item() == 1 / 2


def test_more_places_than_the_lists_have_are_told():
    with pytest.warns(CofactorWarning, match="recall@4: no list has more than 3 places"):
        cf.evaluate_rows(LISTS, TEST, ["recall@4", "recall@3"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"lists": LISTS[0]}, ParameterError, r"lists must be a matrix of row numbers.*got int64 of shape \(3,\)"),
        ({"lists": LISTS * 1.0}, ParameterError, "lists must be a matrix of row numbers.*float64"),
        ({"lists": LISTS + 2}, DataError, "lists: 4 is none of the 4 items of test"),
        ({"lists": LISTS - 1}, DataError, "lists: -2 is none of the 4 items of test, or -1"),
        ({"lists": LISTS[:, [0, 0]]}, DataError, "lists: row 0 holds item 1 twice"),
        ({"lists": LISTS[:2]}, ParameterError, "there are 2 lists and test has 4 rows; say which each is for: users="),
        ({"users": [0, 1]}, ParameterError, "users must be 4 row numbers of test"),
        ({"users": [0, 1, 2, 4]}, DataError, "users: 4 is none of the 4 rows of test"),
        ({"users": [0, 1, 1, 3]}, DataError, "users: 1 rows of test have more than one list, the first is 1"),
        ({"test": np.eye(4)}, ParameterError, "test must be a sparse matrix, users in rows"),
        ({"test": sp.csr_array((4, 4))}, DataError, "test: nothing is stored in it"),
        ({"metrics": ["auc", "rmse"]}, ParameterError, "auc, rmse: lists of k places do not tell; use evaluate"),
        ({"metrics": "calibration@3"}, ParameterError, r"calibration@3 needs features by item id; use evaluate"),
        ({"metrics": "novelty@3"}, ParameterError, r"novelty@3 needs the training data.*train="),
        ({"metrics": "recal@3"}, ParameterError, "did you mean recall"),
        ({"metrics": "novelty@3", "train": TEST[:2]}, ParameterError, r"train has shape \(2, 4\) and test \(4, 4\)"),
        ({"metrics": "ndcg_graded@3", "test": TEST * -1}, DataError, "5 values are not above 0"),
        ({"metrics": "coverage@3", "n_items": 2}, DataError, "3 distinct items, more than n_items=2"),
        ({"n_items": 0}, ParameterError, "n_items must be a whole number of at least 1"),
    ],
)
def test_what_cannot_be_measured(change, error, message):
    given = {"lists": LISTS, "test": TEST, "metrics": "recall@2"} | change
    with pytest.raises(error, match=message):
        cf.evaluate_rows(given.pop("lists"), given.pop("test"), given.pop("metrics"), **given)


@pytest.mark.parametrize("kind", ["scipy", "cofactor"])
def test_stored_zeros_are_no_items(kind):
    test = sp.csr_array((np.array([1.0, 0.0, 0.0], np.float32), ([0, 0, 1], [0, 1, 2])), (2, 3))
    if kind == "cofactor":
        test = CSR(test.indptr.astype(np.int64), test.indices.astype(np.int32), test.data, 3)
    found = cf.evaluate_rows([[0], [2]], test, "recall@1")
    assert found.select("value", "n_users", "n_untested_users").row(0) == (1.0, 1, 1)
