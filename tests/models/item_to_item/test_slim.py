"""What is special about SLIM; the contract tests the rest, tests/kernels/test_slim.py the solver."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.kernels.cpu import Kernels
from cofactor.kernels.csr import CSR
from cofactor.models.item_to_item import slim
from reference import slim as reference

REGULARIZATION = {"l1_regularization": 0.5, "l2_regularization": 5.0}
OPTIONS = {"l1": 0.5, "l2": 5.0}


def dense(x):
    return x.user_items.to_scipy().toarray()


def weights(model):
    return model.item_weights_.to_scipy().toarray()


@pytest.mark.parametrize("non_negative", [True, False])
def test_weights_are_the_twins(interactions, non_negative):
    model = cf.SLIM(**REGULARIZATION, non_negative=non_negative, tolerance=1e-5).fit(interactions)
    twin = reference.solve(dense(interactions), **OPTIONS, non_negative=non_negative)
    np.testing.assert_allclose(weights(model), twin, atol=2e-5)
    assert (np.diag(weights(model)) == 0).all()


def test_scores_are_histories_times_weights(interactions):
    model = cf.SLIM(**REGULARIZATION).fit(interactions)
    scores = dense(interactions) @ weights(model)
    table = model.predict(pl.DataFrame({"user_id": [3, 3, 59], "item_id": [0, 7, 20]}))
    np.testing.assert_allclose(table["score"], scores[[3, 3, 59], [0, 7, 20]], rtol=1e-5)


def test_no_change_of_weights_lowers_the_loss(interactions):
    x, rng = dense(interactions), np.random.default_rng(0)
    w = weights(cf.SLIM(**REGULARIZATION, tolerance=1e-5).fit(interactions)).astype(np.float64)
    best = reference.loss(x, w, **OPTIONS)
    for scale in np.geomspace(1e-4, 1, 64):
        other = np.maximum(0, w + scale * rng.standard_normal(w.shape) * (rng.random(w.shape) < 0.1))
        np.fill_diagonal(other, 0)
        assert (reference.loss(x, other, **OPTIONS) >= best * (1 - 1e-7)).all()


@pytest.mark.parametrize("non_negative", [True, False])
def test_the_elastic_net_of_scikit_learn(interactions, non_negative):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, l1, l2 = dense(interactions).astype(np.float64), 0.5, 5.0
    net = linear_model.ElasticNet(
        alpha=(l1 + l2) / len(x), l1_ratio=l1 / (l1 + l2), positive=non_negative, fit_intercept=False, tol=1e-12,
        max_iter=100_000,
    )  # fmt: skip
    model = cf.SLIM(l1, l2, non_negative=non_negative, tolerance=1e-5).fit(interactions)
    for j in range(0, 40, 7):
        others = np.delete(np.arange(40), j)
        np.testing.assert_allclose(weights(model)[others, j], net.fit(x[:, others], x[:, j]).coef_, atol=2e-5)


def test_irspack_minimises_the_same(interactions):
    recommenders = pytest.importorskip("irspack.recommenders")
    l1, l2, n = 0.5, 5.0, interactions.n_users
    peer = recommenders.SLIMRecommender(
        interactions.user_items.to_scipy().astype(np.float64), alpha=(l1 + l2) / n, l1_ratio=l1 / (l1 + l2),
        n_iter=1000, tol=1e-7,
    )  # fmt: skip
    model = cf.SLIM(l1, l2, tolerance=1e-5).fit(interactions)
    np.testing.assert_allclose(weights(model), peer.learn().W.toarray(), atol=1e-4)


def test_the_number_of_threads_changes_nothing():
    x = cf.datasets.synthetic(n_users=400, n_items=300, n_interactions=8000, factors=4, seed=0)
    for options in ({}, {"non_negative": False}, {"neighbours": 20}):
        one, three = (cf.SLIM(0.5, 5.0, threads=n, **options).fit(x).item_weights_ for n in (1, 3))
        assert np.array_equal(one.indices, three.indices)
        assert np.array_equal(one.values, three.values)


def test_with_and_without_all_inner_products(interactions, monkeypatch):
    """A sparse matrix is solved by residuals, a dense one with X'X: the same weights."""
    ways = []
    columns = Kernels.slim_columns
    monkeypatch.setattr(
        Kernels,
        "slim_columns",
        lambda _, *a, **options: (ways.append(options["gramian"] is None), columns(*a, **options))[1],
    )
    with_products = cf.SLIM(**REGULARIZATION, tolerance=1e-5).fit(interactions)
    monkeypatch.setattr(slim, "available_memory", lambda: 100)
    monkeypatch.setattr(slim, "require_memory", lambda *_: None)
    without = cf.SLIM(**REGULARIZATION, tolerance=1e-5).fit(interactions)
    assert ways == [False, True]
    np.testing.assert_allclose(weights(without), weights(with_products), atol=2e-5)
    monkeypatch.undo()
    sparse = cf.Interactions.from_frame(pl.DataFrame({"user_id": [i // 2 for i in range(200)], "item_id": range(200)}))
    assert cf.SLIM(0.5, 0.0)._gramian(Kernels(), sparse) is None


def test_neighbours_and_top_n(interactions):
    some = weights(cf.SLIM(**REGULARIZATION, neighbours=5, tolerance=1e-5).fit(interactions))
    among = reference.neighbours(dense(interactions), 5)
    np.testing.assert_allclose(some, reference.solve(dense(interactions), **OPTIONS, allowed=among), atol=2e-5)
    every = weights(cf.SLIM(**REGULARIZATION).fit(interactions))
    kept = weights(cf.SLIM(**REGULARIZATION, top_n=4).fit(interactions))
    assert ((kept > 0).sum(axis=0) == np.minimum(4, (every > 0).sum(axis=0))).all()
    assert np.array_equal(kept[kept > 0], every[kept > 0])


def test_warm_start_by_item_id(interactions):
    cold = cf.SLIM(**REGULARIZATION, tolerance=1e-5).fit(interactions)
    shuffled = interactions.to_frame().sample(fraction=0.9, seed=1, shuffle=True).filter(pl.col("item_id") != 7)
    other = cf.SLIM(**REGULARIZATION, iterations=500).fit(cf.Interactions.from_frame(shuffled, weight="weight"))
    warm = cf.SLIM(**REGULARIZATION, tolerance=1e-5).fit(interactions, warm_start=other)
    np.testing.assert_allclose(weights(warm), weights(cold), atol=5e-5)
    again = cf.SLIM(**REGULARIZATION, tolerance=1e-4, iterations=1).fit(interactions, warm_start=cold)
    np.testing.assert_allclose(weights(again), weights(cold), atol=1e-3)
    with pytest.raises(cf.NotFittedError):
        cf.SLIM().fit(interactions, warm_start=cf.SLIM())


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l1_regularization": -0.1}, "l1_regularization must be a finite number of at least 0, got -0.1"),
        ({"l2_regularization": float("nan")}, "l2_regularization must be a finite number of at least 0, got nan"),
        ({"tolerance": 0}, "tolerance must be a finite number above 0, got 0"),
        ({"iterations": 0}, "iterations must be a whole number of at least 1, got 0"),
        ({"neighbours": 0}, "neighbours must be a whole number of at least 1, got 0"),
        ({"top_n": 2.5}, "top_n must be a whole number of at least 1, got 2.5"),
        ({"non_negative": "yes"}, "non_negative must be True or False, got 'yes'"),
    ],
)
def test_parameters_out_of_range(interactions, options, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.SLIM(**options).fit(interactions)


def test_items_without_weights_are_counted(interactions):
    with pytest.warns(
        cf.CofactorWarning, match="40 of 40 items that share users with others have no weights"
    ) as caught:
        model = cf.SLIM(l1_regularization=1e6).fit(interactions)
    assert caught[0].filename == __file__
    assert model.recommend().is_empty()
    assert model.item_weights_.nnz == 0


def test_columns_that_take_too_long_are_counted(interactions):
    with pytest.warns(
        cf.CofactorWarning, match=r"of 40 items are not within tolerance=1e-06 after iterations=1 sweeps"
    ):
        cf.SLIM(0.01, 0.01, tolerance=1e-6, iterations=1).fit(interactions)


def test_users_with_one_item_and_an_item_seen_once_or_by_all():
    x = np.zeros((8, 5), np.float32)
    x[:4, 0] = x[:4, 1] = 1  # a pair
    x[4:, 2] = 1  # users of one item
    x[0, 3] = 1  # seen once
    x[:, 4] = 1  # seen by all
    data = cf.Interactions.from_csr(CSR.from_pairs(*np.nonzero(x), x[np.nonzero(x)], x.shape))
    model = cf.SLIM(0.1, 1.0, tolerance=1e-6).fit(data)
    np.testing.assert_allclose(weights(model), reference.solve(x, l1=0.1, l2=1.0), atol=1e-5)
    assert weights(model)[0, 1] > 0
    assert_frame_equal(model.recommend([7]), cf.SLIM(0.1, 1.0, tolerance=1e-6).fit(data).recommend([7]))


def test_what_does_not_fit_into_memory_is_refused(interactions, monkeypatch):
    monkeypatch.setattr("cofactor.system.memory.available_memory", lambda: 1000)
    with pytest.raises(cf.ParameterError, match=r"SLIM on 60 users and 40 items needs .* GiB of memory"):
        cf.SLIM().fit(interactions)


def test_a_column_that_needs_too_many_items(interactions, monkeypatch):
    monkeypatch.setattr(slim, "_ACTIVE", 3)
    with pytest.raises(cf.ParameterError, match=r"needs more than 3 others at once with l1_regularization=0.01"):
        cf.SLIM(0.01).fit(interactions)


def test_the_bar_moves(interactions, capsys):
    cf.SLIM(**REGULARIZATION).fit(interactions, progress=True)
    assert "SLIM" in capsys.readouterr().err
