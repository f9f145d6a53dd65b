"""SVD++ by the kernel against the loop over every vector that it saves; its steps against the gradient of the loss."""

import numpy as np
import pytest

from cofactor.kernels.arguments import RatingSide, RatingStep
from cofactor.kernels.csr import CSR
from device import kernels
from reference import ratings_implicit as reference

STEP = RatingStep(0.05, 0.03, 0.4, 0.2)


def make(n_users=23, n_items=17, share=0.4, factors=5, seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(rng.random((n_users, n_items)) < share)
    ratings = CSR.from_pairs(rows, columns, rng.normal(size=len(rows)), (n_users, n_items))

    def vectors(n):
        out = np.zeros((n, -(-factors // 16) * 16), np.float32)
        out[:, :factors] = rng.normal(0, 0.4, (n, factors))
        return out

    def side(n):
        biases, shrinkage = rng.normal(0, 0.3, n), rng.uniform(0.2, 1.5, n)
        return RatingSide(vectors(n), biases.astype(np.float32), shrinkage.astype(np.float32))

    return ratings, side(n_users), side(n_items), vectors(n_items)


def evenly(n, blocks):
    return np.linspace(0, n, blocks + 1).astype(np.int32)


def run(ratings, users, items, implicit, n_blocks=3, **options):
    """Sum of squared errors and all parts afterwards, the given ones as they were."""
    users, items = (RatingSide(*(part.copy() for part in side)) for side in (users, items))
    implicit = implicit.copy()
    blocks = evenly(ratings.n_rows, n_blocks), evenly(ratings.n_columns, n_blocks)
    total = kernels.ratings_implicit_epoch(ratings, users, items, implicit, STEP, blocks=blocks, **options)
    return total, users.vectors, users.biases, items.vectors, items.biases, implicit


def twin(ratings, users, items, implicit, batch):
    users, items = (RatingSide(*(part.astype(np.float64) for part in side)) for side in (users, items))
    implicit = implicit.astype(np.float64)
    total = reference.ratings_implicit_epoch(ratings, users, items, implicit, STEP, batch=batch)
    return total, users.vectors, users.biases, items.vectors, items.biases, implicit


@pytest.mark.parametrize("factors", [1, 16, 20, 50, 140])
@pytest.mark.parametrize("batch", [1, 20, 10_000])
def test_steps_are_those_of_a_loop(cpu_level, factors, batch):
    problem = make(factors=factors, seed=factors)
    found, wanted = run(*problem, batch=batch), twin(*problem, batch)
    assert found[0] == pytest.approx(wanted[0], rel=1e-5)
    for one, other in zip(found[1:], wanted[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)


def test_a_step_goes_down_the_gradient(where):
    """One user and one rating among its items: of the loss as it is written down, by differences of it."""
    rng = np.random.default_rng(1)
    ratings, users, items, implicit = make(1, 1, 2.0, factors=3)
    _, *after = run(ratings, users, items, implicit, n_blocks=1)
    before = users.vectors, users.biases, items.vectors, items.biases, implicit
    at = [np.asarray(part[..., :3] if part.ndim == 2 else part, np.float64) for part in before]
    moved = [np.asarray(part[..., :3] if part.ndim == 2 else part, np.float64) for part in after]
    shrinkages = users.shrinkage[0], items.shrinkage[0]

    def loss(k, direction):
        p, b_u, q, b_i, y = (part + direction if j == k else part for j, part in enumerate(at))
        return reference.loss(float(ratings.values[0]), p[0], b_u[0], q[0], b_i[0], y, STEP, *shrinkages)

    rates = (
        STEP.learning_rate,
        STEP.bias_learning_rate,
        STEP.learning_rate,
        STEP.bias_learning_rate,
        STEP.learning_rate,
    )
    for k, rate in enumerate(rates):
        for _ in range(5):
            direction = 1e-3 * rng.normal(size=at[k].shape)
            gain = np.sum((moved[k] - at[k]) * direction) / rate
            assert gain == pytest.approx((loss(k, -direction) - loss(k, direction)) / 2, rel=2e-3, abs=1e-7)


def test_the_number_of_threads_changes_no_bit(cpu_level):
    problem = make(90, 70, 0.3, factors=20)
    one = run(*problem, n_blocks=8, batch=200, threads=1)
    for threads, n_blocks in ((2, 8), (5, 3), (64, 1)):
        for a, b in zip(one, run(*problem, n_blocks=n_blocks, batch=200, threads=threads), strict=True):
            np.testing.assert_array_equal(a, b)


def test_users_without_ratings_stay_and_there_may_be_none(where):
    ratings, users, items, implicit = make()
    empty = ratings.take([])
    total, *parts = run(empty, RatingSide(*(part[:0] for part in users)), items, implicit)
    assert total == 0
    np.testing.assert_array_equal(parts[4], implicit)
    gap = CSR(np.insert(ratings.indptr, 3, ratings.indptr[3]), ratings.indices, ratings.values, ratings.n_columns)
    wider = RatingSide(*(np.insert(part, 3, part[0], axis=0) for part in users))
    _, vectors, *_ = run(gap, wider, items, implicit)
    np.testing.assert_array_equal(vectors[3], wider.vectors[3])


def test_wrong_shapes_are_refused(where):
    ratings, users, items, implicit = make()
    with pytest.raises(ValueError, match="implicit must have the shape of the item vectors"):
        run(ratings, users, items, implicit[1:])
    with pytest.raises(ValueError, match="batch must be at least 1"):
        run(ratings, users, items, implicit, batch=0)
