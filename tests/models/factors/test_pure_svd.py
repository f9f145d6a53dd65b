"""PureSVD and the truncated decomposition under it, against LAPACK's."""

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.kernels import on
from cofactor.kernels.csr import CSR
from cofactor.kernels.svd import truncated_svd


def dense(x):
    return x.user_items.to_scipy().toarray().astype(np.float64)


@pytest.mark.parametrize("shape", [(200, 90), (90, 200), (5, 40), (1, 1)])
@pytest.mark.parametrize("k", [1, 7, 30])
def test_truncated_svd_is_that_of_lapack(shape, k):
    matrix = sp.random(*shape, density=0.3, random_state=0, dtype=np.float32)
    x = CSR.from_scipy(matrix)
    svd, wanted = truncated_svd(on("cpu"), x, k, tolerance=1e-6), np.linalg.svd(matrix.toarray(), compute_uv=False)
    k = min(k, *shape)
    np.testing.assert_allclose(svd.values, wanted[:k], rtol=1e-4, atol=1e-5)
    real = svd.values > 1e-4
    for vectors in (svd.left[:, real], svd.right[:, real]):
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(real.sum()), atol=1e-4)
    error = np.linalg.norm(matrix.toarray() - svd.left * svd.values @ svd.right.T)
    assert error <= np.sqrt((wanted[k:] ** 2).sum()) + 1e-3


def test_truncated_svd_of_a_matrix_of_low_rank_or_of_nothing():
    rng = np.random.default_rng(0)
    low = rng.standard_normal((60, 3)) @ rng.standard_normal((3, 50))
    svd = truncated_svd(on("cpu"), CSR.from_scipy(sp.csr_matrix(low)), 10)
    np.testing.assert_allclose(svd.left * svd.values @ svd.right.T, low, atol=1e-4)
    nothing = truncated_svd(on("cpu"), CSR.from_pairs([], [], [], (6, 5)), 2)
    assert nothing.values.tolist() == [0, 0]
    assert all(np.isfinite(vectors).all() for vectors in nothing)


@pytest.mark.parametrize("options", [{}, {"popularity_exponent": 0.3}, {"weights": "binary"}], ids=str)
def test_scores_are_the_projection(interactions, options):
    h = dense(interactions)
    if options.get("weights") == "binary":
        h = (h > 0).astype(np.float64)
    scaled = h * (h**2).sum(axis=0) ** -options.get("popularity_exponent", 0)
    right = np.linalg.svd(scaled)[2][:6].T
    model = cf.PureSVD(6, **options).fit(interactions)
    np.testing.assert_allclose(model.user_factors_ @ model.item_factors_.T, h @ right @ right.T, atol=0.02)
    assert model.user_factors_.shape == (60, 6)


def test_more_factors_than_the_matrix_has(interactions):
    model = cf.PureSVD(1000).fit(interactions)
    assert model.item_factors_.shape == (40, 40)
    np.testing.assert_allclose(model.user_factors_ @ model.item_factors_.T, dense(interactions), atol=1e-4)


def test_the_seed_hardly_matters(interactions):
    one, other = (cf.PureSVD(4, seed=seed).fit(interactions) for seed in (0, 1))
    close = {"abs_tol": 0.02, "rel_tol": 0.02}
    pairs = interactions.to_frame().select("user_id", "item_id")
    assert_frame_equal(one.predict(pairs), other.predict(pairs), **close)


def test_an_item_without_users_scores_zero():
    x = cf.Interactions.from_csr(CSR.from_pairs([0, 1, 1], [0, 0, 1], [1, 1, 1], (2, 3)))
    table = cf.PureSVD(2, popularity_exponent=0.5).fit(x).recommend(exclude_seen=False)
    assert table.filter(pl.col("item_id") == 2)["score"].abs().max() < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factors": 0}, "factors must be a whole number of at least 1, got 0"),
        ({"popularity_exponent": -1}, "popularity_exponent must be a finite number of at least 0, got -1"),
        ({"weights": 3}, "weights must be one of 'given', 'binary', got 3"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_bad_parameters(interactions, options, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.PureSVD(**options).fit(interactions)


def test_what_does_not_fit_is_refused(interactions, monkeypatch):
    monkeypatch.setattr("cofactor.system.memory.available_memory", lambda: 1000)
    with pytest.raises(
        cf.ParameterError, match=r"PureSVD\(factors=64\) on 60 users and 40 items needs .* fewer factors"
    ):
        cf.PureSVD().fit(interactions)


def noise(n_users, n_items, n, seed=0):
    rng = np.random.default_rng(seed)
    at = rng.choice(n_users * n_items, n, replace=False)
    return CSR.from_pairs(*np.divmod(at, n_items), np.ones(n), (n_users, n_items))


@pytest.mark.parametrize(("n_users", "n_items", "n"), [(500, 200, 5000), (300, 900, 4000)])
def test_of_chance_alone_next_to_nothing_is_kept(n_users, n_items, n):
    """But the first vector: it says that all weights are positive."""
    model = cf.PureSVD().fit(noise(n_users, n_items, n))
    assert model.item_factors_.shape == (n_items, 1)
    assert model.user_factors_.shape == (n_users, 1)
    assert len(model.singular_values_) == 1
    assert cf.PureSVD(64).fit(noise(n_users, n_items, n)).item_factors_.shape == (n_items, 64)


def test_groups_are_kept():
    """Ten groups of users that share items with nobody else."""
    dense = np.kron(np.eye(10), np.ones((20, 12))) * (np.random.default_rng(0).random((200, 120)) < 0.5)
    model = cf.PureSVD().fit(CSR.from_scipy(sp.csr_matrix(dense)))
    assert model.item_factors_.shape == (120, 10)
    assert cf.GraphFilter().fit(CSR.from_scipy(sp.csr_matrix(dense))).item_vectors_.shape == (120, 10)


def test_at_most_64_by_default():
    dense = np.kron(np.eye(80), np.ones((9, 8)))
    assert cf.PureSVD().fit(CSR.from_scipy(sp.csr_matrix(dense))).item_factors_.shape == (640, 64)


@pytest.mark.parametrize("scale", [1e-9, 1e6, 1e11])
def test_the_unit_of_weights_does_not_matter(interactions, scale):
    """Fourth powers of large weights are no numbers in float32."""
    x = interactions.user_items
    one = cf.PureSVD(5).fit(x)
    other = cf.PureSVD(5).fit(x.with_values(x.values * np.float32(scale)))
    np.testing.assert_allclose(other.singular_values_ / scale, one.singular_values_, rtol=1e-3)
    np.testing.assert_allclose(np.abs(other.item_factors_), np.abs(one.item_factors_), atol=2e-2)
