"""The columns of SLIM against their dense float64 twin and the optimality conditions, both ways to the gradients.

Weights are compared at tolerance 1e-5; float32 sums then leave some 1e-5 of a weight.
"""

from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp

from cofactor.kernels.csr import CSR
from device import kernels
from reference import slim as reference

TIGHT = {"l1": 0.8, "l2": 3.0, "non_negative": True, "tolerance": 1e-5, "iterations": 5000}
both_ways = pytest.mark.parametrize("at_hand", [True, False], ids=["covariance", "residual"])
both_signs = pytest.mark.parametrize("non_negative", [True, False], ids=["non-negative", "both signs"])


def make(n_users, n_items, density=0.25, seed=0):
    """Users x items with a column that nobody has, one that all have, and a user of everything."""
    rng = np.random.default_rng(seed)
    x = (rng.random((n_users, n_items)) < density * 2 * rng.random(n_items)) * rng.choice([0.5, 1, 2], (n_users, 1))
    if n_users > 1 and n_items > 2:
        x[0], x[:, 1], x[:, 0] = 1, 1, 0
    return x.astype(np.float32)


@cache
def twin(shape, seed=0, n=None, *, non_negative=True):
    """Slow, and the same on every CPU level."""
    x = make(*shape, seed=seed)
    allowed = None if n is None else reference.neighbours(x, n)
    return reference.solve(x, l1=TIGHT["l1"], l2=TIGHT["l2"], non_negative=non_negative, allowed=allowed)


def columns(x, begin=0, end=None, *, at_hand=True, start=None, threads=1, **changed):
    """Weights with a column for each, and the statuses."""
    by_user = CSR.from_scipy(sp.csr_matrix(x))
    by_item = by_user.transposed()
    n = x.shape[1]
    gramian = np.zeros((n, -(-n // 16) * 16), np.float32)
    gramian[:, :n] = x.T @ x
    end = n if end is None else end
    options = {**TIGHT, **changed}
    start = None if start is None else CSR.from_scipy(sp.csr_matrix(start.T))
    weights, status = kernels.slim_columns(
        by_user, by_item, begin, end, gramian=gramian if at_hand else None, start=start, threads=threads, **options
    )
    assert weights.shape == (end - begin, n)
    ascending = np.diff(weights.indices.astype(np.int64)) > 0
    ascending[weights.indptr[1:-1][(weights.indptr[1:-1] > 0) & (weights.indptr[1:-1] < weights.nnz)] - 1] = True
    assert ascending.all()
    assert (weights.values != 0).all()
    return weights.to_scipy().toarray().T, status


@both_ways
@both_signs
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2), (30, 12), (12, 30), (60, 17), (40, 16)])
def test_like_the_twin(cpu_level, shape, at_hand, non_negative):
    x = make(*shape)
    weights, status = columns(x, at_hand=at_hand, non_negative=non_negative)
    np.testing.assert_allclose(weights, twin(shape, non_negative=non_negative), atol=2e-5)
    assert (status == 0).all()
    assert (np.diag(weights) == 0).all()


@both_ways
@both_signs
@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4])
def test_every_condition_holds_to_the_tolerance(cpu_level, at_hand, non_negative, tolerance):
    """With more items than a first working set takes (128), some of them joining later."""
    x = make(200, 240, 0.1, seed=1)
    options = {"l1": 0.3, "l2": 10.0, "non_negative": non_negative}
    weights, status = columns(x, at_hand=at_hand, tolerance=tolerance, threads=2, **options)
    assert (status == 0).all()
    assert not non_negative or (weights >= 0).all()
    assert reference.violations(x, weights, **options).max() <= tolerance * 1.01 + 1e-6


@both_ways
def test_many_items_at_work(cpu_level, at_hand):
    """Weights of both signs and next to no regularization: everything joins, in several steps."""
    x = make(300, 200, 0.2, seed=2)
    options = {"l1": 0.01, "l2": 30.0, "non_negative": False}
    weights, status = columns(x, 3, 9, at_hand=at_hand, tolerance=1e-4, **options)
    ours = np.zeros((200, 200))
    ours[:, 3:9] = weights
    assert (status == 0).all()
    assert np.count_nonzero(weights) > 6 * 150
    assert reference.violations(x, ours, **options)[:, 3:9].max() <= 1.01e-4 + 1e-6


@both_ways
@both_signs
def test_items_that_others_add_up_to(cpu_level, at_hand, non_negative):
    """Without l2 there are many solutions, and the weights' equations have none or all."""
    x = make(60, 12)
    x = np.hstack([x, x[:, 2:4], x[:, 4:5] + x[:, 5:6]])
    options = {"l1": 0.5, "l2": 0.0, "non_negative": non_negative}
    weights, status = columns(x, at_hand=at_hand, **options, tolerance=1e-4, iterations=20_000)
    assert not status.any()
    assert reference.violations(x, weights, **options).max() <= 1.01e-4 + 1e-6


