"""Factorization machines of two values: probabilities, by every method, against a planted model and definitions."""

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize
from scipy.special import expit, ndtr

import cofactor as cf
from cofactor.kernels.csr import CSR

METHODS = {
    "mcmc": {"iterations": 150, "samples": 50},
    "als": {"method": "als", "regularization": 3.0, "iterations": 60},
    "sgd": {"method": "sgd", "iterations": 30, "batch_size": 128, "learning_rate": 0.01, "regularization": 3e-4},
}


def planted(n_users=150, n_items=100, factors=2, share=0.6, seed=0):
    """What users clicked of what they saw, and the probability of every pair."""
    rng = np.random.default_rng(seed)
    sides = [(rng.normal(0, 0.5, n), rng.normal(0, 0.8, (n, factors))) for n in (n_users, n_items)]
    (bias, vectors), (item_bias, item_vectors) = sides
    p = ndtr(-0.4 + bias[:, None] + item_bias + vectors @ item_vectors.T)
    rows, columns = np.nonzero(rng.random(p.shape) < share)
    values = (rng.random(len(rows)) < p[rows, columns]).astype(np.float64)
    return CSR.from_pairs(rows, columns, values, p.shape), p


def unseen(matrix):
    seen = np.zeros(matrix.shape, bool)
    seen[matrix.row_index(), matrix.indices] = True
    return np.nonzero(~seen)


