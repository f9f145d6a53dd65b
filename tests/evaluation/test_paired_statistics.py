import numpy as np
import pytest
from scipy import stats

from cofactor.evaluation.paired_statistics import GROUPS, holm, paired_means, wilcoxon_pratt

OPTIONS = {"confidence": 0.95, "n_resamples": 4000, "seed": 0}


def columns(n, *makes, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([make(rng, n) for make in makes], axis=1)


def normal(rng, n):
    return rng.normal(0.05, 1, n)


def sparse(rng, n):
    """As hit rates differ: mostly not at all."""
    return rng.choice([-1.0, 0.0, 1.0], n, p=[0.03, 0.92, 0.05])


@pytest.mark.parametrize("n", [300, GROUPS, GROUPS + 1, 3 * GROUPS + 500])
def test_many_users_give_the_t_interval(n):
    """The quantiles of the bootstrap come near Student's, whether users are resampled or groups of them."""
    d = columns(n, normal, sparse)
    found = paired_means(d, **OPTIONS)
    expected = stats.ttest_1samp(d, 0)
    interval = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx(d.mean(axis=0))
    assert found.p_value == pytest.approx(np.maximum(expected.pvalue, 1 / 4001), abs=0.02)
    half = (interval.high - interval.low) / 2
    assert found.high - found.mean == pytest.approx(half, rel=0.07)
    assert found.mean - found.low == pytest.approx(half, rel=0.07)


def test_it_is_the_bootstrap_of_the_book():
    """Against a loop over resamples, each with a mean and an error of its own."""
    d = columns(12, normal)
    rng = np.random.default_rng(1)
    centered, distances = d[:, 0] - d.mean(), []
    for _ in range(20_000):
        drawn = rng.choice(centered, 12)
        distances.append(abs(drawn.mean()) / (drawn.std(ddof=1) / np.sqrt(12)))
    error = d.std(ddof=1) / np.sqrt(12)
    found = paired_means(d, confidence=0.9, n_resamples=20_000, seed=0)
    assert found.p_value[0] == pytest.approx(np.mean(np.array(distances) >= abs(d.mean()) / error), abs=0.015)
    assert (found.high - found.mean)[0] == pytest.approx(np.quantile(distances, 0.9) * error, rel=0.03)


def test_pairs_do_not_depend_on_each_other():
    d = columns(500, normal, sparse)
    both, one = paired_means(d, **OPTIONS), paired_means(d[:, 1:], **OPTIONS)
    assert both.p_value[1] == one.p_value[0]
    assert both.low[1] == pytest.approx(one.low[0], rel=1e-12)


def test_the_interval_and_the_test_agree():
    d = columns(60, *[lambda rng, n: rng.normal(0.25, 1, n)] * 40)
    found = paired_means(d, **OPTIONS)
    outside = (found.low > 0) | (found.high < 0)
    assert 3 < outside.sum() < 37
    assert np.abs(found.p_value[outside] - 0.05).min() > 0
    assert ((found.p_value < 0.049) <= outside).all()
    assert ((found.p_value > 0.051) <= ~outside).all()


def test_differences_that_do_not_vary():
    found = paired_means(np.tile([0.0, 0.25, -0.25], (100, 1)), **OPTIONS)
    assert found.p_value.tolist() == [1.0, 1 / 4001, 1 / 4001]
    assert found.low.tolist() == found.mean.tolist() == found.high.tolist() == [0.0, 0.25, -0.25]


def test_few_users_who_differ_prove_nothing():
    """Three of a thousand users who are all better off would be so by chance once in four times."""
    d = np.zeros((1000, 1))
    d[:3] = 1.0
    found = paired_means(d, **OPTIONS)
    assert found.p_value[0] >= 0.25
    assert found.low[0] < 0 < found.high[0]


def test_two_users():
    found = paired_means(np.array([[1.0], [2.0]]), **OPTIONS)
    assert found.p_value[0] >= 0.5
    assert (found.low[0], found.high[0]) == (-np.inf, np.inf)


@pytest.mark.parametrize("n", [1, 2, 9, 400])
@pytest.mark.parametrize("make", [normal, sparse, lambda rng, n: rng.normal(0.3, 1, n).round(1)])
def test_wilcoxon_is_that_of_scipy(make, n):
    d = make(np.random.default_rng(n), n)
    if not d.any():
        d[0] = 1.0
    expected = stats.wilcoxon(d, zero_method="pratt", method="asymptotic").pvalue
    assert wilcoxon_pratt(d) == pytest.approx(expected, rel=1e-12)
    assert wilcoxon_pratt(-d) == pytest.approx(expected, rel=1e-12)


def test_wilcoxon_of_nothing():
    assert wilcoxon_pratt(np.zeros(5)) == 1.0


def test_holm_by_hand():
    """The example: 0.01 * 4, 0.02 * 3, then 0.03 * 2 is not below that, and 0.5."""
    assert holm(np.array([0.03, 0.01, 0.5, 0.02])) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).size == 0


def test_holm_rejects_as_its_definition_does():
    """Step down while p_(i) <= level / (m - i)."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.random(8) ** 4
        rejected = np.zeros(8, bool)
        for i, at in enumerate(np.argsort(p)):
            if p[at] > 0.05 / (8 - i):
                break
            rejected[at] = True
        assert ((holm(p) <= 0.05) == rejected).all()
