"""Gradient descent on ratings against a float64 loop, its steps against the gradient of the loss."""

import numpy as np
import pytest

from cofactor.kernels.arguments import RatingSide, RatingStep
from cofactor.kernels.csr import CSR
from device import kernels
from reference import ratings_sgd as reference

STEP = RatingStep(0.05, 0.03, 0.4, 0.2)


def make(n_users=23, n_items=17, share=0.4, factors=5, seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(rng.random((n_users, n_items)) < share)
    ratings = CSR.from_pairs(rows, columns, rng.normal(size=len(rows)), (n_users, n_items))

    def side(n):
        vectors = np.zeros((n, -(-factors // 16) * 16), np.float32)
        vectors[:, :factors] = rng.normal(0, 0.4, (n, factors))
        biases, shrinkage = rng.normal(0, 0.3, n), rng.uniform(0.2, 1.5, n)
        return RatingSide(vectors, biases.astype(np.float32), shrinkage.astype(np.float32))

    return ratings, side(n_users), side(n_items)


def run(ratings, users, items, blocks=None, **options):
    """Sum of squared errors and both sides afterwards, the given ones as they were."""
    users, items = (kernels_side(side) for side in (users, items))
    blocks = blocks_of(ratings) if blocks is None else blocks
    total = kernels.ratings_sgd_epoch(ratings, users, items, STEP, blocks, **options)
    return total, users, items


def blocks_of(ratings):
    return kernels.rating_blocks(np.diff(ratings.indptr), np.bincount(ratings.indices, minlength=ratings.n_columns))


def kernels_side(side):
    return RatingSide(*(part.copy() for part in side))


def evenly(n, blocks):
    return np.linspace(0, n, blocks + 1).astype(np.int32)


def twin(ratings, users, items, blocks, **options):
    users, items = (RatingSide(*(part.astype(np.float64) for part in side)) for side in (users, items))
    return reference.ratings_sgd_epoch(ratings, users, items, STEP, blocks, **options), users, items


def assert_close(found, wanted):
    assert found[0] == pytest.approx(wanted[0], rel=1e-5)
    for one, other in zip(found[1:], wanted[1:], strict=True):
        np.testing.assert_allclose(one.vectors, other.vectors, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(one.biases, other.biases, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factors", [1, 16, 20, 50, 64, 80, 90, 100, 120, 140])
@pytest.mark.parametrize("n_blocks", [2, 6])
def test_steps_are_those_of_a_loop(cpu_level, factors, n_blocks):
    problem = make(factors=factors, seed=factors)
    blocks = evenly(23, n_blocks), evenly(17, n_blocks)
    for options in ({"shift": 0}, {"shift": 4}, {"update_items": False}):
        assert_close(run(*problem, blocks, **options), twin(*problem, blocks, **options))


def test_steps_are_the_same_where_items_are_asked_for_ahead(cpu_level):
    problem = make(23, 9000, 0.003, factors=60)
    blocks = evenly(23, 2), evenly(9000, 2)
    assert_close(run(*problem, blocks), twin(*problem, blocks))


def test_a_step_goes_down_the_gradient(where):
    """Of the loss as it is written down, by differences of it."""
    rng = np.random.default_rng(1)
    ratings, users, items = make(1, 1, 2.0, factors=3)
    _, *after = run(ratings, users, items)
    before, moved = (
        [part[0] for side in sides for part in (side.vectors[:, :3], side.biases)] for sides in ((users, items), after)
    )
    at = [np.asarray(part, np.float64) for part in before]
    shrinkages = users.shrinkage[0], items.shrinkage[0]

    def loss(k, direction):
        parts = [part + direction if j == k else part for j, part in enumerate(at)]
        return reference.loss(float(ratings.values[0]), *parts, STEP, *shrinkages)

    for k, rate in enumerate((STEP.learning_rate, STEP.bias_learning_rate) * 2):
        for _ in range(5):
            direction = 1e-3 * rng.normal(size=at[k].shape)
            gain = np.sum((moved[k] - at[k]) * direction) / rate
            assert gain == pytest.approx((loss(k, -direction) - loss(k, direction)) / 2, rel=2e-3, abs=1e-7)


def test_the_number_of_threads_changes_no_bit(cpu_level):
    problem = make(90, 70, 0.3, factors=20)
    blocks = evenly(90, 16), evenly(70, 16)
    for options in ({}, {"update_items": False}):
        total, *sides = run(*problem, blocks, threads=1, **options)
        for threads in (2, 5, 64):
            other, *others = run(*problem, blocks, threads=threads, **options)
            assert total == other
            for one, more in zip(sides, others, strict=True):
                np.testing.assert_array_equal(one.vectors, more.vectors)
                np.testing.assert_array_equal(one.biases, more.biases)


def test_users_alone_do_not_depend_on_each_other(where):
    ratings, users, items = make()
    _, together, _ = run(ratings, users, items, update_items=False)
    alone = CSR(np.array([0, len(ratings.row(7)[0])]), *ratings.row(7), ratings.n_columns)
    _, single, _ = run(alone, RatingSide(*(part[7:8] for part in users)), items, update_items=False)
    np.testing.assert_array_equal(single.vectors[0], together.vectors[7])


def test_users_with_few_ratings_are_cut_less(where):
    few, many = np.full(500_000, 20), np.full(60_000, 160)
    items = np.full(5_000, 2_000)
    assert len(kernels.rating_blocks(few, items)[0]) - 1 == 8
    assert len(kernels.rating_blocks(many, items)[0]) - 1 == 16


@pytest.mark.parametrize("nnz", [0, 5, 200_000, 700_000])
def test_blocks_have_about_as_many_ratings(where, nnz):
    rng = np.random.default_rng(2)
    n_users, n_items = 3000, 2000
    keys = np.unique((n_items * (rng.random(nnz) ** 2) * n_users).astype(np.int64))
    x = CSR.from_pairs(keys // n_items, keys % n_items, np.ones(len(keys)), (n_users, n_items))
    users, items = blocks_of(x)
    assert len(items) == len(users)
    assert (users[0], users[-1], items[0], items[-1]) == (0, n_users, 0, n_items)
    n = len(users) - 1
    assert n == (2 if nnz < 140_000 else 4 if x.nnz < 524_288 else 8)
    counts = np.diff(x.indptr[users]), np.diff(np.searchsorted(np.sort(x.indices), items))
    for count in counts:
        assert np.abs(count - x.nnz / n).max() <= 0.02 * x.nnz + 5


def test_wrong_shapes_are_refused(where):
    ratings, users, items = make()
    blocks = evenly(23, 2), evenly(17, 2)
    for wrong in ((blocks[0], evenly(17, 4)), (evenly(23, 3), evenly(17, 3))):
        with pytest.raises(ValueError, match="as many blocks of items as of users, and an even number"):
            run(ratings, users, items, wrong)
    with pytest.raises(ValueError, match="blocks must go from 0"):
        run(ratings, users, items, (blocks[0], evenly(16, 2)))
    with pytest.raises(ValueError, match="a vector, a bias and a shrinkage"):
        run(ratings, users._replace(biases=users.biases[1:]), items, blocks)
