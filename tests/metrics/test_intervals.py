import numpy as np
import pytest

from cofactor.metrics import intervals
from cofactor.metrics.intervals import mean_interval


def interval(values, **changes):
    return np.array(mean_interval(values, **({"confidence": 0.95, "n_resamples": 1000, "seed": 0} | changes)))


@pytest.fixture
def values():
    rng = np.random.default_rng(1)
    return np.column_stack([rng.random(2000), rng.random(2000) < 0.1])


def test_it_has_the_width_of_the_theory(values):
    low, high = interval(values, n_resamples=4000)
    error = 1.96 * values.std(axis=0) / np.sqrt(len(values))
    np.testing.assert_allclose(high - low, 2 * error, rtol=0.06)
    np.testing.assert_allclose((low + high) / 2, values.mean(axis=0), atol=0.2 * error.min())


def test_it_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    inside = 0
    for seed in range(200):
        ((low,), (high,)) = interval(rng.random((100, 1)), confidence=0.8, n_resamples=200, seed=seed)
        inside += low <= 0.5 <= high
    assert 0.7 <= inside / 200 <= 0.88


def test_equal_seeds_give_equal_intervals(values):
    np.testing.assert_array_equal(interval(values), interval(values))
    assert (interval(values) != interval(values, seed=1)).all()


def test_a_column_does_not_depend_on_its_neighbours(values):
    np.testing.assert_allclose(interval(values)[:, :1], interval(values[:, :1]), rtol=1e-12)


def test_one_user():
    np.testing.assert_array_equal(interval(np.array([[0.25]])), [[0.25], [0.25]])


def test_the_normal_approximation_is_close(values, monkeypatch):
    resampled = interval(values, n_resamples=4000)
    monkeypatch.setattr(intervals, "NORMAL_FROM", len(values))
    np.testing.assert_allclose(interval(values), resampled, atol=1e-3)
