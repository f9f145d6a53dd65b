"""Graph filters against their equation in dense float64."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.kernels.csr import CSR

OPTIONS = {
    "GF-CF": {},
    "a walk": {"low_pass": 0, "history_exponent": 0.6, "user_exponent": 0.7, "item_exponent": 0.3},
    "amplified": {"low_pass": 0, "amplification": 1.7},
    "all": {"history_exponent": 0.6, "user_exponent": 0.8, "item_exponent": 0.3, "low_pass": 0.5},
    "binary": {"weights": "binary"},
}


def scores(r, h, factors, weights="given", **options):
    """The equation, for histories h."""
    beta, gamma, delta, p, omega = (
        {"history_exponent": 0.5, "user_exponent": 1.0, "item_exponent": 0.5, "amplification": 1, "low_pass": 0.3}
        | options
    ).values()
    if weights == "binary":
        r, h = (r > 0).astype(float), (h > 0).astype(float)
    users, items = np.maximum(r.sum(axis=1), 1e-9), np.maximum(r.sum(axis=0), 1e-9)
    _, values, v = np.linalg.svd(users[:, None] ** (-gamma / 2) * r * items ** (-(beta + delta) / 2))
    v = v[:factors].T
    walk = ((h * items**-beta) @ r.T * users**-gamma) ** p @ r * items**-delta / values[0] ** 2
    return walk + omega * (h * items**-beta) @ v @ v.T * items**beta


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_scores_are_those_of_the_equation(interactions, options):
    r = interactions.user_items.to_scipy().toarray().astype(np.float64)
    model = cf.GraphFilter(factors=30, **options).fit(interactions)
    wanted = scores(r, r, 30, **options)
    everything = np.indices((60, 40)).reshape(2, -1).astype(np.int32)
    np.testing.assert_allclose(model._scores(*everything).reshape(60, 40), wanted, rtol=0.02, atol=0.02)
    new = CSR.from_pairs([0, 0, 1], [3, 8, 1], [1.0, 2.0, 5.0], (2, 40))
    wanted = scores(r, new.to_scipy().toarray(), 30, **options)
    np.testing.assert_allclose(model._scores_of(new), wanted, rtol=0.02, atol=0.02)


def test_without_the_low_pass_filter_nothing_is_approximate(interactions):
    r = interactions.user_items.to_scipy().toarray().astype(np.float64)
    model = cf.GraphFilter(low_pass=0).fit(interactions)
    np.testing.assert_allclose(model._scores_of(interactions.user_items), scores(r, r, 1, low_pass=0), rtol=1e-3)
    assert model.item_vectors_.shape == (40, 0)


def test_all_factors_pass_everything(interactions):
    """An ideal filter without a cut-off gives the history back."""
    h = interactions.user_items
    with_all, without = (cf.GraphFilter(factors=1000, low_pass=w).fit(interactions) for w in (1.0, 0))
    difference = with_all._scores_of(h) - without._scores_of(h)
    np.testing.assert_allclose(difference, h.to_scipy().toarray(), atol=1e-3)


def test_popular_items_are_marked_down(interactions):
    popularity = interactions.user_items.to_scipy().toarray().sum(axis=0)
    lists = [
        cf.GraphFilter(low_pass=0, item_exponent=e).fit(interactions).recommend(k=5)["item_id"].to_numpy()
        for e in (0.0, 0.5, 1.0)
    ]
    means = [popularity[items].mean() for items in lists]
    assert means == sorted(means, reverse=True)


def test_threads_change_nothing(interactions):
    one, many = (cf.GraphFilter(low_pass=0, threads=threads).fit(interactions) for threads in (1, 5))
    assert_frame_equal(one.recommend(), many.recommend(), rel_tol=1e-5)


def test_an_item_without_users_and_a_user_without_items():
    x = cf.Interactions.from_csr(CSR.from_pairs([0, 1, 1], [0, 0, 1], [1, 1, 1], (3, 3)))
    table = cf.GraphFilter(factors=2).fit(x).recommend(exclude_seen=False)
    assert table["user_id"].unique().sort().to_list() == [0, 1]
    assert table.filter(pl.col("item_id") == 2)["score"].abs().max() < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factors": 0}, "factors must be a whole number of at least 1, got 0"),
        ({"item_exponent": -1}, "item_exponent must be a finite number of at least 0, got -1"),
        ({"low_pass": float("inf")}, "low_pass must be a finite number"),
        ({"amplification": 0}, "amplification must be a finite number above 0, got 0"),
        ({"weights": "x"}, "weights must be one of 'given', 'binary', got 'x'"),
    ],
)
def test_bad_parameters(interactions, options, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.GraphFilter(**options).fit(interactions)


def test_what_does_not_fit_is_refused(interactions, monkeypatch):
    monkeypatch.setattr("cofactor.system.memory.available_memory", lambda: 1000)
    with pytest.raises(cf.ParameterError, match=r"GraphFilter\(factors=256\) on 60 users .* or low_pass=0"):
        cf.GraphFilter().fit(interactions)


def test_the_cut_off_follows_the_log_unless_given():
    small = cf.datasets.synthetic(400, 200, 6000, factors=4, seed=0)
    assert 1 < cf.GraphFilter().fit(small).item_vectors_.shape[1] < 40
    assert cf.GraphFilter(factors=100).fit(small).item_vectors_.shape[1] == 100
    assert cf.GraphFilter(low_pass=0).fit(small).item_vectors_.shape[1] == 0