@pytest.mark.parametrize("method", METHODS)
def test_planted_probabilities_are_found(method):
    matrix, p = planted()
    model = cf.FactorizationMachine(2, task="classification", **METHODS[method]).fit(matrix)
    users, items = unseen(matrix)
    found, stds = model.rate(users, items)
    assert ((found >= 0) & (found <= 1)).all()
    wanted = p[users, items]
    biases = cf.BiasOnly().fit(matrix).rate(users, items, clip=True)[0]
    error, of_biases = (np.sqrt(np.mean((own - wanted) ** 2)) for own in (found, biases))
    assert error < 0.75 * of_biases
    assert found.mean() == pytest.approx(wanted.mean(), abs=0.02)
    for low, high in ((0.1, 0.3), (0.4, 0.6), (0.7, 0.9)):  # they mean what they say
        within = (found > low) & (found < high)
        assert wanted[within].mean() == pytest.approx(found[within].mean(), abs=0.07)
    assert (stds is None) == (method != "mcmc")
    if stds is not None:
        np.testing.assert_allclose(stds**2, found * (1 - found), atol=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_lists_and_new_users_go_by_the_same_probabilities(method):
    matrix, _ = planted(seed=1)
    model = cf.FactorizationMachine(2, task="classification", **METHODS[method]).fit(matrix)
    top = model.recommend([5], k=10)
    x = model.interactions_
    rates = model.rate(np.full(10, 5), x.items.rows(top["item_id"]))[0]
    np.testing.assert_allclose(top["score"], rates, rtol=2e-5)
    table = pl.DataFrame({"user_id": matrix.row_index(), "item_id": matrix.indices, "rating": matrix.values})
    own = table.filter(pl.col("user_id") == 5)
    new = model.recommend_for(own.with_columns(user_id=pl.lit(1000)), k=100).join(
        model.recommend([5], k=100), on="item_id", suffix="_own"
    )
    assert np.corrcoef(new["score"], new["score_own"])[0, 1] > 0.85
    assert ((new["score"] > 0) & (new["score"] < 1)).all()


def test_a_user_folded_in_by_the_logistic_curve_is_at_the_minimum_of_its_loss():
    matrix, _ = planted(seed=2)
    model = cf.FactorizationMachine(2, task="classification", **METHODS["sgd"]).fit(matrix)
    items, clicked = np.arange(0, 40), (np.arange(40) % 3 == 0).astype(np.float64)
    history = CSR.from_pairs(np.zeros(40, int), items, clicked, (1, 100))
    found = model._fold_in(history)[0].astype(float)
    rows = model.item_samples_[items].astype(float)
    mean, precision = model.prior_means_[0].astype(float), model.prior_precisions_[0].astype(float)

    def loss(own):
        z = own[0] + rows[:, 0] + rows[:, 1:] @ own[1:] - model.cutpoints_[0, 0]
        likelihood = np.logaddexp(0, np.where(clicked == 1, -z, z)).sum()
        return likelihood + 0.5 * (precision * (own - mean) ** 2).sum()

    best = minimize(loss, mean, method="BFGS")
    np.testing.assert_allclose(found, best.x, atol=2e-3)


def test_als_is_at_the_mode_of_the_probit():
    """No perturbation of a user's row raises the posterior, with cutpoints and all else held."""
    matrix, _ = planted(40, 30)
    model = cf.FactorizationMachine(2, task="classification", method="als", regularization=2.0, iterations=800)
    model.fit(matrix)
    rows, columns, clicked = matrix.row_index(), matrix.indices, matrix.values == 1
    items, cut = model.item_samples_.astype(float), model.cutpoints_[0, 0]

    def loss(users):
        z = users[rows, 0] + items[columns, 0] + (users[rows, 1:] * items[columns, 1:]).sum(axis=1) - cut
        return -np.log(ndtr(np.where(clicked, z, -z))).sum() + (users**2).sum()

    users, rng = model.user_samples_.astype(float), np.random.default_rng(0)
    least = loss(users)
    for _ in range(100):
        assert loss(users + 0.1 * rng.normal(size=users.shape)) > least


def test_any_two_values_will_do_and_files_keep_them(tmp_path):
    matrix, _ = planted(40, 30)
    plain = cf.FactorizationMachine(2, task="classification", **METHODS["sgd"]).fit(matrix)
    for method, options in METHODS.items():
        model = cf.FactorizationMachine(2, task="classification", **options)
        ones = model.fit(matrix).rate([0, 1, -1], [2, 3, 4])[0]
        twos = model.fit(matrix.with_values(3 + 2 * matrix.values)).rate([0, 1, -1], [2, 3, 4])[0]
        np.testing.assert_allclose(twos, 3 + 2 * ones, rtol=1e-5)
        assert model.levels_.tolist() == [3, 5]
        model.save(tmp_path / method)
        assert cf.load(tmp_path / method).rate([0, 1, -1], [2, 3, 4])[0].tolist() == twos.tolist()
    assert plain.error_history_[-1] < plain.error_history_[0] < 0.75


def test_threads_change_no_digit():
    matrix, _ = planted(40, 30)
    for options in METHODS.values():
        found = [
            cf.FactorizationMachine(2, task="classification", threads=threads, **{**options, "iterations": 6})
            .fit(matrix)
            .rate([0, 1, 2], [2, 3, 4])[0]
            .tolist()
            for threads in (1, 2, 5)
        ]
        assert found[0] == found[1] == found[2]


def test_measures_of_probabilities_tell_the_planted_model_from_biases():
    matrix, _ = planted()
    table = pl.DataFrame({"user_id": matrix.row_index(), "item_id": matrix.indices, "rating": matrix.values})
    table = table.sample(fraction=1, shuffle=True, seed=0)
    train, test = table[:7000], table[7000:]
    model = cf.FactorizationMachine(2, task="classification", **METHODS["mcmc"]).fit(train)
    found = [cf.evaluate(m, test, ["log_loss", "roc_auc"])["value"] for m in (model, cf.BiasOnly().fit(train))]
    assert found[0][0] < found[1][0] - 0.02 < 0.69
    assert found[0][1] > found[1][1] + 0.02 > 0.5


@pytest.mark.parametrize(("n", "told"), [(3, "3: 1, 2, 3"), (9, r"9: 1, 2, 3, 4, 5 \.\.\.")])
def test_more_than_two_values_are_refused(n, told):
    matrix, _ = planted(20, 20)
    many = matrix.with_values(1.0 + np.arange(matrix.nnz) % n)
    with pytest.raises(cf.DataError, match=rf"is for ratings of two values, such as 0 and 1; these have {told}\. Make"):
        cf.FactorizationMachine(2, task="classification").fit(many)


def test_the_logistic_curve_is_the_one_of_the_loss():
    """What is predicted at the end has the log loss that is told of the last pass, or a little less."""
    matrix, _ = planted()
    model = cf.FactorizationMachine(2, task="classification", **METHODS["sgd"]).fit(matrix)
    p = model.rate(matrix.row_index(), matrix.indices)[0].astype(float)
    loss = -np.log(np.where(matrix.values == 1, p, 1 - p)).mean()
    assert loss == pytest.approx(model.error_history_[-1], rel=0.01)
    z = model.user_samples_[0, 0] + model.item_samples_[3, 0] + model.user_samples_[0, 1:] @ model.item_samples_[3, 1:]
    assert model.rate([0], [3])[0][0] == pytest.approx(expit(z - model.cutpoints_[0, 0]), rel=1e-5)