@both_ways
def test_no_penalty_is_least_squares_without_negative_weights(cpu_level, at_hand):
    from scipy.optimize import nnls

    x = make(80, 12, seed=3)
    weights, _ = columns(x, at_hand=at_hand, l1=0.0, l2=0.0, tolerance=1e-6)
    for j in range(1, 12):
        others = [i for i in range(1, 12) if i != j]
        np.testing.assert_allclose(weights[others, j], nnls(x[:, others].astype(float), x[:, j])[0], atol=1e-3)


@both_ways
@pytest.mark.parametrize("n", [1, 3, 8, 1000])
def test_only_neighbours(cpu_level, at_hand, n):
    x = make(50, 20, seed=4)
    weights, _ = columns(x, at_hand=at_hand, neighbours=n)
    np.testing.assert_allclose(weights, twin((50, 20), 4, n), atol=2e-5)


@both_ways
@both_signs
def test_top_n_keeps_the_largest(cpu_level, at_hand, non_negative):
    x = make(60, 25, seed=5)
    every, _ = columns(x, at_hand=at_hand, non_negative=non_negative)
    some, _ = columns(x, at_hand=at_hand, non_negative=non_negative, top_n=3)
    for j in range(25):
        kept = np.lexsort((np.arange(25), -np.abs(every[:, j])))[:3]
        expected = np.zeros(25)
        expected[kept] = every[kept, j]
        np.testing.assert_array_equal(some[:, j], expected)


@both_ways
def test_ranges_and_threads_change_nothing(cpu_level, at_hand):
    x = make(200, 150, seed=6)
    every, _ = columns(x, at_hand=at_hand, tolerance=1e-3)
    for threads in (2, 5, 400):
        np.testing.assert_array_equal(columns(x, at_hand=at_hand, tolerance=1e-3, threads=threads)[0], every)
    for begin, end in ((0, 1), (149, 150), (40, 90), (7, 7)):
        part = columns(x, begin, end, at_hand=at_hand, tolerance=1e-3)[0]
        np.testing.assert_array_equal(part, every[:, begin:end])


@both_ways
@both_signs
def test_a_start_changes_the_way_not_the_answer(cpu_level, at_hand, non_negative):
    x = make(100, 60, seed=7)
    rng = np.random.default_rng(0)
    start = rng.standard_normal((60, 60)).astype(np.float32) * (rng.random((60, 60)) < 0.3)
    np.fill_diagonal(start, 0.7)  # not allowed, nor are negative weights
    cold, _ = columns(x, at_hand=at_hand, non_negative=non_negative)
    warm, status = columns(x, at_hand=at_hand, non_negative=non_negative, start=start)
    assert (status == 0).all()
    np.testing.assert_allclose(warm, cold, atol=2e-4)
    _, status = columns(x, at_hand=at_hand, non_negative=non_negative, start=cold, iterations=1, tolerance=1e-4)
    assert (status == 0).all()


@both_ways
def test_statuses(cpu_level, at_hand):
    x = make(200, 100, seed=8)
    _, status = columns(x, at_hand=at_hand, iterations=1, tolerance=1e-6)
    assert set(status) <= {0, 1}
    assert (status == 1).sum() > 50
    if at_hand:
        _, status = columns(x, max_active=5)
        assert (status == 2).any()


@both_ways
def test_too_large_l1_leaves_nothing(cpu_level, at_hand):
    x = make(40, 10, seed=9)
    weights, status = columns(x, at_hand=at_hand, l1=float((x.T @ x).max()))
    assert not weights.any()
    assert (status == 0).all()


@both_ways
def test_no_interactions(cpu_level, at_hand):
    for shape in ((3, 4), (0, 4), (3, 0)):
        weights, _ = columns(np.zeros(shape, np.float32), at_hand=at_hand)
        assert weights.shape == (shape[1], shape[1])
        assert not weights.any()


def test_bad_arguments(cpu_level):
    x = make(10, 5)
    for changed in ({"l1": -1.0}, {"l2": -1.0}, {"tolerance": 0.0}, {"iterations": 0}, {"end": 6}):
        with pytest.raises(ValueError, match=r"out of range|no such columns"):
            columns(x, **changed)
    by_user = CSR.from_scipy(sp.csr_matrix(x))
    with pytest.raises(ValueError, match="gramian must have one padded row per item"):
        kernels.slim_columns(by_user, by_user.transposed(), 0, 5, gramian=x.T @ x, **TIGHT)
    with pytest.raises(ValueError, match="both ways of a matrix"):
        kernels.slim_columns(by_user, by_user.take([0]).transposed(), 0, 5, **TIGHT)
