from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofactor import datasets
from cofactor.datasets import _synthetic
from cofactor.errors import ParameterError

quick = settings(max_examples=40)


@quick
@given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 1), st.integers(1, 5), st.integers(0, 3))
def test_synthetic_has_exactly_the_pairs_asked_for(n_users, n_items, density, factors, seed):
    n = max(1, round(density * n_users * n_items))
    x = datasets.synthetic(n_users, n_items, n, factors=factors, seed=seed)
    csr = x.user_items
    assert (csr.shape, csr.nnz) == ((n_users, n_items), n)
    assert (csr.values == 1).all()
    keys = csr.row_index().astype(np.int64) * n_items + csr.indices
    assert (np.diff(keys) > 0).all()
    again = datasets.synthetic(n_users, n_items, n, factors=factors, seed=seed).user_items
    assert np.array_equal(again.indices, csr.indices)
    assert np.array_equal(again.indptr, csr.indptr)


def test_another_seed_gives_other_data():
    one, other = (datasets.synthetic(seed=seed).user_items for seed in (0, 1))
    assert not np.array_equal(one.indices, other.indices)


def test_chunks_do_not_show(monkeypatch):
    monkeypatch.setattr(_synthetic, "_CHUNK", 1000)
    csr = datasets.synthetic(300, 200, 20_000).user_items
    assert csr.nnz == 20_000
    assert datasets.synthetic_events(300, 200, 2_500).n_events == 2_500


def test_synthetic_has_long_tails():
    csr = datasets.synthetic(2000, 1000, 60_000).user_items
    activity, popularity = np.diff(csr.indptr), np.bincount(csr.indices, minlength=1000)
    for counts in (activity, popularity):
        assert np.median(counts) < 0.7 * counts.mean()
        assert counts.max() > 8 * counts.mean()


def test_synthetic_follows_the_planted_factors():
    n_users, n_items, n = 4000, 300, 200_000
    csr = datasets.synthetic(n_users, n_items, n, factors=4, seed=2).user_items
    users, items = datasets.planted_factors(n_users, n_items, factors=4, seed=2)
    np.testing.assert_allclose(users.sum(1), 1)
    np.testing.assert_allclose(items.sum(0), 1)
    expected = users @ items.T
    degree = np.diff(csr.indptr)
    light = (degree > 0) & (degree < 10)  # hardly saturated: pairs follow the product itself
    drawn = csr.to_scipy().toarray()[light]
    model = expected[light] * degree[light, None]
    assert np.corrcoef(drawn.sum(0), model.sum(0))[0, 1] > 0.9
    popular = np.broadcast_to(expected.mean(0), expected.shape)[light]
    mean_log = [np.log(p[drawn > 0]).mean() for p in (expected[light], popular)]
    assert mean_log[0] > mean_log[1] + 0.3


def test_draws_without_replacement_are_exact():
    """One round by one round and all at once give the same distribution: that of successive draws."""
    p = np.array([0.6, 0.3, 0.1])
    n = 20_000
    topics = np.ones((n, 1))
    two = np.full(n, 2)
    expected = {}  # probability that an item is left out of two successive draws
    for left in range(3):
        a, b = (i for i in range(3) if i != left)
        expected[left] = p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b])
    for rounds in (0, 1, 50):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_synthetic, "_ROUNDS", rounds)
            keys = _synthetic._distinct_draws(
                topics, p[None], _synthetic._steps(p[None]), two, np.random.default_rng(0)
            )
        share_left = 1 - np.bincount(keys % 3, minlength=3) / n
        np.testing.assert_allclose(share_left, [expected[i] for i in range(3)], atol=0.015)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 10, 101), r"n_interactions=101: 10 users x 10 items allow 1 to 100"),
        ((10, 10, 0), "n_interactions must be a whole number of at least 1, got 0"),
        ((0, 10, 5), "n_users must be a whole number of at least 1, got 0"),
        ((10, -1, 5), "n_items must be a whole number of at least 1, got -1"),
    ],
)
def test_impossible_sizes(arguments, message):
    with pytest.raises(ParameterError, match=message):
        datasets.synthetic(*arguments)
    with pytest.raises(ParameterError, match="factors must be a whole number of at least 1, got 0"):
        datasets.synthetic(factors=0)


def test_synthetic_events():
    events = datasets.synthetic_events(200, 100, 5000, days=30, seed=4)
    table = events.collect()
    assert table.schema["user_id"] == table.schema["item_id"] == pl.Int32
    assert table["time"].is_sorted()
    assert datetime(2024, 1, 1) <= table["time"].min() < table["time"].max() < datetime(2024, 1, 31)
    shares = dict(table["event_type"].value_counts(normalize=True).iter_rows())
    assert shares["view"] == pytest.approx(0.9, abs=0.03)
    assert table["user_id"].max() < 200
    assert datasets.synthetic_events(200, 100, 5000, days=30, seed=4).collect().equals(table)
    for wrong in ({"n_events": 0}, {"days": 0}, {"event_types": {}}, {"event_types": {"view": -1}}):
        with pytest.raises(ParameterError):
            datasets.synthetic_events(**wrong)
