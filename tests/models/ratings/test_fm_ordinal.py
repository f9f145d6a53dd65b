"""Cutpoints and hidden numbers of an ordered probit: against the definition and against numerical integration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, truncnorm

from cofactor.models.ratings.fm_ordinal import Cutpoints, expected_hidden, hidden, log_likelihood


def drawn(n=2000, cuts=(-1.0, 0.2, 0.9), spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(0.3, spread, n)
    return np.searchsorted(cuts, z + rng.normal(size=n)).astype(np.intp), z


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_the_likelihood_is_that_of_the_definition(seed, n_levels):
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.normal(0, 1.5, n_levels - 1))
    classes, z = rng.integers(0, n_levels, 50), rng.normal(size=50)
    ends = np.concatenate([[-np.inf], cuts, [np.inf]])
    wanted = np.log(norm.cdf(ends[classes + 1] - z) - norm.cdf(ends[classes] - z)).sum() - 0.005 * cuts @ cuts
    assert log_likelihood(cuts, classes, z) == pytest.approx(wanted, rel=1e-6)


def test_hidden_numbers_are_truncated_normal():
    cuts, rng = np.array([-0.7, 0.4]), np.random.default_rng(0)
    for level, (low, high) in enumerate(((-np.inf, -0.7), (-0.7, 0.4), (0.4, np.inf))):
        for z in (-3.0, 0.1, 2.5):
            classes, at = np.full(20_000, level), np.full(20_000, z)
            found = hidden(cuts, classes, at, rng)
            law = truncnorm(low - z, high - z, z)
            assert ((found >= low) & (found <= high)).all()
            assert found.mean() == pytest.approx(law.mean(), abs=5 * law.std() / np.sqrt(20_000))
            assert found.std() == pytest.approx(law.std(), rel=0.05)
            np.testing.assert_allclose(expected_hidden(cuts, classes[:1], at[:1]), law.mean(), rtol=1e-6)


@pytest.mark.parametrize("z", [-60.0, -9.0, 9.0, 60.0, 1e6])
def test_far_out_they_stay_in_their_interval(z):
    cuts, rng = np.array([-1.0, 1.0]), np.random.default_rng(0)
    classes, at = np.arange(3), np.full(3, z)
    for found in (hidden(cuts, classes, at, rng), expected_hidden(cuts, classes, at)):
        assert np.isfinite(found).all()
        assert found[0] <= -1 + 1e-9 * abs(z) <= found[1] + 2e-9 * abs(z)
        assert found[1] <= 1 + 1e-9 * abs(z)
        assert found[2] >= 1 - 1e-9 * abs(z)


def test_the_mode_is_the_likeliest():
    classes, z = drawn()
    cuts = Cutpoints(classes, 4)
    cuts.to_mode(z)
    np.testing.assert_allclose(cuts.values, [-1.0, 0.2, 0.9], atol=0.15)
    best, rng = log_likelihood(cuts.values, classes, z), np.random.default_rng(1)
    for size in (1e-2, 0.1):
        for _ in range(100):
            assert log_likelihood(cuts.values + rng.normal(0, size, 3), classes, z) < best + 1e-3


def test_steps_have_the_posterior_for_their_law():
    """Of one cutpoint, against integration over a grid."""
    classes, z = drawn(60, cuts=(0.5,))
    grid = np.linspace(-1.5, 2.5, 2001)
    density = np.array([log_likelihood(np.array([c]), classes, z) for c in grid])
    density = np.exp(density - density.max())
    density /= density.sum()
    mean = density @ grid
    std = np.sqrt(density @ (grid - mean) ** 2)
    cuts, rng, found = Cutpoints(classes, 2), np.random.default_rng(0), []
    for _ in range(3000):
        cuts.move(z, rng)
        found.append(cuts.values[0])
    assert cuts.n_accepted > 0.8 * 3000
    assert np.mean(found) == pytest.approx(mean, abs=5 * std / np.sqrt(1500))
    assert np.std(found) == pytest.approx(std, rel=0.1)


def test_several_move_together_and_stay_in_order():
    classes, z = drawn(3000)
    cuts, rng, found = Cutpoints(classes, 4), np.random.default_rng(0), []
    for _ in range(400):
        cuts.move(z, rng)
        found.append(cuts.values)
    assert (np.diff(found, axis=1) > 0).all()
    assert cuts.n_accepted > 0.8 * 400
    np.testing.assert_allclose(np.mean(found, axis=0), [-1.0, 0.2, 0.9], atol=0.15)


@pytest.mark.parametrize("spread", [0.0, 1e-6, 30.0])
def test_predictions_of_any_spread(spread):
    classes, _ = drawn(200)
    z = np.random.default_rng(0).normal(0, 1, 200) * spread
    cuts, rng = Cutpoints(classes, 4), np.random.default_rng(0)
    for _ in range(20):
        cuts.move(z, rng)
        assert np.isfinite(cuts.values).all()
        assert np.isfinite(hidden(cuts.values, classes, z, rng)).all()
