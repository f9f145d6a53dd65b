"""Negative samplers against their twin, draw by draw, and their distributions."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cofactor.kernels.csr import CSR
from device import kernels
from reference import sampling as reference


def matrix(dense):
    return CSR.from_scipy(sp.csr_matrix(np.asarray(dense, np.float32)))


def make(n_users, n_items, density=0.3, seed=0):
    """A user who has seen nothing, one who has seen everything."""
    dense = np.random.default_rng(seed).random((n_users, n_items)) < density
    if n_users > 2:
        dense[0], dense[1] = False, True
    return dense


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (9, 2), (30, 23)])
@pytest.mark.parametrize("checked", [True, False], ids=["exact", "unchecked"])
@pytest.mark.parametrize("weighted", [True, False], ids=["popularity", "uniform"])
@pytest.mark.parametrize("share", [None, 0.4, 1.0])
def test_like_the_twin(cpu_level, shape, checked, weighted, share):
    seen = make(*shape)
    dislikes = None if share is None else np.random.default_rng(1).random(shape) < 0.2
    alias = kernels.alias_table(np.arange(1.0, shape[1] + 1)) if weighted else None
    users = np.random.default_rng(2).integers(0, shape[0], 40).astype(np.int32)
    options = {"alias": alias, "dislike_share": share or 0.0, "seed": 2**63 + 5, "first": 11}
    expected = reference.sample_negatives(users, 6, shape, seen=seen if checked else None, dislikes=dislikes, **options)
    for threads in (1, 2, 5):
        ours = kernels.sample_negatives(
            users, 6, shape, seen=matrix(seen) if checked else None,
            dislikes=None if dislikes is None else matrix(dislikes), **options, threads=threads,
        )  # fmt: skip
        np.testing.assert_array_equal(ours, expected)


def test_batches_change_nothing(cpu_level):
    seen = make(20, 15)
    users = np.tile(np.arange(20, dtype=np.int32), 10)
    every = kernels.sample_negatives(users, 3, seen.shape, seen=matrix(seen), seed=3)
    parts = [
        kernels.sample_negatives(users[at : at + 37], 3, seen.shape, seen=matrix(seen), seed=3, first=at)
        for at in range(0, 200, 37)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), every)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.sets(st.integers(0, 39)), st.booleans(), st.integers(0, 2**64 - 1))
def test_exact_never_gives_a_seen_item(n_items, seen, weighted, seed):
    dense = np.zeros((1, n_items), bool)
    dense[0, [i for i in seen if i < n_items]] = True
    weights = np.zeros(n_items)
    weights[0] = 1.0  # all of the popularity may be of a seen item
    alias = kernels.alias_table(weights) if weighted else None
    options = {"seen": matrix(dense), "alias": alias, "seed": seed}
    found = kernels.sample_negatives(np.zeros(50, np.int32), 3, dense.shape, **options).ravel()
    if dense.all():
        assert (found == -1).all()
    else:
        assert ((found >= 0) & (found < n_items)).all()
        assert not dense[0, found].any()


def chi_square(found, expected):
    """How probable counts as far off or farther are."""
    counts = np.bincount(found, minlength=len(expected))
    possible = expected > 0
    assert not counts[~possible].any()
    return stats.chisquare(counts[possible], expected[possible] / expected.sum() * len(found)).pvalue


@pytest.mark.parametrize("weighted", [True, False], ids=["popularity", "uniform"])
@pytest.mark.parametrize("checked", [True, False], ids=["exact", "unchecked"])
def test_distributions(cpu_level, weighted, checked):
    n = 50
    seen = np.zeros((1, n), bool)
    seen[0, [0, 3, 4, 17, 49]] = True
    weights = np.arange(n) ** 0.75 if weighted else np.ones(n)
    alias = kernels.alias_table(weights) if weighted else None
    users = np.zeros(20_000, np.int32)
    found = kernels.sample_negatives(users, 10, (1, n), seen=matrix(seen) if checked else None, alias=alias, seed=1)
    expected = np.where(seen[0] & checked, 0.0, weights)
    assert chi_square(found.ravel(), expected) > 1e-3
    wrong = expected.copy()
    wrong[40] *= 1.2
    assert chi_square(found.ravel(), wrong) < 1e-6, "the test would not notice an item a fifth too rare"
    pairs = found[:, 0] * n + found[:, 1]
    assert chi_square(pairs, np.outer(expected, expected).ravel()) > 1e-3, "draws depend on each other"


def test_share_of_dislikes(cpu_level):
    dislikes = np.zeros((2, 10), bool)
    dislikes[0, [2, 5]] = True
    users = np.repeat(np.arange(2, dtype=np.int32), 20_000)
    found = kernels.sample_negatives(users, 1, (2, 10), dislikes=matrix(dislikes), dislike_share=0.6).reshape(2, -1)
    expected = np.full(10, 0.04)
    expected[[2, 5]] += 0.3
    assert chi_square(found[0], expected) > 1e-3
    assert chi_square(found[1], np.ones(10)) > 1e-3


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0, 3.0], [1.0] * 7, list(range(100)), [1e-30, 1.0, 1e30]])
def test_alias_tables_have_the_probabilities(cpu_level, weights):
    weights = np.array(weights, np.float64)
    keep, alias = kernels.alias_table(weights)
    assert ((keep >= 0) & (keep <= 1)).all()
    np.testing.assert_allclose(reference.probabilities(keep, alias), weights / weights.sum(), atol=1e-7)
    assert not reference.probabilities(keep, alias)[weights == 0].any()


def test_nothing_asked(cpu_level):
    assert kernels.sample_negatives(np.zeros(0, np.int32), 4, (3, 5)).shape == (0, 4)
    assert kernels.sample_negatives(np.zeros(2, np.int32), 0, (3, 5)).shape == (2, 0)
    assert (kernels.sample_negatives(np.zeros(2, np.int32), 2, (3, 0)) == -1).all()


def test_bad_arguments(cpu_level):
    one = np.zeros(1, np.int32)
    with pytest.raises(ValueError, match="users must be rows"):
        kernels.sample_negatives(one + 3, 1, (3, 5))
    with pytest.raises(ValueError, match="one row for every user"):
        kernels.sample_negatives(one, 1, (3, 5), seen=matrix(np.ones((2, 5))))
    with pytest.raises(ValueError, match="ascending"):
        kernels.sample_negatives(one, 1, (3, 4), seen=matrix(np.ones((3, 5))))
    with pytest.raises(ValueError, match="alias must hold items"):
        kernels.sample_negatives(one, 1, (3, 2), alias=(np.ones(2, np.float32), np.array([0, 2], np.int32)))
    for weights in ([], [0.0], [-1.0, 2.0], [np.nan], [np.inf]):
        with pytest.raises(ValueError, match=r"weights|there must be one"):
            kernels.alias_table(np.array(weights, np.float64))
