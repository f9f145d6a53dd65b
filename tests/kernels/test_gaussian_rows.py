"""Rows of normal distributions against dense float64 systems, and their draws against means and covariances."""

import numpy as np
import pytest

from cofactor.kernels.csr import CSR
from device import kernels
from reference import gaussian_rows as reference


def make(lengths, n_columns, factors, seed=0):
    rng = np.random.default_rng(seed)
    columns = [np.sort(rng.choice(n_columns, n, replace=False)) for n in lengths]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ratings = CSR(
        indptr,
        np.concatenate([np.zeros(0), *columns]).astype(np.int32),
        rng.normal(size=indptr[-1]).astype(np.float32),
        n_columns,
    )
    fixed = np.zeros((n_columns, -(-factors // 16) * 16), np.float32)
    fixed[:, :factors] = rng.normal(0, 0.5, (n_columns, factors))
    root = rng.normal(size=(factors, factors)) / np.sqrt(factors)
    prior = (root @ root.T + np.eye(factors)).astype(np.float32)
    side = rng.normal(size=factors).astype(np.float32)
    return ratings, fixed, rng.normal(size=n_columns).astype(np.float32), prior, side


def call(ratings, solved, fixed, offsets, prior, side, **options):
    return kernels.gaussian_rows(ratings, solved, fixed, offsets=offsets, prior=prior, side=side, **options)


def solve(ratings, fixed, *given, threads=1, **options):
    solved = np.full((ratings.n_rows, fixed.shape[1]), 7, np.float32)
    squares, failed = call(ratings, solved, fixed, *given, threads=threads, **options)
    assert failed == -1
    return solved, squares


@pytest.mark.parametrize("factors", [1, 3, 16, 17, 33, 64, 100])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_means_are_those_of_dense_systems(cpu_level, factors, exponent):
    problem = make([0, 1, 5, 40, 300, 0, 12], 400, factors, seed=factors)
    solved, squares = solve(*problem, exponent=exponent)
    wanted = reference.gaussian_rows(problem[0], problem[1][:, :factors], *problem[2:], exponent=exponent)
    np.testing.assert_allclose(solved[:, :factors], wanted, rtol=1e-3, atol=2e-4)
    assert not solved[:, factors:].any()
    left = reference.squares(problem[0], solved[:, :factors], problem[1][:, :factors], problem[2])
    assert squares == pytest.approx(left, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("deviation", [0.0, 0.7])
def test_the_number_of_threads_changes_no_bit(cpu_level, deviation):
    problem = make(np.arange(90) % 37, 60, 19)
    one, squares = solve(*problem, deviation=deviation, seed=3)
    for threads in (2, 5, 200):
        more, others = solve(*problem, deviation=deviation, seed=3, threads=threads)
        np.testing.assert_array_equal(one, more)
        assert others == squares


@pytest.mark.parametrize("factors", [1, 4, 17])
def test_draws_have_the_mean_and_the_covariance(where, factors):
    ratings, *given = make([6], 40, factors, seed=5)
    n, deviation = 4000, 0.6
    many = CSR(6 * np.arange(n + 1), np.tile(ratings.indices, n), np.tile(ratings.values, n), 40)
    drawn, squares = solve(many, *given, deviation=deviation, seed=11, threads=2)
    drawn = drawn[:, :factors]
    mean, covariance = reference.conditional(ratings, 0, given[0][:, :factors], *given[1:], exponent=0)
    root = np.linalg.cholesky(np.linalg.inv(covariance)) / deviation
    whitened = (drawn - mean) @ root
    assert np.abs(whitened.mean(0)).max() < 5 / np.sqrt(n)
    assert np.abs(np.cov(whitened.T) - np.eye(factors)).max() < 8 / np.sqrt(n)
    assert abs(np.mean(whitened**4) - 3) < 0.3
    assert squares == pytest.approx(reference.squares(many, drawn, given[0][:, :factors], given[1]), rel=1e-4)


def test_draws_depend_on_the_seed_and_the_row_only(where):
    ratings, *given = make([4, 9, 4, 9], 40, 5)
    all_rows, _ = solve(ratings, *given, deviation=1.0, seed=8)
    first, _ = solve(ratings.take([0, 1]), *given, deviation=1.0, seed=8)
    other, _ = solve(ratings, *given, deviation=1.0, seed=9)
    np.testing.assert_array_equal(all_rows[:2], first)
    assert not np.isclose(all_rows[:, :5], other[:, :5]).any()
    means, _ = solve(ratings, *given)
    assert np.corrcoef((all_rows - means)[:2, :5].ravel(), (all_rows - means)[2:, :5].ravel())[0, 1] < 0.9


def test_no_rows_and_no_unique_solution(where):
    ratings, fixed, offsets, prior, side = make([3, 2], 10, 4)
    solve(ratings.take([]), fixed, offsets, prior, side)
    solved = np.zeros((2, 16), np.float32)
    _, failed = call(ratings, solved, fixed, offsets, -9 * prior, side)
    assert failed in (0, 1)


def test_wrong_shapes_are_refused(where):
    ratings, fixed, offsets, prior, side = make([3, 2], 10, 4)
    with pytest.raises(ValueError, match="one row per row of ratings"):
        call(ratings, np.zeros((3, 16), np.float32), fixed, offsets, prior, side)
    with pytest.raises(ValueError, match="one offset per row"):
        call(ratings, np.zeros((2, 16), np.float32), fixed, offsets[1:], prior, side)
    with pytest.raises(ValueError, match="fixed must be padded"):
        call(ratings, np.zeros((2, 4), np.float32), fixed[:, :4].copy(), offsets, prior, side)
