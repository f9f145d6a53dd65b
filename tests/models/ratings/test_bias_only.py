"""Mean and biases: the minimum of the loss, the variances that were planted, folding in."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cofactor as cf
from cofactor.kernels.csr import CSR


def planted(n_users=400, n_items=300, share=0.1, noise=1.0, user=0.5, item=0.8, seed=0):
    rng = np.random.default_rng(seed)
    b_u, b_i = rng.normal(0, user, n_users), rng.normal(0, item, n_items)
    rows, columns = np.nonzero(rng.random((n_users, n_items)) < share)
    values = 3 + b_u[rows] + b_i[columns] + rng.normal(0, noise, len(rows))
    return cf.Ratings.from_matrix(CSR.from_pairs(rows, columns, values, (n_users, n_items))), b_u, b_i


def loss(model, x, mean, users, items):
    left = x.values.astype(np.float64) - mean - users[x.row_index()] - items[x.indices]
    return left @ left + model.user_regularization_ * users @ users + model.item_regularization_ * items @ items


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([(None, None), (0.5, 20.0), (5.0, None)]))
def test_nothing_near_the_answer_is_better(seed, given_):
    ratings, *_ = planted(12, 9, 0.4, seed=seed)
    model = cf.BiasOnly(user_regularization=given_[0], item_regularization=given_[1]).fit(ratings)
    at = model.mean_, model.user_biases_.astype(np.float64), model.item_biases_.astype(np.float64)
    least = loss(model, ratings.user_items, *at)
    rng = np.random.default_rng(seed)
    for size in (1e-1, 1e-2):
        for _ in range(20):
            moved = at[0] + size * rng.normal(), *(b + size * rng.normal(size=len(b)) for b in at[1:])
            assert loss(model, ratings.user_items, *moved) > least - 1e-6


def test_the_gradient_is_zero():
    ratings, *_ = planted()
    model = cf.BiasOnly().fit(ratings)
    x = ratings.user_items
    left = x.values - model.mean_ - model.user_biases_[x.row_index()] - model.item_biases_[x.indices]
    assert abs(left.sum()) < 0.05
    of_users = x.row_sums(left) - model.user_regularization_ * model.user_biases_
    of_items = np.bincount(x.indices, left, x.n_columns) - model.item_regularization_ * model.item_biases_
    assert max(np.abs(of_users).max(), np.abs(of_items).max()) < 1e-3


def test_planted_variances_and_biases_are_found():
    ratings, b_u, b_i = planted(1500, 800, 0.05)
    model = cf.BiasOnly().fit(ratings)
    assert model.noise_ == pytest.approx(1.0, rel=0.02)
    assert model.user_spread_ == pytest.approx(0.5, rel=0.08)
    assert model.item_spread_ == pytest.approx(0.8, rel=0.08)
    assert model.user_regularization_ == pytest.approx((model.noise_ / model.user_spread_) ** 2, rel=0.01)
    for found, std, truth in (
        (model.user_biases_, model.user_biases_stds_, b_u),
        (model.item_biases_, model.item_biases_stds_, b_i),
    ):
        z = (found - found.mean() - truth + truth.mean()) / std
        assert np.sqrt(np.mean(z**2)) == pytest.approx(1, abs=0.1)


def test_without_effects_everything_is_the_mean():
    ratings, *_ = planted(noise=1.0, user=0.0, item=0.0)
    model = cf.BiasOnly().fit(ratings)
    assert max(np.abs(model.user_biases_).max(), np.abs(model.item_biases_).max()) < 0.25
    assert model.user_regularization_ > 50


def test_the_defaults_are_as_good_as_the_best_of_a_grid():
    ratings, b_u, b_i = planted(600, 400, 0.03, seed=3)
    wanted = 3 + b_u[:, None] + b_i

    def off(model):
        model.fit(ratings)
        rated = model.mean_ + model.user_biases_[:, None] + model.item_biases_
        return np.sqrt(np.mean((rated - wanted) ** 2))

    tried = product((0, 1, 2, 4, 8, 16), (0, 1, 2, 4, 8))
    grid = [cf.BiasOnly(user_regularization=user, item_regularization=item) for user, item in tried]
    assert off(cf.BiasOnly()) < 1.01 * min(map(off, grid))


def test_a_perfect_fit_and_users_and_items_without_ratings():
    users, items = np.array([0.0, 1.0, -1.0]), np.array([2.0, -2.0])
    dense = 3 + users[:, None] + items
    table = np.full((4, 3), np.nan)
    table[:3, :2] = dense
    for model in (cf.BiasOnly(), cf.BiasOnly(user_regularization=0, item_regularization=0)):
        model.fit(cf.Ratings.from_matrix(table))
        rated = model.rate(np.repeat(np.arange(3), 2), np.tile([0, 1], 3))[0]
        np.testing.assert_allclose(rated, dense.ravel(), atol=1e-3)
        assert (model.user_biases_[3], model.item_biases_[2]) == (0, 0)
        every = model.rate([3, 3, -1, -1], [0, 2, 2, -1])
        assert np.isfinite(every).all()


def test_what_is_less_known_is_less_sure():
    ratings, *_ = planted()
    model = cf.BiasOnly().fit(ratings)
    counts = np.diff(ratings.user_items.indptr)
    (known, _, nobody) = model.rate([counts.argmax(), counts.argmin(), -1], [0, 0, 0])[1]
    assert model.noise_ < known < nobody
    assert model.rate([-1], [-1])[1][0] == pytest.approx(np.sqrt(model.noise_**2 + 0.5**2 + 0.8**2), rel=0.05)


@pytest.mark.parametrize("name", ["user_regularization", "item_regularization"])
@pytest.mark.parametrize("value", [-1, float("nan"), "much"])
def test_bad_parameters(name, value):
    with pytest.raises(cf.ParameterError, match=f"{name} must be a finite number of at least 0"):
        cf.BiasOnly(**{name: value}).fit(planted(5, 5, 0.9)[0])
