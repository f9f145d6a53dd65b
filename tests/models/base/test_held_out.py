"""Pairs that a model is not trained on: which they are, and how lists are scored by them."""

import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cofactor as cf
from cofactor.errors import CofactorWarning, DataError
from cofactor.kernels.arrays import TopK
from cofactor.kernels.csr import CSR
from cofactor.models.base.held_out import entries, mean_ndcg, some_entries, wanted_pairs


def matrix(lengths, n_items=50):
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    columns = np.concatenate([rng.choice(n_items, n, replace=False) for n in lengths] + [np.zeros(0, int)])
    return CSR.from_pairs(rows, columns, 1.0 + np.arange(len(rows)), (len(lengths), n_items))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.floats(0.01, 0.99), st.integers(1, 50))
def test_every_row_keeps_an_entry_and_few_rows_lose_any(lengths, share, n_users):
    x = matrix(lengths)
    out = some_entries(x, share, n_users, np.random.default_rng(1))
    lost = np.bincount(x.row_index()[out], minlength=len(lengths))
    assert ((lost < lengths) | (lost == 0)).all()
    assert (lost > 0).sum() <= n_users


def test_the_share_is_the_one_asked_for():
    x = matrix([30] * 500)
    out = some_entries(x, 0.1, 200, np.random.default_rng(0))
    assert out.sum() == pytest.approx(0.1 * 200 * 30, rel=0.15)
    assert np.array_equal(out, some_entries(x, 0.1, 200, np.random.default_rng(0)))
    assert not np.array_equal(out, some_entries(x, 0.1, 200, np.random.default_rng(1)))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(0, 100))
def test_both_parts_make_the_whole(lengths, seed):
    x = matrix(lengths)
    which = np.random.default_rng(seed).random(x.nnz) < 0.4
    parts = entries(x, which).to_scipy() + entries(x, ~which).to_scipy()
    assert np.array_equal(parts.toarray(), x.to_scipy().toarray())
    assert entries(x, which).nnz == which.sum()


def test_ndcg_by_hand():
    top = TopK(np.array([[4, 2, 7], [1, 0, -1]], np.int32), np.zeros((2, 3), np.float32))
    wanted = CSR.from_pairs([0, 0, 1], [2, 9, 5], np.ones(3), (2, 10))
    first = (1 / np.log2(3)) / (1 + 1 / np.log2(3))  # the second place of two wanted items
    assert mean_ndcg(top, wanted) == pytest.approx(first / 2)


def test_ndcg_is_that_of_the_metrics(interactions):
    """Where no user has more wanted items than places, as then both ideals are the same."""
    model = cf.ImplicitALS(8, iterations=3, regularization=0.1).fit(interactions)
    rng = np.random.default_rng(0)
    items = rng.permuted(np.tile(np.arange(40), (60, 1)), axis=1)[:, :4].ravel()
    wanted = CSR.from_pairs(np.repeat(np.arange(60), 4), items, np.ones(240), (60, 40))
    pairs = pl.DataFrame({"user_id": wanted.row_index(), "item_id": wanted.indices})
    found = cf.evaluate(model.recommend(exclude_seen=False), pairs, ["ndcg@10"], n_bootstrap=0)["value"].item()
    assert mean_ndcg(model.top_k(np.arange(60), 10, exclude_seen=False), wanted) == pytest.approx(found, rel=1e-6)


# Pairs that are given


@pytest.fixture
def x():
    return cf.Interactions.from_frame(pl.DataFrame({"user_id": ["a", "a", "b"], "item_id": [1, 2, 3]}))


def pairs(*rows):
    return pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")


def test_new_pairs_of_known_ids_are_wanted(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wanted = wanted_pairs(x, pairs(("b", 1), ("a", 3), ("b", 2)))
    assert wanted.to_scipy().toarray().tolist() == [[0, 0, 1], [1, 1, 0]]


def test_other_pairs_are_left_out_and_counted(x):
    told = (
        "held_out: 2 of 4 pairs have a user or an item that is not in the interactions and 1 of 4 pairs are among the "
        "interactions, too; they are left out"
    )
    with pytest.warns(CofactorWarning, match=told):
        wanted = wanted_pairs(x, pairs(("b", 1), ("z", 1), ("a", 9), ("a", 1)))
    assert wanted.to_scipy().toarray().tolist() == [[0, 0, 0], [1, 0, 0]]


def test_pairs_of_no_use_are_an_error(x):
    with pytest.raises(DataError, match=r"held_out: none of its 2 pairs .* were held out of these interactions"):
        wanted_pairs(x, pairs(("z", 1), ("a", 1)))
