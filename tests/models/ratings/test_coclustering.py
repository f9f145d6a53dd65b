"""Clusters of users and items: the twin of loops, planted blocks, clusters that are empty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cofactor as cf
from cofactor.kernels.csr import CSR


def blocks(n_users=120, n_items=90, share=0.3, noise=0.1, seed=0):
    """Two clusters of users who like opposite clusters of items, and means of users and items besides."""
    rng = np.random.default_rng(seed)
    g, h = rng.integers(0, 2, n_users), rng.integers(0, 2, n_items)
    dense = np.where(g[:, None] == h, 1.0, -1.0) + rng.normal(0, 0.5, n_users)[:, None] + rng.normal(0, 0.5, n_items)
    rows, columns = np.nonzero(rng.random(dense.shape) < share)
    values = dense[rows, columns] + rng.normal(0, noise, len(rows))
    return cf.Ratings.from_matrix(CSR.from_pairs(rows, columns, values, dense.shape)), g, h, dense


def mean_or(values, otherwise):
    return float(np.mean(values)) if len(values) else otherwise


def twin_rating(entries, g, h, user, item):
    """The rating of a known pair, by the equation, from lists."""
    mean = np.mean([r for *_, r in entries])
    of = lambda keep: mean_or([r for u, i, r in entries if keep(u, i)], mean)  # noqa: E731
    block = of(lambda u, i: g[u] == g[user] and h[i] == h[item])
    user_part = of(lambda u, i: u == user) - of(lambda u, i: g[u] == g[user])
    return block + user_part + of(lambda u, i: i == item) - of(lambda u, i: h[i] == h[item])


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4))
def test_ratings_are_those_of_the_equation(seed, k, m):
    ratings, *_ = blocks(9, 7, 0.4, 1.0, seed)
    model = cf.CoClustering(k, m, iterations=3, seed=seed).fit(ratings)
    entries = ratings.to_frame().rows()
    g, h = model.user_clusters_, model.item_clusters_
    users, items = np.divmod(np.arange(63), 7)
    wanted = [twin_rating(entries, g, h, u, i) for u, i in zip(users, items, strict=True)]
    np.testing.assert_allclose(model.rate(users, items)[0], wanted, rtol=1e-4, atol=1e-5)


def squared_error(model, ratings, **changed):
    """With the means as they are and some clusters changed."""
    g, h = (changed.get(name, getattr(model, name)) for name in ("user_clusters_", "item_clusters_"))
    x = ratings.user_items
    u, i = x.row_index(), x.indices
    rated = (
        model.block_means_[g[u], h[i]]
        + (model.user_means_[u] - model.user_cluster_means_[g[u]])
        + (model.item_means_[i] - model.item_cluster_means_[h[i]])
    )
    return np.sum((x.values - rated) ** 2.0)


@pytest.mark.parametrize("name", ["user_clusters_", "item_clusters_"])
def test_at_the_end_nobody_would_move(name):
    ratings, *_ = blocks(60, 50, noise=1.0)
    model = cf.CoClustering(3, 4, iterations=200).fit(ratings)
    assert len(model.loss_history_) < 200
    least, own = squared_error(model, ratings), getattr(model, name)
    assert model.loss_history_[-1] == pytest.approx(least / ratings.nnz, rel=1e-5)
    for row in range(len(own)):
        for cluster in range(3 if name == "user_clusters_" else 4):
            moved = own.copy()
            moved[row] = cluster
            assert squared_error(model, ratings, **{name: moved}) > least - 1e-3


def test_planted_clusters_are_found():
    ratings, g, h, dense = blocks()
    model = cf.CoClustering(2, 2).fit(ratings)
    assert abs(np.corrcoef(model.user_clusters_, g)[0, 1]) > 0.99
    assert abs(np.corrcoef(model.item_clusters_, h)[0, 1]) > 0.99
    users, items = np.divmod(np.arange(dense.size), dense.shape[1])
    assert np.sqrt(np.mean((model.rate(users, items)[0] - dense.ravel()) ** 2)) < 0.3
    assert model.loss_history_[-1] < 0.1 * model.loss_history_[0]


def test_one_cluster_of_each_is_means_alone():
    ratings, *_ = blocks()
    model = cf.CoClustering(1, 1).fit(ratings)
    mean = ratings.user_items.values.mean()
    wanted = model.user_means_[[3, 4]] + model.item_means_[[5, 6]] - mean
    np.testing.assert_allclose(model.rate([3, 4], [5, 6])[0], wanted, rtol=1e-4, atol=1e-5)
    assert len(model.loss_history_) == 1


def test_more_clusters_than_users_and_rows_without_ratings():
    table = np.full((4, 3), np.nan)
    table[:2, :2] = [[1, 2], [3, 5]]
    model = cf.CoClustering(9, 7).fit(cf.Ratings.from_matrix(table))
    rated = model.rate([0, 1, 2, 3, -1], [0, 2, 0, 2, 1])[0]
    assert np.isfinite(rated).all()
    assert rated[3] == pytest.approx(2.75)


@pytest.mark.parametrize("name", ["user_clusters", "item_clusters", "iterations"])
def test_counts_are_at_least_one(name):
    with pytest.raises(cf.ParameterError, match=f"{name} must be a whole number of at least 1, got 0"):
        cf.CoClustering(**{name: 0}).fit(blocks()[0])


def test_clusters_of_a_damaged_file_are_refused(tmp_path):
    model = cf.CoClustering(2, 2).fit(blocks()[0])
    model.user_clusters_ = model.user_clusters_ + np.int32(5)
    model.save(tmp_path / "model")
    with pytest.raises(cf.ArtifactError, match=r"user_clusters_ must be from 0 to 1"):
        cf.load(tmp_path / "model")


def test_clusters_that_do_not_fit_into_memory_are_refused():
    ratings, *_ = blocks(20, 15)
    with pytest.raises(cf.ParameterError, match=r"CoClustering\(1000000000, 3\) on 20 users .* GiB .*fewer clusters"):
        cf.CoClustering(10**9).fit(ratings)
