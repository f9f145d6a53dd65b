"""Factors and biases: the loss by both methods, what was planted, users folded in, units."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR

METHODS = ("als", "sgd")


def planted(n_users=300, n_items=200, share=0.3, noise=0.3, factors=3, seed=0):
    """Ratings of a mean, biases and factors, and all of them without the noise."""
    rng = np.random.default_rng(seed)
    b_u, b_i = rng.normal(0, 0.4, (n_users, 1)), rng.normal(0, 0.6, n_items)
    dense = 3 + b_u + b_i + rng.normal(0, 0.7, (n_users, factors)) @ rng.normal(0, 0.7, (factors, n_items))
    rows, columns = np.nonzero(rng.random(dense.shape) < share)
    values = dense[rows, columns] + rng.normal(0, noise, len(rows))
    return cf.Ratings.from_matrix(CSR.from_pairs(rows, columns, values, dense.shape)), dense


def loss(model, x):
    """As the module writes it, of standardized ratings, per rating; float64."""
    std, root = model.std_, np.sqrt(model.std_)
    p, q = (v.astype(np.float64) / root for v in (model.user_factors_, model.item_factors_))
    b_u, b_i = (b.astype(np.float64) / std for b in (model.user_biases_, model.item_biases_))
    rows, columns = x.row_index(), x.indices
    over = (x.values - model.mean_) / std - b_u[rows] - b_i[columns] - np.einsum("ij,ij->i", p[rows], q[columns])
    total = over @ over
    for counts, v, b in ((np.diff(x.indptr), p, b_u), (np.bincount(columns, minlength=x.n_columns), q, b_i)):
        weights = counts.astype(np.float64) ** model.regularization_exponent
        total += weights @ (model.regularization * (v**2).sum(1) + model.bias_regularization * b**2)
    return total / x.nnz


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_als_tells_its_loss_which_falls(exponent):
    ratings, _ = planted(60, 50, noise=0.8)
    model = cf.BiasedMF(4, regularization=0.3, regularization_exponent=exponent, epochs=8).fit(ratings)
    assert model.loss_history_[-1] == pytest.approx(loss(model, ratings.user_items), rel=1e-5)
    assert (np.diff(model.loss_history_) <= 1e-6).all()


def test_no_user_of_als_could_be_better():
    ratings, _ = planted(40, 30)
    model, rng = cf.BiasedMF(3, epochs=5).fit(ratings), np.random.default_rng(0)
    least = loss(model, ratings.user_items)
    factors, biases = model.user_factors_, model.user_biases_
    for size in (1e-1, 1e-2):
        for _ in range(30):
            model.user_factors_ = factors + size * rng.normal(size=factors.shape)
            model.user_biases_ = biases + size * rng.normal(size=biases.shape)
            assert loss(model, ratings.user_items) > least


def test_both_methods_find_the_same_minimum():
    ratings, dense = planted()
    found = [cf.BiasedMF(6, method="als", epochs=60), cf.BiasedMF(6, method="sgd", epochs=200, learning_rate=0.02)]
    als, sgd = (loss(model.fit(ratings), ratings.user_items) for model in found)
    assert sgd == pytest.approx(als, rel=0.02)
    users, items = np.divmod(np.arange(dense.size), dense.shape[1])
    rated = [model.rate(users, items)[0] for model in found]
    assert np.corrcoef(*rated)[0, 1] > 0.998


@pytest.mark.parametrize("method", METHODS)
def test_what_was_planted_is_found(method):
    ratings, dense = planted()
    model = cf.BiasedMF(4, method=method, regularization=0.3, epochs=80).fit(ratings)
    users, items = np.divmod(np.arange(dense.size), dense.shape[1])
    rmse = np.sqrt(np.mean((model.rate(users, items)[0] - dense.ravel()) ** 2))
    assert rmse < 0.2
    assert rmse < 0.3 * np.sqrt(np.mean((cf.BiasOnly().fit(ratings).rate(users, items)[0] - dense.ravel()) ** 2))
    assert np.corrcoef(model.item_biases_, dense.mean(0))[0, 1] > 0.8


@pytest.mark.parametrize("method", METHODS)
def test_new_users_are_rated_as_those_of_training(method):
    ratings, dense = planted()
    model = cf.BiasedMF(4, method=method).fit(ratings)
    some = np.arange(20)
    histories = ratings.user_items.take(some)
    listed, known = model.top_k_for(histories, 200, exclude_seen=False), model.top_k(some, 200, exclude_seen=False)
    of_new, of_known = np.zeros((20, 200)), np.zeros((20, 200))
    np.put_along_axis(of_new, listed.rows, listed.scores, 1)
    np.put_along_axis(of_known, known.rows, known.scores, 1)
    if method == "als":
        np.testing.assert_allclose(of_new, of_known, rtol=1e-3, atol=2e-3)
    assert np.corrcoef(of_new.ravel(), of_known.ravel())[0, 1] > 0.99
    alone = model.top_k_for(histories.take([7]), 200, exclude_seen=False)
    np.testing.assert_allclose(alone.scores[0], listed.scores[7], rtol=1e-6)
    assert np.sqrt(np.mean((of_new - dense[:20]) ** 2)) < 0.35


@pytest.mark.parametrize("method", METHODS)
def test_units_change_nothing(method):
    ratings, _ = planted(60, 50)
    other = cf.Ratings.from_matrix(ratings.user_items.with_values(100 + 16 * ratings.user_items.values))
    one, many = (
        cf.BiasedMF(4, method=method, epochs=4).fit(r).rate(np.arange(50), np.arange(50))[0] for r in (ratings, other)
    )
    np.testing.assert_allclose(many, 100 + 16 * one, rtol=1e-4)


def test_nobody_knows_users_and_items_of_minus_one():
    ratings, _ = planted(60, 50)
    model = cf.BiasedMF(4).fit(ratings)
    wanted = [model.mean_ + model.item_biases_[3], model.mean_ + model.user_biases_[2], model.mean_]
    np.testing.assert_allclose(model.rate([-1, 2, -1], [3, -1, -1])[0], wanted, rtol=1e-5)


def test_descent_that_diverges_is_told_at_once():
    ratings, _ = planted(60, 50)
    with pytest.raises(cf.CofactorError, match=r"diverged; lower learning_rate, or raise regularization"):
        cf.BiasedMF(4, method="sgd", learning_rate=20.0, init_std=3.0).fit(ratings)


def test_a_start_too_large_for_float32_is_told():
    ratings, _ = planted(60, 50)
    with pytest.raises(cf.CofactorError, match=r"no unique solution .*init_std=1e\+20 is too large; lower it"):
        cf.BiasedMF(4, init_std=1e20).fit(ratings)


def test_equations_without_a_unique_solution_are_told():
    ratings = cf.Ratings.from_frame(pl.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "rating": [1.0, 2.0]}))
    with pytest.raises(cf.CofactorError, match=r"no unique solution .*regularization=0 is too small; raise it"):
        cf.BiasedMF(4, regularization=0.0, bias_regularization=0.0).fit(ratings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factors": 0}, "factors must be a whole number of at least 1, got 0"),
        ({"method": "adam"}, "method must be one of 'als', 'sgd', got 'adam'"),
        ({"lr_schedule": "plateau"}, "lr_schedule must be one of 'cosine', 'constant'"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"regularization": -1.0}, "regularization must be"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
    ],
)
def test_parameters_out_of_range(options, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.BiasedMF(**options).fit(planted(10, 10)[0])


def test_descent_with_the_defaults_of_another_library_is_as_good():
    """Surprise's SVD: 100 factors, 20 epochs, a learning rate of .005 and a regularization of .02 for each rating."""
    surprise = pytest.importorskip("surprise")
    rng = np.random.default_rng(4)
    ratings, _ = planted(400, 300, noise=0.8, seed=4)
    table = ratings.to_frame().with_columns(pl.col("rating").clip(1, 5))
    held = rng.random(len(table)) < 0.1
    train, test = table.filter(~held), table.filter(held)
    std = float(train["rating"].std(ddof=0))
    frame, wanted = train.to_pandas()[["user_id", "item_id", "rating"]], test["rating"].to_numpy()
    whole = surprise.Dataset.load_from_df(frame, surprise.Reader(rating_scale=(1, 5))).build_full_trainset()
    ours, theirs = [], []
    for seed in range(3):
        model = cf.BiasedMF(
            100, method="sgd", epochs=20, lr_schedule="constant", regularization_exponent=1.0, init_std=0.1 / std**0.5,
            learning_rate=0.005 * std, bias_learning_rate=0.005, regularization=0.02 / std, bias_regularization=0.02,
            seed=seed,
        ).fit(train)  # fmt: skip
        ours.append(np.sqrt(np.mean((model.predict(test, clip=True)["rating"].to_numpy() - wanted) ** 2)))
        svd = surprise.SVD(random_state=seed).fit(whole)
        rated = np.array([svd.predict(u, i).est for u, i in test.select("user_id", "item_id").rows()])
        theirs.append(np.sqrt(np.mean((rated - wanted) ** 2)))
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=0.008)
